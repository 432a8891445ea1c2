// Runs retention about once an hour and tells the books what left the store.
//
// The work is idempotent, so a run that was cut short by a stop or a failing store is simply repeated. Thread-safe.
#pragma once

#include <chrono>
#include <functional>
#include <thread>

#include "core/clock.h"
#include "core/metrics.h"
#include "ingest/spool.h"
#include "telemetry/retention.h"

namespace fettle::server {

class RetentionJob {
 public:
  struct Options {
    telemetry::Retention::Options retention;
    // The first run waits until the server has settled; a failed one is tried again sooner than the next is due.
    std::chrono::nanoseconds first_after = std::chrono::minutes(2);
    std::chrono::nanoseconds every = std::chrono::hours(1);
    std::chrono::nanoseconds again_after = std::chrono::minutes(5);
    // Of the replicas that share a store one alone may run it: two would keep the same rows twice.
    std::function<bool()> is_leader = [] { return true; };
  };

  // All outlive the job.
  RetentionJob(Options options, telemetry::Client& client, const telemetry::Schema& schema, ingest::Spool& spool,
               Clock& clock, metrics::Registry& metrics);
  // Ends a run in progress at its next statement.
  void stop();

 private:
  void work(const std::stop_token& stop);

  const Options options_;
  ingest::Spool& spool_;
  Clock& clock_;
  telemetry::Retention retention_;
  metrics::Gauge& boundary_seconds_;
  metrics::Counter& failures_;
  std::jthread thread_;  // last: it uses everything above
};

}  // namespace fettle::server
