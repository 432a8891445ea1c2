// Runs over the wire: enqueue, look, decide.
#include <gmock/gmock.h>

#include "api/work_for_test.h"

namespace fettle::api {
namespace {

using boost::json::value;
using testing::HasSubstr;
using testing::StartsWith;

std::string text(const value& one) { return std::string(one.as_string()); }

class RunTest : public WorkTest {};

TEST_F(RunTest, ARunIsMadeAndShown) {
  const auto made = post("/api/v1/runs",
                         R"({"workflow":"publish","client_id":"acme","platform":"tiktok","lane":"social","agent":"maya",
                             "model":"m1","payload":{"post": 7},"priority":2,"max_retries":5,"correlation_id":"co-1",
                             "job_id":"j1","request_id":"rq-1","concurrency_key":"k","pool":"browsers",
                             "trigger":{"source":"webhook","event_key":"e9"},"retry":{"base_ms":100},"timeout_ms":5000,
                             "traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","baggage":"a=b"})",
                         201);
  EXPECT_EQ(text(made.at("state")), "ready");
  EXPECT_TRUE(made.at("created").as_bool());
  const std::string id = text(made.at("run_id"));
  EXPECT_THAT(id, StartsWith("run_"));
  const auto shown = get("/api/v1/runs/" + id);
  EXPECT_EQ(text(shown.at("workflow")), "publish");
  EXPECT_EQ(text(shown.at("client_id")), "acme");
  EXPECT_EQ(shown.at("priority").as_int64(), 2);
  EXPECT_EQ(shown.at("max_retries").as_int64(), 5);
  EXPECT_EQ(shown.at("retry_count").as_int64(), 0);
  EXPECT_EQ(shown.at("payload").at("post").as_int64(), 7);
  EXPECT_EQ(text(shown.at("trace_id")), "0af7651916cd43dd8448eb211c80319c");
  EXPECT_EQ(text(shown.at("correlation_id")), "co-1");
  EXPECT_EQ(text(shown.at("context").at("trigger").at("event_key")), "e9");
  EXPECT_EQ(text(shown.at("created_at")), "2027-01-15T08:00:00.000Z");
  EXPECT_TRUE(shown.at("failure_reason").is_null());
  EXPECT_TRUE(shown.at("last_error").is_null());
  EXPECT_EQ(json_of(send("GET", "/api/v1/runs/run_0000000000001"), 404).at("code").as_string(), "not_found");
  EXPECT_EQ(send("GET", "/api/v1/runs/" + id, "", {}, "other").status, 404) << "another workspace's";
  EXPECT_EQ(send("GET", "/api/v1/runs/" + id, "", {}, "limited").status, 404) << "another client's";
}

TEST_F(RunTest, ABatchIsAnsweredByPlaceAndOneBadRunHurtsNoOther) {
  const std::string long_name(201, 'w');
  const auto answer =
      post("/api/v1/runs", R"({"runs":[{"workflow":"a"},{"workflow":"b","nonsense":1},{"workflow":")" + long_name +
                               R"("},{"payload":1},{"workflow":"d","run_at":"2027-01-15T09:00:00Z"}]})");
  const auto& results = answer.at("results").as_array();
  ASSERT_EQ(results.size(), 5U);
  EXPECT_TRUE(results[0].at("ok").as_bool());
  EXPECT_EQ(text(results[0].at("state")), "ready");
  EXPECT_FALSE(results[1].at("ok").as_bool());
  EXPECT_EQ(text(results[1].at("error").at("detail")), "runs[1].nonsense: this member is not known");
  EXPECT_EQ(results[1].at("error").at("status").as_int64(), 400);
  EXPECT_EQ(text(results[2].at("error").at("code")), "too_large");
  EXPECT_THAT(text(results[2].at("error").at("detail")), HasSubstr("201 bytes"));
  EXPECT_THAT(text(results[3].at("error").at("detail")), HasSubstr("runs[3].workflow"));
  EXPECT_EQ(text(results[4].at("state")), "waiting");
  EXPECT_EQ(get("/api/v1/runs").at("items").as_array().size(), 2U);
}

