// What time does to runs, where nobody calls: wakes what is due, takes back leases that ran out, readies what was held
// by a limit or switch that is gone, notices work that makes no progress, fires schedules, expires approvals and
// side-effect reservations, and drives bulk jobs.
//
// Everything here is bounded, safe to do twice, and done in one transaction for each workspace that has something due.
#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

#include "runs/unit.h"

namespace fettle::runs {

struct UpkeepOptions {
  std::int32_t items_max = 500;  // of a kind, in one transaction; the rest follows in the next round
  // A lease that is extended but shows no progress for so long is reported, once, as stalled.
  std::chrono::nanoseconds stall_after = std::chrono::minutes(10);
};

struct UpkeepReport {
  std::int64_t woken = 0;
  std::int64_t expired_leases = 0;
  std::int64_t timed_out = 0;
  std::int64_t readied = 0;  // from behind a limit, a switch or a plan
  std::int64_t refused = 0;  // leases taken away: the plan or a right is gone
  std::int64_t stalled = 0;
  std::int64_t scheduled = 0;
  std::int64_t expired_approvals = 0;
  std::int64_t unknown_effects = 0;
  std::int64_t bulk_items = 0;
  bool more = false;  // a bound was reached

  UpkeepReport& operator+=(const UpkeepReport& other);
};

// The workspaces where upkeep() would do something now; with `admission`, also those where work runs that may not go
// on. Of all workspaces: for the server's own loop alone.
std::vector<WorkspaceId> workspaces_due(View& view, const UpkeepOptions& options, const Admission* admission = nullptr);

UpkeepReport upkeep(Unit& unit, const UpkeepOptions& options);

}  // namespace fettle::runs
