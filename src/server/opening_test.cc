#include "server/opening.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <vector>

namespace fettle::server {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class OpeningTest : public testing::Test {
 protected:
  void start() {
    opening_.start(
        {.opened = [this] { opened_ = true; }, .failed = [this](const Error& why) { told_.push_back(why.message()); }});
  }
  // Waits until an attempt has failed and the next one is awaited.
  void failed() { clock_.await_waiters(1); }

  ManualClock clock_{0};
  // Changed only while no attempt runs.
  std::string trouble_ = "nobody listens";
  std::atomic<int> attempts_ = 0;
  std::atomic<bool> opened_ = false;
  std::vector<std::string> told_;
  Opening opening_{[this](const std::stop_token&) -> Result<void> {
                     ++attempts_;
                     attempts_.notify_all();
                     if (trouble_.empty()) return {};
                     return fail(ErrorCode::kUnauthenticated, trouble_);
                   },
                   clock_,
                   {.pause_min = std::chrono::seconds(1), .pause_max = std::chrono::seconds(3)}};
};

TEST_F(OpeningTest, IsOpenAfterTheFirstAttemptThatSucceeds) {
  EXPECT_EQ(opening_.check().error().message(), "the telemetry store is being opened");
  start();
  failed();
  EXPECT_EQ(opening_.check().error().code(), ErrorCode::kUnavailable);
  EXPECT_THAT(opening_.check().error().message(), HasSubstr("nobody listens"));
  EXPECT_FALSE(opened_);
  trouble_.clear();
  clock_.advance(std::chrono::seconds(1));
  EXPECT_TRUE(opening_.wait({}));
  EXPECT_TRUE(opening_.check());
  EXPECT_TRUE(opened_);
  EXPECT_EQ(attempts_, 2);
}

TEST_F(OpeningTest, PausesGrowUpToTheirBound) {
  start();
  failed();
  for (const int pause : {1, 2, 3, 3}) {
    const int before = attempts_;
    clock_.advance(std::chrono::seconds(pause) - std::chrono::nanoseconds(1));
    EXPECT_EQ(attempts_, before);
    clock_.advance(std::chrono::nanoseconds(1));
    attempts_.wait(before);
    failed();
  }
}

TEST_F(OpeningTest, AReasonIsToldOnceForAsLongAsItIsTheSame) {
  start();
  failed();
  const auto again = [this] {
    const int before = attempts_;
    clock_.advance(std::chrono::seconds(3));
    attempts_.wait(before);
    failed();
  };
  again();
  trouble_ = "wrong password";
  again();
  again();
  EXPECT_THAT(told_, ElementsAre("nobody listens", "wrong password"));
}

TEST_F(OpeningTest, AStopEndsWaitersAndAttempts) {
  start();
  failed();
  std::stop_source stopping;
  std::jthread waiter([&] { EXPECT_FALSE(opening_.wait(stopping.get_token())); });
  stopping.request_stop();
  waiter.join();
  opening_.stop();
  EXPECT_EQ(attempts_, 1);
}

}  // namespace
}  // namespace fettle::server
