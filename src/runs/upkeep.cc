#include "runs/upkeep.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string>

#include "runs/admission.h"
#include "runs/approvals.h"
#include "runs/bulk.h"
#include "runs/json.h"
#include "runs/limits.h"
#include "runs/queue.h"
#include "runs/run.h"
#include "runs/schedules.h"
#include "runs/side_effects.h"
#include "runs/steps.h"
#include "runs/switches.h"

namespace fettle::runs {
namespace {

constexpr std::int64_t kWorkspacesMax = 1'000;
constexpr int kHoldKeysMax = 1'000;                 // of a piece
constexpr std::string_view kAfterAllKeys = "\x7f";  // they are words of ours and begin with a letter
constexpr std::string_view kLimitHold = "limit:";

struct HoldKey {
  std::string workspace, key;
};

// The next (workspace, hold key) after `after`, jumping over the runs that share one.
std::optional<HoldKey> next_hold_key(View& view, const HoldKey& after) {
  HoldKey next;
  if (!view.first("SELECT workspace, hold_key FROM runs WHERE state = 2 AND (workspace, hold_key) > ($1, $2)"
                  " ORDER BY workspace, hold_key LIMIT 1",
                  {after.workspace, after.key}, next.workspace, next.key)) {
    return std::nullopt;
  }
  return next;
}

std::int64_t wake_due(Unit& unit, std::int32_t items_max) {
  // The sleep or wait that is over is a completed step from now on: a worker finds it in the run's memo.
  unit.execute(
      "UPDATE run_steps SET state = 1, finished_at = $2, result = CASE (SELECT r.wait FROM runs r"
      " WHERE r.workspace = $1 AND r.id = run_steps.run) WHEN 4 THEN '{\"timed_out\":true}' ELSE 'null' END"
      " WHERE workspace = $1 AND state = 3 AND until <= $2 AND run IN"
      " (SELECT id FROM runs WHERE due_at <= $2 AND state = 1 AND workspace = $1 ORDER BY due_at, id LIMIT $3)",
      {unit.workspace(), unit.now(), items_max});
  // The same runs: many may be due at one moment, so the order is a total one.
  const db::Rows rows = unit.rows(
      "UPDATE runs SET state = 0, wait = 0, due_at = NULL WHERE workspace = $1 AND state = 1 AND id IN"
      " (SELECT id FROM runs WHERE due_at <= $2 AND state = 1 AND workspace = $1 ORDER BY due_at, id LIMIT $3)"
      " RETURNING id, external_id, workflow, client, platform, lane, agent, pool",
      {unit.workspace(), unit.now(), items_max});
  for (const db::Row row : rows) {
    Run run;
    unit.read(row, run.number, run.external_id, run.workflow, run.client, run.platform, run.lane, run.agent, run.pool);
    unit.wake(run.pool, run.workflow);
    unit.event("run.due", identifiers_of(run));
  }
  return static_cast<std::int64_t>(rows.size());
}

std::int64_t expire_leases(Unit& unit, std::int32_t items_max) {
  const db::Rows rows = unit.rows("SELECT " FETTLE_RUN_COLUMNS
                                  " FROM runs r WHERE r.lease_until <= $2 AND r.workspace = $1"
                                  " ORDER BY r.lease_until LIMIT $3",
                                  {unit.workspace(), unit.now(), items_max});
  for (const db::Row row : rows) {
    Run run = run_from(unit, row);
    RunError error;
    error.name = "LeaseExpired";
    error.message =
        fmt::format("worker {} was not heard of for {} s", run.worker.value_or(""), run.lease_ns / kNanosPerSecond);
    JsonObject body;
    body.add("attempt", run.attempt).add("worker", run.worker.value_or(""));
    unit.event("run.lease_expired", identifiers_of(run), std::move(body).text());
    end_lease(unit, run, AttemptEnd::kLeaseExpired, to_string(ErrorClass::kWorkerLost),
              error_json(error, ErrorClass::kWorkerLost));
    settle_failure(unit, run, error, ErrorClass::kWorkerLost);
  }
  return static_cast<std::int64_t>(rows.size());
}

// An attempt that takes longer than its run allows: its worker may be beating for ever.
std::int64_t expire_attempts(Unit& unit, std::int32_t items_max) {
  const db::Rows rows = unit.rows("SELECT " FETTLE_RUN_COLUMNS
                                  " FROM runs r WHERE r.deadline_at <= $2 AND r.state = 3 AND r.deadline_at IS NOT NULL"
                                  " AND r.workspace = $1 ORDER BY r.deadline_at LIMIT $3",
                                  {unit.workspace(), unit.now(), items_max});
  for (const db::Row row : rows) {
    Run run = run_from(unit, row);
    RunError error;
    error.name = "RunTimeout";
    error.message =
        fmt::format("attempt {} took longer than its time-out; worker {}", run.attempt, run.worker.value_or(""));
    end_lease(unit, run, AttemptEnd::kTimedOut, to_string(ErrorClass::kTimeout),
              error_json(error, ErrorClass::kTimeout));
    settle_failure(unit, run, error, ErrorClass::kTimeout);
  }
  return static_cast<std::int64_t>(rows.size());
}

// Once for each attempt: somebody looks, the worker is not disturbed.
std::int64_t note_stalled(Unit& unit, std::chrono::nanoseconds stall_after, std::int32_t items_max) {
  const db::Rows rows = unit.rows("SELECT " FETTLE_RUN_COLUMNS
                                  " FROM runs r WHERE r.lease_until IS NOT NULL AND r.workspace = $1"
                                  " AND r.progress_at <= $2 AND r.stalled < r.attempt LIMIT $3",
                                  {unit.workspace(), unit.now() - stall_after.count(), items_max});
  for (const db::Row row : rows) {
    Run run = run_from(unit, row);
    open_failure(unit, run, "stall", "",
                 fmt::format("no progress since {}, worker {}", format_rfc3339(run.progress_at.value_or(0)),
                             run.worker.value_or("")));
    unit.execute("UPDATE runs SET stalled = attempt, open_failures = $3 WHERE workspace = $1 AND id = $2",
                 {unit.workspace(), run.number, run.open_failures});
    JsonObject body;
    body.add("attempt", run.attempt).add("worker", run.worker.value_or(""));
    unit.event("run.stalled", identifiers_of(run), std::move(body).text());
  }
  return static_cast<std::int64_t>(rows.size());
}

// What is held under a limit that has room, a rule that is gone or a switch that is lifted. Usually each release
// readies its successor at once (limits.h); this catches what changed in another way. Each limit is looked at once in a
// call: what it let go takes no room before it is leased.
std::int64_t ready_what_may_go_on(Unit& unit, UpkeepProgress& progress, std::int32_t items_max) {
  Slots slots(unit);
  Gate gate(unit);
  std::int64_t readied = 0;
  HoldKey at{unit.workspace().value, progress.held_after};
  for (int i = 0; i < kHoldKeysMax && readied < items_max; ++i) {
    auto next = next_hold_key(unit, at);
    if (!next || next->workspace != unit.workspace().value) {
      progress.held_done = true;
      break;
    }
    const std::int64_t left = items_max - readied;
    std::int64_t room = 0;
    bool is_free = false;
    if (next->key.starts_with(kLimitHold)) {
      const auto under = slots.room_under(std::string_view(next->key).substr(kLimitHold.size()));
      is_free = !under;
      room = std::min(under.value_or(left), left);
    } else if (is_gate_hold(next->key) ? gate.frees(next->key)
                                       : next->key.starts_with("switch:") && !holds(unit, next->key)) {
      is_free = true;
      room = left;
    }
    const std::int64_t went = room > 0 ? ready_held(unit, next->key, room) : 0;
    readied += went;
    at = std::move(*next);
    // More may be held under a key that is free: the next piece begins with it.
    if (is_free && went == left) break;
    progress.held_after = at.key;
  }
  return readied;
}

constexpr std::size_t kKinds = 12;

// Does one kind of work, at most `left` of it, and takes what it looked at from `left`.
void do_kind(Unit& unit, std::size_t kind, const UpkeepOptions& options, UpkeepProgress& progress, std::int32_t& left,
             UpkeepReport& report) {
  const auto took = [&](std::int64_t& counter, std::int64_t items) {
    counter += items;
    left -= static_cast<std::int32_t>(items);
  };
  switch (kind) {
    case 0: return took(report.woken, wake_due(unit, left));
    case 1: return took(report.expired_leases, expire_leases(unit, left));
    case 2: return took(report.timed_out, expire_attempts(unit, left));
    case 3: return took(report.stalled, note_stalled(unit, options.stall_after, left));
    case 4: return took(report.refused, revoke_refused(unit, left));
    case 5: return took(report.revoked, revoke_switched(unit, left).leases);
    case 6: report.scheduled += fire_schedules(unit, left); return;
    case 7: return took(report.expired_approvals, expire_approvals(unit, left));
    case 8: report.unknown_effects += expire_reservations(unit, left); return;
    case 9: report.bulk_items += drive_bulk(unit, left); return;
    case 10: left -= purge_signals(unit, left); return;
    default:
      if (!progress.held_done) took(report.readied, ready_what_may_go_on(unit, progress, left));
      return;
  }
}

}  // namespace

UpkeepReport& UpkeepReport::operator+=(const UpkeepReport& other) {
  woken += other.woken;
  expired_leases += other.expired_leases;
  timed_out += other.timed_out;
  readied += other.readied;
  refused += other.refused;
  revoked += other.revoked;
  stalled += other.stalled;
  scheduled += other.scheduled;
  expired_approvals += other.expired_approvals;
  unknown_effects += other.unknown_effects;
  bulk_items += other.bulk_items;
  more = more || other.more;
  return *this;
}

std::vector<WorkspaceId> workspaces_due(View& view, const UpkeepOptions& options, const Admission* admission) {
  std::set<std::string> names;
  const auto add = [&](const db::Sql& sql, db::Params params) {
    for (const db::Row row : view.rows(sql, params)) {
      std::string name;
      if (view.read(row, name)) names.insert(std::move(name));
    }
  };
  add("SELECT DISTINCT workspace FROM runs WHERE due_at <= $1 AND state = 1 LIMIT $2", {view.now(), kWorkspacesMax});
  add("SELECT DISTINCT workspace FROM runs WHERE lease_until <= $1 LIMIT $2", {view.now(), kWorkspacesMax});
  add("SELECT DISTINCT workspace FROM runs WHERE deadline_at <= $1 AND state = 3 AND deadline_at IS NOT NULL LIMIT $2",
      {view.now(), kWorkspacesMax});
  add("SELECT DISTINCT workspace FROM runs WHERE lease_until IS NOT NULL AND progress_at <= $1 AND stalled < attempt"
      " LIMIT $2",
      {view.now() - options.stall_after.count(), kWorkspacesMax});
  add("SELECT DISTINCT workspace FROM approvals WHERE expires_at <= $1 AND state = 0 LIMIT $2",
      {view.now(), kWorkspacesMax});
  add("SELECT DISTINCT workspace FROM side_effects WHERE expires_at <= $1 AND state = 0 LIMIT $2",
      {view.now(), kWorkspacesMax});
  add("SELECT DISTINCT workspace FROM schedules WHERE next_at <= $1 AND next_at IS NOT NULL AND paused = 0 LIMIT $2",
      {view.now(), kWorkspacesMax});
  add("SELECT DISTINCT workspace FROM bulk_jobs WHERE state = 0 LIMIT $1", {kWorkspacesMax});
  add("SELECT DISTINCT workspace FROM run_signals WHERE expires_at <= $1 LIMIT $2", {view.now(), kWorkspacesMax});
  add("SELECT DISTINCT workspace FROM switches WHERE revoking = 1 LIMIT $1", {kWorkspacesMax});
  HoldKey at;
  for (int i = 0; i < kHoldKeysMax; ++i) {
    auto next = next_hold_key(view, at);
    if (!next) break;
    at = std::move(*next);
    if (at.key.starts_with(kLimitHold) || at.key.starts_with("switch:") || is_gate_hold(at.key)) {
      names.insert(at.workspace);
      at.key = kAfterAllKeys;
    }
  }
  if (admission != nullptr) {
    for (const db::Row row :
         view.rows(db::Sql("SELECT DISTINCT workspace FROM runs INDEXED BY runs_leased WHERE lease_until IS NOT NULL"
                           " LIMIT $1",
                           "SELECT DISTINCT workspace FROM runs WHERE lease_until IS NOT NULL LIMIT $1"),
                   {kWorkspacesMax})) {
      Scope scope;
      if (!view.read(row, scope.workspace) || names.contains(scope.workspace.value)) continue;
      View one(view.reader(), scope, view.now());
      if (has_refused(one, *admission)) names.insert(scope.workspace.value);
    }
  }
  std::vector<WorkspaceId> out;
  for (const std::string& name : names) out.push_back(WorkspaceId{name});
  return out;
}

UpkeepReport upkeep(Unit& unit, const UpkeepOptions& options, UpkeepProgress& progress) {
  UpkeepReport report;
  std::int32_t left = options.items_max;
  for (std::size_t i = 0; i < kKinds && left > 0; ++i) {
    do_kind(unit, (progress.turn + i) % kKinds, options, progress, left, report);
  }
  ++progress.turn;
  report.more = left <= 0 || !progress.held_done;
  return report;
}

}  // namespace fettle::runs
