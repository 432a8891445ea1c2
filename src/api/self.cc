// What the server says of itself: /health, /health/live, /health/ready, /metrics and /api/v1/openapi.json.

#include "api/accept.h"
#include "api/api.h"
#include "api/openapi.h"

namespace fettle::api {
namespace {

int status_of(const health::Report& report) { return report.status == health::Status::kUnhealthy ? 503 : 200; }

}  // namespace

void Api::get_health(Exchange exchange) {
  health_pool_.run(std::move(exchange), [this](Exchange& held, const std::stop_token& stop) {
    const health::Report report = services_.health.report(stop);
    const bool in_detail = held.caller().is_known && held.caller().grant.may(access::Role::kRead);
    held.json(in_detail ? report.detailed_json() : report.bare_json(), status_of(report));
  });
}

// Answered on the I/O thread: says that the process takes requests, and nothing else.
void Api::get_live(Exchange exchange) { exchange.json(R"({"status":"healthy"})"); }

// Whether to send requests here. A store that is away for a moment does not count: what arrives meanwhile is durable in
// the spool, and /health says what is wrong.
void Api::get_ready(Exchange exchange) {
  const bool is_serving = services_.health.is_serving();
  exchange.json(is_serving ? R"({"status":"healthy"})" : R"({"status":"unhealthy"})", is_serving ? 200 : 503);
}

void Api::get_metrics(Exchange exchange) {
  if (prefers_json(exchange.request().headers.get("Accept"))) return exchange.json(services_.metrics.json());
  exchange.respond(
      http::Response::make(200, "text/plain; version=0.0.4; charset=utf-8", services_.metrics.prometheus_text()));
}

void Api::get_openapi(Exchange exchange) {
  http::Response response = http::Response::make(200, "application/json", std::string(openapi_json()));
  response.headers.set("Cache-Control", "no-cache");
  exchange.respond(std::move(response));
}

}  // namespace fettle::api
