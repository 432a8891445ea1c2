// Steps of a managed run: remembered once completed, so that a retry goes on after the last good one.
//
//   auto begun = begin_step(unit, {run, attempt, "createPost"});
//   if (begun->state == StepAnswer::kDone) use(begun->result);      // an earlier attempt did it
//   else { …do it…; complete_step(unit, {run, attempt, "createPost"}, {.result = json}); }
//
// A step is named by its caller, the same way in every attempt. Every call names its attempt and is late when that is
// not the running one. Waiting steps give the lease back: the worker drops the run, is leased it again when the time
// has come, runs through its remembered steps and finds the wait over.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runs/retry_policy.h"
#include "runs/unit.h"

namespace fettle::runs {

struct StepCall {
  RunId run;
  std::int32_t attempt = 0;
  std::string step;
};

enum class StepAnswer : std::uint8_t {
  kGo = 0,        // do it
  kDone = 1,      // use the result
  kParked = 2,    // the lease is given back: drop the run
  kTimedOut = 3,  // the wait ended without a signal
  kLate = 4,      // the attempt is not the running one: drop the run
  kUnknown = 5,   // no such run in this scope
};
std::string_view to_string(StepAnswer answer);

struct StepBegun {
  StepAnswer state = StepAnswer::kUnknown;
  std::string result;            // when done
  std::int32_t retry_count = 0;  // of the step
};

// kTooLarge past the most steps of a run; kConflict when the step is another attempt's wait.
Result<StepBegun> begin_step(Unit& unit, const StepCall& call);

struct StepResult {
  std::string result;  // JSON or empty
  std::int64_t tokens = 0;
  double cost_usd = 0;
  std::optional<std::int64_t> duration_ms = {};  // as the worker took it
};
// Tokens and cost are added to the run's. A completed step is never written again; saying so twice is applied once.
Result<Applied> complete_step(Unit& unit, const StepCall& call, const StepResult& result);

struct StepFailed {
  Applied applied = Applied::kUnknown;
  bool will_retry = false;  // in place, by the same attempt, after `delay`; otherwise fail the run
  std::chrono::nanoseconds delay{0};
  std::string reason;
  ErrorClass error_class = ErrorClass::kUnknown;
};
// By the policy of the step (queue.h, set_policy with a step); without one a step is not retried in place.
Result<StepFailed> fail_step(Unit& unit, const StepCall& call, const RunError& error, std::int64_t tokens = 0,
                             double cost_usd = 0, std::optional<std::int64_t> duration_ms = {});

// What the run's latest attempt used outside of its steps, told with the call by which it ended itself (sleep, wait, a
// return) and in the same transaction, once that was taken: one that is refused is sent again with its use.
Result<void> add_use(Unit& unit, const RunId& run, std::int32_t attempt, std::int64_t tokens, double cost_usd);

// kParked until `until`, then kDone. The time of the first call holds.
Result<StepBegun> sleep_step(Unit& unit, const StepCall& call, UnixNanos until);

// kParked until signal() with the same name and key, then kDone with its payload; kTimedOut after `timeout`.
Result<StepBegun> wait_signal(Unit& unit, const StepCall& call, std::string_view name, std::string_view key,
                              std::optional<std::chrono::nanoseconds> timeout);
// Ends every wait for it and says how many there were. When nobody waits yet, one wait that begins within `keep` finds
// it.
Result<std::int64_t> signal(Unit& unit, std::string_view name, std::string_view key, std::string_view payload,
                            std::chrono::nanoseconds keep = std::chrono::hours(24));

struct Step {
  std::string step;
  std::int32_t generation = 0, position = 0, attempt = 0, retry_count = 0;
  StepState state = StepState::kRunning;
  UnixNanos started_at = 0;
  std::optional<UnixNanos> finished_at, until;
  std::optional<std::int64_t> duration_ms;  // the worker's, else the time from its begin to its end
  std::int64_t tokens = 0;
  double cost_usd = 0;
  std::optional<std::string> result, error;
};
// In the order in which they began, the current generation last; empty when there is no such run.
std::vector<Step> list_steps(View& view, const RunId& run);

// ---- inside the room -----------------------------------------------------------------------------------------------

struct Run;

// A step that waits for somebody (approvals.h): its row, or kDone with what ended it.
Result<StepBegun> park_step(Unit& unit, Run& run, std::string_view step, WaitKind wait, std::optional<UnixNanos> until);
// Ends the wait of a step with a result and readies its run. False when it does not wait.
bool end_wait(Unit& unit, std::int64_t run, std::string_view step, std::string_view result);
std::int32_t purge_signals(Unit& unit, std::int32_t count_max);

}  // namespace fettle::runs
