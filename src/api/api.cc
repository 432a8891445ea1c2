#include "api/api.h"

#include <fmt/format.h>

#include <algorithm>

#include "api/problem.h"
#include "api/work.h"
#include "http/problem.h"

namespace fettle::api {
namespace {

constexpr std::size_t kQueryBodyBytesMax = 256 * 1024;
constexpr std::size_t kHealthQueueMax = 64;
constexpr int kExportThreads = 2;
constexpr std::size_t kExportQueueMax = 8;

std::string_view path_of(const http::Request& request) {
  const std::string_view target = request.target;
  return target.substr(0, target.find('?'));
}

bool has_body(const http::Request& request) {
  return request.headers.has("Transfer-Encoding") ||
         (request.headers.has("Content-Length") && request.headers.get("Content-Length") != "0");
}

// A browser asking for a page of the UI, at whatever path the UI has made up.
bool asks_for_page(const http::Request& request) {
  if (request.method != "GET" && request.method != "HEAD") return false;
  const std::string_view path = path_of(request);
  for (const std::string_view reserved : {"/api/", "/v1/", "/metrics", "/health"}) {
    if (path.starts_with(reserved)) return false;
  }
  return true;
}

}  // namespace

// What the header of a request was found to be good for.
struct Api::Admission {
  const Route* route = nullptr;  // null: a page of the UI, or nothing that exists
  PathParameters parameters;
  Exchange::Caller caller;
  std::string allow;  // set: the path exists with these methods alone
};

Api::Api(Services services, Limits limits)
    : services_(services),
      limits_(limits),
      ui_(embedded_files()),
      access_{.rooms = services.access,
              .authenticator = services.authenticator,
              .clock = services.clock,
              .proxies = services.proxies,
              .metrics = services.metrics},
      work_(new Work{
          .rooms = services.work, .clock = services.clock, .metrics = services.metrics, .redactor = services.redactor}),
      tails_(services.reader, services.authenticator, services.clock, services.metrics, limits.tails),
      health_pool_("health", 1, kHealthQueueMax, services.metrics),
      exports_("exports", kExportThreads, kExportQueueMax, services.metrics),
      reads_("reads", limits.query_threads, limits.query_queue_max, services.metrics) {
  if (services.work.outbox != nullptr) {
    streams_.emplace(*services.work.outbox, services.authenticator, services.clock, services.metrics, limits.streams);
  }
  add_routes();
}

Api::~Api() { stop(); }

void Api::stop() {
  tails_.stop();
  if (streams_) streams_->stop();
  reads_.stop();
  exports_.stop();
  health_pool_.stop();
}

void Api::add_routes() {
  using access::Action;
  // The busiest first: a request is matched against them in this order.
  add_report_routes(router_, *work_);
  add_lease_routes(router_, *work_);
  add_run_routes(router_, *work_);
  add_run_view_routes(router_, *work_);
  add_run_action_routes(router_, *work_);
  add_worker_routes(router_, *work_);
  add_observed_routes(router_, *work_);
  add_record_routes(router_, *work_);
  add_switch_routes(router_, *work_);
  add_side_effect_routes(router_, *work_);
  add_policy_routes(router_, *work_);
  add_approval_routes(router_, *work_);
  add_bulk_routes(router_, *work_);
  add_schedule_routes(router_, *work_);
  add_retry_policy_routes(router_, *work_);
  add_limit_routes(router_, *work_);
  add_action_class_routes(router_, *work_);
  add_personal_data_routes(router_, *work_);
  add_audit_routes(router_, *work_, exports_);
  add_attachment_routes(router_, *work_);
  add_webhook_routes(router_, *work_);
  const auto get = [this](std::string_view path, std::optional<Action> right, void (Api::*answer)(Exchange)) {
    router_.add({.method = "GET",
                 .path = path,
                 .right = right,
                 .body_bytes_max = 0,
                 .content_types = {},
                 .handle = [this, answer](Exchange exchange) { (this->*answer)(std::move(exchange)); }});
  };
  const auto post = [this](std::string_view path, std::optional<Action> right, void (Api::*answer)(Exchange)) {
    router_.add({.method = "POST",
                 .path = path,
                 .right = right,
                 .body_bytes_max = kQueryBodyBytesMax,
                 .content_types = {"application/json"},
                 .handle = [this, answer](Exchange exchange) { (this->*answer)(std::move(exchange)); }});
  };
  get("/api/v1/traces/{trace_id}", Action::kSee, &Api::get_trace);
  get("/api/v1/traces/{trace_id}/outline", Action::kSee, &Api::get_outline);
  get("/api/v1/spans", Action::kSee, &Api::get_spans);
  get("/api/v1/logs", Action::kSee, &Api::get_logs);
  get("/api/v1/logs/histogram", Action::kSee, &Api::get_logs_histogram);
  get("/api/v1/logs/tail", Action::kSee, &Api::tail_logs);
  get("/api/v1/stream", Action::kSee, &Api::stream_events);
  get("/api/v1/journeys/{value}", Action::kSee, &Api::get_journey);
  get("/api/v1/resolve", Action::kSee, &Api::resolve);
  post("/api/v1/sql", Action::kSee, &Api::run_sql);
  get("/api/v1/ingest/balance", Action::kSee, &Api::get_balance);
  get("/api/v1/ingest/status", Action::kSee, &Api::get_ingest_status);
  post("/api/v1/redaction/preview", Action::kSee, &Api::preview_redaction);
  get("/api/v1/me", std::nullopt, &Api::get_me);
  get("/health", std::nullopt, &Api::get_health);
  get("/health/live", std::nullopt, &Api::get_live);
  get("/health/ready", std::nullopt, &Api::get_ready);
  get("/metrics", Action::kSee, &Api::get_metrics);
  get("/api/v1/openapi.json", std::nullopt, &Api::get_openapi);
  add_session_routes(router_, access_);
  add_member_routes(router_, access_);
  add_token_routes(router_, access_);
  add_workspace_routes(router_, access_);
}

std::vector<std::pair<std::string, std::string>> Api::route_rights() const {
  std::vector<std::pair<std::string, std::string>> rights;
  for (const Route& route : router_.routes()) {
    rights.emplace_back(fmt::format("{} {}", route.method, route.path),
                        route.right ? access::right_of(*route.right).name : "none");
  }
  return rights;
}

std::vector<std::string> Api::route_names() const {
  std::vector<std::string> names;
  for (const Route& route : router_.routes()) names.push_back(fmt::format("{} {}", route.method, route.path));
  for (const Mount& mount : mounts_) names.push_back(fmt::format("{} {}", mount.method, mount.path));
  return names;
}

const Mount* Api::mounted(const http::Request& request) const {
  const auto found = std::ranges::find_if(
      mounts_, [&](const Mount& mount) { return mount.method == request.method && mount.path == path_of(request); });
  return found == mounts_.end() ? nullptr : &*found;
}

Result<Api::Admission> Api::admit(const http::Request& request) const {
  // First of all, so that a foreign page does not even learn which paths exist.
  if (auto origin = services_.authenticator.check_request_origin(request); !origin) {
    return std::unexpected(std::move(origin).error());
  }
  auto match = router_.match(request.method, path_of(request));
  if (!match) return std::unexpected(std::move(match).error());
  Admission admission{.route = match->route,
                      .parameters = std::move(match->parameters),
                      .caller = {},
                      .allow = std::move(match->allow)};
  if (admission.route == nullptr) return admission;

  const Route& route = *admission.route;
  auto grant = services_.authenticator.authenticate(request);
  if (grant) {
    admission.caller = {.grant = std::move(*grant), .is_known = true};
  } else if (route.right || request.headers.has("Authorization")) {
    return std::unexpected(std::move(grant).error());
  } else {
    admission.caller.is_known = false;
  }
  if (route.right && !access::could(admission.caller.grant, *route.right)) {
    return fail(ErrorCode::kPermissionDenied, access::can(admission.caller.grant, *route.right).reason);
  }
  if (!route.content_types.empty() && has_body(request)) {
    const std::string type = access::media_type_of(request.headers.get("Content-Type"));
    if (std::ranges::find(route.content_types, type) == route.content_types.end()) {
      return fail(ErrorCode::kUnsupported, fmt::format("send Content-Type {}", fmt::join(route.content_types, " or ")));
    }
    if (request.headers.has("Content-Encoding") && request.headers.get("Content-Encoding") != "identity") {
      return fail(ErrorCode::kUnsupported, "send the body without Content-Encoding");
    }
  }
  return admission;
}

http::Response Api::no_route(const http::Request& request, std::string allow, std::string_view request_id) const {
  for (const Mount& mount : mounts_) {
    if (mount.path == path_of(request)) allow = mount.method;
  }
  if (allow.empty()) {
    return problem(Error(ErrorCode::kNotFound, "no such path; /api/v1/openapi.json lists them"), request_id);
  }
  http::Response response = http::problem(405, "method_not_allowed", "this path does not know the method", request_id);
  response.headers.set("Allow", std::move(allow));
  return response;
}

http::GateDecision Api::decide(http::Request& request) {
  if (const Mount* mount = mounted(request)) return mount->gate(request);
  http::GateDecision decision;
  decision.body_bytes_max = 0;
  // Without a body nothing has to be refused early, and the connection is worth keeping.
  if (!has_body(request)) return decision;
  const std::string id = http::request_id_of(request);
  auto admission = admit(request);
  if (admission && admission->route != nullptr) {
    decision.body_bytes_max = admission->route->body_bytes_max;
    return decision;
  }
  decision.refuse = std::make_unique<http::Response>(admission ? no_route(request, std::move(admission->allow), id)
                                                               : problem(admission.error(), id));
  decision.refuse->headers.set("X-Request-Id", id);
  return decision;
}

void Api::handle(http::Request request, http::Responder responder) {
  if (const Mount* mount = mounted(request)) return mount->handler(std::move(request), std::move(responder));
  std::string id = http::request_id_of(request);
  Exchange exchange(std::move(request), std::move(responder), std::move(id), services_.clock, services_.metrics);
  auto admission = admit(exchange.request());
  if (!admission) return exchange.problem(admission.error());
  if (admission->route == nullptr) {
    if (admission->allow.empty() && asks_for_page(exchange.request())) return get_page(std::move(exchange));
    return exchange.respond(no_route(exchange.request(), std::move(admission->allow), exchange.request_id()));
  }
  const Route& route = *admission->route;
  exchange.set_route(route.method, route.path, std::move(admission->parameters), std::move(admission->caller));
  route.handle(std::move(exchange));
}

http::Gate Api::gate() {
  return [this](http::Request& request) { return decide(request); };
}

http::Handler Api::handler() {
  return [this](http::Request request, http::Responder responder) { handle(std::move(request), std::move(responder)); };
}

}  // namespace fettle::api
