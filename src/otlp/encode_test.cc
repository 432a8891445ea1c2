#include "otlp/encode.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <limits>
#include <string>

#include "otlp/base64.h"
#include "otlp/wire_for_test.h"

namespace fettle::otlp {
namespace {

using testing::Wire;
using namespace std::chrono_literals;

TEST(EncodeResponse, FullSuccessLeavesPartialSuccessUnset) {
  for (const Signal signal : {Signal::kTraces, Signal::kLogs, Signal::kMetrics}) {
    EXPECT_EQ(encode_response(signal, Encoding::kProtobuf, 0, ""), "");
    EXPECT_EQ(encode_response(signal, Encoding::kJson, 0, ""), "{}");
  }
}

TEST(EncodeResponse, RejectedItemsAreCountedUnderTheNameOfTheSignal) {
  EXPECT_EQ(encode_response(Signal::kTraces, Encoding::kJson, 3, "bad \"id\""),
            R"({"partialSuccess":{"rejectedSpans":"3","errorMessage":"bad \"id\""}})");
  EXPECT_EQ(encode_response(Signal::kLogs, Encoding::kJson, 3, ""), R"({"partialSuccess":{"rejectedLogRecords":"3"}})");
  EXPECT_EQ(encode_response(Signal::kMetrics, Encoding::kJson, 3, "x"),
            R"({"partialSuccess":{"rejectedDataPoints":"3","errorMessage":"x"}})");
  EXPECT_EQ(encode_response(Signal::kTraces, Encoding::kProtobuf, 3, "bad"),
            Wire().message(1, Wire().varint(1, 3).text(2, "bad")).data());
}

TEST(EncodeResponse, AWarningRejectsNothing) {
  EXPECT_EQ(encode_response(Signal::kTraces, Encoding::kJson, 0, "slow down"),
            R"({"partialSuccess":{"errorMessage":"slow down"}})");
  EXPECT_EQ(encode_response(Signal::kTraces, Encoding::kProtobuf, 0, "slow down"),
            Wire().message(1, Wire().text(2, "slow down")).data());
}

TEST(EncodeStatus, HoldsCodeAndMessage) {
  EXPECT_EQ(encode_status(Encoding::kJson, 3, "in Span: bad"), R"({"code":3,"message":"in Span: bad"})");
  EXPECT_EQ(encode_status(Encoding::kProtobuf, 3, "in Span: bad"), Wire().varint(1, 3).text(2, "in Span: bad").data());
}

TEST(EncodeStatus, ARetryDelayBecomesRetryInfo) {
  EXPECT_EQ(encode_status(Encoding::kJson, 14, "full", 1500ms),
            R"({"code":14,"message":"full","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo",)"
            R"("retryDelay":"1.500s"}]})");
  EXPECT_THAT(encode_status(Encoding::kJson, 14, "full", 2s), ::testing::HasSubstr(R"("retryDelay":"2s")"));
  EXPECT_THAT(encode_status(Encoding::kJson, 14, "full", 1005ms), ::testing::HasSubstr(R"("retryDelay":"1.005s")"));
  EXPECT_THAT(encode_status(Encoding::kJson, 14, "full", -2s), ::testing::HasSubstr(R"("retryDelay":"0s")"));
  const Wire any = Wire()
                       .text(1, "type.googleapis.com/google.rpc.RetryInfo")
                       .message(2, Wire().message(1, Wire().varint(1, 1).varint(2, 500'000'000)));
  EXPECT_EQ(encode_status(Encoding::kProtobuf, 14, "full", 1500ms),
            Wire().varint(1, 14).text(2, "full").message(3, any).data());
}

