#include "runs/queue.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <unordered_map>

#include "ledger/audit.h"
#include "runs/admission.h"
#include "runs/json.h"
#include "runs/limits.h"
#include "runs/retry_policies.h"
#include "runs/run.h"
#include "runs/switches.h"

namespace fettle::runs {
namespace {

constexpr std::int32_t kPriorityMax = 100;
constexpr std::chrono::nanoseconds kLeaseMin = std::chrono::seconds(1);
constexpr std::chrono::nanoseconds kLeaseMax = std::chrono::hours(1);
constexpr std::chrono::nanoseconds kTimeoutMin = std::chrono::milliseconds(1);
constexpr std::chrono::nanoseconds kTimeoutMax = std::chrono::hours(24 * 31);
// What one call moves out of the way at most, so that a thousand blocked runs do not delay everybody's commit.
constexpr std::size_t kMovedMax = 500;

db::Value or_null(const std::string& text) { return text.empty() ? db::Value() : db::Value(text); }

// Numbers of runs as a JSON list: one statement for all of them opens the table and its dozen indexes once, which for a
// row is half of what its change costs.
class Numbers {
 public:
  void add(std::int64_t number) {
    fmt::format_to(std::back_inserter(list_), "{}{}", list_.empty() ? '[' : ',', number);
  }
  bool empty() const { return list_.empty(); }
  std::string list() && { return std::move(list_ += ']'); }

 private:
  std::string list_;
};

// What extend and complete need of a run.
#define FETTLE_CALL_COLUMNS                                                                              \
  "r.id, r.state, r.kind, r.workflow, r.client, r.platform, r.lane, r.agent, r.external_id, r.attempt, " \
  "r.retry_count, r.hold_key, r.lease_until, r.lease_ns, r.progress_at, r.slots, r.started_at, "         \
  "r.open_failures, r.tokens, r.cost_usd"

// The runs of a call by number, in one statement whatever their count. Only the columns above are read.
class RunsOfCall {
 public:
  template <class Call>
  RunsOfCall(Unit& unit, std::span<const Call> calls) {
    Numbers named;
    for (const Call& call : calls) {
      const auto number = find_run_number(unit, call.run);
      numbers_.push_back(number);
      if (number) named.add(*number);
    }
    if (named.empty()) return;
    const std::string list = std::move(named).list();
    const db::Rows rows =
        unit.rows(db::Sql("SELECT " FETTLE_CALL_COLUMNS
                          " FROM json_each($2) j CROSS JOIN runs r ON r.workspace = $1 AND r.id = j.value",
                          "SELECT " FETTLE_CALL_COLUMNS " FROM jsonb_array_elements_text($2::jsonb) j(value)"
                          " JOIN runs r ON r.workspace = $1 AND r.id = j.value::bigint"),
                  {unit.workspace(), list});
    for (const db::Row row : rows) {
      Run run;
      std::uint8_t state = 0, kind = 0;
      if (!unit.read(row, run.number, state, kind, run.workflow, run.client, run.platform, run.lane, run.agent,
                     run.external_id, run.attempt, run.retry_count, run.hold_key, run.lease_until, run.lease_ns,
                     run.progress_at, run.slots, run.started_at, run.open_failures, run.tokens, run.cost_usd)) {
        return;
      }
      run.state = static_cast<RunState>(state);
      run.kind = static_cast<RunKind>(kind);
      if (unit.allows(run.client)) runs_.emplace(run.number, std::move(run));
    }
  }
  // Null when there is none in scope. The same object for the same run.
  Run* at(std::size_t call) {
    if (!numbers_[call]) return nullptr;
    const auto found = runs_.find(*numbers_[call]);
    return found == runs_.end() ? nullptr : &found->second;
  }

