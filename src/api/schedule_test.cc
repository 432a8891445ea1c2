// Schedules, retry policies, what a run brings with it, and what workers say besides, over the wire.
#include <gmock/gmock.h>

#include "api/work_for_test.h"

namespace fettle::api {
namespace {

using boost::json::value;
using testing::HasSubstr;

std::string text(const value& one) { return std::string(one.as_string()); }

class ScheduleTest : public WorkTest {};

TEST_F(ScheduleTest, AScheduleIsMadeShownPausedAndRemoved) {
  const std::string body =
      R"({"name":"morning/post","cron":"5 8 * * *","time_zone":"UTC",
          "run":{"workflow":"publish","client_id":"c1","agent":"maya","payload":{"slot":1},"timeout_ms":1000}})";
  EXPECT_EQ(send("POST", "/api/v1/schedules", body, {}, "reader").status, 403);
  const auto made = post("/api/v1/schedules", body, 201);
  EXPECT_EQ(text(made.at("next_at")), "2027-01-15T08:05:00.000Z");
  EXPECT_EQ(text(post("/api/v1/schedules", body, 200).at("name")), "morning/post") << "the same name: replaced";
  const std::string path = "/api/v1/schedules/morning%2Fpost";
  EXPECT_EQ(get(path).at("run").at("payload").at("slot").as_int64(), 1);
  EXPECT_EQ(get("/api/v1/schedules").at("items").as_array().size(), 1U);
  EXPECT_EQ(send("GET", path, "", {}, "other").status, 404) << "another workspace's";
  EXPECT_EQ(send("GET", path, "", {}, "limited").status, 200) << "of its client";

  tick(std::chrono::minutes(6));
  const auto fired = get(path);
  EXPECT_EQ(get("/api/v1/runs").at("items").at(0).at("run_id"), fired.at("last_run_id"));
  EXPECT_EQ(text(fired.at("next_at")), "2027-01-16T08:05:00.000Z");

  EXPECT_EQ(send("POST", path + "/pause", R"({})").status, 400) << "a reason is needed";
  EXPECT_TRUE(post(path + "/pause", R"({"reason":"holiday"})").at("paused").as_bool());
  tick(std::chrono::hours(48));
  EXPECT_EQ(get("/api/v1/runs").at("items").as_array().size(), 1U);
  EXPECT_EQ(text(post(path + "/resume", R"({"reason":"back"})").at("next_at")), "2027-01-18T08:05:00.000Z");
  EXPECT_EQ(send("DELETE", path + "?reason=done", "", {}, "reader").status, 403);
  EXPECT_EQ(send("DELETE", path + "?reason=done").status, 200);
  EXPECT_EQ(send("DELETE", path).status, 404);
  EXPECT_EQ(journal_.audits.back().action, "schedule.remove");
  EXPECT_EQ(journal_.audits.back().summary, "done");
}

TEST_F(ScheduleTest, AScheduleThatCannotBeIsRefused) {
  const auto status = [&](const std::string& body) { return send("POST", "/api/v1/schedules", body).status; };
  EXPECT_EQ(status(R"({"name":"s","cron":"61 * * * *","run":{"workflow":"w"}})"), 400);
  EXPECT_EQ(status(R"({"name":"s","cron":"* * * * *","time_zone":"Mars/Base","run":{"workflow":"w"}})"), 400);
  EXPECT_EQ(status(R"({"name":"s","cron":"* * * * *"})"), 400);
  EXPECT_EQ(status(R"({"name":"s","cron":"* * * * *","run":{"workflow":"w","idempotency_key":"k"}})"), 400);
  EXPECT_EQ(status(R"({"cron":"* * * * *","run":{"workflow":"w"}})"), 400);
}

