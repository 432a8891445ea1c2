#include "runs/schedules.h"

#include <gtest/gtest.h>

#include "runs/ledger_journal.h"
#include "runs/testing.h"
#include "runs/usage.h"
#include "runs/workers.h"

namespace fettle::runs {
namespace {

using namespace std::chrono_literals;

// kStart is 2027-01-15 08:00:00 UTC.
class SchedulesTest : public RunsTestBase {
 protected:
  void set(ScheduleRequest request) {
    run([&](Unit& unit) { return set_schedule(unit, request); });
  }
  Schedule only() {
    return run([](Unit& unit) -> Result<std::vector<Schedule>> { return list_schedules(unit); }).at(0);
  }
};
FETTLE_FOR_BOTH_STORES(SchedulesTest);

TEST_P(SchedulesTest, AScheduleEnqueuesOnceAtEachTime) {
  set({.name = "morning", .cron = "30 8 * * *", .run = {.workflow = "digest", .client = "acme", .payload = "[1]"}});
  EXPECT_EQ(tick(29min).scheduled, 0);
  EXPECT_EQ(tick(1min).scheduled, 1);
  EXPECT_EQ(tick().scheduled, 0);
  const LeasedRun leased = take().at(0);
  EXPECT_EQ(leased.workflow, "digest");
  EXPECT_EQ(leased.payload, "[1]");
  EXPECT_EQ(only().last_run_number, parse_run_number(leased.id.value));
  EXPECT_EQ(format_rfc3339(*only().next_at), "2027-01-16T08:30:00Z");
  EXPECT_TRUE(journal.has_audit("schedule.set"));
}

TEST_P(SchedulesTest, TimesThatWereMissedAreMadeUpForOnceOrNotAtAll) {
  set({.name = "often", .cron = "*/5 * * * *", .run = {.workflow = "a"}});
  EXPECT_EQ(tick(3h).scheduled, 1);
  run([](Unit& unit) { return remove_schedule(unit, "often", "enough"); });
  set({.name = "fresh", .cron = "*/5 * * * *", .run = {.workflow = "b"}, .catch_up = false});
  EXPECT_EQ(tick(3h + 2min).scheduled, 0);
  EXPECT_EQ(tick(3min).scheduled, 1);
}

TEST_P(SchedulesTest, APausedScheduleFiresNothingAndForgetsWhatPassed) {
  set({.name = "x", .cron = "@hourly", .run = {.workflow = "a"}});
  run([](Unit& unit) { return pause_schedule(unit, "x", true, "holiday"); });
  EXPECT_EQ(tick(5h).scheduled, 0);
  run([](Unit& unit) { return pause_schedule(unit, "x", false, "back"); });
  EXPECT_EQ(tick().scheduled, 0);
  EXPECT_EQ(tick(1h).scheduled, 1);
}

TEST_P(SchedulesTest, WhatCannotRunIsRefusedWhenItIsSet) {
  const auto refused = [&](ScheduleRequest request) {
    return error_of([&](Unit& unit) { return set_schedule(unit, request); });
  };
  EXPECT_EQ(refused({.name = "x", .cron = "nope", .run = {.workflow = "a"}}), ErrorCode::kInvalidArgument);
  EXPECT_EQ(refused({.name = "x", .cron = "@daily", .time_zone = "Mars", .run = {.workflow = "a"}}),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(refused({.name = "x", .cron = "@daily"}), ErrorCode::kInvalidArgument);
  EXPECT_EQ(refused({.cron = "@daily", .run = {.workflow = "a"}}), ErrorCode::kInvalidArgument);
  EXPECT_EQ(error_of([](Unit& unit) { return remove_schedule(unit, "none", "x"); }), ErrorCode::kNotFound);
}

// ---- workers -------------------------------------------------------------------------------------------------------

TEST_P(SchedulesTest, AWorkersStateFollowsItsLeasesAndWhenItWasHeardOf) {
  const auto workers = [&] {
    return run([](Unit& unit) -> Result<PageOf<Worker>> { return list_workers(unit); }).items;
  };
  run([](Unit& unit) { return register_worker(unit, {.id = WorkerId{"w1"}, .capacity = 4}); });
  EXPECT_EQ(workers().at(0).state, WorkerState::kFree);
  add_one();
  take(1, "w1");
  EXPECT_EQ(workers().at(0).state, WorkerState::kBusy);
  EXPECT_EQ(workers().at(0).in_use, 1);
  run([](Unit& unit) { return drain_worker(unit, WorkerId{"w1"}, true, "update"); });
  EXPECT_EQ(workers().at(0).state, WorkerState::kDraining);
  EXPECT_TRUE(run([](Unit& unit) { return beat_worker(unit, WorkerId{"w1"}, true); }).drain);
  const auto pools = run([](Unit& unit) -> Result<std::vector<PoolCapacity>> { return pool_capacity(unit); });
  EXPECT_EQ(pools.at(0).capacity, 4);
  EXPECT_EQ(pools.at(0).in_use, 1);
  clock.advance(31s);
  EXPECT_EQ(workers().at(0).state, WorkerState::kLost);
  EXPECT_EQ(run([](Unit& unit) { return beat_worker(unit, WorkerId{"other"}, true); }).applied, Applied::kUnknown);
}

// ---- plans of queries

TEST_P(SchedulesTest, UpkeepLooksOnlyAtWhatIsLive) {
  if (GetParam() == db::Dialect::kPostgres) return;  // it gathers its own statistics
  const auto plan = [&](const std::string& query) {
    return *runs->read_and_wait(scope, [&](View& view) -> Result<std::string> {
      const std::string sql = "EXPLAIN QUERY PLAN " + query;
      std::int64_t id = 0, parent = 0, unused = 0;
      std::string detail;
      view.first(db::Sql::assembled(sql), {}, id, parent, unused, detail);
      return detail;
    });
  };
  for (const auto& [query, index] : std::vector<std::pair<std::string, std::string>>{
           {"SELECT DISTINCT workspace FROM runs WHERE due_at <= 5 AND state = 1", "runs_due"},
           {"SELECT DISTINCT workspace FROM runs WHERE lease_until <= 5", "runs_leased"},
           {"SELECT id, lane FROM runs WHERE lease_until <= 5 AND workspace = 'a' ORDER BY lease_until", "runs_leased"},
           {"SELECT id, lane FROM runs WHERE workspace = 'a' AND (state = 5 OR state = 6) ORDER BY id",
            "runs_to_look_at"},
           {"SELECT id, lane FROM runs WHERE workspace = 'a' AND state = 3 AND kind = 1", "runs_running"},
           {"UPDATE workflow_failures SET status = 'x' WHERE workspace = 'a' AND run = 7 AND status = 'open'",
            "workflow_failures_by_run"},
       }) {
    EXPECT_NE(plan(query).find(index), std::string::npos) << query << ": " << plan(query);
  }
}

// ---- usage ---------------------------------------------------------------------------------------------------------

TEST_P(SchedulesTest, WhatAMonthUsedIsTheSumOfWhatItsRunsReported) {
  const auto usage = [&] { return run([](Unit& unit) -> Result<Usage> { return usage_of(unit); }); };
  add_one();
  const LeasedRun leased = take().at(0);
  EXPECT_EQ(usage().running, 1);
  const Completion completion{leased.id, leased.attempt, "", 1'000, 0.25};
  run([&](Unit& unit) { return complete(unit, std::span(&completion, 1)); });
  EXPECT_EQ(usage().running, 0);
  EXPECT_EQ(usage().month_tokens, 1'000);
  EXPECT_EQ(usage().month_micro_usd, 250'000);
  clock.advance(24h * 31);
  EXPECT_EQ(usage().month_tokens, 0);
}

}  // namespace
}  // namespace fettle::runs
