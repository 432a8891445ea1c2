// GET /api/v1/journeys/{value} and /api/v1/resolve.
#include <fmt/format.h>

#include "api/api.h"
#include "api/pages.h"
#include "core/json.h"

namespace fettle::api {

void Api::get_journey(Exchange exchange) {
  const http::Query& query = exchange.request().query;
  auto page = page_request(query);
  if (!page) return exchange.problem(page.error());
  auto filter = journey_filter(exchange.parameter("value"), query, filter_context(), kPageParameters);
  if (!filter) return exchange.problem(filter.error());
  reads_.run(std::move(exchange), [this, page = std::move(*page), filter = std::move(*filter)](
                                      Exchange& held, const std::stop_token& stop) {
    auto found = services_.reader.journey(held.scope(), filter, page, read_options(stop));
    if (!found) return held.problem(found.error());
    if (found->kinds.empty() && found->items.count == 0 && !page.after) {
      return held.problem(Error(ErrorCode::kNotFound, fmt::format("nothing is known of '{}'", filter.value)));
    }
    std::string body = R"({"value":)";
    append_json_string(body, filter.value);
    body += R"(,"kinds":)";
    append_kinds(body, found->kinds);
    body += R"(,"trace_ids":[)";
    for (std::size_t i = 0; i < found->trace_ids.size(); ++i) {
      if (i != 0) body += ',';
      append_json_string(body, found->trace_ids[i]);
    }
    body += "],";
    append_page(body, "items", found->items);
    body += '}';
    held.json(std::move(body));
  });
}

void Api::resolve(Exchange exchange) {
  static constexpr std::string_view kOwn[] = {"id"};
  const http::Query& query = exchange.request().query;
  if (auto known = only_parameters(query, kOwn); !known) return exchange.problem(known.error());
  const std::string id(query.get("id"));
  if (id.empty() || id.size() > kFilterValueBytesMax || !is_utf8(id)) {
    return exchange.problem(Error(ErrorCode::kInvalidArgument, "parameter 'id': expected the value to look for"));
  }
  reads_.run(std::move(exchange), [this, id](Exchange& held, const std::stop_token& stop) {
    auto found = services_.reader.resolve(held.scope(), id, read_options(stop));
    if (!found) return held.problem(found.error());
    std::string body = R"({"id":)";
    append_json_string(body, id);
    body += R"(,"kinds":)";
    append_kinds(body, *found);
    body += '}';
    held.json(std::move(body));
  });
}

}  // namespace fettle::api
