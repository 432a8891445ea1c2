// A run's hot row, and the one way in which single runs change state: load, change, save.
//
// Inside the room. A state is left through end_lease() (which gives slots and switches their due) and entered through
// one of the functions below, so that the invariants of README.md hold whoever asks.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "runs/retry_policy.h"
#include "runs/types.h"
#include "runs/unit.h"

namespace fettle::runs {

struct Run {
  std::int64_t number = 0;
  RunState state = RunState::kReady;
  RunKind kind = RunKind::kManaged;
  WaitKind wait = WaitKind::kNone;
  std::string pool, workflow;
  std::int32_t priority = 0;
  std::string client, platform, lane, agent, limit_key;
  std::optional<std::string> external_id;
  std::int32_t attempt = 0, generation = 0, retry_count = 0, chain_retries = 0, max_retries = 0, revoked = 0;
  std::int32_t stalled = 0;  // the last attempt that made no progress
  UnixNanos created_at = 0;
  std::optional<UnixNanos> due_at;
  std::optional<std::string> hold_key;
  std::optional<UnixNanos> lease_until;
  std::int64_t lease_ns = 0;
  std::optional<std::string> worker;
  std::optional<UnixNanos> leased_at, progress_at;
  std::optional<std::string> slots;
  std::optional<UnixNanos> chain_started_at, started_at, finished_at;
  std::int32_t steps = 0, open_failures = 0;
  std::int64_t tokens = 0;
  double cost_usd = 0;
  std::optional<std::string> failure_reason;
  std::optional<std::int64_t> bulk_job;

  // Leased and extended, without progress.
  bool is_stalled() const { return state == RunState::kRunning && stalled != 0 && stalled == attempt; }
  std::string shown_id() const { return external_id ? *external_id : format_run_number(number); }
};

// The columns of Run in order, for SELECT.
#define FETTLE_RUN_COLUMNS                                                                                        \
  "r.id, r.state, r.kind, r.wait, r.pool, r.workflow, r.priority, r.client, r.platform, r.lane, r.agent, "        \
  "r.limit_key, r.external_id, r.attempt, r.generation, r.retry_count, r.chain_retries, r.max_retries, "          \
  "r.revoked, r.stalled, r.created_at, r.due_at, r.hold_key, r.lease_until, r.lease_ns, r.worker, r.leased_at, "  \
  "r.progress_at, r.slots, r.chain_started_at, r.started_at, r.finished_at, r.steps, r.open_failures, r.tokens, " \
  "r.cost_usd, r.failure_reason, r.bulk_job"
Run run_from(View& view, const db::Row& row);

// The number of the run that `id` shows, by form or by its external name; nothing when there is none in scope.
std::optional<std::int64_t> find_run_number(View& view, const RunId& id);
std::optional<Run> load_run(View& view, std::int64_t number);
std::optional<Run> load_run(View& view, const RunId& id);
std::optional<Run> load_run(View& view, std::string_view id);
// kNotFound says the same for what is not there and for what another client's is.
std::unexpected<Error> no_such_run(const RunId& id);
// Writes what can change; adds its number to whom it may concern.
void save_run(Unit& unit, const Run& run);

Identifiers identifiers_of(const Run& run);

// ---- transitions ---------------------------------------------------------------------------------------------------

// Out of running: frees the slots (and readies what waited for them) and forgets the lease. `ended` is kept in the
// attempt's row.
void end_lease(Unit& unit, Run& run, AttemptEnd ended, std::string_view error_class = {}, std::string_view error = {});
// Into ready, waiting or held, from anywhere but running.
void make_ready(Unit& unit, Run& run);
void make_waiting(Unit& unit, Run& run, WaitKind wait, std::optional<UnixNanos> due_at);
void make_held(Unit& unit, Run& run, std::string hold_key);
// Into a terminal state, from anywhere but running. Writes event and audit. `reason` is a code.
void make_terminal(Unit& unit, Run& run, RunState state, std::string_view reason, std::string_view note = {});

// Keeps a call of an attempt that is not the running one. It changes nothing else.
void store_late(Unit& unit, const Run& run, std::int32_t attempt, std::string_view call, std::string_view body);

// A record of what went wrong; they are resolved when the run succeeds or is discarded.
void open_failure(Unit& unit, Run& run, std::string_view kind, std::string_view step, std::string_view message);
void resolve_failures(Unit& unit, Run& run);

// True while `attempt` holds the lease.
bool is_live(const Run& run, std::int32_t attempt);

// A JSON object of an error and its class, and back.
std::string error_json(const RunError& error, ErrorClass error_class);

}  // namespace fettle::runs
