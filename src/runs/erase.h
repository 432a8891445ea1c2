// Erases what a client's work holds of people, and leaves that there was work: payloads, results, errors, notes, logs.
#pragma once

#include <cstdint>
#include <string>

#include "runs/unit.h"

namespace fettle::runs {

struct Erased {
  std::int64_t runs = 0;     // payload, result, error, progress, context, steps, attempts
  std::int64_t records = 0;  // agent_runs, agent_logs and workflow_triggers of the client: removed
  std::int64_t failures = 0, decisions = 0, effects = 0;
  std::int64_t signals = 0;  // that came before a run waited for them: removed
  std::int64_t total() const { return runs + records + failures + decisions + effects + signals; }
};

// Of finished work, at most `items_max` of a kind: again until total() is 0. What still runs needs what it was given
// and is left out; cancel it first. kPermissionDenied for a client outside of scope. Writes no audit.
Result<Erased> erase_client(Unit& unit, const std::string& client, std::int32_t items_max = 1'000);

}  // namespace fettle::runs
