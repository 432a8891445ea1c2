#include "telemetry/row_json.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <array>
#include <iterator>
#include <utility>

#include "telemetry/reading.h"
#include "telemetry/row_sql.h"

namespace fettle::telemetry {
namespace {

namespace ondemand = simdjson::ondemand;
using Column = RowWriter::Column;
using Render = RowWriter::Render;

// A number or a string with its quotes, exactly as it was written.
std::string_view token_of(ondemand::value value) {
  std::string_view token = value.raw_json_token();
  while (!token.empty() && token.back() == ' ') token.remove_suffix(1);
  return token;
}

template <std::size_t N>
std::string name_of(const std::array<std::string_view, N>& names, std::int64_t code) {
  return code >= 0 && code < static_cast<std::int64_t>(N) ? std::string(names[static_cast<std::size_t>(code)])
                                                          : std::to_string(code);
}

// What the parser throws away between rows stays with the thread.
struct Parsing {
  ondemand::parser parser;
  std::string padded;
};

}  // namespace

std::string json_time(UnixNanos t) {
  std::string text = sql_time(t);
  text[10] = 'T';
  return text + 'Z';
}

std::string span_kind_name(std::int64_t code) {
  constexpr std::array<std::string_view, 6> kNames = {"unspecified", "internal", "server",
                                                      "client",      "producer", "consumer"};
  return name_of(kNames, code);
}

std::string span_status_name(std::int64_t code) {
  constexpr std::array<std::string_view, 3> kNames = {"unset", "ok", "error"};
  return name_of(kNames, code);
}

RowWriter RowWriter::of_spans(const IdentifierCatalogue& catalogue) {
  return {catalogue,
          {{"trace_id", "trace_id"},
           {"span_id", "span_id"},
           {"parent_span_id", "parent_span_id"},
           {"name", "name"},
           {"kind_code", "kind", Render::kSpanKind},
           {"status_code", "status", Render::kSpanStatus},
           {"status_message", "status_message"},
           {"duration_ns", "duration_ms", Render::kMillis},
           {"service_name", "service_name"},
           {"scope_name", "scope_name"},
           {"scope_version", "scope_version"},
           {"trace_state", "trace_state"},
           {"flags", "flags"},
           {"attrs", "attrs", Render::kAttributes},
           {"resource", "resource", Render::kJsonObject},
           {"events", "events", Render::kJsonArray},
           {"links", "links", Render::kJsonArray},
           {"dropped_attributes_count", "dropped_attributes_count"},
           {"dropped_events_count", "dropped_events_count"},
           {"dropped_links_count", "dropped_links_count"}},
          Has::kPromoted};
}

RowWriter RowWriter::of_logs(const IdentifierCatalogue& catalogue) {
  return {catalogue,
          {{"toUnixTimestamp64Nano(observed_ts)", "observed_ts", Render::kObservedTime},
           {"severity_number", "severity_number"},
           {"severity_text", "severity_text"},
           {"severity_number", "level", Render::kLevel},
           {"body", "body", Render::kBody},
           {"event_name", "event_name"},
           {"trace_id", "trace_id"},
           {"span_id", "span_id"},
           {"service_name", "service_name"},
           {"scope_name", "scope_name"},
           {"flags", "flags"},
           {"attrs", "attrs", Render::kAttributes},
           {"resource", "resource", Render::kJsonObject},
           {"dropped_attributes_count", "dropped_attributes_count"}},
          Has::kPromotedAndBodyType};
}

RowWriter RowWriter::of_events(const IdentifierCatalogue& catalogue) {
  return {catalogue,
          {{"event_id", "event_id"},
           {"type", "name"},
           {"trace_id", "trace_id"},
           {"''", "ids", Render::kIds},
           {"data", "data", Render::kJsonObject}},
          Has::kNothing};
}

// The order of the columns: time, promoted, body_type, identifiers; then the members in the order of the object. What a
// member needs to know so stands before it.
RowWriter::RowWriter(const IdentifierCatalogue& catalogue, std::vector<Column> columns, Has has)
    : columns_(std::move(columns)), has_(has) {
  sql_ = "toUnixTimestamp64Nano(ts)";
  if (has != Has::kNothing) sql_ += ", promoted";
  if (has == Has::kPromotedAndBodyType) sql_ += ", body_type";
  for (const IdentifierDefinition& definition : catalogue.all()) {
    if (!definition.is_column) continue;
    identifiers_.push_back({fmt::format("\"{}\":", definition.name), definition.kind});
    sql_ += ", " + definition.name;
  }
  for (const Column& column : columns_) sql_.append(", ").append(column.sql);
}

UnixNanos RowWriter::time_of(std::string_view line) { return line.empty() ? 0 : number_of<UnixNanos>(line.substr(1)); }

Result<void> RowWriter::append(std::string& out, std::string_view line, std::string_view type) const {
  static thread_local Parsing parsing;
  parsing.padded.reserve(line.size() + simdjson::SIMDJSON_PADDING);
  parsing.padded.assign(line);
  try {
    ondemand::document row = parsing.parser.iterate(parsing.padded.data(), line.size(), parsing.padded.capacity());
    ondemand::array cells = row.get_array();
    ondemand::array_iterator cell = cells.begin();
    const ondemand::array_iterator end = cells.end();
    const auto next = [&]() -> ondemand::value {
      if (cell == end) throw simdjson::simdjson_error(simdjson::INDEX_OUT_OF_BOUNDS);
      return *cell;
    };
    const auto ts = UnixNanos{next().get_int64()};
    ++cell;
    std::uint64_t promoted = 0;
    if (has_ != Has::kNothing) {
      promoted = next().get_uint64();
      ++cell;
    }
    std::uint64_t body_type = 0;
    if (has_ == Has::kPromotedAndBodyType) {
      body_type = next().get_uint64();
      ++cell;
    }
    std::array<std::string_view, kIdentifierMax> identifiers;
    for (std::size_t i = 0; i < identifiers_.size(); ++i, ++cell) {
      identifiers[i] = token_of(next());
    }

    out += '{';
    if (!type.empty()) fmt::format_to(std::back_inserter(out), "\"type\":\"{}\",", type);
    fmt::format_to(std::back_inserter(out), "\"ts\":\"{}\"", json_time(ts));
    const auto append_identifiers = [&](auto&& is_wanted, bool is_first) {
      for (std::size_t i = 0; i < identifiers_.size(); ++i) {
        if (identifiers[i] == "\"\"" || !is_wanted(identifiers_[i])) continue;
        if (!std::exchange(is_first, false)) out += ',';
        out.append(identifiers_[i].member).append(identifiers[i]);
      }
      return is_first;
    };
    for (const Column& column : columns_) {
      out.append(",\"").append(column.member).append("\":");
      ondemand::value value = next();
      switch (column.render) {
        case Render::kCopy: out += token_of(value); break;
        case Render::kObservedTime: {
          const std::int64_t observed = value.get_int64();
          fmt::format_to(std::back_inserter(out), "\"{}\"", json_time(observed == 0 ? ts : observed));
          break;
        }
        case Render::kSpanKind: out.append("\"").append(span_kind_name(value.get_int64())).append("\""); break;
        case Render::kSpanStatus: out.append("\"").append(span_status_name(value.get_int64())).append("\""); break;
        case Render::kLevel: {
          const std::int64_t number = value.get_int64();
          const std::int64_t band = number <= 0 || number > 24 ? 0 : (number - 1) / 4 + 1;
          out.append("\"").append(kLevelNames[static_cast<std::size_t>(band)]).append("\"");
          break;
        }
        case Render::kMillis:
          fmt::format_to(std::back_inserter(out), "{}", static_cast<double>(std::uint64_t{value.get_uint64()}) / 1e6);
          break;
        case Render::kJsonObject:
        case Render::kJsonArray: {
          const std::string_view json = value.get_string();
          out += !json.empty() ? json : column.render == Render::kJsonObject ? "{}" : "[]";
          break;
        }
        case Render::kBody:
          // What was text, or nothing, is stored as it is; everything else as JSON.
          out += body_type <= 1 ? token_of(value) : std::string_view(value.get_string());
          break;
        case Render::kAttributes: {
          std::string_view members = ondemand::object(value.get_object()).raw_json();
          members = members.substr(1, members.rfind('}') - 1);
          out += '{';
          const bool is_first = append_identifiers(
              [&](const Identifier& identifier) { return (promoted >> identifier.kind & 1) != 0; }, true);
          if (!members.empty() && !is_first) out += ',';
          out.append(members).append("},\"ids\":{");
          append_identifiers([](const Identifier&) { return true; }, true);
          out += '}';
          break;
        }
        case Render::kIds:
          // Its cell is consumed like any other.
          (void)token_of(value);
          out += '{';
          append_identifiers([](const Identifier&) { return true; }, true);
          out += '}';
          break;
      }
      ++cell;
    }
    out += '}';
    return {};
  } catch (const simdjson::simdjson_error& error) {
    return fail(ErrorCode::kInternal, fmt::format("a row of the store could not be read: {}", error.what()));
  }
}

}  // namespace fettle::telemetry
