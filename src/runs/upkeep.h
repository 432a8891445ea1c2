// What time does to runs, where nobody calls: wakes what is due, takes back leases that ran out, readies what was held
// by a limit or switch that is gone, notices work that makes no progress, fires schedules, expires approvals and
// side-effect reservations, and drives bulk jobs.
//
// Everything here is safe to do twice and done in pieces: a transaction touches at most `items_max` runs, approvals, …
// of one workspace, whatever is due, so that what a piece writes and tells stays small and others' transactions come in
// between. Each piece begins with another kind of work, so that much of one does not starve the rest.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "runs/unit.h"

namespace fettle::runs {

struct UpkeepOptions {
  std::int32_t items_max = 256;  // of all kinds together, in one transaction
  std::int32_t rounds_max = 64;  // pieces of a workspace in one call; the rest follows in the next
  // A lease that is extended but shows no progress for so long is reported, once, as stalled.
  std::chrono::nanoseconds stall_after = std::chrono::minutes(10);
};

struct UpkeepReport {
  std::int64_t woken = 0;
  std::int64_t expired_leases = 0;
  std::int64_t timed_out = 0;
  std::int64_t readied = 0;  // from behind a limit, a switch or a plan
  std::int64_t refused = 0;  // leases taken away: the plan or a right is gone
  std::int64_t revoked = 0;  // leases taken away by kill switches
  std::int64_t stalled = 0;
  std::int64_t scheduled = 0;
  std::int64_t expired_approvals = 0;
  std::int64_t unknown_effects = 0;
  std::int64_t bulk_items = 0;
  bool more = false;  // a bound was reached: there may be something left

  UpkeepReport& operator+=(const UpkeepReport& other);
};

// The workspaces where upkeep() would do something now; with `admission`, also those where work runs that may not go
// on. Of all workspaces: for the server's own loop alone.
std::vector<WorkspaceId> workspaces_due(View& view, const UpkeepOptions& options, const Admission* admission = nullptr);

// Where a workspace's upkeep is between two pieces.
struct UpkeepProgress {
  std::size_t turn = 0;         // the kind that begins
  std::string held_after = {};  // hold keys up to this one were looked at
  bool held_done = false;
};
// One piece.
UpkeepReport upkeep(Unit& unit, const UpkeepOptions& options, UpkeepProgress& progress);

}  // namespace fettle::runs
