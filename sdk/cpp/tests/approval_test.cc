#include "fettle/sdk/approval.h"

#include <gtest/gtest.h>

#include "fake_server.h"

namespace fettle::sdk {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view kStep = "approval:publish";

Json told(const ApprovalDecision& decision) {
  return Json::array({decision.decision, decision.decided_by, decision.note, decision.edited});
}

class ApprovalTest : public testing::Test {
 protected:
  using Run = sdk::Run;  // and not the one of testing::Test

  static Result<Json> ask(Run& run) {
    const auto decision = run.approval("publish", {.title = "Publish?"});
    if (!decision) return fail(decision.error());
    return told(*decision);
  }

  std::shared_ptr<FakeRun> start(Handler handler) {
    const auto run = server_->add("lead");
    worker_.emplace(client_.worker({.workflows = {{"lead", std::move(handler)}}}));
    EXPECT_TRUE(worker_->start());
    return run;
  }
  void TearDown() override {
    if (worker_) worker_->stop(100ms);
  }
  bool reaches(const std::shared_ptr<FakeRun>& run, std::string_view state) {
    return server_->until([&] { return run->state == state; });
  }
  void decide(const std::shared_ptr<FakeRun>& run, Json result, std::string_view step = kStep) {
    ASSERT_TRUE(reaches(run, "waiting"));
    run->steps.push_back(Json::object({{"name", step}, {"status", "completed"}, {"result", std::move(result)}}));
    server_->ready(*run);
  }
  std::vector<std::string> operations(const FakeRun& run) {
    std::vector<std::string> out;
    for (const Json& report : run.reports) out.emplace_back(report["op"].as_string());
    return out;
  }

