#include "runs/operate.h"

#include <gtest/gtest.h>

#include "runs/bulk.h"
#include "runs/testing.h"

namespace fettle::runs {
namespace {

using namespace std::chrono_literals;

class OperateTest : public RunsTestBase {
 protected:
  RunId dead(const std::string& client = "acme") {
    const RunId id = add({.workflow = "publish", .client = client});
    break_off(take().at(0), {.message = "no", .http_status = 400});
    return id;
  }
};
FETTLE_FOR_BOTH_STORES(OperateTest);

TEST_P(OperateTest, ADeadRunIsRetriedWithANewChain) {
  const RunId id = dead();
  run([&](Unit& unit) { return retry_run(unit, id, RetryFrom::kFailedStep, "fixed"); });
  EXPECT_EQ(error_of([&](Unit& unit) { return retry_run(unit, id, RetryFrom::kFailedStep, "fixed"); }),
            ErrorCode::kConflict);
  EXPECT_EQ(column(id, "retry_count"), "1");
  for (int i = 0; i < 4; ++i) {
    break_off(take().at(0), {.message = "503", .http_status = 503});
    tick(60s);
  }
  EXPECT_EQ(state_of(id), RunState::kDead);
  EXPECT_EQ(column(id, "retry_count"), "4") << "one by a person, three of its own chain";
  EXPECT_TRUE(journal.has_audit("run.retry"));
}

TEST_P(OperateTest, ADiscardedRunResolvesItsFailuresAndStays) {
  const RunId id = dead();
  EXPECT_EQ(count("workflow_failures WHERE status = 'open'"), 1);
  run([&](Unit& unit) { return discard_run(unit, id, "test data"); });
  EXPECT_EQ(state_of(id), RunState::kDiscarded);
  EXPECT_EQ(count("workflow_failures WHERE status = 'open'"), 0);
  EXPECT_EQ(column(id, "failure_reason"), "not_retryable");
}

TEST_P(OperateTest, DecisionsNeedAReasonAndARun) {
  const RunId id = dead();
  EXPECT_EQ(error_of([&](Unit& unit) { return discard_run(unit, id, ""); }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(error_of([&](Unit& unit) { return discard_run(unit, RunId{"run_0000000000000"}, "x"); }),
            ErrorCode::kNotFound);
  EXPECT_EQ(error_of([&](Unit& unit) { return force_run(unit, id, RunState::kReady, "x"); }),
            ErrorCode::kInvalidArgument);
  scope.clients = {ClientId{"other"}};
  EXPECT_EQ(error_of([&](Unit& unit) { return discard_run(unit, id, "x"); }), ErrorCode::kNotFound);
}

TEST_P(OperateTest, AnyRunCanBeForcedAndItsWorkerIsLate) {
  const RunId id = add_one();
  const LeasedRun leased = take().at(0);
  run([&](Unit& unit) { return force_run(unit, id, RunState::kSucceeded, "done by hand"); });
  EXPECT_EQ(state_of(id), RunState::kSucceeded);
  EXPECT_EQ(break_off(leased).applied, Applied::kLate);
  EXPECT_TRUE(journal.has_audit("run.force"));
}

TEST_P(OperateTest, ACancelledRunEndsWhereverItIs) {
  const RunId ready = add_one();
  run([&](Unit& unit) { return cancel_run(unit, ready, "no"); });
  const RunId running = add_one();
  const LeasedRun leased = take().at(0);
  ASSERT_EQ(leased.id, running);
  run([&](Unit& unit) { return cancel_run(unit, running, "no"); });
  EXPECT_EQ(finish(leased), Applied::kLate);
  EXPECT_EQ(state_of(running), RunState::kCancelled);
  EXPECT_EQ(error_of([&](Unit& unit) { return cancel_run(unit, running, "no"); }), ErrorCode::kConflict);
}

TEST_P(OperateTest, APausedRunWaitsForItsResume) {
  const RunId id = add_one();
  const LeasedRun leased = take().at(0);
  run([&](Unit& unit) { return pause_run(unit, id, "look first"); });
  EXPECT_EQ(finish(leased), Applied::kLate);
  tick(1h);
  EXPECT_TRUE(take().empty());
  run([&](Unit& unit) { return resume_run(unit, id, "fine"); });
  EXPECT_EQ(take().at(0).retry_count, 0);
  EXPECT_EQ(error_of([&](Unit& unit) { return resume_run(unit, id, "fine"); }), ErrorCode::kConflict);
}

TEST_P(OperateTest, ARunPausedBeforeItsTimeStillWaitsForIt) {
  const RunId id = add({.workflow = "a", .start_at = kStart + 60 * kNanosPerSecond});
  run([&](Unit& unit) { return pause_run(unit, id, "x"); });
  run([&](Unit& unit) { return resume_run(unit, id, "x"); });
  EXPECT_TRUE(take().empty());
  tick(60s);
  EXPECT_EQ(take().size(), 1U);
}

// ---- bulk ----------------------------------------------------------------------------------------------------------

TEST_P(OperateTest, ABulkRetryTakesWhatMatchedWhenItBegan) {
  for (int i = 0; i < 7; ++i) dead("acme");
  const RunId other = dead("other");
  const BulkJob job =
      run([](Unit& unit) { return start_bulk(unit, {.filter = {.client = "acme"}, .reason = "API is back"}); });
  EXPECT_EQ(job.total, 7);
  clock.advance(1s);
  const RunId later = dead("acme");
  EXPECT_EQ(tick().bulk_items, 7);
  const auto look = [&](View& view) -> Result<std::optional<BulkJob>> { return get_bulk(view, job.id); };
  const auto done = *runs->read_and_wait(scope, look);
  EXPECT_EQ(done->state, BulkState::kFinished);
  EXPECT_EQ(done->done, 7);
  EXPECT_EQ(state_of(other), RunState::kDead);
  EXPECT_EQ(state_of(later), RunState::kDead);
  // One fails again: it heads the report.
  const auto leased = take(10);
  ASSERT_EQ(leased.size(), 7U);
  for (std::size_t i = 0; i < 6; ++i) finish(leased[i]);
  break_off(leased[6], {.message = "no", .http_status = 400});
  const auto report = *runs->read_and_wait(
      scope, [&](View& view) -> Result<std::vector<BulkRun>> { return list_bulk_runs(view, job.id); });
  ASSERT_EQ(report.size(), 7U);
  EXPECT_EQ(report[0].run, leased[6].id);
  EXPECT_EQ(report[0].state, RunState::kDead);
  EXPECT_EQ(report[1].state, RunState::kSucceeded);
}

TEST_P(OperateTest, AnAbortedBulkJobStopsWhereItIs) {
  runs.reset();
  runs = std::make_unique<Runs>(*database, clock, rng, journal, Runs::Options{{}, {.items_max = 2, .rounds_max = 1}});
  for (int i = 0; i < 5; ++i) dead();
  const BulkJob job =
      run([](Unit& unit) { return start_bulk(unit, {.action = BulkAction::kDiscard, .reason = "old"}); });
  EXPECT_EQ(tick().bulk_items, 2);
  const BulkJob aborted = run([&](Unit& unit) { return abort_bulk(unit, job.id, "wrong filter"); });
  EXPECT_EQ(aborted.done, 2);
  EXPECT_EQ(tick().bulk_items, 0);
  EXPECT_EQ(count("runs WHERE state = 8"), 2);
  EXPECT_EQ(count("runs WHERE state = 6"), 3);
  EXPECT_EQ(error_of([&](Unit& unit) { return abort_bulk(unit, job.id, "again"); }), ErrorCode::kConflict);
}

}  // namespace
}  // namespace fettle::runs
