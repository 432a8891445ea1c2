// From a submission to its answer, over a real spool.
#include "ingest/front.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <future>
#include <map>

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
    front_.emplace(PipelineParts{.identifiers = *identifiers_,
                                 .redactor = redactor_,
                                 .prices = prices_,
                                 .registry = life_.registry,
                                 .clocks = &clocks_},
                   std::move(options), *life_.spool, life_.guard, clock_);
  }
  ~FrontTest() override {
    if (front_) front_->stop();
  }

  Result<Accepted> send(std::string body, otlp::Signal signal = otlp::Signal::kLogs,
                        Submission::Format format = Submission::Format::kJson) {
    Submission submission;
    submission.workspace = {"acme"};
    submission.sender = "token";
    submission.signal = signal;
    submission.format = format;
    submission.service_name = "shipped";
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
  std::optional<telemetry::IdentifierCatalogue> identifiers_ =
      telemetry::IdentifierCatalogue::parse(kCatalogue).value();
  // Compiled once: it takes a third of a second without optimisation.
  static inline const std::shared_ptr<const redact::Redactor> redactor_ = redact::Redactor::compile().value();
  PriceTable prices_ = PriceTable::parse("models: []").value();
  SenderClocks clocks_{clock_};
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

std::string at(std::chrono::milliseconds ahead) {
  return std::to_string(kTestStart + std::chrono::nanoseconds(ahead).count());
}

std::string resource(std::string_view service) {
  return fmt::format(R"("resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"{}"}}}}]}})",
                     service);
}

std::string span(std::chrono::milliseconds start, std::string end) {
  return fmt::format(
      R"({{"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"b7ad6b7169203331","name":"n","startTimeUnixNano":"{}","endTimeUnixNano":"{}"}})",
      at(start), end);
}

TEST_F(FrontTest, TheClockOfEachSenderIsHeardInEverySignal) {
  using std::chrono::milliseconds;
  start();
  // Of a span the end counts, of several the newest; each resource speaks for its own sender.
  ASSERT_TRUE(send(
      fmt::format(
          R"({{"resourceSpans":[{{{},"scopeSpans":[{{"spans":[{},{}]}}]}},{{{},"scopeSpans":[{{"spans":[{}]}}]}}]}})",
          resource("web"), span(milliseconds(-9000), at(milliseconds(7000))),
          span(milliseconds(-2000), at(milliseconds(-1000))), resource("worker"),
          span(milliseconds(-6000), at(milliseconds(-4000)))),
      otlp::Signal::kTraces));
  ASSERT_TRUE(
      send(fmt::format(R"({{"resourceLogs":[{{{},"scopeLogs":[{{"logRecords":[{{"timeUnixNano":"{}"}}]}}]}}]}})",
                       resource("logger"), at(milliseconds(2500)))));
  ASSERT_TRUE(send(
      fmt::format(
          R"({{"resourceMetrics":[{{{},"scopeMetrics":[{{"metrics":[{{"name":"m","gauge":{{"dataPoints":[{{"asDouble":1,"timeUnixNano":"{}"}}]}}}}]}}]}}]}})",
          resource("meter"), at(milliseconds(-1500))),
      otlp::Signal::kMetrics));
  std::map<std::string, std::pair<int, int>> heard;
  for (const SenderClock& one : clocks_.list("acme")) {
    heard[one.sender] = {static_cast<int>(one.skew / milliseconds(1)), static_cast<int>(one.delay / milliseconds(1))};
  }
  EXPECT_EQ(heard, (std::map<std::string, std::pair<int, int>>{
                       {"web", {7000, 0}}, {"worker", {0, 4000}}, {"logger", {2500, 0}}, {"meter", {0, 1500}}}));
}

TEST_F(FrontTest, AClockTooFarAheadToBeTakenIsHeardAndASpanWithoutEndIsNoClock) {
  using std::chrono::hours;
  start();
  const auto spans = [](std::string_view service, std::string one) {
    return fmt::format(R"({{"resourceSpans":[{{{},"scopeSpans":[{{"spans":[{}]}}]}}]}})", resource(service),
                       std::move(one));
  };
  const auto rejected = send(spans("ahead", span(hours(5), at(hours(5)))), otlp::Signal::kTraces);
  ASSERT_TRUE(rejected);
  EXPECT_EQ(rejected->rejected, 1);
  ASSERT_TRUE(send(spans("endless", span(hours(0), "9000000000000000000")), otlp::Signal::kTraces));
  for (const SenderClock& one : clocks_.list("acme"))
    EXPECT_EQ(one.skew, one.sender == "ahead" ? hours(5) : hours(0)) << one.sender;
  EXPECT_EQ(clocks_.list("acme").size(), 2U);
}

TEST_F(FrontTest, ALineWithoutATimeSaysNothingOfItsClock) {
  start();
  ASSERT_TRUE(send("{\"msg\":\"x\"}\n", otlp::Signal::kLogs, Submission::Format::kNdjson));
  ASSERT_TRUE(send(kOneLine));
  EXPECT_TRUE(clocks_.list("acme").empty());
}

}  // namespace
}  // namespace fettle::ingest
