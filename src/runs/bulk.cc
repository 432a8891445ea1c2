#include "runs/bulk.h"

#include <fmt/format.h>

#include <limits>

#include "runs/admission.h"
#include "runs/json.h"
#include "runs/listing.h"
#include "runs/run.h"

namespace fettle::runs {
namespace {

constexpr std::string_view kPrefix = "bulk_";
constexpr char kSeparator = '\x1f';

// Parameters $2 to $9 of kMatches, in order.
#define FETTLE_BULK_MATCHES                                                                                         \
  "(state = 5 OR state = 6) AND (client = $2 OR $2 = '') AND (platform = $3 OR $3 = '') AND (lane = $4 OR $4 = '')" \
  " AND (workflow = $5 OR $5 = '') AND (agent = $6 OR $6 = '') AND (failure_reason = $7 OR $7 = '')"                \
  " AND finished_at >= $8 AND finished_at < $9"

// The filter as it is kept: parts of names, which hold no control characters.
std::string pack(const BulkFilter& filter) {
  return fmt::format("{1}{0}{2}{0}{3}{0}{4}{0}{5}{0}{6}{0}{7}{0}{8}", kSeparator, filter.client, filter.platform,
                     filter.lane, filter.workflow, filter.agent, filter.failure_reason,
                     filter.finished_from.value_or(std::numeric_limits<UnixNanos>::min()),
                     filter.finished_until.value_or(std::numeric_limits<UnixNanos>::max()));
}

struct Packed {
  std::vector<std::string> names;
  UnixNanos from = 0, until = 0;
};
Packed unpack(std::string_view text) {
  Packed out;
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == kSeparator) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  parts.resize(8);
  out.from = std::strtoll(parts[6].c_str(), nullptr, 10);
  out.until = std::strtoll(parts[7].c_str(), nullptr, 10);
  parts.resize(6);
  out.names = std::move(parts);
  return out;
}

#define FETTLE_BULK_COLUMNS "id, action, state, total, done, skipped, reason, actor, created_at, finished_at, filter"

BulkJob job_from(View& view, const db::Row& row) {
  BulkJob job;
  std::int64_t number = 0;
  std::uint8_t action = 0, state = 0;
  std::string filter;
  view.read(row, number, action, state, job.total, job.done, job.skipped, job.reason, job.actor, job.created_at,
            job.finished_at, filter);
  job.client = unpack(filter).names[0];
  job.id = format_number(kPrefix, number);
  job.action = static_cast<BulkAction>(action);
  job.state = static_cast<BulkState>(state);
  return job;
}

void audit_job(Unit& unit, const BulkJob& job, std::string_view action, std::string_view reason) {
  JsonObject after;
  after.add("action", to_string(job.action)).add("state", to_string(job.state)).add("total", job.total);
  after.add("done", job.done).add("skipped", job.skipped);
  const std::string text = std::move(after).text();
  unit.event(action, {{"job_id", job.id}}, text);
  Audit audit;
  audit.action = action;
  audit.target_type = "bulk_job";
  audit.target_id = job.id;
  audit.summary = reason;
  audit.after = text;
  unit.audit(std::move(audit));
}

}  // namespace

std::string_view to_string(BulkAction action) { return action == BulkAction::kRetry ? "retry" : "discard"; }
std::string_view to_string(BulkState state) {
  switch (state) {
    case BulkState::kRunning: return "running";
    case BulkState::kFinished: return "finished";
    case BulkState::kAborted: return "aborted";
  }
  return {};
}