 private:
  std::vector<std::optional<std::int64_t>> numbers_;
  std::unordered_map<std::int64_t, Run> runs_;
};

// Where the runs that the caller named itself are already.
std::unordered_map<std::string, Run> known_by_name(Unit& unit, std::span<const EnqueueRequest> requests) {
  std::unordered_map<std::string, Run> known;
  for (const EnqueueRequest& request : requests) {
    if (request.run_id.empty() || known.contains(request.run_id)) continue;
    const db::Rows rows =
        unit.rows("SELECT " FETTLE_RUN_COLUMNS " FROM runs r WHERE r.workspace = $1 AND r.external_id = $2",
                  {unit.workspace(), request.run_id});
    if (!rows.empty()) known.emplace(request.run_id, run_from(unit, rows[0]));
  }
  return known;
}

constexpr db::Sql kInsertRun(
    "INSERT INTO runs (workspace, id, state, kind, wait, pool, workflow, priority, client, platform, lane, agent,"
    " limit_key, external_id, max_retries, created_at, due_at)"
    " VALUES ($1, $2, $3, 0, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)");
constexpr std::size_t kInsertRunWidth = 16;
constexpr db::Sql kInsertData(
    "INSERT INTO run_data (workspace, id, payload, context, correlation_id, trace_id, asked_by, retry,"
    " timeout_ns) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)");
constexpr std::size_t kInsertDataWidth = 9;

}  // namespace

// ---- enqueue -------------------------------------------------------------------------------------------------------

Result<void> check_enqueue(const Unit& unit, const EnqueueRequest& request) {
  const SizeLimits& limits = unit.limits();
  for (const auto& [field, value, required] : {std::tuple{"workflow", &request.workflow, true},
                                               {"pool", &request.pool, true},
                                               {"client", &request.client, false},
                                               {"platform", &request.platform, false},
                                               {"lane", &request.lane, false},
                                               {"agent", &request.agent, false},
                                               {"run_id", &request.run_id, false},
                                               {"limit_key", &request.limit_key, false},
                                               {"correlation_id", &request.correlation_id, false},
                                               {"trace_id", &request.trace_id, false}}) {
    if (!required && value->empty()) continue;
    if (auto good = check_name(field, *value, limits); !good) return good;
  }
  if (auto good = check_size("payload", request.payload, limits.payload_bytes_max); !good) return good;
  if (auto good = check_size("context", request.context, limits.context_bytes_max); !good) return good;
  if (request.priority < -kPriorityMax || request.priority > kPriorityMax) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("priority must be from -{0} to {0}", kPriorityMax));
  }
  if (request.max_retries && (*request.max_retries < 0 || *request.max_retries > 1'000)) {
    return fail(ErrorCode::kInvalidArgument, "max_retries must be from 0 to 1000");
  }
  if (request.retry != RetryOverride{}) {
    if (auto good = check(request.retry.over({})); !good) return std::unexpected(good.error().within("retry"));
  }
  if (request.timeout && (*request.timeout < kTimeoutMin || *request.timeout > kTimeoutMax)) {
    return fail(ErrorCode::kInvalidArgument, "a time-out is from 1 ms to 31 days");
  }
  if (!unit.scope().clients.empty() && !unit.allows(request.client)) {
    return fail(ErrorCode::kPermissionDenied, "this client is outside of what you may see");
  }
  if (parse_run_number(request.run_id)) {
    return fail(ErrorCode::kInvalidArgument, "run_id has the form of the ids that are given here: choose another");
  }
  return {};
}

Result<std::vector<Enqueued>> enqueue(Unit& unit, std::span<const EnqueueRequest> requests) {
  if (auto good = check_count("runs", requests.size(), unit.limits().list_items_max); !good) {
    return std::unexpected(good.error());
  }
  for (const EnqueueRequest& request : requests) {
    if (auto good = check_enqueue(unit, request); !good) return std::unexpected(good.error());
  }
  Gate gate(unit);
  std::unordered_map<std::string, Run> known = known_by_name(unit, requests);
  std::vector<Enqueued> out;
  out.reserve(requests.size());
  std::vector<db::Value> hot, cold;
  std::deque<std::string> kept;  // texts that the statements' values point to
  hot.reserve(requests.size() * kInsertRunWidth);
  cold.reserve(requests.size() * kInsertDataWidth);
  // Policies are few and repeat within a call.
  std::unordered_map<std::string_view, std::int32_t> max_retries;
  struct Told {
    bool later;
    const EnqueueRequest* request;
    Identifiers identifiers;
  };
  std::vector<Told> told;
  told.reserve(requests.size());
  for (const EnqueueRequest& request : requests) {
    if (!request.run_id.empty()) {
      if (const auto found = known.find(request.run_id); found != known.end()) {
        if (!unit.allows(found->second.client)) {
          return fail(ErrorCode::kPermissionDenied, "a run of this name is outside of what you may see");
        }
        out.push_back({RunId{request.run_id}, false});
        continue;
      }
      known.emplace(request.run_id, Run{.client = request.client});
    }
    if (auto allowed = gate.check_for(request.workflow, request.agent, request.asked_by); !allowed) {
      return std::unexpected(std::move(allowed).error());
    }
    std::int32_t retries = 0;
    if (request.max_retries) {
      retries = *request.max_retries;
    } else if (const auto found = max_retries.find(request.workflow); found != max_retries.end()) {
      retries = found->second;
    } else {
      retries = policy_for(unit, request.workflow, "").max_retries;
      max_retries.emplace(request.workflow, retries);
    }
    const std::int64_t number = unit.next_number();
    const bool later = request.start_at && *request.start_at > unit.now();
    for (const db::Value& value :
         {db::Value(unit.workspace()), db::Value(number), db::Value(later ? 1 : 0),
          db::Value(static_cast<int>(later ? WaitKind::kScheduled : WaitKind::kNone)), db::Value(request.pool),
          db::Value(request.workflow), db::Value(request.priority), db::Value(request.client),
          db::Value(request.platform), db::Value(request.lane), db::Value(request.agent), db::Value(request.limit_key),
          or_null(request.run_id), db::Value(retries), db::Value(unit.now()),
          later ? db::Value(*request.start_at) : db::Value()}) {
      hot.push_back(value);
    }
    db::Value retry;
    if (request.retry != RetryOverride{}) retry = kept.emplace_back(override_text(request.retry));
    for (const db::Value& value :
         {db::Value(unit.workspace()), db::Value(number), db::Value(request.payload), db::Value(request.context),
          or_null(request.correlation_id), or_null(request.trace_id),
          request.agent.empty() ? db::Value()
                                : db::Value(request.asked_by.empty() ? unit.actor().id : request.asked_by),
          retry, request.timeout ? db::Value(request.timeout->count()) : db::Value()}) {
      cold.push_back(value);
    }
    Run run;
    run.number = number;
    run.workflow = request.workflow;
    run.client = request.client;
    run.platform = request.platform;
    run.lane = request.lane;
    run.agent = request.agent;
    if (!request.run_id.empty()) run.external_id = request.run_id;
    Identifiers identifiers = identifiers_of(run);
    if (!request.correlation_id.empty()) identifiers.push_back({"correlation_id", request.correlation_id});
    if (!request.trace_id.empty()) identifiers.push_back({"trace_id", request.trace_id});
    out.push_back({RunId{run.shown_id()}, true});
    told.push_back({later, &request, std::move(identifiers)});
  }
  // Nothing is told of a batch of which a later part was refused.
  for (Told& one : told) {
    unit.event(one.later ? "run.scheduled" : "run.enqueued", std::move(one.identifiers));
    if (!one.later) unit.wake(one.request->pool, one.request->workflow);
  }
  unit.execute_many(kInsertRun, kInsertRunWidth, hot);
  unit.execute_many(kInsertData, kInsertDataWidth, cold);
  return out;
}

