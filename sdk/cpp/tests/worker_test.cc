#include "fettle/sdk/worker.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "fake_server.h"

namespace fettle::sdk {
namespace {

using namespace std::chrono_literals;

class WorkerTest : public testing::Test {
 protected:
  using Run = sdk::Run;  // and not the one of testing::Test

  Worker& working(Handler handler, WorkerOptions options = {}) {
    options.workflows["lead"] = std::move(handler);
    worker_.emplace(client_.worker(std::move(options)));
    EXPECT_TRUE(worker_->start());
    return *worker_;
  }
  void TearDown() override {
    if (worker_) worker_->stop(100ms);
  }
  bool reaches(const std::shared_ptr<FakeRun>& run, std::string_view state) {
    return server_->until([&] { return run->state == state; });
  }
  bool ends_late(const std::shared_ptr<FakeRun>& run) {
    return server_->until([&] { return !run->late.empty() && run->late.back()["op"].as_string() == "fail"; });
  }

  // A handler that goes on until it must stop.
  Handler until_stopped() {
    return [this](Run& run) -> Result<Json> {
      began_.open();
      Gate stopped;
      const std::stop_callback callback(run.stop_token(), [&] { stopped.open(); });
      EXPECT_TRUE(stopped.wait());
      reason_ = run.stop_reason()->kind;
      has_stopped_.open();
      return fail(*run.stop_reason());
    };
  }

