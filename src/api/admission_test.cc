// What plans and the right to run agents allow, over the wire: at enqueue, retry, resume and lease.
#include <gmock/gmock.h>

#include "api/access_for_test.h"

namespace fettle::api {
namespace {

using boost::json::parse;
using boost::json::value;
using testing::HasSubstr;

constexpr const char* kAgentRun = R"({"workflow":"publish","agent":"maya"})";

class AdmissionTest : public AccessTest {
 protected:
  value answer(const http::Response& response, int status) {
    EXPECT_EQ(response.status, status) << response.body;
    boost::json::error_code error;
    return parse(response.body, error);
  }
  std::string run_of(const Headers& by, const char* body) {
    return std::string(answer(send("POST", "/api/v1/runs", body, by), 201).at("run_id").as_string());
  }
  value lease() {
    return answer(send("POST", "/api/v1/work/lease", R"({"runner_id":"w1","max":10})", worker_), 200).at("leases");
  }
  void report(const value& lease, const std::string& op, const std::string& more) {
    const std::string body = R"({"runner_id":"w1","reports":[{"op":")" + op + R"(","run_id":")" +
                             std::string(lease.at("run_id").as_string()) + R"(","fence":)" +
                             std::to_string(lease.at("fence").as_int64()) + "," + more + "}]}";
    EXPECT_THAT(send("POST", "/api/v1/work/report", body, worker_).body, HasSubstr(R"("ok":true)"));
  }
  void set_plan(const std::string& plan) { answer(send("PUT", "/api/v1/workspace/plan", plan, owner_), 200); }
  void grant(const std::string& roles) {
    answer(send("PUT", "/api/v1/workspace/run-ai", R"({"pack":"agency","roles":)" + roles + "}", owner_), 200);
  }
  std::string state_of(const std::string& id) {
    return std::string(answer(send("GET", "/api/v1/runs/" + id, "", owner_), 200).at("state").as_string());
  }
  void upkeep() { ASSERT_TRUE(runs_->upkeep_and_wait()); }

  void SetUp() override {
    AccessTest::SetUp();
    owner_ = person(access::Role::kOwner);
    operator_ = person(access::Role::kOperator);
    worker_ = program(access::bit(access::TokenScope::kAdmin));
  }
  Headers owner_, operator_, worker_;
};

TEST_F(AdmissionTest, ARoleWithoutTheRightNeitherEnqueuesNorRetriesNorResumesAgents) {
  const std::string dead = run_of(operator_, kAgentRun);
  report(lease().at(0), "fail", R"("error":{"message":"no","retryable":false})");
  const std::string paused = run_of(operator_, kAgentRun);
  answer(send("POST", "/api/v1/runs/" + paused + "/pause", R"({"reason":"wait"})", operator_), 200);
  grant(R"(["manager","admin","owner"])");
  const auto refused = send("POST", "/api/v1/runs", kAgentRun, operator_);
  EXPECT_EQ(refused.status, 403);
  EXPECT_THAT(refused.body, HasSubstr("run agents"));
  EXPECT_EQ(send("POST", "/api/v1/runs/" + dead + "/retry", R"({"reason":"x"})", operator_).status, 403);
  EXPECT_EQ(send("POST", "/api/v1/runs/" + paused + "/resume", R"({"reason":"x"})", operator_).status, 403);
  EXPECT_EQ(state_of(dead), "dead");
  run_of(operator_, R"({"workflow":"publish"})");
  const auto batch = answer(
      send("POST", "/api/v1/runs", R"({"runs":[{"workflow":"a"},{"workflow":"b","agent":"maya"}]})", operator_), 200);
  EXPECT_TRUE(batch.at("results").at(0).at("ok").as_bool());
  EXPECT_EQ(batch.at("results").at(1).at("error").at("status").as_int64(), 403);
  answer(send("POST", "/api/v1/runs/" + dead + "/retry", R"({"reason":"x"})", owner_), 200);
  answer(send("POST", "/api/v1/runs/" + paused + "/resume", R"({"reason":"x"})", owner_), 200);
}

TEST_F(AdmissionTest, ABulkRetrySkipsTheAgentsOfWhoeverLostTheRight) {
  const Headers manager = person(access::Role::kManager);
  const std::string id = run_of(manager, kAgentRun);
  report(lease().at(0), "fail", R"("error":{"message":"no","retryable":false})");
  grant(R"(["owner"])");
  const auto job = answer(send("POST", "/api/v1/runs/retry", R"({"filter":{},"reason":"x"})", manager), 202);
  EXPECT_EQ(job.at("total").as_int64(), 1);
  upkeep();
  const auto ended =
      answer(send("GET", "/api/v1/bulk-jobs/" + std::string(job.at("job_id").as_string()), "", manager), 200);
  EXPECT_EQ(ended.at("skipped").as_int64(), 1);
  EXPECT_EQ(state_of(id), "dead");
}