TEST_F(RunTest, LimitsAreCheckedAtTheDoorWithTheSizeInTheAnswer) {
  const auto big = send("POST", "/api/v1/runs", R"({"workflow":"a","payload":")" + std::string(262'144, 'x') + R"("})");
  EXPECT_EQ(big.status, 413) << big.body;
  EXPECT_THAT(big.body, HasSubstr("payload: has 262146 bytes, at most 262144 fit"));
  std::string many = R"({"runs":[)";
  for (int i = 0; i < 1'001; ++i) many += i == 0 ? R"({"workflow":"a"})" : R"(,{"workflow":"a"})";
  const auto refused = send("POST", "/api/v1/runs", many + "]}");
  EXPECT_EQ(refused.status, 413);
  EXPECT_THAT(refused.body, HasSubstr("1001 items, at most 1000 fit"));
  EXPECT_EQ(send("POST", "/api/v1/runs", std::string(9 * 1024 * 1024, ' ')).status, 413);
  EXPECT_EQ(send("POST", "/api/v1/runs", R"({"workflow":"a","priority":10})").status, 400);
  EXPECT_EQ(send("POST", "/api/v1/runs", "[]").status, 400);
  EXPECT_TRUE(get("/api/v1/runs").at("items").as_array().empty());
}

TEST_F(RunTest, ARunsOwnKeyMakesItOnce) {
  const std::string body = R"({"workflow":"publish","payload":{"n":1},"idempotency_key":"k1","traceparent":"00-a"})";
  const auto first = post("/api/v1/runs", body, 201);
  const auto again = post("/api/v1/runs", R"({"workflow":"publish","payload":{ "n": 1 },"idempotency_key":"k1"})");
  EXPECT_EQ(again.at("run_id"), first.at("run_id"));
  EXPECT_FALSE(again.at("created").as_bool());
  EXPECT_EQ(text(again.at("state")), "ready");
  const auto other = post("/api/v1/runs", R"({"workflow":"publish","payload":{"n":2},"idempotency_key":"k1"})", 422);
  EXPECT_EQ(text(other.at("code")), "idempotency_conflict");
  EXPECT_EQ(text(other.at("stored_payload_sha256")).size(), 64U);
  EXPECT_NE(other.at("stored_payload_sha256"), other.at("given_payload_sha256"));
  const auto batch = post("/api/v1/runs", R"({"runs":[{"workflow":"publish","payload":{"n":1},"idempotency_key":"k1"},
      {"workflow":"publish","payload":{"n":3},"idempotency_key":"k1"},{"workflow":"publish","idempotency_key":"k2"}]})");
  EXPECT_EQ(batch.at("results").at(0).at("run_id"), first.at("run_id"));
  EXPECT_EQ(batch.at("results").at(1).at("error").at("status").as_int64(), 422);
  EXPECT_TRUE(batch.at("results").at(2).at("created").as_bool());
  EXPECT_EQ(get("/api/v1/runs").at("items").as_array().size(), 2U);
}

TEST_F(RunTest, ARequestsKeyGivesTheSameAnswerAgain) {
  const std::string body = R"({"runs":[{"workflow":"a"},{"workflow":"b"}]})";
  const auto first = send("POST", "/api/v1/runs", body, {{"Idempotency-Key", "\"r1\""}});
  EXPECT_FALSE(first.headers.has("Idempotent-Replayed"));
  const auto again = send("POST", "/api/v1/runs", body, {{"Idempotency-Key", "r1"}});
  EXPECT_EQ(again.body, first.body);
  EXPECT_EQ(again.headers.get("Idempotent-Replayed"), "true");
  const auto other = send("POST", "/api/v1/runs", R"({"runs":[]})", {{"Idempotency-Key", "\"r1\""}});
  EXPECT_EQ(other.status, 422);
  EXPECT_EQ(other.headers.get("Content-Type"), "application/problem+json");
  EXPECT_EQ(text(boost::json::parse(other.body).at("stored_payload_sha256")).size(), 64U);
  EXPECT_EQ(send("POST", "/api/v1/runs", body, {{"Idempotency-Key", std::string(300, 'k')}}).status, 400);
  EXPECT_EQ(get("/api/v1/runs").at("items").as_array().size(), 2U);
  // A refused request leaves its key free.
  EXPECT_EQ(send("POST", "/api/v1/runs", R"({"workflow":""})", {{"Idempotency-Key", "r2"}}).status, 400);
  EXPECT_EQ(send("POST", "/api/v1/runs", R"({"workflow":"a"})", {{"Idempotency-Key", "r2"}}).status, 201);
  const std::string metrics = send("GET", "/metrics").body;
  EXPECT_THAT(metrics, HasSubstr("idempotency_replay_total 1"));
  EXPECT_THAT(metrics, HasSubstr("idempotency_conflict_total 1"));
}

