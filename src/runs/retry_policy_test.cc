#include "runs/retry_policy.h"

#include <gtest/gtest.h>

#include <vector>

namespace fettle::runs {
namespace {

using namespace std::chrono_literals;

std::uint64_t lowest() { return 0; }

TEST(RetryPolicyTest, ErrorsAreClassified) {
  struct Case {
    RunError error;
    ErrorClass expected;
  };
  const std::vector<Case> cases = {
      {{.http_status = 429}, ErrorClass::kRateLimited},
      {{.http_status = 425}, ErrorClass::kRateLimited},
      {{.http_status = 408}, ErrorClass::kTimeout},
      {{.http_status = 500}, ErrorClass::kServer},
      {{.http_status = 502}, ErrorClass::kServer},
      {{.http_status = 503}, ErrorClass::kServer},
      {{.http_status = 504}, ErrorClass::kTimeout},
      {{.http_status = 529}, ErrorClass::kServer},
      {{.http_status = 501}, ErrorClass::kPermanent},
      {{.http_status = 400}, ErrorClass::kValidation},
      {{.http_status = 422}, ErrorClass::kValidation},
      {{.http_status = 401}, ErrorClass::kAuth},
      {{.http_status = 403}, ErrorClass::kAuth},
      {{.http_status = 404}, ErrorClass::kPermanent},
      {{.http_status = 409}, ErrorClass::kPermanent},
      {{.http_status = 410}, ErrorClass::kPermanent},
      {{.code = "ECONNRESET"}, ErrorClass::kConnection},
      {{.code = "ETIMEDOUT"}, ErrorClass::kTimeout},
      {{.code = "API_TIMEOUT"}, ErrorClass::kTimeout},
      {{.name = "RateLimitError"}, ErrorClass::kRateLimited},
      {{.name = "ValidationError"}, ErrorClass::kValidation},
      {{.name = "AuthenticationError"}, ErrorClass::kAuth},
      {{.message = "API_TIMEOUT: Connection timeout after 5s"}, ErrorClass::kTimeout},
      {{.message = "wrong page after the timeout was changed"}, ErrorClass::kUnknown},
      {{.message = "undefined is not a function"}, ErrorClass::kUnknown},
      {{.http_status = 400, .retryable = true}, ErrorClass::kTransient},
      {{.http_status = 503, .retryable = false}, ErrorClass::kPermanent},
      {{.http_status = 503, .retryable = true}, ErrorClass::kServer},
      // A status says more than words.
      {{.name = "ValidationError", .http_status = 503}, ErrorClass::kServer},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(classify(c.error), c.expected) << c.error.http_status << c.error.code << c.error.name << c.error.message;
  }
}

TEST(RetryPolicyTest, ValidationAndAuthAreNotRetriedAndTheRestIs) {
  for (int i = 0; i <= 10; ++i) {
    const auto error_class = static_cast<ErrorClass>(i);
    const bool expected = error_class != ErrorClass::kValidation && error_class != ErrorClass::kAuth &&
                          error_class != ErrorClass::kPermanent;
    EXPECT_EQ(decide({}, {.error_class = error_class}, lowest).retry, expected) << to_string(error_class);
  }
}

TEST(RetryPolicyTest, ThreeRetriesFollowTheFirstTryByDefault) {
  for (int made = 0; made < 6; ++made) {
    const Decision decision = decide({}, {.error_class = ErrorClass::kServer, .retries_made = made}, lowest);
    EXPECT_EQ(decision.retry, made < 3);
    EXPECT_EQ(decision.reason, made >= 3 ? "retries_exhausted" : "");
  }
}

TEST(RetryPolicyTest, DelaysGrowByTheFactorUpToTheCap) {
  const RetryPolicy policy{.max_retries = 1'000, .base = 500ms, .factor = 2, .cap = 60s};
  EXPECT_EQ(delay_max(policy, 0), 500ms);
  EXPECT_EQ(delay_max(policy, 1), 1s);
  EXPECT_EQ(delay_max(policy, 6), 32s);
  EXPECT_EQ(delay_max(policy, 7), 60s);
  EXPECT_EQ(delay_max(policy, 999), 60s);
}

TEST(RetryPolicyTest, JitterReachesFromNothingToTheWholeDelay) {
  const RetryPolicy policy{.base = 1s, .cap = 1s};
  const Situation situation{.error_class = ErrorClass::kServer};
  EXPECT_EQ(decide(policy, situation, lowest).delay, 0ns);
  EXPECT_EQ(decide(policy, situation, [] { return std::uint64_t{1'000'000'000}; }).delay, 1s);
  EXPECT_EQ(decide(policy, situation, [] { return std::uint64_t{1'000'000'001}; }).delay, 0ns);
}

TEST(RetryPolicyTest, RetryAfterIsHonouredUpToItsLimit) {
  const Situation asked{.error_class = ErrorClass::kRateLimited, .retry_after = 120s};
  EXPECT_EQ(decide({}, asked, lowest).delay, 120s);
  const Situation too_long{.error_class = ErrorClass::kRateLimited, .retry_after = 2h};
  EXPECT_EQ(decide({}, too_long, lowest).reason, "retry_after_too_long");
}

TEST(RetryPolicyTest, ElapsedTimeEndsTheChain) {
  const UnixNanos hour = 3'600 * kNanosPerSecond;
  const RetryPolicy policy{.elapsed_max = 1h};
  Situation situation{.error_class = ErrorClass::kServer, .chain_started_at = 10 * hour, .now = 11 * hour};
  EXPECT_TRUE(decide(policy, situation, lowest).retry);
  situation.now += 1;
  EXPECT_EQ(decide(policy, situation, lowest).reason, "elapsed_exhausted");
  // A clock that was set back ends nothing.
  situation.now = 0;
  EXPECT_TRUE(decide(policy, situation, lowest).retry);
}

TEST(RetryPolicyTest, AFirstLostWorkerIsReplacedAtOnce) {
  const auto highest = [] { return std::uint64_t{400'000'000}; };
  EXPECT_EQ(decide({}, {.error_class = ErrorClass::kWorkerLost}, highest).delay, 0ns);
  EXPECT_GT(decide({}, {.error_class = ErrorClass::kWorkerLost, .retries_made = 1}, highest).delay, 0ns);
}

TEST(RetryPolicyTest, PoliciesOutOfRangeAreRefused) {
  EXPECT_TRUE(check(RetryPolicy{}).has_value());
  for (const RetryPolicy& policy :
       {RetryPolicy{.max_retries = -1}, RetryPolicy{.max_retries = 1'001}, RetryPolicy{.base = -1ns},
        RetryPolicy{.factor = 0.5}, RetryPolicy{.base = 2s, .cap = 1s}, RetryPolicy{.elapsed_max = 0ns}}) {
    ASSERT_FALSE(check(policy).has_value());
    EXPECT_EQ(check(policy).error().code(), ErrorCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace fettle::runs
