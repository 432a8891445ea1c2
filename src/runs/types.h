// The words of this room: identifiers, states, and how large anything that is handed in may be.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/clock.h"
#include "core/error.h"
#include "core/ids.h"

namespace fettle::runs {

// As people and programs see it: "run_" and 13 base-32 digits, or the name that an observed run was given by its own
// executor.
using RunId = Id<struct RunTag>;
using WorkerId = Id<struct WorkerTag>;

// Stored in the ledger, as all enums here: append, never renumber. README.md draws the transitions.
enum class RunState : std::uint8_t {
  kReady = 0,    // may be leased now
  kWaiting = 1,  // for a time, a signal or a decision (WaitKind)
  kHeld = 2,     // behind a limit, a switch or a pause, under its hold key
  kRunning = 3,  // leased by a worker, or observed
  kSucceeded = 4,
  kFailed = 5,  // observed runs only: somebody else decides about their retries
  kDead = 6,    // dead letter: waits for a person to retry or discard it
  kCancelled = 7,
  kDiscarded = 8,
};
std::string_view to_string(RunState state);
std::optional<RunState> run_state_named(std::string_view name);
constexpr bool is_terminal(RunState state) { return state >= RunState::kSucceeded; }

enum class RunKind : std::uint8_t { kManaged = 0, kObserved = 1 };

enum class WaitKind : std::uint8_t { kNone = 0, kScheduled = 1, kBackoff = 2, kSleep = 3, kSignal = 4, kApproval = 5 };
std::string_view to_string(WaitKind wait);

enum class StepState : std::uint8_t { kRunning = 0, kCompleted = 1, kFailed = 2, kWaiting = 3 };
std::string_view to_string(StepState state);

// How an attempt ended that did not simply succeed.
enum class AttemptEnd : std::uint8_t {
  kFailed = 0,
  kLeaseExpired = 1,
  kRevoked = 2,    // by a kill switch or a pause
  kParked = 3,     // gave its lease back to sleep, to wait for a signal or for a decision
  kCancelled = 4,  // by a person; forced to a terminal state as well
  kReturned = 5,   // by a worker that is stopping
  kTimedOut = 6,   // it took longer than its run allows an attempt
};
std::string_view to_string(AttemptEnd end);

// What became of a call about an attempt.
enum class Applied : std::uint8_t {
  kApplied = 0,  // also when the same call was applied before
  kLate = 1,     // the attempt is not the running one: kept as late, not applied
  kUnknown = 2,  // no such run in this scope
};
std::string_view to_string(Applied applied);

// Limits at the door; the message of kTooLarge names the field, its size and the limit.
struct SizeLimits {
  std::size_t name_bytes_max = 200;  // workflow, client, step and the like
  std::size_t payload_bytes_max = 256 * 1024;
  std::size_t result_bytes_max = 256 * 1024;
  std::size_t context_bytes_max = 8 * 1024;
  std::size_t message_bytes_max = 16 * 1024;      // of errors, reasons and notes; stacks too
  std::size_t list_items_max = 1'000;             // of one call
  std::size_t steps_max = 10'000;                 // of one run
  std::size_t memo_bytes_max = 16 * 1024 * 1024;  // results of all steps of a run: every lease carries them
};

Result<void> check_size(std::string_view field, std::string_view value, std::size_t bytes_max);
// A name: not empty, within the limit, without control characters (they separate names in what is stored).
Result<void> check_name(std::string_view field, std::string_view value, const SizeLimits& limits = {});
Result<void> check_count(std::string_view field, std::size_t count, std::size_t count_max);

// The number of a run and what is shown of it.
std::string format_run_number(std::int64_t number);
// Nothing when `text` was not made by format_run_number.
std::optional<std::int64_t> parse_run_number(std::string_view text);
// The same for other things of this room ("appr_", "sw_", …).
std::string format_number(std::string_view prefix, std::int64_t number);
std::optional<std::int64_t> parse_number(std::string_view prefix, std::string_view text);

}  // namespace fettle::runs
