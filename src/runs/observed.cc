#include "runs/observed.h"

#include <fmt/format.h>

#include "runs/json.h"
#include "runs/run.h"
#include "runs/switches.h"

namespace fettle::runs {
namespace {

Result<void> check_error(const Unit& unit, const RunError& error) {
  if (auto good = check_size("message", error.message, unit.limits().message_bytes_max); !good) return good;
  return check_size("stack", error.stack, unit.limits().message_bytes_max);
}

Result<void> check_cost(std::int64_t tokens, double cost_usd, std::int32_t retry_count) {
  if (tokens >= 0 && cost_usd >= 0 && retry_count >= 0) return {};
  return fail(ErrorCode::kInvalidArgument, "tokens, cost_usd and retry_count must not be negative");
}

std::string stop_reason(Unit& unit, const Run& run) {
  const ActiveSwitches switches(unit);
  const Switch* stop = switches.stops(reach_of(run));
  return stop != nullptr && stop->mode == SwitchMode::kKill ? fmt::format("{}: {}", stop->id, stop->reason) : "";
}

}  // namespace

Result<RunId> start_observed(Unit& unit, const ObservedStart& start) {
  const SizeLimits& limits = unit.limits();
  for (const auto& [field, value, required] : {std::tuple{"workflow", &start.workflow, true},
                                               {"executor", &start.executor, true},
                                               {"run_id", &start.run_id, false},
                                               {"client", &start.client, false},
                                               {"platform", &start.platform, false},
                                               {"lane", &start.lane, false},
                                               {"agent", &start.agent, false},
                                               {"correlation_id", &start.correlation_id, false},
                                               {"trace_id", &start.trace_id, false}}) {
    if (!required && value->empty()) continue;
    if (auto good = check_name(field, *value, limits); !good) return std::unexpected(good.error());
  }
  if (auto good = check_size("payload", start.payload, limits.payload_bytes_max); !good) {
    return std::unexpected(good.error());
  }
  if (auto good = check_size("context", start.context, limits.context_bytes_max); !good) {
    return std::unexpected(good.error());
  }
  if (!unit.scope().clients.empty() && !unit.allows(start.client)) {
    return fail(ErrorCode::kPermissionDenied, "this client is outside of what you may see");
  }
  if (!start.run_id.empty()) {
    if (const auto number = find_run_number(unit, RunId{start.run_id})) {
      if (const auto run = load_run(unit, *number)) return RunId{run->shown_id()};
      return fail(ErrorCode::kPermissionDenied, "a run of this name is outside of what you may see");
    }
  }
  Run run;
  run.number = unit.next_number();
  run.kind = RunKind::kObserved;
  run.workflow = start.workflow;
  run.client = start.client;
  run.platform = start.platform;
  run.lane = start.lane;
  run.agent = start.agent;
  if (!start.run_id.empty()) run.external_id = start.run_id;
  const UnixNanos started_at = start.started_at.value_or(unit.now());
  unit.execute(
      "INSERT INTO runs (workspace, id, state, kind, pool, workflow, priority, client, platform, lane, agent, "
      "limit_key,"
      " external_id, attempt, max_retries, created_at, worker, leased_at, progress_at, started_at)"
      " VALUES ($1, $2, 3, 1, 'observed', $3, 0, $4, $5, $6, $7, '', $8, 1, 0, $9, $10, $11, $9, $11)",
      {unit.workspace(), run.number, run.workflow, run.client, run.platform, run.lane, run.agent, run.external_id,
       unit.now(), start.executor, started_at});
  const auto or_null = [](const std::string& text) { return text.empty() ? db::Value() : db::Value(text); };
  unit.execute(
      "INSERT INTO run_data (workspace, id, payload, context, correlation_id, trace_id)"
      " VALUES ($1, $2, $3, $4, $5, $6)",
      {unit.workspace(), run.number, start.payload, start.context, or_null(start.correlation_id),
       or_null(start.trace_id)});
  JsonObject body;
  body.add("attempt", 1).add("executor", start.executor).add("observed", true);
  unit.event("run.started", identifiers_of(run), std::move(body).text());
  return RunId{run.shown_id()};
}

Result<Reported> report_step(Unit& unit, const ObservedStep& step) {
  if (auto good = check_name("step", step.step, unit.limits()); !good) return std::unexpected(good.error());
  if (auto good = check_error(unit, step.error); !good) return std::unexpected(good.error());
  if (auto good = check_cost(step.tokens, step.cost_usd, step.retry_count); !good) return std::unexpected(good.error());
  if (auto good = check_size("result", step.result, unit.limits().result_bytes_max); !good) {
    return std::unexpected(good.error());
  }
  std::optional<Run> run = load_run(unit, RunId{step.run_id});
  if (!run || run->kind != RunKind::kObserved) return Reported{};
  Reported out;
  out.stop_reason = stop_reason(unit, *run);
  if (run->state != RunState::kRunning) {
    out.applied = Applied::kLate;
    return out;
  }
  out.applied = Applied::kApplied;
  const StepState state = !step.done       ? StepState::kRunning
                          : step.succeeded ? StepState::kCompleted
                                           : StepState::kFailed;
  const std::string error = state == StepState::kFailed ? error_json(step.error, classify(step.error)) : std::string();
  std::uint8_t before = 0;
  std::int32_t retries_before = 0;
  std::int64_t tokens_before = 0;
  double cost_before = 0;
  const bool there = unit.first(
      "SELECT state, retry_count, tokens, cost_usd FROM run_steps"
      " WHERE workspace = $1 AND run = $2 AND generation = 0 AND step = $3",
      {unit.workspace(), run->number, step.step}, before, retries_before, tokens_before, cost_before);
  if (there && static_cast<StepState>(before) == StepState::kCompleted) return out;
  const db::Value finished = step.done ? db::Value(step.finished_at.value_or(unit.now())) : db::Value();
  if (!there) {
    if (static_cast<std::size_t>(run->steps) >= unit.limits().steps_max) {
      return fail(ErrorCode::kTooLarge, fmt::format("the run has {} steps, no more fit", run->steps));
    }
    ++run->steps;
    unit.execute(
        "INSERT INTO run_steps (workspace, run, generation, step, position, state, attempt, retry_count, started_at,"
        " finished_at, tokens, cost_usd, result, error, duration_ms) VALUES ($1, $2, 0, $3, $4, $5, 1, $6, $7, $8, $9, "
        "$10, "
        "$11, $12, $13)",
        {unit.workspace(), run->number, step.step, run->steps, static_cast<int>(state), step.retry_count,
         step.started_at.value_or(unit.now()), finished, step.tokens, step.cost_usd, step.result, error,
         step.duration_ms});
  } else {
    unit.execute(
        "UPDATE run_steps SET state = $4, retry_count = $5, finished_at = $6, tokens = $7, cost_usd = $8, result = $9,"
        " error = $10, duration_ms = $11 WHERE workspace = $1 AND run = $2 AND generation = 0 AND step = $3",
        {unit.workspace(), run->number, step.step, static_cast<int>(state), step.retry_count, finished, step.tokens,
         step.cost_usd, step.result, error, step.duration_ms});
  }
  // What is reported of a step replaces what was reported before.
  run->tokens += step.tokens - tokens_before;
  run->cost_usd += step.cost_usd - cost_before;
  run->progress_at = unit.now();
  const bool new_failure =
      state == StepState::kFailed &&
      (!there || static_cast<StepState>(before) != StepState::kFailed || retries_before != step.retry_count);
  if (new_failure) {
    run->retry_count = std::max(run->retry_count, step.retry_count);
    open_failure(unit, *run, step.retry_count > 0 ? "retry" : "error", step.step, step.error.message);
  }
  save_run(unit, *run);
  unit.add_usage(step.tokens - tokens_before, step.cost_usd - cost_before);
  Identifiers identifiers = identifiers_of(*run);
  identifiers.push_back({"step_id", step.step});
  JsonObject body;
  body.add("tokens", step.tokens).add("cost_usd", step.cost_usd).add("retry_count", step.retry_count);
  if (!error.empty()) body.add_json("error", error);
  const std::string_view verb = !step.done ? "started" : step.succeeded ? "completed" : "failed";
  unit.event(fmt::format("step.{}", verb), std::move(identifiers), std::move(body).text());
  return out;
}

Result<Reported> end_observed(Unit& unit, const ObservedEnd& end) {
  if (auto good = check_error(unit, end.error); !good) return std::unexpected(good.error());
  if (auto good = check_cost(end.tokens, end.cost_usd, end.retry_count); !good) return std::unexpected(good.error());
  if (auto good = check_size("result", end.result, unit.limits().result_bytes_max); !good) {
    return std::unexpected(good.error());
  }
  std::optional<Run> run = load_run(unit, RunId{end.run_id});
  if (!run || run->kind != RunKind::kObserved) return Reported{};
  const RunState to = end.succeeded ? RunState::kSucceeded : RunState::kFailed;
  if (run->state != RunState::kRunning) {
    // Said twice, or somebody forced it to another end meanwhile.
    return Reported{run->state == to ? Applied::kApplied : Applied::kLate, {}};
  }
  run->tokens += end.tokens;
  run->cost_usd += end.cost_usd;
  run->retry_count = std::max(run->retry_count, end.retry_count);
  unit.add_usage(end.tokens, end.cost_usd);
  if (!end.result.empty()) {
    unit.execute("UPDATE run_data SET result = $3 WHERE workspace = $1 AND id = $2",
                 {unit.workspace(), run->number, end.result});
  }
  if (!end.succeeded) {
    const std::string json = error_json(end.error, classify(end.error));
    unit.execute("UPDATE run_data SET error = $3 WHERE workspace = $1 AND id = $2",
                 {unit.workspace(), run->number, json});
    open_failure(unit, *run, "error", end.error.step, end.error.message);
  }
  end_lease(unit, *run, AttemptEnd::kFailed);
  make_terminal(unit, *run, to, end.succeeded ? "" : to_string(classify(end.error)), end.error.message);
  return Reported{Applied::kApplied, {}};
}

}  // namespace fettle::runs