  std::shared_ptr<FakeServer> server_ = std::make_shared<FakeServer>();
  Client client_{{.transport = server_}};
  std::optional<Worker> worker_;
  Gate began_, has_stopped_;
  ErrorKind reason_ = ErrorKind::kFatal;
};

TEST_F(WorkerTest, AWorkerRegistersWhatItCanDoLeasesAndCompletes) {
  const auto run = server_->add("lead", Json::object({{"payload", 21}}));
  working([](Run& leased) -> Result<Json> { return leased.payload().as_int() * 2; }, {.pool = "p", .concurrency = 3});
  ASSERT_TRUE(reaches(run, "succeeded"));
  EXPECT_EQ(run->result, Json(42));
  const Json registered = server_->of("/workers").front().body;
  EXPECT_EQ(registered["pool"], Json("p"));
  EXPECT_EQ(registered["capacity"], Json(3));
  EXPECT_EQ(registered["workflows"], Json::array({"lead"}));
}

TEST_F(WorkerTest, NoMoreHandlersRunAtOnceThanTheWorkerWasGiven) {
  std::atomic<int> at_once = 0, most = 0;
  for (int i = 0; i < 30; ++i) server_->add("lead");
  working(
      [&](Run&) -> Result<Json> {
        const int now = ++at_once;
        for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
        }
        std::this_thread::yield();
        --at_once;
        return {};
      },
      {.concurrency = 3});
  EXPECT_TRUE(server_->until([&] {
    return std::ranges::all_of(server_->runs, [](const auto& entry) { return entry.second->state == "succeeded"; });
  }));
  EXPECT_LE(most, 3);
}

TEST_F(WorkerTest, ACompletedStepIsNotRunAgainAndItsResultIsRemembered) {
  int ran = 0;
  const auto run =
      server_->add("lead", Json::object(), {Json::object({{"name", "one"}, {"status", "completed"}, {"result", 7}})});
  working([&](Run& leased) -> Result<Json> {
    const auto one = leased.step("one", [&](StepScope&) -> Result<Json> { return ++ran; });
    const auto two = leased.step("two", [&](StepScope& step) -> Result<Json> { return step.step_id(); });
    return Json::array({*one, *two});
  });
  ASSERT_TRUE(reaches(run, "succeeded"));
  EXPECT_EQ(run->result, Json::array({7, 2}));
  EXPECT_EQ(ran, 0);
}

TEST_F(WorkerTest, TheNextStepBeginsOnlyWhenTheOneBeforeIsOnRecord) {
  std::size_t on_record = 0;
  const auto run = server_->add("lead");
  working([&](Run& leased) -> Result<Json> {
    (void)leased.step("one", [](StepScope&) -> Result<Json> { return {}; });
    return leased.step("two", [&](StepScope&) -> Result<Json> {
      on_record = server_->reports("step_complete").size();
      return {};
    });
  });
  ASSERT_TRUE(reaches(run, "succeeded"));
  EXPECT_EQ(on_record, 1U);
}

TEST_F(WorkerTest, ANameUsedTwiceIsTwoSteps) {
  const auto run = server_->add("lead");
  working([](Run& leased) -> Result<Json> {
    Json::Array names;
    for (int i = 0; i < 2; ++i) {
      names.push_back(*leased.step("fetch", [](StepScope& step) -> Result<Json> { return step.name(); }));
    }
    return names;
  });
  ASSERT_TRUE(reaches(run, "succeeded"));
  EXPECT_EQ(run->result, Json::array({"fetch", "fetch#2"}));
}

TEST_F(WorkerTest, AStepIsRetriedInPlaceByItsOwnPolicyWithWhatItUsedCounted) {
  int tries = 0;
  const auto run = server_->add("lead");
  working([&](Run& leased) {
    return leased.step("one",
                       [&](StepScope& step) -> Result<Json> {
                         step.use({.tokens = 2});
                         if (++tries < 3) return fail(retryable_error("again"));
                         return "done";
                       },
                       {.retries_max = 5, .base = 1ms});
  });
  ASSERT_TRUE(reaches(run, "succeeded"));
  const auto failed = server_->reports("step_fail");
  ASSERT_EQ(failed.size(), 2U);
  EXPECT_TRUE(failed[1]["will_retry"].as_bool());
  EXPECT_EQ(failed[1]["tokens"], Json(2));
}

TEST_F(WorkerTest, AStepIsRetriedInPlaceAsOftenAsTheServerSays) {
  const auto run = server_->add("lead");
  run->step_retries = 2;
  working([](Run& leased) {
    return leased.step("one", [](StepScope&) -> Result<Json> { return fail(retryable_error("again")); });
  });
  ASSERT_TRUE(reaches(run, "failed"));
  EXPECT_EQ(server_->reports("step_fail").size(), 3U);
}

TEST_F(WorkerTest, AFailureSaysWhetherARetryIsInVain) {
  const auto run = server_->add("lead");
  working([](Run&) -> Result<Json> { return fail(fatal_error("never", "BAD_LEAD")); });
  ASSERT_TRUE(reaches(run, "failed"));
  EXPECT_EQ(run->error["code"], Json("BAD_LEAD"));
  EXPECT_EQ(run->error["retryable"], Json(false));
}

TEST_F(WorkerTest, WhatAHandlerThrowsEndsItsRunAndNotTheWorker) {
  const auto first = server_->add("lead");
  working([](Run&) -> Result<Json> { throw std::runtime_error("thrown"); }, {.concurrency = 1});
  ASSERT_TRUE(reaches(first, "failed"));
  EXPECT_EQ(first->error["message"], Json("thrown"));
  const auto second = server_->add("lead");
  EXPECT_TRUE(reaches(second, "failed"));
}

TEST_F(WorkerTest, AWorkflowThatIsNotThereFailsForGood) {
  const auto run = server_->add("other");
  working([](Run&) -> Result<Json> { return {}; });
  ASSERT_TRUE(reaches(run, "failed"));
  EXPECT_EQ(run->error["code"], Json("unknown_workflow"));
}

TEST_F(WorkerTest, WhatWasUsedOutsideOfStepsGoesWithTheEnd) {
  const auto run = server_->add("lead");
  working([](Run& leased) -> Result<Json> {
    leased.use({.tokens = 5, .cost_usd = 0.25});
    return {};
  });
  ASSERT_TRUE(reaches(run, "succeeded"));
  const Json end = server_->reports("complete").at(0);
  EXPECT_EQ(end["tokens"], Json(5));
  EXPECT_EQ(end["cost_usd"], Json(0.25));
}

// ---- heartbeats and stops

TEST_F(WorkerTest, HeldRunsAreHeartbeatedWithTheProgressThatWasMade) {
  server_->heartbeat_ms = 20;
  server_->add("lead");
  Gate gate;
  working([&](Run& leased) -> Result<Json> {
    leased.progress({.done = 1, .total = 2});
    gate.wait();
    return {};
  });
  EXPECT_TRUE(server_->until([&] { return server_->reports("heartbeat").size() >= 2; }));
  gate.open();
  int with_progress = 0;
  for (const Json& beat : server_->reports("heartbeat")) {
    if (beat["progress"] == Json::object({{"done", 1}, {"total", 2}})) ++with_progress;
  }
  EXPECT_EQ(with_progress, 1);
}

TEST_F(WorkerTest, ACancelledRunHearsSoWithTheNextHeartbeatAndFailsForGood) {
  server_->heartbeat_ms = 20;
  const auto run = server_->add("lead");
  run->cancel = true;
  working(until_stopped());
  ASSERT_TRUE(reaches(run, "failed"));
  EXPECT_EQ(reason_, ErrorKind::kCancelled);
  EXPECT_EQ(run->error["code"], Json("cancelled"));
  EXPECT_EQ(run->error["retryable"], Json(false));
}

TEST_F(WorkerTest, AKillSwitchStopsTheRunWhichIsGivenBack) {
  server_->heartbeat_ms = 20;
  const auto run = server_->add("lead");
  run->stop = Json::object({{"id", "sw_1"}, {"reason", "stop it"}});
  working(until_stopped());
  ASSERT_TRUE(reaches(run, "released"));
  EXPECT_EQ(reason_, ErrorKind::kStopped);
  EXPECT_EQ(server_->reports("release").at(0)["reason"], Json("stopped"));
}

TEST_F(WorkerTest, ALeaseThatWentToAnotherIsHeardOfByTheFenceAndNothingIsApplied) {
  server_->heartbeat_ms = 20;
  const auto run = server_->add("lead");
  working(until_stopped());
  ASSERT_TRUE(began_.wait());
  server_->revoke(*run);
  ASSERT_TRUE(ends_late(run));
  EXPECT_EQ(reason_, ErrorKind::kLeaseLost);
  EXPECT_EQ(server_->state_of(*run), "elsewhere");
}

TEST_F(WorkerTest, NoStepBeginsAfterTheLeaseIsLost) {
  bool went_on = false;
  const auto run = server_->add("lead");
  working([&](Run& leased) -> Result<Json> {
    server_->revoke(*run);
    (void)leased.step("one", [](StepScope&) -> Result<Json> { return {}; });
    const auto two = leased.step("two", [&](StepScope&) -> Result<Json> { return went_on = true; });
    return two;
  });
  ASSERT_TRUE(ends_late(run));
  EXPECT_FALSE(went_on);
}

TEST_F(WorkerTest, WhenNoHeartbeatGetsThroughTheRunStopsBeforeItsLeaseEnds) {
  server_->lease_ms = 550;  // and 500 of them are margin
  server_->heartbeat_ms = 20;
  auto gate = std::make_shared<Gate>();
  server_->fail("/work/report", {{.hold = gate}});
  const auto run = server_->add("lead");
  working(until_stopped());
  EXPECT_TRUE(has_stopped_.wait());
  EXPECT_EQ(reason_, ErrorKind::kLeaseLost);
  gate->open();
}

TEST_F(WorkerTest, ASideEffectReservedUnderALostLeaseStopsTheRun) {
  bool performed = false;
  server_->decisions = {Json::object({{"status", 409}, {"code", "late"}})};
  const auto run = server_->add("lead");
  working([&](Run& leased) -> Result<Json> {
    const auto result = leased.side_effect({.action = "send", .target = "a"}, [&]() -> Result<Performed> {
      performed = true;
      return Performed{};
    });
    if (!result) return fail(result.error());
    return {};
  });
  ASSERT_TRUE(reaches(run, "failed"));
  EXPECT_FALSE(performed);
  EXPECT_EQ(run->error["code"], Json("lease_lost"));
}

// ---- leasing

TEST_F(WorkerTest, AServerThatIsAwayIsAskedAgainAndTheWorkerGoesOn) {
  std::atomic<int> errors = 0;
  server_->fail("/work/lease", {{.status = 503}, {.cut_before = true}});
  const auto run = server_->add("lead");
  working([](Run&) -> Result<Json> { return {}; }, {.on_error = [&](const Error&) { ++errors; }});
  ASSERT_TRUE(reaches(run, "succeeded"));
  EXPECT_EQ(errors, 2);
}

TEST_F(WorkerTest, AServerThatDoesNotKnowTheWorkerAnyMoreIsToldAgain) {
  server_->fail("/work/lease", {{.status = 404}});
  const auto run = server_->add("lead");
  working([](Run&) -> Result<Json> { return {}; });
  ASSERT_TRUE(reaches(run, "succeeded"));
  EXPECT_EQ(server_->of("/workers").size(), 2U);
}

TEST_F(WorkerTest, AWorkerThatMayNotWorkSaysSoWhenItStarts) {
  server_->fail("/workers", {{.status = 403}});
  Worker worker = client_.worker({});
  EXPECT_EQ(worker.start().error().status, 403);
}

// ---- the end

TEST_F(WorkerTest, StoppingLetsWhatRunsFinishGivesBackWhatHasNotBegunAndLeasesNoMore) {
  Gate gate;
  const auto first = server_->add("lead");
  Worker& worker = working(
      [&](Run&) -> Result<Json> {
        began_.open();
        gate.wait();
        return {};
      },
      {.concurrency = 1});
  ASSERT_TRUE(began_.wait());
  std::jthread stopping([&] { worker.stop(); });
  const std::string drain = "/workers/" + worker.runner_id() + "/drain";
  ASSERT_TRUE(server_->until([&] { return !server_->of(drain).empty(); }));
  const auto second = server_->add("lead");
  gate.open();
  stopping.join();
  EXPECT_EQ(first->state, "succeeded");
  EXPECT_EQ(second->state, "queued");
  EXPECT_EQ(worker.running(), 0);
  EXPECT_EQ(server_->of("/workers/" + worker.runner_id()).size(), 1U) << "it left, and is not lost";
}

TEST_F(WorkerTest, WhatDoesNotFinishInItsGraceIsStoppedAndGivenBack) {
  const auto run = server_->add("lead");
  Worker& worker = working(until_stopped());
  ASSERT_TRUE(began_.wait());
  worker.stop(1ms);
  EXPECT_EQ(reason_, ErrorKind::kShutdown);
  EXPECT_EQ(run->state, "released");
}

TEST_F(WorkerTest, SigtermEndsRunGracefully) {
  const auto run = server_->add("lead");
  Worker worker = client_.worker({.workflows = {{"lead", [](Run&) -> Result<Json> {
                                                   kill(getpid(), SIGTERM);
                                                   return "finished";
                                                 }}}});
  EXPECT_TRUE(worker.run());
  EXPECT_EQ(run->state, "succeeded");
}

// ---- sleeping and waiting

TEST_F(WorkerTest, ARunThatSleepsLeavesTheWorkerAndGoesOnBehindTheSleep) {
  const auto run = server_->add("lead");
  working([](Run& leased) -> Result<Json> {
    (void)leased.step("one", [](StepScope&) -> Result<Json> { return {}; });
    if (const auto slept = leased.sleep(1min); !slept) return fail(slept.error());
    return "awake";
  });
  ASSERT_TRUE(reaches(run, "sleeping"));
  const Json sleep = server_->reports("sleep").at(0);
  EXPECT_EQ(sleep["step"], Json(2));
  EXPECT_EQ(sleep["name"], Json("sleep:sleep"));
  run->steps.push_back(Json::object({{"name", "sleep:sleep"}, {"status", "completed"}}));
  server_->ready(*run);
  ASSERT_TRUE(reaches(run, "succeeded"));
  EXPECT_EQ(run->result, Json("awake"));
}

TEST_F(WorkerTest, ARunThatWaitsForAnEventGetsItsPayloadOrATimeout) {
  const auto run = server_->add("lead");
  working([](Run& leased) { return leased.wait_for("paid", {.key = "inv_1", .timeout = 1h}); });
  ASSERT_TRUE(reaches(run, "waiting"));
  const Json wait = server_->reports("wait").at(0);
  EXPECT_EQ(wait["key"], Json("inv_1"));
  EXPECT_EQ(wait["name"], Json("wait:paid"));
  run->steps.push_back(
      Json::object({{"name", "wait:paid"}, {"status", "completed"}, {"result", Json::object({{"payload", 5}})}}));
  server_->ready(*run);
  ASSERT_TRUE(reaches(run, "succeeded"));
  EXPECT_EQ(run->result, Json(5));
  const auto late = server_->add(
      "lead", Json::object(),
      {Json::object({{"name", "wait:paid"}, {"status", "completed"}, {"result", Json::object({{"expired", true}})}})});
  ASSERT_TRUE(reaches(late, "failed"));
  EXPECT_EQ(late->error["code"], Json("timed_out"));
}

// ---- what a run says

TEST_F(WorkerTest, SideEffectsRecordsAndQuestionsOfARunCarryItsIdentifiers) {
  const auto run = server_->add("lead", *Json::parse(R"({"client_id":"acme","platform":"x","agent":"writer",
                                                        "request_id":"req_1","correlation_id":"c_1"})"));
  working([](Run& leased) -> Result<Json> {
    (void)leased.side_effect({.action = "send", .target = "a"}, []() -> Result<Performed> { return Performed{}; });
    (void)leased.log_agent_failure({.message = "failed"}).get();
    (void)leased.may_i({.tool = "crm"});
    return {};
  });
  ASSERT_TRUE(reaches(run, "succeeded"));
  const Json& reserved = server_->effects["fx_1"]["reserve"];
  EXPECT_EQ(reserved["run_id"], Json("run_1"));
  EXPECT_EQ(reserved["fence"], Json(1));
  EXPECT_EQ(reserved["client_id"], Json("acme"));
  const Json& record = server_->records["agent_logs"].at(0);
  EXPECT_EQ(record["agent"], Json("writer"));
  EXPECT_EQ(record["request_id"], Json("req_1"));
  EXPECT_EQ(record["correlation_id"], Json("c_1"));
  EXPECT_EQ(server_->of("/may-i?client_id=acme&platform=x&workflow=lead&tool=crm&agent=writer").size(), 1U);
}

TEST_F(WorkerTest, TheContextOfARunIsActiveInItsHandler) {
  const auto run =
      server_->add("lead", *Json::parse(R"({"traceparent":"00-1","baggage":"k=v","correlation_id":"c_1"})"));
  working([](Run&) -> Result<Json> {
    const Carried& carried = carried_now();
    return Json::array({carried.traceparent, carried.baggage, carried.correlation_id});
  });
  ASSERT_TRUE(reaches(run, "succeeded"));
  EXPECT_EQ(run->result, Json::array({"00-1", "k=v", "c_1"}));
}

}  // namespace
}  // namespace fettle::sdk
