#include "fettle/sdk/client.h"

#include <gtest/gtest.h>

#include "fake_server.h"

namespace fettle::sdk {
namespace {

constexpr const char* kTraceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

class ClientTest : public testing::Test {
 protected:
  std::shared_ptr<FakeServer> server_ = std::make_shared<FakeServer>();
  std::shared_ptr<ManualClock> clock_ = std::make_shared<ManualClock>();
  Client client_{{.clock = clock_, .transport = server_}};
};

TEST_F(ClientTest, ATryWhoseAnswerWasLostIsRepeatedWithItsKeyAndTakesEffectOnce) {
  server_->fail("/runs", {{.cut_after = true}, {.status = 503}, {.cut_before = true}});
  ASSERT_TRUE(client_.enqueue({.workflow = "lead"}));
  const auto tries = server_->of("/runs");
  ASSERT_EQ(tries.size(), 4U);
  EXPECT_EQ(server_->runs.size(), 1U);
  for (const auto& one : tries) EXPECT_EQ(one.key, tries.front().key);
  EXPECT_EQ(tries.front().key.size(), 36U);
}

TEST_F(ClientTest, AProblemComesWithItsMembersAndIsNotRepeated) {
  server_->fail("/events", {{.status = 403}});
  const auto result = client_.post_event("paid");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind, ErrorKind::kProblem);
  EXPECT_EQ(result.error().status, 403);
  EXPECT_EQ(result.error().code, "code_403");
  EXPECT_EQ(result.error().request_id, "req_7");
  EXPECT_EQ(server_->of("/events").size(), 1U);
}

TEST_F(ClientTest, AFirstTryStillUnderWayIsWaitedFor) {
  server_->fail("/events", {{.status = 409, .retry_after = Milliseconds(1000)}, {.status = 409}});
  EXPECT_FALSE(client_.post("/api/v1/events", Json::object(), "a \"key\""));
  EXPECT_EQ(clock_->waits(), std::vector<Milliseconds>{Milliseconds(1000)});
  EXPECT_EQ(server_->of("/events").front().key, "a__key_");
}

TEST_F(ClientTest, AServerThatIsAwayEndsAsUnreachableAfterBoundedTime) {
  server_->fail("/events", std::vector<Fault>(100, {.cut_before = true}));
  EXPECT_EQ(client_.post_event("paid").error().kind, ErrorKind::kUnreachable);
  Milliseconds waited{0};
  for (const Milliseconds wait : clock_->waits()) waited += wait;
  EXPECT_GT(waited, Milliseconds(20'000));
  EXPECT_LE(waited, Milliseconds(30'000));
}

TEST(UrlTest, OnlyHttpIsSpoken) {
  for (const char* url : {"ftp://x", "no url"}) {
    Client client({.url = url});
    EXPECT_EQ(client.get("/api/v1/runs").error().kind, ErrorKind::kInvalidValue) << url;
  }
}

TEST_F(ClientTest, RunsSubmittedInARowTravelTogether) {
  auto gate = std::make_shared<Gate>();
  server_->fail("/runs", {{.hold = gate}, {.hold = gate}});
  std::vector<std::future<Result<EnqueuedRun>>> futures;
  for (int i = 0; i < 102; ++i) futures.push_back(client_.submit({.workflow = "lead"}));
  gate->open();
  for (auto& future : futures) EXPECT_TRUE(future.get());
  EXPECT_LE(server_->of("/runs").size(), 5U);
}

TEST_F(ClientTest, ARunTravelsUnderTheNamesOfTheApiWithTheCallersContext) {
  const Carrying carrying({.traceparent = kTraceparent, .tracestate = "a=1", .baggage = "correlation_id=c%201"});
  ASSERT_TRUE(client_.enqueue({.workflow = "lead",
                               .payload = Json::object({{"a", 1}}),
                               .client_id = "acme",
                               .run_at = Clock::Wall(Milliseconds(1'767'323'045'678)),
                               .max_retries = 0,
                               .retry = {.base = Milliseconds(5)},
                               .trigger = {.source = "mail", .event_key = "inbox"}}));
  const Json expected = *Json::parse(
      R"({"workflow":"lead","client_id":"acme","payload":{"a":1},"run_at":"2026-01-02T03:04:05.678Z","max_retries":0,
          "retry":{"base_ms":5},"correlation_id":"c 1","traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
          "tracestate":"a=1","baggage":"correlation_id=c%201","trigger":{"source":"mail","event_key":"inbox"}})");
  EXPECT_EQ(server_->of("/runs").front().body["runs"].items().front(), expected);
}

TEST_F(ClientTest, EachOfManyRunsHasItsOwnResult) {
  const std::vector<NewRun> runs = {
      {.workflow = "lead"}, {.workflow = "forbidden"}, {.workflow = ""}, {.workflow = "x"}};
  const auto made = client_.enqueue_many(runs);
  ASSERT_EQ(made.size(), 4U);
  EXPECT_TRUE(made[0]);
  EXPECT_EQ(made[1].error().status, 403);
  EXPECT_EQ(made[2].error().kind, ErrorKind::kInvalidValue);
  EXPECT_TRUE(made[3]);
}

TEST_F(ClientTest, RecordsCarryTheIdentifiersOfTheContext) {
  const Carrying carrying({.traceparent = kTraceparent, .correlation_id = "c_1"});
  (void)client_.log_agent_failure(
      {.message = "failed", .step_name = "post", .error = "no", .ids = {.run_id = "run_1", .step_id = "4"}});
  (void)client_.log_workflow_failure({.message = "failed", .workflow = "lead", .retry_attempt = 0});
  (void)client_.log_audit_event({.action = "job.delete",
                                 .id = "mine-1",
                                 .actor = {.id = "u_1", .type = "user"},
                                 .target = {.id = "j_1"},
                                 .surface = "api",
                                 .lane = "background",
                                 .summary = "gone",
                                 .payload = Json::object({{"id", 1}})});
  client_.flush();
  const std::string ids =
      R"("correlation_id":"c_1","trace_id":"0af7651916cd43dd8448eb211c80319c","span_id":"b7ad6b7169203331",)";
  EXPECT_EQ(
      server_->records["agent_logs"].at(0),
      *Json::parse("{" + ids + R"("run_id":"run_1","step_id":"4","level":"error","message":"failed","step_name":"post",
                                        "error":"no"})"));
  EXPECT_EQ(server_->records["workflow_failures"].at(0),
            *Json::parse("{" + ids + R"("workflow":"lead","message":"failed","retry_attempt":0})"));
  EXPECT_EQ(server_->records["audit_logs"].at(0),
            *Json::parse("{" + ids +
                         R"("action":"job.delete","id":"mine-1","actor_type":"user","actor_id":"u_1","target_id":"j_1",
                                        "surface":"api","lane":"background","payload_summary":"gone","payload":{"id":1}})"));
}

TEST_F(ClientTest, AnObservedRunReportsItsStepsAndItsEnd) {
  auto run = client_.start_run({.workflow = "batch"});
  ASSERT_TRUE(run);
  run->use({.tokens = 5});
  EXPECT_TRUE(run->step("one", [](StepScope& step) -> Result<Json> {
    step.use({.tokens = 3});
    return 1;
  }));
  EXPECT_FALSE(run->step("two", [](StepScope&) -> Result<Json> { throw std::runtime_error("no"); }));
  EXPECT_TRUE(run->fail(fatal_error("no")));
  EXPECT_TRUE(server_->of("/runs").front().body["observed"].as_bool());
  std::vector<std::string> said;
  for (const auto& one : server_->of("/runs/run_1/steps")) {
    for (const Json& step : one.body["steps"].items()) {
      said.push_back(std::string(step["name"].as_string()) + " " + std::string(step["status"].as_string()));
    }
  }
  EXPECT_EQ(said, (std::vector<std::string>{"one running", "one succeeded", "two running", "two failed"}));
  const Json end = server_->of("/runs/run_1/end").at(0).body;
  EXPECT_EQ(end["status"], Json("failed"));
  EXPECT_EQ(end["tokens"], Json(5));
}

TEST_F(ClientTest, AnObservedRunLeftWithoutAnEndHasFailed) {
  {
    const auto run = client_.start_run({.workflow = "batch"});
  }
  EXPECT_EQ(server_->of("/runs/run_1/end").at(0).body["error"]["code"], Json("abandoned"));
}

TEST_F(ClientTest, AVerdictIsKeptAsLongAsTheServerSays) {
  const Question question{.client_id = "a b", .tool = "crm"};
  const auto source = [&] { return client_.may_i(question)->source; };
  EXPECT_EQ(source(), Verdict::Source::kServer);
  EXPECT_EQ(source(), Verdict::Source::kCache);
  clock_->advance(Milliseconds(1001));
  EXPECT_EQ(source(), Verdict::Source::kServer);
  EXPECT_EQ(server_->of("/may-i?client_id=a%20b&tool=crm").size(), 2U);
}

TEST_F(ClientTest, WhileTheServerIsAwayTheRuleOfTheClassDecides) {
  server_->verdict.set("on_unreachable", "allow");
  EXPECT_TRUE(client_.may_i({.action_class = "read"})->allowed);
  clock_->advance(Milliseconds(1001));
  server_->fail("/may-i", std::vector<Fault>(3, {.status = 503}));
  const auto verdict = client_.may_i({.action_class = "read"});
  EXPECT_TRUE(verdict->allowed);
  EXPECT_EQ(verdict->source, Verdict::Source::kUnreachable);
  EXPECT_FALSE(client_.may_i({.action_class = "publish"})->allowed);
  EXPECT_TRUE(client_.may_i({.action_class = "publish"}, {.on_unreachable = OnUnreachable::kAllow})->allowed);
  EXPECT_TRUE(clock_->waits().empty());  // not repeated
}

TEST_F(ClientTest, AQuestionThatIsRefusedIsAnError) {
  server_->fail("/may-i", {{.status = 401}});
  EXPECT_EQ(client_.may_i({}).error().status, 401);
}

}  // namespace
}  // namespace fettle::sdk
