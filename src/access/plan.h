// What a workspace may run, and how much: a plan, and the decision for one run that wants to start.
//
//   const PlanDecision decision = allows(plan, usage, {.workflow = "lead-intake", .is_agent = true}, clock.now());
//   switch (decision.verdict) { case kAllow: … case kHold: … case kRefuse: … }
//
// Pure. The runs room keeps the usage and calls this at enqueue; a run that is held is queued and starts when another
// one ends. Money is in millionths of a US dollar. Months are calendar months in UTC.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.h"
#include "core/error.h"

namespace fettle::access {

struct Plan {
  std::string name;
  // Workflows that may run: names, or beginnings ending in '*'. Empty: all.
  std::vector<std::string> workflows;
  bool agents = true;  // whether the work of agents may run at all
  std::optional<std::int64_t> concurrent_runs_max;
  std::optional<std::int64_t> month_tokens_max;
  std::optional<std::int64_t> month_micro_usd_max;

  bool operator==(const Plan&) const = default;
};

constexpr std::size_t kPlanWorkflowsMax = 1000;
constexpr std::size_t kPlanTextBytesMax = 256;  // each name

// False for a plan under which everything may run, as much as it likes.
bool limits_anything(const Plan& plan);
// kInvalidArgument for negative or oversized parts.
Result<void> check_plan(const Plan& plan);
std::string to_json(const Plan& plan);
// Of stored text; kDataLoss when it is not a plan.
Result<Plan> plan_from_json(std::string_view text);

struct PlanUsage {
  std::int64_t running = 0;
  // Of this month, with what running work has reserved.
  std::int64_t month_tokens = 0;
  std::int64_t month_micro_usd = 0;
};

struct PlanRequest {
  std::string_view workflow;
  bool is_agent = false;
  // What it is expected to use; 0 when nobody knows: then it starts as long as anything is left.
  std::int64_t tokens = 0;
  std::int64_t micro_usd = 0;
};

struct PlanDecision {
  enum class Verdict : std::uint8_t { kAllow, kHold, kRefuse };
  Verdict verdict = Verdict::kAllow;
  // For a refusal: kPermissionDenied for what the plan does not have, kResourceExhausted with retry_after (the begin of
  // the next month) for what is used up. For a hold: kResourceExhausted. The message names limit, use and plan.
  std::optional<Error> error;
};

PlanDecision allows(const Plan& plan, const PlanUsage& usage, const PlanRequest& request, UnixNanos now);

// When the month of `now` ends.
UnixNanos next_month(UnixNanos now);

}  // namespace fettle::access
