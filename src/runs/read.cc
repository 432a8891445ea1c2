#include "runs/read.h"

#include <fmt/format.h>

#include <limits>
#include <map>
#include <tuple>

#include "runs/run.h"

namespace fettle::runs {
namespace {

RunSummary summary_of(const Run& run, bool stalled) {
  RunSummary out;
  out.id = RunId{run.shown_id()};
  out.state = run.state;
  out.kind = run.kind;
  out.wait = run.wait;
  out.workflow = run.workflow;
  out.client = run.client;
  out.platform = run.platform;
  out.lane = run.lane;
  out.agent = run.agent;
  out.pool = run.pool;
  out.limit_key = run.limit_key;
  out.priority = run.priority;
  out.attempt = run.attempt;
  out.retry_count = run.retry_count;
  out.max_retries = run.max_retries;
  out.created_at = run.created_at;
  out.due_at = run.due_at;
  out.started_at = run.started_at;
  out.finished_at = run.finished_at;
  out.leased_at = run.leased_at;
  out.lease_until = run.lease_until;
  out.progress_at = run.progress_at;
  out.hold_key = run.hold_key.value_or("");
  out.worker = run.worker.value_or("");
  out.stalled = stalled;
  out.tokens = run.tokens;
  out.cost_usd = run.cost_usd;
  out.failure_reason = run.failure_reason.value_or("");
  return out;
}

}  // namespace

std::optional<RunDetails> get_run(View& view, const RunId& id) {
  const std::optional<Run> run = load_run(view, id);
  if (!run) return std::nullopt;
  RunDetails out;
  std::int64_t stalled = 0;
  view.first("SELECT 1 FROM runs WHERE workspace = $1 AND id = $2 AND state = 3 AND stalled = attempt",
             {view.workspace(), run->number}, stalled);
  out.run = summary_of(*run, stalled == 1);
  std::optional<std::string> correlation_id, trace_id, result, error, progress;
  view.first(
      "SELECT payload, context, correlation_id, trace_id, result, error, progress FROM run_data"
      " WHERE workspace = $1 AND id = $2",
      {view.workspace(), run->number}, out.payload, out.context, correlation_id, trace_id, result, error, progress);
  out.correlation_id = correlation_id.value_or("");
  out.trace_id = trace_id.value_or("");
  out.result = result.value_or("");
  out.last_error = error.value_or("");
  out.progress = progress.value_or("");
  out.steps = list_steps(view, id);
  for (const db::Row row :
       view.rows("SELECT attempt, ended, worker, leased_at, ended_at, error_class, error, late_call, late_at, late_body"
                 " FROM run_attempts WHERE workspace = $1 AND run = $2 ORDER BY attempt LIMIT 1000",
                 {view.workspace(), run->number})) {
    Attempt one;
    std::optional<std::uint8_t> ended;
    std::optional<std::string> worker, error_class, text, late_call, late_body;
    view.read(row, one.attempt, ended, worker, one.leased_at, one.ended_at, error_class, text, late_call, one.late_at,
              late_body);
    if (ended) one.ended = static_cast<AttemptEnd>(*ended);
    one.worker = worker.value_or("");
    one.error_class = error_class.value_or("");
    one.error = text.value_or("");
    one.late_call = late_call.value_or("");
    one.late_body = late_body.value_or("");
    out.attempts.push_back(std::move(one));
  }
  return out;
}

Result<RunPage> list_runs(View& view, const RunFilter& filter) {
  if (filter.limit < 1 || filter.limit > 1'000)
    return fail(ErrorCode::kInvalidArgument, "limit must be from 1 to 1000");
  std::int64_t before = std::numeric_limits<std::int64_t>::max();
  if (!filter.before.value.empty()) {
    const auto number = find_run_number(view, filter.before);
    if (!number) return no_such_run(filter.before);
    before = *number;
  }
  // The narrowest index that the filter allows; the rest is compared on the way.
  std::string_view index = "r.workspace = $1 AND r.id < $2";
  std::string_view key;
  if (!filter.correlation_id.empty()) {
    index =
        "r.workspace = $1 AND r.id < $2 AND r.id IN"
        " (SELECT id FROM run_data WHERE workspace = $1 AND correlation_id = $3)";
    key = filter.correlation_id;
  } else if (!filter.trace_id.empty()) {
    index =
        "r.workspace = $1 AND r.id < $2 AND r.id IN (SELECT id FROM run_data WHERE workspace = $1 AND trace_id = $3)";
    key = filter.trace_id;
  } else if (filter.failed) {
    index = "r.workspace = $1 AND r.id < $2 AND (r.state = 5 OR r.state = 6)";
  } else if (!filter.client.empty()) {
    index = "r.workspace = $1 AND r.client = $3 AND r.client <> '' AND r.id < $2";
    key = filter.client;
  } else if (filter.state && !is_terminal(*filter.state)) {
    // Only what is live has an index by state.
    switch (*filter.state) {
      case RunState::kReady:
        index = "r.workspace = $1 AND r.id < $2 AND r.id IN (SELECT id FROM runs WHERE workspace = $1 AND state = 0)";
        break;
      case RunState::kWaiting:
        index = "r.workspace = $1 AND r.id < $2 AND r.id IN (SELECT id FROM runs WHERE workspace = $1 AND state = 1)";
        break;
      case RunState::kHeld:
        index = "r.workspace = $1 AND r.id < $2 AND r.id IN (SELECT id FROM runs WHERE workspace = $1 AND state = 2)";
        break;
      default:
        index =
            "r.workspace = $1 AND r.id < $2 AND r.id IN (SELECT id FROM runs WHERE workspace = $1"
            " AND lease_until IS NOT NULL UNION ALL"
            " SELECT id FROM runs WHERE workspace = $1 AND state = 3 AND kind = 1)";
        break;
    }
  }
  RunPage page;
  std::int32_t looked_at = 0;
  const std::int32_t chunk = std::max(filter.limit + 1, 500);
  for (;;) {
    const std::string sql = fmt::format("SELECT " FETTLE_RUN_COLUMNS
                                        ", r.stalled FROM runs r WHERE {} ORDER BY r.id DESC"
                                        " LIMIT {}",
                                        index, key.empty() ? "$3" : "$4");
    const db::Rows rows = key.empty() ? view.rows(db::Sql::assembled(sql), {view.workspace(), before, chunk})
                                      : view.rows(db::Sql::assembled(sql), {view.workspace(), before, key, chunk});
    for (const db::Row row : rows) {
      const Run run = run_from(view, row);
      before = run.number;
      ++looked_at;
      const auto matches = [](const std::string& wanted, const std::string& has) {
        return wanted.empty() || wanted == has;
      };
      const bool in_state = filter.failed ? run.state == RunState::kDead || run.state == RunState::kFailed
                                          : !filter.state || run.state == *filter.state;
      if (!in_state || !view.allows(run.client) || !matches(filter.client, run.client) ||
          !matches(filter.platform, run.platform) || !matches(filter.lane, run.lane) ||
          !matches(filter.workflow, run.workflow) || !matches(filter.agent, run.agent)) {
        continue;
      }
      if (page.runs.size() == static_cast<std::size_t>(filter.limit)) {
        page.next = page.runs.back().id;
        return page;
      }
      const auto stalled = row.get<std::int32_t>(row.size() - 1);
      page.runs.push_back(summary_of(run, run.state == RunState::kRunning && stalled && *stalled == run.attempt));
    }
    if (rows.size() < static_cast<std::size_t>(chunk)) return page;
    if (looked_at >= kRowsLookedAt) {
      page.next = RunId{format_run_number(before)};
      return page;
    }
  }
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

}  // namespace fettle::runs
