#include "access/plan.h"

#include <gtest/gtest.h>

#include <limits>

namespace fettle::access {
namespace {

using Verdict = PlanDecision::Verdict;

constexpr UnixNanos kNow = 1'795'305'600 * kNanosPerSecond;  // 2026-11-22 00:00 UTC

Verdict verdict(const Plan& plan, const PlanUsage& usage, const PlanRequest& request) {
  return allows(plan, usage, request, kNow).verdict;
}

TEST(Plans, NoLimitsAllowEverything) {
  EXPECT_EQ(verdict({}, {.running = 1'000'000, .month_tokens = 1'000'000'000, .month_micro_usd = 1'000'000'000},
                    {.workflow = "x", .is_agent = true}),
            Verdict::kAllow);
}

TEST(Plans, OnlyNamedWorkflowsRun) {
  const Plan plan{.workflows = {"lead-intake", "publish-*"}};
  EXPECT_EQ(verdict(plan, {}, {.workflow = "lead-intake"}), Verdict::kAllow);
  EXPECT_EQ(verdict(plan, {}, {.workflow = "publish-tiktok"}), Verdict::kAllow);
  for (const char* other : {"", "lead-intake2", "lead", "publish", "xpublish-a"}) {
    const auto decision = allows(plan, {}, {.workflow = other}, kNow);
    EXPECT_EQ(decision.verdict, Verdict::kRefuse) << other;
    EXPECT_EQ(decision.error->code(), ErrorCode::kPermissionDenied);
  }
}

TEST(Plans, AgentsRunOnlyWhereThePlanHasThem) {
  EXPECT_EQ(verdict({.agents = false}, {}, {.workflow = "x", .is_agent = true}), Verdict::kRefuse);
  EXPECT_EQ(verdict({.agents = false}, {}, {.workflow = "x"}), Verdict::kAllow);
}

TEST(Plans, AFullPlanHoldsAndDoesNotRefuse) {
  const Plan plan{.concurrent_runs_max = 2};
  EXPECT_EQ(verdict(plan, {.running = 1}, {}), Verdict::kAllow);
  EXPECT_EQ(verdict(plan, {.running = 2}, {}), Verdict::kHold);
}

TEST(Plans, TheMonthsTokensAndSpendAreNotPassedNotEvenByAnEstimate) {
  const Plan tokens{.month_tokens_max = 100};
  EXPECT_EQ(verdict(tokens, {.month_tokens = 99}, {}), Verdict::kAllow);
  EXPECT_EQ(verdict(tokens, {.month_tokens = 100}, {}), Verdict::kRefuse);
  EXPECT_EQ(verdict(tokens, {.month_tokens = 90}, {.tokens = 10}), Verdict::kAllow);
  EXPECT_EQ(verdict(tokens, {.month_tokens = 90}, {.tokens = 11}), Verdict::kRefuse);
  EXPECT_EQ(verdict(tokens, {.month_tokens = 90}, {.tokens = std::numeric_limits<std::int64_t>::max()}),
            Verdict::kRefuse);
  const Plan spend{.month_micro_usd_max = 5'000'000};
  EXPECT_EQ(verdict(spend, {.month_micro_usd = 4'000'000}, {.micro_usd = 1'000'000}), Verdict::kAllow);
  EXPECT_EQ(verdict(spend, {.month_micro_usd = 4'000'000}, {.micro_usd = 1'000'001}), Verdict::kRefuse);
  const auto refused = allows(spend, {.month_micro_usd = 5'000'000}, {}, kNow);
  EXPECT_EQ(refused.error->code(), ErrorCode::kResourceExhausted);
  EXPECT_EQ(refused.error->retry_after(), std::chrono::days(9)) << "until the first of December";
}

TEST(Plans, MonthsEndAtTheirEndInYearsOfAnyLength) {
  EXPECT_EQ(next_month(kNow), 1'796'083'200 * kNanosPerSecond);                             // 2026-12-01
  EXPECT_EQ(next_month(1'796'083'200 * kNanosPerSecond), 1'798'761'600 * kNanosPerSecond);  // 2027-01-01
  EXPECT_EQ(next_month(1'709'164'800 * kNanosPerSecond), 1'709'251'200 * kNanosPerSecond);  // 2024-02-29
}

TEST(Plans, SurviveTheirStoredForm) {
  const Plan plan{.name = "team",
                  .workflows = {"a", "b*"},
                  .agents = false,
                  .concurrent_runs_max = 5,
                  .month_tokens_max = std::nullopt,
                  .month_micro_usd_max = 0};
  EXPECT_EQ(plan_from_json(to_json(plan)).value(), plan);
  EXPECT_EQ(plan_from_json("{}").value(), Plan{});
  for (const char* broken :
       {"", "[]", "{\"name\":1}", "{\"agents\":1}", "{\"workflows\":[1]}", "{\"concurrent_runs_max\":\"5\"}"}) {
    EXPECT_EQ(plan_from_json(broken).error().code(), ErrorCode::kDataLoss) << broken;
  }
}

TEST(Plans, NonsenseIsRefused) {
  EXPECT_FALSE(check_plan({.concurrent_runs_max = -1}));
  EXPECT_FALSE(check_plan({.workflows = {""}}));
  EXPECT_FALSE(check_plan({.workflows = std::vector<std::string>(1001, "a")}));
  EXPECT_TRUE(check_plan({.workflows = {"a"}, .month_tokens_max = 0}));
}

}  // namespace
}  // namespace fettle::access
