#include "api/access_routes.h"

#include <boost/json.hpp>

#include "api/filters.h"
#include "api/json_body.h"

namespace fettle::api {
namespace {

constexpr std::size_t kBodyBytesMax = 256 * 1024;  // a thousand clients

bool has_body(std::string_view method) { return method == "POST" || method == "PUT" || method == "PATCH"; }

}  // namespace

bool is_open(const AccessRoutes& routes, Exchange& exchange) {
  if (routes.rooms.ledger != nullptr) return true;
  exchange.problem(Error(ErrorCode::kUnavailable, "this server keeps no accounts: it runs without a ledger"));
  return false;
}

access::Accounts::From from(const AccessRoutes& routes, const Exchange& exchange) {
  const http::Request& request = exchange.request();
  return {.address = routes.proxies.client_of(request),
          .agent = std::string(request.headers.get("User-Agent")),
          .request_id = exchange.request_id(),
          .correlation_id = std::string(request.headers.get("X-Correlation-Id")),
          .trace_id = {}};
}

bool is_secure(const AccessRoutes& routes, const Exchange& exchange) {
  return routes.proxies.is_secure(exchange.request());
}

void change(const AccessRoutes& routes, Exchange exchange,
            std::move_only_function<Result<Answer>(db::Transaction&, const access::Change&)> body) {
  if (!is_open(routes, exchange)) return;
  access::Accounts::From asked = from(routes, exchange);
  const access::Change by{.auditor = *routes.rooms.auditor,
                          .actor = exchange.caller().grant,
                          .now = routes.clock.now(),
                          .request_id = std::move(asked.request_id),
                          .correlation_id = std::move(asked.correlation_id),
                          .trace_id = {},
                          .address = std::move(asked.address)};
  std::optional<Key> key = key_of(exchange, routes.clock);
  routes.rooms.directory->change(
      [by, key = std::move(key), body = std::move(body)](db::Transaction& tx) mutable {
        return once(tx, by.actor.scope, key, [&] { return body(tx, by); });
      },
      db::Database::Done<Outcome>([&routes, held = std::move(exchange)](Result<Outcome> outcome) mutable {
        respond(routes.replays, std::move(held), std::move(outcome));
      }));
}

void change(const AccessRoutes& routes, Exchange exchange, int status,
            std::move_only_function<Result<std::string>(db::Transaction&, const access::Change&)> body) {
  change(routes, std::move(exchange),
         [status, body = std::move(body)](db::Transaction& tx, const access::Change& by) mutable -> Result<Answer> {
           auto text = body(tx, by);
           if (!text) return std::unexpected(std::move(text).error());
           return Answer{.status = status, .body = *std::move(text)};
         });
}

void look(const AccessRoutes& routes, Exchange exchange, access::Action right,
          std::move_only_function<Result<std::string>(db::Reader&, const Scope&)> body,
          std::span<const std::string_view> parameters) {
  if (!is_open(routes, exchange)) return;
  if (auto known = only_parameters(exchange.request().query, parameters); !known) {
    return exchange.problem(known.error());
  }
  if (auto allowed = access::check(exchange.caller().grant, right); !allowed) return exchange.problem(allowed.error());
  const Scope scope = exchange.scope();
  routes.rooms.ledger->read(
      [scope, body = std::move(body)](db::Reader& reader) mutable { return body(reader, scope); },
      db::Database::Done<std::string>([held = std::move(exchange)](Result<std::string> answer) mutable {
        if (!answer) return held.problem(answer.error());
        held.json(*std::move(answer));
      }));
}

Result<std::vector<ClientId>> clients_of(const boost::json::object& body) {
  std::vector<ClientId> clients;
  const boost::json::value* given = body.if_contains("clients");
  if (given == nullptr || given->is_null()) return clients;
  // An empty list would say "none" to whoever sends it and "all" to what reads it.
  if (!given->is_array() || given->get_array().empty()) {
    return fail(ErrorCode::kInvalidArgument, "member 'clients' must be null or a list of at least one client");
  }
  for (const boost::json::value& client : given->get_array()) {
    if (!client.is_string()) return fail(ErrorCode::kInvalidArgument, "a client must be a string");
    clients.push_back({std::string(client.get_string())});
  }
  return clients;
}

Result<std::optional<bool>> flag_of(const boost::json::object& body, std::string_view name) {
  const boost::json::value* given = body.if_contains(boost::json::string_view(name.data(), name.size()));
  if (given == nullptr || given->is_null()) return std::optional<bool>();
  if (!given->is_bool()) {
    return fail(ErrorCode::kInvalidArgument, "member '" + std::string(name) + "' must be true, false or null");
  }
  return std::optional<bool>(given->get_bool());
}

Result<access::Membership> membership_of(const boost::json::object& body) {
  auto role = text_member(body, "role");
  if (!role) return std::unexpected(std::move(role).error());
  const auto known = access::role_named(*role);
  if (!known) {
    return fail(ErrorCode::kInvalidArgument, "member 'role' must be viewer, operator, manager, admin or owner");
  }
  auto clients = clients_of(body);
  if (!clients) return std::unexpected(std::move(clients).error());
  auto payloads = flag_of(body, "payloads");
  if (!payloads) return std::unexpected(std::move(payloads).error());
  return access::Membership{.role = *known, .clients = *std::move(clients), .payloads = *payloads};
}

void add_route(Router& router, std::string_view method, std::string_view path, access::Action right,
               std::function<void(Exchange)> handle) {
  router.add({.method = method,
              .path = path,
              .right = right,
              .body_bytes_max = has_body(method) ? kBodyBytesMax : 0,
              .content_types = has_body(method) ? std::vector<std::string_view>{"application/json"}
                                                : std::vector<std::string_view>{},
              .handle = std::move(handle)});
}

}  // namespace fettle::api
