#include "runs/retry_policies.h"

#include <fmt/format.h>

#include <boost/json.hpp>

#include "runs/json.h"

namespace fettle::runs {
namespace {

namespace json = boost::json;

#define FETTLE_POLICY_COLUMNS "max_retries, base_ns, factor, cap_ns, elapsed_max_ns, retry_after_max_ns"

template <class... More>
RetryPolicy policy_from(View& view, const db::Row& row, More&... more) {
  RetryPolicy policy;
  std::int64_t base = 0, cap = 0, elapsed = 0, retry_after = 0;
  view.read(row, policy.max_retries, base, policy.factor, cap, elapsed, retry_after, more...);
  policy.base = std::chrono::nanoseconds(base);
  policy.cap = std::chrono::nanoseconds(cap);
  policy.elapsed_max = std::chrono::nanoseconds(elapsed);
  policy.retry_after_max = std::chrono::nanoseconds(retry_after);
  return policy;
}

std::string policy_json(const RetryPolicy& policy) {
  JsonObject out;
  out.add("max_retries", policy.max_retries).add("base_ns", policy.base.count()).add("factor", policy.factor);
  out.add("cap_ns", policy.cap.count()).add("elapsed_max_ns", policy.elapsed_max.count());
  out.add("retry_after_max_ns", policy.retry_after_max.count());
  return std::move(out).text();
}

std::optional<RetryPolicy> find(View& view, std::string_view workflow, std::string_view step) {
  const db::Rows rows = view.rows("SELECT " FETTLE_POLICY_COLUMNS
                                  " FROM retry_policies WHERE workspace = $1 AND workflow = $2 AND step = $3",
                                  {view.workspace(), workflow, step});
  if (rows.empty()) return std::nullopt;
  return policy_from(view, rows[0]);
}

Audit policy_audit(std::string_view action, std::string_view workflow, std::string_view step,
                   const std::optional<RetryPolicy>& before) {
  Audit audit;
  audit.action = action;
  audit.target_type = "retry_policy";
  audit.target_id = fmt::format("{}/{}", workflow, step);
  if (before) audit.before = policy_json(*before);
  return audit;
}

}  // namespace

Result<void> set_policy(Unit& unit, std::string_view workflow, std::string_view step, const RetryPolicy& policy) {
  if (auto good = check(policy); !good) return good;
  if (auto good = check_size("workflow", workflow, unit.limits().name_bytes_max); !good) return good;
  if (auto good = check_size("step", step, unit.limits().name_bytes_max); !good) return good;
  Audit audit = policy_audit("retry_policy.set", workflow, step, find(unit, workflow, step));
  unit.execute(
      "INSERT INTO retry_policies (workspace, workflow, step, max_retries, base_ns, factor, cap_ns, elapsed_max_ns,"
      " retry_after_max_ns) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (workspace, workflow, step)"
      " DO UPDATE SET max_retries = excluded.max_retries, base_ns = excluded.base_ns, factor = excluded.factor,"
      " cap_ns = excluded.cap_ns, elapsed_max_ns = excluded.elapsed_max_ns,"
      " retry_after_max_ns = excluded.retry_after_max_ns",
      {unit.workspace(), workflow, step, policy.max_retries, policy.base.count(), policy.factor, policy.cap.count(),
       policy.elapsed_max.count(), policy.retry_after_max.count()});
  audit.after = policy_json(policy);
  unit.audit(std::move(audit));
  return {};
}

Result<void> remove_policy(Unit& unit, std::string_view workflow, std::string_view step) {
  const auto before = find(unit, workflow, step);
  if (!before) return fail(ErrorCode::kNotFound, "no such retry policy is set");
  unit.execute("DELETE FROM retry_policies WHERE workspace = $1 AND workflow = $2 AND step = $3",
               {unit.workspace(), workflow, step});
  unit.audit(policy_audit("retry_policy.remove", workflow, step, before));
  return {};
}

std::vector<SetPolicy> list_policies(View& view) {
  std::vector<SetPolicy> out;
  for (const db::Row row :
       view.rows("SELECT " FETTLE_POLICY_COLUMNS ", workflow, step FROM retry_policies WHERE workspace = $1"
                 " ORDER BY workflow, step LIMIT 10000",
                 {view.workspace()})) {
    SetPolicy& one = out.emplace_back();
    one.policy = policy_from(view, row, one.workflow, one.step);
  }
  return out;
}

RetryPolicy policy_for(View& view, std::string_view workflow, std::string_view step) {
  // The narrowest first: the step of the workflow, the workflow, the workspace. SQLite takes the parts of a union in
  // their order; for a list or an order it makes a table of its own, and that was a tenth of what an enqueue costs.
#define FETTLE_POLICY_WHERE(workflow, step)                                                            \
  "SELECT " FETTLE_POLICY_COLUMNS " FROM retry_policies WHERE workspace = $1 AND workflow = " workflow \
  " AND step = " step
  constexpr db::Sql kSql(
      FETTLE_POLICY_WHERE("$2", "$3") " UNION ALL " FETTLE_POLICY_WHERE("$2", "''") " UNION ALL " FETTLE_POLICY_WHERE(
          "''", "$3") " UNION ALL " FETTLE_POLICY_WHERE("''", "''") " LIMIT 1",
      "SELECT " FETTLE_POLICY_COLUMNS
      " FROM retry_policies WHERE workspace = $1 AND workflow IN ($2, '') AND step IN ($3, '')"
      " ORDER BY workflow DESC, step DESC LIMIT 1");
  const db::Rows rows = view.rows(kSql, {view.workspace(), workflow, step});
  return rows.empty() ? RetryPolicy{} : policy_from(view, rows[0]);
}

std::optional<RetryPolicy> step_policy(View& view, std::string_view workflow, std::string_view step) {
  const db::Rows rows = view.rows(
      "SELECT " FETTLE_POLICY_COLUMNS
      " FROM retry_policies WHERE workspace = $1 AND workflow IN ($2, '') AND step = $3 ORDER BY workflow DESC LIMIT 1",
      {view.workspace(), workflow, step});
  if (rows.empty()) return std::nullopt;
  return policy_from(view, rows[0]);
}

std::string override_text(const RetryOverride& own) {
  if (own == RetryOverride{}) return {};
  JsonObject out;
  if (own.base) out.add("base_ns", own.base->count());
  if (own.factor) out.add("factor", *own.factor);
  if (own.cap) out.add("cap_ns", own.cap->count());
  if (own.elapsed_max) out.add("elapsed_max_ns", own.elapsed_max->count());
  return std::move(out).text();
}

RetryOverride override_from(std::string_view text) {
  RetryOverride own;
  if (text.empty()) return own;
  boost::system::error_code error;
  const json::value parsed = json::parse(json::string_view(text.data(), text.size()), error);
  if (error || !parsed.is_object()) return own;
  const auto time = [&](const char* name, std::optional<std::chrono::nanoseconds>& into) {
    const json::value* value = parsed.get_object().if_contains(name);
    if (value != nullptr && value->is_int64()) into = std::chrono::nanoseconds(value->get_int64());
  };
  time("base_ns", own.base);
  time("cap_ns", own.cap);
  time("elapsed_max_ns", own.elapsed_max);
  if (const json::value* value = parsed.get_object().if_contains("factor"); value != nullptr && value->is_number()) {
    own.factor = value->to_number<double>();
  }
  return own;
}

RetryPolicy policy_of_run(View& view, std::int64_t number, std::string_view workflow) {
  std::optional<std::string> own;
  view.first("SELECT retry FROM run_data WHERE workspace = $1 AND id = $2", {view.workspace(), number}, own);
  return override_from(own.value_or("")).over(policy_for(view, workflow, ""));
}

}  // namespace fettle::runs
