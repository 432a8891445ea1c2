#include "access/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <chrono>

namespace fettle::access {
namespace {

namespace json = boost::json;
using Verdict = PlanDecision::Verdict;

bool names(const std::string& pattern, std::string_view workflow) {
  if (!pattern.ends_with('*')) return pattern == workflow;
  return workflow.starts_with(std::string_view(pattern).substr(0, pattern.size() - 1));
}

bool passes(std::int64_t used, std::int64_t wanted, std::int64_t most) {
  // Not used + wanted: a made-up estimate must not overflow into "enough left".
  return used < most && wanted <= most - used;
}

json::value optional_number(const std::optional<std::int64_t>& number) {
  return number ? json::value(*number) : json::value(nullptr);
}

PlanDecision refuse(ErrorCode code, std::string why) {
  return {.verdict = Verdict::kRefuse, .error = Error(code, std::move(why))};
}

PlanDecision used_up(std::string why, UnixNanos now) {
  const auto wait = std::chrono::ceil<std::chrono::milliseconds>(std::chrono::nanoseconds(next_month(now) - now));
  return {.verdict = Verdict::kRefuse,
          .error = Error(ErrorCode::kResourceExhausted, std::move(why)).with_retry_after(wait)};
}

}  // namespace

bool limits_anything(const Plan& plan) {
  Plan nothing;
  nothing.name = plan.name;
  return plan != nothing;
}

Result<void> check_plan(const Plan& plan) {
  if (plan.name.size() > kPlanTextBytesMax) return fail(ErrorCode::kInvalidArgument, "the plan's name is too long");
  if (plan.workflows.size() > kPlanWorkflowsMax) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("a plan names at most {} workflows", kPlanWorkflowsMax));
  }
  for (const std::string& workflow : plan.workflows) {
    if (workflow.empty() || workflow.size() > kPlanTextBytesMax) {
      return fail(ErrorCode::kInvalidArgument, "a workflow of a plan has a name of 1 to 256 bytes");
    }
  }
  for (const auto& limit : {plan.concurrent_runs_max, plan.month_tokens_max, plan.month_micro_usd_max}) {
    if (limit && *limit < 0) return fail(ErrorCode::kInvalidArgument, "a limit of a plan is not negative");
  }
  return {};
}

std::string to_json(const Plan& plan) {
  json::array workflows;
  for (const std::string& workflow : plan.workflows) workflows.emplace_back(workflow);
  return json::serialize(json::object{{"name", plan.name},
                                      {"workflows", std::move(workflows)},
                                      {"agents", plan.agents},
                                      {"concurrent_runs_max", optional_number(plan.concurrent_runs_max)},
                                      {"month_tokens_max", optional_number(plan.month_tokens_max)},
                                      {"month_micro_usd_max", optional_number(plan.month_micro_usd_max)}});
}

Result<Plan> plan_from_json(std::string_view text) {
  boost::system::error_code broken;
  const json::value value = json::parse(text, broken);
  const json::object* object = broken ? nullptr : value.if_object();
  if (object == nullptr) return fail(ErrorCode::kDataLoss, "a stored plan is not a JSON object");
  const auto number = [&](std::string_view key, std::optional<std::int64_t>& out) {
    const json::value* found = object->if_contains(key);
    if (found == nullptr || found->is_null()) return true;
    if (!found->is_int64()) return false;
    out = found->get_int64();
    return true;
  };
  Plan plan;
  bool good = number("concurrent_runs_max", plan.concurrent_runs_max) &&
              number("month_tokens_max", plan.month_tokens_max) &&
              number("month_micro_usd_max", plan.month_micro_usd_max);
  if (const json::value* name = object->if_contains("name"); name != nullptr) {
    good = good && name->is_string();
    if (name->is_string()) plan.name = std::string(name->get_string());
  }
  if (const json::value* agents = object->if_contains("agents"); agents != nullptr) {
    good = good && agents->is_bool();
    if (agents->is_bool()) plan.agents = agents->get_bool();
  }
  if (const json::value* workflows = object->if_contains("workflows"); workflows != nullptr) {
    good = good && workflows->is_array();
    if (workflows->is_array()) {
      for (const json::value& workflow : workflows->get_array()) {
        good = good && workflow.is_string();
        if (workflow.is_string()) plan.workflows.emplace_back(workflow.get_string());
      }
    }
  }
  if (!good) return fail(ErrorCode::kDataLoss, "a stored plan is malformed");
  return plan;
}

PlanDecision allows(const Plan& plan, const PlanUsage& usage, const PlanRequest& request, UnixNanos now) {
  const std::string_view name = plan.name.empty() ? "this workspace's plan" : std::string_view(plan.name);
  if (request.is_agent && !plan.agents) {
    return refuse(ErrorCode::kPermissionDenied, fmt::format("{} does not include the work of agents", name));
  }
  if (!plan.workflows.empty() && std::ranges::none_of(plan.workflows, [&](const std::string& pattern) {
        return names(pattern, request.workflow);
      })) {
    return refuse(ErrorCode::kPermissionDenied,
                  fmt::format("{} does not include the workflow '{}'", name, request.workflow));
  }
  if (plan.month_tokens_max && !passes(usage.month_tokens, request.tokens, *plan.month_tokens_max)) {
    return used_up(fmt::format("{} has {} tokens a month; {} are used or reserved", name, *plan.month_tokens_max,
                               usage.month_tokens),
                   now);
  }
  if (plan.month_micro_usd_max && !passes(usage.month_micro_usd, request.micro_usd, *plan.month_micro_usd_max)) {
    return used_up(fmt::format("{} has ${:.2f} a month; ${:.2f} are used or reserved", name,
                               static_cast<double>(*plan.month_micro_usd_max) / 1e6,
                               static_cast<double>(usage.month_micro_usd) / 1e6),
                   now);
  }
  if (plan.concurrent_runs_max && usage.running >= *plan.concurrent_runs_max) {
    return {.verdict = Verdict::kHold,
            .error = Error(ErrorCode::kResourceExhausted, fmt::format("{} runs {} at once; {} are running", name,
                                                                      *plan.concurrent_runs_max, usage.running))};
  }
  return {};
}

UnixNanos next_month(UnixNanos now) {
  const std::chrono::sys_days day{std::chrono::days(day_of(now))};
  const std::chrono::year_month_day date(day);
  const std::chrono::sys_days first = (date.year() / date.month() + std::chrono::months(1)) / 1;
  return first.time_since_epoch().count() * kNanosPerDay;
}

}  // namespace fettle::access
