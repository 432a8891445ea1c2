// Side effects, policies, approvals, escalations and bulk jobs over the wire.
#include <gmock/gmock.h>

#include "api/work_for_test.h"

namespace fettle::api {
namespace {

using boost::json::value;
using testing::HasSubstr;

std::string text(const value& one) { return std::string(one.as_string()); }

class SideEffectTest : public WorkTest {
 protected:
  static constexpr const char* kEffect =
      R"("client_id":"acme","platform":"tiktok","action":"publish","target":"feed","payload_hash":"h1")";
  value reserve(std::string more = "", Headers headers = {}) {
    return post("/api/v1/side-effects/reserve", std::string("{") + kEffect + more + "}", 200, std::move(headers));
  }
};

TEST_F(SideEffectTest, AnEffectHappensOnce) {
  const auto first = reserve();
  EXPECT_EQ(text(first.at("decision")), "go_on");
  const std::string id = text(first.at("side_effect_id"));
  EXPECT_EQ(text(reserve().at("decision")), "in_progress");
  const auto done =
      post("/api/v1/side-effects/" + id + "/commit", R"({"proof":{"url":"https://x/1"},"result":{"id":9}})");
  EXPECT_EQ(text(done.at("state")), "committed");
  const auto again = reserve();
  EXPECT_EQ(text(again.at("decision")), "committed");
  EXPECT_EQ(again.at("earlier").at("result").at("id").as_int64(), 9);
  EXPECT_EQ(text(again.at("earlier").at("proof").at("url")), "https://x/1");
  const auto shown = get("/api/v1/side-effects/" + text(again.at("side_effect_id")));
  EXPECT_EQ(text(shown.at("state")), "committed");
  EXPECT_EQ(get("/api/v1/side-effects?state=committed").at("items").as_array().size(), 1U);
  EXPECT_EQ(send("GET", "/api/v1/side-effects?state=gone").status, 400);
  EXPECT_EQ(json_of(send("GET", "/api/v1/side-effects", "", {}, "other"), 200).at("items").as_array().size(), 0U);
}

TEST_F(SideEffectTest, ALostAnswerIsGivenAgainAndReleaseLetsTheNextGoOn) {
  const auto first = reserve("", {{"Idempotency-Key", "\"c1\""}});
  EXPECT_EQ(reserve("", {{"Idempotency-Key", "\"c1\""}}), first);
  const std::string id = text(first.at("side_effect_id"));
  EXPECT_EQ(send("POST", "/api/v1/side-effects/" + id.substr(0, id.find('.')) + "/release", R"({"reason":"x"})").status,
            409)
      << "only who reserved it";
  post("/api/v1/side-effects/" + id + "/release", R"({"reason":"refused before it was sent"})");
  EXPECT_EQ(text(reserve().at("decision")), "go_on");
}

TEST_F(SideEffectTest, AKeyThatIsUsedAgainHearsWhatHasBecomeOfTheReservation) {
  const Headers key = {{"Idempotency-Key", "\"c1\""}};
  const auto first = reserve("", key);
  EXPECT_EQ(text(first.at("decision")), "go_on");
  post("/api/v1/side-effects/" + text(first.at("side_effect_id")) + "/commit", R"({"proof":{"url":"u"},"result":1})");
  EXPECT_EQ(text(reserve("", key).at("decision")), "committed") << "whoever began anew must not do it again";
}

TEST_F(SideEffectTest, WhatWasNotSeenIsUnverifiedAndVerifyingSettlesIt) {
  post("/api/v1/proof-rules", R"({"action":"publish","proofs":["url"]})");
  EXPECT_EQ(text(get("/api/v1/proof-rules").at("items").at(0).at("proofs").at(0)), "url");
  const std::string id = text(reserve().at("side_effect_id"));
  const auto done =
      post("/api/v1/side-effects/" + id + "/commit", R"({"proof":{"url":"u","visible":false},"result":1})");
  EXPECT_EQ(text(done.at("state")), "unverified");
  EXPECT_EQ(text(done.at("missing").at(0)), "visible");
  EXPECT_EQ(get("/api/v1/side-effects?to_check=true").at("items").as_array().size(), 1U);
  EXPECT_EQ(text(reserve().at("decision")), "unknown");
  EXPECT_EQ(send("POST", "/api/v1/side-effects/" + id + "/verify", R"({})").status, 400);
  EXPECT_EQ(text(post("/api/v1/side-effects/" + id + "/verify", R"({"visible":true,"proof":{"url":"u"}})").at("state")),
            "committed");
}

TEST_F(SideEffectTest, AReservationOfALostLeaseIsLateAndOfALostOwnerUnknown) {
  add_run();
  const auto lease = lease_one();
  EXPECT_EQ(text(reserve("," + named(lease)).at("decision")), "go_on");
  tick(std::chrono::seconds(11));
  const auto late = send("POST", "/api/v1/side-effects/reserve", std::string("{") + kEffect + "," + named(lease) + "}");
  EXPECT_EQ(late.status, 409);
  EXPECT_THAT(late.body, HasSubstr(R"("code":"late")"));
  EXPECT_EQ(late.headers.get("Content-Type"), "application/problem+json");
  EXPECT_EQ(text(reserve("," + named(lease_one())).at("decision")), "unknown");
}

TEST_F(SideEffectTest, ASwitchRefusesEffectsAndPoliciesAreKnownByContent) {
  const auto made = post("/api/v1/policies", R"({"content":{"max_posts":3}})", 201);
  const std::string id = text(made.at("policy_snapshot_id"));
  EXPECT_EQ(text(post("/api/v1/policies", R"({"content":{ "max_posts": 3 }})", 201).at("policy_snapshot_id")), id);
  EXPECT_EQ(get("/api/v1/policies/" + id).at("content").at("max_posts").as_int64(), 3);
  EXPECT_EQ(send("GET", "/api/v1/policies/sha256:00").status, 404);
  EXPECT_EQ(
      send("POST", "/api/v1/side-effects/reserve", std::string("{") + kEffect + R"(,"policy_snapshot_id":"sha256:00"})")
          .status,
      400);
  post("/api/v1/switches", R"({"platform":"tiktok","reason":"account locked"})", 201);
  const auto refused = reserve(R"(,"policy_snapshot_id":")" + id + "\"");
  EXPECT_EQ(text(refused.at("decision")), "refused");
  EXPECT_THAT(text(refused.at("reason")), HasSubstr("account locked"));
}

TEST_F(SideEffectTest, APolicyBlockIsJudgedByAPerson) {
  const auto made =
      post("/api/v1/policies/blocks", R"({"policy":"claims","reason":"unproven","client_id":"acme"})", 201);
  const std::string id = text(made.at("id"));
  EXPECT_EQ(get("/api/v1/policies/blocks").at("items").as_array().size(), 1U);
  EXPECT_EQ(send("POST", "/api/v1/policies/blocks/" + id + "/judge", R"({"verdict":"maybe"})").status, 400);
  post("/api/v1/policies/blocks/" + id + "/judge", R"({"verdict":"false_positive","note":"it is a quote"})");
  EXPECT_TRUE(get("/api/v1/policies/blocks").at("items").as_array().empty());
  EXPECT_EQ(text(get("/api/v1/policies/blocks?all=true").at("items").at(0).at("verdict")), "false_positive");
}

TEST_F(SideEffectTest, ARunWaitsForADecisionAndGetsIt) {
  add_run();
  const auto lease = lease_one();
  const auto asked =
      post("/api/v1/approvals", R"({"title":"Publish?","details":{"post":7},"step":"approve",)" + named(lease) + "}");
  EXPECT_EQ(text(asked.at("state")), "parked");
  const auto open = get("/api/v1/approvals").at("items").as_array();
  ASSERT_EQ(open.size(), 1U);
  EXPECT_EQ(open[0].at("details").at("post").as_int64(), 7);
  const std::string path = "/api/v1/approvals/" + text(open[0].at("id"));
  EXPECT_EQ(send("POST", path + "/decide", R"({"decision":"maybe"})").status, 400);
  EXPECT_EQ(text(post(path + "/decide", R"({"decision":"approve","note":"good"})").at("state")), "approved");
  EXPECT_EQ(send("POST", path + "/decide", R"({"decision":"reject"})").status, 409);
  EXPECT_EQ(text(get(path).at("decided_by")), "config:worker");
  EXPECT_EQ(text(lease_one().at("steps").at(0).at("result").at("decision")), "approved");
}

TEST_F(SideEffectTest, EscalationsHaveAnOwnerAndAnEnd) {
  const auto made = post("/api/v1/escalations", R"({"subject":"captcha","severity":1,"client_id":"acme"})", 201);
  const std::string path = "/api/v1/escalations/" + text(made.at("id"));
  post(path + "/assign", R"({"owner":"maya"})");
  EXPECT_EQ(text(get("/api/v1/escalations").at("items").at(0).at("owner")), "maya");
  post(path + "/resolve", R"({"note":"solved"})");
  EXPECT_TRUE(get("/api/v1/escalations").at("items").as_array().empty());
  EXPECT_EQ(send("POST", path + "/resolve", R"({"note":"again"})").status, 404);
}

TEST_F(SideEffectTest, ManyDeadLettersAreRetriedByFilter) {
  for (int i = 0; i < 3; ++i) add_run(R"({"workflow":"publish","client_id":"acme"})");
  add_run(R"({"workflow":"publish","client_id":"globex"})");
  for (int i = 0; i < 4; ++i) report(lease_one(), "fail", R"("error":{"message":"no","retryable":false})");
  EXPECT_EQ(send("POST", "/api/v1/runs/retry", R"({"reason":"x"})").status, 400) << "a filter must be there";
  const auto job = post("/api/v1/runs/retry", R"({"filter":{"client_id":"acme"},"reason":"API is back"})", 202);
  EXPECT_EQ(job.at("total").as_int64(), 3);
  tick(std::chrono::seconds(1));
  const auto shown = get("/api/v1/bulk-jobs/" + text(job.at("job_id")));
  EXPECT_EQ(text(shown.at("state")), "finished");
  EXPECT_EQ(shown.at("done").as_int64(), 3);
  EXPECT_EQ(shown.at("runs").as_array().size(), 3U);
  EXPECT_EQ(get("/api/v1/runs?state=ready").at("items").as_array().size(), 3U);
  EXPECT_EQ(get("/api/v1/bulk-jobs").at("items").as_array().size(), 1U);
  EXPECT_EQ(send("POST", "/api/v1/bulk-jobs/" + text(job.at("job_id")) + "/abort", R"({"reason":"x"})").status, 409);
}

}  // namespace
}  // namespace fettle::api
