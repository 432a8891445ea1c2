#include "runs/steps.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "runs/json.h"
#include "runs/retry_policies.h"
#include "runs/run.h"

namespace fettle::runs {
namespace {

constexpr std::array<std::string_view, 6> kAnswers = {"go", "done", "parked", "timed_out", "late", "unknown"};
constexpr std::string_view kTimedOut = R"({"timed_out":true})";

struct Row {
  StepState state = StepState::kRunning;
  std::int32_t attempt = 0, retry_count = 0;
  std::optional<UnixNanos> until;
  std::optional<std::string> result;
};

std::optional<Row> find_step(Unit& unit, const Run& run, std::string_view step) {
  Row row;
  std::uint8_t state = 0;
  if (!unit.first("SELECT state, attempt, retry_count, until, result FROM run_steps"
                  " WHERE workspace = $1 AND run = $2 AND generation = $3 AND step = $4",
                  {unit.workspace(), run.number, run.generation, step}, state, row.attempt, row.retry_count, row.until,
                  row.result)) {
    return std::nullopt;
  }
  row.state = static_cast<StepState>(state);
  return row;
}

// The run, when the call's attempt is the running one; otherwise what to answer.
struct Live {
  std::optional<Run> run;
  StepAnswer otherwise = StepAnswer::kUnknown;
};

Result<Live> live_run(Unit& unit, const StepCall& call) {
  if (auto good = check_name("step", call.step, unit.limits()); !good) return std::unexpected(good.error());
  Live live;
  live.run = load_run(unit, call.run);
  if (!live.run) return live;
  if (is_live(*live.run, call.attempt)) return live;
  live.otherwise = StepAnswer::kLate;
  live.run.reset();
  return live;
}

Applied applied_of(StepAnswer answer) { return answer == StepAnswer::kLate ? Applied::kLate : Applied::kUnknown; }

Result<void> insert_step(Unit& unit, Run& run, std::string_view step, StepState state, std::optional<UnixNanos> until) {
  if (static_cast<std::size_t>(run.steps) >= unit.limits().steps_max) {
    return fail(ErrorCode::kTooLarge, fmt::format("the run has {} steps, no more fit", run.steps));
  }
  ++run.steps;
  unit.execute(
      "INSERT INTO run_steps (workspace, run, generation, step, position, state, attempt, started_at, until)"
      " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
      {unit.workspace(), run.number, run.generation, step, run.steps, static_cast<int>(state), run.attempt, unit.now(),
       until});
  return {};
}

Identifiers identifiers_of_step(const Run& run, std::string_view step) {
  Identifiers out = identifiers_of(run);
  out.push_back({"step_id", std::string(step)});
  return out;
}

void note_progress(Unit& unit, Run& run, std::int64_t tokens, double cost_usd) {
  run.tokens += tokens;
  run.cost_usd += cost_usd;
  run.progress_at = unit.now();
  unit.add_usage(tokens, cost_usd);
  unit.execute(
      "UPDATE runs SET steps = $3, tokens = $4, cost_usd = $5, progress_at = $6, open_failures = $7"
      " WHERE workspace = $1 AND id = $2",
      {unit.workspace(), run.number, run.steps, run.tokens, run.cost_usd, run.progress_at, run.open_failures});
}

std::string signal_of(std::string_view name, std::string_view key) { return fmt::format("{}\x1f{}", name, key); }
// As it is kept when its sender may act for that client alone.
std::string signal_for_client(std::string_view wanted, std::string_view client) {
  return fmt::format("{}\x1f{}", wanted, client);
}

Result<void> check_signal(const Unit& unit, std::string_view name, std::string_view key) {
  if (auto good = check_name("signal", name, unit.limits()); !good) return good;
  if (key.empty()) return {};
  return check_name("key", key, unit.limits());
}

void complete_row(Unit& unit, const Run& run, std::string_view step, std::string_view result) {
  unit.execute(
      "UPDATE run_steps SET state = 1, finished_at = $5, result = $6"
      " WHERE workspace = $1 AND run = $2 AND generation = $3 AND step = $4 AND state <> 1",
      {unit.workspace(), run.number, run.generation, step, unit.now(), result});
  unit.event("step.completed", identifiers_of_step(run, step));
}

// What a run's steps have left behind goes out with each of its leases. Looked at only where it can be near its limit.
Result<void> check_memo(Unit& unit, const Run& run, std::size_t added) {
  constexpr std::size_t kSmall = 4'096;
  if ((static_cast<std::size_t>(run.steps) + 1) * std::max(added, kSmall) <= unit.limits().memo_bytes_max) return {};
  std::int64_t kept = 0;
  unit.first(
      "SELECT coalesce(sum(length(result)), 0) FROM run_steps WHERE workspace = $1 AND run = $2 AND generation = $3",
      {unit.workspace(), run.number, run.generation}, kept);
  if (static_cast<std::size_t>(kept) + added <= unit.limits().memo_bytes_max) return {};
  return fail(ErrorCode::kTooLarge,
              fmt::format("the results of a run's steps have {} bytes, at most {} fit: keep what is "
                          "large elsewhere and its address here",
                          static_cast<std::size_t>(kept) + added, unit.limits().memo_bytes_max));
}

Result<void> check_cost(std::int64_t tokens, double cost_usd) {
  if (tokens >= 0 && cost_usd >= 0) return {};
  return fail(ErrorCode::kInvalidArgument, "tokens and cost_usd must not be negative");
}

}  // namespace

std::string_view to_string(StepAnswer answer) { return kAnswers.at(static_cast<std::size_t>(answer)); }

Result<StepBegun> begin_step(Unit& unit, const StepCall& call) {
  auto live = live_run(unit, call);
  if (!live) return std::unexpected(live.error());
  if (!live->run) return StepBegun{.state = live->otherwise};
  Run& run = *live->run;
  const std::optional<Row> row = find_step(unit, run, call.step);
  StepBegun begun{.state = StepAnswer::kGo};
  if (row && row->state == StepState::kCompleted) {
    return StepBegun{StepAnswer::kDone, row->result.value_or(""), row->retry_count};
  }
  if (row && row->state == StepState::kWaiting) {
    return fail(ErrorCode::kConflict, fmt::format("step {} waits: call what it waits for", call.step));
  }
  if (!row) {
    if (auto made = insert_step(unit, run, call.step, StepState::kRunning, std::nullopt); !made) {
      return std::unexpected(made.error());
    }
  } else {
    // The same call again, its answer lost, is no retry.
    const bool again = row->state == StepState::kRunning && row->attempt == run.attempt;
    begun.retry_count = row->retry_count + (again ? 0 : 1);
    unit.execute(
        "UPDATE run_steps SET state = 0, attempt = $5, retry_count = $6, started_at = $7, finished_at = NULL,"
        " duration_ms = NULL WHERE workspace = $1 AND run = $2 AND generation = $3 AND step = $4",
        {unit.workspace(), run.number, run.generation, call.step, run.attempt, begun.retry_count, unit.now()});
  }
  note_progress(unit, run, 0, 0);
  unit.event("step.started", identifiers_of_step(run, call.step));
  return begun;
}

Result<Applied> complete_step(Unit& unit, const StepCall& call, const StepResult& result) {
  if (auto good = check_size("result", result.result, unit.limits().result_bytes_max); !good) {
    return std::unexpected(good.error());
  }
  if (auto good = check_cost(result.tokens, result.cost_usd); !good) return std::unexpected(good.error());
  auto live = live_run(unit, call);
  if (!live) return std::unexpected(live.error());
  if (!live->run) {
    if (live->otherwise == StepAnswer::kLate) {
      if (auto run = load_run(unit, call.run)) store_late(unit, *run, call.attempt, "complete_step", result.result);
    }
    return applied_of(live->otherwise);
  }
  Run& run = *live->run;
  const std::optional<Row> row = find_step(unit, run, call.step);
  if (row && row->state == StepState::kCompleted) return Applied::kApplied;
  if (auto good = check_memo(unit, run, result.result.size()); !good) return std::unexpected(good.error());
  if (!row) {
    if (auto made = insert_step(unit, run, call.step, StepState::kRunning, std::nullopt); !made) {
      return std::unexpected(made.error());
    }
  }
  unit.execute(
      "UPDATE run_steps SET state = 1, attempt = $5, finished_at = $6, result = $7, tokens = tokens + $8,"
      " cost_usd = cost_usd + $9, duration_ms = $10 WHERE workspace = $1 AND run = $2 AND generation = $3 AND step = "
      "$4 AND state <> 1",
      {unit.workspace(), run.number, run.generation, call.step, run.attempt, unit.now(), result.result, result.tokens,
       result.cost_usd, result.duration_ms});
  note_progress(unit, run, result.tokens, result.cost_usd);
  JsonObject body;
  body.add("attempt", run.attempt).add("tokens", result.tokens).add("cost_usd", result.cost_usd);
  unit.event("step.completed", identifiers_of_step(run, call.step), std::move(body).text());
  return Applied::kApplied;
}

Result<StepFailed> fail_step(Unit& unit, const StepCall& call, const RunError& error, std::int64_t tokens,
                             double cost_usd, std::optional<std::int64_t> duration_ms) {
  for (const auto& [field, value] : {std::pair{"message", &error.message}, {"stack", &error.stack}}) {
    if (auto good = check_size(field, *value, unit.limits().message_bytes_max); !good) {
      return std::unexpected(good.error());
    }
  }
  if (auto good = check_cost(tokens, cost_usd); !good) return std::unexpected(good.error());
  auto live = live_run(unit, call);
  if (!live) return std::unexpected(live.error());
  StepFailed out;
  out.error_class = classify(error);
  if (!live->run) {
    out.applied = applied_of(live->otherwise);
    return out;
  }
  Run& run = *live->run;
  out.applied = Applied::kApplied;
  const std::optional<Row> row = find_step(unit, run, call.step);
  if (row && row->state == StepState::kCompleted) return out;
  // The same call again, its answer lost, costs nothing twice: a further try of the step begins with begin_step().
  const bool again = row && row->state == StepState::kFailed && row->attempt == run.attempt;
  if (!row) {
    if (auto made = insert_step(unit, run, call.step, StepState::kRunning, std::nullopt); !made) {
      return std::unexpected(made.error());
    }
  }
  const std::string json = error_json(error, out.error_class);
  if (!again) {
    unit.execute(
        "UPDATE run_steps SET state = 2, attempt = $5, finished_at = $6, error = $7, tokens = tokens + $8,"
        " cost_usd = cost_usd + $9, duration_ms = $10 WHERE workspace = $1 AND run = $2 AND generation = $3 AND step = "
        "$4 AND state <> 1",
        {unit.workspace(), run.number, run.generation, call.step, run.attempt, unit.now(), json, tokens, cost_usd,
         duration_ms});
    open_failure(unit, run, "error", call.step, error.message);
    note_progress(unit, run, tokens, cost_usd);
  }
  RetryPolicy policy;
  policy.max_retries = 0;
  if (auto own = step_policy(unit, run.workflow, call.step)) policy = *own;
  const Situation situation{out.error_class, row ? row->retry_count : 0, run.chain_started_at.value_or(unit.now()),
                            unit.now(), error.retry_after};
  const Decision decision = decide(policy, situation, [&] { return unit.random(); });
  out.will_retry = decision.retry;
  out.delay = decision.delay;
  out.reason = decision.reason;
  if (again) return out;
  JsonObject body;
  body.add("attempt", run.attempt).add_json("error", json).add("will_retry", decision.retry);
  unit.event("step.failed", identifiers_of_step(run, call.step), std::move(body).text());
  return out;
}

Result<void> add_use(Unit& unit, const RunId& id, std::int32_t attempt, std::int64_t tokens, double cost_usd) {
  if (auto good = check_cost(tokens, cost_usd); !good) return good;
  std::optional<Run> run = load_run(unit, id);
  if (run && run->attempt == attempt) note_progress(unit, *run, tokens, cost_usd);
  return {};
}

// ---- waiting -------------------------------------------------------------------------------------------------------

Result<StepBegun> park_step(Unit& unit, Run& run, std::string_view step, WaitKind wait,
                            std::optional<UnixNanos> until) {
  const std::optional<Row> row = find_step(unit, run, step);
  if (row && row->state == StepState::kCompleted) {
    const StepAnswer answer = row->result == kTimedOut ? StepAnswer::kTimedOut : StepAnswer::kDone;
    return StepBegun{answer, row->result.value_or(""), row->retry_count};
  }
  // The time of the first call holds: the wait began then.
  if (row && row->state == StepState::kWaiting) until = row->until;
  if (until && *until <= unit.now()) {
    if (!row) {
      if (auto made = insert_step(unit, run, step, StepState::kWaiting, until); !made) {
        return std::unexpected(made.error());
      }
    }
    const bool sleep = wait == WaitKind::kSleep;
    const std::string_view result = sleep ? "null" : kTimedOut;
    complete_row(unit, run, step, result);
    note_progress(unit, run, 0, 0);
    return StepBegun{sleep ? StepAnswer::kDone : StepAnswer::kTimedOut, std::string(result), 0};
  }
  if (!row) {
    if (auto made = insert_step(unit, run, step, StepState::kWaiting, until); !made)
      return std::unexpected(made.error());
  } else if (row->state != StepState::kWaiting) {
    return fail(ErrorCode::kConflict, fmt::format("step {} is not one that waits", step));
  }
  run.progress_at = unit.now();
  run.chain_started_at.reset();  // how long it waits is nothing that its retries are measured by
  end_lease(unit, run, AttemptEnd::kParked);
  make_waiting(unit, run, wait, until);
  JsonObject body;
  body.add("wait", to_string(wait));
  if (until) body.add("until", format_rfc3339(*until));
  unit.event("run.waiting", identifiers_of_step(run, step), std::move(body).text());
  return StepBegun{.state = StepAnswer::kParked};
}

bool end_wait(Unit& unit, std::int64_t number, std::string_view step, std::string_view result) {
  std::optional<Run> run = load_run(unit, number);
  if (!run || is_terminal(run->state)) return false;
  const std::optional<Row> row = find_step(unit, *run, step);
  if (!row || row->state != StepState::kWaiting) return false;
  complete_row(unit, *run, step, result);
  // Held or ready already, it finds the result when it is leased; asleep in another step, it goes on sleeping.
  if (run->state == RunState::kWaiting && (run->wait == WaitKind::kSignal || run->wait == WaitKind::kApproval)) {
    make_ready(unit, *run);
  }
  return true;
}

Result<StepBegun> sleep_step(Unit& unit, const StepCall& call, UnixNanos until) {
  auto live = live_run(unit, call);
  if (!live) return std::unexpected(live.error());
  if (!live->run) return StepBegun{.state = live->otherwise};
  return park_step(unit, *live->run, call.step, WaitKind::kSleep, until);
}

Result<StepBegun> wait_signal(Unit& unit, const StepCall& call, std::string_view name, std::string_view key,
                              std::optional<std::chrono::nanoseconds> timeout) {
  if (auto good = check_signal(unit, name, key); !good) return std::unexpected(good.error());
  auto live = live_run(unit, call);
  if (!live) return std::unexpected(live.error());
  if (!live->run) return StepBegun{.state = live->otherwise};
  Run& run = *live->run;
  const std::string wanted = signal_of(name, key);
  const std::optional<Row> row = find_step(unit, run, call.step);
  std::int64_t came = 0;
  std::string payload;
  std::string kept_as;
  // One that came before anybody waited is for the first who does, within the client that it was sent for.
  const bool is_waiting = row && row->state == StepState::kWaiting;
  if ((!row || is_waiting) &&
      unit.first("SELECT signal, id, payload FROM run_signals WHERE workspace = $1 AND signal IN ($2, $4)"
                 " AND expires_at > $3 ORDER BY id LIMIT 1",
                 {unit.workspace(), wanted, unit.now(), signal_for_client(wanted, run.client)}, kept_as, came,
                 payload)) {
    if (!row) {
      if (auto made = insert_step(unit, run, call.step, StepState::kWaiting, std::nullopt); !made) {
        return std::unexpected(made.error());
      }
    }
    unit.execute("DELETE FROM run_signals WHERE workspace = $1 AND signal = $2 AND id = $3",
                 {unit.workspace(), kept_as, came});
    complete_row(unit, run, call.step, payload);
    note_progress(unit, run, 0, 0);
    return StepBegun{StepAnswer::kDone, payload, 0};
  }
  std::optional<UnixNanos> until;
  if (timeout) until = unit.now() + timeout->count();
  auto parked = park_step(unit, run, call.step, WaitKind::kSignal, until);
  if (!parked) return parked;
  if (parked->state == StepAnswer::kParked) {
    unit.execute("INSERT INTO run_waits (workspace, signal, run, step) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
                 {unit.workspace(), wanted, run.number, call.step});
  } else {
    unit.execute("DELETE FROM run_waits WHERE workspace = $1 AND signal = $2 AND run = $3 AND step = $4",
                 {unit.workspace(), wanted, run.number, call.step});
  }
  return parked;
}

Result<std::int64_t> signal(Unit& unit, std::string_view name, std::string_view key, std::string_view payload,
                            std::chrono::nanoseconds keep) {
  if (auto good = check_signal(unit, name, key); !good) return std::unexpected(good.error());
  if (auto good = check_size("payload", payload, unit.limits().payload_bytes_max); !good) {
    return std::unexpected(good.error());
  }
  if (keep < std::chrono::nanoseconds(0) || keep > std::chrono::hours(24 * 31)) {
    return fail(ErrorCode::kInvalidArgument, "a signal is kept for at most 31 days");
  }
  const std::string wanted = signal_of(name, key);
  // Whoever may see some clients alone wakes the runs of those, and keeps nothing for others.
  const db::Rows rows = unit.rows(
      "SELECT w.run, w.step, r.client FROM run_waits w JOIN runs r ON r.workspace = w.workspace AND r.id = w.run"
      " WHERE w.workspace = $1 AND w.signal = $2",
      {unit.workspace(), wanted});
  std::int64_t woken = 0;
  for (const db::Row row : rows) {
    std::int64_t run = 0;
    std::string step, client;
    if (!unit.read(row, run, step, client)) break;
    if (!unit.allows(client)) continue;
    unit.execute("DELETE FROM run_waits WHERE workspace = $1 AND signal = $2 AND run = $3 AND step = $4",
                 {unit.workspace(), wanted, run, step});
    if (end_wait(unit, run, step, payload)) ++woken;
  }
  if (woken == 0 && keep.count() > 0) {
    const std::vector<ClientId>& clients = unit.scope().clients;
    if (clients.size() > 1) {
      return fail(ErrorCode::kInvalidArgument,
                  "no run waits for this event, and for which of your clients to keep it is not known");
    }
    const std::string kept_as = clients.empty() ? wanted : signal_for_client(wanted, clients.front().value);
    unit.execute("INSERT INTO run_signals (workspace, signal, id, payload, expires_at) VALUES ($1, $2, $3, $4, $5)",
                 {unit.workspace(), kept_as, unit.next_number(), payload, unit.now() + keep.count()});
  }
  return woken;
}

std::int32_t purge_signals(Unit& unit, std::int32_t count_max) {
  const db::Rows rows =
      unit.rows("SELECT signal, id FROM run_signals WHERE expires_at <= $2 AND workspace = $1 LIMIT $3",
                {unit.workspace(), unit.now(), count_max});
  for (const db::Row row : rows) {
    std::string name;
    std::int64_t id = 0;
    if (!unit.read(row, name, id)) return 0;
    unit.execute("DELETE FROM run_signals WHERE workspace = $1 AND signal = $2 AND id = $3",
                 {unit.workspace(), name, id});
  }
  return static_cast<std::int32_t>(rows.size());
}

std::vector<Step> list_steps(View& view, const RunId& id) {
  std::vector<Step> out;
  const std::optional<Run> run = load_run(view, id);
  if (!run) return out;
  for (const db::Row row : view.rows(
           "SELECT step, generation, position, attempt, retry_count, state, started_at, finished_at, until, tokens,"
           " cost_usd, result, error, duration_ms FROM run_steps WHERE workspace = $1 AND run = $2"
           " ORDER BY generation, position",
           {view.workspace(), run->number})) {
    Step step;
    std::uint8_t state = 0;
    view.read(row, step.step, step.generation, step.position, step.attempt, step.retry_count, state, step.started_at,
              step.finished_at, step.until, step.tokens, step.cost_usd, step.result, step.error, step.duration_ms);
    if (!step.duration_ms && step.finished_at) {
      step.duration_ms = (*step.finished_at - step.started_at) / kNanosPerMilli;
    }
    step.state = static_cast<StepState>(state);
    out.push_back(std::move(step));
  }
  return out;
}

}  // namespace fettle::runs
