#include "server/work_gauges.h"

#include <gtest/gtest.h>

#include <mutex>

#include "db/database.h"
#include "db/migration.h"
#include "db/testing.h"
#include "http/test_support.h"
#include "ledger/schema.h"
#include "runs/queue.h"
#include "runs/schema.h"
#include "runs/testing.h"

namespace fettle::server {
namespace {

using namespace std::chrono_literals;

// A store that remembers what it was sent, or is away.
class WorkGaugesTest : public testing::Test {
 protected:
  void SetUp() override {
    server_.gate = [](http::Request&) { return http::GateDecision{.body_bytes_max = 16 << 20}; };
    server_.handler = [this](http::Request request, http::Responder responder) {
      const std::lock_guard lock(mutex_);
      if (is_away_) return std::move(responder).respond(http::Response::make(503, "text/plain", "no"));
      if (request.target.contains("number_points")) ++points_;
      if (request.target.contains("series")) series_ += request.body;
      std::move(responder).respond(http::Response::make(200, "text/plain", ""));
    };
    server_.start();
    client_ = *telemetry::Client::connect(server_.url());
    ASSERT_TRUE(db::migrate(*ledger_, {&ledger::migrations(), &runs::migrations()}));
    runs_ =
        std::make_unique<runs::Runs>(*ledger_, clock_, rng_, journal_, runs::Runs::Options{.revokes_at_once = false});
  }
  void TearDown() override {
    runs_->close();
    ledger_->close();
  }

  ManualClock clock_{1'790'000'000 * kNanosPerSecond};
  SeededRng rng_{7};
  runs::FakeJournal journal_;
  metrics::Registry metrics_;
  db::TestStore store_{db::Dialect::kSqlite};
  std::unique_ptr<db::Database> ledger_ = store_.open();
  std::unique_ptr<runs::Runs> runs_;
  std::mutex mutex_;
  bool is_away_ = false;
  int points_ = 0;
  std::string series_;
  http::TestServer server_;
  std::unique_ptr<telemetry::Client> client_;
};

TEST_F(WorkGaugesTest, AQueueIsThereWhileItHasWorkAndOnceMoreWhenItIsEmpty) {
  const Scope scope{WorkspaceId{"acme"}, {}};
  const runs::EnqueueRequest request{.workflow = "publish"};
  ASSERT_TRUE(
      runs_->write_and_wait(scope, {}, [&](runs::Unit& unit) { return enqueue(unit, std::span(&request, 1)); }));
  http::Mailbox<bool> begun;  // a round asks first who leads
  const auto is_leader = [&] {
    begun.put(true);
    return true;
  };
  WorkGauges gauges(*runs_, *client_, is_leader, clock_, metrics_);
  const auto round = [&](bool first = false) {
    if (!first) clock_.advance(15s);
    ASSERT_TRUE(begun.take());
    clock_.await_waiters(1);
  };
  round(true);
  EXPECT_EQ(points_, 1);
  for (const char* text : {"queue_depth", "acme", "publish", "default"}) EXPECT_TRUE(series_.contains(text)) << text;
  ASSERT_TRUE(
      runs_->write_and_wait(scope, {}, [](runs::Unit& unit) { return lease(unit, {.worker = runs::WorkerId{"w1"}}); }));
  round();
  EXPECT_EQ(points_, 2) << "it is empty, which is not the same as absent";
  round();
  EXPECT_EQ(points_, 2);
  EXPECT_EQ(metrics_.counter("fettle_work_gauges_failures_total", "").value(), 0);
  gauges.stop();
}

TEST_F(WorkGaugesTest, AStoreThatWasAwayHearsWhatASeriesIsWhenItIsBack) {
  const runs::EnqueueRequest request{.workflow = "publish"};
  ASSERT_TRUE(runs_->write_and_wait(Scope{WorkspaceId{"acme"}, {}}, {},
                                    [&](runs::Unit& unit) { return enqueue(unit, std::span(&request, 1)); }));
  http::Mailbox<bool> begun;
  is_away_ = true;
  WorkGauges gauges(*runs_, *client_, [&] { return begun.put(true), true; }, clock_, metrics_);
  ASSERT_TRUE(begun.take());
  clock_.await_waiters(1);
  EXPECT_EQ(metrics_.counter("fettle_work_gauges_failures_total", "").value(), 1);
  {
    const std::lock_guard lock(mutex_);
    is_away_ = false;
  }
  clock_.advance(15s);
  ASSERT_TRUE(begun.take());
  clock_.await_waiters(1);
  EXPECT_EQ(points_, 1);
  EXPECT_TRUE(series_.contains("queue_depth"));
  gauges.stop();
}

}  // namespace
}  // namespace fettle::server
