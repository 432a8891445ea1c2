// The tokens of programs: /api/v1/tokens. A token's text is in the answer to its creation and nowhere else.
#include <boost/json.hpp>

#include "access/token_store.h"
#include "api/access_routes.h"
#include "api/json_body.h"
#include "api/times.h"

namespace fettle::api {
namespace {

namespace json = boost::json;

json::value time_value(const std::optional<UnixNanos>& time) {
  return time ? json::value(format_time(*time)) : json::value(nullptr);
}

json::array scopes_value(access::TokenScopes scopes) {
  json::array array;
  for (const access::TokenScope scope : access::kTokenScopes) {
    if (scopes & access::bit(scope)) array.emplace_back(access::to_string(scope));
  }
  return array;
}

Result<access::TokenScopes> scopes_of(const json::object& body) {
  const json::value* given = body.if_contains("scopes");
  if (given == nullptr || !given->is_array()) {
    return fail(ErrorCode::kInvalidArgument, "member 'scopes' must be a list of scopes");
  }
  access::TokenScopes scopes = 0;
  for (const json::value& name : given->get_array()) {
    const auto scope = name.is_string() ? access::token_scope_named(name.get_string()) : std::nullopt;
    if (!scope) return fail(ErrorCode::kInvalidArgument, "a scope is ingest, read, work, operate or admin");
    scopes |= access::bit(*scope);
  }
  return scopes;
}

void list_tokens(const AccessRoutes& routes, Exchange exchange) {
  look(routes, std::move(exchange), access::Action::kManageTokens,
       [](db::Reader& reader, const Scope& scope) -> Result<std::string> {
         auto tokens = access::list_tokens(reader, scope);
         if (!tokens) return std::unexpected(std::move(tokens).error());
         json::array list;
         for (const access::StoredToken& token : *tokens) {
           json::value clients = nullptr;
           if (!token.clients.empty()) {
             json::array array;
             for (const ClientId& client : token.clients) array.emplace_back(client.value);
             clients = std::move(array);
           }
           list.push_back(
               json::object{{"id", token.id},
                            {"name", token.name},
                            {"hint", token.hint},
                            {"scopes", scopes_value(token.scopes)},
                            {"clients", std::move(clients)},
                            {"payloads", token.payloads ? json::value(*token.payloads) : json::value(nullptr)},
                            {"created_by", token.created_by},
                            {"created_at", format_time(token.created_at)},
                            {"expires_at", time_value(token.expires_at)},
                            {"revoked_at", time_value(token.revoked_at)},
                            {"last_used_at", time_value(token.last_used_at)}});
         }
         return json::serialize(json::object{{"tokens", std::move(list)}});
       });
}

void create_token(const AccessRoutes& routes, Exchange exchange) {
  if (!is_open(routes, exchange)) return;
  auto body = parse_object(exchange.request().body, {"name", "scopes", "clients", "payloads", "expires_at"});
  if (!body) return exchange.problem(body.error());
  auto name = text_member(*body, "name");
  if (!name) return exchange.problem(name.error());
  auto scopes = scopes_of(*body);
  if (!scopes) return exchange.problem(scopes.error());
  auto clients = clients_of(*body);
  if (!clients) return exchange.problem(clients.error());
  auto payloads = flag_of(*body, "payloads");
  if (!payloads) return exchange.problem(payloads.error());
  std::optional<UnixNanos> expires_at;
  if (const json::value* given = body->if_contains("expires_at"); given != nullptr && !given->is_null()) {
    auto text = text_member(*body, "expires_at");
    if (!text) return exchange.problem(text.error());
    auto time = parse_time(*text, routes.clock.now());
    if (!time) return exchange.problem(time.error());
    expires_at = *time;
  }
  const access::NewToken made{.id = access::make_identifier("tok_", *routes.rooms.rng),
                              .credential = access::make_credential(access::CredentialKind::kToken, *routes.rooms.rng),
                              .name = std::string(*name),
                              .scopes = *scopes,
                              .clients = *std::move(clients),
                              .payloads = *payloads,
                              .expires_at = expires_at};
  change(routes, std::move(exchange), [made](db::Transaction& tx, const access::Change& by) -> Result<Answer> {
    if (auto done = access::create_token(tx, by, made); !done) return std::unexpected(std::move(done).error());
    return Answer{.status = 201,
                  .body = json::serialize(json::object{{"id", made.id}, {"token", made.credential}}),
                  .stored_body = json::serialize(json::object{
                      {"id", made.id},
                      {"token", nullptr},
                      {"shown_once", "the token was in the first answer alone; if that was lost, revoke this one"}})};
  });
}

void revoke_token(const AccessRoutes& routes, Exchange exchange) {
  const std::string id = exchange.parameter("token_id");
  change(routes, std::move(exchange), 200, [id](db::Transaction& tx, const access::Change& by) -> Result<std::string> {
    if (auto done = access::revoke_token(tx, by, id); !done) return std::unexpected(std::move(done).error());
    return "{}";
  });
}

}  // namespace

void add_token_routes(Router& router, AccessRoutes& routes) {
  constexpr auto kRight = access::Action::kManageTokens;
  const auto with = [&routes](void (*answer)(const AccessRoutes&, Exchange)) {
    return [&routes, answer](Exchange exchange) { answer(routes, std::move(exchange)); };
  };
  add_route(router, "GET", "/api/v1/tokens", kRight, with(list_tokens));
  add_route(router, "POST", "/api/v1/tokens", kRight, with(create_token));
  add_route(router, "DELETE", "/api/v1/tokens/{token_id}", kRight, with(revoke_token));
}

}  // namespace fettle::api