// ---- lease ---------------------------------------------------------------------------------------------------------

namespace {

struct Candidate {
  std::int64_t number = 0;
  Run run;
  std::string payload, context;
  std::optional<std::string> asked_by;
  std::optional<std::int64_t> timeout_ns;
};

// The narrow part of a run that a lease needs.
#define FETTLE_CANDIDATE_COLUMNS                                                                                \
  "r.id, r.workflow, r.priority, r.client, r.platform, r.lane, r.agent, r.limit_key, r.external_id, r.attempt," \
  " r.retry_count, r.max_retries, r.steps, r.chain_started_at, r.started_at, d.payload, d.context, d.asked_by," \
  " d.timeout_ns"

std::vector<Candidate> candidates_of(Unit& unit, const LeaseRequest& request, const db::Rows& rows) {
  std::vector<Candidate> out;
  out.reserve(rows.size());
  for (const db::Row row : rows) {
    Candidate& one = out.emplace_back();
    Run& run = one.run;
    if (!unit.read(row, run.number, run.workflow, run.priority, run.client, run.platform, run.lane, run.agent,
                   run.limit_key, run.external_id, run.attempt, run.retry_count, run.max_retries, run.steps,
                   run.chain_started_at, run.started_at, one.payload, one.context, one.asked_by, one.timeout_ns)) {
      return {};
    }
    run.pool = request.pool;
    one.number = run.number;
  }
  return out;
}

std::vector<Candidate> candidates(Unit& unit, const LeaseRequest& request, std::string_view workflow,
                                  std::size_t count) {
  constexpr db::Sql kSql(
      "SELECT " FETTLE_CANDIDATE_COLUMNS
      " FROM runs r INDEXED BY runs_ready CROSS JOIN run_data d ON d.workspace = r.workspace AND d.id = r.id"
      " WHERE r.workspace = $1 AND r.pool = $2 AND r.workflow = $4 AND r.state = 0 ORDER BY r.priority, r.id LIMIT $3",
      "SELECT " FETTLE_CANDIDATE_COLUMNS
      " FROM (SELECT * FROM runs WHERE workspace = $1 AND pool = $2 AND workflow = $4 AND state = 0"
      " ORDER BY priority, id LIMIT $3 FOR UPDATE SKIP LOCKED) r"
      " JOIN run_data d ON d.workspace = r.workspace AND d.id = r.id ORDER BY r.priority, r.id");
  return candidates_of(unit, request,
                       unit.rows(kSql, {unit.workspace(), request.pool, static_cast<std::int64_t>(count), workflow}));
}

// A worker for every workflow steps through at most so many in one call, whatever their number.
constexpr std::int64_t kWorkflowsWalkedMax = 256;

// The workflows of a pool that have something ready, after one of them: from one to the next in the index, however many
// runs each has.
std::vector<std::string> ready_workflows_after(Unit& unit, std::string_view pool, std::string_view after,
                                               std::int64_t most) {
#define FETTLE_WORKFLOW_STEPS                                                                         \
  "WITH RECURSIVE w (workflow) AS ("                                                                  \
  "SELECT (SELECT MIN(workflow) FROM runs WHERE workspace = $1 AND pool = $2 AND state = 0"           \
  " AND workflow > $3) UNION ALL "                                                                    \
  "SELECT (SELECT MIN(r.workflow) FROM runs r WHERE r.workspace = $1 AND r.pool = $2 AND r.state = 0" \
  " AND r.workflow > w.workflow) FROM w WHERE w.workflow IS NOT NULL"
  // SQLite stops stepping at the recursion's own limit, PostgreSQL when nobody asks for another row.
  constexpr db::Sql kSql(FETTLE_WORKFLOW_STEPS " LIMIT $4) SELECT workflow FROM w WHERE workflow IS NOT NULL",
                         FETTLE_WORKFLOW_STEPS ") SELECT workflow FROM w WHERE workflow IS NOT NULL LIMIT $4");
  std::vector<std::string> out;
  for (const db::Row row : unit.rows(kSql, {unit.workspace(), pool, after, most})) {
    if (!unit.read(row, out.emplace_back())) return {};
  }
  return out;
}

// The next of them in a round that begins after request.workflows_after. `next` is where the one after goes on.
std::vector<std::string> ready_workflows(Unit& unit, const LeaseRequest& request, std::string& next) {
  const std::string& after = request.workflows_after;
  std::vector<std::string> out = ready_workflows_after(unit, request.pool, after, kWorkflowsWalkedMax);
  if (!after.empty() && std::ssize(out) < kWorkflowsWalkedMax) {
    for (std::string& name : ready_workflows_after(unit, request.pool, "", kWorkflowsWalkedMax - std::ssize(out))) {
      if (name > after) break;
      out.push_back(std::move(name));
    }
  }
  next = std::ssize(out) < kWorkflowsWalkedMax ? std::string() : out.back();
  return out;
}

std::vector<Candidate> next_candidates(Unit& unit, const LeaseRequest& request, std::size_t count, std::string& next) {
  if (request.workflows.size() == 1) return candidates(unit, request, request.workflows[0], count);
  const std::vector<std::string> workflows =
      request.workflows.empty() ? ready_workflows(unit, request, next) : request.workflows;
  if (workflows.empty()) return {};
  if (workflows.size() == 1) return candidates(unit, request, workflows[0], count);
  // The first of all of them by their keys alone; only those are read.
  constexpr db::Sql kKeys(
      "SELECT priority, id FROM runs INDEXED BY runs_ready"
      " WHERE workspace = $1 AND pool = $2 AND workflow = $4 AND state = 0 ORDER BY priority, id LIMIT $3",
      "SELECT priority, id FROM runs WHERE workspace = $1 AND pool = $2 AND workflow = $4 AND state = 0"
      " ORDER BY priority, id LIMIT $3 FOR UPDATE SKIP LOCKED");
  std::vector<std::pair<std::int32_t, std::int64_t>> keys;
  for (const std::string& workflow : workflows) {
    for (const db::Row row :
         unit.rows(kKeys, {unit.workspace(), request.pool, static_cast<std::int64_t>(count), workflow})) {
      auto& [priority, number] = keys.emplace_back();
      if (!unit.read(row, priority, number)) return {};
    }
  }
  std::ranges::sort(keys);
  if (keys.size() > count) keys.resize(count);
  Numbers first;
  for (const auto& [priority, number] : keys) first.add(number);
  if (first.empty()) return {};
  const std::string list = std::move(first).list();
  constexpr db::Sql kRuns(
      "SELECT " FETTLE_CANDIDATE_COLUMNS
      " FROM json_each($2) j CROSS JOIN runs r ON r.workspace = $1 AND r.id = j.value"
      " CROSS JOIN run_data d ON d.workspace = r.workspace AND d.id = r.id ORDER BY r.priority, r.id",
      "SELECT " FETTLE_CANDIDATE_COLUMNS
      " FROM jsonb_array_elements_text($2::jsonb) j(value)"
      " JOIN runs r ON r.workspace = $1 AND r.id = j.value::bigint"
      " JOIN run_data d ON d.workspace = r.workspace AND d.id = r.id ORDER BY r.priority, r.id");
  return candidates_of(unit, request, unit.rows(kRuns, {unit.workspace(), list}));
}

Result<void> check_lease(const Unit& unit, const LeaseRequest& request) {
  if (auto good = check_name("worker", request.worker.value, unit.limits()); !good) return good;
  if (auto good = check_name("pool", request.pool, unit.limits()); !good) return good;
  if (auto good = check_count("workflows", request.workflows.size(), 100); !good) return good;
  if (request.runs_max < 1 || static_cast<std::size_t>(request.runs_max) > unit.limits().list_items_max) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("runs_max must be from 1 to {}", unit.limits().list_items_max));
  }
  if (request.duration < kLeaseMin || request.duration > kLeaseMax) {
    return fail(ErrorCode::kInvalidArgument, "a lease lasts from 1 s to 1 h");
  }
  return {};
}