TEST_F(RunTest, ListsAreFilteredAndPaged) {
  for (int i = 0; i < 3; ++i) add_run(R"({"workflow":"a","client_id":"c1","correlation_id":"x"})");
  add_run(R"({"workflow":"b","client_id":"c2"})");
  tick(std::chrono::seconds(10));
  add_run(R"({"workflow":"c","client_id":"c2"})");
  const auto page = get("/api/v1/runs?limit=2");
  ASSERT_EQ(page.at("items").as_array().size(), 2U);
  EXPECT_EQ(text(page.at("items").at(0).at("workflow")), "c") << "newest first";
  const auto rest = get("/api/v1/runs?limit=3&cursor=" + text(page.at("next_cursor")));
  EXPECT_EQ(rest.at("items").as_array().size(), 3U);
  EXPECT_TRUE(rest.at("next_cursor").is_null());
  const auto count = [&](const std::string& query) {
    return get("/api/v1/runs?" + query).at("items").as_array().size();
  };
  EXPECT_EQ(count("workflow=a"), 3U);
  EXPECT_EQ(count("client_id=c2"), 2U);
  EXPECT_EQ(count("correlation_id=x&state=ready&state=dead"), 3U);
  EXPECT_EQ(count("state=dead"), 0U);
  EXPECT_EQ(count("from=-5s"), 1U);
  EXPECT_EQ(count("to=-5s"), 4U);
  EXPECT_EQ(send("GET", "/api/v1/runs?status=dead").status, 400);
  EXPECT_EQ(send("GET", "/api/v1/runs?state=gone").status, 400);
  EXPECT_EQ(send("GET", "/api/v1/runs?cursor=!!").status, 400);
  EXPECT_EQ(json_of(send("GET", "/api/v1/runs", "", {}, "limited"), 200).at("items").as_array().size(), 3U);
  EXPECT_EQ(json_of(send("GET", "/api/v1/runs", "", {}, "other"), 200).at("items").as_array().size(), 0U);
}

TEST_F(RunTest, DeadLettersAreListedWithTheirErrorAndRetriedOrDiscarded) {
  const std::string id = add_run(R"({"workflow":"publish","client_id":"acme"})");
  const auto lease = lease_one();
  const auto failed = report(lease, "fail",
                             R"("error":{"type":"ApiError","code":"BAD_INPUT","message":"no caption","status":422,
                                "stack":"at x"},"tokens":12,"cost_usd":0.5)");
  EXPECT_EQ(text(failed.at("state")), "dead");
  EXPECT_FALSE(failed.at("will_retry").as_bool());
  const auto list = get("/api/v1/runs/failed");
  ASSERT_EQ(list.at("items").as_array().size(), 1U);
  EXPECT_TRUE(list.at("items").at(0).at("dead_letter").as_bool());
  EXPECT_EQ(text(list.at("items").at(0).at("last_error").at("message")), "no caption");
  EXPECT_EQ(text(list.at("items").at(0).at("failure_reason")), "not_retryable");
  EXPECT_EQ(list.at("items").at(0).at("tokens").as_int64(), 12);

  const std::string path = "/api/v1/runs/" + id;
  EXPECT_EQ(send("POST", path + "/retry", R"({"reason":""})").status, 400) << "a reason is needed";
  EXPECT_EQ(send("POST", path + "/retry", R"({"reason":"x","from":"middle"})").status, 400);
  EXPECT_EQ(send("POST", path + "/retry", R"({"reason":"x"})", {}, "reader").status, 403);
  EXPECT_EQ(send("POST", path + "/retry", R"({"reason":"x"})", {}, "other").status, 404);
  const auto retried = post(path + "/retry", R"({"from":"start","reason":"caption written"})");
  EXPECT_EQ(text(retried.at("state")), "ready");
  EXPECT_EQ(retried.at("retry_count").as_int64(), 1);
  EXPECT_EQ(send("POST", path + "/retry", R"({"reason":"again"})").status, 409);
  EXPECT_EQ(text(post(path + "/cancel", R"({"reason":"not wanted"})").at("state")), "cancelled");
  EXPECT_EQ(text(post(path + "/discard", R"({"reason":"done by hand"})").at("state")), "discarded");
  EXPECT_TRUE(get("/api/v1/runs/failed").at("items").as_array().empty());
  EXPECT_EQ(text(post(path + "/force", R"({"state":"succeeded","reason":"it was there"})").at("state")), "succeeded");
  EXPECT_EQ(send("POST", path + "/force", R"({"state":"ready","reason":"x"})").status, 400);
  EXPECT_EQ(journal_.audits.back().action, "run.force");
  EXPECT_EQ(journal_.audits.back().summary, "it was there");
}

