#include "health/health.h"

#include <gtest/gtest.h>

#include <atomic>
#include <boost/json/parse.hpp>
#include <latch>
#include <stdexcept>
#include <thread>

namespace fettle::health {
namespace {

class HealthTest : public testing::Test {
 protected:
  Check check(std::string name, bool is_critical, CheckStatus status) {
    return {.name = std::move(name), .is_critical = is_critical, .run = [status, this](const std::stop_token&) {
              ++runs_;
              return CheckResult{.status = status, .message = "", .fields = {}};
            }};
  }
  ManualClock clock_{0};
  Health health_{clock_, "1.2.3"};
  std::atomic<int> runs_ = 0;
};

TEST_F(HealthTest, RollsUpByTheWorstCriticalCheck) {
  struct Case {
    CheckStatus critical;
    CheckStatus other;
    Status expected;
  };
  using enum CheckStatus;
  for (const Case& c : {Case{kUp, kUp, Status::kHealthy}, Case{kUp, kDegraded, Status::kDegraded},
                        Case{kUp, kDown, Status::kDegraded}, Case{kDegraded, kUp, Status::kDegraded},
                        Case{kDown, kUp, Status::kUnhealthy}, Case{kDown, kDown, Status::kUnhealthy}}) {
    Health health(clock_, "1");
    health.add(check("other", false, c.other));
    health.add(check("critical", true, c.critical));
    EXPECT_EQ(health.report().status, c.expected) << to_string(c.critical) << '/' << to_string(c.other);
  }
}

TEST_F(HealthTest, ACheckThatThrowsIsDown) {
  health_.add({.name = "bad", .is_critical = true, .run = [](const std::stop_token&) -> CheckResult {
                 throw std::runtime_error("broken");
               }});
  EXPECT_EQ(health_.report().status, Status::kUnhealthy);
}

TEST_F(HealthTest, ChecksRunAtMostOncePerInterval) {
  health_.add(check("one", false, CheckStatus::kUp));
  health_.report();
  health_.report();
  EXPECT_EQ(runs_, 1);
  clock_.advance(std::chrono::seconds(1));
  health_.report();
  EXPECT_EQ(runs_, 2);
}

TEST_F(HealthTest, ThoseWhoAskMeanwhileShareOneRun) {
  std::latch entered(1);
  std::latch leave(1);
  health_.add({.name = "slow", .is_critical = false, .run = [&](const std::stop_token&) {
                 ++runs_;
                 entered.count_down();
                 leave.wait();
                 return CheckResult{};
               }});
  std::jthread first([&] { health_.report(); });
  entered.wait();
  std::jthread second([&] { EXPECT_EQ(health_.report().checks.size(), 1U); });
  leave.count_down();
  second.join();
  EXPECT_EQ(runs_, 1);
}

TEST_F(HealthTest, TheDocumentHasTheAgreedShape) {
  health_.add({.name = "store", .is_critical = true, .run = [this](const std::stop_token&) {
                 clock_.advance(std::chrono::microseconds(1500));
                 return CheckResult{.status = CheckStatus::kUp, .message = "say \"hi\"", .fields = {{"parts", "7"}}};
               }});
  clock_.advance(std::chrono::seconds(90));
  const Report report = health_.report();
  const auto document = boost::json::parse(report.detailed_json());
  EXPECT_EQ(document, boost::json::parse(R"({"status":"healthy","version":"1.2.3","uptime_seconds":90,"checks":{"store":
      {"status":"up","critical":true,"latency_ms":1.5,"message":"say \"hi\"","parts":7}}})"));
  EXPECT_EQ(report.bare_json(), R"({"status":"healthy"})");
}

TEST_F(HealthTest, ServesOnlyWhenTold) {
  EXPECT_FALSE(health_.is_serving());
  EXPECT_EQ(health_.obstacle().what, "the server is starting");
  health_.set_obstacle("the store is away", "nobody listens");
  EXPECT_EQ(health_.obstacle().what, "the store is away");
  EXPECT_EQ(health_.obstacle().cause, "nobody listens");
  health_.set_serving(true);
  EXPECT_TRUE(health_.is_serving());
}

}  // namespace
}  // namespace fettle::health
