#include "runs/steps.h"

#include <gtest/gtest.h>

#include "runs/approvals.h"
#include "runs/operate.h"
#include "runs/queue.h"
#include "runs/retry_policies.h"
#include "runs/testing.h"

namespace fettle::runs {
namespace {

using namespace std::chrono_literals;

class StepsTest : public RunsTestBase {
 protected:
  StepCall call(const LeasedRun& leased, std::string step) { return {leased.id, leased.attempt, std::move(step)}; }
  StepBegun begin(const LeasedRun& leased, const std::string& step) {
    return run([&](Unit& unit) { return begin_step(unit, call(leased, step)); });
  }
  Applied complete(const LeasedRun& leased, const std::string& step, const std::string& result) {
    return run([&](Unit& unit) { return complete_step(unit, call(leased, step), {result, 100, 0.5}); });
  }
  LeasedRun leased() {
    add_one();
    return take().at(0);
  }
};
FETTLE_FOR_BOTH_STORES(StepsTest);

TEST_P(StepsTest, ARetryGoesOnAfterTheLastGoodStep) {
  const LeasedRun first = leased();
  EXPECT_EQ(begin(first, "parseEmail").state, StepAnswer::kGo);
  EXPECT_EQ(complete(first, "parseEmail", R"("parsed")"), Applied::kApplied);
  EXPECT_EQ(begin(first, "createCRMRecord").state, StepAnswer::kGo);
  break_off(first, {.message = "API_TIMEOUT: Connection timeout after 5s", .step = "createCRMRecord"});
  tick(60s);
  const LeasedRun second = take().at(0);
  EXPECT_TRUE(second.has_steps);
  const StepBegun again = begin(second, "parseEmail");
  EXPECT_EQ(again.state, StepAnswer::kDone);
  EXPECT_EQ(again.result, R"("parsed")");
  const StepBegun failed = begin(second, "createCRMRecord");
  EXPECT_EQ(failed.state, StepAnswer::kGo);
  EXPECT_EQ(failed.retry_count, 1);
  complete(second, "createCRMRecord", "1");
  EXPECT_EQ(column(second.id, "tokens"), "200");
  EXPECT_EQ(column(second.id, "cost_usd"), GetParam() == db::Dialect::kSqlite ? "1.0" : "1");
  const auto steps = run([&](Unit& unit) -> Result<std::vector<Step>> { return list_steps(unit, second.id); });
  ASSERT_EQ(steps.size(), 2U);
  EXPECT_EQ(steps[0].step, "parseEmail");
  EXPECT_EQ(steps[1].retry_count, 1);
  EXPECT_EQ(steps[1].state, StepState::kCompleted);
}

TEST_P(StepsTest, AResultIsNeverOverwritten) {
  const LeasedRun slow = leased();
  begin(slow, "a");
  tick(10s);
  const LeasedRun quick = take().at(0);
  begin(quick, "a");
  EXPECT_EQ(complete(quick, "a", R"("quick")"), Applied::kApplied);
  EXPECT_EQ(complete(slow, "a", R"("slow")"), Applied::kLate);
  EXPECT_EQ(complete(quick, "a", R"("twice")"), Applied::kApplied);
  EXPECT_EQ(begin(quick, "a").result, R"("quick")");
  EXPECT_EQ(column(quick.id, "tokens"), "100") << "counted once";
  EXPECT_EQ(count("run_attempts WHERE attempt = 1 AND late_call = 'complete_step' AND late_body = '\"slow\"'"), 1);
}

TEST_P(StepsTest, FromScratchBeginsAnewAndKeepsWhatWas) {
  const LeasedRun first = leased();
  complete(first, "a", R"("old")");
  break_off(first, {.message = "no", .http_status = 400});
  run([&](Unit& unit) { return retry_run(unit, first.id, RetryFrom::kScratch, "bad data"); });
  const LeasedRun second = take().at(0);
  EXPECT_EQ(begin(second, "a").state, StepAnswer::kGo);
  EXPECT_EQ(count("run_steps"), 2);
}

TEST_P(StepsTest, AStepIsRetriedInPlaceByItsOwnPolicy) {
  run([](Unit& unit) { return set_policy(unit, "publish", "a", {.max_retries = 1, .base = 2s, .cap = 2s}); });
  const LeasedRun one = leased();
  const auto fail = [&](RunError error) {
    return run([&](Unit& unit) { return fail_step(unit, call(one, "a"), error); });
  };
  begin(one, "a");
  const StepFailed first = fail({.message = "503", .http_status = 503});
  EXPECT_TRUE(first.will_retry);
  EXPECT_LE(first.delay, 2s);
  EXPECT_EQ(begin(one, "a").retry_count, 1);
  EXPECT_EQ(fail({.message = "503", .http_status = 503}).reason, "retries_exhausted");
  EXPECT_EQ(count("workflow_failures WHERE step = 'a'"), 2);
  // Without a policy of its own a step fails its run at once.
  begin(one, "b");
  EXPECT_FALSE(run([&](Unit& unit) { return fail_step(unit, call(one, "b"), {.message = "x"}); }).will_retry);
}

TEST_P(StepsTest, ASleepingRunHoldsNoWorkerAndWakesOnce) {
  const LeasedRun one = leased();
  const auto sleep = [&](const LeasedRun& by) {
    return run([&](Unit& unit) { return sleep_step(unit, call(by, "nap"), unit.now() + 60 * kNanosPerSecond); });
  };
  EXPECT_EQ(sleep(one).state, StepAnswer::kParked);
  EXPECT_EQ(sleep(one).state, StepAnswer::kLate) << "the lease is given back";
  EXPECT_TRUE(take().empty());
  tick(59s);
  EXPECT_TRUE(take().empty());
  tick(1s);
  const LeasedRun two = take().at(0);
  EXPECT_EQ(two.retry_count, 0);
  EXPECT_EQ(sleep(two).state, StepAnswer::kDone);
  EXPECT_EQ(sleep(two).state, StepAnswer::kDone);
}

TEST_P(StepsTest, ASignalEndsTheWaitWhetherItComesBeforeOrAfter) {
  const auto wait = [&](const LeasedRun& by, const std::string& key) {
    return run([&](Unit& unit) { return wait_signal(unit, call(by, "wait-" + key), "paid", key, 60s); });
  };
  const auto send = [&](const std::string& key) {
    return run([&](Unit& unit) { return signal(unit, "paid", key, R"({"sum":7})"); });
  };
  const LeasedRun one = leased();
  EXPECT_EQ(wait(one, "order-1").state, StepAnswer::kParked);
  EXPECT_EQ(send("order-2"), 0) << "nobody waits for it yet";
  EXPECT_EQ(send("order-1"), 1);
  const LeasedRun two = take().at(0);
  EXPECT_EQ(wait(two, "order-1").result, R"({"sum":7})");
  EXPECT_EQ(wait(two, "order-2").state, StepAnswer::kDone) << "it came before";
  EXPECT_EQ(wait(two, "order-3").state, StepAnswer::kParked);
  tick(60s);
  const LeasedRun three = take().at(0);
  EXPECT_EQ(wait(three, "order-3").state, StepAnswer::kTimedOut);
  EXPECT_EQ(wait(three, "order-3").state, StepAnswer::kTimedOut) << "what it was told stays";
  EXPECT_EQ(count("run_waits"), 0);
}

TEST_P(StepsTest, AnApprovalHoldsTheRunUntilSomebodyDecides) {
  const LeasedRun one = leased();
  const auto ask = [&](const LeasedRun& by, const std::string& step) {
    return run([&](Unit& unit) {
      return request_approval(unit, call(by, step), {.title = "Publish?", .role = "manager", .expires_in = 1h});
    });
  };
  EXPECT_EQ(ask(one, "approve").state, StepAnswer::kParked);
  const auto open = run([](Unit& unit) { return list_approvals(unit); }).items;
  ASSERT_EQ(open.size(), 1U);
  EXPECT_EQ(open[0].role, "manager");
  EXPECT_TRUE(take().empty());
  EXPECT_EQ(error_of([&](Unit& unit) { return decide_approval(unit, open[0].id, {true}); }),
            ErrorCode::kPermissionDenied)
      << "an operator is not enough";
  actor.role = "manager";
  run([&](Unit& unit) { return decide_approval(unit, open[0].id, {true, "fine", R"({"text":"better"})"}); });
  EXPECT_EQ(error_of([&](Unit& unit) { return decide_approval(unit, open[0].id, {false}); }), ErrorCode::kConflict);
  const LeasedRun two = take().at(0);
  EXPECT_EQ(ask(two, "approve").result,
            R"({"decision":"approved","by":"maya","note":"fine","edited":{"text":"better"}})");
  EXPECT_TRUE(journal.has_audit("approval.approved"));
  // One that nobody decides expires.
  EXPECT_EQ(ask(two, "second").state, StepAnswer::kParked);
  EXPECT_EQ(tick(1h).expired_approvals, 1);
  const LeasedRun three = take().at(0);
  EXPECT_EQ(ask(three, "second").result, R"({"decision":"expired"})");
}

TEST_P(StepsTest, AnEndOfTheRunWithdrawsWhatItAsked) {
  const LeasedRun one = leased();
  const auto ask = [&](const LeasedRun& by, const std::string& title) {
    return run([&](Unit& unit) { return request_approval(unit, call(by, "approve"), {.title = title}); });
  };
  ask(one, "Publish the first draft?");
  run([&](Unit& unit) { return cancel_run(unit, one.id, "wrong draft"); });
  EXPECT_EQ(count("approvals WHERE state = 0"), 0);
  run([&](Unit& unit) { return retry_run(unit, one.id, RetryFrom::kScratch, "again"); });
  EXPECT_EQ(ask(take().at(0), "Publish the second draft?").state, StepAnswer::kParked);
  EXPECT_EQ(count("approvals WHERE state = 0 AND title = 'Publish the second draft?'"), 1);
}

TEST_P(StepsTest, AnEventThatCameWhileTheRunWasOverIsStillForItsWait) {
  const LeasedRun one = leased();
  const auto wait = [&](const LeasedRun& by) {
    return run([&](Unit& unit) { return wait_signal(unit, call(by, "wait"), "paid", "7", {}); });
  };
  EXPECT_EQ(wait(one).state, StepAnswer::kParked);
  run([&](Unit& unit) { return cancel_run(unit, one.id, "too early"); });
  EXPECT_EQ(run([&](Unit& unit) { return signal(unit, "paid", "7", R"("late")"); }), 0);
  run([&](Unit& unit) { return retry_run(unit, one.id, RetryFrom::kFailedStep, "now"); });
  EXPECT_EQ(wait(take().at(0)).result, R"("late")");
}

TEST_P(StepsTest, AFailedStepToldTwiceIsCountedOnce) {
  run([](Unit& unit) { return set_policy(unit, "publish", "a", {.max_retries = 1, .base = 2s, .cap = 2s}); });
  const LeasedRun one = leased();
  begin(one, "a");
  const auto fail = [&] {
    return run(
        [&](Unit& unit) { return fail_step(unit, call(one, "a"), {.message = "503", .http_status = 503}, 70, 0.5); });
  };
  EXPECT_TRUE(fail().will_retry);
  EXPECT_TRUE(fail().will_retry) << "told again, it is answered the same";
  EXPECT_EQ(column(one.id, "tokens"), "70");
  EXPECT_EQ(column(one.id, "open_failures"), "1");
  // The run that fails with it adds its retry, not the same error once more.
  break_off(one, {.message = "503", .http_status = 503});
  EXPECT_EQ(count("workflow_failures WHERE kind = 'error'"), 1);
  EXPECT_EQ(count("workflow_failures WHERE kind = 'retry' AND step = 'a'"), 1);
}

TEST_P(StepsTest, AStepIsBrokenOffWithItsAttempt) {
  const LeasedRun one = leased();
  begin(one, "a");
  tick(60s);
  const auto steps = run([&](Unit& unit) -> Result<std::vector<Step>> { return list_steps(unit, one.id); });
  ASSERT_EQ(steps.size(), 1U);
  EXPECT_EQ(steps[0].state, StepState::kFailed);
  EXPECT_TRUE(steps[0].finished_at.has_value());
  EXPECT_TRUE(steps[0].error.value_or("").contains("lease_expired")) << steps[0].error.value_or("");
}

TEST_P(StepsTest, WaitingForAPersonUsesUpNoRetries) {
  run([](Unit& unit) { return set_policy(unit, "publish", "", {.max_retries = 3, .elapsed_max = 1h}); });
  const LeasedRun one = leased();
  run([&](Unit& unit) { return sleep_step(unit, call(one, "nap"), unit.now() + 25 * 3'600 * kNanosPerSecond); });
  tick(25h);
  EXPECT_TRUE(break_off(take().at(0), {.message = "503", .http_status = 503}).will_retry);
}

TEST_P(StepsTest, AnotherAttemptsOrWorkspacesStepIsNobodys) {
  const LeasedRun one = leased();
  const auto other = runs->write_and_wait(Scope{WorkspaceId{"other"}, {}}, actor,
                                          [&](Unit& unit) { return begin_step(unit, call(one, "a")); });
  ASSERT_TRUE(other.has_value());
  EXPECT_EQ(other->state, StepAnswer::kUnknown);
  EXPECT_EQ(run([&](Unit& unit) { return begin_step(unit, {one.id, 7, "a"}); }).state, StepAnswer::kLate);
  EXPECT_EQ(
      error_of([&](Unit& unit) { return complete_step(unit, call(one, "a"), {.result = std::string(262'145, 'x')}); }),
      ErrorCode::kTooLarge);
}

}  // namespace
}  // namespace fettle::runs
