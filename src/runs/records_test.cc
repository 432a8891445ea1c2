#include "runs/records.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runs/inspect.h"
#include "runs/observed.h"
#include "runs/steps.h"
#include "runs/testing.h"

namespace fettle::runs {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

class RecordsTest : public RunsTestBase {
 protected:
  Record write(Collection collection, const std::string& fields, const std::string& id = "") {
    return run([&](Unit& unit) { return write_record(unit, collection, id, fields); });
  }
  PageOf<Record> page(Collection collection, RecordFilter filter, PageRequest page) {
    return run([&](Unit& unit) { return list_records(unit, collection, filter, page); });
  }
  std::vector<Record> list(Collection collection, RecordFilter filter = {}) {
    return page(collection, std::move(filter), {}).items;
  }
  RunDetail details(const RunId& id) {
    return run([&](Unit& unit) -> Result<std::optional<RunDetail>> { return run_detail(unit, id); }).value();
  }
};
FETTLE_FOR_BOTH_STORES(RecordsTest);

TEST_P(RecordsTest, ARecordComesBackAsItWasSentAndIsUpdatedField) {
  const Record made = write(Collection::kAgentRuns,
                            R"({"status":"running","triggerType":"email","correlationId":"c-1","tokens":0})", "run-1");
  EXPECT_EQ(made.status, "running");
  clock.advance(1s);
  const Record done = write(Collection::kAgentRuns, R"({"status":"failed","tokens":156,"error":"boom"})", "run-1");
  EXPECT_EQ(done.created_at, made.created_at);
  EXPECT_THAT(done.fields, HasSubstr(R"("triggerType":"email")"));
  EXPECT_THAT(done.fields, HasSubstr(R"("tokens":156)"));
  ASSERT_EQ(list(Collection::kAgentRuns, {.status = "failed"}).size(), 1U);
  EXPECT_TRUE(list(Collection::kAgentRuns, {.status = "running"}).empty());
  EXPECT_EQ(list(Collection::kAgentRuns, {.ref = "c-1"}).size(), 1U);
}

TEST_P(RecordsTest, LogsAndTriggersAreFoundByRunAndEvent) {
  for (int i = 0; i < 3; ++i) {
    write(Collection::kAgentLogs, R"({"runId":"r1","level":"error","message":"m","stepId":"s","payload":{"a":1}})");
  }
  write(Collection::kAgentLogs, R"({"runId":"r2","level":"info","message":"m"})");
  write(Collection::kWorkflowTriggers, R"({"source":"webhook","eventKey":"lead.new","payload":{}})");
  const auto first = page(Collection::kAgentLogs, {.ref = "r1"}, {.limit = 2});
  ASSERT_EQ(first.items.size(), 2U);
  const auto second = page(Collection::kAgentLogs, {.ref = "r1"}, {.limit = 2, .cursor = first.next});
  EXPECT_EQ(second.items.size(), 1U);
  EXPECT_EQ(second.next, "");
  EXPECT_EQ(list(Collection::kWorkflowTriggers, {.ref = "lead.new"}).size(), 1U);
  EXPECT_EQ(error_of([](Unit& unit) { return write_record(unit, Collection::kAgentLogs, "", "[1]"); }),
            ErrorCode::kInvalidArgument);
}

TEST_P(RecordsTest, FailuresOfTheEngineAndOfOthersAreInOneList) {
  add_one();
  const LeasedRun leased = take().at(0);
  const Record sent = write(Collection::kWorkflowFailures,
                            R"({"runId":")" + leased.id.value + R"(","stepId":"s1","message":"bad","retryAttempt":2})");
  EXPECT_EQ(sent.status, "open");
  EXPECT_THAT(sent.fields, HasSubstr(R"("retryAttempt":2)"));
  break_off(leased, {.message = "API_TIMEOUT: Connection timeout after 5s", .step = "createCRMRecord"});
  const auto open = list(Collection::kWorkflowFailures, {.ref = leased.id.value, .status = "open"});
  ASSERT_EQ(open.size(), 3U) << "what was sent, the error and the retry";
  EXPECT_THAT(open[1].fields, HasSubstr(R"("stepId":"createCRMRecord")"));
  tick(60s);
  finish(take().at(0));
  EXPECT_TRUE(list(Collection::kWorkflowFailures, {.status = "open"}).empty());
  EXPECT_EQ(list(Collection::kWorkflowFailures, {.status = "resolved"}).size(), 3U);
}

TEST_P(RecordsTest, OtherClientsRecordsDoNotExist) {
  write(Collection::kAgentRuns, R"({"clientId":"acme","status":"failed"})", "a");
  write(Collection::kAgentRuns, R"({"clientId":"other","status":"failed"})", "b");
  scope.clients = {ClientId{"acme"}};
  EXPECT_EQ(list(Collection::kAgentRuns).size(), 1U);
  EXPECT_EQ(
      error_of([](Unit& unit) { return write_record(unit, Collection::kAgentRuns, "b", R"({"clientId":"acme"})"); }),
      ErrorCode::kPermissionDenied);
}

// ---- observed runs -------------------------------------------------------------------------------------------------

TEST_P(RecordsTest, AnObservedRunIsReportedByPlainCalls) {
  const ObservedStart start{
      .run_id = "run_xyz789", .workflow = "lead-intake", .client = "acme", .correlation_id = "c-1"};
  EXPECT_EQ(run([&](Unit& unit) { return start_observed(unit, start); }).value, "run_xyz789");
  EXPECT_EQ(run([&](Unit& unit) { return start_observed(unit, start); }).value, "run_xyz789");
  const ObservedStep good{.run_id = "run_xyz789", .step = "parseEmail", .tokens = 156, .cost_usd = 0.0004};
  EXPECT_EQ(run([&](Unit& unit) { return report_step(unit, good); }).applied, Applied::kApplied);
  EXPECT_EQ(run([&](Unit& unit) { return report_step(unit, good); }).applied, Applied::kApplied);
  const ObservedStep bad{.run_id = "run_xyz789",
                         .step = "createCRMRecord",
                         .succeeded = false,
                         .error = {.message = "API_TIMEOUT: Connection timeout after 5s", .stack = "at crm.ts:7"},
                         .retry_count = 3,
                         .tokens = 10};
  run([&](Unit& unit) { return report_step(unit, bad); });
  const ObservedEnd end{.run_id = "run_xyz789", .succeeded = false, .error = bad.error, .retry_count = 3};
  EXPECT_EQ(run([&](Unit& unit) { return end_observed(unit, end); }).applied, Applied::kApplied);
  EXPECT_EQ(run([&](Unit& unit) { return end_observed(unit, end); }).applied, Applied::kApplied);
  const RunDetail seen = details(RunId{"run_xyz789"});
  EXPECT_EQ(seen.run.state, RunState::kFailed);
  EXPECT_EQ(seen.run.failure_reason, "timeout");
  EXPECT_EQ(seen.run.retry_count, 3);
  EXPECT_EQ(seen.run.tokens, 166);
  EXPECT_THAT(seen.error.value_or(""), HasSubstr("at crm.ts:7"));
  const auto steps = run([](Unit& unit) -> Result<std::vector<Step>> { return list_steps(unit, RunId{"run_xyz789"}); });
  ASSERT_EQ(steps.size(), 2U);
  EXPECT_EQ(steps[1].state, StepState::kFailed);
  EXPECT_EQ(steps[1].retry_count, 3);
  EXPECT_TRUE(take().empty()) << "nobody leases it";
  EXPECT_EQ(tick(24h).expired_leases, 0);
}

// ---- lists ---------------------------------------------------------------------------------------------------------

TEST_P(RecordsTest, RunsAreListedByFilterPageByPage) {
  for (int i = 0; i < 5; ++i) {
    add({.workflow = "w", .client = i % 2 == 0 ? "a" : "b", .correlation_id = i == 3 ? "c-3" : ""});
    clock.advance(1ms);
  }
  break_off(take().at(0), {.message = "no", .http_status = 400});
  const auto page = [&](RunQuery filter) {
    return run([&](Unit& unit) -> Result<RunPage> { return find_runs(unit, filter); });
  };
  EXPECT_EQ(page({}).runs.size(), 5U);
  EXPECT_EQ(page({.client = "a"}).runs.size(), 3U);
  EXPECT_EQ(page({.failed = true}).runs.size(), 1U);
  EXPECT_EQ(page({.failed = true}).runs[0].run.state, RunState::kDead);
  EXPECT_EQ(page({.states = {RunState::kReady}}).runs.size(), 4U);
  EXPECT_EQ(page({.correlation_id = "c-3"}).runs.size(), 1U);
  EXPECT_TRUE(page({.workflow = "other"}).runs.empty());
  const RunPage first = page({.workflow = "w", .limit = 3});
  ASSERT_EQ(first.runs.size(), 3U);
  EXPECT_EQ(page({.before = first.next, .limit = 3}).runs.size(), 2U);
  EXPECT_FALSE(page({.before = first.next, .limit = 3}).next);
  scope.clients = {ClientId{"b"}};
  EXPECT_EQ(page({}).runs.size(), 2U);
  scope.clients.clear();
  const auto depth = run([](Unit& unit) -> Result<std::vector<Depth>> { return queue_depth(unit); });
  ASSERT_EQ(depth.size(), 1U);
  EXPECT_EQ(depth[0].ready, 4);
}

}  // namespace
}  // namespace fettle::runs
