// What became of runs: one with everything that is known of it, many by filter, newest first; and how much is queued.
//
//   auto detail = run_detail(view, id);
//   for (const ListedRun& one : find_runs(view, {.states = {RunState::kDead}, .client = "acme"}).runs) …
//
// Reads alone; a client outside of scope is nowhere in an answer.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runs/run.h"
#include "runs/switches.h"
#include "runs/unit.h"

namespace fettle::runs {

struct RunDetail {
  Run run;
  std::string payload, context;  // JSON
  std::optional<std::string> correlation_id, trace_id, result, error, progress;
};
// Nothing when there is none in scope.
std::optional<RunDetail> run_detail(View& view, const RunId& id);

// An attempt that did not simply succeed, or that reported when it was not the running one any more.
struct PastAttempt {
  std::int32_t attempt = 0;
  std::optional<AttemptEnd> ended;
  std::optional<std::string> worker, error_class, error;
  std::optional<UnixNanos> leased_at, ended_at;
  std::optional<std::string> late_call, late_body;
  std::optional<UnixNanos> late_at;
};
std::vector<PastAttempt> past_attempts(View& view, std::int64_t run);

// An empty part matches everything.
struct RunQuery {
  std::vector<RunState> states;
  bool failed = false;  // dead, failed, or going on after a failure that nothing has made good yet
  std::string workflow, client, platform, lane, agent, pool, worker, failure_reason, correlation_id, trace_id;
  std::optional<UnixNanos> created_from, created_to;  // the first included, the second not
  std::optional<std::int64_t> before;                 // a run's number: those created before it
  std::int32_t limit = 100;
};
struct ListedRun {
  Run run;
  std::optional<std::string> correlation_id, trace_id, error;
};
// A filter that matches little looks through at most so many runs; `next` then says where to go on.
constexpr std::int64_t kRowsLookedAt = 50'000;
struct RunPage {
  std::vector<ListedRun> runs;
  std::optional<std::int64_t> next;  // RunQuery::before of the next page; none at the end
};
RunPage find_runs(View& view, const RunQuery& filter);

// How many there are in each live state, by pool, workflow and lane. Finished runs are not counted.
struct Depth {
  std::string pool, workflow, lane;
  std::int64_t ready = 0, waiting = 0, held = 0, running = 0;
};
std::vector<Depth> queue_depth(View& view);

// Why an attempt does not hold the lease of its run any more.
struct LeaseGone {
  std::string reason;  // a sentence
  bool cancelled = false;
  std::optional<Switch> stop;  // the switch that took it away
};
LeaseGone why_lease_gone(View& view, const RunId& run, std::int32_t attempt);

}  // namespace fettle::runs
