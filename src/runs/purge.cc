#include "runs/purge.h"

#include <fmt/format.h>

#include <iterator>
#include <string>

#include "runs/steps.h"
#include "runs/types.h"

namespace fettle::runs {
namespace {

// Of a list of numbers as JSON.
#define FETTLE_DELETE_LISTED(table, column)                                                                     \
  db::Sql("DELETE FROM " table " WHERE workspace = $1 AND " column " IN (SELECT j.value FROM json_each($2) j)", \
          "DELETE FROM " table " WHERE workspace = $1 AND " column                                              \
          " IN (SELECT j.value::bigint FROM jsonb_array_elements_text($2::jsonb) j(value))")

std::int64_t purge_runs(Unit& unit, const PurgeOptions& options, std::int64_t& after, bool& more) {
  const UnixNanos cutoff = unit.now() - options.runs_kept.count();
  // Numbers grow with time: a run that finished before the cut was made before it, and the key bounds what is read.
  const db::Rows rows = unit.rows(
      "SELECT id, state, finished_at FROM runs WHERE workspace = $1 AND id > $2 AND id < $3 ORDER BY id LIMIT $4",
      {unit.workspace(), after, NumberSource::least_at(cutoff), options.items_max});
  std::string list = "[";
  std::int64_t count = 0;
  for (const db::Row row : rows) {
    std::uint8_t state = 0;
    std::optional<UnixNanos> finished_at;
    if (!unit.read(row, after, state, finished_at)) return 0;
    const auto is = static_cast<RunState>(state);
    if (!is_terminal(is) || is == RunState::kDead || is == RunState::kFailed ||
        finished_at.value_or(cutoff) >= cutoff) {
      continue;
    }
    fmt::format_to(std::back_inserter(list), "{}{}", count++ == 0 ? "" : ",", after);
  }
  list += ']';
  if (rows.size() < static_cast<std::size_t>(options.items_max)) {
    after = 0;
  } else {
    more = true;
  }
  if (count == 0) return 0;
  for (const db::Sql& sql : {FETTLE_DELETE_LISTED("run_steps", "run"), FETTLE_DELETE_LISTED("run_attempts", "run"),
                             FETTLE_DELETE_LISTED("run_waits", "run"), FETTLE_DELETE_LISTED("workflow_failures", "run"),
                             FETTLE_DELETE_LISTED("approvals", "run"), FETTLE_DELETE_LISTED("run_data", "id"),
                             FETTLE_DELETE_LISTED("runs", "id")}) {
    unit.execute(sql, {unit.workspace(), list});
  }
  return count;
}

}  // namespace

Purged& Purged::operator+=(const Purged& other) {
  runs += other.runs;
  records += other.records;
  failures += other.failures;
  workers += other.workers;
  jobs += other.jobs;
  signals += other.signals;
  more = more || other.more;
  return *this;
}

Purged purge(Unit& unit, const PurgeOptions& options, std::int64_t& after) {
  Purged out;
  out.runs = purge_runs(unit, options, after, out.more);
  const UnixNanos cutoff = unit.now() - options.runs_kept.count();
  const std::int64_t least = NumberSource::least_at(cutoff);
  const std::int32_t most = options.items_max;
  for (const char* collection : {"agent_runs", "agent_logs", "workflow_triggers"}) {
    out.records += unit.execute(
        "DELETE FROM records WHERE workspace = $1 AND collection = $2 AND id IN (SELECT id FROM records"
        " WHERE workspace = $1 AND collection = $2 AND updated_at < $3 AND number < $4 ORDER BY number LIMIT $5)",
        {unit.workspace(), collection, cutoff, least, most});
  }
  // Of runs that Fettle does not know; its own went with their runs.
  out.failures = unit.execute(
      "DELETE FROM workflow_failures WHERE workspace = $1 AND id IN (SELECT id FROM workflow_failures"
      " WHERE workspace = $1 AND id < $3 AND run IS NULL AND status <> 'open' AND resolved_at < $2 ORDER BY id LIMIT "
      "$4)",
      {unit.workspace(), cutoff, least, most});
  out.workers = unit.execute(
      "DELETE FROM workers WHERE workspace = $1 AND id IN"
      " (SELECT id FROM workers WHERE workspace = $1 AND seen_at < $2 LIMIT $3)",
      {unit.workspace(), unit.now() - options.workers_kept.count(), most});
  out.jobs = unit.execute("DELETE FROM bulk_jobs WHERE workspace = $1 AND state <> 0 AND id < $2 AND finished_at < $3",
                          {unit.workspace(), least, cutoff});
  out.signals = unit.execute(
      "DELETE FROM run_signals WHERE workspace = $1 AND expires_at <= $2 AND id IN"
      " (SELECT id FROM run_signals WHERE workspace = $1 AND expires_at <= $2 LIMIT $3)",
      {unit.workspace(), unit.now(), most});
  out.more = out.more || out.records >= most || out.failures >= most;
  return out;
}

}  // namespace fettle::runs
