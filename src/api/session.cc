// People at the door: /api/v1/session (sign in, who am I, sign out), one's password, links.
#include <boost/json.hpp>

#include "access/links.h"
#include "api/access_routes.h"
#include "api/json_body.h"
#include "api/times.h"
#include "core/json.h"

namespace fettle::api {
namespace {

namespace json = boost::json;

constexpr std::size_t kBodyBytesMax = 16 * 1024;

void add_public_post(Router& router, std::string_view path, std::function<void(Exchange)> handle) {
  router.add({.method = "POST",
              .path = path,
              .right = std::nullopt,
              .body_bytes_max = kBodyBytesMax,
              .content_types = {"application/json"},
              .handle = std::move(handle)});
}

// A new session: its cookie, and what a page needs to go on.
void welcome(Exchange exchange, Result<access::Accounts::SignedIn> signed_in, bool secure) {
  if (!signed_in) return exchange.problem(signed_in.error());
  std::string body = R"({"user_id":)";
  append_json_string(body, signed_in->user_id);
  body += R"(,"csrf_token":)";
  append_json_string(body, signed_in->csrf_token);
  http::Response response = http::Response::make(200, "application/json", body + '}');
  response.headers.set("Set-Cookie", access::session_cookie(signed_in->credential, signed_in->age_max, secure));
  exchange.respond(std::move(response));
}

void log_in(const AccessRoutes& routes, Exchange exchange) {
  if (!is_open(routes, exchange)) return;
  auto body = parse_object(exchange.request().body, {"email", "password"});
  if (!body) return exchange.problem(body.error());
  auto email = text_member(*body, "email");
  if (!email) return exchange.problem(email.error());
  auto password = text_member(*body, "password");
  if (!password) return exchange.problem(password.error());
  const bool secure = is_secure(routes, exchange);
  auto asked = from(routes, exchange);
  routes.rooms.accounts->log_in(
      std::string(*email), Secret(std::string(*password)), std::move(asked),
      [held = std::move(exchange), secure](Result<access::Accounts::SignedIn> signed_in) mutable {
        welcome(std::move(held), std::move(signed_in), secure);
      });
}

void redeem(const AccessRoutes& routes, Exchange exchange) {
  if (!is_open(routes, exchange)) return;
  auto body = parse_object(exchange.request().body, {"link", "email", "name", "password"});
  if (!body) return exchange.problem(body.error());
  std::string texts[4];
  constexpr std::string_view kNames[] = {"link", "password", "email", "name"};
  for (std::size_t i = 0; i < 4; ++i) {
    if (i >= 2 && !body->contains(json::string_view(kNames[i].data(), kNames[i].size()))) continue;
    auto text = text_member(*body, kNames[i]);
    if (!text) return exchange.problem(text.error());
    texts[i] = *text;
  }
  const bool secure = is_secure(routes, exchange);
  auto asked = from(routes, exchange);
  routes.rooms.accounts->redeem(
      std::move(texts[0]), std::move(texts[2]), std::move(texts[3]), Secret(std::move(texts[1])), std::move(asked),
      [held = std::move(exchange), secure](Result<access::Accounts::SignedIn> signed_in) mutable {
        welcome(std::move(held), std::move(signed_in), secure);
      });
}

// What the page behind a link asks for depends on what the link is for. Nothing is told that its mail did not say.
void look_at_link(const AccessRoutes& routes, Exchange exchange) {
  if (!is_open(routes, exchange)) return;
  auto body = parse_object(exchange.request().body, {"link"});
  if (!body) return exchange.problem(body.error());
  auto link = text_member(*body, "link");
  if (!link) return exchange.problem(link.error());
  routes.rooms.ledger->read(
      [credential = std::string(*link), now = routes.clock.now()](db::Reader& reader) {
        return access::find_link(reader, credential, now);
      },
      db::Database::Done<access::Link>([held = std::move(exchange)](Result<access::Link> found) mutable {
        if (!found) return held.problem(found.error());
        held.json(json::serialize(json::object{{"purpose", access::to_string(found->purpose)},
                                               {"email", found->email},
                                               {"workspace", found->workspace.value},
                                               {"role", access::to_string(found->membership.role)},
                                               {"expires_at", format_time(found->expires_at)}}));
      }));
}

json::value clients_value(const std::vector<ClientId>& clients) {
  if (clients.empty()) return nullptr;
  json::array array;
  for (const ClientId& client : clients) array.emplace_back(client.value);
  return array;
}

// Who the browser's session is, where they belong, and what they may do here: the list that the screens mirror.
void get_session(const AccessRoutes& routes, Exchange exchange) {
  if (!is_open(routes, exchange)) return;
  auto person = routes.authenticator.authenticate_person(exchange.request());
  if (!person) return exchange.problem(person.error());
  const std::string credential = access::session_in_cookies(exchange.request().headers.get("Cookie"));
  routes.rooms.ledger->read(
      [user = person->grant.actor_id](db::Reader& reader) { return access::workspaces_of(reader, user); },
      db::Database::Done<std::vector<access::Workspace>>(
          [held = std::move(exchange), person = *std::move(person),
           credential](Result<std::vector<access::Workspace>> places) mutable {
            if (!places) return held.problem(places.error());
            json::array workspaces;
            for (const access::Workspace& place : *places) {
              workspaces.push_back(json::object{{"id", place.id.value}, {"name", place.name}});
            }
            json::object may;
            for (const access::Right& right : access::rights()) {
              const access::Decision decision = access::can(person.grant, right.action, {});
              if (access::could(person.grant, right.action)) {
                may.emplace(right.name, true);
              } else {
                may.emplace(right.name, decision.reason);
              }
            }
            held.json(json::serialize(json::object{{"user_id", person.grant.actor_id},
                                                   {"email", person.email},
                                                   {"name", person.name},
                                                   {"workspace", person.grant.scope.workspace.value},
                                                   {"role", access::to_string(*person.grant.role)},
                                                   {"clients", clients_value(person.grant.scope.clients)},
                                                   {"payloads", access::could(person.grant, access::Action::kReveal)},
                                                   {"workspaces", std::move(workspaces)},
                                                   {"can", std::move(may)},
                                                   {"csrf_token", access::csrf_token_of(credential)}}));
          }));
}

void log_out(const AccessRoutes& routes, Exchange exchange) {
  if (!is_open(routes, exchange)) return;
  auto person = routes.authenticator.authenticate_person(exchange.request());
  if (!person) return exchange.problem(person.error());
  const bool secure = is_secure(routes, exchange);
  auto asked = from(routes, exchange);
  routes.rooms.accounts->log_out(*person, std::move(asked),
                                 [held = std::move(exchange), secure](const Result<void>& ended) mutable {
                                   if (!ended) return held.problem(ended.error());
                                   http::Response response = http::Response::make(200, "application/json", "{}");
                                   response.headers.set("Set-Cookie", access::ended_session_cookie(secure));
                                   held.respond(std::move(response));
                                 });
}

void set_password(const AccessRoutes& routes, Exchange exchange) {
  if (!is_open(routes, exchange)) return;
  auto person = routes.authenticator.authenticate_person(exchange.request());
  if (!person) return exchange.problem(person.error());
  auto body = parse_object(exchange.request().body, {"current", "password"});
  if (!body) return exchange.problem(body.error());
  auto current = text_member(*body, "current");
  if (!current) return exchange.problem(current.error());
  auto wanted = text_member(*body, "password");
  if (!wanted) return exchange.problem(wanted.error());
  auto asked = from(routes, exchange);
  routes.rooms.accounts->change_password(*person, Secret(std::string(*current)), Secret(std::string(*wanted)),
                                         std::move(asked),
                                         [held = std::move(exchange)](const Result<void>& changed) mutable {
                                           if (!changed) return held.problem(changed.error());
                                           held.json("{}");
                                         });
}

void accept(const AccessRoutes& routes, Exchange exchange) {
  if (!is_open(routes, exchange)) return;
  auto person = routes.authenticator.authenticate_person(exchange.request());
  if (!person) return exchange.problem(person.error());
  auto body = parse_object(exchange.request().body, {"link"});
  if (!body) return exchange.problem(body.error());
  auto link = text_member(*body, "link");
  if (!link) return exchange.problem(link.error());
  change(routes, std::move(exchange), 200,
         [accounts = routes.rooms.accounts, person = *std::move(person), link = std::string(*link)](
             db::Transaction& tx, const access::Change& by) -> Result<std::string> {
           if (auto done = accounts->accept(tx, by, person, link); !done) return std::unexpected(done.error());
           return "{}";
         });
}

}  // namespace

void add_session_routes(Router& router, AccessRoutes& routes) {
  using access::Action;
  const auto with = [&routes](void (*answer)(const AccessRoutes&, Exchange)) {
    return [&routes, answer](Exchange exchange) { answer(routes, std::move(exchange)); };
  };
  add_public_post(router, "/api/v1/session", with(log_in));
  add_public_post(router, "/api/v1/links/redeem", with(redeem));
  add_public_post(router, "/api/v1/links/look", with(look_at_link));
  add_route(router, "GET", "/api/v1/session", Action::kOwnAccount, with(get_session));
  add_route(router, "DELETE", "/api/v1/session", Action::kOwnAccount, with(log_out));
  add_route(router, "POST", "/api/v1/session/password", Action::kOwnAccount, with(set_password));
  add_route(router, "POST", "/api/v1/links/accept", Action::kOwnAccount, with(accept));
}

}  // namespace fettle::api
