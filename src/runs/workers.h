// Who works: workers and browser runners, their pools and capacity, and whether anybody has heard of them.
//
// A worker is lost when it was not heard of for `kLostAfter`. What it holds is counted from its leases, so that the
// numbers agree with the queue.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runs/page.h"
#include "runs/queue.h"
#include "runs/unit.h"

namespace fettle::runs {

constexpr std::chrono::nanoseconds kLostAfter = std::chrono::seconds(30);
// How old seen_at and progress_at may be of a worker that was heard of just now: written by each call, they would dirty
// a page of every commit, and be the only reason for many.
constexpr std::chrono::nanoseconds kSeenWithin = std::chrono::seconds(2);

enum class WorkerState : std::uint8_t { kFree, kBusy, kLost, kDraining };
std::string_view to_string(WorkerState state);

struct WorkerRegistration {
  WorkerId id;  // worker or runner_id
  std::string pool = "default";
  std::int32_t capacity = 1;
  std::string version;
  std::string labels = "{}";  // a JSON object
};
// Again: the same worker, started anew or changed. No audit: it is no decision.
Result<void> register_worker(Unit& unit, const WorkerRegistration& registration);

struct Beat {
  Applied applied = Applied::kUnknown;  // kUnknown: register (again)
  bool drain = false;                   // take no more work, finish what you have, go
};
// `progressed`: something was done since the last beat.
Result<Beat> beat_worker(Unit& unit, const WorkerId& id, bool progressed);
// It asks for work. One that nobody has heard of is registered by what it asks for.
Result<Beat> note_asking(Unit& unit, const LeaseRequest& request);
// Asks it to drain, or not to any more. Audited. By whoever registered it, or by operators and above who see every
// client: a worker is no client's. kNotFound, kPermissionDenied.
Result<void> drain_worker(Unit& unit, const WorkerId& id, bool drain, std::string_view reason);
// A worker that has ended, said by itself or by the same as above. Its leases, if any are left, run out by themselves.
Result<void> remove_worker(Unit& unit, const WorkerId& id);

struct Worker {
  WorkerId id;
  std::string pool, version, labels;
  WorkerState state = WorkerState::kFree;
  std::int32_t capacity = 0, in_use = 0;
  UnixNanos registered_at = 0, seen_at = 0;
  std::optional<UnixNanos> progress_at;  // by its beats or its leases, the later
  std::optional<UnixNanos> oldest_lease_at;
};
// By id. Whoever sees some clients sees the workers that hold a lease of these, with no other leases counted, and
// those that `actor` (Actor::id) registered.
PageOf<Worker> list_workers(View& view, std::string_view actor = {}, const PageRequest& page = {});

// runner_capacity_in_use is in_use over capacity. Lost workers count in neither.
struct PoolCapacity {
  std::string pool;
  std::int32_t workers = 0, lost = 0, draining = 0, capacity = 0, in_use = 0;
};
// Of the workers that list_workers() shows.
std::vector<PoolCapacity> pool_capacity(View& view, std::string_view actor = {});

}  // namespace fettle::runs
