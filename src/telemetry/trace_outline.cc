#include "telemetry/trace_outline.h"

#include <fmt/format.h>

#include <iterator>

#include "core/json.h"
#include "telemetry/reading.h"
#include "telemetry/row_json.h"
#include "telemetry/row_sql.h"

namespace fettle::telemetry {

std::uint32_t TraceOutline::Names::of(std::string_view text) {
  const auto [entry, is_new] = places.try_emplace(std::string(text), static_cast<std::uint32_t>(list.size()));
  if (is_new) list.emplace_back(text);
  return entry->second;
}

std::string TraceOutline::Names::json() const {
  std::string out = "[";
  for (const std::string& text : list) {
    if (out.size() > 1) out += ',';
    append_json_string(out, text);
  }
  return out + "]";
}

void TraceOutline::add(std::string_view line) {
  std::string_view fields[8];
  for (std::string_view& field : fields) {
    const std::size_t tab = line.find('\t');
    field = line.substr(0, tab);
    line.remove_prefix(tab == std::string_view::npos ? line.size() : tab + 1);
  }
  spans_.push_back({.span_id = std::string(fields[0]),
                    .parent = std::string(fields[1]),
                    .name = names_.of(fields[6]),
                    .service = services_.of(fields[7]),
                    .start = number_of<UnixNanos>(fields[2]),
                    .duration_ns = number_of<std::uint64_t>(fields[3]),
                    .status = number_of<int>(fields[4]),
                    .kind = number_of<int>(fields[5])});
}

std::string TraceOutline::document(std::string_view trace_id, bool is_partial) const {
  std::unordered_map<std::string_view, std::int64_t> place_of;
  for (std::size_t i = 0; i < spans_.size(); ++i) place_of.emplace(spans_[i].span_id, static_cast<std::int64_t>(i));
  std::int64_t errors = 0;
  const UnixNanos start = spans_.front().start;
  std::string spans;
  spans.reserve(spans_.size() * 64);
  for (std::size_t i = 0; i < spans_.size(); ++i) {
    const Span& span = spans_[i];
    const auto parent = span.parent.empty() ? place_of.end() : place_of.find(span.parent);
    // A span that is its own parent, or two that share an id, must not become a loop.
    const std::int64_t parent_place =
        parent == place_of.end() || parent->second == static_cast<std::int64_t>(i) ? -1 : parent->second;
    errors += span.status == 2 ? 1 : 0;
    fmt::format_to(std::back_inserter(spans), "{}[\"{}\",{},{},{},{},{},{},\"{}\"]", i == 0 ? "" : ",", span.span_id,
                   parent_place, span.name, span.service, (span.start - start) / 1000, span.duration_ns / 1000,
                   span.status, span_kind_name(span.kind));
  }
  std::string out = "{\"trace_id\":";
  append_json_string(out, trace_id);
  out += fmt::format(
      R"(,"start_ts":"{}","names":{},"services":{},"span_count":{},"error_count":{},"partial":{},"spans":[)",
      json_time(start), names_.json(), services_.json(), spans_.size(), errors, is_partial);
  return out + spans + "]}";
}

}  // namespace fettle::telemetry
