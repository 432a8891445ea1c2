// What outlives an attempt, on the server at FETTLE_URL: sleeps, events, decisions, stops, leases and side effects. The
// one in memory has no clock, no switches and nobody who decides. The SDKs for other languages keep the same list.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <list>
#include <thread>

#include "caller.h"
#include "fake_server.h"

namespace fettle::sdk {
namespace {

using namespace std::chrono_literals;

// What is tried again is tried at once.
const RunRetry kSoon{.base = 1ms, .cap = 1ms};

class DurableTest : public testing::Test {
 protected:
  using Run = sdk::Run;  // and not the one of testing::Test

  void SetUp() override {
    if (std::getenv("FETTLE_URL") == nullptr) GTEST_SKIP() << "needs a server";
  }
  void TearDown() override {
    for (Worker& worker : workers_) worker.stop(0ms);
  }

  Worker& working(const std::string& pool, Handler handler) {
    workers_.push_back(client_.worker({.workflows = {{"durable", std::move(handler)}}, .pool = pool}));
    EXPECT_TRUE(workers_.back().start());
    return workers_.back();
  }
  std::string enqueue(const NewRun& run) {
    const auto made = client_.enqueue(run);
    EXPECT_TRUE(made) << made.error().message;
    return made ? made->run_id : "";
  }
  // One run in a pool of its own, with a worker there.
  std::string start(Handler handler, NewRun run = {}) {
    run.workflow = "durable";
    run.pool = random_uuid();
    const std::string run_id = enqueue(run);
    working(run.pool, std::move(handler));
    return run_id;
  }

  // Null when it gave up.
  template <class Probe>
  static Json until(const Probe& probe) {
    for (int i = 0; i < 1'000; ++i) {
      if (Json got = probe(); !got.is_null()) return got;
      std::this_thread::sleep_for(20ms);
    }
    return {};
  }
  Json get(const std::string& path) {
    Result<Json> got = client_.get("/api/v1" + path);
    EXPECT_TRUE(got) << path << ": " << got.error().message;
    return got ? *std::move(got) : Json();
  }
  void post(const std::string& path, const Json& body) {
    const Result<Json> answer = client_.post("/api/v1" + path, body);
    EXPECT_TRUE(answer) << path << ": " << answer.error().message;
  }
  Json run_of(const std::string& run_id) { return get("/runs/" + run_id); }
  Json reaches(const std::string& run_id, std::string_view state) {
    Json run = until([&] {
      Json now = run_of(run_id);
      return now["state"].as_string() == state ? now : Json();
    });
    EXPECT_FALSE(run.is_null()) << run_id << " did not become " << state << ": " << run_of(run_id).text();
    return run;
  }
  Json ends(const std::string& run_id) { return reaches(run_id, "succeeded"); }

  std::vector<Json> approvals(const std::string& run_id) {
    std::vector<Json> found;
    const Json page = get("/approvals?all=true");
    for (const Json& one : page["items"].items()) {
      if (one["run_id"].as_string() == run_id) found.push_back(one);
    }
    return found;
  }
  void decide(const std::string& run_id, const Json& body) {
    reaches(run_id, "waiting");
    const auto asked = approvals(run_id);
    ASSERT_EQ(asked.size(), 1U);
    post("/approvals/" + std::string(asked[0]["id"].as_string()) + "/decide", body);
  }

  static Result<Json> asking(Run& run) {
    const auto decision =
        run.approval("publish", {.title = "Publish?", .details = Json::object({{"post", 7}}), .note = "before noon"});
    if (!decision) return fail(decision.error());
    return Json::array({decision->decision, decision->decided_by, decision->note, decision->edited});
  }

  // Goes on until the run must stop, and notes why: each step brings news of it.
  Result<Json> until_stopped(Run& run) {
    began_.open();
    while (true) {
      const auto step = run.step("still at it", [](StepScope&) -> Result<Json> {
        std::this_thread::sleep_for(50ms);
        return {};
      });
      if (step) continue;
      reason_ = run.stop_reason() ? run.stop_reason()->kind : ErrorKind::kFatal;
      stopped_.open();
      return step;
    }
  }
  static Result<Json> note_attempt(Run& run, std::string_view step) {
    return run.step(step, [&](StepScope&) -> Result<Json> { return run.attempt(); });
  }

