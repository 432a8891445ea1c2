#include "runs/limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>

#include "runs/admission.h"
#include "runs/json.h"
#include "runs/run.h"

namespace fettle::runs {
namespace {

constexpr std::array<std::string_view, 5> kDimensions = {"client", "platform", "workflow", "key", "workspace"};
constexpr char kSeparator = '\x1f';  // names hold no control characters

std::string_view value_of(const Run& run, LimitDimension dimension) {
  switch (dimension) {
    case LimitDimension::kClient: return run.client;
    case LimitDimension::kPlatform: return run.platform;
    case LimitDimension::kWorkflow: return run.workflow;
    case LimitDimension::kKey: return run.limit_key;
    case LimitDimension::kWorkspace: return "all";
  }
  return {};
}

std::string slot_of(LimitDimension dimension, std::string_view value) {
  return fmt::format("{}:{}", to_string(dimension), value);
}

template <class Each>
void each_part(std::string_view slots, Each each) {
  while (!slots.empty()) {
    const std::size_t end = slots.find(kSeparator);
    each(slots.substr(0, end));
    slots = end == std::string_view::npos ? std::string_view() : slots.substr(end + 1);
  }
}

std::string rule_json(const LimitRule& rule) {
  JsonObject out;
  out.add("dimension", to_string(rule.dimension)).add("value", rule.value);
  if (rule.concurrency_max) out.add("concurrency_max", *rule.concurrency_max);
  if (rule.rate_max) out.add("rate_max", *rule.rate_max).add("rate_period_ns", rule.rate_period.count());
  return std::move(out).text();
}

Audit limit_audit(std::string_view action, LimitDimension dimension, std::string_view value) {
  Audit audit;
  audit.action = action;
  audit.target_type = "limit";
  audit.target_id = slot_of(dimension, value);
  return audit;
}

}  // namespace

std::string_view to_string(LimitDimension dimension) { return kDimensions.at(static_cast<std::size_t>(dimension)); }

std::optional<LimitDimension> limit_dimension_named(std::string_view name) {
  for (std::size_t i = 0; i < kDimensions.size(); ++i) {
    if (kDimensions[i] == name) return static_cast<LimitDimension>(i);
  }
  return std::nullopt;
}

std::string hold_key_of_slot(std::string_view slot) { return fmt::format("limit:{}", slot); }

namespace {

std::optional<LimitRule> find_limit(View& view, LimitDimension dimension, std::string_view value) {
  LimitRule rule{.dimension = dimension, .value = std::string(value), .concurrency_max = {}, .rate_max = {}};
  std::optional<std::int64_t> period;
  if (!view.first("SELECT concurrency_max, rate_max, rate_period_ns FROM run_limits WHERE workspace = $1 AND"
                  " dimension = $2 AND value = $3",
                  {view.workspace(), to_string(dimension), value}, rule.concurrency_max, rule.rate_max, period)) {
    return std::nullopt;
  }
  rule.rate_period = std::chrono::nanoseconds(period.value_or(0));
  return rule;
}

}  // namespace

Result<void> set_limit(Unit& unit, const LimitRule& rule) {
  if (auto good = check_name("value", rule.value, unit.limits()); !good) return good;
  if (!rule.concurrency_max && !rule.rate_max) {
    return fail(ErrorCode::kInvalidArgument, "a limit needs concurrency_max or rate_max");
  }
  if (rule.concurrency_max.value_or(1) < 1 || rule.rate_max.value_or(1) < 1) {
    return fail(ErrorCode::kInvalidArgument, "a limit is at least 1: to stop work, throw a switch");
  }
  if (rule.rate_period < std::chrono::milliseconds(1) || rule.rate_period > std::chrono::hours(24 * 31)) {
    return fail(ErrorCode::kInvalidArgument, "rate_period must be from 1 ms to 31 days");
  }
  Audit audit = limit_audit("limit.set", rule.dimension, rule.value);
  if (const auto before = find_limit(unit, rule.dimension, rule.value)) audit.before = rule_json(*before);
  unit.execute(
      "INSERT INTO run_limits (workspace, dimension, value, concurrency_max, rate_max, rate_period_ns)"
      " VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (workspace, dimension, value) DO UPDATE SET"
      " concurrency_max = excluded.concurrency_max, rate_max = excluded.rate_max,"
      " rate_period_ns = excluded.rate_period_ns",
      {unit.workspace(), to_string(rule.dimension), rule.value, rule.concurrency_max, rule.rate_max,
       rule.rate_period.count()});
  audit.after = rule_json(rule);
  unit.audit(std::move(audit));
  return {};
}

Result<void> remove_limit(Unit& unit, LimitDimension dimension, std::string_view value) {
  const auto before = find_limit(unit, dimension, value);
  if (!before) return fail(ErrorCode::kNotFound, fmt::format("there is no limit {}", slot_of(dimension, value)));
  unit.execute("DELETE FROM run_limits WHERE workspace = $1 AND dimension = $2 AND value = $3",
               {unit.workspace(), to_string(dimension), value});
  Audit audit = limit_audit("limit.remove", dimension, value);
  audit.before = rule_json(*before);
  unit.audit(std::move(audit));
  return {};
}

std::vector<LimitRule> list_limits(View& view) {
  std::vector<LimitRule> rules;
  for (const db::Row row :
       view.rows("SELECT dimension, value, concurrency_max, rate_max, rate_period_ns FROM run_limits"
                 " WHERE workspace = $1 ORDER BY dimension, value",
                 {view.workspace()})) {
    LimitRule rule;
    std::string dimension;
    std::optional<std::int64_t> period;
    view.read(row, dimension, rule.value, rule.concurrency_max, rule.rate_max, period);
    rule.dimension = limit_dimension_named(dimension).value_or(LimitDimension::kKey);
    rule.rate_period = std::chrono::nanoseconds(period.value_or(0));
    rules.push_back(std::move(rule));
  }
  return rules;
}

// ---- slots ---------------------------------------------------------------------------------------------------------

Slots::Slots(Unit& unit) : unit_(unit), rules_(list_limits(unit)) {
  if (unit.admission() == nullptr) return;
  const auto plan = unit.admission()->plan_of(unit.workspace());
  if (!plan || !plan->concurrent_runs_max) return;
  // A rule for the one value of its dimension is found before one for '*', which may say more, not less.
  LimitRule rule{.dimension = LimitDimension::kWorkspace, .value = "all"};
  if (const LimitRule* own = rule_for(LimitDimension::kWorkspace, rule.value)) rule = *own;
  const auto most = static_cast<std::int32_t>(
      std::min<std::int64_t>(*plan->concurrent_runs_max, std::numeric_limits<std::int32_t>::max()));
  rule.value = "all";
  rule.concurrency_max = std::min(rule.concurrency_max.value_or(most), most);
  std::erase_if(rules_, [](const LimitRule& one) { return one.dimension == LimitDimension::kWorkspace; });
  rules_.push_back(std::move(rule));
}

const LimitRule* Slots::rule_for(LimitDimension dimension, std::string_view value) const {
  const LimitRule* general = nullptr;
  for (const LimitRule& rule : rules_) {
    if (rule.dimension != dimension) continue;
    if (rule.value == value) return &rule;
    if (rule.value == "*") general = &rule;
  }
  return general;
}

Slots::Use& Slots::use_of(const std::string& slot) {
  const auto [place, added] = uses_.try_emplace(slot);
  if (added) {
    unit_.first("SELECT in_use, free_at FROM run_slots WHERE workspace = $1 AND slot = $2", {unit_.workspace(), slot},
                place->second.in_use, place->second.free_at);
  }
  return place->second;
}

// The rate is a leaky bucket kept as one time: `free_at` is when it will have run empty. It holds a whole period.
std::int64_t Slots::room(const LimitRule& rule, const Use& use) const {
  std::int64_t room = std::numeric_limits<std::int32_t>::max();
  if (rule.concurrency_max) room = std::min(room, *rule.concurrency_max - use.in_use);
  if (rule.rate_max) {
    const std::int64_t interval = std::max<std::int64_t>(rule.rate_period.count() / *rule.rate_max, 1);
    // A clock that was set back must not close the bucket for longer than it would take to empty.
    const std::int64_t level =
        std::clamp<std::int64_t>(use.free_at - unit_.now(), 0, interval * std::int64_t{*rule.rate_max});
    room = std::min(room, *rule.rate_max - (level + interval - 1) / interval);
  }
  return std::max<std::int64_t>(room, 0);
}

template <class Each>
bool Slots::each_limit(const Run& run, Each each) {
  for (std::size_t i = 0; i < kDimensions.size(); ++i) {
    const auto dimension = static_cast<LimitDimension>(i);
    const std::string_view value = value_of(run, dimension);
    if (value.empty()) continue;
    const LimitRule* rule = rule_for(dimension, value);
    if (rule == nullptr) continue;
    const std::string slot = slot_of(dimension, value);
    if (!each(*rule, slot, use_of(slot))) return false;
  }
  return true;
}

std::optional<std::string> Slots::blocked_by(const Run& run) {
  if (rules_.empty()) return std::nullopt;
  std::optional<std::string> blocked;
  each_limit(run, [&](const LimitRule& rule, const std::string& slot, const Use& use) {
    if (room(rule, use) > 0) return true;
    blocked = slot;
    return false;
  });
  return blocked;
}

std::optional<std::string> Slots::take(const Run& run) {
  if (rules_.empty()) return std::nullopt;
  std::string slots;
  each_limit(run, [&](const LimitRule& rule, const std::string& slot, Use& use) {
    use.changed = true;
    if (rule.rate_max) {
      const std::int64_t interval = std::max<std::int64_t>(rule.rate_period.count() / *rule.rate_max, 1);
      const UnixNanos latest = unit_.now() + rule.rate_period.count();
      use.free_at = std::min(std::max(use.free_at, unit_.now()) + interval, latest);
    }
    // Counted whether or not the rule is about concurrency, so that one set later finds the truth.
    ++use.in_use;
    if (!slots.empty()) slots += kSeparator;
    slots += slot;
    return true;
  });
  if (slots.empty()) return std::nullopt;
  return slots;
}

void Slots::flush() {
  std::vector<db::Value> values;
  for (const auto& [slot, use] : uses_) {
    if (!use.changed) continue;
    for (const db::Value& value :
         {db::Value(unit_.workspace()), db::Value(slot), db::Value(use.in_use), db::Value(use.free_at)}) {
      values.push_back(value);
    }
  }
  unit_.execute_many(
      "INSERT INTO run_slots (workspace, slot, in_use, free_at) VALUES ($1, $2, $3, $4)"
      " ON CONFLICT (workspace, slot) DO UPDATE SET in_use = excluded.in_use, free_at = excluded.free_at",
      4, values);
  for (auto& [slot, use] : uses_) use.changed = false;
}

std::optional<std::int64_t> Slots::room_under(std::string_view slot) {
  const std::size_t colon = slot.find(':');
  const auto dimension = limit_dimension_named(slot.substr(0, colon));
  if (!dimension || colon == std::string_view::npos) return std::nullopt;
  const LimitRule* rule = rule_for(*dimension, slot.substr(colon + 1));
  if (rule == nullptr) return std::nullopt;
  return room(*rule, use_of(std::string(slot)));
}

void release_slots(Unit& unit, std::string_view slots) {
  each_part(slots, [&](std::string_view slot) {
    unit.execute("UPDATE run_slots SET in_use = in_use - 1 WHERE workspace = $1 AND slot = $2 AND in_use > 0",
                 {unit.workspace(), slot});
    ready_held(unit, hold_key_of_slot(slot), 1);
  });
}

std::int64_t ready_held(Unit& unit, std::string_view hold_key, std::int64_t count) {
  const db::Rows rows = unit.rows(
      "UPDATE runs SET state = 0, hold_key = NULL WHERE workspace = $1 AND state = 2 AND id IN"
      " (SELECT id FROM runs WHERE workspace = $1 AND hold_key = $2 AND state = 2 ORDER BY priority, id LIMIT $3)"
      " RETURNING pool, workflow",
      {unit.workspace(), hold_key, count});
  for (const db::Row row : rows) {
    std::string_view pool, workflow;
    if (unit.read(row, pool, workflow)) unit.wake(pool, workflow);
  }
  return static_cast<std::int64_t>(rows.size());
}

}  // namespace fettle::runs
