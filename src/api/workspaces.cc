// The workspace of the caller: /api/v1/workspace, its plan, and handing it over.
#include <boost/json.hpp>

#include "access/workspaces.h"
#include "api/access_routes.h"
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
  add_route(router, "GET", "/api/v1/workspace", Action::kSee, with(get_workspace));
  add_route(router, "PUT", "/api/v1/workspace/plan", Action::kManagePlan, with(set_plan));
  add_route(router, "POST", "/api/v1/workspace/transfer", Action::kTransferWorkspace, with(transfer));
}

}  // namespace fettle::api
