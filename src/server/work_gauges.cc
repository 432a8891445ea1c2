#include "server/work_gauges.h"

#include <fmt/format.h>
#include <pthread.h>

#include <utility>

#include "core/log.h"
#include "otlp/model.h"
#include "telemetry/native.h"

namespace fettle::server {
namespace {

// Writers of the spool number their segments from the other end.
constexpr std::uint64_t kIngestId = ~std::uint64_t{0};

std::string key_of(const runs::WorkGauge& gauge) {
  std::string key(gauge.name);
  for (const auto& [name, value] : gauge.labels) key += fmt::format("\x1f{}\x1f{}", name, value);
  return key;
}

}  // namespace

WorkGauges::WorkGauges(runs::Runs& runs, telemetry::Client& client, std::function<bool()> is_leader, Clock& clock,
                       metrics::Registry& metrics, std::chrono::nanoseconds every)
    : runs_(runs),
      client_(client),
      is_leader_(std::move(is_leader)),
      clock_(clock),
      every_(every),
      failures_(metrics.counter("fettle_work_gauges_failures_total",
                                "Rounds of queue_depth and runner_capacity_in_use that did not reach the store.")),
      thread_([this](const std::stop_token& stop) {
        ::pthread_setname_np(::pthread_self(), "work-gauges");
        work(stop);
      }) {}

void WorkGauges::stop() {
  thread_.request_stop();
  if (thread_.joinable()) thread_.join();
}

void WorkGauges::work(const std::stop_token& stop) {
  std::chrono::nanoseconds wait{0};
  while (clock_.wait_for(wait, stop)) {
    wait = every_;
    if (!is_leader_()) {
      before_.clear();  // another replica says what it sees
      continue;
    }
    auto brought = bring(stop);
    if (brought || stop.stop_requested()) continue;
    failures_.add();
    builder_.take();
    builder_.forget();
    log::warning("work_gauges_not_stored", {{"error", brought.error().message()}});
  }
}

Result<void> WorkGauges::bring(const std::stop_token& stop) {
  auto workspaces = runs_.read_and_wait(
      Scope{}, [](runs::View& view) -> Result<std::vector<WorkspaceId>> { return runs::workspaces_with_work(view); });
  if (!workspaces) return std::unexpected(std::move(workspaces).error().within("looking for work to count"));
  std::map<WorkspaceId, Series> found;
  for (const WorkspaceId& workspace : *workspaces) found[workspace];
  for (const auto& [workspace, series] : before_) found[workspace];
  std::map<WorkspaceId, Series> present;
  for (auto& [workspace, series] : found) {
    auto gauges = runs_.read_and_wait(
        Scope{workspace, {}},
        [](runs::View& view) -> Result<std::vector<runs::WorkGauge>> { return runs::work_gauges(view); });
    if (!gauges) return std::unexpected(std::move(gauges).error().within("counting work"));
    for (runs::WorkGauge& gauge : *gauges) {
      std::string key = key_of(gauge);
      series.insert_or_assign(std::move(key), std::move(gauge));
    }
    if (!series.empty()) present[workspace] = series;
    if (const auto was = before_.find(workspace); was != before_.end()) {
      for (auto& [key, gauge] : was->second) {
        gauge.value = 0;
        series.try_emplace(key, gauge);
      }
    }
  }
  before_ = std::move(present);
  const UnixNanos now = clock_.now();
  for (const auto& [workspace, series] : found) append(workspace, series, now);
  telemetry::StatementOptions options;
  options.stop = stop;
  for (const telemetry::TableBlock& block : builder_.take()) {
    const telemetry::NativeFrame frame(block, kIngestId);
    const auto pieces = frame.pieces();
    if (auto done = client_.insert(block.table, pieces, fmt::format("work-gauges-{}-{}", now, block.day), options);
        !done) {
      return done;
    }
  }
  return {};
}

void WorkGauges::append(const WorkspaceId& workspace, const Series& series, UnixNanos now) {
  if (series.empty()) return;
  otlp::Metrics request;
  const auto add_attribute = [&](std::string_view key, std::string_view value) {
    request.attributes.push_back({key, otlp::Value::of_string(value)});
  };
  add_attribute("service.name", "fettle");
  request.resources.push_back(
      {.attributes = {0, 1}, .dropped_attributes_count = 0, .schema_url = {}, .entity_refs = {}});
  request.scopes.push_back({});
  for (const std::string_view name : {runs::kQueueDepth, runs::kCapacityInUse}) {
    otlp::Metric metric;
    metric.name = name;
    metric.unit = name == runs::kQueueDepth ? "{run}" : "1";
    request.metrics.push_back(metric);
  }
  for (const auto& [key, gauge] : series) {
    otlp::NumberPoint point;
    point.metric = gauge.name == runs::kQueueDepth ? 0 : 1;
    point.attributes = {static_cast<std::uint32_t>(request.attributes.size()),
                        static_cast<std::uint32_t>(gauge.labels.size())};
    for (const auto& [name, value] : gauge.labels) add_attribute(name, value);
    point.time = now;
    point.number = gauge.value;
    request.number_points.push_back(point);
  }
  builder_.begin(workspace.value, request, now);
  for (const otlp::NumberPoint& point : request.number_points) builder_.append(point);
}

}  // namespace fettle::server
