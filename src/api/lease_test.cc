// What a worker does over the wire: lease, step, sleep, wait, end.
#include <gmock/gmock.h>

#include <future>

#include "api/work_for_test.h"

namespace fettle::api {
namespace {

using boost::json::value;
using testing::HasSubstr;

std::string text(const value& one) { return std::string(one.as_string()); }

class LeaseTest : public WorkTest {
 protected:
  std::string state_of(const value& lease) { return text(get("/api/v1/runs/" + text(lease.at("run_id"))).at("state")); }
  value lease_again() { return lease_one(); }
  // A lease that waits, on a connection of its own.
  std::future<Result<http::Response>> lease_later(std::string wait_ms = "30000") {
    return std::async(std::launch::async, [this, wait_ms] {
      http::Client client("http://" + address_, http::ClientOptions{});
      http::ClientRequest request{.method = "POST", .target = "/api/v1/work/lease", .headers = {}, .body = {}};
      request.headers.add("Authorization", "Bearer worker");
      request.headers.add("Content-Type", "application/json");
      const std::string body = R"({"runner_id":"w2","wait_ms":)" + wait_ms + "}";
      request.body.push_back(body);
      return client.send(request);
    });
  }
  void await_waiting(std::size_t count) {
    while (runs_->waiting() != count) std::this_thread::yield();
  }
};

TEST_F(LeaseTest, ALeaseCarriesTheRunAndItsContext) {
  add_run(R"({"workflow":"publish","client_id":"acme","platform":"tiktok","payload":{"a":[1,2]},"correlation_id":"co",
              "request_id":"rq","job_id":"j","model":"m","traceparent":"00-x","baggage":"k=v","max_retries":1})");
  const auto answer =
      post("/api/v1/work/lease", R"({"runner_id":"w1","pool":"default","workflows":["publish"],"max":5,"wait_ms":0})");
  ASSERT_EQ(answer.at("leases").as_array().size(), 1U);
  const auto& lease = answer.at("leases").at(0);
  EXPECT_EQ(lease.at("attempt").as_int64(), 1);
  EXPECT_EQ(lease.at("fence").as_int64(), 1);
  EXPECT_EQ(lease.at("retry_count").as_int64(), 0);
  EXPECT_EQ(lease.at("max_retries").as_int64(), 1);
  EXPECT_EQ(text(lease.at("lease_expires_at")), "2027-01-15T08:00:10.000Z");
  EXPECT_EQ(lease.at("payload"), boost::json::parse(R"({"a":[1,2]})"));
  EXPECT_EQ(text(lease.at("client_id")), "acme");
  EXPECT_EQ(text(lease.at("request_id")), "rq");
  EXPECT_EQ(text(lease.at("correlation_id")), "co");
  EXPECT_EQ(text(lease.at("traceparent")), "00-x");
  EXPECT_EQ(text(lease.at("baggage")), "k=v");
  EXPECT_TRUE(lease.at("steps").as_array().empty());
  EXPECT_TRUE(answer.at("kill").as_array().empty());
  const auto shown = get("/api/v1/runs/" + text(lease.at("run_id")));
  EXPECT_EQ(text(shown.at("lease").at("runner_id")), "w1");
}

TEST_F(LeaseTest, WhatCannotBeAskedForIsNamed) {
  const auto detail = [&](std::string body) { return send("POST", "/api/v1/work/lease", std::move(body)).body; };
  EXPECT_THAT(detail(R"({})"), HasSubstr("runner_id: missing"));
  EXPECT_THAT(detail(R"({"runner_id":"w","max":501})"), HasSubstr("max: expected 1 to 500, got 501"));
  EXPECT_THAT(detail(R"({"runner_id":"w","wait_ms":30001})"), HasSubstr("wait_ms: expected 0 to 30000"));
  EXPECT_THAT(detail(R"({"runner_id":"w","workers":1})"), HasSubstr("workers: this member is not known"));
  EXPECT_EQ(send("POST", "/api/v1/work/lease", R"({"runner_id":"w"})", {}, "reader").status, 403);
}

TEST_F(LeaseTest, ALongPollIsAnsweredAsSoonAsThereIsWork) {
  auto waiting = lease_later();
  await_waiting(1);
  const std::string id = add_run();
  const auto answer = waiting.get();
  ASSERT_TRUE(answer) << answer.error().message();
  EXPECT_EQ(text(boost::json::parse(answer->body).at("leases").at(0).at("run_id")), id);
}

TEST_F(LeaseTest, ALongPollEndsAtItsTimeWithNothing) {
  auto waiting = lease_later("5000");
  await_waiting(1);
  tick(std::chrono::milliseconds(5'001));
  const auto answer = waiting.get();
  ASSERT_TRUE(answer);
  EXPECT_TRUE(boost::json::parse(answer->body).at("leases").as_array().empty());
}

TEST_F(LeaseTest, ALongPollEndsWhenItsClientLeaves) {
  {
    http::Client client("http://" + address_, http::ClientOptions{});
    http::ClientRequest request{.method = "POST", .target = "/api/v1/work/lease", .headers = {}, .body = {}};
    request.headers.add("Authorization", "Bearer worker");
    request.headers.add("Content-Type", "application/json");
    request.body.push_back(R"({"runner_id":"gone","wait_ms":30000})");
    request.time_max = std::chrono::milliseconds(200);
    EXPECT_FALSE(client.send(request));
  }
  await_waiting(0);
  const std::string id = add_run();
  EXPECT_EQ(text(lease_one().at("run_id")), id) << "nobody who has left got it";
}

TEST_F(LeaseTest, CompletionsAreAppliedOnceAndLateOnesAreKept) {
  add_run();
  const auto lease = lease_one();
  const auto done = report(lease, "complete", R"("result":{"url":"u"},"tokens":3,"cost_usd":0.25)");
  EXPECT_EQ(done, boost::json::parse(R"({"ok":true,"state":"succeeded","cancel":false,"stop":null})"));
  EXPECT_TRUE(report(lease, "complete").at("ok").as_bool()) << "the same again";
  const auto shown = get("/api/v1/runs/" + text(lease.at("run_id")));
  EXPECT_EQ(text(shown.at("result").at("url")), "u");
  EXPECT_EQ(shown.at("tokens").as_int64(), 3);
  EXPECT_EQ(text(report(lease, "heartbeat").at("error").at("code")), "late");
}

TEST_F(LeaseTest, AnAttemptThatWasReplacedIsLate) {
  add_run();
  const auto first = lease_one();
  tick(std::chrono::seconds(11));
  const auto second = lease_one();
  EXPECT_EQ(second.at("fence").as_int64(), 2);
  EXPECT_EQ(second.at("retry_count").as_int64(), 1);
  const auto late = report(first, "complete", R"("result":1)");
  EXPECT_EQ(text(late.at("error").at("code")), "late");
  EXPECT_EQ(late.at("error").at("status").as_int64(), 409);
  EXPECT_TRUE(report(second, "complete", R"("result":2)").at("ok").as_bool());
  const auto shown = get("/api/v1/runs/" + text(first.at("run_id")));
  EXPECT_EQ(shown.at("result").as_int64(), 2);
  EXPECT_EQ(text(shown.at("attempts").at(0).at("late").at("call")), "complete");
  EXPECT_EQ(shown.at("attempts").at(0).at("late").at("body").as_int64(), 1);
}

TEST_F(LeaseTest, HeartbeatsExtendTheLeaseAndKeepProgress) {
  add_run();
  const auto lease = lease_one();
  clock_.advance(std::chrono::seconds(6));
  const auto beat = report(lease, "heartbeat", R"("progress":{"done":1,"total":3})");
  EXPECT_EQ(text(beat.at("lease_expires_at")), "2027-01-15T08:00:16.000Z");
  tick(std::chrono::seconds(6));
  EXPECT_EQ(state_of(lease), "running");
  EXPECT_EQ(get("/api/v1/runs/" + text(lease.at("run_id"))).at("progress").at("done").as_int64(), 1);
}

TEST_F(LeaseTest, ARetryGoesOnAfterTheLastGoodStep) {
  add_run();
  const auto first = lease_one();
  EXPECT_TRUE(report(first, "step_start", R"("step":1,"name":"fetch")").at("ok").as_bool());
  clock_.advance(std::chrono::milliseconds(250));
  EXPECT_TRUE(report(first, "step_complete",
                     R"("step":1,"name":"fetch","result":{"rows":2},"tokens":10,"cost_usd":0.5,"duration_ms":250)")
                  .at("ok")
                  .as_bool());
  report(first, "step_start", R"("step":2,"name":"send")");
  const auto step = report(first, "step_fail", R"("step":2,"name":"send","will_retry":false,"error":
      {"type":"Error","message":"API_TIMEOUT: Connection timeout after 5s","code":"API_TIMEOUT","stack":"at send"})");
  EXPECT_EQ(text(step.at("error_class")), "timeout");
  const auto failed =
      report(first, "fail",
             R"("error":{"type":"Error","code":"API_TIMEOUT","message":"API_TIMEOUT: Connection timeout after 5s"})");
  EXPECT_TRUE(failed.at("will_retry").as_bool()) << failed;
  tick(std::chrono::minutes(2));
  const auto second = lease_one();
  EXPECT_EQ(second.at("steps"), boost::json::parse(R"([{"name":"fetch","status":"completed","result":{"rows":2}}])"));
  report(second, "step_start", R"("step":2,"name":"send")");
  report(second, "step_complete", R"("step":2,"name":"send")");
  report(second, "complete");
  const auto shown = get("/api/v1/runs/" + text(first.at("run_id")));
  EXPECT_EQ(shown.at("retry_count").as_int64(), 1);
  EXPECT_EQ(shown.at("tokens").as_int64(), 10);
  const auto& steps = shown.at("steps").as_array();
  ASSERT_EQ(steps.size(), 2U);
  EXPECT_EQ(text(steps[0].at("name")), "fetch");
  EXPECT_EQ(text(steps[0].at("status")), "completed");
  EXPECT_EQ(steps[0].at("metrics").at("duration_ms").to_number<double>(), 250);
  EXPECT_EQ(steps[0].at("metrics").at("tokens").as_int64(), 10);
  EXPECT_EQ(steps[0].at("metrics").at("cost_usd").to_number<double>(), 0.5);
  EXPECT_EQ(text(shown.at("last_error").at("code")), "API_TIMEOUT") << shown.at("last_error");
}

TEST_F(LeaseTest, ARetryFromTheStartHasNoMemo) {
  const std::string id = add_run(R"({"workflow":"a","max_retries":0})");
  const auto first = lease_one();
  report(first, "step_complete", R"("name":"fetch","result":1)");
  report(first, "fail", R"("error":{"message":"no"})");
  post("/api/v1/runs/" + id + "/retry", R"({"from":"start","reason":"again"})");
  EXPECT_TRUE(lease_one().at("steps").as_array().empty());
}

TEST_F(LeaseTest, ASleepGivesTheLeaseBackUntilItsTime) {
  add_run();
  const auto lease = lease_one();
  EXPECT_EQ(text(report(lease, "sleep", R"("step":1,"name":"sleep:nap","until":"2027-01-15T08:01:00Z")").at("state")),
            "waiting");
  EXPECT_EQ(state_of(lease), "waiting");
  tick(std::chrono::seconds(61));
  const auto again = lease_one();
  EXPECT_EQ(text(again.at("steps").at(0).at("name")), "sleep:nap");
  EXPECT_EQ(again.at("retry_count").as_int64(), 0);
  EXPECT_EQ(text(report(again, "sleep", R"("step":2,"name":"sleep:past","until":"2027-01-15T08:00:00Z")").at("state")),
            "ready")
      << "it was over before it began";
  EXPECT_EQ(lease_one().at("steps").as_array().size(), 2U);
}

TEST_F(LeaseTest, AnEventEndsTheWaitForItWithItsPayload) {
  add_run();
  const auto lease = lease_one();
  EXPECT_EQ(text(report(lease, "wait", R"("step":1,"name":"wait:paid","event":"paid","key":"i9")").at("state")),
            "waiting");
  EXPECT_EQ(post("/api/v1/events", R"({"name":"paid","key":"other"})").at("woken").as_int64(), 0);
  EXPECT_EQ(post("/api/v1/events", R"({"name":"paid","key":"i9","payload":{"eur":5}})").at("woken").as_int64(), 1);
  EXPECT_EQ(lease_one().at("steps").at(0).at("result"), boost::json::parse(R"({"payload":{"eur":5}})"));
  EXPECT_EQ(send("POST", "/api/v1/events", R"({"key":"x"})").status, 400);
}

TEST_F(LeaseTest, AWaitWithoutItsEventExpires) {
  add_run();
  report(lease_one(), "wait", R"("name":"wait:paid","event":"paid","expires_at":"2027-01-15T08:01:00Z")");
  tick(std::chrono::seconds(61));
  EXPECT_EQ(lease_one().at("steps").at(0).at("result"), boost::json::parse(R"({"expired":true})"));
}

TEST_F(LeaseTest, AReleasedRunIsReadyAtOnceAndCountsNothing) {
  add_run();
  EXPECT_EQ(text(report(lease_one(), "release", R"("reason":"shutdown")").at("state")), "ready");
  const auto again = lease_one();
  EXPECT_EQ(again.at("attempt").as_int64(), 2);
  EXPECT_EQ(again.at("retry_count").as_int64(), 0);
}

TEST_F(LeaseTest, ACancelledRunsWorkerIsToldSo) {
  const std::string id = add_run();
  const auto lease = lease_one();
  post("/api/v1/runs/" + id + "/cancel", R"({"reason":"not wanted"})");
  const auto late = report(lease, "heartbeat");
  EXPECT_EQ(text(late.at("error").at("code")), "late");
  EXPECT_TRUE(late.at("error").at("cancel").as_bool());
}

TEST_F(LeaseTest, OneRequestTellsOfManyRunsInTheOrderOfEachRun) {
  for (int i = 0; i < 3; ++i) add_run();
  const auto leases = post("/api/v1/work/lease", R"({"runner_id":"w1","max":3})").at("leases");
  const auto one = [&](std::size_t i, std::string op, std::string more = "") {
    return R"({"op":")" + op + R"(",)" + named(leases.at(i)) + more + "}";
  };
  const std::string body = R"({"runner_id":"w1","reports":[)" + one(0, "step_start", R"(,"name":"s")") + "," +
                           one(1, "complete", R"(,"result":1)") + "," +
                           one(0, "step_complete", R"(,"name":"s","result":2)") + "," + one(0, "complete") + "," +
                           one(2, "explode") + "," + one(2, "heartbeat", R"(,"until":5)") + "," + one(1, "heartbeat") +
                           "," + one(2, "log", R"(,"level":"warn","message":"slow","step":1)") + "," +
                           R"({"op":"complete","run_id":"run_0000000000001","fence":1})" + "," +
                           one(2, "fail", R"(,"error":{"message":"x"})") + "," + one(2, "complete") + "]}";
  const auto results = post("/api/v1/work/report", body).at("results").as_array();
  ASSERT_EQ(results.size(), 11U);
  for (const std::size_t good : {0, 1, 2, 3, 7, 9})
    EXPECT_TRUE(results[good].at("ok").as_bool()) << good << results[good];
  EXPECT_THAT(text(results[4].at("error").at("detail")), HasSubstr("reports[4].op"));
  EXPECT_THAT(text(results[5].at("error").at("detail")), HasSubstr("reports[5].until"));
  EXPECT_EQ(text(results[6].at("error").at("code")), "late") << "after its completion";
  EXPECT_EQ(text(results[8].at("error").at("code")), "not_found");
  EXPECT_EQ(text(results[10].at("error").at("code")), "late") << "after its failure";
  EXPECT_TRUE(journal_.has_event("agent_logs.created"));
}

TEST_F(LeaseTest, AResultThatIsTooLargeHurtsNoOther) {
  add_run();
  add_run();
  const auto leases = post("/api/v1/work/lease", R"({"runner_id":"w1","max":2})").at("leases");
  const std::string body = R"({"runner_id":"w1","reports":[{"op":"complete",)" + named(leases.at(0)) +
                           R"(,"result":")" + std::string(262'144, 'x') + R"("},{"op":"complete",)" +
                           named(leases.at(1)) + "}]}";
  const auto results = post("/api/v1/work/report", body).at("results").as_array();
  EXPECT_EQ(results[0].at("error").at("status").as_int64(), 413);
  EXPECT_THAT(text(results[0].at("error").at("detail")), HasSubstr("262146 bytes"));
  EXPECT_TRUE(results[1].at("ok").as_bool());
}

TEST_F(LeaseTest, AStackThatIsTooLongIsCutAndTheFailureKept) {
  add_run();
  const auto lease = lease_one();
  const auto failed = report(
      lease, "fail", R"("error":{"message":"no","retryable":false,"stack":")" + std::string(40'000, 's') + R"("})");
  EXPECT_EQ(text(failed.at("state")), "dead");
}

}  // namespace
}  // namespace fettle::api
