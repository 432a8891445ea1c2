// From a submission to its answer, over a real spool.
#include "ingest/front.h"

#include <gtest/gtest.h>

#include <future>

#include "ingest/spool_for_test.h"

namespace fettle::ingest {
namespace {

constexpr std::string_view kCatalogue = R"(
identifiers:
  - {number: 1, name: client_id, aliases: [clientId], column: true, low_cardinality: true}
  - {number: 2, name: trace_id, column: true}
)";

class FrontTest : public testing::Test {
 protected:
  void start(FrontOptions options = {}) {
    life_.open();
    front_.emplace(PipelineParts{.identifiers = *identifiers_, .redactor = redactor_, .prices = prices_, .registry = life_.registry},
                   std::move(options), *life_.spool, life_.guard, clock_);
  }
  ~FrontTest() override {
    if (front_) front_->stop();
  }

  Result<Accepted> send(std::string body) {
    Submission submission;
    submission.workspace = {"acme"};
    submission.sender = "token";
    submission.signal = otlp::Signal::kLogs;
    submission.format = Submission::Format::kJson;
    submission.received_at = clock_.now();
    submission.hash = hash_of(++sent_);
    submission.body = std::move(body);
    std::promise<Result<Accepted>> promise;
    front_->submit(std::move(submission), [&](const Result<Accepted>& outcome) { promise.set_value(outcome); });
    return promise.get_future().get();
  }

  TempFolder folder_;
  ManualClock clock_{kTestStart};
  Life life_{folder_.path(), clock_};
  std::optional<telemetry::IdentifierCatalogue> identifiers_ = telemetry::IdentifierCatalogue::parse(kCatalogue).value();
  // Compiled once: it takes a third of a second without optimisation.
  static inline const std::shared_ptr<const redact::Redactor> redactor_ = redact::Redactor::compile().value();
  PriceTable prices_ = PriceTable::parse("models: []").value();
  std::optional<Front> front_;
  std::uint64_t sent_ = 0;
};

constexpr const char* kOneLine = R"({"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"x"}}]}]}]})";

TEST_F(FrontTest, WhoFindsNoRoomIsCountedAsTurnedAway) {
  start({.in_flight_bytes_max = 100});
  {
    const auto held = front_->admit(60);
    ASSERT_TRUE(held);
    const auto refused = front_->admit(60);
    ASSERT_FALSE(refused);
    EXPECT_TRUE(refused.error().retry_after());
    EXPECT_EQ(front_->turned_away(), 1U);
  }
  EXPECT_TRUE(front_->admit(60));
  EXPECT_EQ(front_->turned_away(), 1U);
}

TEST_F(FrontTest, WhoseRecordsTheDiskDoesNotTakeIsCountedAsTurnedAway) {
  start();
  life_.disk.set_space(0);
  const auto refused = send(kOneLine);
  ASSERT_FALSE(refused);
  EXPECT_TRUE(refused.error().retry_after());
  EXPECT_EQ(front_->turned_away(), 1U);
}

TEST_F(FrontTest, WhoseRequestIsWrongIsNotToldToComeAgain) {
  start();
  const auto refused = send("{");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(front_->turned_away(), 0U);
}

TEST_F(FrontTest, WhoComesAfterTheStopIsCountedAsTurnedAway) {
  start();
  front_->stop();
  EXPECT_EQ(send(kOneLine).error().code(), ErrorCode::kUnavailable);
  EXPECT_EQ(front_->turned_away(), 1U);
}

}  // namespace
}  // namespace fettle::ingest
