// Brings how much work waits, and how much of the workers' capacity is in use, to the telemetry store as gauges of each
// workspace (runs/gauges.h), where PromQL, SQL, dashboards and alerts find them.
//
// A series that was there in the round before and is not any more is written once more, as 0: an empty queue is not an
// absent one. What the store does not take is not kept: the next round says how it is then. One thread of its own; runs
// on the leader alone.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "core/clock.h"
#include "core/error.h"
#include "core/metrics.h"
#include "runs/gauges.h"
#include "runs/runs.h"
#include "telemetry/client.h"
#include "telemetry/metric_blocks.h"

namespace fettle::server {

class WorkGauges {
 public:
  // A part costs the store milliseconds however small it is.
  static constexpr std::chrono::seconds kEvery{15};

  // All outlive this. `is_leader` is asked before each round.
  WorkGauges(runs::Runs& runs, telemetry::Client& client, std::function<bool()> is_leader, Clock& clock,
             metrics::Registry& metrics, std::chrono::nanoseconds every = kEvery);
  void stop();

 private:
  // A gauge's name and labels in one text.
  using SeriesKey = std::string;
  using Series = std::map<SeriesKey, runs::WorkGauge>;

  void work(const std::stop_token& stop);
  Result<void> bring(const std::stop_token& stop);
  void append(const WorkspaceId& workspace, const Series& series, UnixNanos now);

  runs::Runs& runs_;
  telemetry::Client& client_;
  const std::function<bool()> is_leader_;
  Clock& clock_;
  const std::chrono::nanoseconds every_;
  metrics::Counter& failures_;
  telemetry::MetricBlocksBuilder builder_;
  std::map<WorkspaceId, Series> before_;  // those of the last round that were not 0

  std::jthread thread_;  // last: it uses everything above
};

}  // namespace fettle::server
