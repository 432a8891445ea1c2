// From a submission to its answer, over a real spool.
#include "ingest/front.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <future>
#include <map>
#include <memory>
#include <vector>

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

  Submission submission_of(std::string body, otlp::Signal signal = otlp::Signal::kLogs,
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
    return submission;
  }
  std::future<Result<Accepted>> send_later(Submission submission) {
    auto promise = std::make_shared<std::promise<Result<Accepted>>>();  // shared: the test may have given up waiting
    auto outcome = promise->get_future();
    front_->submit(std::move(submission), [promise](const Result<Accepted>& answer) { promise->set_value(answer); });
    return outcome;
  }
  Result<Accepted> send(std::string body, otlp::Signal signal = otlp::Signal::kLogs,
                        Submission::Format format = Submission::Format::kJson) {
    return send_later(submission_of(std::move(body), signal, format)).get();
  }
  // Holds a worker until the result is destroyed or set: what is submitted meanwhile waits in the queue.
  std::promise<void> hold_worker() {
    std::promise<void> release;
    auto held = std::make_shared<std::promise<void>>();
    // The answer to a request that cannot be read is given on the worker's own thread.
    front_->submit(submission_of("{"), [held, until = release.get_future().share()](const Result<Accepted>&) {
      held->set_value();
      until.wait();
    });
    held->get_future().wait();
    return release;
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

constexpr auto kPatience = std::chrono::seconds(60);

TEST_F(FrontTest, EveryRequestIsAnsweredHoweverManyWorkersShareThem) {
  start({.workers = 8});
  for (int round = 0; round < 300; ++round) {
    std::vector<std::future<Result<Accepted>>> answers;
    for (int i = 0; i < 12; ++i) answers.push_back(send_later(submission_of(kOneLine)));
    for (auto& answer : answers) {
      ASSERT_EQ(answer.wait_for(kPatience), std::future_status::ready) << round;
      EXPECT_TRUE(answer.get());
    }
  }
}

TEST_F(FrontTest, WhatWasTakenInBeforeTheStopIsAnswered) {
  for (int round = 0; round < 20; ++round) {
    start({.workers = 8});
    std::vector<std::future<Result<Accepted>>> answers;
    for (int i = 0; i < 24; ++i) answers.push_back(send_later(submission_of(kOneLine)));
    front_->stop();
    for (auto& answer : answers) {
      ASSERT_EQ(answer.wait_for(kPatience), std::future_status::ready) << round;
      EXPECT_TRUE(answer.get());
    }
    front_.reset();
    life_.spool.reset();
  }
}

void put_field(std::string& out, int number, std::string_view bytes) {
  out.push_back(static_cast<char>(number << 3 | 2));
  for (std::size_t left = bytes.size();; left >>= 7) {
    out.push_back(static_cast<char>(left < 0x80 ? left : (left & 0x7f) | 0x80));
    if (left < 0x80) break;
  }
  out += bytes;
}

// Spans with no more in them than a span must have: 49 bytes each, more than twice that as rows.
std::string minimal_spans(std::uint32_t count) {
  std::string spans;
  spans.reserve(count * std::size_t{52});
  for (std::uint32_t i = 1; i <= count; ++i) {
    std::string one;
    put_field(one, 1, std::string(12, 't') + std::string(reinterpret_cast<const char*>(&i), sizeof i));
    put_field(one, 2, std::string(4, 's') + std::string(reinterpret_cast<const char*>(&i), sizeof i));
    put_field(one, 5, "n");
    for (const char tag : {'\x39', '\x41'}) {
      one += tag;
      one.append(reinterpret_cast<const char*>(&kTestStart), sizeof kTestStart);
    }
    put_field(spans, 2, one);
  }
  std::string scope, resource;
  put_field(scope, 2, spans);
  put_field(resource, 1, scope);
  return resource;
}

TEST_F(FrontTest, AsManySpansAsABodyHoldsAreTakenAndSoAreItsNeighbours) {
  start();
  auto release = hold_worker();
  auto before = send_later(submission_of(kOneLine));
  auto large = send_later(submission_of(minimal_spans(600'000), otlp::Signal::kTraces, Submission::Format::kProtobuf));
  auto after = send_later(submission_of(kOneLine));
  release.set_value();
  EXPECT_TRUE(before.get());
  const auto taken = large.get();
  ASSERT_TRUE(taken) << taken.error().message();
  EXPECT_EQ(taken->received, 600'000);
  EXPECT_TRUE(after.get());
  const BalanceRow books = life_.books("unknown_service");
  EXPECT_TRUE(books.balanced());
  // The store gets it in pieces that it can take one by one when it is short of memory.
  std::uint64_t rows = 0;
  for (;;) {
    const SealedSegment segment = life_.take();
    for (const SealedRecord& sealed : segment.records) {
      std::uint64_t told = 0;
      for (const RowOrigin& origin : sealed.record.origins) told += origin.rows;
      std::uint64_t of_records = 0;
      for (std::size_t i = 0; i < sealed.record.blocks.size(); ++i) {
        const auto& block = sealed.record.blocks[i];
        EXPECT_LT(sealed.block_bytes[i].size(), 24U << 20);
        if (block.table == telemetry::Table::kSpans) rows += block.rows;
        if (block.table == telemetry::Table::kSpans || block.table == telemetry::Table::kLogs) of_records += block.rows;
      }
      EXPECT_EQ(told, of_records);
    }
    ASSERT_TRUE(life_.spool->confirm(segment, {}));
    if (rows == 600'000) break;
  }
}

TEST_F(FrontTest, ARequestThatIsTooLargeAsRowsIsRefusedAlone) {
  FrontOptions options;
  options.pipeline.record_bytes_max = 4'000'000;
  start(options);
  auto release = hold_worker();
  auto before = send_later(submission_of(kOneLine));
  auto large = send_later(submission_of(minimal_spans(60'000), otlp::Signal::kTraces, Submission::Format::kProtobuf));
  auto after = send_later(submission_of(kOneLine));
  release.set_value();
  EXPECT_TRUE(before.get());
  const auto refused = large.get();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::kTooLarge);
  EXPECT_TRUE(after.get());
  std::uint64_t received = 0;
  for (const BalanceRow& row : life_.balance.snapshot({"acme"})) received += row.received;
  EXPECT_EQ(received, 2U) << "what was refused whole is in no books";
}

std::string deflated(std::string_view plain) {
  std::string out(compressBound(plain.size()), '\0');
  uLongf size = out.size();
  compress(reinterpret_cast<Bytef*>(out.data()), &size, reinterpret_cast<const Bytef*>(plain.data()), plain.size());
  out.resize(size);
  return out;
}

TEST_F(FrontTest, ACompressedRequestIsChargedWithItsPlainSize) {
  start({.in_flight_bytes_max = 500'000});
  const auto compressed = [&](std::size_t lines) {
    std::string plain;
    for (std::size_t i = 0; i < lines; ++i) plain += "{\"msg\":\"x\"}\n";
    Submission submission = submission_of(deflated(plain), otlp::Signal::kLogs, Submission::Format::kNdjson);
    submission.compression = Compression::kDeflate;
    return submission;
  };
  ASSERT_TRUE(send_later(compressed(30'000)).get()) << "390 kB fit";
  const auto refused = send_later(compressed(50'000)).get();
  ASSERT_FALSE(refused) << "650 kB do not";
  EXPECT_EQ(refused.error().code(), ErrorCode::kResourceExhausted);
  EXPECT_TRUE(refused.error().retry_after());
  EXPECT_EQ(front_->turned_away(), 1U);
  EXPECT_TRUE(front_->admit(490'000)) << "all of it is given back";
}

TEST_F(FrontTest, AcknowledgingTakesTheTimeInTheQueueToo) {
  start();
  auto release = hold_worker();
  auto waiting = send_later(submission_of(kOneLine));
  clock_.advance(std::chrono::seconds(3));
  release.set_value();
  ASSERT_TRUE(waiting.get());
  EXPECT_THAT(life_.registry.prometheus_text(), testing::HasSubstr("fettle_ingest_acknowledge_seconds_sum 3"));
}

TEST_F(FrontTest, ARepeatIsInTheBooksOfItsTokenWhetherTheFirstIsStoredOrStillOnItsWay) {
  start();
  Submission first = submission_of(kOneLine);
  const RequestHash hash = first.hash;
  const auto repeat = [&] {
    Submission again = submission_of(kOneLine);
    again.hash = hash;
    return send_later(std::move(again));
  };
  // The disk stands still until the repeat has been looked at.
  std::promise<void> looked_at;
  std::promise<void> syncing;
  std::atomic<bool> is_first = true;
  life_.disk.on_sync([&, until = looked_at.get_future().share()](const std::string&) {
    if (!is_first.exchange(false)) return;
    syncing.set_value();
    until.wait();
  });
  auto answer = send_later(std::move(first));
  syncing.get_future().wait();
  auto in_flight = repeat();
  hold_worker().set_value();
  looked_at.set_value();
  ASSERT_TRUE(answer.get());
  const auto repeated = in_flight.get();
  ASSERT_TRUE(repeated);
  EXPECT_EQ(repeated->received, 1);
  EXPECT_EQ(life_.books("token").duplicate, 1U);
  ASSERT_TRUE(repeat().get());
  const BalanceRow books = life_.books("token");
  EXPECT_EQ(books.duplicate, 2U);
  EXPECT_EQ(books.received, 2U);
  EXPECT_TRUE(books.balanced());
}

}  // namespace
}  // namespace fettle::ingest
