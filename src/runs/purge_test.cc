#include "runs/purge.h"

#include <gtest/gtest.h>

#include "runs/erase.h"
#include "runs/observed.h"
#include "runs/operate.h"
#include "runs/records.h"
#include "runs/side_effects.h"
#include "runs/steps.h"
#include "runs/testing.h"
#include "runs/workers.h"

namespace fettle::runs {
namespace {

using namespace std::chrono_literals;

class PurgeTest : public RunsTestBase {
 protected:
  Purged purge_all(PurgeOptions options = {}) {
    Purged all;
    for (;;) {
      const auto one = runs->purge_and_wait(options);
      EXPECT_TRUE(one) << one.error().message();
      if (!one) return all;
      all += *one;
      if (!one->more) return all;
    }
  }
  void finish_one() {
    add_one();
    finish(take().at(0), "{}");
  }
};
FETTLE_FOR_BOTH_STORES(PurgeTest);

TEST_P(PurgeTest, AFinishedRunGoesWithEverythingAboutItOnceItIsOld) {
  add_one();
  const LeasedRun leased = take().at(0);
  run([&](Unit& unit) { return complete_step(unit, {leased.id, leased.attempt, "a"}, {.result = "1"}); });
  break_off(leased, {.message = "503", .http_status = 503});
  tick(60s);
  finish(take().at(0), "{}");
  clock.advance(std::chrono::hours(24 * 90) - 1s);
  EXPECT_EQ(purge_all().total(), 0) << "it finished less than 90 days ago";
  clock.advance(2s);
  EXPECT_EQ(purge_all().runs, 1);
  for (const char* table : {"runs", "run_data", "run_steps", "run_attempts", "workflow_failures"}) {
    EXPECT_EQ(count(table), 0) << table;
  }
}

TEST_P(PurgeTest, WhatIsNotOverOrWaitsForAPersonStays) {
  add_one("ready");
  add({.workflow = "later", .start_at = kStart + 400LL * 24 * 3'600 * kNanosPerSecond});
  const RunId dead = add_one("dead");
  for (const LeasedRun& one : take(2)) {
    if (one.id == dead) break_off(one, {.message = "no", .http_status = 400});
  }
  run([](Unit& unit) { return start_observed(unit, {.run_id = "o", .workflow = "w"}); });
  run([](Unit& unit) { return end_observed(unit, {.run_id = "o", .succeeded = false}); });
  const std::int64_t before = count("runs");
  clock.advance(std::chrono::hours(24 * 200));
  EXPECT_EQ(purge_all().runs, 0);
  EXPECT_EQ(count("runs"), before);
  run([&](Unit& unit) { return discard_run(unit, dead, "seen"); });
  EXPECT_EQ(purge_all().runs, 0) << "its time begins now";
  clock.advance(std::chrono::hours(24 * 91));
  EXPECT_EQ(purge_all().runs, 1);
}

TEST_P(PurgeTest, APieceIsBoundedAndTheNextGoesOnBehindIt) {
  for (int i = 0; i < 7; ++i) finish_one();
  clock.advance(std::chrono::hours(24 * 91));
  const PurgeOptions options{.items_max = 3};
  const auto first = runs->purge_and_wait(options);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->runs, 3);
  EXPECT_TRUE(first->more);
  EXPECT_EQ(purge_all(options).runs, 4);
  EXPECT_EQ(count("runs"), 0);
}

TEST_P(PurgeTest, OldRecordsWorkersAndSignalsGo) {
  run([](Unit& unit) { return write_record(unit, Collection::kAgentLogs, "", R"({"message":"m"})"); });
  run([](Unit& unit) { return write_record(unit, Collection::kAgentRuns, "kept", R"({"status":"running"})"); });
  run([](Unit& unit) { return write_record(unit, Collection::kWorkflowFailures, "", R"({"status":"resolved"})"); });
  run([](Unit& unit) { return write_record(unit, Collection::kWorkflowFailures, "", R"({"message":"open"})"); });
  run([](Unit& unit) { return register_worker(unit, {.id = WorkerId{"w1"}}); });
  run([](Unit& unit) { return signal(unit, "paid", "k", "{}"); });
  clock.advance(std::chrono::hours(24 * 91));
  run([](Unit& unit) { return write_record(unit, Collection::kAgentRuns, "kept", R"({"status":"ended"})"); });
  const Purged purged = purge_all();
  EXPECT_EQ(purged.records, 1);
  EXPECT_EQ(purged.failures, 1);
  EXPECT_EQ(purged.workers, 1);
  EXPECT_EQ(purged.signals, 1);
  EXPECT_EQ(count("records"), 1) << "what was written lately stays";
  EXPECT_EQ(count("workflow_failures"), 1) << "what is open stays";
}

TEST_P(PurgeTest, AClientsPersonalDataIsErasedAndItsWorkStays) {
  const RunId mine = add({.workflow = "w", .client = "c1", .payload = R"({"email":"a@b.example"})"});
  const RunId other = add({.workflow = "w", .client = "c2", .payload = R"({"email":"x@y.example"})"});
  for (const LeasedRun& one : take(2)) {
    run([&](Unit& unit) { return complete_step(unit, {one.id, one.attempt, "a"}, {.result = R"("a@b.example")"}); });
    finish(one, R"({"to":"a@b.example"})");
  }
  run([](Unit& unit) {
    return write_record(unit, Collection::kAgentLogs, "", R"({"clientId":"c1","message":"a@b.example"})");
  });
  const EffectRequest effect{.client = "c1", .action = "mail", .payload_hash = "h", .token = "t"};
  const std::string sent = run([&](Unit& unit) { return reserve(unit, effect); }).id;
  run([&](Unit& unit) { return commit_effect(unit, sent, "t", {.proof = {}, .result = R"({"to":"a@b.example"})"}); });
  for (const char* client : {"c1", "c2"}) {
    scope.clients = {ClientId{client}};
    run([](Unit& unit) { return signal(unit, "reply", "k", R"({"from":"a@b.example"})"); });
  }
  scope.clients = {};
  run([](Unit& unit) { return signal(unit, "reply", "c1", "{}"); });
  const RunId running = add({.workflow = "w", .client = "c1", .payload = R"({"email":"a@b.example"})"});
  const auto erase = [&] { return run([](Unit& unit) { return erase_client(unit, "c1"); }); };
  const Erased erased = erase();
  EXPECT_EQ(erased.runs, 1);
  EXPECT_EQ(erased.records, 1);
  EXPECT_EQ(erased.effects, 1);
  EXPECT_EQ(erased.signals, 1);
  EXPECT_EQ(erase().total(), 0);
  EXPECT_EQ(count("side_effects WHERE state = 1 AND result IS NULL"), 1) << "that it was done stays";
  EXPECT_EQ(count("run_signals"), 2) << "another client's, and one of nobody's whose key is a word alike";
  EXPECT_EQ(count("run_data WHERE payload LIKE '%a@b.example%'"), 1) << "what is not over needs what it was given";
  EXPECT_EQ(count("run_data WHERE result LIKE '%a@b.example%'"), 1) << "the other client's";
  EXPECT_EQ(count("run_steps WHERE result IS NOT NULL"), 1) << "the other client's";
  EXPECT_EQ(count("run_data WHERE payload LIKE '%x@y.example%'"), 1);
  EXPECT_EQ(state_of(mine), RunState::kSucceeded);
  EXPECT_EQ(state_of(other), RunState::kSucceeded);
  run([&](Unit& unit) { return cancel_run(unit, running, "erased"); });
  EXPECT_EQ(erase().runs, 1);
  scope.clients = {ClientId{"c2"}};
  EXPECT_EQ(error_of([](Unit& unit) { return erase_client(unit, "c1"); }), ErrorCode::kPermissionDenied);
}

}  // namespace
}  // namespace fettle::runs
