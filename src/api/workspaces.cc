// The workspace of the caller: /api/v1/workspace, its plan, and handing it over; and those that the caller
// belongs to: /api/v1/workspaces.
#include <boost/json.hpp>

#include "access/workspaces.h"
#include "api/access_routes.h"
#include "api/filters.h"
#include "api/json_body.h"
#include "api/times.h"

namespace fettle::api {
namespace {

namespace json = boost::json;

void get_workspace(const AccessRoutes& routes, Exchange exchange) {
  look(routes, std::move(exchange), access::Action::kSee,
       [](db::Reader& reader, const Scope& scope) -> Result<std::string> {
         auto workspace = access::find_workspace(reader, scope);
         if (!workspace) return std::unexpected(std::move(workspace).error());
         return json::serialize(json::object{{"id", workspace->id.value},
                                             {"name", workspace->name},
                                             {"plan", json::parse(access::to_json(workspace->plan))},
                                             {"run_ai", json::parse(access::run_ai_json(workspace->run_ai))},
                                             {"created_at", format_time(workspace->created_at)}});
       });
}

void set_plan(const AccessRoutes& routes, Exchange exchange) {
  auto body = parse_object(exchange.request().body, {"name", "workflows", "agents", "concurrent_runs_max",
                                                     "month_tokens_max", "month_micro_usd_max"});
  if (!body) return exchange.problem(body.error());
  auto plan = access::plan_from_json(exchange.request().body);
  if (!plan) return exchange.problem(Error(ErrorCode::kInvalidArgument, "a member of the plan has the wrong type"));
  change(routes, std::move(exchange), 200,
         [plan = *std::move(plan)](db::Transaction& tx, const access::Change& by) -> Result<std::string> {
           if (auto done = access::set_plan(tx, by, plan); !done) return std::unexpected(std::move(done).error());
           return access::to_json(plan);
         });
}

// ?confirm=NAME: the workspace's name, so that nobody means another one.
void remove(const AccessRoutes& routes, Exchange exchange) {
  static constexpr std::string_view kOwn[] = {"confirm"};
  const http::Query& query = exchange.request().query;
  if (auto known = only_parameters(query, kOwn); !known) return exchange.problem(known.error());
  const std::string confirmed(query.get("confirm"));
  if (confirmed.empty()) {
    return exchange.problem(
        Error(ErrorCode::kInvalidArgument, "parameter 'confirm': expected the workspace's name, to be sure"));
  }
  change(routes, std::move(exchange), 200,
         [confirmed](db::Transaction& tx, const access::Change& by) -> Result<std::string> {
           auto workspace = access::find_workspace(tx, by.actor.scope);
           if (!workspace) return std::unexpected(std::move(workspace).error());
           if (workspace->name != confirmed) {
             return fail(ErrorCode::kInvalidArgument, "parameter 'confirm': this is not the workspace's name");
           }
           if (auto done = access::delete_workspace(tx, by); !done) return std::unexpected(std::move(done).error());
           return "{}";
         });
}

// {"pack","roles":[…]}: which roles may start, retry and resume the work of agents, as that pack has it.
void grant_run_ai(const AccessRoutes& routes, Exchange exchange) {
  auto body = parse_object(exchange.request().body, {"pack", "roles"});
  if (!body) return exchange.problem(body.error());
  auto pack = text_member(*body, "pack");
  if (!pack) return exchange.problem(pack.error());
  const json::value* given = body->if_contains("roles");
  if (given == nullptr || !given->is_array() || given->get_array().size() > access::kRoles.size()) {
    return exchange.problem(Error(ErrorCode::kInvalidArgument, "member 'roles' must be a list of roles, each once"));
  }
  std::vector<access::Role> roles;
  for (const json::value& one : given->get_array()) {
    const auto role = one.is_string() ? access::role_named(one.get_string()) : std::nullopt;
    if (!role) {
      return exchange.problem(
          Error(ErrorCode::kInvalidArgument, "a role is viewer, operator, manager, admin or owner"));
    }
    roles.push_back(*role);
  }
  change(routes, std::move(exchange), 200,
         [pack = std::string(*pack), roles](db::Transaction& tx, const access::Change& by) -> Result<std::string> {
           if (auto done = access::grant_run_ai(tx, by, pack, roles); !done) {
             return std::unexpected(std::move(done).error());
           }
           auto workspace = access::find_workspace(tx, by.actor.scope);
           if (!workspace) return std::unexpected(std::move(workspace).error());
           return json::serialize(json::object{{"run_ai", json::parse(access::run_ai_json(workspace->run_ai))}});
         });
}

json::object place_value(const access::Workspace& place) {
  return {{"id", place.id.value}, {"name", place.name}, {"created_at", format_time(place.created_at)}};
}

// Those that the caller belongs to: a person's, or the one of a token.
void list(const AccessRoutes& routes, Exchange exchange) {
  const access::Grant grant = exchange.caller().grant;
  look(routes, std::move(exchange), access::Action::kSee,
       [grant](db::Reader& reader, const Scope& scope) -> Result<std::string> {
         json::array items;
         if (grant.kind == access::ActorKind::kUser) {
           auto places = access::workspaces_of(reader, grant.actor_id);
           if (!places) return std::unexpected(std::move(places).error());
           for (const access::Workspace& place : *places) items.push_back(place_value(place));
         } else {
           auto place = access::find_workspace(reader, scope);
           if (!place) return std::unexpected(std::move(place).error());
           items.push_back(place_value(*place));
         }
         return json::serialize(json::object{{"items", std::move(items)}});
       });
}

// {"id","name"}: another workspace, of which whoever makes it is the owner.
void make(const AccessRoutes& routes, Exchange exchange) {
  if (!is_open(routes, exchange)) return;
  auto body = parse_object(exchange.request().body, {"id", "name"});
  if (!body) return exchange.problem(body.error());
  auto id = text_member(*body, "id");
  if (!id) return exchange.problem(id.error());
  std::string name(*id);
  if (body->contains("name")) {
    auto given = text_member(*body, "name");
    if (!given) return exchange.problem(given.error());
    name = *given;
  }
  change(routes, std::move(exchange), 201,
         [home = routes.rooms.accounts->home(), id = WorkspaceId{std::string(*id)}, name = std::move(name)](
             db::Transaction& tx, const access::Change& by) -> Result<std::string> {
           if (auto done = access::found_workspace(tx, by, home, id, name); !done) {
             return std::unexpected(std::move(done).error());
           }
           return json::serialize(place_value({.id = id, .name = name, .created_at = by.now}));
         });
}

void transfer(const AccessRoutes& routes, Exchange exchange) {
  auto body = parse_object(exchange.request().body, {"user_id"});
  if (!body) return exchange.problem(body.error());
  auto user = text_member(*body, "user_id");
  if (!user) return exchange.problem(user.error());
  change(routes, std::move(exchange), 200,
         [user = std::string(*user)](db::Transaction& tx, const access::Change& by) -> Result<std::string> {
           if (auto done = access::transfer_workspace(tx, by, user); !done) {
             return std::unexpected(std::move(done).error());
           }
           return "{}";
         });
}

}  // namespace

void add_workspace_routes(Router& router, AccessRoutes& routes) {
  using access::Action;
  const auto with = [&routes](void (*answer)(const AccessRoutes&, Exchange)) {
    return [&routes, answer](Exchange exchange) { answer(routes, std::move(exchange)); };
  };
  add_route(router, "GET", "/api/v1/workspaces", Action::kSee, with(list));
  add_route(router, "POST", "/api/v1/workspaces", Action::kMakeWorkspace, with(make));
  add_route(router, "GET", "/api/v1/workspace", Action::kSee, with(get_workspace));
  add_route(router, "DELETE", "/api/v1/workspace", Action::kDeleteWorkspace, with(remove));
  add_route(router, "PUT", "/api/v1/workspace/plan", Action::kManagePlan, with(set_plan));
  add_route(router, "PUT", "/api/v1/workspace/run-ai", Action::kManagePeople, with(grant_run_ai));
  add_route(router, "POST", "/api/v1/workspace/transfer", Action::kTransferWorkspace, with(transfer));
}

}  // namespace fettle::api