TEST_F(RunTest, APausedRunIsLeasedOnceItIsResumed) {
  const std::string id = add_run();
  EXPECT_EQ(text(post("/api/v1/runs/" + id + "/pause", R"({"reason":"client asks"})").at("state")), "held");
  EXPECT_TRUE(post("/api/v1/work/lease", R"({"runner_id":"w1"})").at("leases").as_array().empty());
  EXPECT_EQ(text(post("/api/v1/runs/" + id + "/resume", R"({"reason":"client agrees"})").at("state")), "ready");
  EXPECT_EQ(text(lease_one().at("run_id")), id);
}

TEST_F(RunTest, ASwitchTakesLeasesAwayAndSaysSoEverywhere) {
  add_run(R"({"workflow":"publish","client_id":"acme"})");
  const auto lease = lease_one();
  EXPECT_EQ(send("POST", "/api/v1/switches", R"({"client_id":"acme"})").status, 400) << "a reason is needed";
  const auto thrown = post("/api/v1/switches", R"({"client_id":"acme","reason":"wrong account"})", 201);
  const std::string id = text(thrown.at("id"));
  EXPECT_EQ(text(thrown.at("mode")), "kill");
  EXPECT_TRUE(thrown.at("revoking").as_bool());
  EXPECT_EQ(thrown.at("in_flight").as_int64(), 1);
  const auto in_flight = get("/api/v1/switches/" + id + "/in-flight?limit=1");
  EXPECT_EQ(in_flight.at("items").at(0).at("run_id"), lease.at("run_id"));
  EXPECT_TRUE(in_flight.at("next_cursor").is_null());
  tick(std::chrono::seconds(0));
  const auto over = get("/api/v1/switches/" + id);
  EXPECT_EQ(over.at("revoked").as_int64(), 1);
  EXPECT_FALSE(over.at("revoking").as_bool());
  EXPECT_EQ(over.at("in_flight").as_int64(), 0);
  EXPECT_EQ(send("GET", "/api/v1/switches/sw_0000000000000").status, 404);
  const auto late = report(lease, "complete");
  EXPECT_FALSE(late.at("ok").as_bool());
  EXPECT_EQ(text(late.at("error").at("code")), "late");
  EXPECT_EQ(text(late.at("error").at("stop").at("id")), id);
  const auto none = post("/api/v1/work/lease", R"({"runner_id":"w1"})");
  EXPECT_TRUE(none.at("leases").as_array().empty());
  EXPECT_EQ(text(none.at("kill").at(0).at("reason")), "wrong account");
  const auto may = get("/api/v1/may-i?client_id=acme&platform=tiktok");
  EXPECT_FALSE(may.at("allowed").as_bool());
  EXPECT_EQ(text(may.at("switch").at("id")), id);
  EXPECT_EQ(may.at("cache_ms").as_int64(), 5'000);
  EXPECT_EQ(text(may.at("on_unreachable")), "refuse");
  EXPECT_TRUE(get("/api/v1/may-i?client_id=globex").at("allowed").as_bool());
  EXPECT_EQ(get("/api/v1/switches").at("items").as_array().size(), 1U);
  EXPECT_EQ(get("/api/v1/switches/" + id + "/in-flight").at("items").as_array().size(), 0U);
  EXPECT_EQ(send("GET", "/api/v1/switches/sw_0000000000000/in-flight").status, 404);
  EXPECT_EQ(text(post("/api/v1/switches/" + id + "/resume", R"({"reason":"corrected"})").at("resumed_by")),
            "config:worker");
  EXPECT_TRUE(get("/api/v1/switches").at("items").as_array().empty());
  EXPECT_EQ(get("/api/v1/switches?all=true").at("items").as_array().size(), 1U);
  EXPECT_EQ(lease_one().at("attempt").as_int64(), 2);
}

}  // namespace
}  // namespace fettle::api
