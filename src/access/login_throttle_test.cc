#include "access/login_throttle.h"

#include <gtest/gtest.h>

namespace fettle::access {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

class LoginThrottleTest : public ::testing::Test {
 protected:
  // Number of attempts that pass before the first refusal.
  int attempts_until_refused(std::string_view account, std::string_view address) {
    int passed = 0;
    while (passed < 1000 && throttle_.begin(account, address)) ++passed;
    return passed;
  }

  ManualClock clock_{0};
  LoginThrottle::Options options_{.account = {.free = 3, .first_wait = seconds(1), .wait_max = seconds(60)},
                                  .address = {.free = 10, .first_wait = seconds(2), .wait_max = minutes(15)},
                                  .entries_max = 100};
  LoginThrottle throttle_{options_, clock_};
};

TEST_F(LoginThrottleTest, AFewFailuresCostNothingThenTheAccountWaitsTwiceAsLongEachTime) {
  EXPECT_EQ(attempts_until_refused("a", "10.0.0.1:1"), 4);
  for (const int wait_s : {1, 2, 4, 8, 16, 32, 60, 60}) {
    const auto refused = throttle_.begin("a", "10.0.0.1:1");
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().error.code(), ErrorCode::kResourceExhausted);
    EXPECT_EQ(refused.error().error.retry_after(), seconds(wait_s));
    clock_.advance(seconds(wait_s) - std::chrono::nanoseconds(1));
    EXPECT_FALSE(throttle_.begin("a", "10.0.0.1:1"));
    clock_.advance(std::chrono::nanoseconds(1));
    // From elsewhere, so that the address does not wait as well.
    EXPECT_TRUE(throttle_.begin("a", "10.9.9." + std::to_string(wait_s)));
  }
}

TEST_F(LoginThrottleTest, OneAddressCannotGuessAtManyAccounts) {
  int passed = 0;
  while (passed < 1000 && throttle_.begin("account-" + std::to_string(passed), "10.0.0.1:" + std::to_string(passed)))
    ++passed;
  EXPECT_EQ(passed, 11);
  EXPECT_TRUE(throttle_.begin("another", "10.0.0.2:1"));
}

TEST_F(LoginThrottleTest, OnlyTheFirstRefusalOfAWaitIsForTheBooks) {
  attempts_until_refused("a", "10.0.0.1");
  clock_.advance(seconds(1));
  ASSERT_TRUE(throttle_.begin("a", "10.0.0.1"));
  EXPECT_TRUE(throttle_.begin("a", "10.0.0.1").error().is_first);
  EXPECT_FALSE(throttle_.begin("a", "10.0.0.1").error().is_first);
}

TEST_F(LoginThrottleTest, SuccessForgetsTheAccountsFailures) {
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(throttle_.begin("a", "10.0.0.1"));
  throttle_.succeeded("a", "10.0.0.1");
  EXPECT_EQ(attempts_until_refused("a", "10.0.0.1"), 4);
}

TEST_F(LoginThrottleTest, SuccessOnOnesOwnAccountDoesNotFreeAnAddressForGuessing) {
  int passed = 0;
  for (int i = 0; i < 100; ++i) {
    if (throttle_.begin("victim-" + std::to_string(i), "10.0.0.1")) ++passed;
    if (throttle_.begin("mine", "10.0.0.1")) throttle_.succeeded("mine", "10.0.0.1");
  }
  EXPECT_LE(passed, 11);
}

TEST_F(LoginThrottleTest, AQuietHourForgets) {
  attempts_until_refused("a", "10.0.0.1");
  clock_.advance(std::chrono::hours(2));
  EXPECT_EQ(attempts_until_refused("a", "10.0.0.1"), 4);
}

TEST_F(LoginThrottleTest, TheTableStaysWithinItsLimit) {
  for (int i = 0; i < 1000; ++i) (void)throttle_.begin("a" + std::to_string(i), "10.0." + std::to_string(i) + ".1");
  EXPECT_LE(throttle_.size(), 100U);
}

TEST_F(LoginThrottleTest, NoFloodOfNamesMakesItForgetWhoIsGuessedAt) {
  // Three guesses are free; a flood of other names between them buys no more.
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(throttle_.begin("victim", "10.0.0." + std::to_string(i)));
  for (int i = 0; i < 10'000; ++i) {
    (void)throttle_.begin("flood-" + std::to_string(i),
                          "10." + std::to_string(i / 250) + ".1." + std::to_string(i % 250));
  }
  ASSERT_TRUE(throttle_.begin("victim", "10.0.0.3")) << "the one that makes it wait";
  EXPECT_FALSE(throttle_.begin("victim", "10.0.0.4"));
  for (int i = 0; i < 10'000; ++i) (void)throttle_.begin("more-" + std::to_string(i), "10.9.9.9");
  EXPECT_FALSE(throttle_.begin("victim", "10.0.0.5"));
  EXPECT_LE(throttle_.size(), 100U);
}

TEST_F(LoginThrottleTest, WhereAllWaitWhoeverIsNewSharesOneEntry) {
  LoginThrottle small({.account = {.free = 0, .first_wait = minutes(5), .wait_max = minutes(5)},
                       .address = {.free = 0, .first_wait = minutes(5), .wait_max = minutes(5)},
                       .crowd = {.free = 2, .first_wait = seconds(1), .wait_max = seconds(1)},
                       .entries_max = 4},
                      clock_);
  EXPECT_TRUE(small.begin("a", "10.0.0.1"));
  EXPECT_TRUE(small.begin("b", "10.0.0.2"));
  int passed = 0;
  for (int i = 0; i < 10; ++i) passed += small.begin("new" + std::to_string(i), "10.1.0." + std::to_string(i)) ? 1 : 0;
  EXPECT_EQ(passed, 3);
  EXPECT_EQ(small.size(), 4U);
  EXPECT_FALSE(small.begin("a", "10.2.0.1")) << "it waits as before";
  clock_.advance(seconds(1));
  EXPECT_TRUE(small.begin("late", "10.3.0.1"));
  clock_.advance(minutes(5));
  EXPECT_TRUE(small.begin("a", "10.2.0.1"));
}

TEST(NetworkOf, AnAddressIsCountedWithoutItsPortAndIPv6ByItsFirst64Bits) {
  EXPECT_EQ(network_of("10.0.0.1:5123"), network_of("10.0.0.1"));
  EXPECT_NE(network_of("10.0.0.1:1"), network_of("10.0.0.2:1"));
  EXPECT_EQ(network_of("[2001:db8:1:2:3::4]:80"), network_of("2001:db8:1:2:9::9"));
  EXPECT_NE(network_of("2001:db8:1:2::1"), network_of("2001:db8:1:3::1"));
  EXPECT_NE(network_of("::ffff:10.0.0.1"), network_of("::ffff:10.0.0.2"));
  EXPECT_EQ(network_of("unix"), "unix");
}

}  // namespace
}  // namespace fettle::access
