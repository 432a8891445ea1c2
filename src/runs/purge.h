// Removes what is over and old: finished runs with everything about them, records, workers that are gone, finished bulk
// jobs. In bounded pieces, by the leader, now and then; what waits for a person (dead letters, failed observed runs)
// and what proves something (side effects, policies, audits) stays.
//
//   Result<Purged> purged = runs.purge_and_wait(options);   // one piece of each workspace; again while purged->more
#pragma once

#include <chrono>
#include <cstdint>

#include "runs/unit.h"

namespace fettle::runs {

struct PurgeOptions {
  std::chrono::nanoseconds runs_kept = std::chrono::hours(24 * 90);    // after they finished; records: last written
  std::chrono::nanoseconds workers_kept = std::chrono::hours(24 * 7);  // after they were last heard of
  std::int32_t items_max = 1'000;                                      // looked at, of a kind, in one transaction
};

struct Purged {
  std::int64_t runs = 0, records = 0, failures = 0, workers = 0, jobs = 0, signals = 0;
  bool more = false;  // there may be more to remove now

  std::int64_t total() const { return runs + records + failures + workers + jobs + signals; }
  Purged& operator+=(const Purged& other);
};

// One piece of one workspace. `after` is the number of the last run that was looked at; it is moved on, and begins
// again at 0 once everything old was looked at.
Purged purge(Unit& unit, const PurgeOptions& options, std::int64_t& after);

}  // namespace fettle::runs