#define FETTLE_TAKE_LEASE                                                                                           \
  "UPDATE runs SET state = 3, attempt = attempt + 1, lease_until = $3, lease_ns = $4, worker = $5, leased_at = $6," \
  " progress_at = $6, chain_started_at = COALESCE(chain_started_at, $6), started_at = COALESCE(started_at, $6)"
constexpr db::Sql kTakeLeases(FETTLE_TAKE_LEASE
                              ", slots = NULL WHERE workspace = $1 AND id IN (SELECT value FROM json_each($2))",
                              FETTLE_TAKE_LEASE
                              ", slots = NULL WHERE workspace = $1 AND id IN"
                              " (SELECT value::bigint FROM jsonb_array_elements_text($2::jsonb))");
constexpr db::Sql kTakeLeaseAndSlots(FETTLE_TAKE_LEASE ", slots = $7 WHERE workspace = $1 AND id = $2");
constexpr std::size_t kTakeLeaseAndSlotsWidth = 7;
constexpr db::Sql kHold("UPDATE runs SET state = 2, hold_key = $3 WHERE workspace = $1 AND id = $2");

}  // namespace

Result<Leased> lease(Unit& unit, const LeaseRequest& request) {
  if (auto good = check_lease(unit, request); !good) return std::unexpected(good.error());
  const ActiveSwitches switches(unit);
  Slots slots(unit);
  Gate gate(unit);
  Leased out;
  const auto wanted = static_cast<std::size_t>(request.runs_max);
  const UnixNanos until = unit.now() + request.duration.count();
  std::size_t moved = 0;
  while (out.runs.size() < wanted) {
    std::vector<Candidate> found = next_candidates(unit, request, wanted - out.runs.size(), out.workflows_next);
    if (found.empty()) break;
    const std::size_t asked = wanted - out.runs.size();
    // Texts that the statements' values point to.
    std::vector<std::string> kept;
    kept.reserve(found.size());
    Numbers taken;
    std::vector<db::Value> taken_with_slots, held, timed;
    for (Candidate& one : found) {
      Run& run = one.run;
      std::optional<std::string> hold_key;
      if (!unit.allows(run.client)) {
        // Not this worker's to see: another one's. Leasing by scopes of some clients names its workflows or pool.
        continue;
      }
      if (switches.any()) hold_key = switches.stops(run);
      if (!hold_key && !gate.is_open()) hold_key = gate.holds(run.workflow, run.agent, one.asked_by.value_or(""));
      if (!hold_key) {
        if (auto slot = slots.blocked_by(run)) hold_key = hold_key_of_slot(*slot);
      }
      if (hold_key) {
        kept.push_back(std::move(*hold_key));
        for (const db::Value& value : {db::Value(unit.workspace()), db::Value(run.number), db::Value(kept.back())}) {
          held.push_back(value);
        }
        continue;
      }
      ++run.attempt;
      if (std::optional<std::string> took = slots.take(run)) {
        for (const db::Value& value :
             {db::Value(unit.workspace()), db::Value(run.number), db::Value(until), db::Value(request.duration.count()),
              db::Value(request.worker), db::Value(unit.now()), db::Value(kept.emplace_back(std::move(*took)))}) {
          taken_with_slots.push_back(value);
        }
      } else {
        taken.add(run.number);
      }
      if (one.timeout_ns) {
        for (const db::Value& value :
             {db::Value(unit.workspace()), db::Value(run.number), db::Value(unit.now() + *one.timeout_ns)}) {
          timed.push_back(value);
        }
      }
      JsonObject body;
      body.add("attempt", run.attempt).add("worker", request.worker.value);
      unit.event("run.started", identifiers_of(run), std::move(body).text());
      out.runs.push_back({RunId{run.shown_id()}, run.attempt, std::move(run.workflow), std::move(run.client),
                          std::move(run.platform), std::move(run.lane), std::move(run.agent), std::move(run.limit_key),
                          std::move(one.payload), std::move(one.context), run.retry_count, run.max_retries,
                          run.steps > 0, until});
    }
    if (!taken.empty()) {
      const std::string list = std::move(taken).list();
      unit.execute(kTakeLeases, {unit.workspace(), list, until, request.duration.count(), request.worker, unit.now()});
    }
    unit.execute_many(kTakeLeaseAndSlots, kTakeLeaseAndSlotsWidth, taken_with_slots);
    unit.execute_many(kHold, 3, held);
    unit.execute_many("UPDATE runs SET deadline_at = $3 WHERE workspace = $1 AND id = $2", 3, timed);
    moved += held.size() / 3;
    if (held.empty() || found.size() < asked || unit.failure()) break;
    if (moved >= kMovedMax) {
      out.more = out.runs.size() < wanted;
      break;
    }
  }
  slots.flush();
  out.switches = switches.seen_by(unit);
  return out;
}

