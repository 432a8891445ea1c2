// The people of a workspace: /api/v1/members, and the links that let more of them in.
#include <fmt/format.h>

#include <boost/json.hpp>

#include "api/access_routes.h"
#include "api/json_body.h"
#include "api/times.h"

namespace fettle::api {
namespace {

namespace json = boost::json;

json::object membership_value(const access::Membership& membership) {
  json::value clients = nullptr;
  if (!membership.clients.empty()) {
    json::array array;
    for (const ClientId& client : membership.clients) array.emplace_back(client.value);
    clients = std::move(array);
  }
  return {{"role", access::to_string(membership.role)},
          {"clients", std::move(clients)},
          {"payloads", membership.payloads ? json::value(*membership.payloads) : json::value(nullptr)}};
}

void list_members(const AccessRoutes& routes, Exchange exchange) {
  static constexpr std::string_view kParameters[] = {"after"};
  std::string after(exchange.request().query.get("after"));
  look(
      routes, std::move(exchange), access::Action::kManagePeople,
      [after = std::move(after)](db::Reader& reader, const Scope& scope) -> Result<std::string> {
        auto members = access::list_members(reader, scope, after);
        if (!members) return std::unexpected(std::move(members).error());
        json::array list;
        for (const access::Member& member : *members) {
          json::object one =
              membership_value({.role = member.role, .clients = member.clients, .payloads = member.payloads});
          one.emplace("user_id", member.user_id);
          one.emplace("email", member.email);
          one.emplace("name", member.name);
          one.emplace("disabled", member.is_disabled);
          one.emplace("created_at", format_time(member.created_at));
          list.push_back(std::move(one));
        }
        return json::serialize(json::object{{"members", std::move(list)}});
      },
      kParameters);
}

void change_member(const AccessRoutes& routes, Exchange exchange) {
  auto body = parse_object(exchange.request().body, {"role", "clients", "payloads"});
  if (!body) return exchange.problem(body.error());
  auto membership = membership_of(*body);
  if (!membership) return exchange.problem(membership.error());
  const std::string user = exchange.parameter("user_id");
  change(routes, std::move(exchange), 200,
         [user, membership = *std::move(membership)](db::Transaction& tx,
                                                     const access::Change& by) -> Result<std::string> {
           if (auto done = access::change_member(tx, by, user, membership); !done) {
             return std::unexpected(std::move(done).error());
           }
           return "{}";
         });
}

void remove_member(const AccessRoutes& routes, Exchange exchange) {
  const std::string user = exchange.parameter("user_id");
  change(routes, std::move(exchange), 200,
         [user](db::Transaction& tx, const access::Change& by) -> Result<std::string> {
           if (auto done = access::remove_member(tx, by, user); !done) return std::unexpected(std::move(done).error());
           return "{}";
         });
}

void set_disabled(const AccessRoutes& routes, Exchange exchange) {
  auto body = parse_object(exchange.request().body, {"disabled"});
  if (!body) return exchange.problem(body.error());
  auto disabled = flag_of(*body, "disabled");
  if (!disabled) return exchange.problem(disabled.error());
  if (!*disabled) return exchange.problem(Error(ErrorCode::kInvalidArgument, "member 'disabled' is missing"));
  const std::string user = exchange.parameter("user_id");
  change(routes, std::move(exchange), 200,
         [user, value = **disabled](db::Transaction& tx, const access::Change& by) -> Result<std::string> {
           if (auto done = access::set_disabled(tx, by, user, value); !done) {
             return std::unexpected(std::move(done).error());
           }
           return "{}";
         });
}

// Answers with the link, which is shown here and nowhere else.
void answer_with_link(
    const AccessRoutes& routes, Exchange exchange,
    std::move_only_function<Result<void>(db::Transaction&, const access::Change&, const access::NewLink&)> make) {
  if (!is_open(routes, exchange)) return;
  const access::NewLink made{.id = access::make_identifier("lnk_", *routes.rooms.rng),
                             .credential = access::make_credential(access::CredentialKind::kLink, *routes.rooms.rng)};
  change(routes, std::move(exchange),
         [made, make = std::move(make)](db::Transaction& tx, const access::Change& by) mutable -> Result<Answer> {
           if (auto done = make(tx, by, made); !done) return std::unexpected(std::move(done).error());
           const UnixNanos expires_at = by.now + std::chrono::nanoseconds(made.lifetime).count();
           json::object link = {
               {"id", made.id}, {"path", access::link_path(made.credential)}, {"expires_at", format_time(expires_at)}};
           Answer answer{.status = 201, .body = json::serialize(link)};
           link["path"] = nullptr;
           link["shown_once"] = "the link was in the first answer alone; if that was lost, revoke this one";
           answer.stored_body = json::serialize(link);
           return answer;
         });
}

void invite(const AccessRoutes& routes, Exchange exchange) {
  auto body = parse_object(exchange.request().body, {"email", "role", "clients", "payloads"});
  if (!body) return exchange.problem(body.error());
  auto email = text_member(*body, "email");
  if (!email) return exchange.problem(email.error());
  auto membership = membership_of(*body);
  if (!membership) return exchange.problem(membership.error());
  answer_with_link(routes, std::move(exchange),
                   [email = std::string(*email), membership = *std::move(membership)](
                       db::Transaction& tx, const access::Change& by, const access::NewLink& made) {
                     return access::invite(tx, by, made, email, membership);
                   });
}

void reset_password(const AccessRoutes& routes, Exchange exchange) {
  const std::string user = exchange.parameter("user_id");
  answer_with_link(routes, std::move(exchange),
                   [user](db::Transaction& tx, const access::Change& by, const access::NewLink& made) {
                     return access::make_password_reset(tx, by, made, user);
                   });
}

void list_links(const AccessRoutes& routes, Exchange exchange) {
  look(routes, std::move(exchange), access::Action::kManagePeople,
       [now = routes.clock.now()](db::Reader& reader, const Scope& scope) -> Result<std::string> {
         auto links = access::list_links(reader, scope, now);
         if (!links) return std::unexpected(std::move(links).error());
         json::array list;
         for (const access::Link& link : *links) {
           json::object one = membership_value(link.membership);
           one.emplace("id", link.id);
           one.emplace("purpose", access::to_string(link.purpose));
           one.emplace("email", link.email);
           one.emplace("created_by", link.created_by);
           one.emplace("created_at", format_time(link.created_at));
           one.emplace("expires_at", format_time(link.expires_at));
           list.push_back(std::move(one));
         }
         return json::serialize(json::object{{"links", std::move(list)}});
       });
}

void revoke_link(const AccessRoutes& routes, Exchange exchange) {
  const std::string id = exchange.parameter("link_id");
  change(routes, std::move(exchange), 200, [id](db::Transaction& tx, const access::Change& by) -> Result<std::string> {
    if (auto done = access::revoke_link(tx, by, id); !done) return std::unexpected(std::move(done).error());
    return "{}";
  });
}

}  // namespace

void add_member_routes(Router& router, AccessRoutes& routes) {
  constexpr auto kRight = access::Action::kManagePeople;
  const auto with = [&routes](void (*answer)(const AccessRoutes&, Exchange)) {
    return [&routes, answer](Exchange exchange) { answer(routes, std::move(exchange)); };
  };
  add_route(router, "GET", "/api/v1/members", kRight, with(list_members));
  add_route(router, "PATCH", "/api/v1/members/{user_id}", kRight, with(change_member));
  add_route(router, "DELETE", "/api/v1/members/{user_id}", kRight, with(remove_member));
  add_route(router, "POST", "/api/v1/members/{user_id}/disabled", kRight, with(set_disabled));
  add_route(router, "POST", "/api/v1/members/{user_id}/password-link", kRight, with(reset_password));
  add_route(router, "GET", "/api/v1/links", kRight, with(list_links));
  add_route(router, "POST", "/api/v1/links", kRight, with(invite));
  add_route(router, "DELETE", "/api/v1/links/{link_id}", kRight, with(revoke_link));
}

}  // namespace fettle::api
