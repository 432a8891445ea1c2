#include "runs/switches.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <span>

#include "runs/admission.h"
#include "runs/json.h"
#include "runs/limits.h"
#include "runs/listing.h"
#include "runs/run.h"

namespace fettle::runs {
namespace {

constexpr std::string_view kPrefix = "sw_";
constexpr std::string_view kHold = "switch:";
constexpr std::int64_t kReadyAtOnce = 1'000;  // the rest follows with upkeep
constexpr std::string_view kDefaultClass = "default";

#define FETTLE_SWITCH_COLUMNS                                                                                  \
  "id, mode, client, platform, lane, workflow, tool, agent, reason, thrown_by, thrown_at, revoked, revoking, " \
  "lifted_by, lifted_at, lift_reason"

Switch switch_from(View& view, const db::Row& row) {
  Switch out;
  std::int64_t number = 0;
  std::uint8_t mode = 0;
  std::optional<std::string> lift_reason;
  view.read(row, number, mode, out.reach.client, out.reach.platform, out.reach.lane, out.reach.workflow, out.reach.tool,
            out.reach.agent, out.reason, out.thrown_by, out.thrown_at, out.revoked, out.is_revoking, out.lifted_by,
            out.lifted_at, lift_reason);
  out.id = format_number(kPrefix, number);
  out.mode = static_cast<SwitchMode>(mode);
  out.lift_reason = lift_reason.value_or("");
  return out;
}

bool part_matches(const std::string& wanted, const std::string& has) { return wanted.empty() || wanted == has; }

std::string reach_json(const Reach& reach) {
  JsonObject out;
  out.add_text("client", reach.client).add_text("platform", reach.platform).add_text("lane", reach.lane);
  out.add_text("workflow", reach.workflow).add_text("tool", reach.tool).add_text("agent", reach.agent);
  return std::move(out).text();
}

Identifiers identifiers_of(const Reach& reach) {
  Identifiers out;
  const auto add = [&](std::string_view name, const std::string& value) {
    if (!value.empty()) out.push_back({std::string(name), value});
  };
  add("client_id", reach.client);
  add("platform", reach.platform);
  add("lane", reach.lane);
  add("workflow", reach.workflow);
  add("tool_id", reach.tool);
  add("agent", reach.agent);
  return out;
}

void tell(Unit& unit, std::string_view action, const Switch& of, std::string_view reason) {
  JsonObject body;
  body.add("switch_id", of.id).add("mode", to_string(of.mode)).add_json("reach", reach_json(of.reach));
  body.add("reason", reason).add("revoked", of.revoked);
  const std::string text = std::move(body).text();
  unit.event(action, identifiers_of(of.reach), text);
  Audit audit;
  audit.action = action;
  audit.target_type = "switch";
  audit.target_id = of.id;
  audit.identifiers = identifiers_of(of.reach);
  audit.summary = reason;
  audit.after = text;
  unit.audit(std::move(audit));
}

// A member who sees some clients may stop and start those alone.
Result<void> may_reach(const View& view, const Reach& reach) {
  if (view.scope().clients.empty()) return {};
  if (!reach.client.empty() && view.allows(reach.client)) return {};
  return fail(ErrorCode::kPermissionDenied, "the switch reaches beyond the clients that you may see");
}

// Takes at most `leases_max` of the leases of what runs in reach.
std::int32_t revoke(Unit& unit, const Switch& by, std::int32_t leases_max) {
  const Reach& reach = by.reach;
  const db::Rows rows =
      unit.rows("SELECT " FETTLE_RUN_COLUMNS
                " FROM runs r WHERE r.lease_until IS NOT NULL AND r.workspace = $1 AND (r.client = $2 OR $2 = '')"
                " AND (r.platform = $3 OR $3 = '') AND (r.lane = $4 OR $4 = '') AND (r.workflow = $5 OR $5 = '')"
                " AND (r.agent = $6 OR $6 = '') LIMIT $7",
                {unit.workspace(), reach.client, reach.platform, reach.lane, reach.workflow, reach.agent, leases_max});
  for (const db::Row row : rows) {
    Run run = run_from(unit, row);
    end_lease(unit, run, AttemptEnd::kRevoked, "revoked", by.reason);
    ++run.revoked;
    make_held(unit, run, hold_key_of_switch(by.id));
    JsonObject body;
    body.add("attempt", run.attempt).add("switch_id", by.id);
    unit.event("run.revoked", runs::identifiers_of(run), std::move(body).text());
  }
  return static_cast<std::int32_t>(rows.size());
}

// What runs, by what a switch can name: one statement, however many switches are asked about.
std::vector<std::pair<Reach, std::int32_t>> running_by_reach(View& view) {
  Where where(view);
  where.add_scope(view);
  where.add_literal("lease_until IS NOT NULL");
  const std::string sql = fmt::format(
      "SELECT client, platform, lane, workflow, agent, count(*) FROM runs WHERE {}"
      " GROUP BY client, platform, lane, workflow, agent",
      where.text());
  std::vector<std::pair<Reach, std::int32_t>> out;
  for (const db::Row row : view.rows(db::Sql::assembled(sql), where.values())) {
    auto& [reach, count] = out.emplace_back();
    if (!view.read(row, reach.client, reach.platform, reach.lane, reach.workflow, reach.agent, count)) return {};
  }
  return out;
}

// Adds what is in flight; and for whoever sees some clients, says of a wider switch no more than it took of these.
void add_progress(View& view, std::span<Switch> switches) {
  std::optional<std::vector<std::pair<Reach, std::int32_t>>> running;
  for (Switch& one : switches) {
    if (!view.scope().clients.empty() && one.reach.client.empty()) {
      const std::string hold_key = hold_key_of_switch(one.id);
      Where where(view);
      where.add_scope(view);
      where.add("hold_key = {} AND state = 2 AND revoked > 0", hold_key);
      const std::string sql = "SELECT count(*) FROM runs WHERE " + where.text();
      view.first(db::Sql::assembled(sql), where.values(), one.revoked);
    }
    if (one.lifted_at || !one.reach.tool.empty()) continue;
    if (!running) running = running_by_reach(view);
    one.in_flight = 0;
    for (const auto& [work, count] : *running) {
      if (reaches(one.reach, work)) *one.in_flight += count;
    }
  }
}

}  // namespace

std::string_view to_string(SwitchMode mode) { return mode == SwitchMode::kPause ? "pause" : "kill"; }

bool reaches(const Reach& reach, const Reach& work) {
  return part_matches(reach.client, work.client) && part_matches(reach.platform, work.platform) &&
         part_matches(reach.lane, work.lane) && part_matches(reach.workflow, work.workflow) &&
         part_matches(reach.tool, work.tool) && part_matches(reach.agent, work.agent);
}

Reach reach_of(const Run& run) { return {run.client, run.platform, run.lane, run.workflow, "", run.agent}; }

std::string hold_key_of_switch(std::string_view id) { return fmt::format("{}{}", kHold, id); }

bool holds(View& view, std::string_view hold_key) {
  if (!hold_key.starts_with(kHold)) return false;
  const auto number = parse_number(kPrefix, hold_key.substr(kHold.size()));
  std::int64_t on = 0;
  return number && view.first("SELECT 1 FROM switches WHERE workspace = $1 AND id = $2 AND lifted_at IS NULL",
                              {view.workspace(), *number}, on);
}

std::optional<Switch> switch_of_hold(View& view, std::string_view hold_key) {
  if (!hold_key.starts_with(kHold)) return std::nullopt;
  const auto number = parse_number(kPrefix, hold_key.substr(kHold.size()));
  if (!number) return std::nullopt;
  const db::Rows rows =
      view.rows("SELECT " FETTLE_SWITCH_COLUMNS " FROM switches WHERE workspace = $1 AND id = $2 AND lifted_at IS NULL",
                {view.workspace(), *number});
  if (rows.empty()) return std::nullopt;
  return switch_from(view, rows[0]);
}

RevokedPiece revoke_switched(Unit& unit, std::int32_t items_max) {
  RevokedPiece out;
  std::int32_t left = items_max;
  for (const db::Row row : unit.rows("SELECT " FETTLE_SWITCH_COLUMNS
                                     " FROM switches WHERE workspace = $1 AND revoking = 1 ORDER BY id LIMIT $2",
                                     {unit.workspace(), items_max})) {
    if (left <= 0) {
      out.more = true;
      break;
    }
    Switch by = switch_from(unit, row);
    const std::int32_t taken = revoke(unit, by, left);
    by.revoked += taken;
    by.is_revoking = taken == left;  // nothing new is leased in its reach: fewer were the last ones
    unit.execute("UPDATE switches SET revoked = $3, revoking = $4 WHERE workspace = $1 AND id = $2",
                 {unit.workspace(), *parse_number(kPrefix, by.id), by.revoked, by.is_revoking});
    if (by.is_revoking) {
      out.more = true;
    } else {
      tell(unit, "switch.revoked", by, by.reason);
    }
    out.leases += taken;
    left -= taken;
  }
  return out;
}

Result<Switch> throw_switch(Unit& unit, const SwitchRequest& request) {
  if (request.reason.empty()) return fail(ErrorCode::kInvalidArgument, "a switch needs a reason");
  if (auto good = check_size("reason", request.reason, unit.limits().message_bytes_max); !good) {
    return std::unexpected(good.error());
  }
  const Reach& reach = request.reach;
  for (const std::string* part :
       {&reach.client, &reach.platform, &reach.lane, &reach.workflow, &reach.tool, &reach.agent}) {
    if (part->empty()) continue;
    if (auto good = check_name("reach", *part, unit.limits()); !good) return std::unexpected(good.error());
  }
  if (auto may = may_reach(unit, reach); !may) return std::unexpected(may.error());
  Switch thrown;
  const std::int64_t number = unit.next_number();
  thrown.id = format_number(kPrefix, number);
  thrown.mode = request.mode;
  thrown.reach = reach;
  thrown.reason = request.reason;
  thrown.thrown_by = unit.actor().id;
  thrown.thrown_at = unit.now();
  // Even a long row of leases is not to hold up what matters first: that nothing new starts.
  thrown.is_revoking = request.mode == SwitchMode::kKill && reach.tool.empty();
  unit.execute(
      "INSERT INTO switches (workspace, id, mode, client, platform, lane, workflow, tool, agent, reason, thrown_by,"
      " thrown_at, revoking) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
      {unit.workspace(), number, static_cast<int>(thrown.mode), reach.client, reach.platform, reach.lane,
       reach.workflow, reach.tool, reach.agent, thrown.reason, thrown.thrown_by, thrown.thrown_at, thrown.is_revoking});
  add_progress(unit, std::span(&thrown, 1));
  if (thrown.is_revoking) unit.go_on_revoking();
  tell(unit, "switch.thrown", thrown, thrown.reason);
  return thrown;
}

Result<Switch> lift_switch(Unit& unit, std::string_view id, std::string_view reason) {
  if (reason.empty()) return fail(ErrorCode::kInvalidArgument, "lifting a switch needs a reason");
  if (auto good = check_size("reason", reason, unit.limits().message_bytes_max); !good) {
    return std::unexpected(good.error());
  }
  const auto none = [&] { return fail(ErrorCode::kNotFound, fmt::format("there is no switch {} that is on", id)); };
  const auto number = parse_number(kPrefix, id);
  if (!number) return none();
  const db::Rows rows =
      unit.rows("SELECT " FETTLE_SWITCH_COLUMNS " FROM switches WHERE workspace = $1 AND id = $2 AND lifted_at IS NULL",
                {unit.workspace(), *number});
  if (rows.empty()) return none();
  Switch lifted = switch_from(unit, rows[0]);
  if (!may_reach(unit, lifted.reach)) return none();
  lifted.lifted_by = unit.actor().id;
  lifted.lifted_at = unit.now();
  lifted.lift_reason = reason;
  lifted.is_revoking = false;
  unit.execute(
      "UPDATE switches SET lifted_by = $3, lifted_at = $4, lift_reason = $5, revoking = 0"
      " WHERE workspace = $1 AND id = $2",
      {unit.workspace(), *number, lifted.lifted_by, lifted.lifted_at, reason});
  ready_held(unit, hold_key_of_switch(lifted.id), kReadyAtOnce);
  tell(unit, "switch.lifted", lifted, reason);
  return lifted;
}

Result<PageOf<Switch>> list_switches(View& view, bool only_on, const PageRequest& page) {
  Where where(view);
  // Whoever works for some clients has to see what stops them, and not the names of others.
  where.add_scope(view, Unowned::kShown);
  if (only_on) where.add_literal("lifted_at IS NULL");
  auto found = page_of<Switch>(view, FETTLE_SWITCH_COLUMNS, "switches", where, {.unique = "id"}, page, switch_from);
  if (found) add_progress(view, found->items);
  return found;
}

std::optional<Switch> get_switch(View& view, std::string_view id) {
  const auto number = parse_number(kPrefix, id);
  if (!number) return std::nullopt;
  const db::Rows rows = view.rows("SELECT " FETTLE_SWITCH_COLUMNS " FROM switches WHERE workspace = $1 AND id = $2",
                                  {view.workspace(), *number});
  if (rows.empty()) return std::nullopt;
  Switch one = switch_from(view, rows[0]);
  if (!one.reach.client.empty() && !view.allows(one.reach.client)) return std::nullopt;
  add_progress(view, std::span(&one, 1));
  return one;
}

Result<PageOf<InFlight>> list_in_flight(View& view, const Reach& reach, const PageRequest& page) {
  Where where(view, "r");
  where.add_scope(view);
  // By the indexes of what is leased and of what runs elsewhere: what is over is never looked at.
  where.add_literal(
      "r.id IN (SELECT id FROM runs WHERE lease_until IS NOT NULL AND workspace = $1"
      " UNION ALL SELECT id FROM runs WHERE workspace = $1 AND state = 3 AND kind = 1)");
  where.add_if("r.client = {}", reach.client);
  where.add_if("r.platform = {}", reach.platform);
  where.add_if("r.lane = {}", reach.lane);
  where.add_if("r.workflow = {}", reach.workflow);
  where.add_if("r.agent = {}", reach.agent);
  const Keyset order{
      .first = "COALESCE(r.leased_at, r.started_at, r.created_at)", .unique = "r.id", .newest_first = false};
  return page_of<InFlight>(view, FETTLE_RUN_COLUMNS, "runs r", where, order, page,
                           [](View& at, const db::Row& row) -> InFlight {
                             const Run run = run_from(at, row);
                             return {RunId{run.shown_id()},   run.workflow,  run.client,
                                     run.worker.value_or(""), run.leased_at, run.progress_at};
                           });
}

namespace {

std::optional<ActionClass> find_action_class(View& view, std::string_view name) {
  ActionClass found{.name = std::string(name)};
  std::int64_t cache = 0;
  if (!view.first("SELECT cache_ns, fail_open FROM action_classes WHERE workspace = $1 AND name = $2",
                  {view.workspace(), name}, cache, found.fail_open)) {
    return std::nullopt;
  }
  found.cache = std::chrono::nanoseconds(cache);
  return found;
}

std::string class_json(const ActionClass& one) {
  JsonObject out;
  out.add("cache_ns", one.cache.count()).add("fail_open", one.fail_open);
  return std::move(out).text();
}

Audit class_audit(std::string_view action, std::string_view name, const std::optional<ActionClass>& before) {
  Audit audit;
  audit.action = action;
  audit.target_type = "action_class";
  audit.target_id = name;
  if (before) audit.before = class_json(*before);
  return audit;
}

}  // namespace

Result<void> set_action_class(Unit& unit, const ActionClass& action_class) {
  if (auto good = check_name("name", action_class.name, unit.limits()); !good) return good;
  if (action_class.cache < std::chrono::nanoseconds(0) || action_class.cache > std::chrono::hours(1)) {
    return fail(ErrorCode::kInvalidArgument, "cache must be from 0 to 1 h");
  }
  Audit audit = class_audit("action_class.set", action_class.name, find_action_class(unit, action_class.name));
  unit.execute(
      "INSERT INTO action_classes (workspace, name, cache_ns, fail_open) VALUES ($1, $2, $3, $4)"
      " ON CONFLICT (workspace, name) DO UPDATE SET cache_ns = excluded.cache_ns, fail_open = excluded.fail_open",
      {unit.workspace(), action_class.name, action_class.cache.count(), action_class.fail_open});
  audit.after = class_json(action_class);
  unit.audit(std::move(audit));
  return {};
}

Result<void> remove_action_class(Unit& unit, std::string_view name) {
  const auto before = find_action_class(unit, name);
  if (!before) return fail(ErrorCode::kNotFound, "no such action class is set");
  unit.execute("DELETE FROM action_classes WHERE workspace = $1 AND name = $2", {unit.workspace(), name});
  unit.audit(class_audit("action_class.remove", name, before));
  return {};
}

std::vector<ActionClass> list_action_classes(View& view) {
  std::vector<ActionClass> out;
  for (const db::Row row :
       view.rows("SELECT name, cache_ns, fail_open FROM action_classes WHERE workspace = $1 ORDER BY name",
                 {view.workspace()})) {
    ActionClass one;
    std::int64_t cache = 0;
    view.read(row, one.name, cache, one.fail_open);
    one.cache = std::chrono::nanoseconds(cache);
    out.push_back(std::move(one));
  }
  return out;
}

Result<MayI> may_i(View& view, const Reach& work, std::string_view action_class, const Admission* admission) {
  if (!view.scope().clients.empty() && !view.allows(work.client)) {
    return fail(ErrorCode::kPermissionDenied, "this client is outside of what you may see");
  }
  MayI answer;
  const std::string_view name = action_class.empty() ? std::string_view(kDefaultClass) : action_class;
  answer.action_class = find_action_class(view, name).value_or(ActionClass{.name = std::string(name)});
  const ActiveSwitches switches(view);
  if (const Switch* stop = switches.stops(work)) {
    answer.allowed = false;
    answer.reason = stop->reason;
    answer.switch_id = stop->id;
  } else if (auto why = why_plan_refuses(view, admission, work.workflow, work.agent)) {
    answer.allowed = false;
    answer.reason = std::move(*why);
  }
  return answer;
}

ActiveSwitches::ActiveSwitches(View& view) {
  for (const db::Row row : view.rows("SELECT " FETTLE_SWITCH_COLUMNS
                                     " FROM switches WHERE workspace = $1 AND lifted_at IS NULL ORDER BY mode DESC, id",
                                     {view.workspace()})) {
    switches_.push_back(switch_from(view, row));
  }
}

std::vector<Switch> ActiveSwitches::seen_by(const View& view) const {
  std::vector<Switch> out;
  std::ranges::copy_if(switches_, std::back_inserter(out),
                       [&](const Switch& one) { return one.reach.client.empty() || view.allows(one.reach.client); });
  return out;
}

const Switch* ActiveSwitches::stops(const Reach& work) const {
  const auto found = std::ranges::find_if(switches_, [&](const Switch& one) { return reaches(one.reach, work); });
  return found == switches_.end() ? nullptr : &*found;
}

std::optional<std::string> ActiveSwitches::stops(const Run& run) const {
  if (switches_.empty()) return std::nullopt;
  const Switch* stop = stops(reach_of(run));
  if (stop == nullptr) return std::nullopt;
  return hold_key_of_switch(stop->id);
}

}  // namespace fettle::runs
