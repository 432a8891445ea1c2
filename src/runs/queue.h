// Managed runs: enqueue, lease, extend, complete, fail. Every call takes many at once and costs one transaction.
//
//   auto made = enqueue(unit, {{.workflow = "publish", .client = "acme", .payload = R"({"post":7})"}});
//   auto work = lease(unit, {.worker = WorkerId{"w1"}, .pool = "default", .runs_max = 10});
//   complete(unit, {{work->runs[0].id, work->runs[0].attempt, R"({"url":"…"})"}});
//
// A lease ends by complete, fail, sleep and their like, or by running out (upkeep.h): extend it well before.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runs/retry_policy.h"
#include "runs/switches.h"
#include "runs/types.h"
#include "runs/unit.h"

namespace fettle::runs {

struct EnqueueRequest {
  std::string workflow;
  std::string client, platform, lane, agent;  // may be empty
  std::string pool = "default";
  std::string payload = "null";  // JSON
  std::string context = "{}";    // a JSON object that travels with the run: trace context, baggage, own ids
  std::string correlation_id, trace_id;
  std::string run_id;         // the caller's own name for it: enqueued again it answers the first, made false
  std::string limit_key;      // for limits by key
  std::int32_t priority = 0;  // the lower, the sooner; -100 to 100
  std::optional<UnixNanos> start_at;
  std::optional<std::int32_t> max_retries;  // instead of the policy's
  RetryOverride retry;                      // of its own
  // How long one attempt may take, beats or not; then it has failed with a time-out.
  std::optional<std::chrono::nanoseconds> timeout;
  std::string asked_by;  // of an agent's work: who answers for it; empty: who enqueues it
};

struct Enqueued {
  RunId id;
  bool made = true;  // false: a run of this name was there
};

// All or none. kInvalidArgument, kTooLarge (with field, size and limit), kPermissionDenied for a client outside of
// scope; and what the plan and the right to run agents do not allow (admission.h, Gate::check).
Result<std::vector<Enqueued>> enqueue(Unit& unit, std::span<const EnqueueRequest> requests);

struct LeaseRequest {
  WorkerId worker;
  std::string pool = "default";
  std::vector<std::string> workflows;  // empty: any
  std::int32_t runs_max = 1;
  // A worker that dies is noticed after so long; it extends every third of it. With upkeep each second its run is ready
  // again within eleven.
  std::chrono::nanoseconds duration = std::chrono::seconds(10);
  // Without `workflows`: where to begin among their names; Leased::workflows_next of an earlier call, so that each has
  // its turn however many there are.
  std::string workflows_after = {};
};

struct LeasedRun {
  RunId id;
  std::int32_t attempt = 0;  // the fencing number: named in every call about this lease
  std::string workflow, client, platform, lane, agent, limit_key;
  std::string payload, context;
  std::int32_t retry_count = 0, max_retries = 0;
  bool has_steps = false;  // of an earlier attempt: ask list_steps and go on after them
  UnixNanos lease_until = 0;
};

struct Leased {
  std::vector<LeasedRun> runs;
  std::vector<Switch> switches;  // that are on
  // Work was moved out of the way (limits, switches) up to a bound, and there may be more behind it: ask again.
  bool more = false;
  bool drain = false;  // of a long poll: its worker is to take no more
  // Not empty: only some of the workflows that have work were looked at, up to this one.
  std::string workflows_next = {};
};

// The most urgent first, among equals the oldest: of the workflows that are asked for, or of the next 256 that have
// work. kInvalidArgument for a worker or duration out of range.
Result<Leased> lease(Unit& unit, const LeaseRequest& request);

struct Extension {
  RunId run;
  std::int32_t attempt = 0;
  bool progressed = false;  // something was done since the last call: beating alone is not progress
  std::string progress;     // JSON for people, kept when not empty
  // From now, instead of the length it was leased for; 1 s to 1 h. Never shorter than it was.
  std::optional<std::chrono::nanoseconds> duration = {};
};
struct Extended {
  Applied applied = Applied::kUnknown;
  UnixNanos lease_until = 0;  // when applied
  std::string reason;         // when late: why the lease is gone ("revoked by sw_…: reason", "cancelled", "expired")
};
// For as long again as it was leased for.
Result<std::vector<Extended>> extend(Unit& unit, std::span<const Extension> extensions);

struct Completion {
  RunId run;
  std::int32_t attempt = 0;
  std::string result;       // JSON or empty
  std::int64_t tokens = 0;  // beyond those of its steps
  double cost_usd = 0;
};
Result<std::vector<Applied>> complete(Unit& unit, std::span<const Completion> completions);

struct Failure {
  RunId run;
  std::int32_t attempt = 0;
  RunError error;
  std::int64_t tokens = 0;
  double cost_usd = 0;
};
struct Failed {
  Applied applied = Applied::kUnknown;
  bool will_retry = false;
  UnixNanos retry_at = 0;
  std::string reason;  // of the dead letter
  ErrorClass error_class = ErrorClass::kUnknown;
};
Result<Failed> fail_run(Unit& unit, const Failure& failure);

// A worker that stops gives back what it has not begun: ready at once, counting nothing.
Result<Applied> give_back(Unit& unit, const RunId& run, std::int32_t attempt);

// ---- inside the room -----------------------------------------------------------------------------------------------

struct Run;

// Whether enqueue would take the request.
Result<void> check_enqueue(const Unit& unit, const EnqueueRequest& request);
// Retry or dead letter, for an attempt that ended so. `run` is not running any more.
Failed settle_failure(Unit& unit, Run& run, const RunError& error, ErrorClass error_class);

}  // namespace fettle::runs
