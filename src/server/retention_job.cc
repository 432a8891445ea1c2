#include "server/retention_job.h"

#include <utility>

#include "core/log.h"

namespace fettle::server {
namespace {

ingest::Signal signal_of(telemetry::Retention::Kind kind) {
  switch (kind) {
    case telemetry::Retention::Kind::kSpans: return ingest::Signal::kSpans;
    case telemetry::Retention::Kind::kLogs: return ingest::Signal::kLogs;
    case telemetry::Retention::Kind::kPoints: break;
  }
  return ingest::Signal::kPoints;
}

ingest::SpoolRecord books_of(const std::vector<telemetry::Retention::Removed>& removed) {
  ingest::SpoolRecord record;
  for (const telemetry::Retention::Removed& gone : removed) {
    ingest::CountDelta& line = record.counts.emplace_back();
    line.workspace = {gone.workspace};
    line.sender = gone.sender.empty() ? "unknown_service" : gone.sender;
    line.signal = signal_of(gone.kind);
    line.sampled_out = gone.sampled_out;
    line.expired = gone.expired;
  }
  return record;
}

}  // namespace

RetentionJob::RetentionJob(Options options, telemetry::Client& client, const telemetry::Schema& schema,
                           ingest::Spool& spool, Clock& clock, metrics::Registry& metrics)
    : options_(std::move(options)),
      spool_(spool),
      clock_(clock),
      retention_(client, schema, clock, options_.retention, options_.is_leader),
      boundary_seconds_(metrics.gauge("fettle_retention_boundary_timestamp_seconds",
                                      "Before this moment spans and logs are sampled, from it on all are there.")),
      failures_(
          metrics.counter("fettle_retention_failures_total", "Runs of retention that did not come to their end.")),
      thread_([this](const std::stop_token& stop) { work(stop); }) {}

void RetentionJob::stop() {
  thread_.request_stop();
  if (thread_.joinable()) thread_.join();
}

void RetentionJob::work(const std::stop_token& stop) {
  for (std::chrono::nanoseconds wait = options_.first_after; clock_.wait_for(wait, stop);) {
    if (!options_.is_leader()) {
      wait = options_.again_after;
      continue;
    }
    telemetry::Retention::Outcome outcome;
    auto done = retention_.run(outcome, stop);
    wait = done ? options_.every : options_.again_after;
    // Also after a failure: days that are gone are gone.
    if (!outcome.removed.empty()) {
      spool_.append(books_of(outcome.removed), [](Result<void> durable) {
        if (!durable) log::warning("retention_not_in_books", {{"error_message", durable.error().message()}});
      });
    }
    if (done) {
      boundary_seconds_.set(static_cast<double>(outcome.boundary) / 1e9);
    } else if (!stop.stop_requested()) {
      failures_.add();
      log::warning("retention_failed", {{"error_message", done.error().message()}});
    }
  }
}

}  // namespace fettle::server