  std::shared_ptr<FakeServer> server_ = std::make_shared<FakeServer>();
  Client client_{{.transport = server_}};
  std::optional<Worker> worker_;
};

TEST_F(ApprovalTest, AQuestionEndsTheAttemptAndTheNextOneHasTheDecisionWithoutAskingAgain) {
  const auto run = start([](Run& leased) -> Result<Json> {
    leased.log("info", "about to ask");
    const auto decision = leased.approval("publish", {.title = "Publish?",
                                                      .role = "manager",
                                                      .details = Json::object({{"post", 7}}),
                                                      .note = "before noon",
                                                      .timeout = 1min});
    if (!decision) return fail(decision.error());
    return told(*decision);
  });
  ASSERT_TRUE(reaches(run, "waiting"));
  const Json question = server_->of("/approvals").at(0).body;
  EXPECT_EQ(question["run_id"], Json(run->run_id));
  EXPECT_EQ(question["fence"], Json(1));
  EXPECT_EQ(question["step"], Json(kStep));
  EXPECT_EQ(question["title"], Json("Publish?"));
  EXPECT_EQ(question["role"], Json("manager"));
  EXPECT_EQ(question["details"], *Json::parse(R"({"post":7,"note":"before noon"})"));
  EXPECT_TRUE(question["expires_at"].is_string());
  decide(run, *Json::parse(R"({"decision":"approved","by":"maya","note":null,"edited":{"post":8}})"));
  ASSERT_TRUE(reaches(run, "succeeded"));
  EXPECT_EQ(run->result, *Json::parse(R"(["approved","maya","",{"post":8}])"));
  EXPECT_EQ(server_->of("/approvals").size(), 1U);
  EXPECT_EQ(operations(*run), (std::vector<std::string>{"log", "heartbeat", "log", "complete"}));
  EXPECT_TRUE(run->late.empty());
}

TEST_F(ApprovalTest, ARejectionAndAnExpiredQuestionAreDecisionsToo) {
  const auto run = start(ask);
  decide(run, *Json::parse(R"({"decision":"rejected","by":"maya","note":"no"})"));
  ASSERT_TRUE(reaches(run, "succeeded"));
  EXPECT_EQ(run->result, *Json::parse(R"(["rejected","maya","no",null])"));
  const auto other = server_->add("lead");
  decide(other, *Json::parse(R"({"decision":"expired","by":null})"));
  ASSERT_TRUE(reaches(other, "succeeded"));
  EXPECT_EQ(other->result, *Json::parse(R"(["expired","","",null])"));
}

TEST_F(ApprovalTest, AQuestionWhoseAnswerWasLostIsTheSameQuestionWhenItIsRepeated) {
  server_->fail("/approvals", {{.cut_after = true}});
  const auto run = start(ask);
  ASSERT_TRUE(server_->until([&] { return server_->of("/approvals").size() == 2; }));
  EXPECT_EQ(server_->of("/approvals").at(0).key, server_->of("/approvals").at(1).key);
  decide(run, Json::object({{"decision", "approved"}}));
  ASSERT_TRUE(reaches(run, "succeeded"));
  EXPECT_TRUE(run->late.empty());
}

TEST_F(ApprovalTest, AQuestionThatTheServerRefusesFailsTheRun) {
  server_->fail("/approvals", {{.status = 400}});
  const auto run = start(ask);
  ASSERT_TRUE(reaches(run, "failed"));
  EXPECT_EQ(run->error["status"], Json(400));
  EXPECT_EQ(run->error["retryable"], Json(false));
}

TEST_F(ApprovalTest, ALeaseThatIsLostBeforeTheQuestionStopsTheRunWithTheReason) {
  const auto hold = std::make_shared<Gate>();
  server_->fail("/work/report", {{.hold = hold}});
  std::optional<Error> reason;
  const auto run = start([&](Run& leased) {
    auto asked = ask(leased);
    reason = leased.stop_reason();
    return asked;
  });
  ASSERT_TRUE(server_->until([&] { return !run->reports.empty(); }));
  server_->revoke(*run, Json::object({{"cancel", true}}));
  hold->open();
  ASSERT_TRUE(server_->until([&] { return !run->late.empty() && run->late.back()["op"].as_string() == "fail"; }));
  ASSERT_TRUE(reason);
  EXPECT_EQ(reason->kind, ErrorKind::kCancelled);
  EXPECT_EQ(server_->of("/approvals").size(), 1U);
}

TEST_F(ApprovalTest, NoHeartbeatFollowsAQuestionSinceTheLeaseEndsWithIt) {
  server_->heartbeat_ms = 20;
  const auto hold = std::make_shared<Gate>();
  server_->fail("/approvals", {{.hold = hold}});
  const auto run = start(ask);
  ASSERT_TRUE(reaches(run, "waiting"));
  const std::size_t beats = server_->reports("heartbeat").size();
  SystemClock().sleep({}, 100ms);  // five heartbeats' time
  EXPECT_EQ(server_->reports("heartbeat").size(), beats);
  hold->open();
  decide(run, Json::object({{"decision", "approved"}}));
  ASSERT_TRUE(reaches(run, "succeeded"));
  EXPECT_TRUE(run->late.empty());
}

TEST_F(ApprovalTest, WhatWasUsedOutsideOfStepsIsCountedBeforeTheQuestionEndsTheAttempt) {
  const auto run = start([](Run& leased) {
    leased.use({.tokens = 7, .cost_usd = 0.5});
    return ask(leased);
  });
  ASSERT_TRUE(reaches(run, "waiting"));
  const Json used = server_->reports("step_complete").at(0);
  EXPECT_EQ(used["name"], Json("before approval:publish"));
  EXPECT_EQ(used["tokens"], Json(7));
  EXPECT_EQ(used["cost_usd"], Json(0.5));
}

TEST_F(ApprovalTest, QuestionsOfOneNameAreToldApartByTheOrderOfTheCalls) {
  const auto run = start([](Run& leased) {
    auto first = ask(leased);
    return first ? ask(leased) : first;
  });
  for (const std::string step : {"approval:publish", "approval:publish#2"}) {
    ASSERT_TRUE(reaches(run, "waiting"));
    EXPECT_EQ(server_->of("/approvals").back().body["step"], Json(step));
    decide(run, Json::object({{"decision", "approved"}}), step);
  }
  EXPECT_TRUE(reaches(run, "succeeded"));
}

}  // namespace
}  // namespace fettle::sdk
