#include "runs/run.h"

#include <fmt/format.h>

#include "runs/json.h"
#include "runs/limits.h"

namespace fettle::runs {

Run run_from(View& view, const db::Row& row) {
  Run run;
  std::uint8_t state = 0, kind = 0, wait = 0;
  view.read(row, run.number, state, kind, wait, run.pool, run.workflow, run.priority, run.client, run.platform,
            run.lane, run.agent, run.limit_key, run.external_id, run.attempt, run.generation, run.retry_count,
            run.chain_retries, run.max_retries, run.revoked, run.stalled, run.created_at, run.due_at, run.hold_key,
            run.lease_until, run.lease_ns, run.worker, run.leased_at, run.progress_at, run.slots, run.chain_started_at,
            run.started_at, run.finished_at, run.steps, run.open_failures, run.tokens, run.cost_usd, run.failure_reason,
            run.bulk_job);
  run.state = static_cast<RunState>(state);
  run.kind = static_cast<RunKind>(kind);
  run.wait = static_cast<WaitKind>(wait);
  return run;
}

std::optional<std::int64_t> find_run_number(View& view, const RunId& id) {
  if (const auto number = parse_run_number(id.value)) return number;
  std::int64_t number = 0;
  if (view.first("SELECT id FROM runs WHERE workspace = $1 AND external_id = $2", {view.workspace(), id}, number)) {
    return number;
  }
  return std::nullopt;
}

std::optional<Run> load_run(View& view, std::int64_t number) {
  const db::Rows rows = view.rows("SELECT " FETTLE_RUN_COLUMNS " FROM runs r WHERE r.workspace = $1 AND r.id = $2",
                                  {view.workspace(), number});
  if (rows.empty()) return std::nullopt;
  Run run = run_from(view, rows[0]);
  if (!view.allows(run.client)) return std::nullopt;
  return run;
}

std::optional<Run> load_run(View& view, const RunId& id) {
  const auto number = find_run_number(view, id);
  return number ? load_run(view, *number) : std::nullopt;
}

std::unexpected<Error> no_such_run(const RunId& id) {
  return fail(ErrorCode::kNotFound, fmt::format("there is no run {}", id.value));
}

void save_run(Unit& unit, const Run& run) {
  unit.execute(
      "UPDATE runs SET state = $3, wait = $4, attempt = $5, generation = $6, retry_count = $7, chain_retries = $8,"
      " max_retries = $9, revoked = $10, due_at = $11, hold_key = $12, lease_until = $13, worker = $14, leased_at = "
      "$15,"
      " progress_at = $16, slots = $17, chain_started_at = $18, started_at = $19, finished_at = $20, steps = $21,"
      " open_failures = $22, tokens = $23, cost_usd = $24, failure_reason = $25, bulk_job = $26, lease_ns = $27"
      " WHERE workspace = $1 AND id = $2",
      {unit.workspace(),
       run.number,
       static_cast<int>(run.state),
       static_cast<int>(run.wait),
       run.attempt,
       run.generation,
       run.retry_count,
       run.chain_retries,
       run.max_retries,
       run.revoked,
       run.due_at,
       run.hold_key,
       run.lease_until,
       run.worker,
       run.leased_at,
       run.progress_at,
       run.slots,
       run.chain_started_at,
       run.started_at,
       run.finished_at,
       run.steps,
       run.open_failures,
       run.tokens,
       run.cost_usd,
       run.failure_reason,
       run.bulk_job,
       run.lease_ns});
}

Identifiers identifiers_of(const Run& run) {
  Identifiers out;
  out.reserve(6);
  out.push_back({"run_id", run.shown_id()});
  out.push_back({"workflow", run.workflow});
  if (!run.client.empty()) out.push_back({"client_id", run.client});
  if (!run.platform.empty()) out.push_back({"platform", run.platform});
  if (!run.lane.empty()) out.push_back({"lane", run.lane});
  if (!run.agent.empty()) out.push_back({"agent", run.agent});
  return out;
}

// ---- transitions ---------------------------------------------------------------------------------------------------

void end_lease(Unit& unit, Run& run, AttemptEnd ended, std::string_view error_class, std::string_view error) {
  if (run.state != RunState::kRunning) return;
  if (run.kind == RunKind::kManaged) {
    unit.execute(
        "INSERT INTO run_attempts (workspace, run, attempt, ended, worker, leased_at, ended_at, error_class, error)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
        " ON CONFLICT (workspace, run, attempt) DO UPDATE SET ended = excluded.ended, worker = excluded.worker,"
        " leased_at = excluded.leased_at, ended_at = excluded.ended_at, error_class = excluded.error_class,"
        " error = excluded.error",
        {unit.workspace(), run.number, run.attempt, static_cast<int>(ended), run.worker, run.leased_at, unit.now(),
         error_class.empty() ? db::Value() : db::Value(error_class), error.empty() ? db::Value() : db::Value(error)});
  }
  // Steps that this attempt had under way are broken off with it.
  if (run.kind == RunKind::kManaged && run.steps > 0) {
    JsonObject broken;
    broken.add("name", "Interrupted").add("message", fmt::format("the attempt ended: {}", to_string(ended)));
    unit.execute(
        "UPDATE run_steps SET state = 2, finished_at = $5, error = $6"
        " WHERE workspace = $1 AND run = $2 AND generation = $3 AND state = 0 AND attempt = $4",
        {unit.workspace(), run.number, run.generation, run.attempt, unit.now(), std::move(broken).text()});
  }
  if (run.slots) release_slots(unit, *run.slots);
  run.slots.reset();
  run.lease_until.reset();
  run.worker.reset();
}

void make_ready(Unit& unit, Run& run) {
  run.state = RunState::kReady;
  run.wait = WaitKind::kNone;
  run.due_at.reset();
  run.hold_key.reset();
  run.finished_at.reset();
  save_run(unit, run);
  unit.wake(run.pool, run.workflow);
}

void make_waiting(Unit& unit, Run& run, WaitKind wait, std::optional<UnixNanos> due_at) {
  run.state = RunState::kWaiting;
  run.wait = wait;
  run.due_at = due_at;
  run.hold_key.reset();
  save_run(unit, run);
}

void make_held(Unit& unit, Run& run, std::string hold_key) {
  run.state = RunState::kHeld;
  run.wait = WaitKind::kNone;
  run.due_at.reset();
  run.hold_key = std::move(hold_key);
  run.chain_started_at.reset();  // a switch or a pause counts nothing
  save_run(unit, run);
}

void make_terminal(Unit& unit, Run& run, RunState state, std::string_view reason, std::string_view note) {
  const RunState before = run.state;
  run.state = state;
  run.wait = WaitKind::kNone;
  run.due_at.reset();
  run.hold_key.reset();
  run.worker.reset();
  run.finished_at = unit.now();
  if (state == RunState::kSucceeded) {
    run.failure_reason.reset();
  } else {
    run.failure_reason = std::string(reason);
  }
  if (state == RunState::kSucceeded || state == RunState::kDiscarded) resolve_failures(unit, run);
  save_run(unit, run);
  // A decision on work that is over would be a decision on what comes after it.
  unit.execute("UPDATE approvals SET state = 4 WHERE workspace = $1 AND run = $2 AND state = 0",
               {unit.workspace(), run.number});
  const std::string type = fmt::format("run.{}", state == RunState::kDead ? "dead_lettered" : to_string(state));
  JsonObject body;
  body.add("attempt", run.attempt).add("retry_count", run.retry_count).add("tokens", run.tokens);
  body.add("cost_usd", run.cost_usd).add_text("reason", reason);
  unit.event(type, identifiers_of(run), std::move(body).text());
  JsonObject was, is;
  was.add("state", to_string(before));
  is.add("state", to_string(state)).add("attempt", run.attempt).add("retry_count", run.retry_count);
  Audit audit;
  audit.action = type;
  audit.target_type = "run";
  audit.target_id = run.shown_id();
  audit.result = state == RunState::kDead || state == RunState::kFailed ? "fail" : "success";
  audit.reason = reason;
  audit.identifiers = identifiers_of(run);
  audit.summary = note;
  audit.before = std::move(was).text();
  audit.after = std::move(is).text();
  unit.audit(std::move(audit));
}

void store_late(Unit& unit, const Run& run, std::int32_t attempt, std::string_view call, std::string_view body) {
  // An attempt that the run never had is nobody's late result.
  if (attempt <= 0 || attempt > run.attempt) return;
  // The first one stays: a repeated message is not another result.
  const std::int64_t stored = unit.execute(
      "INSERT INTO run_attempts (workspace, run, attempt, late_call, late_at, late_body)"
      " VALUES ($1, $2, $3, $4, $5, $6)"
      " ON CONFLICT (workspace, run, attempt) DO UPDATE SET late_call = excluded.late_call,"
      " late_at = excluded.late_at, late_body = excluded.late_body WHERE run_attempts.late_call IS NULL",
      {unit.workspace(), run.number, attempt, call, unit.now(), body});
  if (stored == 0) return;
  JsonObject data;
  data.add("attempt", attempt).add("call", call).add("running_attempt", run.attempt);
  unit.event("run.late_result", identifiers_of(run), std::move(data).text());
}

void open_failure(Unit& unit, Run& run, std::string_view kind, std::string_view step, std::string_view message) {
  unit.execute(
      "INSERT INTO workflow_failures (workspace, id, run, run_ref, client, workflow, step, kind, message, "
      "retry_attempt,"
      " status, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'open', $11)",
      {unit.workspace(), unit.next_number(), run.number, run.shown_id(), run.client, run.workflow, step, kind, message,
       run.retry_count, unit.now()});
  ++run.open_failures;
}

void resolve_failures(Unit& unit, Run& run) {
  if (run.open_failures == 0) return;
  unit.execute(
      "UPDATE workflow_failures SET status = 'resolved', resolved_at = $3"
      " WHERE workspace = $1 AND run = $2 AND status = 'open'",
      {unit.workspace(), run.number, unit.now()});
  run.open_failures = 0;
}

bool is_live(const Run& run, std::int32_t attempt) {
  return run.state == RunState::kRunning && run.kind == RunKind::kManaged && run.attempt == attempt;
}

std::string error_json(const RunError& error, ErrorClass error_class) {
  JsonObject out;
  out.add_text("name", error.name).add_text("code", error.code).add("message", error.message);
  out.add("class", to_string(error_class));
  if (error.http_status != 0) out.add("http_status", error.http_status);
  if (error.retry_after) {
    out.add("retry_after_ms", std::chrono::duration_cast<std::chrono::milliseconds>(*error.retry_after).count());
  }
  out.add_text("step", error.step).add_text("stack", error.stack);
  return std::move(out).text();
}

}  // namespace fettle::runs