Result<BulkJob> start_bulk(Unit& unit, const BulkRequest& request) {
  if (request.reason.empty()) return fail(ErrorCode::kInvalidArgument, "a reason is needed");
  if (auto good = check_size("reason", request.reason, unit.limits().message_bytes_max); !good) {
    return std::unexpected(good.error());
  }
  const BulkFilter& filter = request.filter;
  for (const std::string* part :
       {&filter.client, &filter.platform, &filter.lane, &filter.workflow, &filter.agent, &filter.failure_reason}) {
    if (part->empty()) continue;
    if (auto good = check_name("filter", *part, unit.limits()); !good) return std::unexpected(good.error());
  }
  if (!unit.scope().clients.empty() && (filter.client.empty() || !unit.allows(filter.client))) {
    return fail(ErrorCode::kPermissionDenied, "the filter reaches beyond the clients that you may see");
  }
  BulkJob job;
  const std::int64_t number = unit.next_number();
  job.id = format_number(kPrefix, number);
  job.action = request.action;
  job.reason = request.reason;
  job.actor = unit.actor().id;
  job.created_at = unit.now();
  // The bounds are of what is there, not of a clock: another replica's may be ahead of this one. A run that is made or
  // dies later is not meant.
  std::int64_t last = 0;
  UnixNanos finished_last = 0;
  BulkFilter bounded = filter;
  {
    const std::string asked = pack(filter);
    const Packed parts = unpack(asked);
    unit.first(
        "SELECT count(*), COALESCE(max(id), 0), COALESCE(max(finished_at), 0) FROM runs"
        " WHERE workspace = $1 AND " FETTLE_BULK_MATCHES,
        {unit.workspace(), parts.names[0], parts.names[1], parts.names[2], parts.names[3], parts.names[4],
         parts.names[5], parts.from, parts.until},
        job.total, last, finished_last);
    bounded.finished_until = std::min(parts.until, finished_last + 1);
  }
  const std::string packed = pack(bounded);
  unit.execute(
      "INSERT INTO bulk_jobs (workspace, id, action, filter, from_scratch, reason, actor, state, cursor, up_to, total,"
      " created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, 0, 0, $8, $9, $10)",
      {unit.workspace(), number, static_cast<int>(job.action), packed, request.from == RetryFrom::kScratch, job.reason,
       job.actor, last + 1, job.total, job.created_at});
  audit_job(unit, job, "bulk.start", job.reason);
  return job;
}

std::optional<BulkJob> get_bulk(View& view, std::string_view id) {
  const auto number = parse_number(kPrefix, id);
  if (!number) return std::nullopt;
  const db::Rows rows = view.rows("SELECT " FETTLE_BULK_COLUMNS " FROM bulk_jobs WHERE workspace = $1 AND id = $2",
                                  {view.workspace(), *number});
  if (rows.empty()) return std::nullopt;
  BulkJob job = job_from(view, rows[0]);
  if (!view.allows(job.client)) return std::nullopt;
  return job;
}

Result<PageOf<BulkJob>> list_bulk(View& view, const PageRequest& page) {
  Where where(view);
  std::vector<std::string> reaches;  // the beginnings of the filters that reach the scope's clients alone
  reaches.reserve(view.scope().clients.size());
  std::string any;
  for (const ClientId& client : view.scope().clients) {
    const std::string begin = where.parameter(reaches.emplace_back(client.value + kSeparator));
    any += fmt::format("{}substr(filter, 1, length({})) = {}", any.empty() ? "" : " OR ", begin, begin);
  }
  if (!any.empty()) where.add_literal("(" + any + ")");
  return page_of<BulkJob>(view, FETTLE_BULK_COLUMNS, "bulk_jobs", where, {.unique = "id"}, page, job_from);
}

Result<BulkJob> abort_bulk(Unit& unit, std::string_view id, std::string_view reason) {
  if (reason.empty()) return fail(ErrorCode::kInvalidArgument, "a reason is needed");
  std::optional<BulkJob> job = get_bulk(unit, id);
  if (!job) return fail(ErrorCode::kNotFound, fmt::format("there is no bulk job {}", id));
  if (job->state != BulkState::kRunning) {
    return fail(ErrorCode::kConflict, fmt::format("bulk job {} is {}", id, to_string(job->state)));
  }
  job->state = BulkState::kAborted;
  job->finished_at = unit.now();
  unit.execute("UPDATE bulk_jobs SET state = 2, finished_at = $3 WHERE workspace = $1 AND id = $2",
               {unit.workspace(), *parse_number(kPrefix, id), unit.now()});
  audit_job(unit, *job, "bulk.abort", reason);
  return *job;
}