TEST_F(ScheduleTest, RetryPoliciesAreSetByWorkflowAndStep) {
  const auto put = [&](const std::string& body, const std::string& by = "worker") {
    return send("PUT", "/api/v1/retry-policies", body, {}, by);
  };
  EXPECT_EQ(put(R"({"workflow":"publish","max_retries":1,"base_ms":0,"cap_ms":0})", "reader").status, 403);
  EXPECT_EQ(put(R"({"workflow":"publish","max_retries":1,"base_ms":0,"cap_ms":0})").status, 200);
  EXPECT_EQ(put(R"({"workflow":"publish","step":"post","max_retries":2,"base_ms":1000,"cap_ms":1000})").status, 200);
  EXPECT_EQ(put(R"({"factor":0.1})").status, 400);
  const auto list = get("/api/v1/retry-policies");
  ASSERT_EQ(list.at("items").as_array().size(), 2U);
  EXPECT_TRUE(list.at("items").at(0).at("step").is_null());
  EXPECT_EQ(text(list.at("items").at(1).at("step")), "post");
  EXPECT_EQ(list.at("default").at("max_retries").as_int64(), 3);

  const std::string id = add_run(R"({"workflow":"publish"})");
  const auto lease = lease_one();
  const auto step = report(lease, "step_fail", R"("name":"post","error":{"message":"503","status":503})");
  EXPECT_TRUE(step.at("will_retry").as_bool()) << "in place";
  EXPECT_EQ(text(report(lease, "fail", R"("error":{"message":"503","status":503})").at("state")), "ready");
  EXPECT_EQ(text(report(lease_one(), "fail", R"("error":{"message":"503","status":503})").at("state")), "dead");
  EXPECT_EQ(get("/api/v1/runs/" + id).at("max_retries").as_int64(), 1);

  EXPECT_EQ(send("DELETE", "/api/v1/retry-policies?workflow=publish").status, 200);
  EXPECT_EQ(send("DELETE", "/api/v1/retry-policies?workflow=publish").status, 404);
  EXPECT_EQ(journal_.audits.back().action, "retry_policy.remove");
}

TEST_F(ScheduleTest, ARunsOwnRetryIsObeyed) {
  const std::string id = add_run(R"({"workflow":"publish","retry":{"base_ms":0,"cap_ms":0,"elapsed_max_ms":60000}})");
  EXPECT_EQ(text(report(lease_one(), "fail", R"("error":{"message":"503","status":503})").at("state")), "ready")
      << "without a delay";
  clock_.advance(std::chrono::seconds(5));
  const auto lease = lease_one();
  clock_.advance(std::chrono::seconds(5));
  report(lease, "extend", R"("lease_ms":120000)");
  clock_.advance(std::chrono::seconds(60));
  EXPECT_EQ(text(report(lease, "fail", R"("error":{"message":"503","status":503})").at("state")), "dead");
  EXPECT_EQ(text(get("/api/v1/runs/" + id).at("failure_reason")), "elapsed_exhausted");
  EXPECT_EQ(send("POST", "/api/v1/runs", R"({"workflow":"w","retry":{"factor":0.5}})").status, 400);
}

TEST_F(ScheduleTest, AnAttemptThatTakesTooLongHasFailedThoughItsWorkerBeats) {
  const std::string id = add_run(R"({"workflow":"publish","timeout_ms":15000,"retry":{"base_ms":0,"cap_ms":0}})");
  const auto lease = lease_one();
  for (int i = 0; i < 2; ++i) {
    tick(std::chrono::seconds(7));
    EXPECT_TRUE(report(lease, "heartbeat").at("ok").as_bool());
  }
  tick(std::chrono::seconds(2));
  EXPECT_EQ(text(report(lease, "heartbeat").at("error").at("code")), "late");
  const auto shown = get("/api/v1/runs/" + id);
  EXPECT_EQ(text(shown.at("state")), "ready");
  EXPECT_EQ(text(shown.at("last_error").at("class")), "timeout");
  EXPECT_EQ(text(shown.at("attempts").at(0).at("ended")), "timed_out");
  EXPECT_EQ(shown.at("retry_count").as_int64(), 1);
  const auto again = lease_one();
  tick(std::chrono::seconds(6));
  EXPECT_TRUE(report(again, "heartbeat").at("ok").as_bool()) << "its own time begins with its lease";
}

TEST_F(ScheduleTest, ALeaseIsExtendedByAsMuchAsItsWorkerAsks) {
  add_run();
  const auto lease = lease_one();
  const auto told = report(lease, "extend", R"("lease_ms":60000)");
  EXPECT_EQ(text(told.at("lease_expires_at")), "2027-01-15T08:01:00.000Z");
  tick(std::chrono::seconds(30));
  EXPECT_EQ(text(report(lease, "heartbeat").at("lease_expires_at")), "2027-01-15T08:01:00.000Z") << "never shorter";
  EXPECT_EQ(report(lease, "extend", R"("lease_ms":1)").at("error").at("status").as_int64(), 400);
}