// ---- extend --------------------------------------------------------------------------------------------------------

namespace {

std::string why_gone(Unit& unit, const Run& run) {
  if (run.state == RunState::kHeld && run.hold_key && holds(unit, *run.hold_key)) {
    const std::string_view id = std::string_view(*run.hold_key).substr(std::string_view("switch:").size());
    std::string reason;
    const auto number = parse_number("sw_", id);
    unit.first("SELECT reason FROM switches WHERE workspace = $1 AND id = $2", {unit.workspace(), number.value_or(0)},
               reason);
    return fmt::format("revoked by {}: {}", id, reason);
  }
  if (run.hold_key && is_gate_hold(*run.hold_key)) return why_held_by_gate(*run.hold_key);
  if (is_terminal(run.state)) return std::string(to_string(run.state));
  return "the lease ran out or was given back";
}

}  // namespace

Result<std::vector<Extended>> extend(Unit& unit, std::span<const Extension> extensions) {
  if (auto good = check_count("runs", extensions.size(), unit.limits().list_items_max); !good) {
    return std::unexpected(good.error());
  }
  for (const Extension& one : extensions) {
    if (auto good = check_size("progress", one.progress, unit.limits().context_bytes_max); !good) {
      return std::unexpected(good.error());
    }
    if (one.duration && (*one.duration < kLeaseMin || *one.duration > kLeaseMax)) {
      return fail(ErrorCode::kInvalidArgument, "a lease is extended by 1 s to 1 h");
    }
  }
  RunsOfCall runs(unit, extensions);
  std::vector<Extended> out;
  std::vector<db::Value> values, notes;
  for (std::size_t i = 0; i < extensions.size(); ++i) {
    const Extension& one = extensions[i];
    Extended& answer = out.emplace_back();
    const Run* run = runs.at(i);
    if (run == nullptr) continue;
    if (!is_live(*run, one.attempt)) {
      answer.applied = Applied::kLate;
      answer.reason = why_gone(unit, *run);
      continue;
    }
    answer.applied = Applied::kApplied;
    // Never shorter than it was: the wall clock may have been set back.
    answer.lease_until =
        std::max(unit.now() + (one.duration ? one.duration->count() : run->lease_ns), run->lease_until.value_or(0));
    for (const db::Value& value :
         {db::Value(unit.workspace()), db::Value(run->number), db::Value(answer.lease_until),
          one.progressed || !one.progress.empty() ? db::Value(unit.now()) : db::Value(run->progress_at)}) {
      values.push_back(value);
    }
    if (!one.progress.empty()) {
      for (const db::Value& value : {db::Value(unit.workspace()), db::Value(run->number), db::Value(one.progress)}) {
        notes.push_back(value);
      }
      unit.event("run.progress", identifiers_of(*run), one.progress);
    }
  }
  unit.execute_many("UPDATE runs SET lease_until = $3, progress_at = $4 WHERE workspace = $1 AND id = $2", 4, values);
  unit.execute_many("UPDATE run_data SET progress = $3 WHERE workspace = $1 AND id = $2", 3, notes);
  return out;
}

