#include "server/event_feed.h"

#include <gtest/gtest.h>

#include <map>
#include <mutex>

#include "db/database.h"
#include "db/migration.h"
#include "db/testing.h"
#include "http/test_support.h"
#include "ledger/events.h"
#include "ledger/schema.h"
#include "server/config.h"
#include "server/packs.h"

namespace fettle::server {
namespace {

using namespace std::chrono_literals;

// A store that takes every insert but those with an event that it was told of. It has nothing when it is asked.
class EventFeedTest : public testing::Test {
 protected:
  void SetUp() override {
    server_.gate = [](http::Request&) { return http::GateDecision{.body_bytes_max = 16 << 20}; };
    server_.handler = [this](http::Request request, http::Responder responder) {
      if (!request.target.contains("INSERT")) {
        return std::move(responder).respond(http::Response::make(200, "text/plain", ""));
      }
      const std::lock_guard lock(mutex_);
      ++inserts_;
      if (request.body.contains("poison")) {
        auto refusal = http::Response::make(400, "text/plain", "Code: 117. DB::Exception: no");
        refusal.headers.set("X-ClickHouse-Exception-Code", std::to_string(refused_with_));
        return std::move(responder).respond(std::move(refusal));
      }
      for (int i = 0; i < 100; ++i) {
        if (request.body.contains("good." + std::to_string(i) + ".")) ++stored_[i];
      }
      std::move(responder).respond(http::Response::make(200, "text/plain", ""));
    };
    server_.start();
    client_ = *telemetry::Client::connect(server_.url());
    ASSERT_TRUE(db::migrate(*ledger_, {&ledger::migrations()}));
    ASSERT_TRUE(outbox_.add_consumer("telemetry"));
  }

  void publish(const std::vector<std::string>& types) {
    std::vector<ledger::Event> events;
    for (const std::string& type : types) {
      events.push_back({.type = type, .at = clock_.now(), .identifiers = {}, .body = "{}"});
    }
    ASSERT_TRUE(ledger_->write_and_wait(
        [&](db::Transaction& tx) { return ledger::publish(tx, Scope{WorkspaceId{"w"}, {}}, events); }));
  }
  // As many rounds of the feed.
  void feed(int rounds, EventFeed::Options options = {}) {
    http::Mailbox<bool> begun;  // a round asks first who leads
    const auto is_leader = [&] {
      begun.put(true);
      return true;
    };
    EventFeed feed(outbox_, *client_, catalogue_, is_leader, clock_, metrics_, std::move(options));
    for (int i = 0; i < rounds; ++i) {
      if (i != 0) clock_.advance(2s);
      ASSERT_TRUE(begun.take());
      clock_.await_waiters(1);  // it is over
    }
    feed.stop();
  }
  std::int64_t behind() { return outbox_.status()->front().rows_behind; }
  double counted(const std::string& name) { return metrics_.counter(name, "").value(); }

  ManualClock clock_{1'790'000'000 * kNanosPerSecond};
  metrics::Registry metrics_;
  db::TestStore store_{db::Dialect::kSqlite};
  std::unique_ptr<db::Database> ledger_ = store_.open();
  ledger::Outbox outbox_{*ledger_, clock_, metrics_};
  const telemetry::IdentifierCatalogue catalogue_ = *load_identifiers(Config());
  std::mutex mutex_;
  std::map<int, int> stored_;
  int inserts_ = 0;
  int refused_with_ = 117;
  http::TestServer server_;
  std::unique_ptr<telemetry::Client> client_;
};

TEST_F(EventFeedTest, AnEventThatTheStoreWillNotTakeIsSetAsideAndTheOthersGoOn) {
  publish({"good.1.x", "good.2.x", "poison.a", "good.3.x", "good.4.x"});
  publish({"good.5.x", "poison.b", "good.6.x"});
  feed(2);
  EXPECT_EQ(behind(), 2) << "it may yet change its mind";
  EXPECT_EQ(counted("fettle_events_refused_total"), 0);
  feed(4);
  EXPECT_EQ(behind(), 0);
  EXPECT_EQ(counted("fettle_events_refused_total"), 2);
  EXPECT_EQ(counted("fettle_events_stored_total"), 6);
  for (int i = 1; i <= 6; ++i) EXPECT_EQ(stored_[i], 1) << i;
  publish({"good.7.x"});
  feed(1);
  EXPECT_EQ(stored_[7], 1);
}

TEST_F(EventFeedTest, AStoreInTroubleSaysNothingAgainstTheEvents) {
  refused_with_ = 241;  // memory
  publish({"good.1.x", "poison.a"});
  feed(8);
  EXPECT_EQ(behind(), 1);
  EXPECT_EQ(counted("fettle_events_refused_total"), 0);
  EXPECT_EQ(stored_[1], 0);
}

TEST_F(EventFeedTest, ALeaderThatLostItsPlaceMovesNothing) {
  publish({"good.1.x"});
  bool is_leader = false;
  const EventFeed::Options options{.fence = [&](db::Transaction&) -> Result<void> {
                                     if (is_leader) return {};
                                     return fail(ErrorCode::kUnavailable, "somebody else leads");
                                   },
                                   .epoch = {}};
  feed(1, options);
  EXPECT_EQ(behind(), 1) << "its successor is to bring it";
  is_leader = true;
  feed(1, options);
  EXPECT_EQ(behind(), 0);
}

}  // namespace
}  // namespace fettle::server
