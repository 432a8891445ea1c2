#include "api/pages.h"

#include <fmt/format.h>

#include <iterator>

#include "api/filters.h"
#include "api/times.h"
#include "core/json.h"

namespace fettle::api {

void append_page(std::string& out, std::string_view name, const telemetry::Page& page) {
  fmt::format_to(std::back_inserter(out), R"("{}":[)", name);
  out += page.rows;
  out += R"(],"next_cursor":)";
  if (page.next) {
    append_json_string(out, page.next->value);
  } else {
    out += "null";
  }
  fmt::format_to(std::back_inserter(out), R"(,"partial":{})", page.partial);
}

Result<runs::PageRequest> page_of_list(const http::Query& query, std::uint32_t limit_usual) {
  auto limit = number_parameter(query, "limit", 1, kPageRowsMax, limit_usual);
  if (!limit) return std::unexpected(std::move(limit).error());
  return runs::PageRequest{.limit = static_cast<std::int32_t>(*limit), .cursor = std::string(query.get("cursor"))};
}

void append_kinds(std::string& out, const std::vector<telemetry::KindSummary>& kinds) {
  out += '[';
  for (std::size_t i = 0; i < kinds.size(); ++i) {
    out += i == 0 ? R"({"kind":)" : R"(,{"kind":)";
    append_json_string(out, kinds[i].kind);
    fmt::format_to(std::back_inserter(out), R"(,"traces":{},"logs":{},"events":{},"first_ts":"{}","last_ts":"{}"}})",
                   kinds[i].traces, kinds[i].logs, kinds[i].events, format_time(kinds[i].first),
                   format_time(kinds[i].last));
  }
  out += ']';
}

}  // namespace fettle::api