TEST_F(AdmissionTest, QueuedWorkOfAnAgentWaitsFromWhenWhoeverAskedForItLosesTheRight) {
  const std::string id = run_of(operator_, kAgentRun);
  grant(R"(["owner"])");
  EXPECT_TRUE(lease().as_array().empty());
  const auto held = answer(send("GET", "/api/v1/runs/" + id, "", owner_), 200);
  EXPECT_EQ(held.at("state").as_string(), "held");
  EXPECT_THAT(std::string(held.at("held_by").as_string()), HasSubstr("right:run_ai:usr_"));
  grant("[]");
  upkeep();
  EXPECT_EQ(lease().at(0).at("run_id").as_string(), id);
}

TEST_F(AdmissionTest, AnExecutorElsewhereHearsOfThePlanWhenItAsksAndItsReportsAreKept) {
  const auto may = [&](const std::string& query) {
    return answer(send("GET", "/api/v1/may-i?" + query, "", worker_), 200);
  };
  EXPECT_TRUE(may("workflow=publish&agent=maya").at("allowed").as_bool());
  set_plan(R"({"name":"small","agents":false,"workflows":["lead-*"]})");
  const auto refused = may("workflow=lead-intake&agent=maya");
  EXPECT_FALSE(refused.at("allowed").as_bool());
  EXPECT_THAT(std::string(refused.at("reason").as_string()), HasSubstr("small"));
  EXPECT_TRUE(refused.at("switch").is_null());
  EXPECT_FALSE(may("workflow=publish").at("allowed").as_bool());
  EXPECT_TRUE(may("workflow=lead-intake").at("allowed").as_bool());
  EXPECT_TRUE(may("platform=tiktok").at("allowed").as_bool()) << "no workflow is asked about";
  const auto made = send("POST", "/api/v1/runs", R"({"workflow":"publish","agent":"maya","observed":true})", worker_);
  EXPECT_EQ(made.status, 201) << "it runs already: that is a fact";
}

TEST_F(AdmissionTest, ARunningAgentIsTakenFromItsWorkerWithThePlan) {
  const std::string id = run_of(operator_, kAgentRun);
  const auto leased = lease().at(0);
  set_plan(R"({"name":"small","agents":false})");
  EXPECT_EQ(send("POST", "/api/v1/runs", kAgentRun, owner_).status, 403);
  upkeep();
  EXPECT_EQ(state_of(id), "held");
  const auto late =
      send("POST", "/api/v1/work/report",
           R"({"runner_id":"w1","reports":[{"op":"heartbeat","run_id":")" + id + R"(","fence":1}]})", worker_);
  EXPECT_THAT(late.body, HasSubstr(R"("code":"late")"));
  EXPECT_THAT(late.body, HasSubstr("plan does not include the work of agents"));
}

TEST_F(AdmissionTest, AMonthThatIsUsedUpSaysWhenTheNextBegins) {
  set_plan(R"({"name":"small","month_tokens_max":100})");
  run_of(operator_, R"({"workflow":"publish"})");
  report(lease().at(0), "complete", R"("tokens":150)");
  const auto refused = send("POST", "/api/v1/runs", R"({"workflow":"publish"})", operator_);
  EXPECT_EQ(refused.status, 429);
  const auto left = (access::next_month(clock_.now()) - clock_.now()) / kNanosPerSecond;
  EXPECT_NEAR(std::stod(std::string(refused.headers.get("Retry-After"))), static_cast<double>(left), 10);
  set_plan(R"({"name":"large","month_tokens_max":1000})");
  run_of(operator_, R"({"workflow":"publish"})");
}

TEST_F(AdmissionTest, APlanNamesItsWorkflowsAndHowManyRunAtOnce) {
  set_plan(R"({"name":"small","workflows":["lead-*"],"concurrent_runs_max":1})");
  EXPECT_EQ(send("POST", "/api/v1/runs", R"({"workflow":"publish"})", owner_).status, 403);
  run_of(operator_, R"({"workflow":"lead-a"})");
  run_of(operator_, R"({"workflow":"lead-b"})");
  const auto leased = lease();
  ASSERT_EQ(leased.as_array().size(), 1U);
  EXPECT_TRUE(lease().as_array().empty());
  report(leased.at(0), "complete", R"("tokens":1)");
  EXPECT_EQ(lease().as_array().size(), 1U);
}

TEST_F(AdmissionTest, WhoMayRunAgentsIsForThoseWhoManagePeople) {
  const std::string body = R"({"pack":"agency","roles":["viewer"]})";
  EXPECT_EQ(send("PUT", "/api/v1/workspace/run-ai", body, operator_).status, 403);
  const auto given = answer(send("PUT", "/api/v1/workspace/run-ai", body, person(access::Role::kAdmin)), 200);
  EXPECT_EQ(given.at("run_ai").at("agency").at(0).as_string(), "viewer");
  EXPECT_EQ(send("PUT", "/api/v1/workspace/run-ai", R"({"pack":"agency","roles":["king"]})", owner_).status, 400);
  EXPECT_EQ(send("PUT", "/api/v1/workspace/run-ai", R"({"pack":"agency"})", owner_).status, 400);
}

}  // namespace
}  // namespace fettle::api