  Client client_;
  std::list<Worker> workers_;
  Gate began_, stopped_;
  std::atomic<ErrorKind> reason_ = ErrorKind::kFatal;
};

TEST_F(DurableTest, ARunThatSleepsGoesOnWhenItsTimeHasCome) {
  const auto begin = std::chrono::steady_clock::now();
  const Json run = ends(start([](Run& leased) -> Result<Json> {
    if (auto before = note_attempt(leased, "before"); !before) return before;
    if (const auto slept = leased.sleep(200ms); !slept) return fail(slept.error());
    return {};
  }));
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 200ms);
  EXPECT_EQ(run["attempt"], Json(2));
  EXPECT_EQ(run["retry_count"], Json(0));
  EXPECT_EQ(run["steps"].items().at(0)["result"], Json(1));
}

TEST_F(DurableTest, ARunThatWaitsForAnEventGetsItsPayload) {
  const std::string key = random_uuid();
  const std::string run_id = start([key](Run& run) { return run.wait_for("paid", {.key = key}); });
  EXPECT_EQ(reaches(run_id, "waiting")["waits_for"], Json("signal"));
  EXPECT_TRUE(client_.post_event("paid", key, Json::object({{"sum", 3}})));
  EXPECT_EQ(ends(run_id)["result"], Json::object({{"sum", 3}}));
}

TEST_F(DurableTest, AnEventThatNeverComesIsToldToWhoeverWaitsForIt) {
  const std::string run_id = start([](Run& run) -> Result<Json> {
    auto came = run.wait_for("paid", {.key = random_uuid(), .timeout = 200ms});
    if (!came && came.error().kind == ErrorKind::kTimedOut) return "never";
    return came;
  });
  EXPECT_EQ(ends(run_id)["result"], Json("never"));
}

TEST_F(DurableTest, AnApprovalSaysWhoApprovedWithWhichNoteAndChanges) {
  const std::string run_id = start(asking, {.client_id = "acme"});
  EXPECT_EQ(reaches(run_id, "waiting")["waits_for"], Json("approval"));
  const Json asked = approvals(run_id).at(0);
  EXPECT_EQ(asked["title"], Json("Publish?"));
  EXPECT_EQ(asked["details"], *Json::parse(R"({"post":7,"note":"before noon"})"));
  EXPECT_EQ(asked["client_id"], Json("acme"));
  EXPECT_EQ(asked["step"], Json("approval:publish"));
  decide(run_id, *Json::parse(R"({"decision":"approve","note":"fine","edited":{"post":8}})"));
  const Json::Array result = ends(run_id)["result"].items();
  ASSERT_EQ(result.size(), 4U);
  EXPECT_EQ(result[0], Json("approved"));
  EXPECT_FALSE(result[1].as_string().empty());
  EXPECT_EQ(result[2], Json("fine"));
  EXPECT_EQ(result[3], Json::object({{"post", 8}}));
}

TEST_F(DurableTest, ARejectionIsADecision) {
  const std::string run_id = start(asking);
  decide(run_id, *Json::parse(R"({"decision":"reject","note":"not today"})"));
  const Json run = ends(run_id);
  EXPECT_EQ(run["result"].items().at(0), Json("rejected"));
  EXPECT_EQ(run["result"].items().at(2), Json("not today"));
}

TEST_F(DurableTest, AnApprovalThatNobodyDecidesExpires) {
  const std::string run_id = start([](Run& run) -> Result<Json> {
    const auto decision = run.approval("publish", {.title = "Publish?", .timeout = 2s});
    if (!decision) return fail(decision.error());
    return Json::array({decision->decision, decision->decided_by});
  });
  EXPECT_EQ(ends(run_id)["result"], Json::array({"expired", ""}));
  EXPECT_EQ(approvals(run_id).at(0)["state"], Json("expired"));
}

TEST_F(DurableTest, AnApprovalIsAskedForOnceWhateverBecomesOfTheAttempts) {
  std::atomic<int> behind = 0;
  const std::string run_id = start(
      [&behind](Run& run) -> Result<Json> {
        run.use({.tokens = 5});
        auto decided = asking(run);
        if (decided && ++behind < 3) return fail(retryable_error("behind the decision"));
        return decided;
      },
      {.retry = kSoon});
  decide(run_id, *Json::parse(R"({"decision":"approve"})"));
  const Json run = ends(run_id);
  EXPECT_EQ(behind, 3);
  EXPECT_EQ(run["retry_count"], Json(2));
  EXPECT_EQ(run["tokens"], Json(20)) << "one attempt that asked, three behind it";
  EXPECT_EQ(approvals(run_id).size(), 1U);
}

TEST_F(DurableTest, AQuestionThatTheServerRefusesIsADeadLetter) {
  const std::string run_id = start([](Run& run) -> Result<Json> {
    const auto decision = run.approval("publish", {});
    if (!decision) return fail(decision.error());
    return {};
  });
  EXPECT_EQ(reaches(run_id, "dead")["last_error"]["http_status"], Json(400));
}

TEST_F(DurableTest, ACancelledRunStopsItsHandler) {
  const std::string run_id = start([this](Run& run) { return until_stopped(run); });
  ASSERT_TRUE(began_.wait());
  post("/runs/" + run_id + "/cancel", Json::object({{"reason", "no longer wanted"}}));
  EXPECT_EQ(reaches(run_id, "cancelled")["attempt"], Json(1));
  ASSERT_TRUE(stopped_.wait());
  EXPECT_EQ(reason_, ErrorKind::kCancelled);
}

TEST_F(DurableTest, AKillSwitchStopsARunThatGoesOnUncountedWhenItIsLifted) {
  const std::string client_id = random_uuid();
  const std::string run_id = start(
      [this](Run& run) -> Result<Json> {
        auto before = note_attempt(run, "done before");
        return before && run.attempt() == 1 ? until_stopped(run) : before;
      },
      {.client_id = client_id});
  ASSERT_TRUE(began_.wait());
  const auto thrown = client_.post(
      "/api/v1/switches", Json::object({{"mode", "kill"}, {"client_id", client_id}, {"reason", "the wrong account"}}));
  ASSERT_TRUE(thrown) << thrown.error().message;
  ASSERT_TRUE(stopped_.wait());
  EXPECT_EQ(reason_, ErrorKind::kStopped);
  post("/switches/" + std::string((*thrown)["id"].as_string()) + "/resume",
       Json::object({{"reason", "it was the right one"}}));
  const Json run = ends(run_id);
  EXPECT_EQ(run["retry_count"], Json(0));
  EXPECT_EQ(run["steps"].items().at(0)["result"], Json(1));
}

TEST_F(DurableTest, ALeaseThatWasGivenAwayStopsTheHandlerThatHeldIt) {
  const std::string run_id =
      start([this](Run& run) { return run.attempt() == 1 ? until_stopped(run) : Result<Json>(Json()); });
  ASSERT_TRUE(began_.wait());
  // As after a pause of the worker: the lease goes, and nobody tells its holder.
  const Json report = Json::object({{"op", "release"}, {"run_id", run_id}, {"fence", 1}, {"reason", "shutdown"}});
  post("/work/report",
       Json::object({{"runner_id", run_of(run_id)["lease"]["runner_id"]}, {"reports", Json::array({report})}}));
  const Json run = ends(run_id);
  EXPECT_EQ(run["attempt"], Json(2));
  EXPECT_EQ(run["retry_count"], Json(0));
  ASSERT_TRUE(stopped_.wait());
  EXPECT_EQ(reason_, ErrorKind::kLeaseLost);
}

TEST_F(DurableTest, AWorkerThatIsStoppedLetsItsHandlerFinish) {
  const std::string pool = random_uuid();
  Gate finish;
  Worker& worker = working(pool, [&](Run&) -> Result<Json> {
    began_.open();
    EXPECT_TRUE(finish.wait());
    return {};
  });
  const std::string run_id = enqueue({.workflow = "durable", .pool = pool});
  ASSERT_TRUE(began_.wait());
  std::jthread stopping([&] { worker.stop(); });
  finish.open();
  stopping.join();
  EXPECT_EQ(run_of(run_id)["state"], Json("succeeded"));
}

TEST_F(DurableTest, WhatAStoppedWorkerGivesBackIsResumedBehindItsLastStep) {
  const std::string pool = random_uuid();
  const Handler handler = [this](Run& run) {
    auto one = note_attempt(run, "one");
    return one && run.attempt() == 1 ? until_stopped(run) : one;
  };
  Worker& first = working(pool, handler);
  const std::string run_id = enqueue({.workflow = "durable", .pool = pool});
  ASSERT_TRUE(began_.wait());
  first.stop(0ms);
  EXPECT_EQ(reason_, ErrorKind::kShutdown);
  EXPECT_EQ(run_of(run_id)["state"], Json("ready"));
  working(pool, handler);
  const Json run = ends(run_id);
  EXPECT_EQ(run["attempt"], Json(2));
  EXPECT_EQ(run["retry_count"], Json(0));
  EXPECT_EQ(run["steps"].items().at(0)["result"], Json(1));
}

TEST_F(DurableTest, ASideEffectOfWhichNobodyKnowsIsSettledByLookingAndNeverRepeated) {
  const SideEffect effect{
      .action = "note", .target = random_uuid(), .payload = "hello", .client_id = "acme", .platform = "x"};
  std::atomic<int> performed = 0;
  const Perform perform = [&]() -> Result<Performed> {
    ++performed;
    return fail(retryable_error("the connection broke behind the request"));
  };
  const std::string run_id = start(
      [&](Run& run) -> Result<Json> {
        const auto doubt = run.side_effect(effect, perform);
        if (doubt || doubt.error().kind != ErrorKind::kEffectUnknown) return fail(fatal_error("no doubt"));
        if (run.attempt() == 1) return fail(retryable_error("somebody else shall look"));
        bool listed = false;
        const Json page = get("/side-effects?to_check=true");
        for (const Json& one : page["items"].items()) {
          listed = listed || one["side_effect_id"].as_string() == doubt.error().side_effect_id;
        }
        const auto settled = run.side_effect(effect, perform, [] {
          return Seen{.visible = true, .proof = Json::object({{"url", "https://x.example/1"}})};
        });
        if (!settled) return fail(settled.error());
        return Json::array({listed, settled->earlier, settled->unverified});
      },
      {.retry = kSoon});
  EXPECT_EQ(ends(run_id)["result"], Json::array({true, true, false}));
  EXPECT_EQ(performed, 1);
}

TEST_F(DurableTest, EveryOptionOfARunReachesTheServer) {
  const std::string key = random_uuid();
  const auto due = std::chrono::system_clock::now() + 50ms;
  NewRun options{.workflow = "durable",
                 .payload = Json::object({{"n", 1}}),
                 .client_id = "acme",
                 .platform = "x",
                 .lane = "background",
                 .agent = "writer",
                 .model = "m-1",
                 .priority = 2,
                 .run_at = due,
                 .max_retries = 7,
                 .retry = {.base = 10ms, .factor = 3, .cap = 20ms, .elapsed_max = 1s},
                 .timeout = 1min,
                 .concurrency_key = key,
                 .idempotency_key = key,
                 .correlation_id = key,
                 .job_id = "job_1",
                 .request_id = "req_1",
                 .trigger = {.source = "webhook", .event_key = "evt_1"}};
  const std::string run_id = start(
      [](Run& run) -> Result<Json> { return Json::array({run.job_id(), run.request_id(), run.lane()}); }, options);
  const Json run = ends(run_id);
  EXPECT_EQ(run["result"], Json::array({"job_1", "req_1", "background"}));
  EXPECT_EQ(run["client_id"], Json("acme"));
  EXPECT_EQ(run["platform"], Json("x"));
  EXPECT_EQ(run["agent"], Json("writer"));
  EXPECT_EQ(run["priority"], Json(2));
  EXPECT_EQ(run["max_retries"], Json(7));
  EXPECT_EQ(run["concurrency_key"], Json(key));
  EXPECT_EQ(run["payload"], Json::object({{"n", 1}}));
  const Json& context = run["context"];
  EXPECT_EQ(context["correlation_id"], Json(key));
  EXPECT_EQ(context["model"], Json("m-1"));
  EXPECT_EQ(context["trigger"], *Json::parse(R"({"source":"webhook","event_key":"evt_1"})"));
  EXPECT_EQ(canonical_json(context["retry"]), R"({"base_ms":10,"cap_ms":20,"elapsed_max_ms":1000,"factor":3})");
  EXPECT_EQ(context["timeout_ms"], Json(60'000));
  EXPECT_GE(run["started_at"].as_string(), rfc3339(due));
  options.pool = run["pool"].as_string();
  const auto again = client_.enqueue(options);
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->run_id, run_id);
  EXPECT_FALSE(again->created);
}

TEST_F(DurableTest, RecordsKeepWhatIsSaidOfAStepAndAnAuditEventAllThatTheServerTakes) {
  const Identifiers ids{.run_id = random_uuid(), .step_id = "4"};
  const std::string audit_id = "mine-" + random_uuid();
  (void)client_.log_workflow_failure({.message = "stalled", .step_name = "post", .workflow = "lead", .ids = ids});
  (void)client_.log_agent_failure({.message = "failed", .step_name = "post", .ids = ids});
  (void)client_.log_audit_event({.action = "job.delete",
                                 .id = audit_id,
                                 .surface = "api",
                                 .lane = "background",
                                 .payload = Json::object({{"job", 1}}),
                                 .ids = {.run_id = ids.run_id}});
  client_.flush();
  for (const std::string collection : {"workflow_failures", "agent_logs"}) {
    const Json record = get("/" + collection + "?ref=" + ids.run_id)["items"].items().at(0);
    EXPECT_EQ(record["step_id"], Json("4"));
    EXPECT_EQ(record["step_name"], Json("post"));
  }
  const Json audit = until([&] {
    const Json found = get("/audit_logs?run_id=" + ids.run_id);
    return found["items"].items().empty() ? Json() : found["items"].items()[0];
  });
  EXPECT_EQ(audit["entry"]["audit_id"], Json(audit_id));
  EXPECT_EQ(audit["entry"]["surface"], Json("api"));
  EXPECT_EQ(audit["entry"]["lane"], Json("background"));
  EXPECT_EQ(audit["details"]["payload"], Json::object({{"job", 1}}));
}

}  // namespace
}  // namespace fettle::sdk