// ---- complete ------------------------------------------------------------------------------------------------------

namespace {

// Audits what a call brought to a good end. Runs that differ in nothing but their id share a record: it names each, and
// is found by each, for a tenth of what a record of its own costs on the way of every run that is well. No details:
// they are in the events.
class Successes {
 public:
  void add(const Run& run) {
    const auto same = std::ranges::find_if(groups_, [&](const Group& group) {
      const Run& first = *group.first;
      return group.targets.size() < ledger::kAuditTargetsMax && first.workflow == run.workflow &&
             first.client == run.client && first.platform == run.platform && first.lane == run.lane &&
             first.agent == run.agent;
    });
    Group& group = same != groups_.end() ? *same : groups_.emplace_back(&run);
    group.targets.push_back(run.shown_id());
  }

  void audit(Unit& unit) {
    for (Group& group : groups_) {
      Audit audit;
      audit.action = "run.succeeded";
      audit.target_type = "run";
      audit.identifiers = identifiers_of(*group.first);
      if (group.targets.size() == 1) {
        audit.target_id = std::move(group.targets.front());
      } else {
        std::erase_if(audit.identifiers, [](const Identifier& one) { return one.name == "run_id"; });
        audit.target_ids = std::move(group.targets);
      }
      unit.audit(std::move(audit));
    }
  }

