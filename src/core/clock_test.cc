#include "core/clock.h"

#include <gtest/gtest.h>

#include <thread>

namespace fettle {
namespace {

TEST(ManualClock, WakesAWaiterOnlyWhenItsTimeHasCome) {
  ManualClock clock(0);
  bool reached = false;
  std::jthread waiter([&](const std::stop_token& stop) { reached = clock.wait_for(std::chrono::seconds(5), stop); });
  clock.await_waiters(1);
  clock.advance(std::chrono::seconds(4));
  EXPECT_EQ(clock.now(), 4 * kNanosPerSecond);
  clock.advance(std::chrono::seconds(1));
  waiter.join();
  EXPECT_TRUE(reached);
}

TEST(Clock, AStopEndsAWaitAtOnce) {
  ManualClock manual(0);
  SystemClock system;
  for (Clock* clock : {static_cast<Clock*>(&manual), static_cast<Clock*>(&system)}) {
    bool reached = true;
    std::jthread waiter([&](const std::stop_token& stop) { reached = clock->wait_for(std::chrono::hours(1), stop); });
    waiter.request_stop();
    waiter.join();
    EXPECT_FALSE(reached);
  }
}

TEST(Time, DayOfRoundsTowardsThePast) {
  EXPECT_EQ(day_of(0), 0);
  EXPECT_EQ(day_of(kNanosPerDay - 1), 0);
  EXPECT_EQ(day_of(kNanosPerDay), 1);
  EXPECT_EQ(day_of(-1), -1);
}

TEST(Time, FormatsRfc3339) {
  EXPECT_EQ(format_rfc3339(0), "1970-01-01T00:00:00Z");
  EXPECT_EQ(format_rfc3339(1'700'000'000'500'000'000), "2023-11-14T22:13:20.5Z");
  EXPECT_EQ(format_rfc3339(-500'000'000), "1969-12-31T23:59:59.5Z");
}

}  // namespace
}  // namespace fettle
