// What is kept for how long. Everything is kept for the hot window; then whole traces, spans and log lines alike, that
// have an error, an escalation, an approval or an outlying duration, and of the routine a deterministic share by trace
// id. Log lines without a trace are kept by severity, and of the rest the same share. Days past their retention go by
// the partition.
//
//   Retention retention(client, schema, clock, options);
//   Retention::Outcome outcome;
//   auto done = retention.run(outcome);              // about once an hour, by one replica
//   for (const Removed& gone : outcome.removed) …    // the books are told what left the store, whose it was
//
// One run, in this order; each step can be cut short and repeated:
//   mark      what arrived since the last run is searched for reasons to keep a trace; they go to `kept_traces`, where
//             they last as long as rows of the trace can still come.
//   promote   hour by hour, from the boundary to now - hot window: what is kept is copied from spans_hot and logs_hot
//   to
//             spans_kept and logs_kept, counted on both sides, and only then the boundary moves. `spans` and `logs`
//             read kept before it and hot from it on.
//   rescue    traces of which something arrived before the boundary, and those marked in this run: what the decision
//             now keeps and is not there yet is copied.
//   drop      days of the hot tables that lie before where the boundary has been for half an hour, so that nobody reads
//             them by an older one, and in which no row arrived during this run; days of the others past their
//             retention.
// The decision is a function of the trace id and of the marks, so no trace is split: see decision_sql() in the source.
//
// Not thread-safe; blocks on the store.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/clock.h"
#include "telemetry/client.h"
#include "telemetry/schema.h"

namespace fettle::telemetry {

class Retention {
 public:
  struct Options {
    std::chrono::nanoseconds hot_window = std::chrono::hours(48);
    double sample_percent = 15;  // of routine traces, and of log lines without a trace
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
  // In rows, of both signals.
  struct Outcome {
    UnixNanos boundary = 0;
    std::uint64_t promoted = 0;
    std::uint64_t rescued = 0;
    std::uint64_t days_dropped = 0;  // of the hot tables
    std::vector<Removed> removed;
  };

  // `may_go_on` is asked before each hour and each day: false ends the run as a stop does.
  Retention(
      Client& client, const Schema& schema, Clock& clock, Options options,
      std::function<bool()> may_go_on = [] { return true; });

  // Fills `outcome` with what was done, also when it fails: days that are gone are gone. kDataLoss when a promotion did
  // not arrive whole: the boundary then stays where it is, and the next run repeats it.
  Result<void> run(Outcome& outcome, const std::stop_token& stop = {});

  // Called when everything is weighed and nothing dropped.
  void set_before_drop_for_test(std::function<void()> hook) { before_drop_ = std::move(hook); }

 private:
  struct Signal;
  static const Signal kSignals[2];
  using RowsOfDays = std::map<std::int32_t, std::uint64_t>;

  // What the store knows of earlier runs.
  struct State {
    UnixNanos boundary = 0;
    UnixNanos boundary_moved = 0;  // when
    std::uint64_t runs = 0;        // that came to their end
    // By writer the segment before which every row was readable when the last run began: what arrived since is what is
    // not older. See newest_segments() in the source.
    std::map<std::uint32_t, std::uint32_t> seen;
    // How many rows of these segments and later ones there were then; -1: nobody knows.
    std::int64_t arrived = -1;
  };

  Result<State> load_state();
  Result<void> store_state(const std::vector<std::pair<std::string, std::int64_t>>& values);
  Result<std::uint64_t> count(const std::string& sql);
  Result<void> copy(const std::string& sql);
  Result<std::map<std::uint32_t, std::uint32_t>> newest_segments(const State& state);
  Result<std::int64_t> count_arrived(const std::map<std::uint32_t, std::uint32_t>& seen);

  Result<void> mark_arrivals(const State& state);
  Result<void> mark_outliers(const State& state, const std::string& which);
  Result<void> promote_until(UnixNanos target, State& state, Outcome& outcome);
  Result<void> promote(const Signal& signal, UnixNanos from, UnixNanos to, Outcome& outcome);
  Result<void> rescue(const Signal& signal, UnixNanos weighed, const State& state, Outcome& outcome);
  Result<void> drop_hot_days(const Signal& signal, UnixNanos before, const RowsOfDays& weighed, Outcome& outcome);
  Result<void> drop_expired(std::string_view table, Kind kind, std::uint32_t days, Outcome& outcome);
  Result<RowsOfDays> days_of(std::string_view table);
  Result<void> move_day(std::string_view from, std::string_view to, std::int32_t day);
  Result<void> bring_back(const Signal& signal);
  Result<void> drop_day(std::string_view table, std::int32_t day);
  std::string decision_sql(const Signal& signal, UnixNanos from) const;

  Client& client_;
  const Schema& schema_;
  Clock& clock_;
  const Options options_;
  const std::function<bool()> may_go_on_;
  std::stop_token stop_;
  std::function<void()> before_drop_;
};

}  // namespace fettle::telemetry
