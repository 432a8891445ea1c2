// Runs as people and programs read them: one with everything about it, and lists by filter, newest first.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runs/steps.h"
#include "runs/unit.h"

namespace fettle::runs {

struct RunSummary {
  RunId id;
  RunState state = RunState::kReady;
  RunKind kind = RunKind::kManaged;
  WaitKind wait = WaitKind::kNone;
  std::string workflow, client, platform, lane, agent, pool, limit_key;
  std::int32_t priority = 0, attempt = 0, retry_count = 0, max_retries = 0;
  UnixNanos created_at = 0;
  std::optional<UnixNanos> due_at, started_at, finished_at, leased_at, lease_until, progress_at;
  std::string hold_key;  // what holds it: "limit:…", "switch:…", "pause"
  std::string worker;    // who holds or held the lease
  bool stalled = false;  // leased and extended, without progress
  std::int64_t tokens = 0;
  double cost_usd = 0;
  std::string failure_reason;
  bool is_dead_letter() const { return state == RunState::kDead; }
};

struct Attempt {
  std::int32_t attempt = 0;
  std::optional<AttemptEnd> ended;  // nothing: it ended well, or only a late call is known
  std::string worker, error_class, error;
  std::optional<UnixNanos> leased_at, ended_at;
  std::string late_call, late_body;
  std::optional<UnixNanos> late_at;
};

struct RunDetails {
  RunSummary run;
  std::string payload, context, correlation_id, trace_id, result, last_error, progress;
  std::vector<Step> steps;        // of all generations
  std::vector<Attempt> attempts;  // those that did not simply succeed
};
std::optional<RunDetails> get_run(View& view, const RunId& id);

struct RunFilter {
  std::optional<RunState> state;
  bool failed = false;  // dead letters and failed observed runs; overrides `state`
  std::string client, platform, lane, workflow, agent;
  std::string correlation_id, trace_id;
  RunId before;  // the last of the page before
  std::int32_t limit = 100;
};
// At most 1,000. A filter that matches little looks through at most `kRowsLookedAt` runs; `next` then says where to go
// on.
constexpr std::int32_t kRowsLookedAt = 50'000;
struct RunPage {
  std::vector<RunSummary> runs;
  RunId next;  // empty at the end
};
Result<RunPage> list_runs(View& view, const RunFilter& filter);

// How many there are in each live state, by pool and workflow: queue depth. Finished runs are not counted.
struct Depth {
  std::string pool, workflow, lane;
  std::int64_t ready = 0, waiting = 0, held = 0, running = 0;
};
std::vector<Depth> queue_depth(View& view);

}  // namespace fettle::runs
