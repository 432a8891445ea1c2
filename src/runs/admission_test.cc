#include "runs/admission.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "runs/bulk.h"
#include "runs/limits.h"
#include "runs/operate.h"
#include "runs/schedules.h"
#include "runs/testing.h"

namespace fettle::runs {
namespace {

using namespace std::chrono_literals;

class FakeAdmission final : public Admission {
 public:
  std::shared_ptr<const access::Plan> plan_of(const WorkspaceId&) const override {
    return std::make_shared<const access::Plan>(plan);
  }
  bool may_run_agents(const WorkspaceId&, std::string_view actor_id) const override {
    return !without.contains(std::string(actor_id));
  }
  access::Plan plan;
  std::set<std::string> without;
};

class AdmissionTest : public RunsTestBase {
 protected:
  void SetUp() override {
    RunsTestBase::SetUp();
    runs->set_admission(&admission);
  }
  RunId add_agent(const std::string& workflow = "publish") { return add({.workflow = workflow, .agent = "maya"}); }
  ErrorCode refusal(EnqueueRequest request) {
    return error_of([&](Unit& unit) { return enqueue(unit, std::span(&request, 1)); });
  }
  FakeAdmission admission;
};
FETTLE_FOR_BOTH_STORES(AdmissionTest);

TEST_P(AdmissionTest, WhatThePlanLeavesOutIsRefusedWhenItIsAskedFor) {
  admission.plan = {.workflows = {"lead-*"}, .agents = false};
  add_one("lead-intake");
  EXPECT_EQ(refusal({.workflow = "publish"}), ErrorCode::kPermissionDenied);
  EXPECT_EQ(refusal({.workflow = "lead-intake", .agent = "maya"}), ErrorCode::kPermissionDenied);
  EXPECT_EQ(count("runs"), 1);
}

TEST_P(AdmissionTest, AMonthThatIsUsedUpRefusesUntilTheNextOne) {
  admission.plan = {.month_tokens_max = 100};
  add_agent();
  const LeasedRun leased = take().at(0);
  const Completion completion{leased.id, leased.attempt, "", 100, 0.5};
  run([&](Unit& unit) { return complete(unit, std::span(&completion, 1)); });
  const EnqueueRequest request{.workflow = "publish"};
  const auto refused =
      runs->write_and_wait(scope, actor, [&](Unit& unit) { return enqueue(unit, std::span(&request, 1)); });
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::kResourceExhausted);
  const auto wait = std::chrono::nanoseconds(access::next_month(clock.now()) - clock.now());
  EXPECT_EQ(refused.error().retry_after(), std::chrono::ceil<std::chrono::milliseconds>(wait));
  clock.advance(wait);
  add_one();
}

TEST_P(AdmissionTest, WhatWasQueuedBeforeTheMonthWasUsedUpWaitsForTheNextOne) {
  const RunId first = add_agent();
  const RunId second = add_agent();
  admission.plan = {.month_micro_usd_max = 1'000'000};
  const LeasedRun leased = take().at(0);
  EXPECT_EQ(leased.id, first);
  const Completion completion{leased.id, leased.attempt, "", 0, 1.0};
  run([&](Unit& unit) { return complete(unit, std::span(&completion, 1)); });
  EXPECT_TRUE(take().empty());
  EXPECT_EQ(column(second, "hold_key"), "plan:month");
  tick(1s);
  EXPECT_EQ(state_of(second), RunState::kHeld);
  tick(std::chrono::nanoseconds(access::next_month(clock.now()) - clock.now()));
  EXPECT_EQ(take().at(0).id, second);
}

TEST_P(AdmissionTest, APlanBoundsHowManyRunAtOnceAndTheRestFollows) {
  admission.plan = {.concurrent_runs_max = 2};
  for (int i = 0; i < 4; ++i) add_one();
  const auto leased = take(4);
  ASSERT_EQ(leased.size(), 2U);
  EXPECT_TRUE(take(4).empty());
  finish(leased[0]);
  EXPECT_EQ(take(4).size(), 1U);
  // A rule of the workspace's own may say less, never more.
  run([&](Unit& unit) { return set_limit(unit, {LimitDimension::kWorkspace, "all", 10}); });
  EXPECT_TRUE(take(4).empty());
  admission.plan = {};
  tick(1s);
  EXPECT_EQ(take(4).size(), 1U);
}

TEST_P(AdmissionTest, WhoeverMayNotRunAgentsNeitherEnqueuesNorRetriesNorResumesTheirWork) {
  const RunId dead = add_agent();
  break_off(take().at(0), {.message = "no", .http_status = 400});
  const RunId paused = add_agent();
  run([&](Unit& unit) { return pause_run(unit, paused, "wait"); });
  actor.runs_ai = false;
  EXPECT_EQ(refusal({.workflow = "publish", .agent = "maya"}), ErrorCode::kPermissionDenied);
  EXPECT_EQ(error_of([&](Unit& unit) { return retry_run(unit, dead, RetryFrom::kScratch, "again"); }),
            ErrorCode::kPermissionDenied);
  EXPECT_EQ(error_of([&](Unit& unit) { return resume_run(unit, paused, "go on"); }), ErrorCode::kPermissionDenied);
  EXPECT_EQ(error_of([&](Unit& unit) {
              return set_schedule(unit, {.name = "s", .cron = "* * * * *", .run = {.workflow = "w", .agent = "maya"}});
            }),
            ErrorCode::kPermissionDenied);
  add_one();
  actor.runs_ai = true;
  run([&](Unit& unit) { return retry_run(unit, dead, RetryFrom::kScratch, "again"); });
  run([&](Unit& unit) { return resume_run(unit, paused, "go on"); });
}

TEST_P(AdmissionTest, ABulkRetrySkipsAgentsWhenWhoeverAskedForItMayNotRunThem) {
  const RunId agents = add_agent();
  const RunId plain = add_one();
  for (const LeasedRun& one : take(2)) break_off(one, {.message = "no", .http_status = 400});
  const auto job = run([&](Unit& unit) { return start_bulk(unit, {.reason = "fixed"}); });
  admission.without = {actor.id};
  tick(1s);
  EXPECT_EQ(state_of(agents), RunState::kDead);
  EXPECT_EQ(state_of(plain), RunState::kReady);
  const auto ended = runs->read_and_wait(scope, [&](View& view) -> Result<BulkJob> { return *get_bulk(view, job.id); });
  ASSERT_TRUE(ended);
  EXPECT_EQ(ended->done, 1);
  EXPECT_EQ(ended->skipped, 1);
}

TEST_P(AdmissionTest, WorkOfAnAgentIsHeldFromWhenWhoeverAskedForItLosesTheRight) {
  const RunId queued = add_agent();
  admission.without = {actor.id};
  EXPECT_TRUE(take().empty());
  EXPECT_EQ(column(queued, "hold_key"), "right:run_ai:" + actor.id);
  tick(1s);
  EXPECT_EQ(state_of(queued), RunState::kHeld);
  admission.without.clear();
  tick(1s);
  EXPECT_EQ(take().at(0).id, queued);
}

TEST_P(AdmissionTest, ARunningLeaseOfAnAgentIsTakenAwayWithThePlanOrTheRight) {
  const RunId agents = add_agent();
  const RunId plain = add_one();
  auto leased = take(2);
  ASSERT_EQ(leased.size(), 2U);
  tick(1s);
  EXPECT_EQ(state_of(agents), RunState::kRunning);
  admission.plan.agents = false;
  EXPECT_EQ(tick(1s).refused, 1);
  EXPECT_EQ(state_of(agents), RunState::kHeld);
  EXPECT_EQ(state_of(plain), RunState::kRunning);
  EXPECT_TRUE(journal.has_audit("run.revoke"));
  const Extension beat{leased[0].id, leased[0].attempt};
  const auto told = run([&](Unit& unit) { return extend(unit, std::span(&beat, 1)); }).at(0);
  EXPECT_EQ(told.applied, Applied::kLate);
  EXPECT_TRUE(told.reason.contains("plan")) << told.reason;
  admission.plan.agents = true;
  tick(1s);
  leased = take();
  ASSERT_EQ(leased.size(), 1U);
  EXPECT_EQ(leased[0].id, agents);
  EXPECT_EQ(column(agents, "retry_count"), "0") << "it is not the run's fault";
  admission.without = {actor.id};
  EXPECT_EQ(tick(1s).refused, 1);
  EXPECT_EQ(column(agents, "hold_key"), "right:run_ai:" + actor.id);
}

TEST_P(AdmissionTest, AScheduleFiresForWhoeverMadeIt) {
  run([&](Unit& unit) {
    return set_schedule(unit, {.name = "s", .cron = "* * * * *", .run = {.workflow = "w", .agent = "maya"}});
  });
  tick(61s);
  EXPECT_EQ(count("runs"), 1);
  EXPECT_EQ(count("run_data WHERE asked_by = 'maya'"), 1) << "not the server itself";
  admission.without = {actor.id};
  tick(60s);
  EXPECT_EQ(count("runs"), 1);
  EXPECT_EQ(count("schedules WHERE error IS NOT NULL"), 1);
}

}  // namespace
}  // namespace fettle::runs
