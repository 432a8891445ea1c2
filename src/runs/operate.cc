#include "runs/operate.h"

#include <fmt/format.h>

#include "runs/admission.h"
#include "runs/json.h"
#include "runs/run.h"

namespace fettle::runs {
namespace {

Result<void> check_reason(const Unit& unit, std::string_view reason) {
  if (reason.empty()) return fail(ErrorCode::kInvalidArgument, "a reason is needed");
  return check_size("reason", reason, unit.limits().message_bytes_max);
}

Result<Run> run_to_change(Unit& unit, const RunId& id, std::string_view reason) {
  if (auto good = check_reason(unit, reason); !good) return std::unexpected(good.error());
  std::optional<Run> run = load_run(unit, id);
  if (!run) return no_such_run(id);
  return std::move(*run);
}

std::unexpected<Error> wrong_state(const Run& run, std::string_view what) {
  return fail(ErrorCode::kConflict,
              fmt::format("run {} is {}: it cannot be {}", run.shown_id(), to_string(run.state), what));
}

void audit_decision(Unit& unit, const Run& run, std::string_view action, RunState before, std::string_view reason) {
  JsonObject was, is, body;
  was.add("state", to_string(before));
  is.add("state", to_string(run.state)).add("generation", run.generation);
  body.add("from", to_string(before)).add("to", to_string(run.state));
  Audit audit;
  audit.action = action;
  audit.target_type = "run";
  audit.target_id = run.shown_id();
  audit.identifiers = identifiers_of(run);
  audit.summary = reason;
  audit.before = std::move(was).text();
  audit.after = std::move(is).text();
  unit.audit(std::move(audit));
  unit.event(action, identifiers_of(run), std::move(body).text());
}

// Whoever sets an agent to work answers for it from now on.
Result<void> take_over(Unit& unit, const Run& run) {
  if (auto allowed = Gate(unit).check(run.workflow, run.agent); !allowed) return allowed;
  if (run.agent.empty()) return {};
  unit.execute("UPDATE run_data SET asked_by = $3 WHERE workspace = $1 AND id = $2",
               {unit.workspace(), run.number, unit.actor().id});
  return {};
}

}  // namespace

bool retry_if_possible(Unit& unit, Run& run, RetryFrom from, std::string_view reason,
                       std::optional<std::int64_t> bulk_job) {
  // Nobody here executes an observed run.
  if (run.kind != RunKind::kManaged) return false;
  if (run.state != RunState::kDead && run.state != RunState::kCancelled) return false;
  const RunState before = run.state;
  ++run.retry_count;
  run.chain_retries = 0;
  run.chain_started_at.reset();
  run.failure_reason.reset();
  run.bulk_job = bulk_job ? bulk_job : run.bulk_job;
  if (from == RetryFrom::kScratch) {
    ++run.generation;
    // Approvals and signals of the old steps are nobody's any more.
    unit.execute("DELETE FROM run_waits WHERE workspace = $1 AND run = $2", {unit.workspace(), run.number});
  }
  open_failure(unit, run, "retry", "",
               from == RetryFrom::kScratch ? "retried from scratch" : "retried from the failed step");
  make_ready(unit, run);
  audit_decision(unit, run, "run.retry", before, reason);
  return true;
}

bool discard_if_possible(Unit& unit, Run& run, std::string_view reason, std::optional<std::int64_t> bulk_job) {
  if (run.state != RunState::kDead && run.state != RunState::kFailed && run.state != RunState::kCancelled) return false;
  run.bulk_job = bulk_job ? bulk_job : run.bulk_job;
  // Why it failed stays to be read; why it was discarded is in the audit.
  const std::string failed_with = run.failure_reason.value_or("");
  make_terminal(unit, run, RunState::kDiscarded, failed_with, reason);
  return true;
}

Result<void> retry_run(Unit& unit, const RunId& id, RetryFrom from, std::string_view reason) {
  auto run = run_to_change(unit, id, reason);
  if (!run) return std::unexpected(run.error());
  if (auto allowed = take_over(unit, *run); !allowed) return allowed;
  if (!retry_if_possible(unit, *run, from, reason, std::nullopt)) return wrong_state(*run, "retried");
  return {};
}

Result<void> discard_run(Unit& unit, const RunId& id, std::string_view reason) {
  auto run = run_to_change(unit, id, reason);
  if (!run) return std::unexpected(run.error());
  if (!discard_if_possible(unit, *run, reason, std::nullopt)) return wrong_state(*run, "discarded");
  return {};
}

Result<void> force_run(Unit& unit, const RunId& id, RunState to, std::string_view reason) {
  if (!is_terminal(to)) return fail(ErrorCode::kInvalidArgument, "a run is forced to a terminal state only");
  auto run = run_to_change(unit, id, reason);
  if (!run) return std::unexpected(run.error());
  const RunState before = run->state;
  if (before == to) return wrong_state(*run, fmt::format("forced to {}", to_string(to)));
  end_lease(unit, *run, AttemptEnd::kCancelled, "forced", reason);
  make_terminal(unit, *run, to, "forced", reason);
  audit_decision(unit, *run, "run.force", before, reason);
  return {};
}

Result<void> cancel_run(Unit& unit, const RunId& id, std::string_view reason) {
  auto run = run_to_change(unit, id, reason);
  if (!run) return std::unexpected(run.error());
  if (is_terminal(run->state)) return wrong_state(*run, "cancelled");
  end_lease(unit, *run, AttemptEnd::kCancelled, "cancelled", reason);
  make_terminal(unit, *run, RunState::kCancelled, "cancelled", reason);
  return {};
}

Result<void> pause_run(Unit& unit, const RunId& id, std::string_view reason) {
  auto run = run_to_change(unit, id, reason);
  if (!run) return std::unexpected(run.error());
  if (is_terminal(run->state) || run->kind != RunKind::kManaged || run->hold_key == kPauseHold) {
    return wrong_state(*run, "paused");
  }
  const RunState before = run->state;
  end_lease(unit, *run, AttemptEnd::kRevoked, "paused", reason);
  // What it waited for is kept, and waited for again after the resume.
  const auto due_at = run->due_at;
  run->state = RunState::kHeld;
  run->wait = WaitKind::kNone;
  run->hold_key = std::string(kPauseHold);
  run->due_at = due_at;
  save_run(unit, *run);
  audit_decision(unit, *run, "run.pause", before, reason);
  return {};
}

Result<void> resume_run(Unit& unit, const RunId& id, std::string_view reason) {
  auto run = run_to_change(unit, id, reason);
  if (!run) return std::unexpected(run.error());
  if (run->hold_key != kPauseHold) return wrong_state(*run, "resumed");
  if (auto allowed = take_over(unit, *run); !allowed) return allowed;
  // What waits in a step (a sleep, a signal, a person) waits there again when the run reaches it.
  std::int64_t waits_in_step = 0;
  unit.first("SELECT count(*) FROM run_steps WHERE workspace = $1 AND run = $2 AND generation = $3 AND state = 3",
             {unit.workspace(), run->number, run->generation}, waits_in_step);
  if (run->due_at && *run->due_at > unit.now() && waits_in_step == 0) {
    make_waiting(unit, *run, WaitKind::kScheduled, run->due_at);
  } else {
    make_ready(unit, *run);
  }
  audit_decision(unit, *run, "run.resume", RunState::kHeld, reason);
  return {};
}

}  // namespace fettle::runs
