#include "server/parts_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "server/checks.h"

namespace fettle::server {
namespace {

using Parts = std::vector<telemetry::DetachedParts>;
using testing::HasSubstr;

class PartsWatchTest : public testing::Test {
 protected:
  // Waits until the watch has looked so many times and waits for its next look.
  void looked(int times) {
    for (int seen = looks_; seen < times; seen = looks_) looks_.wait(seen);
    clock_.await_waiters(1);
  }
  void next_minute() {
    const int times = looks_ + 1;
    clock_.advance(std::chrono::minutes(1));
    looked(times);
  }
  std::string gauge() const {
    const std::string text = metrics_.prometheus_text();
    const auto at = text.find("\nfettle_store_detached_parts ");
    return at == std::string::npos ? "" : text.substr(at + 1, text.find('\n', at + 1) - at - 1);
  }

  ManualClock clock_{0};
  metrics::Registry metrics_;
  std::atomic<int> looks_ = 0;
  Result<Parts> answer_ = Parts{};  // changed only while the watch waits
  PartsWatch watch_{[this](const std::stop_token&) {
                      ++looks_;
                      looks_.notify_all();
                      return answer_;
                    },
                    clock_, metrics_};
};

TEST_F(PartsWatchTest, LooksAtOnceAndThenOnceAMinute) {
  looked(1);
  clock_.advance(std::chrono::seconds(59));
  clock_.advance(std::chrono::seconds(1));
  looked(2);
  watch_.stop();
  EXPECT_EQ(looks_, 2) << "once a minute, not sooner";
}

TEST_F(PartsWatchTest, ThePartsAreInTheGaugeAndDegradeTheHealth) {
  looked(1);
  const health::Check check = parts_check(watch_);
  EXPECT_FALSE(check.is_critical);
  EXPECT_EQ(check.run({}).status, health::CheckStatus::kUp);
  EXPECT_EQ(gauge(), "fettle_store_detached_parts 0");
  answer_ = Parts{{.table = "logs", .count = 1}, {.table = "spans_hot", .count = 2}};
  next_minute();
  EXPECT_EQ(gauge(), "fettle_store_detached_parts 3");
  const health::CheckResult result = check.run({});
  EXPECT_EQ(result.status, health::CheckStatus::kDegraded);
  EXPECT_THAT(result.message, HasSubstr("logs 1, spans_hot 2"));
  answer_ = Parts{};
  next_minute();
  EXPECT_EQ(check.run({}).status, health::CheckStatus::kUp);
}

TEST_F(PartsWatchTest, AStoreThatDoesNotAnswerChangesNothing) {
  looked(1);
  answer_ = Parts{{.table = "logs", .count = 1}};
  next_minute();
  answer_ = fail(ErrorCode::kUnavailable, "restarting");
  next_minute();
  EXPECT_EQ(watch_.latest().size(), 1U);
  EXPECT_EQ(gauge(), "fettle_store_detached_parts 1");
}

}  // namespace
}  // namespace fettle::server
