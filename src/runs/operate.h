// What a person does to a run: retry, discard, force, cancel, pause, resume. Each needs a reason and is audited.
//
// kNotFound for a run outside of scope, kConflict (naming the state) where the run's state does not allow it,
// kInvalidArgument without a reason.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "runs/unit.h"

namespace fettle::runs {

enum class RetryFrom : std::uint8_t {
  kFailedStep = 0,  // completed steps stay
  kScratch = 1,     // a new generation of steps; the old ones stay to be read
};

// A dead or cancelled run is ready again, with a new chain of retries. The same run: its side effects are known by it.
Result<void> retry_run(Unit& unit, const RunId& run, RetryFrom from, std::string_view reason);
// A dead, failed or cancelled run that nobody will retry. Resolves its failures.
Result<void> discard_run(Unit& unit, const RunId& run, std::string_view reason);
// To a terminal state from anywhere, for a run that is stuck beyond all rules. A lease ends.
Result<void> force_run(Unit& unit, const RunId& run, RunState to, std::string_view reason);
// A run that is not terminal ends as cancelled. Its worker learns it with the next extend or step.
Result<void> cancel_run(Unit& unit, const RunId& run, std::string_view reason);
// Held until resumed; a lease is taken away and counts nothing.
Result<void> pause_run(Unit& unit, const RunId& run, std::string_view reason);
Result<void> resume_run(Unit& unit, const RunId& run, std::string_view reason);

// ---- inside the room -----------------------------------------------------------------------------------------------

struct Run;
constexpr std::string_view kPauseHold = "pause";
// retry_run and discard_run without the look-up. False when the state does not allow it.
bool retry_if_possible(Unit& unit, Run& run, RetryFrom from, std::string_view reason,
                       std::optional<std::int64_t> bulk_job);
bool discard_if_possible(Unit& unit, Run& run, std::string_view reason, std::optional<std::int64_t> bulk_job);

}  // namespace fettle::runs
