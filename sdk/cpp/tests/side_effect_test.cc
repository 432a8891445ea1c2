#include <gtest/gtest.h>

#include "fake_server.h"

namespace fettle::sdk {
namespace {

class SideEffectTest : public testing::Test {
 protected:
  Result<Performed> perform() {
    ++performed_;
    return Performed{Json::object({{"id", 7}}), Json::object({{"url", "https://x.example/7"}})};
  }
  Perform performing() {
    return [this] { return perform(); };
  }
  static Perform failing(Error error) {
    return [error]() -> Result<Performed> { return fail(error); };
  }
  static Verify seen(std::optional<bool> visible, Json result = {}) {
    return
        [visible, result] { return Seen{.visible = visible, .proof = Json::object({{"url", "u"}}), .result = result}; };
  }
  static Json decision(const char* name) { return Json::object({{"decision", name}}); }

  std::vector<std::string> states() {
    std::vector<std::string> all;
    for (const auto& [id, effect] : server_->effects) all.emplace_back(effect["state"].as_string());
    return all;
  }

  const SideEffect effect_{.action = "publish",
                           .target = "page_1",
                           .payload = Json::object({{"text", "hello"}}),
                           .client_id = "acme",
                           .summary = "a post"};
  int performed_ = 0;
  std::shared_ptr<FakeServer> server_ = std::make_shared<FakeServer>();
  Client client_{{.retry = {.retries_max = 1}, .clock = std::make_shared<ManualClock>(), .transport = server_}};
};

TEST_F(SideEffectTest, ItIsReservedPerformedAndCommittedWithItsProof) {
  const auto result = client_.side_effect(effect_, performing());
  ASSERT_TRUE(result);
  EXPECT_FALSE(result->earlier);
  EXPECT_FALSE(result->unverified);
  const Json& effect = server_->effects["fx_1"];
  EXPECT_EQ(effect["commit"], *Json::parse(R"({"proof":{"url":"https://x.example/7"},"result":{"id":7}})"));
  EXPECT_EQ(effect["reserve"]["payload_summary"], Json("a post"));
  EXPECT_TRUE(effect["reserve"]["payload"].is_null());
  EXPECT_EQ(effect["reserve"]["payload_hash"].as_string().size(), 64U);
}

TEST_F(SideEffectTest, ARepetitionGetsTheEarlierResultAndPerformsNothing) {
  (void)client_.side_effect(effect_, performing());
  const auto again = client_.side_effect(effect_, performing());
  EXPECT_EQ(performed_, 1);
  EXPECT_TRUE(again->earlier);
  EXPECT_EQ(again->result["id"], Json(7));
}

TEST_F(SideEffectTest, ARefusalOrALivingOwnerPerformsNothing) {
  server_->decisions = {decision("refused"), decision("in_progress")};
  EXPECT_EQ(client_.side_effect(effect_, performing()).error().kind, ErrorKind::kRefused);
  EXPECT_EQ(client_.side_effect(effect_, performing()).error().kind, ErrorKind::kRetryable);
  EXPECT_EQ(performed_, 0);
}

TEST_F(SideEffectTest, AnUnknownOneIsVerifiedBeforeAnythingElse) {
  server_->decisions = {decision("unknown"), decision("unknown"), decision("unknown")};
  const auto found = client_.side_effect(effect_, performing(), seen(true, 1));
  EXPECT_TRUE(found->earlier);
  EXPECT_EQ(found->result, Json(1));
  EXPECT_EQ(client_.side_effect(effect_, performing()).error().kind, ErrorKind::kEffectUnknown);
  EXPECT_EQ(client_.side_effect(effect_, performing(), seen(std::nullopt)).error().kind, ErrorKind::kEffectUnknown);
  EXPECT_EQ(performed_, 0);
  server_->decisions = {decision("unknown"), decision("go_on")};
  EXPECT_TRUE(client_.side_effect(effect_, performing(), seen(false)));
  EXPECT_EQ(performed_, 1);
}

TEST_F(SideEffectTest, WhatCertainlyDidNotHappenIsReleased) {
  EXPECT_EQ(client_.side_effect(effect_, failing(not_performed("no form"))).error().kind, ErrorKind::kNotPerformed);
  EXPECT_EQ(client_.side_effect(effect_, failing(retryable_error("cut")), seen(false)).error().code, "retryable");
  EXPECT_EQ(states(), (std::vector<std::string>{"released", "released"}));
}

TEST_F(SideEffectTest, AFailureInDoubtStaysReservedUnlessItIsSeen) {
  const auto doubt = client_.side_effect(effect_, []() -> Result<Performed> { throw std::runtime_error("cut"); });
  EXPECT_EQ(doubt.error().kind, ErrorKind::kEffectUnknown);
  EXPECT_EQ(doubt.error().side_effect_id, "fx_1");
  EXPECT_EQ(states(), std::vector<std::string>{"reserved"});
  EXPECT_EQ(client_.side_effect(effect_, failing(retryable_error("cut")), seen(true, 5))->result, Json(5));
}

TEST_F(SideEffectTest, PerformedButNotSeenNeverCountsAsProven) {
  (void)client_.side_effect(effect_, performing(), seen(false));
  EXPECT_EQ(server_->effects["fx_1"]["commit"]["proof"]["visible"], Json(false));
}

TEST_F(SideEffectTest, PerformedButNotOnRecordIsInDoubt) {
  server_->fail("/side-effects/fx_1/commit", {{.status = 503}, {.status = 503}});
  EXPECT_EQ(client_.side_effect(effect_, performing()).error().kind, ErrorKind::kEffectUnknown);
}

}  // namespace
}  // namespace fettle::sdk