 private:
  struct Group {
    const Run* first;
    std::vector<std::string> targets = {};
  };
  std::vector<Group> groups_;
};

#define FETTLE_SUCCEED                                                             \
  "UPDATE runs SET state = 4, lease_until = NULL, finished_at = $3, slots = NULL," \
  " failure_reason = NULL, open_failures = 0"
constexpr db::Sql kSucceedMany(FETTLE_SUCCEED " WHERE workspace = $1 AND id IN (SELECT value FROM json_each($2))",
                               FETTLE_SUCCEED
                               " WHERE workspace = $1 AND id IN"
                               " (SELECT value::bigint FROM jsonb_array_elements_text($2::jsonb))");
constexpr db::Sql kSucceedWithUse(FETTLE_SUCCEED ", tokens = $4, cost_usd = $5 WHERE workspace = $1 AND id = $2");
constexpr std::size_t kSucceedWithUseWidth = 5;

}  // namespace

Result<std::vector<Applied>> complete(Unit& unit, std::span<const Completion> completions) {
  if (auto good = check_count("runs", completions.size(), unit.limits().list_items_max); !good) {
    return std::unexpected(good.error());
  }
  for (const Completion& one : completions) {
    if (auto good = check_size("result", one.result, unit.limits().result_bytes_max); !good) {
      return std::unexpected(good.error());
    }
    if (one.tokens < 0 || !(one.cost_usd >= 0)) {
      return fail(ErrorCode::kInvalidArgument, "tokens and cost_usd must not be negative");
    }
  }
  RunsOfCall runs(unit, completions);
  std::vector<Applied> out;
  Successes successes;
  Numbers done;
  std::vector<db::Value> done_with_use, results;
  for (std::size_t i = 0; i < completions.size(); ++i) {
    const Completion& one = completions[i];
    Run* run = runs.at(i);
    if (run == nullptr) {
      out.push_back(Applied::kUnknown);
      continue;
    }
    if (!is_live(*run, one.attempt)) {
      const bool again = run->state == RunState::kSucceeded && run->attempt == one.attempt;
      out.push_back(again ? Applied::kApplied : Applied::kLate);
      if (!again) store_late(unit, *run, one.attempt, "complete", one.result);
      continue;
    }
    out.push_back(Applied::kApplied);
    run->state = RunState::kSucceeded;
    run->tokens += one.tokens;
    run->cost_usd += one.cost_usd;
    unit.add_usage(one.tokens, one.cost_usd);
    if (run->slots) release_slots(unit, *run->slots);
    resolve_failures(unit, *run);
    if (one.tokens == 0 && one.cost_usd == 0) {
      done.add(run->number);
    } else {
      for (const db::Value& value : {db::Value(unit.workspace()), db::Value(run->number), db::Value(unit.now()),
                                     db::Value(run->tokens), db::Value(run->cost_usd)}) {
        done_with_use.push_back(value);
      }
    }
    // Nothing is what the column holds already, unless an earlier attempt left something.
    if (!one.result.empty() && (one.result != "null" || run->attempt > 1)) {
      for (const db::Value& value : {db::Value(unit.workspace()), db::Value(run->number), db::Value(one.result)}) {
        results.push_back(value);
      }
    }
    JsonObject body;
    body.add("attempt", run->attempt).add("retry_count", run->retry_count);
    if (run->tokens != 0) body.add("tokens", run->tokens);
    if (run->cost_usd != 0) body.add("cost_usd", run->cost_usd);
    body.add("duration_ms", (unit.now() - run->started_at.value_or(unit.now())) / kNanosPerMilli);
    unit.event("run.succeeded", identifiers_of(*run), std::move(body).text());
    successes.add(*run);
  }
  successes.audit(unit);
  if (!done.empty()) {
    const std::string list = std::move(done).list();
    unit.execute(kSucceedMany, {unit.workspace(), list, unit.now()});
  }
  unit.execute_many(kSucceedWithUse, kSucceedWithUseWidth, done_with_use);
  unit.execute_many("UPDATE run_data SET result = $3 WHERE workspace = $1 AND id = $2", 3, results);
  return out;
}

// ---- fail ----------------------------------------------------------------------------------------------------------

