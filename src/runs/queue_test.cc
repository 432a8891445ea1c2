#include "runs/queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "runs/limits.h"
#include "runs/retry_policies.h"
#include "runs/switches.h"
#include "runs/testing.h"
#include "runs/workers.h"

namespace fettle::runs {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

class QueueTest : public RunsTestBase {};
FETTLE_FOR_BOTH_STORES(QueueTest);

TEST_P(QueueTest, ARunIsLeasedWithItsPayloadAndCompletedOnce) {
  const RunId id =
      add({.workflow = "publish", .client = "acme", .payload = R"({"post":7})", .context = R"({"a":"b"})"});
  const std::vector<LeasedRun> leased = take();
  ASSERT_EQ(leased.size(), 1U);
  EXPECT_EQ(leased[0].id, id);
  EXPECT_EQ(leased[0].attempt, 1);
  EXPECT_EQ(leased[0].payload, R"({"post":7})");
  EXPECT_EQ(leased[0].context, R"({"a":"b"})");
  EXPECT_EQ(leased[0].max_retries, 3);
  EXPECT_TRUE(take().empty());
  EXPECT_EQ(finish(leased[0], R"({"url":"u"})"), Applied::kApplied);
  EXPECT_EQ(state_of(id), RunState::kSucceeded);
  EXPECT_TRUE(take().empty());
  EXPECT_TRUE(journal.has_event("run.enqueued"));
  EXPECT_TRUE(journal.has_event("run.started"));
  EXPECT_TRUE(journal.has_event("run.succeeded"));
  EXPECT_TRUE(journal.has_audit("run.succeeded"));
}

TEST_P(QueueTest, SuccessesOfOneCallThatDifferInNothingElseShareAnAuditThatNamesEach) {
  std::set<std::string> of_acme;
  for (int i = 0; i < 3; ++i) of_acme.insert(add({.workflow = "publish", .client = "acme"}).value);
  const RunId alone = add({.workflow = "publish", .client = "zenith"});
  const std::vector<LeasedRun> leased = take(10);
  std::vector<Completion> completions;
  for (const LeasedRun& one : leased) completions.push_back({one.id, one.attempt});
  run([&](Unit& unit) { return complete(unit, completions); });
  std::erase_if(journal.audits, [](const Audit& audit) { return audit.action != "run.succeeded"; });
  ASSERT_EQ(journal.audits.size(), 2U);
  const Audit& shared = journal.audits[0].target_ids.empty() ? journal.audits[1] : journal.audits[0];
  const Audit& own = journal.audits[0].target_ids.empty() ? journal.audits[0] : journal.audits[1];
  EXPECT_EQ(std::set<std::string>(shared.target_ids.begin(), shared.target_ids.end()), of_acme);
  EXPECT_EQ(shared.target_id, "");
  EXPECT_EQ(shared.identifiers, (Identifiers{{"workflow", "publish"}, {"client_id", "acme"}}));
  EXPECT_EQ(own.target_id, alone.value);
  EXPECT_EQ(own.identifiers.at(0), (Identifier{"run_id", alone.value}));
}

TEST_P(QueueTest, AResultOfNothingLeavesNoResultOfAnEarlierAttempt) {
  const RunId id = add_one();
  EXPECT_EQ(finish(take().at(0), "null"), Applied::kApplied);
  EXPECT_EQ(count("run_data WHERE result IS NULL"), 1);
  run([&](Unit& unit) -> Result<void> {
    unit.execute("UPDATE run_data SET result = '1' WHERE workspace = $1", {unit.workspace()});
    unit.execute("UPDATE runs SET state = 0 WHERE workspace = $1", {unit.workspace()});
    return {};
  });
  const LeasedRun again = take().at(0);
  EXPECT_EQ(again.attempt, 2);
  EXPECT_EQ(finish(again, "null"), Applied::kApplied);
  EXPECT_EQ(count("run_data WHERE result = 'null'"), 1);
}

TEST_P(QueueTest, OfSeveralWorkflowsTheFirstByPriorityAndAgeAreLeased) {
  add({.workflow = "c", .priority = 1});
  const RunId second = add({.workflow = "b"});
  const RunId third = add({.workflow = "a"});
  const RunId first = add({.workflow = "z", .priority = -1});
  const auto ids = [](const std::vector<LeasedRun>& leased) {
    std::vector<std::string> out;
    for (const LeasedRun& one : leased) out.push_back(one.id.value);
    return out;
  };
  EXPECT_EQ(ids(take(2)), (std::vector<std::string>{first.value, second.value}));
  const auto named = run([&](Unit& unit) {
    return lease(unit, {.worker = WorkerId{"w1"}, .workflows = {"c", "a", "none"}, .runs_max = 1});
  });
  EXPECT_EQ(ids(named.runs), (std::vector<std::string>{third.value}));
  EXPECT_EQ(take(5).size(), 1U);
  EXPECT_TRUE(take(5).empty());
}

TEST_P(QueueTest, ACompletionSentTwiceIsAppliedOnceAndAnsweredTheSame) {
  add_one();
  const LeasedRun leased = take().at(0);
  EXPECT_EQ(finish(leased), Applied::kApplied);
  const std::size_t audits = journal.audits.size();
  EXPECT_EQ(finish(leased), Applied::kApplied);
  EXPECT_EQ(journal.audits.size(), audits);
  EXPECT_EQ(count("run_attempts"), 0);
}

TEST_P(QueueTest, TheMostUrgentAndAmongEqualsTheOldestIsLeasedFirst) {
  const RunId second = add({.workflow = "a"});
  clock.advance(1ms);
  const RunId third = add({.workflow = "b"});
  clock.advance(1ms);
  const RunId first = add({.workflow = "c", .priority = -1});
  const std::vector<LeasedRun> leased = take(3);
  ASSERT_EQ(leased.size(), 3U);
  EXPECT_EQ(leased[0].id, first);
  EXPECT_EQ(leased[1].id, second);
  EXPECT_EQ(leased[2].id, third);
}

TEST_P(QueueTest, AWorkerGetsOnlyItsPoolAndWorkflows) {
  add({.workflow = "a"});
  add({.workflow = "b"});
  add({.workflow = "c"});
  add({.workflow = "a", .pool = "browser"});
  const auto leased =
      run([](Unit& unit) { return lease(unit, {.worker = WorkerId{"w"}, .workflows = {"c", "b"}, .runs_max = 10}); });
  ASSERT_EQ(leased.runs.size(), 2U);
  EXPECT_EQ(leased.runs[0].workflow, "b");
  EXPECT_EQ(leased.runs[1].workflow, "c");
  const auto browser = run([](Unit& unit) {
    return lease(unit, {.worker = WorkerId{"w"}, .pool = "browser", .workflows = {"a"}, .runs_max = 10});
  });
  EXPECT_EQ(browser.runs.size(), 1U);
}

TEST_P(QueueTest, AnotherWorkspaceSeesNothing) {
  const RunId id = add_one();
  const Scope other{WorkspaceId{"other"}, {}};
  const auto none =
      runs->write_and_wait(other, actor, [](Unit& unit) { return lease(unit, {.worker = WorkerId{"w"}}); });
  ASSERT_TRUE(none.has_value());
  EXPECT_TRUE(none->runs.empty());
  const LeasedRun leased = take().at(0);
  const Completion completion{id, leased.attempt};
  const auto unknown =
      runs->write_and_wait(other, actor, [&](Unit& unit) { return complete(unit, std::span(&completion, 1)); });
  ASSERT_TRUE(unknown.has_value());
  EXPECT_EQ(unknown->at(0), Applied::kUnknown);
  EXPECT_EQ(state_of(id), RunState::kRunning);
}

TEST_P(QueueTest, AScopeOfSomeClientsEnqueuesAndSeesOnlyThose) {
  scope.clients = {ClientId{"acme"}};
  EXPECT_EQ(error_of([](Unit& unit) {
              const EnqueueRequest request{.workflow = "a", .client = "other"};
              return enqueue(unit, std::span(&request, 1));
            }),
            ErrorCode::kPermissionDenied);
  add({.workflow = "a", .client = "acme"});
  scope.clients.clear();
  const RunId other = add({.workflow = "a", .client = "other"});
  const LeasedRun leased =
      run([](Unit& unit) { return lease(unit, {.worker = WorkerId{"w"}, .runs_max = 2}); }).runs.at(1);
  ASSERT_EQ(leased.id, other);
  scope.clients = {ClientId{"acme"}};
  EXPECT_EQ(finish(leased), Applied::kUnknown);
}

TEST_P(QueueTest, ARunNamedByItsSenderIsMadeOnce) {
  const EnqueueRequest request{.workflow = "a", .run_id = "order-7"};
  const std::vector<EnqueueRequest> twice = {request, request};
  const auto first = run([&](Unit& unit) { return enqueue(unit, twice); });
  EXPECT_TRUE(first.at(0).made);
  EXPECT_FALSE(first.at(1).made);
  EXPECT_EQ(first.at(0).id.value, "order-7");
  const auto again = run([&](Unit& unit) { return enqueue(unit, std::span(&request, 1)); });
  EXPECT_FALSE(again.at(0).made);
  EXPECT_EQ(take(10).size(), 1U);
}

TEST_P(QueueTest, LimitsAtTheDoorNameTheSize) {
  const auto refused = [&](EnqueueRequest request) {
    return error_of([&](Unit& unit) { return enqueue(unit, std::span(&request, 1)); });
  };
  EXPECT_EQ(refused({.workflow = "a", .payload = std::string(262'145, 'x')}), ErrorCode::kTooLarge);
  EXPECT_THAT(last_error, HasSubstr("payload has 262145 bytes, at most 262144 fit"));
  EXPECT_EQ(refused({.workflow = std::string(201, 'x')}), ErrorCode::kTooLarge);
  EXPECT_EQ(refused({.workflow = ""}), ErrorCode::kInvalidArgument);
  EXPECT_EQ(refused({.workflow = "a", .priority = 101}), ErrorCode::kInvalidArgument);
  EXPECT_EQ(refused({.workflow = "a", .client = "a\x1f b"}), ErrorCode::kInvalidArgument);
  EXPECT_EQ(refused({.workflow = "a", .run_id = "run_0123456789abc"}), ErrorCode::kInvalidArgument);
  const std::vector<EnqueueRequest> many(1'001, EnqueueRequest{.workflow = "a"});
  EXPECT_EQ(error_of([&](Unit& unit) { return enqueue(unit, many); }), ErrorCode::kTooLarge);
  EXPECT_EQ(count("runs"), 0);
}

TEST_P(QueueTest, AScheduledRunWaitsForItsTime) {
  add({.workflow = "a", .start_at = kStart + 60 * kNanosPerSecond});
  EXPECT_TRUE(take().empty());
  EXPECT_EQ(tick(59s).woken, 0);
  EXPECT_TRUE(take().empty());
  EXPECT_EQ(tick(1s).woken, 1);
  EXPECT_EQ(take().size(), 1U);
}

TEST_P(QueueTest, AFailedRunIsRetriedThreeTimesAndThenDead) {
  const RunId id = add_one();
  for (int retry = 0; retry <= 3; ++retry) {
    const std::vector<LeasedRun> leased = take();
    ASSERT_EQ(leased.size(), 1U) << retry;
    EXPECT_EQ(leased[0].attempt, retry + 1);
    EXPECT_EQ(leased[0].retry_count, retry);
    const Failed failed = break_off(leased[0], {.message = "503", .http_status = 503});
    EXPECT_EQ(failed.applied, Applied::kApplied);
    EXPECT_EQ(failed.will_retry, retry < 3);
    EXPECT_LE(failed.retry_at, clock.now() + 60 * kNanosPerSecond);
    tick(60s);
  }
  EXPECT_EQ(state_of(id), RunState::kDead);
  EXPECT_EQ(column(id, "failure_reason"), "retries_exhausted");
  EXPECT_EQ(column(id, "retry_count"), "3");
  EXPECT_EQ(count("run_attempts WHERE ended = 0"), 4);
  EXPECT_EQ(count("workflow_failures WHERE kind = 'error' AND status = 'open'"), 4);
  EXPECT_EQ(count("workflow_failures WHERE kind = 'retry' AND status = 'open'"), 3);
  EXPECT_TRUE(journal.has_audit("run.dead_lettered"));
  EXPECT_TRUE(take().empty());
}

TEST_P(QueueTest, AnErrorThatWillNotGoAwayIsDeadAtOnce) {
  const RunId id = add_one();
  const Failed failed = break_off(take().at(0), {.message = "no", .http_status = 422});
  EXPECT_FALSE(failed.will_retry);
  EXPECT_EQ(failed.reason, "not_retryable");
  EXPECT_EQ(state_of(id), RunState::kDead);
}

TEST_P(QueueTest, SuccessResolvesTheFailuresBeforeIt) {
  add_one();
  break_off(take().at(0));
  tick(60s);
  finish(take().at(0));
  EXPECT_EQ(count("workflow_failures WHERE status = 'open'"), 0);
  EXPECT_EQ(count("workflow_failures WHERE status = 'resolved'"), 2);
}

TEST_P(QueueTest, AFailureSentTwiceCountsOnce) {
  const RunId id = add_one();
  const LeasedRun leased = take().at(0);
  break_off(leased);
  const Failed again = break_off(leased);
  EXPECT_EQ(again.applied, Applied::kApplied);
  EXPECT_TRUE(again.will_retry);
  EXPECT_EQ(column(id, "retry_count"), "1");
}

TEST_P(QueueTest, AKilledWorkersRunIsReadyAgainWithinElevenSeconds) {
  const RunId id = add_one();
  const LeasedRun lost = take(1, "killed").at(0);
  tick(9'999ms);
  EXPECT_TRUE(take(1, "other").empty());
  EXPECT_EQ(tick(1ms).expired_leases, 1);
  const std::vector<LeasedRun> again = take(1, "other");
  ASSERT_EQ(again.size(), 1U);
  EXPECT_EQ(again[0].id, id);
  EXPECT_EQ(again[0].attempt, 2);
  EXPECT_EQ(again[0].retry_count, 1);
  EXPECT_EQ(count("workflow_failures WHERE kind = 'stall'"), 1);
  // The killed worker was only slow: what it says now is kept and changes nothing.
  EXPECT_EQ(finish(lost, R"("late")"), Applied::kLate);
  EXPECT_EQ(break_off(lost).applied, Applied::kLate);
  EXPECT_EQ(state_of(id), RunState::kRunning);
  EXPECT_EQ(count("run_attempts WHERE attempt = 1 AND ended = 1 AND late_call = 'complete' AND late_body = '\"late\"'"),
            1);
  EXPECT_EQ(finish(again[0]), Applied::kApplied);
}

TEST_P(QueueTest, AnExtendedLeaseStaysAndOneThatIsGoneSaysWhy) {
  const RunId id = add_one();
  const LeasedRun leased = take().at(0);
  clock.advance(6s);
  const Extension extension{id, leased.attempt, true, R"({"step":2})"};
  const auto extended = run([&](Unit& unit) { return extend(unit, std::span(&extension, 1)); }).at(0);
  EXPECT_EQ(extended.applied, Applied::kApplied);
  EXPECT_EQ(extended.lease_until, clock.now() + 10 * kNanosPerSecond);
  EXPECT_EQ(tick(9s).expired_leases, 0);
  EXPECT_EQ(tick(1s).expired_leases, 1);
  const auto gone = run([&](Unit& unit) { return extend(unit, std::span(&extension, 1)); }).at(0);
  EXPECT_EQ(gone.applied, Applied::kLate);
  EXPECT_FALSE(gone.reason.empty());
}

TEST_P(QueueTest, BeatingAloneIsNoProgress) {
  const RunId id = add_one();
  const LeasedRun leased = take().at(0);
  for (int i = 0; i < 100; ++i) {
    const Extension beat{id, leased.attempt};
    run([&](Unit& unit) { return extend(unit, std::span(&beat, 1)); });
    clock.advance(6s);
  }
  EXPECT_EQ(tick().stalled, 1);
  EXPECT_EQ(tick().stalled, 0) << "it is said once";
  EXPECT_EQ(state_of(id), RunState::kRunning);
  EXPECT_TRUE(journal.has_event("run.stalled"));
}

TEST_P(QueueTest, WorkGivenBackIsReadyAndCountsNothing) {
  const RunId id = add_one();
  const LeasedRun leased = take().at(0);
  EXPECT_EQ(run([&](Unit& unit) { return give_back(unit, id, leased.attempt); }), Applied::kApplied);
  EXPECT_EQ(column(id, "retry_count"), "0");
  EXPECT_EQ(take().at(0).attempt, 2);
}

TEST_P(QueueTest, APolicyOfTheWorkflowDecidesAboutItsRetries) {
  run([](Unit& unit) { return set_policy(unit, "a", "", {.max_retries = 1, .base = 0ns, .cap = 0ns}); });
  const RunId id = add_one("a");
  break_off(take().at(0));
  break_off(take().at(0));
  EXPECT_EQ(state_of(id), RunState::kDead);
  EXPECT_TRUE(journal.has_audit("retry_policy.set"));
}

TEST_P(QueueTest, OneOutboxRowATransaction) {
  const std::vector<EnqueueRequest> many(100, EnqueueRequest{.workflow = "a"});
  run([&](Unit& unit) { return enqueue(unit, many); });
  EXPECT_EQ(journal.publications, 1);
  EXPECT_EQ(journal.events.size(), 100U);
  EXPECT_EQ(take(100).size(), 100U);
  EXPECT_EQ(journal.publications, 2);
}

// ---- long polls ----------------------------------------------------------------------------------------------------

TEST_P(QueueTest, AWaitingWorkerIsWokenByAnEnqueueAndOnlyOneForEachRun) {
  std::promise<Leased> first;
  int answered = 0;
  runs->lease_when_ready(scope, actor, {.worker = WorkerId{"w1"}}, clock.monotonic() + 30s,
                         [&](Result<Leased> leased) { first.set_value(std::move(*leased)); });
  while (runs->waiting() < 1) std::this_thread::yield();
  runs->lease_when_ready(scope, actor, {.worker = WorkerId{"w2"}}, clock.monotonic() + 30s,
                         [&](const Result<Leased>&) { ++answered; });
  while (runs->waiting() < 2) std::this_thread::yield();
  const RunId id = add_one();
  const Leased leased = first.get_future().get();
  ASSERT_EQ(leased.runs.size(), 1U);
  EXPECT_EQ(leased.runs[0].id, id);
  EXPECT_EQ(runs->waiting(), 1U);
  EXPECT_EQ(answered, 0);
  tick(31s);
  EXPECT_EQ(answered, 1) << "the time of the second is over";
}

TEST_P(QueueTest, WhoWaitsGetsTheWorkInTheCommitThatMadeIt) {
  if (!database->joins()) return;
  std::promise<Leased> done;
  runs->lease_when_ready(scope, actor, {.worker = WorkerId{"w1"}}, clock.monotonic() + 30s,
                         [&](Result<Leased> leased) { done.set_value(std::move(*leased)); });
  while (runs->waiting() < 1) std::this_thread::yield();
  const std::uint64_t before = database->status().commits;
  const RunId id = add_one();
  EXPECT_EQ(done.get_future().get().runs.at(0).id, id);
  EXPECT_EQ(database->status().commits, before + 1);
}

TEST_P(QueueTest, AWorkerThatAsksIsRegisteredAndOneThatIsToDrainGetsNothing) {
  const auto ask = [&] {
    std::promise<Leased> done;
    runs->lease_when_ready(scope, actor, {.worker = WorkerId{"w1"}, .pool = "p", .runs_max = 3}, clock.monotonic(),
                           [&](Result<Leased> leased) { done.set_value(std::move(*leased)); });
    return done.get_future().get();
  };
  const auto worker = [&] { return run([](Unit& unit) -> Result<Worker> { return list_workers(unit).items.at(0); }); };
  EXPECT_FALSE(ask().drain);
  const UnixNanos first_seen_at = worker().seen_at;
  EXPECT_EQ(worker().capacity, 3);
  EXPECT_EQ(worker().pool, "p");
  clock.advance(1s);
  ask();
  EXPECT_EQ(worker().seen_at, first_seen_at) << "a row for each poll would be a commit for each";
  clock.advance(2s);
  ask();
  EXPECT_EQ(worker().seen_at, clock.now());
  run([](Unit& unit) { return drain_worker(unit, WorkerId{"w1"}, true, "update"); });
  add({.workflow = "publish", .pool = "p"});
  const Leased leased = ask();
  EXPECT_TRUE(leased.drain);
  EXPECT_TRUE(leased.runs.empty());
}

TEST_P(QueueTest, RunsOfOneCallThatHoldSlotsOrUsedTokensKeepThem) {
  run([](Unit& unit) {
    return set_limit(unit, {.dimension = LimitDimension::kClient, .value = "acme", .concurrency_max = 5});
  });
  const RunId limited = add({.workflow = "publish", .client = "acme"});
  const RunId free = add({.workflow = "publish", .client = "zenith"});
  const std::vector<LeasedRun> leased = take(10);
  ASSERT_EQ(leased.size(), 2U);
  EXPECT_EQ(column(limited, "slots"), "client:acme");
  EXPECT_EQ(column(free, "slots"), "null");
  std::vector<Completion> completions;
  for (const LeasedRun& one : leased) {
    EXPECT_EQ(column(one.id, "attempt"), "1");
    completions.push_back({one.id, one.attempt, "", one.id == free ? 700 : 0});
  }
  run([&](Unit& unit) { return complete(unit, completions); });
  EXPECT_EQ(column(free, "tokens"), "700");
  EXPECT_EQ(column(limited, "tokens"), "0");
  EXPECT_EQ(column(limited, "slots"), "null");
  EXPECT_EQ(state_of(limited), RunState::kSucceeded);
  EXPECT_EQ(state_of(free), RunState::kSucceeded);
}

TEST_P(QueueTest, AWaitingWorkerIsWokenForItsOwnWorkflowAlone) {
  std::promise<Leased> done;
  runs->lease_when_ready(scope, actor, {.worker = WorkerId{"w1"}, .workflows = {"a"}}, clock.monotonic() + 30s,
                         [&](Result<Leased> leased) { done.set_value(std::move(*leased)); });
  while (runs->waiting() < 1) std::this_thread::yield();
  add_one("b");
  EXPECT_EQ(runs->waiting(), 1U);
  add_one("a");
  EXPECT_EQ(done.get_future().get().runs.at(0).workflow, "a");
}

TEST_P(QueueTest, WorkReadiedByAnotherReplicaIsFoundByUpkeep) {
  std::promise<Leased> done;
  runs->lease_when_ready(scope, actor, {.worker = WorkerId{"w1"}}, clock.monotonic() + 30s,
                         [&](Result<Leased> leased) { done.set_value(std::move(*leased)); });
  while (runs->waiting() < 1) std::this_thread::yield();
  Runs other(*database, clock, rng, journal, {});
  const EnqueueRequest request{.workflow = "a"};
  ASSERT_TRUE(other.write_and_wait(scope, actor, [&](Unit& unit) { return enqueue(unit, std::span(&request, 1)); }));
  tick();
  EXPECT_EQ(done.get_future().get().runs.size(), 1U);
}

}  // namespace
}  // namespace fettle::runs