std::vector<BulkRun> list_bulk_runs(View& view, std::string_view id, std::int32_t limit) {
  std::vector<BulkRun> out;
  const auto number = parse_number(kPrefix, id);
  if (!number) return out;
  for (const db::Row row :
       view.rows("SELECT " FETTLE_RUN_COLUMNS " FROM runs r WHERE r.workspace = $1 AND r.bulk_job = $2"
                 " ORDER BY CASE WHEN r.state IN (5, 6) THEN 0 ELSE 1 END, r.id LIMIT $3",
                 {view.workspace(), *number, limit})) {
    const Run run = run_from(view, row);
    if (!view.allows(run.client)) continue;
    out.push_back({RunId{run.shown_id()}, run.state, run.failure_reason.value_or("")});
  }
  return out;
}

std::int64_t drive_bulk(Unit& unit, std::int32_t& left) {
  std::int64_t changed = 0;
  Gate gate(unit);
  for (const db::Row row : unit.rows("SELECT id, action, filter, from_scratch, reason, actor, cursor, up_to, created_at"
                                     " FROM bulk_jobs WHERE workspace = $1 AND state = 0 ORDER BY id LIMIT $2",
                                     {unit.workspace(), left})) {
    std::int64_t number = 0, cursor = 0, up_to = 0;
    UnixNanos created_at = 0;
    std::uint8_t action = 0;
    std::string filter, reason, actor;
    bool from_scratch = false;
    if (left <= 0) break;
    if (!unit.read(row, number, action, filter, from_scratch, reason, actor, cursor, up_to, created_at)) break;
    const Packed parts = unpack(filter);
    // Jobs that were begun by an earlier release have no bound of their own.
    const bool is_bounded = parts.until != std::numeric_limits<UnixNanos>::max();
    const db::Rows found =
        unit.rows("SELECT id FROM runs WHERE workspace = $1 AND " FETTLE_BULK_MATCHES
                  " AND id > $10 AND id < $11 ORDER BY id LIMIT $12",
                  {unit.workspace(), parts.names[0], parts.names[1], parts.names[2], parts.names[3], parts.names[4],
                   parts.names[5], parts.from, is_bounded ? parts.until : created_at + 1, cursor, up_to, left});
    std::int32_t done = 0, skipped = 0;
    for (const db::Row match : found) {
      if (!unit.read(match, cursor)) break;
      std::optional<Run> run = load_run(unit, cursor);
      if (!run) continue;
      bool did = false;
      if (static_cast<BulkAction>(action) == BulkAction::kDiscard) {
        did = discard_if_possible(unit, *run, reason, number);
      } else if (gate.check_for(run->workflow, run->agent, actor)) {
        did =
            retry_if_possible(unit, *run, from_scratch ? RetryFrom::kScratch : RetryFrom::kFailedStep, reason, number);
        if (did && !run->agent.empty()) {
          unit.execute("UPDATE run_data SET asked_by = $3 WHERE workspace = $1 AND id = $2",
                       {unit.workspace(), run->number, actor});
        }
      }
      ++(did ? done : skipped);
    }
    changed += done;
    const bool finished = found.size() < static_cast<std::size_t>(left);
    // One that has nothing left to do is told of, too.
    left -= std::max(1, static_cast<std::int32_t>(found.size()));
    unit.execute(
        "UPDATE bulk_jobs SET cursor = $3, done = done + $4, skipped = skipped + $5, state = $6, finished_at = $7"
        " WHERE workspace = $1 AND id = $2",
        {unit.workspace(), number, cursor, done, skipped, finished ? 1 : 0,
         finished ? db::Value(unit.now()) : db::Value()});
    if (finished) {
      if (auto job = get_bulk(unit, format_number(kPrefix, number))) audit_job(unit, *job, "bulk.finish", reason);
    }
  }
  return changed;
}

}  // namespace fettle::runs
