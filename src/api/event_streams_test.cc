// The live stream over a real socket, out of a real ledger's outbox, on a clock that the test moves.
#include "api/event_streams.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include "api/work_for_test.h"
#include "core/mutex.h"
#include "ledger/events.h"

namespace fettle::api {
namespace {

using testing::HasSubstr;
using testing::Not;

// A client that reads a stream until it is told to leave or the server ends it.
class Watcher {
 public:
  Watcher(http::Client& client, std::string target, std::string bearer = "reader", std::string last_id = "")
      : thread_([this, &client, target = std::move(target), bearer = std::move(bearer), last_id = std::move(last_id)] {
          http::ClientRequest request{.method = "GET", .target = target, .headers = {}, .body = {}};
          request.headers.add("Authorization", "Bearer " + bearer);
          if (!last_id.empty()) request.headers.add("Last-Event-ID", last_id);
          request.stop = leave_.get_token();
          (void)client.stream(request, [&](std::string_view piece) {
            MutexLock lock(mutex_);
            text_ += piece;
            changed_.notify_all();
            return true;
          });
          MutexLock lock(mutex_);
          ended_ = true;
          changed_.notify_all();
        }) {}
  ~Watcher() { leave_.request_stop(); }

  // Blocks until the text has it; what was read so far.
  std::string await(std::string_view wanted) {
    MutexLock lock(mutex_);
    while (!text_.contains(wanted) && !ended_) changed_.wait(lock);
    EXPECT_TRUE(text_.contains(wanted)) << "ended with: " << text_;
    return text_;
  }
  std::string await_end() {
    MutexLock lock(mutex_);
    while (!ended_) changed_.wait(lock);
    return text_;
  }

 private:
  Mutex mutex_;
  Condition changed_;
  std::string text_;
  bool ended_ = false;
  std::stop_source leave_;
  std::jthread thread_;
};

class EventStreamsTest : public WorkTest {
 protected:
  void publish(const std::vector<std::pair<std::string, std::string>>& types_and_clients,
               const std::string& workspace = "acme") {
    std::vector<ledger::Event> events;
    for (const auto& [type, client] : types_and_clients) {
      events.push_back({.type = type,
                        .at = clock_.now(),
                        .identifiers = {{"client_id", client}, {"run_id", "run_1"}},
                        .body = R"({"n":1})"});
    }
    const auto done = database_->write_and_wait(
        [&](db::Transaction& tx) { return ledger::publish(tx, {.workspace = {workspace}, .clients = {}}, events); });
    ASSERT_TRUE(done) << done.error().message();
  }
  // Lets the streams look once more.
  void look(int streams = 1) {
    clock_.await_waiters(streams);
    clock_.advance(std::chrono::milliseconds(250));
  }
};

TEST_F(EventStreamsTest, EventsOfTheWorkspaceArriveInOrderAndOnce) {
  publish({{"run.created", "c1"}});
  Watcher watcher(*client_, "/api/v1/stream");
  watcher.await("connected");
  publish({{"run.succeeded", "c1"}, {"approval.asked", "c2"}});
  publish({{"run.dead", "c1"}}, "globex");
  look();
  const std::string text = watcher.await("approval.asked");
  EXPECT_THAT(text, Not(HasSubstr("run.created"))) << "it was before the stream";
  EXPECT_THAT(text,
              HasSubstr("event: run.succeeded\ndata: {\"id\":\"0.2.0\",\"type\":\"run.succeeded\",\"at\":\"2027-"));
  EXPECT_THAT(text, HasSubstr(R"("identifiers":{"client_id":"c1","run_id":"run_1"},"data":{"n":1}})"));
  EXPECT_THAT(text, HasSubstr("id: 0.2\nevent: approval.asked")) << "the place comes with the last event of a change";
  publish({{"switch.thrown", "c1"}});
  look();
  const std::string more = watcher.await("switch.thrown");
  EXPECT_EQ(more.find("run.succeeded\ndata"), more.rfind("run.succeeded\ndata"));
  EXPECT_THAT(more, Not(HasSubstr("run.dead")));
}

TEST_F(EventStreamsTest, TopicsAndIdentifiersNarrowIt) {
  Watcher watcher(*client_, "/api/v1/stream?topics=run,switch.thrown&client_id=c1");
  watcher.await("connected");
  publish({{"run.succeeded", "c2"}, {"runner.lost", "c1"}, {"switch.lifted", "c1"}, {"run.dead", "c1"}});
  look();
  const std::string text = watcher.await("run.dead");
  EXPECT_THAT(text, Not(HasSubstr("c2")));
  EXPECT_THAT(text, Not(HasSubstr("runner.lost")));
  EXPECT_THAT(text, Not(HasSubstr("switch.lifted")));
}

TEST_F(EventStreamsTest, WhoeverIsLimitedToClientsSeesNoEventOfOthers) {
  Watcher watcher(*client_, "/api/v1/stream", "limited");
  watcher.await("connected");
  publish({{"run.succeeded", "c2"}, {"run.dead", "c1"}});
  look();
  EXPECT_THAT(watcher.await("run.dead"), Not(HasSubstr("run.succeeded")));
}

TEST_F(EventStreamsTest, AClientThatComesBackGoesOnWhereItWas) {
  Watcher holder(*client_, "/api/v1/stream");  // so that the ring is kept
  holder.await("connected");
  publish({{"run.created", "c1"}});
  publish({{"run.succeeded", "c1"}});
  look();
  holder.await("run.succeeded");
  Watcher watcher(*client_, "/api/v1/stream", "reader", "0.1");
  const std::string text = watcher.await("run.succeeded");
  EXPECT_THAT(text, Not(HasSubstr("run.created")));
  EXPECT_THAT(text, Not(HasSubstr("reset")));
}

TEST_F(EventStreamsTest, WhoMissedWhatIsNotKnownAnyMoreIsTold) {
  publish({{"run.created", "c1"}});
  Watcher late(*client_, "/api/v1/stream", "reader", "0.0");
  EXPECT_THAT(late.await("reset"), HasSubstr("id: 0.1\nevent: reset\ndata: {}\n\n"));
  Watcher ahead(*client_, "/api/v1/stream?last_event_id=0.99", "reader");
  ahead.await("reset");
  EXPECT_EQ(send("GET", "/api/v1/stream?last_event_id=nonsense").status, 400);
  EXPECT_EQ(send("GET", "/api/v1/stream?topics=RUN").status, 400);
  EXPECT_EQ(send("GET", "/api/v1/stream?colour=red").status, 400);
}

TEST_F(EventStreamsTest, AQuietStreamHasAHeartbeatWithItsPlace) {
  Watcher watcher(*client_, "/api/v1/stream?topics=nothing");
  watcher.await("connected");
  publish({{"run.created", "c1"}});
  clock_.await_waiters(1);
  clock_.advance(std::chrono::seconds(15));
  watcher.await("id: 0.1\n: heartbeat");
}

TEST_F(EventStreamsTest, ServerStopsEndEveryStream) {
  Watcher watcher(*client_, "/api/v1/stream");
  watcher.await("connected");
  api_->stop();
  watcher.await_end();
}

}  // namespace
}  // namespace fettle::api
