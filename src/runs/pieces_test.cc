// What is much is done in pieces: kills of thousands of leases, a night's upkeep, a worker for thousands of workflows.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <future>
#include <set>
#include <thread>

#include "runs/approvals.h"
#include "runs/bulk.h"
#include "runs/limits.h"
#include "runs/operate.h"
#include "runs/schedules.h"
#include "runs/steps.h"
#include "runs/switches.h"
#include "runs/testing.h"

namespace fettle::runs {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kPiece = UpkeepOptions{}.items_max;
constexpr std::size_t kEventsOfItemMax = 4;

// Counts the statements of a body.
class CountingTransaction final : public db::Transaction {
 public:
  explicit CountingTransaction(db::Transaction& inner) : inner_(inner) {}
  db::Dialect dialect() const override { return inner_.dialect(); }
  Result<db::Rows> query(const db::Sql& sql, db::Params params) override {
    ++statements;
    auto rows = inner_.query(sql, params);
    if (rows) rows_read += static_cast<std::int64_t>(rows->size());
    return rows;
  }
  Result<void> each(const db::Sql& sql, db::Params params,
                    const std::function<Result<void>(const db::Row&)>& row) override {
    ++statements;
    return inner_.each(sql, params, row);
  }
  Result<std::int64_t> execute(const db::Sql& sql, db::Params params) override {
    ++statements;
    return inner_.execute(sql, params);
  }
  Result<std::int64_t> execute_many(const db::Sql& sql, std::size_t width, std::span<const db::Value> rows) override {
    ++statements;
    return inner_.execute_many(sql, width, rows);
  }
  int statements = 0;
  std::int64_t rows_read = 0;

