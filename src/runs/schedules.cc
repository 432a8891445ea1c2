#include "runs/schedules.h"

#include <fmt/format.h>

#include <boost/json.hpp>

#include "runs/admission.h"
#include "runs/cron.h"
#include "runs/json.h"
#include "runs/retry_policies.h"
#include "runs/run.h"

namespace fettle::runs {
namespace {

// A time that is later than this was missed, not merely noticed late.
constexpr std::int64_t kMissedNs = 60 * kNanosPerSecond;
constexpr UnixNanos kLookAgainNs = 60 * kNanosPerSecond;  // at a schedule whose time zone is not known here

std::string request_json(const EnqueueRequest& run) {
  JsonObject out;
  out.add("workflow", run.workflow).add("client", run.client).add("platform", run.platform).add("lane", run.lane);
  out.add("agent", run.agent).add("pool", run.pool).add("payload", run.payload).add("context", run.context);
  out.add("limit_key", run.limit_key).add("priority", run.priority);
  if (run.max_retries) out.add("max_retries", *run.max_retries);
  out.add_text("asked_by", run.asked_by).add_text("retry", override_text(run.retry));
  if (run.timeout) out.add("timeout_ns", run.timeout->count());
  return std::move(out).text();
}

EnqueueRequest request_from(std::string_view json) {
  EnqueueRequest out;
  boost::system::error_code error;
  const boost::json::value parsed = boost::json::parse(boost::json::string_view(json.data(), json.size()), error);
  if (error || !parsed.is_object()) return out;
  const auto text = [&](const char* key, std::string& into) {
    if (const auto* value = parsed.get_object().if_contains(key); value != nullptr && value->is_string()) {
      into = std::string(value->get_string());
    }
  };
  text("workflow", out.workflow);
  text("client", out.client);
  text("platform", out.platform);
  text("lane", out.lane);
  text("agent", out.agent);
  text("pool", out.pool);
  text("payload", out.payload);
  text("context", out.context);
  text("limit_key", out.limit_key);
  text("asked_by", out.asked_by);
  std::string retry;
  text("retry", retry);
  out.retry = override_from(retry);
  if (const auto* value = parsed.get_object().if_contains("timeout_ns"); value != nullptr && value->is_int64()) {
    out.timeout = std::chrono::nanoseconds(value->get_int64());
  }
  if (const auto* value = parsed.get_object().if_contains("priority"); value != nullptr && value->is_int64()) {
    out.priority = static_cast<std::int32_t>(value->get_int64());
  }
  if (const auto* value = parsed.get_object().if_contains("max_retries"); value != nullptr && value->is_int64()) {
    out.max_retries = static_cast<std::int32_t>(value->get_int64());
  }
  return out;
}

Schedule schedule_from(View& view, const db::Row& row) {
  Schedule out;
  std::string request;
  std::optional<std::string> error;
  view.read(row, out.name, out.cron, out.time_zone, request, out.paused, out.catch_up, out.next_at, out.last_at,
            out.last_run_number, error);
  out.run = request_from(request);
  out.error = error.value_or("");
  return out;
}

#define FETTLE_SCHEDULE_COLUMNS "name, cron, time_zone, request, paused, catch_up, next_at, last_at, last_run, error"

std::optional<UnixNanos> next_time(const Schedule& schedule, UnixNanos after) {
  const auto cron = Cron::parse(schedule.cron);
  const auto zone = TimeZone::load(schedule.time_zone);
  if (!cron || !zone) return std::nullopt;
  return cron->next(after, *zone);
}

void audit_schedule(Unit& unit, std::string_view action, std::string_view name, std::string_view reason,
                    std::string after) {
  Audit audit;
  audit.action = action;
  audit.target_type = "schedule";
  audit.target_id = name;
  audit.summary = reason;
  audit.after = std::move(after);
  unit.audit(std::move(audit));
}

}  // namespace

Result<Schedule> set_schedule(Unit& unit, const ScheduleRequest& request) {
  if (auto good = check_name("name", request.name, unit.limits()); !good) return std::unexpected(good.error());
  if (auto cron = Cron::parse(request.cron); !cron) return std::unexpected(cron.error());
  if (auto zone = TimeZone::load(request.time_zone); !zone) return std::unexpected(zone.error());
  EnqueueRequest run = request.run;
  run.run_id.clear();
  run.start_at.reset();
  if (auto good = check_enqueue(unit, run); !good) return std::unexpected(good.error());
  // A month that is used up is none of a schedule's: it will run in others.
  if (auto allowed = Gate(unit).check(run.workflow, run.agent);
      !allowed && allowed.error().code() == ErrorCode::kPermissionDenied) {
    return std::unexpected(std::move(allowed).error());
  }
  run.asked_by = run.agent.empty() ? "" : unit.actor().id;
  std::int64_t taken = 0;
  if (!get_schedule(unit, request.name) && unit.first("SELECT 1 FROM schedules WHERE workspace = $1 AND name = $2",
                                                      {unit.workspace(), request.name}, taken)) {
    return fail(ErrorCode::kPermissionDenied, "a schedule of this name is outside of what you may see");
  }
  Schedule out;
  out.name = request.name;
  out.cron = request.cron;
  out.time_zone = request.time_zone;
  out.run = std::move(run);
  out.catch_up = request.catch_up;
  out.next_at = next_time(out, unit.now());
  const std::string json = request_json(out.run);
  unit.execute(
      "INSERT INTO schedules (workspace, name, cron, time_zone, request, catch_up, next_at)"
      " VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (workspace, name) DO UPDATE SET cron = excluded.cron,"
      " time_zone = excluded.time_zone, request = excluded.request, catch_up = excluded.catch_up,"
      " next_at = excluded.next_at, error = NULL",
      {unit.workspace(), out.name, out.cron, out.time_zone, json, out.catch_up, out.next_at});
  JsonObject after;
  after.add("cron", out.cron).add("time_zone", out.time_zone).add("workflow", out.run.workflow);
  audit_schedule(unit, "schedule.set", out.name, {}, std::move(after).text());
  return out;
}

Result<void> pause_schedule(Unit& unit, std::string_view name, bool paused, std::string_view reason) {
  const std::optional<Schedule> schedule = get_schedule(unit, name);
  if (!schedule) return fail(ErrorCode::kNotFound, fmt::format("there is no schedule {}", name));
  // What passed while it was paused was not wanted.
  const std::optional<UnixNanos> next_at = paused ? schedule->next_at : next_time(*schedule, unit.now());
  unit.execute("UPDATE schedules SET paused = $3, next_at = $4 WHERE workspace = $1 AND name = $2",
               {unit.workspace(), name, paused, next_at});
  audit_schedule(unit, paused ? "schedule.pause" : "schedule.resume", name, reason, {});
  return {};
}

Result<void> remove_schedule(Unit& unit, std::string_view name, std::string_view reason) {
  if (!get_schedule(unit, name)) return fail(ErrorCode::kNotFound, fmt::format("there is no schedule {}", name));
  unit.execute("DELETE FROM schedules WHERE workspace = $1 AND name = $2", {unit.workspace(), name});
  audit_schedule(unit, "schedule.remove", name, reason, {});
  return {};
}

std::optional<Schedule> get_schedule(View& view, std::string_view name) {
  const db::Rows rows = view.rows(
      "SELECT " FETTLE_SCHEDULE_COLUMNS " FROM schedules WHERE workspace = $1 AND name = $2", {view.workspace(), name});
  if (rows.empty()) return std::nullopt;
  Schedule out = schedule_from(view, rows[0]);
  if (!view.allows(out.run.client)) return std::nullopt;
  return out;
}

std::vector<Schedule> list_schedules(View& view) {
  std::vector<Schedule> out;
  for (const db::Row row :
       view.rows("SELECT " FETTLE_SCHEDULE_COLUMNS " FROM schedules WHERE workspace = $1 ORDER BY name LIMIT 10000",
                 {view.workspace()})) {
    Schedule one = schedule_from(view, row);
    if (view.allows(one.run.client)) out.push_back(std::move(one));
  }
  return out;
}

std::int64_t fire_schedules(Unit& unit, std::int32_t& left) {
  std::int64_t fired = 0;
  const std::int32_t items_max = left;
  for (const db::Row row : unit.rows("SELECT " FETTLE_SCHEDULE_COLUMNS
                                     " FROM schedules WHERE next_at <= $2 AND paused = 0 AND next_at IS NOT NULL"
                                     " AND workspace = $1 ORDER BY next_at LIMIT $3",
                                     {unit.workspace(), unit.now(), items_max})) {
    --left;
    const Schedule schedule = schedule_from(unit, row);
    if (const auto zone = TimeZone::load(schedule.time_zone); !zone) {
      // This machine's time zones are incomplete. Another may know it, or this one after it was mended.
      unit.execute("UPDATE schedules SET next_at = $3, error = $4 WHERE workspace = $1 AND name = $2",
                   {unit.workspace(), schedule.name, unit.now() + kLookAgainNs, zone.error().message()});
      continue;
    }
    const bool missed = unit.now() - schedule.next_at.value_or(unit.now()) > kMissedNs;
    std::optional<std::int64_t> run = schedule.last_run_number;
    std::string error;
    if (!missed || schedule.catch_up) {
      auto made = enqueue(unit, std::span(&schedule.run, 1));
      if (made) {
        run = parse_run_number(made->at(0).id.value);
        ++fired;
      } else {
        error = made.error().message();
      }
    }
    unit.execute(
        "UPDATE schedules SET next_at = $3, last_at = $4, last_run = $5, error = $6 WHERE workspace = $1 AND name = $2",
        {unit.workspace(), schedule.name, next_time(schedule, unit.now()), unit.now(), run,
         error.empty() ? db::Value() : db::Value(error)});
  }
  return fired;
}

}  // namespace fettle::runs