TEST(EncodeStatus, MessagesAreShortAndWellFormed) {
  const std::string json = encode_status(Encoding::kJson, 3, std::string(100'000, 'x'));
  EXPECT_LT(json.size(), 5000U);
  const std::string accents = encode_response(Signal::kTraces, Encoding::kJson, 0, [] {
    std::string text = "x";
    while (text.size() < 10'000) text += "\xC3\xA9";
    return text;
  }());
  EXPECT_THAT(accents, ::testing::Not(::testing::HasSubstr("\xEF\xBF\xBD"))) << "a character was cut in two";
  EXPECT_EQ(encode_status(Encoding::kProtobuf, 3, "a\xFF"), Wire().varint(1, 3).text(2, "a\xEF\xBF\xBD").data());
}

Value value_of(ValueType type) {
  Value value;
  value.type = type;
  return value;
}
Value number(double content) {
  Value value = value_of(ValueType::kDouble);
  value.number = content;
  return value;
}
Value integer(std::int64_t content) {
  Value value = value_of(ValueType::kInt);
  value.integer = content;
  return value;
}
Value boolean(bool content) {
  Value value = value_of(ValueType::kBool);
  value.boolean = content;
  return value;
}
Value bytes(std::string_view content) {
  Value value = value_of(ValueType::kBytes);
  value.set_text(content);
  return value;
}
Value list(ValueType type, std::uint32_t first, std::uint32_t count) {
  Value value = value_of(type);
  value.first = first;
  value.size = count;
  return value;
}

TEST(AppendText, FollowsTheRulesForTargetsWithoutTypes) {
  Common request;
  request.values = {Value::of_string("a\"b"), Value{}, number(std::nan("")), bytes("\x01"), boolean(true)};
  request.attributes = {{"x", integer(1)}, {"y\n", list(ValueType::kArray, 0, 5)}};
  const struct {
    Value value;
    const char* text;
    const char* json;
  } cases[] = {
      {Value{}, "", "null"},
      {Value::of_string("a \"b\""), "a \"b\"", R"("a \"b\"")"},
      {Value::of_string(""), "", R"("")"},
      {boolean(true), "true", "true"},
      {boolean(false), "false", "false"},
      {integer(std::numeric_limits<std::int64_t>::min()), "-9223372036854775808", "-9223372036854775808"},
      {number(2), "2", "2"},
      {number(0.1), "0.1", "0.1"},
      {number(-1e300), "-1e+300", "-1e+300"},
      {number(std::nan("")), "NaN", R"("NaN")"},
      {number(std::numeric_limits<double>::infinity()), "Infinity", R"("Infinity")"},
      {number(-std::numeric_limits<double>::infinity()), "-Infinity", R"("-Infinity")"},
      {bytes("\x01\x02\x03\x04"), "AQIDBA==", R"("AQIDBA==")"},
      {list(ValueType::kArray, 0, 0), "[]", "[]"},
      {list(ValueType::kArray, 0, 5), R"(["a\"b",null,"NaN","AQ==",true])", R"(["a\"b",null,"NaN","AQ==",true])"},
      {list(ValueType::kMap, 0, 0), "{}", "{}"},
      {list(ValueType::kMap, 0, 2), R"({"x":1,"y\n":["a\"b",null,"NaN","AQ==",true]})",
       R"({"x":1,"y\n":["a\"b",null,"NaN","AQ==",true]})"},
  };
  for (const auto& c : cases) {
    std::string text = "before:";
    std::string json = "before:";
    append_text(text, request, c.value);
    append_json(json, request, c.value);
    EXPECT_EQ(text, std::string("before:") + c.text);
    EXPECT_EQ(json, std::string("before:") + c.json);
  }
}

TEST(Base64, RoundTripsBytesOfAnyLength) {
  std::string content;
  for (int length = 0; length < 70; ++length) {
    std::string encoded;
    append_base64(encoded, content);
    EXPECT_EQ(encoded.size(), (content.size() + 2) / 3 * 4);
    std::string again;
    EXPECT_TRUE(append_base64_decoded(again, encoded));
    EXPECT_EQ(again, content);
    again.clear();
    EXPECT_TRUE(append_base64_decoded(again, encoded.substr(0, encoded.find('='))));
    EXPECT_EQ(again, content);
    content.push_back(static_cast<char>(length * 37 + 200));
  }
}

TEST(Base64, RefusesWhatItIsNot) {
  for (const char* text : {"A", "AAAAA", "A===", "AA=A", "AA A", "\xC3\xA9==", "====", "=A=="}) {
    std::string out;
    EXPECT_FALSE(append_base64_decoded(out, text)) << text;
  }
}

}  // namespace
}  // namespace fettle::otlp