Failed settle_failure(Unit& unit, Run& run, const RunError& error, ErrorClass error_class) {
  RetryPolicy policy = policy_of_run(unit, run.number, run.workflow);
  policy.max_retries = run.max_retries;
  const Situation situation{error_class, run.chain_retries, run.chain_started_at.value_or(unit.now()), unit.now(),
                            error.retry_after};
  const Decision decision = decide(policy, situation, [&] { return unit.random(); });
  const std::string json = error_json(error, error_class);
  unit.execute("UPDATE run_data SET error = $3 WHERE workspace = $1 AND id = $2", {unit.workspace(), run.number, json});
  const bool stalled = error_class == ErrorClass::kWorkerLost || error_class == ErrorClass::kStalled;
  // The step that failed has told of this error already.
  std::string step = error.step;
  const bool told =
      !stalled && unit.first(
                      "SELECT step FROM workflow_failures WHERE workspace = $1 AND run = $2 AND kind = 'error'"
                      " AND status = 'open' AND retry_attempt = $3 AND message = $4 AND step <> '' LIMIT 1",
                      {unit.workspace(), run.number, run.retry_count, error.message}, step);
  if (!told) open_failure(unit, run, stalled ? "stall" : "error", step, error.message);
  Failed out;
  out.applied = Applied::kApplied;
  out.error_class = error_class;
  JsonObject body;
  body.add("attempt", run.attempt).add_json("error", json);
  if (!decision.retry) {
    out.reason = decision.reason;
    unit.event("run.failed", identifiers_of(run), std::move(body).text());
    make_terminal(unit, run, RunState::kDead, decision.reason, error.message);
    return out;
  }
  out.will_retry = true;
  out.retry_at = unit.now() + decision.delay.count();
  ++run.retry_count;
  ++run.chain_retries;
  open_failure(unit, run, "retry", step, fmt::format("retry {} of {}", run.chain_retries, run.max_retries));
  body.add("retry_count", run.retry_count).add("retry_at", format_rfc3339(out.retry_at));
  unit.event("run.retry_scheduled", identifiers_of(run), std::move(body).text());
  if (decision.delay.count() == 0) {
    make_ready(unit, run);
  } else {
    make_waiting(unit, run, WaitKind::kBackoff, out.retry_at);
  }
  return out;
}

Result<Failed> fail_run(Unit& unit, const Failure& failure) {
  const RunError& error = failure.error;
  for (const auto& [field, value] : {std::pair{"name", &error.name}, {"code", &error.code}, {"step", &error.step}}) {
    if (auto good = check_size(field, *value, unit.limits().name_bytes_max); !good)
      return std::unexpected(good.error());
  }
  for (const auto& [field, value] : {std::pair{"message", &error.message}, {"stack", &error.stack}}) {
    if (auto good = check_size(field, *value, unit.limits().message_bytes_max); !good) {
      return std::unexpected(good.error());
    }
  }
  if (failure.tokens < 0 || !(failure.cost_usd >= 0)) {
    return fail(ErrorCode::kInvalidArgument, "tokens and cost_usd must not be negative");
  }
  std::optional<Run> run = load_run(unit, failure.run);
  if (!run) return Failed{};
  const ErrorClass error_class = classify(error);
  if (!is_live(*run, failure.attempt)) {
    Failed late;
    late.applied = Applied::kLate;
    late.error_class = error_class;
    // The same call again, its answer lost: the attempt has ended so already.
    std::int64_t ended = -1;
    if (unit.first(
            "SELECT ended FROM run_attempts WHERE workspace = $1 AND run = $2 AND attempt = $3 AND ended IS NOT NULL",
            {unit.workspace(), run->number, failure.attempt}, ended) &&
        ended == static_cast<int>(AttemptEnd::kFailed)) {
      late.applied = Applied::kApplied;
      late.will_retry = !is_terminal(run->state);
      late.retry_at = run->due_at.value_or(0);
      late.reason = run->failure_reason.value_or("");
      return late;
    }
    store_late(unit, *run, failure.attempt, "fail", error_json(error, error_class));
    return late;
  }
  run->tokens += failure.tokens;
  run->cost_usd += failure.cost_usd;
  unit.add_usage(failure.tokens, failure.cost_usd);
  end_lease(unit, *run, AttemptEnd::kFailed, to_string(error_class), error_json(error, error_class));
  return settle_failure(unit, *run, error, error_class);
}

Result<Applied> give_back(Unit& unit, const RunId& id, std::int32_t attempt) {
  std::optional<Run> run = load_run(unit, id);
  if (!run) return Applied::kUnknown;
  if (!is_live(*run, attempt)) return Applied::kLate;
  end_lease(unit, *run, AttemptEnd::kReturned);
  make_ready(unit, *run);
  return Applied::kApplied;
}

}  // namespace fettle::runs
