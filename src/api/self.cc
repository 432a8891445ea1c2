// What the server says of itself and of its caller: /health, /health/live, /health/ready, /metrics,
// /api/v1/openapi.json and /api/v1/me.

#include "api/accept.h"
#include "api/api.h"
#include "api/filters.h"
#include "api/openapi.h"
#include "core/json.h"

namespace fettle::api {
namespace {

int status_of(const health::Report& report) { return report.status == health::Status::kUnhealthy ? 503 : 200; }

// A JSON array of strings.
template <class Range, class Text>
std::string strings(const Range& range, Text text) {
  std::string out = "[";
  for (const auto& one : range) {
    if (out.size() > 1) out += ',';
    append_json_string(out, text(one));
  }
  return out + ']';
}

}  // namespace

// Asks for a token without asking for a scope: a token that may only send is told so here and not by a 403.
void Api::get_me(Exchange exchange) {
  using access::TokenScope;
  if (!exchange.caller().is_known) {
    return exchange.problem(Error(ErrorCode::kUnauthenticated, "send a token: Authorization: Bearer <token>"));
  }
  if (auto known = only_parameters(exchange.request().query, {}); !known) return exchange.problem(known.error());
  const access::Grant& grant = exchange.caller().grant;
  std::vector<TokenScope> scopes;
  for (const TokenScope scope : access::kTokenScopes) {
    if (grant.may(scope)) scopes.push_back(scope);
  }
  std::string body = R"({"workspace":)";
  append_json_string(body, grant.scope.workspace.value);
  body += R"(,"name":)";
  append_json_string(body, grant.sender);
  body += R"(,"scopes":)" + strings(scopes, [](TokenScope scope) { return access::to_string(scope); });
  body += R"(,"clients":)";
  body += grant.scope.clients.empty()
              ? "null"
              : strings(grant.scope.clients, [](const ClientId& client) { return std::string_view(client.value); });
  const bool is_development = services_.authenticator.mode() == access::Mode::kDevelopment;
  body += is_development ? R"(,"development":true})" : R"(,"development":false})";
  exchange.json(std::move(body));
}

void Api::get_health(Exchange exchange) {
  health_pool_.run(std::move(exchange), [this](Exchange& held, const std::stop_token& stop) {
    const health::Report report = services_.health.report(stop);
    const bool in_detail = held.caller().is_known && held.caller().grant.may(access::TokenScope::kRead);
    held.json(in_detail ? report.detailed_json() : report.bare_json(), status_of(report));
  });
}

// Answered on the I/O thread: says that the process takes requests, and nothing else.
void Api::get_live(Exchange exchange) { exchange.json(R"({"status":"healthy"})"); }

// Whether to send requests here. A store that is away for a moment does not count: what arrives meanwhile is durable in
// the spool, and /health says what is wrong.
void Api::get_ready(Exchange exchange) {
  if (services_.health.is_serving()) return exchange.json(R"({"status":"healthy"})");
  health::Health::Obstacle obstacle = services_.health.obstacle();
  const bool in_detail = exchange.caller().is_known && exchange.caller().grant.may(access::TokenScope::kRead);
  if (in_detail && !obstacle.cause.empty()) obstacle.what += ": " + obstacle.cause;
  std::string body = R"({"status":"unhealthy","message":)";
  append_json_string(body, obstacle.what);
  exchange.json(body + '}', 503);
}

void Api::get_metrics(Exchange exchange) {
  // They count every workspace: for whoever runs the server, or a workspace of it.
  const access::Grant& caller = exchange.caller().grant;
  const bool is_configured = caller.kind == access::ActorKind::kToken && caller.actor_id.starts_with("config:");
  if (!exchange.scope().clients.empty() ||
      !(is_configured || access::can(caller, access::Action::kManageRetention).allowed)) {
    return exchange.problem(Error(ErrorCode::kPermissionDenied,
                                  "the server's metrics count all: for admins, and tokens of the configuration file"));
  }
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
