#include "notify/signature.h"

#include <gtest/gtest.h>

#include <vector>

namespace fettle::notify {
namespace {

TEST(WebhookSignatureTest, TheCheckValueOfTheSchemeComesOut) {
  const std::vector<Secret> secrets = {Secret("secret")};
  EXPECT_EQ(sign_webhook(secrets, "msg_1", 1'700'000'000, R"({"a":1})"),
            "v1,Q5nZ7DiOGwijBBqvBVAK6c0zDr2JLkXI7TaV4f+Q2vY=");
}

TEST(WebhookSignatureTest, TwoSecretsGiveTwoSignaturesInTheirOrder) {
  const std::vector<Secret> both = {Secret("new"), Secret("secret")};
  const std::vector<Secret> fresh = {Secret("new")};
  const std::string one = sign_webhook(fresh, "msg_1", 1'700'000'000, R"({"a":1})");
  EXPECT_EQ(sign_webhook(both, "msg_1", 1'700'000'000, R"({"a":1})"),
            one + " v1,Q5nZ7DiOGwijBBqvBVAK6c0zDr2JLkXI7TaV4f+Q2vY=");
}

TEST(WebhookSignatureTest, IdTimeAndBodyAreAllSigned) {
  const std::vector<Secret> secrets = {Secret("secret")};
  const std::string one = sign_webhook(secrets, "msg_1", 1, "{}");
  EXPECT_NE(one, sign_webhook(secrets, "msg_2", 1, "{}"));
  EXPECT_NE(one, sign_webhook(secrets, "msg_1", 2, "{}"));
  EXPECT_NE(one, sign_webhook(secrets, "msg_1", 1, "{ }"));
}

TEST(WebhookSignatureTest, ASecretIsHandedOutInTheSchemesForm) {
  SeededRng rng(1);
  const Secret secret = make_webhook_secret(rng);
  EXPECT_EQ(secret.reveal().size(), 32U);
  const std::string text = webhook_secret_text(secret);
  EXPECT_TRUE(text.starts_with("whsec_"));
  EXPECT_EQ(text.size(), 6U + 44U);
  EXPECT_EQ(webhook_secret_text(Secret("secret")), "whsec_c2VjcmV0");
  EXPECT_NE(text, webhook_secret_text(make_webhook_secret(rng)));
}

}  // namespace
}  // namespace fettle::notify
