// GET /api/v1/spans.
#include "api/api.h"
#include "api/pages.h"

namespace fettle::api {

void Api::get_spans(Exchange exchange) {
  const http::Query& query = exchange.request().query;
  auto page = page_request(query);
  if (!page) return exchange.problem(page.error());
  auto filter = span_filter(query, filter_context(), kPageParameters);
  if (!filter) return exchange.problem(filter.error());
  reads_.run(std::move(exchange),
             [this, page = std::move(*page), filter = std::move(*filter)](Exchange& held, const std::stop_token& stop) {
               auto found = services_.reader.spans(held.scope(), filter, page, read_options(stop));
               if (!found) return held.problem(found.error());
               std::string body = "{";
               append_page(body, "spans", *found);
               body += '}';
               held.json(std::move(body));
             });
}

}  // namespace fettle::api
