#include "server/server.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <optional>
#include <thread>

#include "api/api.h"
#include "core/log.h"
#include "core/metrics.h"
#include "core/rng.h"
#include "health/health.h"
#include "http/outbound_client.h"
#include "http/server.h"
#include "ingest/balance.h"
#include "ingest/disk.h"
#include "ingest/front.h"
#include "ingest/grpc/receiver.h"
#include "ingest/receiver.h"
#include "ingest/replay_guard.h"
#include "ingest/sender_clocks.h"
#include "ingest/spool.h"
#include "ingest/writer.h"
#include "notify/webhooks.h"
#include "redact/redactor.h"
#include "runs/runs.h"
#include "server/checks.h"
#include "server/config_audit.h"
#include "server/data_dir.h"
#include "server/entrance.h"
#include "server/event_feed.h"
#include "server/gated_reader.h"
#include "server/ingest_report.h"
#include "server/ledger.h"
#include "server/packs.h"
#include "server/parts_watch.h"
#include "server/retention_job.h"
#include "server/store.h"
#include "server/work_gauges.h"
#include "telemetry/store_reader.h"

namespace fettle::server {
namespace {

// Under the ten seconds that a supervisor waits before it kills; each step has its own bound and what is left of this.
constexpr std::chrono::milliseconds kStop{9'000};
constexpr std::chrono::milliseconds kDrainRequests{2'500};
constexpr std::chrono::milliseconds kDrainSpool{2'500};
constexpr std::chrono::milliseconds kStopStore{2'000};
constexpr std::string_view kStoreClosed = "the telemetry store is not open yet; what arrives waits in the spool";

ingest::PipelineOptions pipeline_options(const Config& config) {
  const auto in_ns = [](std::chrono::seconds time) { return std::chrono::nanoseconds(time).count(); };
  ingest::PipelineOptions options;
  options.body_bytes_max = config.limits.body_bytes;
  options.spans_kept_ns = in_ns(config.retention.spans);
  options.logs_kept_ns = in_ns(config.retention.logs);
  options.points_kept_ns = in_ns(config.retention.metrics);
  options.content.otherwise = config.content_default;
  options.content.by_workspace = {config.content_by_workspace.begin(), config.content_by_workspace.end()};
  options.content.production_environments = {config.production_environments.begin(),
                                             config.production_environments.end()};
  return options;
}

api::Limits api_limits(const Config& config) {
  api::Limits limits;
  limits.query_threads = static_cast<int>(config.limits.query_threads);
  limits.query_queue_max = config.limits.query_queue;
  limits.query_time_max = config.limits.query_time;
  limits.trace.rows_max = config.limits.trace_spans;
  limits.outline.rows_max = std::min(limits.outline.rows_max, limits.trace.rows_max);
  limits.sql = {.rows_max = config.limits.query_rows,
                .bytes_max = config.limits.query_bytes,
                .memory_bytes_max = config.limits.query_memory_bytes};
  limits.tails.tails_max = config.limits.tails;
  return limits;
}

int decoding_workers() { return std::max(1, static_cast<int>(std::thread::hardware_concurrency()) - 1); }

}  // namespace

std::string_view version() { return FETTLE_VERSION; }

// Members that use others stand below them, so that they go first; load() to open_store() make them in this order, and
// stop() ends them in the order in which work flows through them.
struct Server::Parts {
  Parts(const Config& server_config, Clock& server_clock) : config(server_config), clock(server_clock) {}

  Result<void> load();
  Result<void> open_folder();
  Result<void> open_ledger();
  Result<void> start_ingest();
  Result<void> start_listeners();
  Result<void> open_store();
  void stop();

  const Config config;
  Clock& clock;
  SystemRng rng;
  metrics::Registry metrics;
  health::Health health{clock, std::string(version())};

  // From the configuration.
  std::shared_ptr<const redact::Redactor> redactor;  // shared with requests in flight
  std::future<Result<void>> prepared;                // what all redactors share: compiled while the rest is read
  std::optional<telemetry::IdentifierCatalogue> identifiers;
  std::optional<ingest::PriceTable> prices;

  // What lasts.
  std::optional<DataDir> data_dir;
  std::unique_ptr<Store> store;
  std::unique_ptr<telemetry::StoreReader> store_reader;
  std::unique_ptr<GatedReader> reader;
  std::unique_ptr<Ledger> ledger;
  std::unique_ptr<Entrance> entrance;

  // The way in, from its end to its beginning.
  ingest::PosixDisk disk;
  ingest::Balance balance;
  ingest::ReplayGuard guard{clock};
  ingest::SenderClocks sender_clocks{clock};
  std::unique_ptr<ingest::Spool> spool;
  std::unique_ptr<ingest::Writer> writer;
  std::unique_ptr<ingest::Front> front;
  std::unique_ptr<ingest::HttpReceiver> http_receiver;
  std::unique_ptr<ingest::GrpcReceiver> grpc_receiver;
  std::unique_ptr<RetentionJob> retention;
  std::unique_ptr<PartsWatch> parts_watch;
  std::unique_ptr<EventFeed> event_feed;
  std::unique_ptr<WorkGauges> work_gauges;

  // What Fettle tells others outside.
  std::unique_ptr<http::OutboundClient> outbound;
  std::unique_ptr<notify::Webhooks> webhooks;

  // The way out.
  std::unique_ptr<IngestReport> report;
  std::unique_ptr<api::Api> api;

  std::unique_ptr<http::Server> http_server;  // both HTTP listeners
  Addresses addresses;
  bool is_stopped = false;
};

Result<void> Server::Parts::load() {
  auto rules = redact::Redactor::compile(config.redaction_rules);
  if (!rules) return std::unexpected(std::move(rules).error().within("redaction.rules"));
  redactor = std::move(*rules);
  prepared = std::async(std::launch::async, redact::Redactor::prepare);
  auto catalogue = load_identifiers(config);
  if (!catalogue) return std::unexpected(std::move(catalogue).error());
  identifiers.emplace(std::move(*catalogue));
  auto table = load_prices(config);
  if (!table) return std::unexpected(std::move(table).error());
  prices.emplace(std::move(*table));
  return {};
}

Result<void> Server::Parts::open_folder() {
  auto folder = DataDir::open(config.data);
  if (!folder) return std::unexpected(std::move(folder).error());
  data_dir.emplace(std::move(*folder));
  data_dir->remove_ports();  // those of an earlier run
  auto closed = Store::make(config, data_dir->path(), *identifiers, clock, metrics);
  if (!closed) return std::unexpected(std::move(closed).error());
  store = std::move(*closed);
  store_reader = std::make_unique<telemetry::StoreReader>(store->client(), *identifiers, clock);
  reader = std::make_unique<GatedReader>(store->opening(), *store_reader);
  return {};
}

Result<void> Server::Parts::open_ledger() {
  auto opened = Ledger::open(config.ledger, config.retention.runs, data_dir->path(), redactor, clock, rng, metrics);
  if (!opened) return std::unexpected(std::move(opened).error());
  ledger = std::move(*opened);
  auto entered = Entrance::open(config, *ledger, clock, rng, metrics);
  if (!entered) return std::unexpected(std::move(entered).error());
  entrance = std::move(*entered);
  outbound = std::make_unique<http::OutboundClient>(
      http::OutboundClient::Options{.allow = config.outbound_allow, .ca_file = config.outbound_ca_file.string()});
  webhooks = std::make_unique<notify::Webhooks>(
      notify::Webhooks::Rooms{.database = ledger->database(),
                              .outbox = ledger->outbox(),
                              .auditor = ledger->auditor(),
                              .client = *outbound,
                              .redactor = redactor,
                              .box = ledger->secret_box(),
                              .clock = clock,
                              .rng = rng,
                              .metrics = metrics,
                              .is_leader = [this] { return ledger->status().is_leader; }},
      notify::Webhooks::Options{});
  ledger->runs().set_admission(&entrance->admission());
  auto audited =
      audit_configuration(audited_settings(config, ledger->public_key()), ledger->database(), ledger->auditor(), clock);
  if (!audited) return std::unexpected(std::move(audited).error().within("auditing the configuration"));
  ledger->start();
  return {};
}

Result<void> Server::Parts::start_ingest() {
  if (auto done = prepared.get(); !done) return std::unexpected(std::move(done).error());
  ingest::Spool::Options options;
  options.dir = data_dir->path() / "spool";
  options.bytes_max = config.limits.spool_bytes;
  options.boot_id = ingest::current_boot_id();
  auto opened = ingest::Spool::open(std::move(options), disk, clock, rng, metrics, balance, guard);
  if (!opened) return std::unexpected(std::move(opened).error().within("opening the spool"));
  spool = std::move(*opened);
  writer = std::make_unique<ingest::Writer>(ingest::Writer::Options{}, *spool, *store, disk, clock, metrics);

  ingest::FrontOptions front_options;
  front_options.pipeline = pipeline_options(config);
  front_options.workers = decoding_workers();
  front_options.in_flight_bytes_max = config.limits.in_flight_bytes;
  front = std::make_unique<ingest::Front>(ingest::PipelineParts{.identifiers = *identifiers,
                                                                .redactor = redactor,
                                                                .prices = *prices,
                                                                .registry = metrics,
                                                                .clocks = &sender_clocks},
                                          std::move(front_options), *spool, guard, clock);
  http_receiver =
      std::make_unique<ingest::HttpReceiver>(*front, entrance->for_programs(), clock,
                                             ingest::HttpReceiver::Options{.body_bytes_max = config.limits.body_bytes});
  grpc_receiver = std::make_unique<ingest::GrpcReceiver>(
      *front, entrance->for_programs(), clock,
      ingest::GrpcReceiver::Options{.message_bytes_max = config.limits.body_bytes,
                                    .in_flight_bytes_max = config.limits.in_flight_bytes});
  return {};
}

Result<void> Server::Parts::start_listeners() {
  report =
      std::make_unique<IngestReport>(IngestReport::Sources{.balance = balance,
                                                           .sender_clocks = sender_clocks,
                                                           .spool = *spool,
                                                           .clock = clock,
                                                           .refused_rows = [this] { return writer->refused_rows(); },
                                                           .dropped_requests = [this] { return front->turned_away(); },
                                                           .engine = [this] { return store->engine_state(); }});
  health.add(store_check(*reader, *store));
  health.add(spool_check(*spool));
  health.add(writer_check(*spool, *writer));
  parts_watch = std::make_unique<PartsWatch>(
      [this](const std::stop_token& stop) -> Result<std::vector<telemetry::DetachedParts>> {
        if (!store->opening().wait(stop)) return fail(ErrorCode::kCancelled, "stopped");
        telemetry::StatementOptions options;
        options.stop = stop;
        return telemetry::detached_parts(store->client(), options);
      },
      clock, metrics);
  health.add(parts_check(*parts_watch));
  health.add(ledger_check(*ledger));
  health.add(audit_check(*ledger));
  health.add(disk_check(data_dir->path()));
  api = std::make_unique<api::Api>(api::Services{.authenticator = entrance->for_everybody(),
                                                 .reader = *reader,
                                                 .ingest = *report,
                                                 .health = health,
                                                 .redactor = *redactor,
                                                 .metrics = metrics,
                                                 .clock = clock,
                                                 .access = {.directory = &entrance->directory(),
                                                            .accounts = &entrance->accounts(),
                                                            .ledger = &ledger->database(),
                                                            .auditor = &ledger->auditor(),
                                                            .rng = &rng},
                                                 .work = {.runs = &ledger->runs(),
                                                          .ledger = &ledger->database(),
                                                          .auditor = &ledger->auditor(),
                                                          .outbox = &ledger->outbox(),
                                                          .webhooks = webhooks.get()},
                                                 .proxies = *api::TrustedProxies::parse(config.trusted_proxies)},
                                   api_limits(config));
  const http::Gate ingest_gate = [this](http::Request& request) { return http_receiver->gate(request); };
  const http::Handler ingest_handler = [this](http::Request request, http::Responder responder) {
    http_receiver->handle(std::move(request), std::move(responder));
  };
  for (const char* path : {"/v1/traces", "/v1/metrics", "/v1/logs", "/api/v1/ingest/logs"}) {
    api->mount({.method = "POST", .path = path, .gate = ingest_gate, .handler = ingest_handler});
  }

  http_server = std::make_unique<http::Server>(
      http::ServerOptions{.connections_max = config.limits.connections, .compress_answers = true}, metrics);
  auto http = http_server->listen(config.http, api->gate(), api->handler());
  if (!http) return std::unexpected(std::move(http).error().within("http"));
  addresses.http = std::move(*http);
  auto otlp_http = http_server->listen(config.otlp_http, ingest_gate, ingest_handler);
  if (!otlp_http) return std::unexpected(std::move(otlp_http).error().within("otlp_http"));
  addresses.otlp_http = std::move(*otlp_http);
  auto otlp_grpc = grpc_receiver->listen(config.otlp_grpc);
  if (!otlp_grpc) return std::unexpected(std::move(otlp_grpc).error().within("otlp_grpc"));
  addresses.otlp_grpc = std::move(*otlp_grpc);
  http_server->start();
  webhooks->start();
  return data_dir->write_ports({.http = port_of(addresses.http),
                                .otlp_http = port_of(addresses.otlp_http),
                                .otlp_grpc = port_of(addresses.otlp_grpc)});
}

Result<void> Server::Parts::open_store() {
  health.set_obstacle(kStoreClosed, "");
  store->opening().start(
      {.opened =
           [this] {
             RetentionJob::Options options;
             options.retention = {.hot_window = config.retention.hot,
                                  .sample_percent = config.sampling_keep_percent,
                                  .days = retention_days(config)};
             retention =
                 std::make_unique<RetentionJob>(options, store->client(), store->schema(), *spool, clock, metrics);
             event_feed = std::make_unique<EventFeed>(
                 ledger->outbox(), store->client(), *identifiers, [this] { return ledger->status().is_leader; }, clock,
                 metrics, EventFeed::Options{.fence = ledger->leader_fence(), .epoch = [this] {
                                               return ledger->status().epoch;
                                             }});
             work_gauges = std::make_unique<WorkGauges>(
                 ledger->runs(), store->client(), [this] { return ledger->status().is_leader; }, clock, metrics);
             health.set_serving(true);
           },
       .failed = [this](const Error& why) { health.set_obstacle(kStoreClosed, why.message()); }});
  return {};
}

void Server::Parts::stop() {
  if (is_stopped) return;
  is_stopped = true;
  const auto end = clock.monotonic() + kStop;
  const auto left = [&](std::chrono::milliseconds most) {
    const auto rest = std::chrono::duration_cast<std::chrono::milliseconds>(end - clock.monotonic());
    return std::clamp(rest, std::chrono::milliseconds(0), most);
  };
  if (store != nullptr) store->opening().stop();  // from here on nobody makes or serves anything new
  health.set_serving(false);
  health.set_obstacle("the server is stopping", "");
  if (data_dir) data_dir->remove_ports();
  // Long polls, tails and reads end first: an open stream would use up the time that acknowledgements need.
  if (ledger != nullptr) ledger->runs().close();
  if (api != nullptr) api->stop();
  std::jthread grpc;
  if (grpc_receiver != nullptr) grpc = std::jthread([&] { grpc_receiver->stop(left(kDrainRequests)); });
  if (http_server != nullptr) http_server->stop(left(kDrainRequests));
  if (grpc.joinable()) grpc.join();
  if (retention != nullptr) retention->stop();
  if (parts_watch != nullptr) parts_watch->stop();
  if (front != nullptr) front->stop();
  if (writer != nullptr) {
    const ingest::Writer::Rest rest = writer->stop(clock.monotonic() + left(kDrainSpool));
    log::info("spool_left", {{"segments", rest.segments}, {"bytes", rest.bytes}});
  }
  // What asks the ledger comes after the spool: a ledger on another machine that hangs must not cost the draining its
  // time.
  if (event_feed != nullptr) event_feed->stop();
  if (work_gauges != nullptr) work_gauges->stop();
  if (webhooks != nullptr) webhooks->stop();
  if (store != nullptr) store->stop(left(kStopStore));
  if (entrance != nullptr) entrance->stop();
  if (ledger != nullptr) ledger->stop();
}

Server::Server(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Server::~Server() { stop(); }

Result<std::unique_ptr<Server>> Server::start(const Config& config, Clock& clock, const std::stop_token& stop) {
  std::unique_ptr<Server> server(new Server(std::make_unique<Parts>(config, clock)));
  for (auto step : {&Parts::load, &Parts::open_folder, &Parts::open_ledger, &Parts::start_ingest,
                    &Parts::start_listeners, &Parts::open_store}) {
    if (stop.stop_requested()) return fail(ErrorCode::kCancelled, "stopped while it started");
    if (auto done = (*server->parts_.*step)(); !done) return std::unexpected(std::move(done).error());
  }
  return server;
}

std::string Server::first_owner_link() const { return parts_->entrance->first_owner_link(); }
const Addresses& Server::addresses() const { return parts_->addresses; }
bool Server::wait_ready(const std::stop_token& stop) const { return parts_->store->opening().wait(stop); }
void Server::stop() { parts_->stop(); }

}  // namespace fettle::server