TEST_F(ScheduleTest, WhatAStepTookAndWhatWasUsedOutsideOfStepsIsTheRuns) {
  const std::string id = add_run();
  auto lease = lease_one();
  report(lease, "step_complete", R"("name":"a","tokens":100,"cost_usd":0.25,"duration_ms":4321)");
  report(lease, "step_fail", R"("name":"b","error":{"message":"no"},"duration_ms":77)");
  report(lease, "release", R"("reason":"shutdown","tokens":10,"cost_usd":0.5)");
  lease = lease_one();
  report(lease, "sleep", R"("name":"nap","until":"2027-01-15T08:00:30Z","tokens":5)");
  tick(std::chrono::seconds(31));
  lease = lease_one();
  report(lease, "wait", R"("name":"w","event":"paid","tokens":7,"cost_usd":0.25)");
  const auto shown = get("/api/v1/runs/" + id);
  EXPECT_EQ(shown.at("tokens").as_int64(), 122);
  EXPECT_EQ(shown.at("cost_usd").to_number<double>(), 1.0);
  EXPECT_EQ(shown.at("steps").at(0).at("metrics").at("duration_ms").as_int64(), 4321);
  EXPECT_EQ(shown.at("steps").at(1).at("metrics").at("duration_ms").as_int64(), 77);
  EXPECT_FALSE(report(lease, "release", R"("tokens":1000)").at("ok").as_bool());
  EXPECT_EQ(get("/api/v1/runs/" + id).at("tokens").as_int64(), 122) << "a late one's use is not counted";
}

TEST_F(ScheduleTest, ALogOfAWorkerIsARecordOfItsRun) {
  const std::string id = add_run(R"({"workflow":"publish","client_id":"c1","agent":"maya"})");
  report(lease_one(), "log", R"("level":"warn","message":"slow page","name":"open","payload":{"ms":900})");
  const auto logs = get("/api/v1/agent_logs?ref=" + id).at("items").as_array();
  ASSERT_EQ(logs.size(), 1U);
  EXPECT_EQ(text(logs[0].at("level")), "warn");
  EXPECT_EQ(text(logs[0].at("message")), "slow page");
  EXPECT_EQ(text(logs[0].at("step_id")), "open");
  EXPECT_EQ(text(logs[0].at("client_id")), "c1");
  EXPECT_EQ(logs[0].at("payload").at("ms").as_int64(), 900);
}

TEST_F(ScheduleTest, AnObservedRunNeedsThreeCallsAndItsFailuresAreResolvedByItsSuccess) {
  const auto started =
      post("/api/v1/runs", R"({"workflow":"lead-intake","client_id":"c1","observed":true,"status":"running"})", 201);
  const std::string path = "/api/v1/runs/" + text(started.at("run_id"));
  const auto told = post(path + "/steps", R"({"steps":[
      {"name":"parseEmail","status":"succeeded","duration_ms":120,"tokens":156,"cost_usd":0.01},
      {"name":"createCRMRecord","status":"failed","retry_count":1,
       "error":{"message":"API_TIMEOUT: Connection timeout after 5s","stack":"at crm.ts:7"}}]})");
  EXPECT_TRUE(told.at("results").at(1).at("ok").as_bool());
  const auto open = get("/api/v1/workflow_failures?status=open").at("items").as_array();
  ASSERT_EQ(open.size(), 1U);
  EXPECT_EQ(text(open[0].at("stepId")), "createCRMRecord");
  EXPECT_EQ(text(open[0].at("kind")), "retry");
  post(path + "/steps", R"({"steps":[{"name":"createCRMRecord","status":"succeeded","retry_count":1}]})");
  EXPECT_EQ(text(post(path + "/end", R"({"status":"succeeded","tokens":4})").at("state")), "succeeded");
  EXPECT_TRUE(get("/api/v1/workflow_failures?status=open").at("items").as_array().empty());
  EXPECT_EQ(get("/api/v1/workflow_failures?status=resolved").at("items").as_array().size(), 1U);
  const auto shown = get(path);
  EXPECT_EQ(shown.at("tokens").as_int64(), 160);
  EXPECT_EQ(shown.at("steps").at(0).at("metrics").at("duration_ms").as_int64(), 120);
  EXPECT_EQ(text(shown.at("kind")), "observed");
}

TEST_F(ScheduleTest, AnObservedRunMayBearItsExecutorsNameAndItsFailureIsDiscarded) {
  const std::string path = "/api/v1/runs/n8n-4711";
  EXPECT_EQ(text(post(path + "/start", R"({"workflow":"lead-intake"})").at("state")), "running");
  EXPECT_EQ(text(post(path + "/end", R"({"status":"failed","error":{"message":"no answer"}})").at("state")), "failed");
  EXPECT_EQ(text(post(path + "/end", R"({"status":"failed","error":{"message":"no answer"}})").at("state")), "failed")
      << "said twice";
  EXPECT_EQ(send("POST", path + "/end", R"({"status":"succeeded"})").status, 409);
  EXPECT_EQ(get("/api/v1/runs/failed").at("items").as_array().size(), 1U);
  EXPECT_EQ(get("/api/v1/workflow_failures?status=open").at("items").as_array().size(), 1U);
  post(path + "/discard", R"({"reason":"the lead called back"})");
  EXPECT_TRUE(get("/api/v1/workflow_failures?status=open").at("items").as_array().empty());
}

}  // namespace
}  // namespace fettle::api
