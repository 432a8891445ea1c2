#include "ingest/replay_guard.h"

#include <gtest/gtest.h>

#include "ingest/spool_for_test.h"

namespace fettle::ingest {
namespace {

using State = ReplayGuard::State;

ReplayGuard::Waiter nobody() {
  return [](const Result<RequestAnswer>&) { FAIL() << "told without having waited"; };
}

TEST(ReplayGuard, ARepeatedRequestIsAnsweredAgain) {
  ManualClock clock(kTestStart);
  ReplayGuard guard(clock);
  EXPECT_EQ(guard.begin(hash_of(1), nobody()).state, State::kNew);
  guard.finish(hash_of(1), RequestAnswer{10, 2});
  const auto seen = guard.begin(hash_of(1), nobody());
  EXPECT_EQ(seen.state, State::kDone);
  EXPECT_EQ(seen.answer, (RequestAnswer{10, 2}));
  EXPECT_EQ(guard.begin(hash_of(2), nobody()).state, State::kNew);
}

TEST(ReplayGuard, ARepeatInFlightWaitsForTheOutcomeOfTheFirst) {
  ManualClock clock(kTestStart);
  ReplayGuard guard(clock);
  ASSERT_EQ(guard.begin(hash_of(1), nobody()).state, State::kNew);
  int told = 0;
  const auto waiter = [&](const Result<RequestAnswer>& outcome) {
    ++told;
    EXPECT_EQ(outcome->records, 10u);
  };
  EXPECT_EQ(guard.begin(hash_of(1), waiter).state, State::kInFlight);
  EXPECT_EQ(guard.begin(hash_of(1), waiter).state, State::kInFlight);
  EXPECT_EQ(told, 0);
  guard.finish(hash_of(1), RequestAnswer{10, 0});
  EXPECT_EQ(told, 2);
}

TEST(ReplayGuard, AFailedRequestIsNewWhenItComesAgain) {
  ManualClock clock(kTestStart);
  ReplayGuard guard(clock);
  ASSERT_EQ(guard.begin(hash_of(1), nobody()).state, State::kNew);
  bool failed = false;
  ASSERT_EQ(guard.begin(hash_of(1), [&](const Result<RequestAnswer>& outcome) { failed = !outcome; }).state,
            State::kInFlight);
  guard.finish(hash_of(1), fail(ErrorCode::kResourceExhausted, "full"));
  EXPECT_TRUE(failed);
  EXPECT_EQ(guard.begin(hash_of(1), nobody()).state, State::kNew);
}

TEST(ReplayGuard, ForgetsAfterTenMinutesAndNotBefore) {
  ManualClock clock(kTestStart);
  ReplayGuard guard(clock);
  guard.begin(hash_of(1), nobody());
  guard.finish(hash_of(1), RequestAnswer{1, 0});
  clock.advance(std::chrono::seconds(599));
  EXPECT_EQ(guard.begin(hash_of(1), nobody()).state, State::kDone);
  clock.advance(std::chrono::seconds(1));
  EXPECT_EQ(guard.begin(hash_of(1), nobody()).state, State::kNew);
  EXPECT_EQ(guard.size(), 0u);
}

TEST(ReplayGuard, RestoresOnlyWhatIsYoungEnough) {
  ManualClock clock(kTestStart);
  ReplayGuard guard(clock);
  guard.restore({hash_of(1), {5, 1}}, kTestStart - 599 * kNanosPerSecond);
  guard.restore({hash_of(2), {5, 1}}, kTestStart - 600 * kNanosPerSecond);
  EXPECT_EQ(guard.begin(hash_of(1), nobody()).state, State::kDone);
  EXPECT_EQ(guard.begin(hash_of(2), nobody()).state, State::kNew);
  clock.advance(std::chrono::seconds(1));
  EXPECT_EQ(guard.begin(hash_of(1), nobody()).state, State::kNew);
}

TEST(ReplayGuard, PastItsBoundTheOldestIsForgotten) {
  ManualClock clock(kTestStart);
  ReplayGuard guard(clock, {.keys_max = 2});
  for (std::uint64_t i = 1; i <= 3; ++i) {
    guard.begin(hash_of(i), nobody());
    guard.finish(hash_of(i), RequestAnswer{});
  }
  EXPECT_EQ(guard.size(), 2u);
  EXPECT_EQ(guard.begin(hash_of(1), nobody()).state, State::kNew);
  EXPECT_EQ(guard.begin(hash_of(3), nobody()).state, State::kDone);
}

TEST(ReplayGuard, TooManyWaitersAreTurnedAway) {
  ManualClock clock(kTestStart);
  ReplayGuard guard(clock, {.waiters_max = 1});
  ASSERT_EQ(guard.begin(hash_of(1), nobody()).state, State::kNew);
  ASSERT_EQ(guard.begin(hash_of(1), [](const Result<RequestAnswer>&) {}).state, State::kInFlight);
  EXPECT_EQ(guard.begin(hash_of(1), nobody()).state, State::kCrowded);
  guard.finish(hash_of(1), RequestAnswer{});
}

// A clock whose wall can be set while time goes on.
class SetClock final : public Clock {
 public:
  UnixNanos now() const override { return kTestStart + set_by.count(); }
  std::chrono::nanoseconds monotonic() const override { return passed; }
  bool wait_until(std::chrono::nanoseconds, const std::stop_token&) override { return true; }
  std::chrono::nanoseconds set_by{0};
  std::chrono::nanoseconds passed{0};
};

TEST(ReplayGuard, SettingTheWallClockMakesNothingForgottenOrKeptLonger) {
  for (const auto set_by : {std::chrono::hours(5), std::chrono::hours(-5)}) {
    SetClock clock;
    ReplayGuard guard(clock);
    guard.restore({hash_of(1), {1, 0}}, clock.now() - std::chrono::nanoseconds(std::chrono::minutes(5)).count());
    ASSERT_EQ(guard.begin(hash_of(2), nobody()).state, State::kNew);
    guard.finish(hash_of(2), RequestAnswer{2, 0});
    clock.set_by = set_by;
    clock.passed = std::chrono::minutes(4);
    EXPECT_EQ(guard.begin(hash_of(1), nobody()).state, State::kDone);
    EXPECT_EQ(guard.begin(hash_of(2), nobody()).state, State::kDone);
    clock.passed = std::chrono::minutes(6);
    EXPECT_EQ(guard.begin(hash_of(1), nobody()).state, State::kNew) << "five minutes old at the start";
    EXPECT_EQ(guard.begin(hash_of(2), nobody()).state, State::kDone);
    clock.passed = std::chrono::minutes(11);
    EXPECT_EQ(guard.begin(hash_of(2), nobody()).state, State::kNew);
  }
}

}  // namespace
}  // namespace fettle::ingest
