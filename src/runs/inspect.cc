#include "runs/inspect.h"

#include <fmt/format.h>

#include <map>
#include <tuple>

#include "runs/admission.h"
#include "runs/listing.h"

namespace fettle::runs {
namespace {

constexpr UnixNanos kClockSlack = 60 * kNanosPerSecond;

void add_states(Where& where, const std::vector<RunState>& states) {
  if (states.empty()) return;
  // As literals, so that the partial indexes of live and dead runs are seen to fit.
  std::string list;
  for (const RunState state : states) {
    if (!list.empty()) list += " OR ";
    list += fmt::format("r.state = {}", static_cast<int>(state));
  }
  where.add_literal("(" + list + ")");
}

}  // namespace

std::optional<RunDetail> run_detail(View& view, const RunId& id) {
  std::optional<Run> run = load_run(view, id);
  if (!run) return std::nullopt;
  RunDetail out;
  out.run = std::move(*run);
  view.first(
      "SELECT payload, context, correlation_id, trace_id, result, error, progress FROM run_data"
      " WHERE workspace = $1 AND id = $2",
      {view.workspace(), out.run.number}, out.payload, out.context, out.correlation_id, out.trace_id, out.result,
      out.error, out.progress);
  return out;
}

std::vector<PastAttempt> past_attempts(View& view, std::int64_t run) {
  std::vector<PastAttempt> out;
  for (const db::Row row :
       view.rows("SELECT attempt, ended, worker, error_class, error, leased_at, ended_at, late_call,"
                 " late_body, late_at FROM run_attempts WHERE workspace = $1 AND run = $2"
                 " ORDER BY attempt",
                 {view.workspace(), run})) {
    PastAttempt one;
    std::optional<std::uint8_t> ended;
    view.read(row, one.attempt, ended, one.worker, one.error_class, one.error, one.leased_at, one.ended_at,
              one.late_call, one.late_body, one.late_at);
    if (ended) one.ended = static_cast<AttemptEnd>(*ended);
    out.push_back(std::move(one));
  }
  return out;
}

RunPage find_runs(View& view, const RunQuery& filter) {
  // What an index knows bounds the rows that are looked at; the rest is asked of those alone.
  Where where(view, "r");
  add_states(where, filter.states);
  where.add_scope(view);
  if (filter.failed) {
    // Both halves are read from small indexes of what still has to be looked at.
    where.add_literal(
        "r.state <> 7 AND r.id IN (SELECT id FROM runs WHERE workspace = $1 AND (state = 5 OR state = 6)"
        " UNION SELECT run FROM workflow_failures WHERE workspace = $1 AND status = 'open' AND run IS NOT NULL)");
  }
  where.add_if("r.client = {}", filter.client);
  where.add_if("r.id IN (SELECT id FROM run_data WHERE workspace = $1 AND correlation_id = {})", filter.correlation_id);
  where.add_if("r.id IN (SELECT id FROM run_data WHERE workspace = $1 AND trace_id = {})", filter.trace_id);
  if (filter.created_from) {
    where.add("r.created_at >= {}", *filter.created_from);
    // Numbers grow with time: the key bounds what is read.
    where.add("r.id >= {}", NumberSource::least_at(*filter.created_from - kClockSlack));
  }
  if (filter.created_to) {
    where.add("r.created_at < {}", *filter.created_to);
    where.add("r.id < {}", NumberSource::least_at(*filter.created_to + kClockSlack));
  }
  if (filter.before) where.add("r.id < {}", *filter.before);
  const std::string looked_at =
      fmt::format("FROM runs r WHERE {} ORDER BY r.id DESC LIMIT {}", where.text(), kRowsLookedAt);
  const std::size_t looked_at_values = where.values().size();
  where.begin_anew();
  where.add_if("r.workflow = {}", filter.workflow);
  where.add_if("r.platform = {}", filter.platform);
  where.add_if("r.lane = {}", filter.lane);
  where.add_if("r.agent = {}", filter.agent);
  where.add_if("r.pool = {}", filter.pool);
  where.add_if("r.worker = {}", filter.worker);
  where.add_if("r.failure_reason = {}", filter.failure_reason);
  // One more than the page, to know whether there is another.
  const std::string limit = where.parameter(filter.limit + 1);
  const std::string sql = fmt::format(
      "SELECT " FETTLE_RUN_COLUMNS
      ", d.correlation_id, d.trace_id, d.error FROM (SELECT r.* {}) r"
      " LEFT JOIN run_data d ON d.workspace = r.workspace AND d.id = r.id WHERE {} ORDER BY r.id DESC LIMIT {}",
      looked_at, where.text(), limit);
  RunPage page;
  for (const db::Row row : view.rows(db::Sql::assembled(sql), where.values())) {
    if (page.runs.size() == static_cast<std::size_t>(filter.limit)) {
      page.next = page.runs.back().run.number;
      return page;
    }
    ListedRun& one = page.runs.emplace_back();
    one.run = run_from(view, row);
    const auto at = row.size() - 3;
    one.correlation_id = row.get<std::optional<std::string>>(at).value_or(std::nullopt);
    one.trace_id = row.get<std::optional<std::string>>(at + 1).value_or(std::nullopt);
    one.error = row.get<std::optional<std::string>>(at + 2).value_or(std::nullopt);
  }
  const std::string last = fmt::format("SELECT r.id {} OFFSET {}", looked_at, kRowsLookedAt - 1);
  std::int64_t next = 0;
  const std::span<const db::Value> values(where.values());
  if (view.first(db::Sql::assembled(last), values.first(looked_at_values), next)) page.next = next;
  return page;
}

std::vector<Depth> queue_depth(View& view) {
  std::map<std::tuple<std::string, std::string, std::string>, Depth> by_key;
  const auto count = [&](const db::Sql& sql, std::int64_t Depth::* field) {
    for (const db::Row row : view.rows(sql, {view.workspace()})) {
      std::string pool, workflow, lane, client;
      std::int64_t runs = 0;
      if (!view.read(row, pool, workflow, lane, client, runs) || !view.allows(client)) continue;
      Depth& depth = by_key[{pool, workflow, lane}];
      depth.pool = pool;
      depth.workflow = workflow;
      depth.lane = lane;
      depth.*field += runs;
    }
  };
  // One statement for each partial index.
  count(
      "SELECT pool, workflow, lane, client, count(*) FROM runs WHERE workspace = $1 AND state = 0"
      " GROUP BY pool, workflow, lane, client",
      &Depth::ready);
  count(
      "SELECT pool, workflow, lane, client, count(*) FROM runs WHERE workspace = $1 AND state = 1"
      " GROUP BY pool, workflow, lane, client",
      &Depth::waiting);
  count(
      "SELECT pool, workflow, lane, client, count(*) FROM runs WHERE workspace = $1 AND state = 2"
      " GROUP BY pool, workflow, lane, client",
      &Depth::held);
  count(
      "SELECT pool, workflow, lane, client, count(*) FROM runs WHERE workspace = $1 AND lease_until IS NOT NULL"
      " GROUP BY pool, workflow, lane, client",
      &Depth::running);
  std::vector<Depth> out;
  for (auto& [key, depth] : by_key) out.push_back(std::move(depth));
  return out;
}

LeaseGone why_lease_gone(View& view, const RunId& id, std::int32_t attempt) {
  LeaseGone out;
  const std::optional<Run> run = load_run(view, id);
  if (!run) {
    out.reason = fmt::format("there is no run {}", id.value);
    return out;
  }
  if (run->attempt != attempt) {
    out.reason = fmt::format("attempt {} is the latest one", run->attempt);
    return out;
  }
  if (run->state == RunState::kCancelled) {
    out.reason = "the run was cancelled";
    out.cancelled = true;
    return out;
  }
  if (is_terminal(run->state)) {
    out.reason = fmt::format("the run is {}", to_string(run->state));
    return out;
  }
  if (run->state == RunState::kHeld && run->hold_key) {
    if (std::optional<Switch> stop = switch_of_hold(view, *run->hold_key)) {
      out.reason = fmt::format("stopped by {}: {}", stop->id, stop->reason);
      out.stop = std::move(*stop);
      return out;
    }
    out.reason = is_gate_hold(*run->hold_key) ? why_held_by_gate(*run->hold_key) : "the run is paused";
    return out;
  }
  out.reason = "the lease ran out or was given back";
  return out;
}

}  // namespace fettle::runs
