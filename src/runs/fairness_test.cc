#include <gtest/gtest.h>

#include "runs/limits.h"
#include "runs/operate.h"
#include "runs/switches.h"
#include "runs/testing.h"

namespace fettle::runs {
namespace {

using namespace std::chrono_literals;

class FairnessTest : public RunsTestBase {
 protected:
  void add_for(const std::string& client, int count) {
    for (int i = 0; i < count; ++i) {
      add({.workflow = "publish", .client = client, .platform = "tiktok"});
      clock.advance(1ms);
    }
  }
  void limit(const LimitRule& rule) {
    run([&](Unit& unit) { return set_limit(unit, rule); });
  }
  Switch stop(SwitchMode mode, Reach reach) {
    return run([&](Unit& unit) { return throw_switch(unit, {mode, std::move(reach), "wrong account"}); });
  }
};
FETTLE_FOR_BOTH_STORES(FairnessTest);

// ---- limits --------------------------------------------------------------------------------------------------------

TEST_P(FairnessTest, OneClientCannotTakeAllWorkers) {
  limit({.dimension = LimitDimension::kClient, .concurrency_max = 2});
  add_for("loud", 10);
  add_for("quiet", 1);
  const auto leased = take(10);
  ASSERT_EQ(leased.size(), 3U);
  EXPECT_EQ(leased[0].client, "loud");
  EXPECT_EQ(leased[1].client, "loud");
  EXPECT_EQ(leased[2].client, "quiet");
  EXPECT_EQ(count("runs WHERE state = 0"), 0) << "blocked work is out of the ready index";
  EXPECT_EQ(count("runs WHERE state = 2 AND hold_key = 'limit:client:loud'"), 8);
  // Each that ends lets one in, the oldest first.
  finish(leased[0]);
  EXPECT_EQ(take(10).size(), 1U);
  break_off(leased[1]);
  EXPECT_EQ(take(10).size(), 1U);
}

TEST_P(FairnessTest, ARuleForOneValueReplacesTheGeneralOne) {
  limit({.dimension = LimitDimension::kClient, .concurrency_max = 1});
  limit({.dimension = LimitDimension::kClient, .value = "big", .concurrency_max = 3});
  add_for("big", 5);
  add_for("small", 5);
  EXPECT_EQ(take(10).size(), 4U);
}

TEST_P(FairnessTest, EveryLimitOfARunHolds) {
  limit({.dimension = LimitDimension::kClient, .concurrency_max = 2});
  limit({.dimension = LimitDimension::kPlatform, .value = "tiktok", .concurrency_max = 3});
  add_for("a", 3);
  add_for("b", 3);
  const auto leased = take(10);
  ASSERT_EQ(leased.size(), 3U);
  EXPECT_EQ(leased[2].client, "b");
  for (const LeasedRun& one : leased) finish(one);
  // Held by the platform as well as by their clients: all find their way back.
  std::size_t done = 3;
  for (int round = 0; round < 10 && done < 6; ++round) {
    tick(1s);
    for (const LeasedRun& one : take(10)) {
      finish(one);
      ++done;
    }
  }
  EXPECT_EQ(done, 6U);
  EXPECT_EQ(count("run_slots WHERE in_use <> 0"), 0);
}

TEST_P(FairnessTest, ARateLetsAPeriodsWorthStartAndThenOneByOne) {
  limit({.dimension = LimitDimension::kPlatform, .value = "tiktok", .rate_max = 2, .rate_period = 10s});
  add_for("a", 5);
  const auto first = take(10);
  EXPECT_EQ(first.size(), 2U);
  for (const LeasedRun& one : first) finish(one);
  tick(4s);
  EXPECT_EQ(take(10).size(), 0U);
  tick(1s);
  EXPECT_EQ(take(10).size(), 1U);
  tick(10s);
  EXPECT_EQ(take(10).size(), 2U);
}

TEST_P(FairnessTest, ALiftedLimitLetsEverythingGo) {
  limit({.dimension = LimitDimension::kWorkflow, .value = "publish", .concurrency_max = 1});
  add_for("a", 4);
  EXPECT_EQ(take(10).size(), 1U);
  run([](Unit& unit) { return remove_limit(unit, LimitDimension::kWorkflow, "publish"); });
  EXPECT_EQ(tick().readied, 3);
  EXPECT_EQ(take(10).size(), 3U);
  EXPECT_TRUE(journal.has_audit("limit.set"));
  EXPECT_TRUE(journal.has_audit("limit.remove"));
}

TEST_P(FairnessTest, AnExpiredLeaseFreesItsSlot) {
  limit({.dimension = LimitDimension::kClient, .concurrency_max = 1});
  add_for("a", 2);
  take(1, "killed");
  tick(10s);
  EXPECT_EQ(take(10).size(), 1U);
  EXPECT_EQ(count("run_slots WHERE in_use = 1"), 1);
}

TEST_P(FairnessTest, LimitsThatLimitNothingAreRefused) {
  for (const LimitRule& rule :
       {LimitRule{}, LimitRule{.concurrency_max = 0}, LimitRule{.rate_max = 0},
        LimitRule{.value = "", .concurrency_max = 1}, LimitRule{.rate_max = 1, .rate_period = 0ms}}) {
    EXPECT_EQ(error_of([&](Unit& unit) { return set_limit(unit, rule); }), ErrorCode::kInvalidArgument);
  }
}

// ---- switches ------------------------------------------------------------------------------------------------------

TEST_P(FairnessTest, AKillTakesTheLeasesAndLetsNothingStart) {
  add_for("acme", 2);
  add_for("other", 1);
  const LeasedRun running = take(1).at(0);
  const Switch thrown = stop(SwitchMode::kKill, {.client = "acme"});
  EXPECT_TRUE(thrown.is_revoking);
  EXPECT_EQ(thrown.in_flight, 1);
  EXPECT_EQ(tick().revoked, 1);
  EXPECT_TRUE(run([](Unit& unit) { return list_in_flight(unit, {.client = "acme"}); }).items.empty());
  const Extension beat{running.id, running.attempt};
  const auto told = run([&](Unit& unit) { return extend(unit, std::span(&beat, 1)); }).at(0);
  EXPECT_EQ(told.applied, Applied::kLate);
  EXPECT_EQ(told.reason, "revoked by " + thrown.id + ": wrong account");
  EXPECT_EQ(finish(running), Applied::kLate);
  const auto leased = take(10);
  ASSERT_EQ(leased.size(), 1U);
  EXPECT_EQ(leased[0].client, "other");
  tick(60s);
  EXPECT_EQ(count("runs WHERE client = 'acme' AND state = 2"), 2);
  EXPECT_TRUE(journal.has_audit("switch.thrown"));

  run([&](Unit& unit) { return lift_switch(unit, thrown.id, "corrected"); });
  const auto again = take(10);
  ASSERT_EQ(again.size(), 3U) << "two of acme, and the other whose lease ran out meanwhile";
  for (const LeasedRun& one : again) {
    if (one.id == running.id) {
      EXPECT_EQ(one.attempt, 2);
      EXPECT_EQ(one.retry_count, 0) << "what a switch takes away is not the run's fault";
    }
  }
}

TEST_P(FairnessTest, APauseLetsRunningWorkEnd) {
  add_for("acme", 2);
  const LeasedRun running = take(1).at(0);
  stop(SwitchMode::kPause, {.platform = "tiktok"});
  EXPECT_TRUE(take(10).empty());
  EXPECT_EQ(finish(running), Applied::kApplied);
}

TEST_P(FairnessTest, ASwitchReachesWhatMatchesAllItsParts) {
  struct Case {
    Reach reach;
    bool stops;
  };
  const Reach work{"acme", "tiktok", "publishing", "publish", "", "writer"};
  for (const Case& c :
       {Case{{}, true}, Case{{.client = "acme"}, true}, Case{{.client = "acme", .platform = "x"}, false},
        Case{{.platform = "tiktok", .lane = "publishing"}, true}, Case{{.agent = "writer"}, true},
        Case{{.workflow = "other"}, false}, Case{{.tool = "browser"}, false}}) {
    EXPECT_EQ(reaches(c.reach, work), c.stops);
  }
}

TEST_P(FairnessTest, MayIAnswersWithTheReasonAndHowLongTheAnswerHolds) {
  const auto ask = [&](const Reach& work, const std::string& action_class) {
    return *runs->read_and_wait(scope, [&](View& view) { return may_i(view, work, action_class); });
  };
  EXPECT_TRUE(ask({.client = "acme"}, "").allowed);
  EXPECT_EQ(ask({.client = "acme"}, "").action_class.cache, 5s);
  EXPECT_FALSE(ask({.client = "acme"}, "").action_class.fail_open);
  run([](Unit& unit) { return set_action_class(unit, {"read", 60s, true}); });
  const Switch thrown = stop(SwitchMode::kKill, {.client = "acme", .tool = "browser"});
  const MayI refused = ask({.client = "acme", .tool = "browser"}, "read");
  EXPECT_FALSE(refused.allowed);
  EXPECT_EQ(refused.switch_id, thrown.id);
  EXPECT_EQ(refused.reason, "wrong account");
  EXPECT_EQ(refused.action_class.cache, 60s);
  EXPECT_TRUE(refused.action_class.fail_open);
  EXPECT_TRUE(ask({.client = "acme", .tool = "api"}, "").allowed);
  EXPECT_TRUE(ask({.client = "other", .tool = "browser"}, "").allowed);
}

TEST_P(FairnessTest, ASwitchNeedsAReasonAndARightToItsReach) {
  const auto refused = [&](SwitchRequest request) {
    return error_of([&](Unit& unit) { return throw_switch(unit, request); });
  };
  EXPECT_EQ(refused({.reason = ""}), ErrorCode::kInvalidArgument);
  scope.clients = {ClientId{"acme"}};
  EXPECT_EQ(refused({.reason = "all"}), ErrorCode::kPermissionDenied);
  EXPECT_EQ(refused({.reach = {.client = "other"}, .reason = "other"}), ErrorCode::kPermissionDenied);
  const Switch own = stop(SwitchMode::kKill, {.client = "acme"});
  EXPECT_EQ(error_of([&](Unit& unit) { return lift_switch(unit, own.id, ""); }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(error_of([&](Unit& unit) { return lift_switch(unit, "sw_0000000000000", "x"); }), ErrorCode::kNotFound);
  run([&](Unit& unit) { return lift_switch(unit, own.id, "done"); });
  EXPECT_EQ(error_of([&](Unit& unit) { return lift_switch(unit, own.id, "again"); }), ErrorCode::kNotFound);
}

TEST_P(FairnessTest, ASwitchOfAnotherWorkspaceStopsNothingHere) {
  add_for("acme", 1);
  const auto elsewhere = runs->write_and_wait(Scope{WorkspaceId{"other"}, {}}, actor,
                                              [](Unit& unit) { return throw_switch(unit, {.reason = "everything"}); });
  ASSERT_TRUE(elsewhere.has_value());
  EXPECT_EQ(take(10).size(), 1U);
}

}  // namespace
}  // namespace fettle::runs
