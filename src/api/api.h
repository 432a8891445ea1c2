// The HTTP interface: routes, who may call them, and how errors, ids and limits look on the wire. It decides nothing
// about telemetry; it asks the rooms below and writes down what they say.
//
//   api::Api api(services, limits);
//   api.mount({"POST", "/v1/traces", receiver.gate(), receiver.handler()});
//   server.listen("127.0.0.1:7070", api.gate(), api.handler());
//
// Outlives the http::Server it is given to: stop the server first, then the Api. Thread-safe once mounted.
#pragma once

#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "access/authenticator.h"
#include "api/access_routes.h"
#include "api/event_streams.h"
#include "api/filters.h"
#include "api/ingest_view.h"
#include "api/log_tails.h"
#include "api/read_pool.h"
#include "api/router.h"
#include "api/trusted_proxies.h"
#include "api/web_ui.h"
#include "api/work_rooms.h"
#include "core/clock.h"
#include "core/metrics.h"
#include "health/health.h"
#include "http/server.h"
#include "telemetry/reader.h"

namespace fettle::redact {
struct Rule;
class Redactor;
}  // namespace fettle::redact

namespace fettle::api {

struct Work;

// What the API asks; all of it outlives the Api.
struct Services {
  access::Authenticator& authenticator;
  telemetry::Reader& reader;
  IngestView& ingest;
  health::Health& health;
  const redact::Redactor& redactor;
  metrics::Registry& metrics;
  Clock& clock;
  AccessRooms access = {};
  WorkRooms work = {};
  TrustedProxies proxies = {};
};

struct Limits {
  int query_threads = 4;
  std::size_t query_queue_max = 64;
  std::chrono::milliseconds query_time_max{30'000};
  telemetry::TraceLimits trace;
  telemetry::TraceLimits outline{.rows_max = 200'000, .bytes_max = 256ULL * 1024 * 1024};
  telemetry::SqlLimits sql;
  LogTails::Limits tails;
  EventStreams::Limits streams;
};

// A path that another room answers by itself, its own gate included (OTLP on this listener).
struct Mount {
  std::string method;
  std::string path;
  http::Gate gate;
  http::Handler handler;
};

class Api {
 public:
  Api(Services services, Limits limits);
  ~Api();
  Api(const Api&) = delete;
  Api& operator=(const Api&) = delete;

  // Before the server starts.
  void mount(Mount mount) { mounts_.push_back(std::move(mount)); }

  http::Gate gate();
  http::Handler handler();

  // Ends tails, streams and reads. Idempotent.
  void stop();

  // Every route of its own and every mounted one as "GET /api/v1/spans", for the check against the OpenAPI document.
  std::vector<std::string> route_names() const;
  // Its own routes with the name of the right that each asks for, or "none".
  std::vector<std::pair<std::string, std::string>> route_rights() const;

 private:
  struct Admission;

  http::GateDecision decide(http::Request& request);
  void handle(http::Request request, http::Responder responder);
  Result<Admission> admit(const http::Request& request) const;
  const Mount* mounted(const http::Request& request) const;
  // 404, or 405 with the methods that the path has.
  http::Response no_route(const http::Request& request, std::string allow, std::string_view request_id) const;
  telemetry::ReadOptions read_options(const std::stop_token& stop) const { return {stop, limits_.query_time_max}; }
  FilterContext filter_context() const { return {services_.clock.now(), services_.reader.identifier_kinds()}; }

  void add_routes();
  void get_trace(Exchange exchange);
  void get_outline(Exchange exchange);
  void get_spans(Exchange exchange);
  void get_logs(Exchange exchange);
  void get_logs_histogram(Exchange exchange);
  void tail_logs(Exchange exchange);
  void stream_events(Exchange exchange);
  void get_journey(Exchange exchange);
  void resolve(Exchange exchange);
  void run_sql(Exchange exchange);
  void get_balance(Exchange exchange);
  void get_ingest_status(Exchange exchange);
  void preview_redaction(Exchange exchange);
  void get_me(Exchange exchange);
  Result<std::string> preview(std::string_view request, const std::stop_token& stop);
  void get_health(Exchange exchange);
  void get_live(Exchange exchange);
  void get_ready(Exchange exchange);
  void get_metrics(Exchange exchange);
  void get_openapi(Exchange exchange);
  void get_page(Exchange exchange);

  const Services services_;
  const Limits limits_;
  const WebUi ui_;
  AccessRoutes access_;
  const std::unique_ptr<Work> work_;  // what the routes of the work half share
  Router router_;
  std::vector<Mount> mounts_;
  LogTails tails_;
  std::optional<EventStreams> streams_;  // where there is a ledger
  std::mutex preview_mutex_;             // held by the one redaction preview that runs
  ReadPool health_pool_;                 // of its own, so that probes are answered while every query thread is busy
  ReadPool exports_;                     // likewise: a long answer to a slow reader takes no query thread
  ReadPool reads_;                       // last: its threads use everything above
};

}  // namespace fettle::api