 private:
  db::Transaction& inner_;
};

class PiecesTest : public RunsTestBase {
 protected:
  void add_many(int count, const std::function<EnqueueRequest(int)>& make) {
    for (int i = 0; i < count;) {
      std::vector<EnqueueRequest> requests;
      for (; i < count && requests.size() < 1'000; ++i) requests.push_back(make(i));
      run([&](Unit& unit) { return enqueue(unit, requests); });
    }
  }
  // `count` leases of a client.
  void lease_many(int count, const std::string& client) {
    add_many(count, [&](int) { return EnqueueRequest{.workflow = "publish", .client = client}; });
    for (int leased = 0; leased < count;) {
      const auto taken =
          run([&](Unit& unit) { return lease(unit, {.worker = WorkerId{"w1"}, .runs_max = 1'000, .duration = 1h}); });
      ASSERT_FALSE(taken.runs.empty());
      leased += static_cast<int>(taken.runs.size());
    }
  }
  Switch look(const std::string& id) {
    return *run([&](Unit& unit) -> Result<std::optional<Switch>> { return get_switch(unit, id); });
  }
  void with(Runs::Options options) {
    runs->close();
    runs.reset();
    runs = std::make_unique<Runs>(*database, clock, rng, journal, std::move(options));
  }
};
FETTLE_FOR_BOTH_STORES(PiecesTest);

// ---- kill switches -------------------------------------------------------------------------------------------------

TEST_P(PiecesTest, AKillOfTenThousandLeasesStopsLeasingAtOnceAndTakesThemInPieces) {
  lease_many(10'000, "acme");
  add({.workflow = "publish", .client = "acme"});
  journal = {};
  const Switch thrown =
      run([](Unit& unit) { return throw_switch(unit, {.reach = {.client = "acme"}, .reason = "wrong account"}); });
  EXPECT_EQ(thrown.in_flight, 10'000);
  EXPECT_TRUE(thrown.is_revoking);
  EXPECT_EQ(journal.largest, 1U) << "the switch is a transaction of its own";
  EXPECT_TRUE(take(10).empty()) << "nothing new starts, whatever is still to be taken";
  EXPECT_EQ(tick().revoked, 10'000);
  EXPECT_LE(journal.largest, kPiece * kEventsOfItemMax);
  EXPECT_EQ(look(thrown.id).revoked, 10'000);
  EXPECT_EQ(look(thrown.id).in_flight, 0);
  EXPECT_FALSE(look(thrown.id).is_revoking);
  EXPECT_EQ(count("runs WHERE state = 3"), 0);
  EXPECT_TRUE(journal.has_event("switch.revoked"));
}

TEST_P(PiecesTest, AKillThatWasCutOffGoesOnWhereItWas) {
  with({.limits = {}, .upkeep = {.items_max = 10, .rounds_max = 2}, .revokes_at_once = false});
  lease_many(50, "acme");
  lease_many(5, "other");
  const Switch thrown =
      run([](Unit& unit) { return throw_switch(unit, {.reach = {.client = "acme"}, .reason = "wrong account"}); });
  EXPECT_EQ(tick().revoked, 20);
  EXPECT_EQ(look(thrown.id).revoked, 20);
  EXPECT_EQ(look(thrown.id).in_flight, 30);
  EXPECT_TRUE(look(thrown.id).is_revoking);
  // Whoever did it is gone; another takes its place.
  with({.limits = {}, .upkeep = {}, .revokes_at_once = false});
  EXPECT_EQ(tick().revoked, 30);
  EXPECT_EQ(look(thrown.id).revoked, 50);
  EXPECT_FALSE(look(thrown.id).is_revoking);
  EXPECT_EQ(count("runs WHERE state = 3 AND client = 'other'"), 5);
  EXPECT_EQ(tick().revoked, 0);
}

TEST_P(PiecesTest, ALiftedKillTakesNoMore) {
  with({.limits = {}, .upkeep = {.items_max = 10, .rounds_max = 1}, .revokes_at_once = false});
  lease_many(30, "acme");
  const Switch thrown =
      run([](Unit& unit) { return throw_switch(unit, {.reach = {.client = "acme"}, .reason = "wrong account"}); });
  EXPECT_EQ(tick().revoked, 10);
  run([&](Unit& unit) { return lift_switch(unit, thrown.id, "it was right"); });
  EXPECT_EQ(tick().revoked, 0);
  EXPECT_EQ(count("runs WHERE state = 3"), 20);
}

TEST_P(PiecesTest, TheLeasesOfAKillAreTakenWithoutWaitingForUpkeep) {
  lease_many(600, "acme");
  with({});
  const Switch thrown =
      run([](Unit& unit) { return throw_switch(unit, {.reach = {.client = "acme"}, .reason = "wrong account"}); });
  // Others come in between, so the pieces end after some transactions of theirs.
  for (int i = 0; i < 10'000 && look(thrown.id).is_revoking; ++i) std::this_thread::yield();
  EXPECT_EQ(look(thrown.id).revoked, 600);
}

// ---- upkeep --------------------------------------------------------------------------------------------------------

TEST_P(PiecesTest, WhatIsDueByThousandsIsDoneInSmallTransactions) {
  constexpr int kMany = 1'500;
  add_many(kMany, [&](int) { return EnqueueRequest{.workflow = "later", .start_at = kStart + kNanosPerSecond}; });
  lease_many(kMany, "acme");
  run([](Unit& unit) -> Result<void> {
    for (int i = 0; i < kMany; ++i) {
      if (auto made = open_approval(unit, {.title = "?", .expires_in = 1s}); !made)
        return std::unexpected(made.error());
    }
    return {};
  });
  journal = {};
  const UpkeepReport report = tick(2h);
  EXPECT_EQ(report.woken, kMany);
  EXPECT_EQ(report.expired_leases, kMany);
  EXPECT_EQ(report.expired_approvals, kMany);
  EXPECT_FALSE(report.more);
  EXPECT_LE(journal.largest, kPiece * kEventsOfItemMax);
  EXPECT_EQ(tick().expired_leases, 0);
}

TEST_P(PiecesTest, ARunThatIsDueWithManyOthersFindsItsSleepOver) {
  with({.limits = {}, .upkeep = {.items_max = 3}, .revokes_at_once = false});
  for (int i = 0; i < 10; ++i) add_one();
  for (const LeasedRun& one : take(10)) {
    EXPECT_EQ(run([&](Unit& unit) {
                return sleep_step(unit, {one.id, one.attempt, "nap"}, unit.now() + 60 * kNanosPerSecond);
              }).state,
              StepAnswer::kParked);
  }
  tick(2min);
  EXPECT_EQ(count("runs WHERE state = 0"), 10);
  EXPECT_EQ(count("run_steps WHERE state = 1"), 10);
}

TEST_P(PiecesTest, EachLimitLetsGoWhatItHasRoomForAndNotMoreInEachPiece) {
  with({.limits = {}, .upkeep = {.items_max = 4}, .revokes_at_once = false});
  run([](Unit& unit) {
    return set_limit(unit, {.dimension = LimitDimension::kClient, .rate_max = 2, .rate_period = 1min});
  });
  add_many(40, [](int i) { return EnqueueRequest{.workflow = "w", .client = i % 2 == 0 ? "a" : "b"}; });
  const LeaseRequest all{.worker = WorkerId{"w1"}, .runs_max = 40, .duration = 1h};
  EXPECT_EQ(run([&](Unit& unit) { return lease(unit, all); }).runs.size(), 4U);
  EXPECT_EQ(tick(2min).readied, 4) << "two of each client";
  EXPECT_EQ(count("runs WHERE state = 2"), 32);
  run([](Unit& unit) { return remove_limit(unit, LimitDimension::kClient, "*"); });
  EXPECT_EQ(tick().readied, 32);
}

TEST_P(PiecesTest, NoWorkspaceWaitsForOneThatHasMuchToDo) {
  with({.limits = {}, .upkeep = {.items_max = 5, .rounds_max = 1}, .revokes_at_once = false});
  add_many(50, [&](int) { return EnqueueRequest{.workflow = "later", .start_at = kStart + kNanosPerSecond}; });
  scope.workspace = WorkspaceId{"zebra"};
  add({.workflow = "later", .start_at = kStart + kNanosPerSecond});
  EXPECT_EQ(tick(2s).woken, 6);
}

// ---- a worker for every workflow -----------------------------------------------------------------------------------

TEST_P(PiecesTest, ALeaseForEveryWorkflowCostsTheSameWithTwentyThousandOfThem) {
  add_many(20'000, [](int i) { return EnqueueRequest{.workflow = fmt::format("w{:05}", i)}; });
  NumberSource numbers(clock, 1);
  const SizeLimits limits;
  const Stamp stamp{clock.now(), 1};
  int statements = 0;
  std::int64_t rows = 0;
  run([&](Unit& unit) -> Result<Leased> {
    CountingTransaction counting(unit.tx());
    Unit counted(counting, scope, actor, stamp, numbers, limits);
    auto leased = lease(counted, {.worker = WorkerId{"w1"}});
    statements = counting.statements;
    rows = counting.rows_read;
    return leased;
  });
  EXPECT_LE(statements, 300);
  EXPECT_LE(rows, 600);
}

TEST_P(PiecesTest, EveryWorkflowHasItsTurnHoweverManyThereAre) {
  add_many(600, [](int i) { return EnqueueRequest{.workflow = fmt::format("w{:03}", i)}; });
  std::set<std::string> seen;
  LeaseRequest request{.worker = WorkerId{"w1"}, .runs_max = 256};
  for (int i = 0; i < 3; ++i) {
    const Leased leased = run([&](Unit& unit) { return lease(unit, request); });
    for (const LeasedRun& one : leased.runs) seen.insert(one.workflow);
    request.workflows_after = leased.workflows_next;
  }
  EXPECT_EQ(seen.size(), 600U);
}

TEST_P(PiecesTest, WhatWaitsInTheLastOfManyWorkflowsIsLeasedAfterAFewCalls) {
  add_many(600, [](int i) { return EnqueueRequest{.workflow = fmt::format("w{:03}", i)}; });
  add({.workflow = "zz", .priority = -100});
  bool found = false;
  for (int i = 0; i < 3 && !found; ++i) {
    std::promise<Leased> promise;
    runs->lease_when_ready(scope, actor, {.worker = WorkerId{"w1"}}, clock.monotonic(),
                           Runs::Done<Leased>([&](Result<Leased> leased) { promise.set_value(std::move(*leased)); }));
    const Leased leased = promise.get_future().get();
    ASSERT_EQ(leased.runs.size(), 1U);
    found = leased.runs[0].workflow == "zz";
  }
  EXPECT_TRUE(found);
}

// ---- bulk jobs -----------------------------------------------------------------------------------------------------

TEST_P(PiecesTest, ABulkJobTakesWhatAReplicaWithAClockAheadMadeAndKilled) {
  clock.advance(1h);
  add_one();
  break_off(take().at(0), {.message = "no", .http_status = 400});
  clock.advance(-1h);  // whoever begins the job is behind
  const BulkJob job = run([](Unit& unit) { return start_bulk(unit, {.reason = "API is back"}); });
  EXPECT_EQ(job.total, 1);
  EXPECT_EQ(tick().bulk_items, 1);
}

}  // namespace
}  // namespace fettle::runs
