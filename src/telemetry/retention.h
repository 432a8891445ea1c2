// What is kept for how long. Everything is kept for the hot window; then whole traces with an error, an escalation, an
// approval or an outlying duration, and of the routine a deterministic share by trace id. Days past their retention go by
// the partition.
//
//   Retention retention(client, schema, clock, options);
//   auto outcome = retention.run();            // about once an hour, by one replica
//   for (const Removed& gone : outcome->removed) …   // the books are told what left the store, whose it was
//
// One run, in this order; each step can be cut short and repeated:
//   promote   hour by hour, from the boundary to now - hot window: the rows of kept traces are copied from spans_hot to
//             spans_kept, counted on both sides, and only then the boundary moves. `spans` reads kept before it.
//   rescue    traces before the boundary that were touched since the last run (a late error, a late span): what the
//             decision now keeps and is not there yet is copied.
//   drop      days of spans_hot that lie before the boundary, and days of the other tables past their retention.
// The decision is a function of the whole trace, so no trace is split: see decision_sql() in the source.
//
// Not thread-safe; blocks on the store.
#pragma once

#include <chrono>
#include <cstdint>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.h"
#include "telemetry/client.h"
#include "telemetry/schema.h"

namespace fettle::telemetry {

class Retention {
 public:
  struct Options {
    std::chrono::nanoseconds hot_window = std::chrono::hours(48);
    double sample_percent = 15;  // of routine traces
    RetentionDays days;
  };

  enum class Kind : std::uint8_t { kSpans, kLogs, kPoints };
  struct Removed {
    std::string workspace;
    std::string sender;  // service name
    Kind kind = Kind::kSpans;
    std::uint64_t sampled_out = 0;
    std::uint64_t expired = 0;
  };
  struct Outcome {
    UnixNanos boundary = 0;
    std::uint64_t promoted = 0;
    std::uint64_t rescued = 0;
    std::vector<Removed> removed;
  };

  Retention(Client& client, const Schema& schema, Clock& clock, Options options);

  // kDataLoss when a promotion did not arrive whole: the boundary then stays where it is, and the next run repeats it.
  Result<Outcome> run(const std::stop_token& stop = {});

 private:
  Result<UnixNanos> state(std::string_view name);
  Result<void> set_state(std::string_view name, UnixNanos value);
  Result<std::uint64_t> count(const std::string& sql);
  Result<void> promote(UnixNanos from, UnixNanos to, Outcome& outcome);
  Result<void> rescue(UnixNanos boundary, UnixNanos touched_since, Outcome& outcome);
  Result<void> drop_hot_days(UnixNanos boundary, Outcome& outcome);
  Result<void> drop_expired(std::string_view table, Kind kind, std::uint32_t days, Outcome& outcome);
  Result<std::vector<std::int32_t>> days_of(std::string_view table);
  Result<void> drop_day(std::string_view table, std::int32_t day);
  std::string decision_sql(UnixNanos from, UnixNanos to) const;

  Client& client_;
  const Schema& schema_;
  Clock& clock_;
  const Options options_;
  std::stop_token stop_;
};

}  // namespace fettle::telemetry
