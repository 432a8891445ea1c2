#include "notify/retry.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace fettle::notify {
namespace {

using namespace std::chrono_literals;

constexpr UnixNanos kNow = 1'790'000'000 * kNanosPerSecond;  // 2026-09-21T14:13:20Z
constexpr UnixNanos kDay = kNow + kNanosPerDay;

TEST(RetryTest, AnAnswerSaysWhatBecomesOfADelivery) {
  for (const int status : {200, 201, 202, 204, 299}) EXPECT_EQ(verdict_of(status), Verdict::kDelivered) << status;
  for (const int status : {408, 425, 429, 500, 502, 503, 504, 529}) {
    EXPECT_EQ(verdict_of(status), Verdict::kRetry) << status;
  }
  for (const int status : {199, 300, 301, 302, 307, 308, 400, 401, 403, 404, 405, 409, 413, 422}) {
    EXPECT_EQ(verdict_of(status), Verdict::kDead) << status;
  }
  EXPECT_EQ(verdict_of(410), Verdict::kGone);
}

TEST(RetryTest, DelaysAreJitteredOverTheWholeOfADoublingSpan) {
  SeededRng rng(1);
  const RetryPolicy policy{.base = 5s, .cap = 2h, .give_up_after = 24h};
  for (int attempts = 1; attempts <= 60; ++attempts) {
    const auto span = std::min<std::chrono::nanoseconds>(2h, 5s * (1LL << std::min(attempts - 1, 20)));
    UnixNanos least = kDay, most = 0;
    for (int i = 0; i < 300; ++i) {
      const auto next = next_attempt(policy, attempts, kNow, kDay, 0ns, rng);
      ASSERT_TRUE(next);
      least = std::min(least, *next);
      most = std::max(most, *next);
    }
    EXPECT_GE(least, kNow);
    EXPECT_LT(least, kNow + span.count() / 10) << attempts;
    EXPECT_LE(most, kNow + span.count()) << attempts;
    EXPECT_GT(most, kNow + span.count() / 10 * 9) << attempts;
  }
}

TEST(RetryTest, NeverEarlierThanTheEndpointAsksAndNeverBeyondTheEnd) {
  SeededRng rng(1);
  const RetryPolicy policy;
  for (int i = 0; i < 100; ++i) {
    EXPECT_GE(*next_attempt(policy, 1, kNow, kDay, 1h, rng), kNow + std::chrono::nanoseconds(1h).count());
    EXPECT_LE(*next_attempt(policy, 30, kNow, kNow + 1'000, 0ns, rng), kNow + 1'000);
  }
  EXPECT_FALSE(next_attempt(policy, 1, kNow, kDay, 25h, rng)) << "asked to wait beyond the end";
  EXPECT_FALSE(next_attempt(policy, 1, kDay, kDay, 0ns, rng)) << "the last attempt was at the end";
}

TEST(RetryTest, ADayHoldsSomeTensOfAttempts) {
  const RetryPolicy policy;
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    SeededRng rng(seed);
    UnixNanos at = kNow;
    int attempts = 1;
    while (const auto next = next_attempt(policy, attempts, at, kDay, 0ns, rng)) {
      at = *next;
      ++attempts;
    }
    EXPECT_EQ(at, kDay) << "the last one is when the time is up";
    EXPECT_GE(attempts, 20) << seed;
    EXPECT_LE(attempts, 60) << seed;
  }
}

TEST(RetryTest, RetryAfterIsReadInEveryFormThatIsAllowed) {
  EXPECT_EQ(parse_retry_after("120", kNow), 120s);
  EXPECT_EQ(parse_retry_after("0", kNow), 0s);
  EXPECT_EQ(parse_retry_after("Mon, 21 Sep 2026 14:15:20 GMT", kNow), 120s);
  EXPECT_EQ(parse_retry_after("Monday, 21-Sep-26 14:15:20 GMT", kNow), 120s);
  EXPECT_EQ(parse_retry_after("Mon Sep 21 14:15:20 2026", kNow), 120s);
  EXPECT_EQ(parse_retry_after("Mon, 21 Sep 2026 14:00:00 GMT", kNow), 0s) << "past";
  EXPECT_EQ(parse_retry_after("99999999999999999999", kNow), 365 * 24h);
  for (const char* wrong : {"", "-1", "soon", "1.5", "120 s", "Mon, 21 Sep 2026 14:15:20 GMT+1"}) {
    EXPECT_EQ(parse_retry_after(wrong, kNow), 0s) << wrong;
  }
}

}  // namespace
}  // namespace fettle::notify
