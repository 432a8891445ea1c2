// What the SDK and a server agree on, whichever server it is: the one in memory, or the one at FETTLE_URL.
#include <gtest/gtest.h>

#include <condition_variable>
#include <cstdlib>
#include <map>
#include <mutex>

#include "caller.h"
#include "fake_server.h"

namespace fettle::sdk {
namespace {

using namespace std::chrono_literals;

class ContractTest : public testing::Test {
 protected:
  using Run = sdk::Run;  // and not the one of testing::Test

  static bool real() { return std::getenv("FETTLE_URL") != nullptr; }
  static ClientOptions options() {
    return real() ? ClientOptions{} : ClientOptions{.transport = std::make_shared<FakeServer>()};
  }

  void SetUp() override {
    worker_.emplace(client_.worker({.workflows = {{"plain", [this](Run& run) { return end(run); }},
                                                  {"stepped", [this](Run& run) { return stepped(run); }}},
                                    .pool = pool_,
                                    .concurrency = 20}));
    ASSERT_TRUE(worker_->start());
  }
  void TearDown() override { worker_->stop(); }

  Result<Json> end(Run& run) {
    const std::lock_guard lock(mutex_);
    ended_[run.run_id()] = {run.payload(), run.attempt()};
    changed_.notify_all();
    return {};
  }

  Result<Json> stepped(Run& run) {
    const auto one = run.step("one", [](StepScope& step) -> Result<Json> {
      step.use({.tokens = 3, .cost_usd = 0.01});
      return {};
    });
    if (!one) return one;
    run.log("info", "between", Json::object({{"n", 1}}));
    run.progress({.done = 1, .total = 2});
    const auto two =
        run.step("two", [](StepScope&) -> Result<Json> { return Json::object({{"deep", Json::array({"value"})}}); });
    if (!two) return two;
    return end(run);
  }

  std::pair<Json, int> end_of(const std::string& run_id) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, 30s, [&] { return ended_.contains(run_id); })) << run_id << " did not end";
    return ended_[run_id];
  }

  const std::string pool_ = "contract-" + random_uuid().substr(0, 8);  // nobody else works here
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, std::pair<Json, int>> ended_;
  Client client_{options()};
  std::optional<Worker> worker_;
};

TEST_F(ContractTest, ARunIsEnqueuedWorkedOnAndItsPayloadArrivesAsItWas) {
  const Json payload =
      *Json::parse(R"({"text":"ünï 🚀 \u0000 \"quoted\"","list":[1,2.5,null,true],"deep":{"a":{"b":{}}}})");
  const auto made =
      client_.enqueue({.workflow = "plain", .payload = payload, .client_id = "acme", .platform = "x", .pool = pool_});
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_TRUE(made->created);
  EXPECT_EQ(end_of(made->run_id).first, payload);
}

TEST_F(ContractTest, AThousandRunsEnqueuedAtOnceAreEachWorkedOnOnce) {
  std::vector<NewRun> runs;
  for (int i = 0; i < 1'000; ++i) runs.push_back({.workflow = "plain", .payload = i, .pool = pool_});
  const auto made = client_.enqueue_many(runs);
  for (std::size_t i = 0; i < made.size(); ++i) {
    ASSERT_TRUE(made[i]) << made[i].error().message;
    const auto [payload, attempt] = end_of(made[i]->run_id);
    EXPECT_EQ(payload, Json(i));
    EXPECT_EQ(attempt, 1);
  }
  EXPECT_EQ(ended_.size(), 1'000U);
}

TEST_F(ContractTest, StepsLinesProgressAndUsageOfARunAreTaken) {
  const auto made = client_.enqueue({.workflow = "stepped", .pool = pool_});
  ASSERT_TRUE(made);
  end_of(made->run_id);
  worker_->settle();
}

TEST_F(ContractTest, ARunThatIsRefusedComesBackWithItsProblem) {
  if (!real()) GTEST_SKIP() << "the one in memory has no limits";
  const auto made = client_.enqueue({.workflow = std::string(100'000, 'x'), .pool = pool_});
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().kind, ErrorKind::kProblem);
}

TEST_F(ContractTest, AnIdempotencyKeyMakesOneRunAndAnotherPayloadIsRefused) {
  if (!real()) GTEST_SKIP() << "the one in memory knows no keys of runs";
  NewRun run{
      .workflow = "nobody works on this", .payload = 1, .pool = pool_ + "-idle", .idempotency_key = random_uuid()};
  const auto first = client_.enqueue(run), second = client_.enqueue(run);
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first->run_id, second->run_id);
  EXPECT_FALSE(second->created);
  run.payload = 2;
  EXPECT_EQ(client_.enqueue(run).error().status, 422);
}

TEST_F(ContractTest, AnObservedRunIsStartedSteppedThroughAndEnded) {
  auto run = client_.start_run({.workflow = "observed", .client_id = "acme"});
  ASSERT_TRUE(run) << run.error().message;
  EXPECT_TRUE(run->step("one", [](StepScope&) -> Result<Json> { return 1; }));
  EXPECT_FALSE(run->step("two", [](StepScope&) -> Result<Json> { return fail(fatal_error("no")); }));
  const auto ended = run->fail(fatal_error("no"));
  EXPECT_TRUE(ended) << ended.error().message;
}

TEST_F(ContractTest, ASideEffectIsPerformedOnceAndToldToWhoeverRepeatsIt) {
  const SideEffect effect{.action = "note",
                          .target = "t-" + random_uuid(),
                          .payload = Json::object({{"text", "hello"}}),
                          .client_id = "acme",
                          .platform = "x"};
  int performed = 0;
  const Perform perform = [&]() -> Result<Performed> {
    return Performed{Json::object({{"id", ++performed}}), Json::object({{"url", "https://x.example/1"}})};
  };
  const auto first = client_.side_effect(effect, perform), second = client_.side_effect(effect, perform);
  ASSERT_TRUE(first && second);
  EXPECT_EQ(performed, 1);
  EXPECT_FALSE(first->earlier);
  EXPECT_TRUE(second->earlier);
  EXPECT_EQ(second->result, Json::object({{"id", 1}}));
}

TEST_F(ContractTest, MayI) {
  const auto verdict = client_.may_i({.client_id = "acme", .platform = "x", .tool = "crm"});
  ASSERT_TRUE(verdict) << verdict.error().message;
  EXPECT_TRUE(verdict->allowed);
  EXPECT_EQ(verdict->source, Verdict::Source::kServer);
}

TEST_F(ContractTest, RecordsOfEachKindAreTakenAndNamed) {
  auto agent = client_.log_agent_failure(
      {.message = "failed", .agent = "writer", .error = "no", .ids = {.run_id = "run_1", .step_id = "4"}});
  auto workflow = client_.log_workflow_failure(
      {.message = "failed", .workflow = "lead", .retry_attempt = 1, .ids = {.run_id = "run_1", .step_id = "4"}});
  auto audit = client_.log_audit_event({.action = "job.delete",
                                        .actor = {.id = "u_1", .type = "user"},
                                        .target = {.id = "j_1", .type = "job"},
                                        .result = "success"});
  for (auto* future : {&agent, &workflow, &audit}) {
    const auto id = future->get();
    ASSERT_TRUE(id) << id.error().message;
    EXPECT_FALSE(id->empty());
  }
}

}  // namespace
}  // namespace fettle::sdk
