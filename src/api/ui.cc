// GET of anything that is no route: the web UI.
#include "api/api.h"

namespace fettle::api {

void Api::get_page(Exchange exchange) {
  std::optional<http::Response> response = ui_.answer(exchange.request());
  if (!response) return exchange.problem(Error(ErrorCode::kNotFound, "no such file"));
  exchange.set_route("GET", "/{page}", {}, {});
  exchange.respond(std::move(*response));
}

}  // namespace fettle::api
