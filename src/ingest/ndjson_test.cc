#include "ingest/ndjson.h"

#include <gtest/gtest.h>

#include <ostream>

#include "core/ids.h"
#include "otlp/encode.h"

namespace fettle::ingest {
namespace {

constexpr UnixNanos kReceived = 1'780'000'000'000'000'000;

struct Decoded {
  otlp::Logs logs;
  NdjsonSummary summary;

  std::string attribute(std::size_t record, std::string_view key) const {
    return find(logs.records[record].attributes, key);
  }
  std::string resource(std::size_t record, std::string_view key) const {
    return find(logs.resources[logs.records[record].resource].attributes, key);
  }
  std::string body(std::size_t record) const {
    std::string text;
    otlp::append_text(text, logs, logs.records[record].body);
    return text;
  }

 private:
  std::string find(otlp::Range range, std::string_view key) const {
    for (std::uint32_t i = range.first; i < range.first + range.count; ++i) {
      if (logs.attributes[i].key != key) continue;
      std::string text;
      otlp::append_text(text, logs, logs.attributes[i].value);
      return text;
    }
    return "(absent)";
  }
};

Decoded decode(std::string_view body, bool whole_json = false) {
  Decoded decoded;
  NdjsonOptions options;
  options.received_at = kReceived;
  options.service_name = "fallback";
  auto summary = decode_ndjson(body, whole_json, options, decoded.logs);
  EXPECT_TRUE(summary) << (summary ? "" : summary.error().message());
  if (summary) decoded.summary = *std::move(summary);
  return decoded;
}

TEST(Ndjson, MapsAPinoLine) {
  const Decoded got =
      decode(R"({"level":50,"time":1531171074631,"pid":657,"hostname":"h1","name":"worker","reqId":"r1","msg":"boom",)"
             R"("err":{"type":"TypeError","message":"x is undefined","stack":"TypeError: x\n at f","code":"E42"},)"
             R"("req":{"method":"GET","url":"/a?b=1"},"res":{"statusCode":503},"responseTime":12})");
  ASSERT_EQ(got.logs.records.size(), 1U);
  const otlp::LogRecord& record = got.logs.records[0];
  EXPECT_EQ(record.severity_number, 17);
  EXPECT_EQ(record.severity_text, "50");
  EXPECT_EQ(record.time, 1'531'171'074'631'000'000);
  EXPECT_EQ(record.observed_time, kReceived);
  EXPECT_EQ(got.body(0), "boom");
  EXPECT_EQ(got.resource(0, "service.name"), "worker");
  EXPECT_EQ(got.resource(0, "host.name"), "h1");
  EXPECT_EQ(got.resource(0, "process.pid"), "657");
  EXPECT_EQ(got.attribute(0, "exception.type"), "TypeError");
  EXPECT_EQ(got.attribute(0, "exception.message"), "x is undefined");
  EXPECT_EQ(got.attribute(0, "error_code"), "E42");
  EXPECT_EQ(got.attribute(0, "http.request.method"), "GET");
  EXPECT_EQ(got.attribute(0, "url.path"), "/a");
  EXPECT_EQ(got.attribute(0, "url.query"), "b=1");
  EXPECT_EQ(got.attribute(0, "http.response.status_code"), "503");
  EXPECT_EQ(got.attribute(0, "duration_ms"), "12");
  EXPECT_EQ(got.attribute(0, "reqId"), "r1");
}

TEST(Ndjson, MapsAStructlogLineAndKeepsAForeignTraceId) {
  const Decoded got = decode(
      R"({"event":"webhook_received","level":"info","timestamp":"2026-02-26T10:30:00.123456Z","logger":"app","trace_id":"abc-123"})");
  const otlp::LogRecord& record = got.logs.records.at(0);
  EXPECT_EQ(record.severity_number, 9);
  EXPECT_EQ(record.event_name, "webhook_received");
  EXPECT_EQ(got.body(0), "webhook_received");
  EXPECT_EQ(record.foreign_trace_id, "abc-123");
  EXPECT_TRUE(record.trace_id.empty());
  EXPECT_EQ(format_rfc3339(record.time), "2026-02-26T10:30:00.123456Z");
  EXPECT_EQ(got.resource(0, "service.name"), "app");
}

TEST(Ndjson, DropsTheLocalsOfAStructlogTraceback) {
  const Decoded got =
      decode(R"({"event":"failed","level":"error","exception":[{"exc_type":"ValueError","exc_value":"bad","frames":)"
             R"([{"filename":"a.py","lineno":3,"name":"f","locals":{"password":"hunter2"}}]}]})");
  EXPECT_EQ(got.attribute(0, "exception.type"), "ValueError");
  EXPECT_EQ(got.attribute(0, "exception.stacktrace"), "ValueError: bad\n  a.py:3 in f\n");
}

TEST(Ndjson, AUuidIsATraceId) {
  EXPECT_EQ(to_hex(parse_trace_id("0af76519-16cd-43dd-8448-eb211c80319c")), "0af7651916cd43dd8448eb211c80319c");
  EXPECT_EQ(to_hex(parse_trace_id("0AF7651916CD43DD8448EB211C80319C")), "0af7651916cd43dd8448eb211c80319c");
  for (const char* bad : {"", "abc-123", "00000000000000000000000000000000", "0af7651916cd43dd8448eb211c80319"}) {
    EXPECT_EQ(parse_trace_id(bad), "") << bad;
  }
}

struct LevelCase {
  const char* line;
  int severity;
};
void PrintTo(const LevelCase& level, std::ostream* out) { *out << level.line; }
class Levels : public testing::TestWithParam<LevelCase> {};
TEST_P(Levels, AreMappedByDialect) {
  EXPECT_EQ(decode(GetParam().line).logs.records.at(0).severity_number, GetParam().severity) << GetParam().line;
}
INSTANTIATE_TEST_SUITE_P(
    Table, Levels,
    testing::Values(LevelCase{R"({"level":10,"msg":"a"})", 1}, LevelCase{R"({"level":20,"msg":"a"})", 5},
                    LevelCase{R"({"level":30,"msg":"a"})", 9}, LevelCase{R"({"level":35,"msg":"a"})", 10},
                    LevelCase{R"({"level":40,"msg":"a"})", 13}, LevelCase{R"({"level":60,"msg":"a"})", 21},
                    LevelCase{R"({"event":"a","level_number":20})", 9}, LevelCase{R"({"event":"a","level":50})", 21},
                    LevelCase{R"({"event":"a","level":"critical"})", 21},
                    LevelCase{R"({"msg":"a","level":"WARN"})", 13},
                    LevelCase{R"({"msg":"a","severity":"Information"})", 9}, LevelCase{R"({"msg":"a"})", 0},
                    LevelCase{"plain text", 0}));

struct TimeCase {
  const char* json;
  UnixNanos time;
};
void PrintTo(const TimeCase& time, std::ostream* out) { *out << time.json; }
class Times : public testing::TestWithParam<TimeCase> {};
TEST_P(Times, AreReadByMagnitudeOrFormat) {
  EXPECT_EQ(decode(std::string(R"({"msg":"a","time":)") + GetParam().json + "}").logs.records.at(0).time,
            GetParam().time)
      << GetParam().json;
}
INSTANTIATE_TEST_SUITE_P(Table, Times,
                         testing::Values(TimeCase{"1700000000", 1'700'000'000'000'000'000},
                                         TimeCase{"1700000000123", 1'700'000'000'123'000'000},
                                         TimeCase{"1700000000123456", 1'700'000'000'123'456'000},
                                         TimeCase{"1700000000123456789", 1'700'000'000'123'456'789},
                                         TimeCase{"\"2023-11-14T22:13:20Z\"", 1'700'000'000'000'000'000},
                                         TimeCase{"\"2023-11-14T23:13:20+01:00\"", 1'700'000'000'000'000'000},
                                         TimeCase{"\"2023-11-14 22:13:20.5\"", 1'700'000'000'500'000'000},
                                         TimeCase{"\"yesterday\"", 0}, TimeCase{"-5", 0}, TimeCase{"null", 0}));

TEST(Ndjson, ATimeWithoutZoneIsFlagged) {
  EXPECT_EQ(decode(R"({"msg":"a","time":"2023-11-14T22:13:20"})").attribute(0, "fettle.time_without_zone"), "true");
}

TEST(Ndjson, JoinsDockerPartialsOfOneStreamAndReadsTheLineInside) {
  const Decoded got = decode(
      "{\"log\":\"{\\\"level\\\":30,\\\"ms\",\"stream\":\"stdout\",\"time\":\"2019-01-01T11:11:11.111111111Z\"}\n"
      "{\"log\":\"oops\\n\",\"stream\":\"stderr\",\"time\":\"2019-01-01T11:11:12Z\"}\n"
      "{\"log\":\"g\\\":\\\"whole\\\"}\\n\",\"stream\":\"stdout\",\"time\":\"2019-01-01T11:11:13Z\"}\n");
  ASSERT_EQ(got.logs.records.size(), 2U);
  EXPECT_EQ(got.body(0), "oops");
  EXPECT_EQ(got.logs.records[0].severity_number, 0);
  EXPECT_EQ(got.resource(0, "log.iostream"), "stderr");
  EXPECT_EQ(got.body(1), "whole");
  EXPECT_EQ(got.logs.records[1].severity_number, 9);
  EXPECT_EQ(format_rfc3339(got.logs.records[1].observed_time), "2019-01-01T11:11:11.111111111Z");
}

TEST(Ndjson, ReadsCriLines) {
  const Decoded got = decode(
      "2023-10-06T00:17:09.669794202Z stdout P first \n"
      "2023-10-06T00:17:09.669794203Z stdout F second\n");
  ASSERT_EQ(got.logs.records.size(), 1U);
  EXPECT_EQ(got.body(0), "first second");
}

TEST(Ndjson, JoinsAStackTraceWrittenAsText) {
  const Decoded got =
      decode("Traceback (most recent call last):\n  File \"a.py\", line 3\n    boom()\nValueError: x\nnext\n");
  ASSERT_EQ(got.logs.records.size(), 3U);
  EXPECT_EQ(got.body(0), "Traceback (most recent call last):\n  File \"a.py\", line 3\n    boom()");
  EXPECT_EQ(got.body(2), "next");
}

TEST(Ndjson, NeverDropsALineItCannotParse) {
  const Decoded got = decode("{\"msg\": \"cut of\n\n[1,2]\n{\"msg\":\"fine\"}");
  EXPECT_EQ(got.logs.records.size(), 3U);
  EXPECT_EQ(got.summary.unparsable, 1U);
  EXPECT_EQ(got.summary.errors.at(0).line, 1U);
  EXPECT_EQ(got.body(2), "fine");
}

TEST(Ndjson, TheLastOfADuplicateKeyWins) {
  const Decoded got = decode(R"({"msg":"a","k":1,"k":2})");
  EXPECT_EQ(got.attribute(0, "k"), "2");
  EXPECT_EQ(got.logs.duplicate_attributes, 1);
}

TEST(Ndjson, KeepsNestedValuesAndLargeNumbers) {
  const Decoded got = decode(R"({"msg":"a","o":{"p":[1,"x",null,{"q":true}]},"big":18446744073709551615})");
  EXPECT_EQ(got.attribute(0, "o"), R"({"p":[1,"x",null,{"q":true}]})");
  EXPECT_EQ(got.attribute(0, "big"), "18446744073709551615");
}

TEST(Ndjson, ReadsOneObjectOrAnArray) {
  EXPECT_EQ(decode(R"({"msg":"a"})", true).logs.records.size(), 1U);
  EXPECT_EQ(decode(R"([{"msg":"a"},{"msg":"b"}])", true).logs.records.size(), 2U);
  otlp::Logs logs;
  EXPECT_EQ(decode_ndjson("nonsense", true, {}, logs).error().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(decode_ndjson("[1]", true, {}, logs).error().code(), ErrorCode::kInvalidArgument);
}

TEST(Ndjson, BoundsTheNumberOfLines) {
  otlp::Logs logs;
  NdjsonOptions options;
  options.limits.items_max = 2;
  EXPECT_EQ(decode_ndjson("a\nb\nc\n", false, options, logs).error().code(), ErrorCode::kTooLarge);
}

TEST(Ndjson, DeepNestingIsKeptAsText) {
  std::string deep = R"({"msg":"a","o":)";
  for (int i = 0; i < 200; ++i) deep += "{\"x\":";
  deep += "1" + std::string(200, '}') + "}";
  EXPECT_EQ(decode(deep).logs.records.size(), 1U);
}

}  // namespace
}  // namespace fettle::ingest
