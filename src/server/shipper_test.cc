// Shipping to a small server of the test's own, which can refuse, break off and remember.
#include "server/shipper.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <mutex>
#include <set>

#include "http/server.h"

namespace fettle::server {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// Moves on by itself whenever somebody waits, and stops whoever waits too often.
class HurriedClock final : public Clock {
 public:
  UnixNanos now() const override { return 0; }
  std::chrono::nanoseconds monotonic() const override { return now_; }
  bool wait_until(std::chrono::nanoseconds until, const std::stop_token& stop) override {
    waits.push_back(std::chrono::duration_cast<std::chrono::milliseconds>(until - now_));
    now_ = std::max(now_, until);
    if (on_wait) on_wait();
    return !stop.stop_requested();
  }
  std::vector<std::chrono::milliseconds> waits;
  std::function<void()> on_wait;

 private:
  std::chrono::nanoseconds now_{0};
};

class ShipperTest : public testing::Test {
 protected:
  ShipperTest() {
    std::string name = testing::TempDir() + "fettle-ship-XXXXXX";
    folder_ = ::mkdtemp(name.data());
    file_ = folder_ / "app.log";
    auto address = server_.listen(
        "127.0.0.1:0",
        [](http::Request&) {
          return http::GateDecision{.body_bytes_max = 1 << 24, .body_to = {}, .refuse = {}, .on_end = {}};
        },
        [this](http::Request request, http::Responder responder) {
          const std::lock_guard lock(mutex_);
          targets_.push_back(request.target);
          http::Response response =
              http::Response::make(200, "application/json", R"({"accepted":1,"rejected":0,"errors":[]})");
          if (!answers_.empty()) {
            response = answers_.front();
            answers_.erase(answers_.begin());
          }
          // As the real one: a batch that comes again is answered again and not stored again.
          if (response.status == 200 && known_.insert(request.target + request.body).second) stored_ += request.body;
          std::move(responder).respond(std::move(response));
        });
    server_.start();
    client_.emplace("http://" + *address, http::ClientOptions{});
  }
  ~ShipperTest() override {
    server_.stop(std::chrono::seconds(1));
    std::filesystem::remove_all(folder_);
  }

  void append(const std::string& text) { std::ofstream(file_, std::ios::app) << text; }
  void answer_next(int status, std::string retry_after = "") {
    http::Response response = http::Response::make(status, "application/problem+json", "{}");
    if (!retry_after.empty()) response.headers.set("Retry-After", std::move(retry_after));
    answers_.push_back(std::move(response));
  }
  Result<void> ship_once(const std::stop_token& stop = {}) {
    auto state = ShipState::open(folder_ / "state.json");
    if (!state) return std::unexpected(std::move(state).error());
    Shipper shipper(*client_, *state, clock_, rng_, {.bearer = "Bearer t"});
    shipper.add(file_, "");
    auto done = shipper.run_once(stop);
    totals_ = shipper.totals();
    return done;
  }

  std::filesystem::path folder_;
  std::filesystem::path file_;
  metrics::Registry metrics_;
  http::Server server_{{.threads = 1}, metrics_};
  std::optional<http::Client> client_;
  HurriedClock clock_;
  SeededRng rng_{1};
  Shipper::Totals totals_;

  std::mutex mutex_;
  std::vector<http::Response> answers_;
  std::vector<std::string> targets_;
  std::set<std::string> known_;
  std::string stored_;
};

TEST_F(ShipperTest, SendsEachLineOnceOverRestarts) {
  append("one\ntwo\n");
  ASSERT_TRUE(ship_once());
  append("three\n");
  ASSERT_TRUE(ship_once());
  ASSERT_TRUE(ship_once());
  EXPECT_EQ(stored_, "one\ntwo\nthree\n");
  EXPECT_EQ(targets_.size(), 2U);
  EXPECT_THAT(targets_[0], HasSubstr("service=app"));
}

TEST_F(ShipperTest, EqualLinesAtTwoPlacesAreTwoBatches) {
  append("tick\n");
  ASSERT_TRUE(ship_once());
  append("tick\n");
  ASSERT_TRUE(ship_once());
  EXPECT_EQ(stored_, "tick\ntick\n");
}

TEST_F(ShipperTest, WaitsAsLongAsItIsTold) {
  append("one\n");
  answer_next(429, "7");
  answer_next(503);
  ASSERT_TRUE(ship_once());
  EXPECT_EQ(stored_, "one\n");
  ASSERT_EQ(clock_.waits.size(), 2U);
  EXPECT_GE(clock_.waits[0], std::chrono::seconds(7));
  EXPECT_LE(clock_.waits[1], std::chrono::seconds(1));
  EXPECT_EQ(totals_.retries, 2U);
}

TEST_F(ShipperTest, ABatchThatWasOnItsWayIsSentAgainAsTheSame) {
  append("one\n");
  // The server takes the batch, but the answer says otherwise and the run ends while it waits.
  std::stop_source stop;
  clock_.on_wait = [&] { stop.request_stop(); };
  answer_next(503);
  EXPECT_EQ(ship_once(stop.get_token()).error().code(), ErrorCode::kCancelled);
  append("two\n");
  clock_.on_wait = nullptr;
  ASSERT_TRUE(ship_once());
  EXPECT_EQ(stored_, "one\ntwo\n");
  ASSERT_EQ(targets_.size(), 3U);
  EXPECT_EQ(targets_[0], targets_[1]);
}

TEST_F(ShipperTest, ABatchThatIsRefusedForGoodDoesNotHoldBackTheRest) {
  append("bad\n");
  answer_next(413);
  ASSERT_TRUE(ship_once());
  append("good\n");
  ASSERT_TRUE(ship_once());
  EXPECT_EQ(stored_, "good\n");
}

TEST_F(ShipperTest, AWrongTokenEndsItAndLosesNothing) {
  append("one\n");
  answer_next(401);
  EXPECT_EQ(ship_once().error().code(), ErrorCode::kUnauthenticated);
  ASSERT_TRUE(ship_once());
  EXPECT_EQ(stored_, "one\n");
}

TEST_F(ShipperTest, DockersContainersAreFoundAndNamed) {
  std::filesystem::create_directories(folder_ / "containers" / "abc");
  std::ofstream(folder_ / "containers" / "abc" / "abc-json.log")
      << R"({"log":"hi\n","stream":"stdout","time":"t"})" << "\n";
  auto state = ShipState::open(folder_ / "state.json");
  Shipper shipper(*client_, *state, clock_, rng_, {});
  shipper.add_docker(folder_ / "containers");
  ASSERT_TRUE(shipper.run_once({}));
  ASSERT_EQ(targets_.size(), 1U);
  EXPECT_THAT(targets_[0], HasSubstr("container=abc"));
}

TEST_F(ShipperTest, AStateFileOfSomebodyElseIsNotOverwritten) {
  std::ofstream(folder_ / "state.json") << "precious\n";
  EXPECT_EQ(ship_once().error().code(), ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace fettle::server
