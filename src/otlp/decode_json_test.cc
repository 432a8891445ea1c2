#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "otlp/decode.h"
#include "otlp/encode.h"

namespace fettle::otlp {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

constexpr std::string_view kIds = R"("traceId":"30313233343536373839616263646566","spanId":"3031323334353637")";

template <class Request>
Request decoded(std::string_view body, const DecodeLimits& limits = {}) {
  Request request;
  const Result<void> result = decode_json(body, limits, request);
  EXPECT_TRUE(result) << result.error().message() << "\n" << body.substr(0, 2000);
  return request;
}

template <class Request = Traces>
std::string refusal(std::string_view body, const DecodeLimits& limits = {}) {
  Request request;
  const Result<void> result = decode_json(body, limits, request);
  EXPECT_FALSE(result) << body.substr(0, 2000);
  if (result) return {};
  EXPECT_EQ(result.error().code(), ErrorCode::kInvalidArgument) << result.error().message();
  EXPECT_TRUE(request.resources.empty() && request.attributes.empty()) << "a failed decode left something behind";
  return result.error().message();
}

std::string span_request(std::string_view members) {
  return std::string(R"({"resourceSpans":[{"scopeSpans":[{"spans":[{)") + std::string(members) + "}]}]}]}";
}
// A valid span with more members.
std::string span_with(std::string_view members) { return span_request(std::string(kIds) + "," + std::string(members)); }
std::string value_request(std::string_view any_value) {
  return span_with(R"("attributes":[{"key":"k","value":)" + std::string(any_value) + "}]");
}
std::string log_request(std::string_view members) {
  return std::string(R"({"resourceLogs":[{"scopeLogs":[{"logRecords":[{)") + std::string(members) + "}]}]}]}";
}
std::string metric_request(std::string_view members) {
  return std::string(R"({"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"m",)") + std::string(members) +
         "}]}]}]}";
}
// A gauge of one point with these members.
std::string point_request(std::string_view members) {
  return metric_request(R"("gauge":{"dataPoints":[{"timeUnixNano":"1000",)" + std::string(members) + "}]}");
}

std::string text_of(const Common& request, Range range) {
  std::string text;
  for (std::uint32_t i = 0; i != range.count; ++i) {
    const Attribute& attribute = request.attributes[range.first + i];
    if (i != 0) text += ' ';
    text += std::string(attribute.key) + '=';
    append_json(text, request, attribute.value);
  }
  return text;
}

template <class T>
std::vector<T> part(const std::vector<T>& all, Range range) {
  return {all.begin() + range.first, all.begin() + range.first + range.count};
}

TEST(DecodeJson, EveryFieldOfASpanArrives) {
  const std::string body = R"({"resourceSpans":[{
    "scopeSpans":[{
      "spans":[{
        "traceId":"30313233343536373839616263646566","spanId":"3031323334353637","parentSpanId":"706172656e742d38",
        "traceState":"a=b","name":"GET /","kind":2,"startTimeUnixNano":"1000","endTimeUnixNano":2000,
        "events":[{"timeUnixNano":"1500","name":"retry","attributes":[{"key":"n","value":{"intValue":"7"}}],
                   "droppedAttributesCount":4}],
        "links":[{"traceId":"66656463626139383736353433323130","spanId":"3736353433323130","traceState":"c=d",
                  "attributes":[{"key":"l","value":{"stringValue":"w"}}],"droppedAttributesCount":6,"flags":769}],
        "attributes":[{"key":"k","value":{"stringValue":"v"}}],
        "droppedAttributesCount":3,"droppedEventsCount":5,"droppedLinksCount":7,
        "status":{"message":"broken","code":2},"flags":4294967041}],
      "scope":{"name":"library","version":"1.2","attributes":[{"key":"x","value":{"stringValue":"y"}}],
               "droppedAttributesCount":8},
      "schemaUrl":"https://scope"}],
    "resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}],"droppedAttributesCount":9,
                "entityRefs":[{"schemaUrl":"https://e","type":"host","idKeys":["host.id"],"descriptionKeys":["host.name"]}]},
    "schemaUrl":"https://resource"}]})";
  const auto request = decoded<Traces>(body);
  ASSERT_THAT(request.spans, SizeIs(1));
  const Span& s = request.spans[0];
  EXPECT_EQ(s.trace_id, "0123456789abcdef");
  EXPECT_EQ(s.span_id, "01234567");
  EXPECT_EQ(s.parent_span_id, "parent-8");
  EXPECT_EQ(s.trace_state, "a=b");
  EXPECT_EQ(s.name, "GET /");
  EXPECT_EQ(s.kind, 2);
  EXPECT_EQ(s.start, 1000);
  EXPECT_EQ(s.end, 2000);
  EXPECT_EQ(text_of(request, s.attributes), R"(k="v")");
  EXPECT_EQ(s.dropped_attributes_count, 3U);
  EXPECT_EQ(s.dropped_events_count, 5U);
  EXPECT_EQ(s.dropped_links_count, 7U);
  EXPECT_EQ(s.status_code, 2);
  EXPECT_EQ(s.status_message, "broken");
  EXPECT_EQ(s.flags, 0xFFFFFF01U);
  ASSERT_EQ(s.events.count, 1U);
  const Event& event = request.events[s.events.first];
  EXPECT_EQ(event.time, 1500);
  EXPECT_EQ(event.name, "retry");
  EXPECT_EQ(text_of(request, event.attributes), "n=7");
  EXPECT_EQ(event.dropped_attributes_count, 4U);
  ASSERT_EQ(s.links.count, 1U);
  const Link& link = request.links[s.links.first];
  EXPECT_EQ(link.trace_id, "fedcba9876543210");
  EXPECT_EQ(link.span_id, "76543210");
  EXPECT_EQ(link.trace_state, "c=d");
  EXPECT_EQ(text_of(request, link.attributes), R"(l="w")");
  EXPECT_EQ(link.dropped_attributes_count, 6U);
  EXPECT_EQ(link.flags, 0x301U);
  const Resource& r = request.resources[s.resource];
  EXPECT_EQ(text_of(request, r.attributes), R"(service.name="shop")");
  EXPECT_EQ(r.dropped_attributes_count, 9U);
  EXPECT_EQ(r.schema_url, "https://resource");
  ASSERT_EQ(r.entity_refs.count, 1U);
  const EntityRef& e = request.entity_refs[r.entity_refs.first];
  EXPECT_EQ(e.schema_url, "https://e");
  EXPECT_EQ(e.type, "host");
  ASSERT_EQ(e.id_keys.count, 1U);
  EXPECT_EQ(request.values[e.id_keys.first].text(), "host.id");
  ASSERT_EQ(e.description_keys.count, 1U);
  EXPECT_EQ(request.values[e.description_keys.first].text(), "host.name");
  const Scope& scope = request.scopes[s.scope];
  EXPECT_EQ(scope.name, "library");
  EXPECT_EQ(scope.version, "1.2");
  EXPECT_EQ(text_of(request, scope.attributes), R"(x="y")");
  EXPECT_EQ(scope.dropped_attributes_count, 8U);
  EXPECT_EQ(scope.schema_url, "https://scope");
}

TEST(DecodeJson, StringsDoNotDependOnTheBody) {
  Traces request;
  {
    std::string body = span_with(R"("name":"a name that is long enough to live on the heap")");
    ASSERT_TRUE(decode_json(body, {}, request));
    body.assign(body.size(), '#');
  }
  Traces other;
  ASSERT_TRUE(decode_json(span_with(R"("name":"another name that takes the place of the first")"), {}, other));
  EXPECT_EQ(request.spans[0].name, "a name that is long enough to live on the heap");
}

TEST(DecodeJson, EveryTypeOfValueArrives) {
  const struct {
    const char* sent;
    const char* expected;
  } cases[] = {
      {R"({"stringValue":""})", R"("")"},
      {R"({"stringValue":"a\"\\\n\u00e9\ud83d\ude00"})", "\"a\\\"\\\\\\n\xC3\xA9\xF0\x9F\x98\x80\""},
      {R"({"boolValue":true})", "true"},
      {R"({"boolValue":false})", "false"},
      {R"({"intValue":"42"})", "42"},
      {R"({"intValue":42})", "42"},
      {R"({"intValue":-42})", "-42"},
      {R"({"intValue":42.0})", "42"},
      {R"({"intValue":4.2e1})", "42"},
      {R"({"intValue":"-9223372036854775808"})", "-9223372036854775808"},
      {R"({"intValue":9223372036854775807})", "9223372036854775807"},
      {R"({"doubleValue":2.5})", "2.5"},
      {R"({"doubleValue":3})", "3"},
      {R"({"doubleValue":-3})", "-3"},
      {R"({"doubleValue":"2.5"})", "2.5"},
      {R"({"doubleValue":"NaN"})", R"("NaN")"},
      {R"({"doubleValue":"Infinity"})", R"("Infinity")"},
      {R"({"doubleValue":"-Infinity"})", R"("-Infinity")"},
      {R"({"doubleValue":100000000000000000000})", "1e+20"},
      {R"({"doubleValue":-100000000000000000000})", "-1e+20"},
      {R"({"doubleValue":18446744073709551615})", "18446744073709551616"},
      {R"({"arrayValue":{"values":[{"stringValue":"a"},{},{"intValue":"1"},null]}})", R"(["a",null,1,null])"},
      {R"({"arrayValue":{"values":[]}})", "[]"},
      {R"({"arrayValue":{}})", "[]"},
      {R"({"arrayValue":{"values":[{"arrayValue":{"values":[{"boolValue":true}]}},{"kvlistValue":{"values":[]}}]}})",
       "[[true],{}]"},
      {R"({"kvlistValue":{"values":[{"key":"a","value":{"kvlistValue":{"values":[{"key":"b","value":{"intValue":1}}]}}}]}})",
       R"({"a":{"b":1}})"},
      {R"({"kvlistValue":{"values":[{"key":"a"},{"key":"b","value":null},{"value":{"intValue":1}}]}})",
       R"({"a":null,"b":null,"":1})"},
      {R"({"bytesValue":"AQID"})", R"("AQID")"},
      {R"({"bytesValue":"-_8"})", R"("+/8=")"},
      {R"({"bytesValue":""})", R"("")"},
      {R"({})", "null"},
      {"null", "null"},
      {R"({"stringValue":null})", "null"},
      {R"({"stringValue":null,"intValue":"1"})", "1"},
      {R"({"unknownValue":{"deep":[1,{}]}})", "null"},
      {R"({"stringValueStrindex":3})", "null"},
  };
  for (const auto& c : cases) {
    const auto request = decoded<Traces>(value_request(c.sent));
    ASSERT_THAT(request.spans, SizeIs(1)) << c.sent;
    EXPECT_EQ(text_of(request, request.spans[0].attributes), std::string("k=") + c.expected);
    const auto logs = decoded<Logs>(log_request(std::string(R"("body":)") + c.sent));
    ASSERT_THAT(logs.records, SizeIs(1)) << c.sent;
    std::string body;
    append_json(body, logs, logs.records[0].body);
    EXPECT_EQ(body, c.expected);
  }
  const auto request = decoded<Traces>(value_request(R"({"bytesValue":"AQID"})"));
  EXPECT_EQ(request.attributes[0].value.type, ValueType::kBytes);
  EXPECT_EQ(request.attributes[0].value.text(), "\x01\x02\x03");
}

TEST(DecodeJson, IdsAreHexadecimalInEitherCase) {
  const auto lower =
      decoded<Traces>(span_request(R"("traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174")"));
  const auto upper = decoded<Traces>(
      span_request(R"("traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"EEE19B7EC3C1B174","parentSpanId":"")"));
  EXPECT_EQ(lower.spans.at(0).trace_id, upper.spans.at(0).trace_id);
  EXPECT_EQ(lower.spans[0].trace_id,
            std::string_view("\x5B\x8E\xFF\xF7\x98\x03\x81\x03\xD2\x69\xB6\x33\x81\x3F\xC6\x0C"));
  EXPECT_EQ(lower.spans[0].span_id, upper.spans[0].span_id);
  EXPECT_THAT(upper.spans[0].parent_span_id, IsEmpty());
}

TEST(DecodeJson, SpansWithInvalidIdsAreRefusedOneByOne) {
  const char* const cases[] = {
      R"("spanId":"3031323334353637")",
      R"("traceId":"","spanId":"3031323334353637")",
      R"("traceId":"303132333435363738396162636465","spanId":"3031323334353637")",
      R"("traceId":"00000000000000000000000000000000","spanId":"3031323334353637")",
      R"("traceId":"30313233343536373839616263646566","spanId":"0000000000000000")",
      R"("traceId":"30313233343536373839616263646566","spanId":null)",
  };
  for (const char* span : cases) {
    const auto request = decoded<Traces>(span_request(span));
    EXPECT_THAT(request.spans, IsEmpty()) << span;
    EXPECT_EQ(request.rejections.count, 1) << span;
    EXPECT_THAT(request.resources, IsEmpty()) << span;
  }
  const auto two = decoded<Traces>(span_request(
      R"("name":"bad","attributes":[{"key":"gone","value":{"arrayValue":{"values":[{}]}}}],"events":[{}],"links":[{}]},{)" +
      std::string(kIds)));
  EXPECT_THAT(two.spans, SizeIs(1));
  EXPECT_EQ(two.rejections.count, 1);
  EXPECT_THAT(two.attributes, IsEmpty());
  EXPECT_THAT(two.values, IsEmpty());
  EXPECT_THAT(two.events, IsEmpty());
  EXPECT_THAT(two.links, IsEmpty());
}

TEST(DecodeJson, UnknownNamesAreIgnoredAtEveryDepth) {
  const std::string body = R"({"unknown":{"a":[1,2,{"b":null}]},"resource_spans":[5],"resourceSpans":[{"unknown":[],
    "resource":{"unknown":1,"attributes":[{"unknown":true,"key":"r","value":{"unknown":{},"intValue":1}}]},
    "schema_url":7,
    "scopeSpans":[{"unknown":"x","scope":{"unknown":"x","name":"n"},"spans":[{"unknown":[[[]]],"trace_id":"zz",)" +
                           std::string(kIds) +
                           R"(,"dropped_attributes_count":"many","status":{"unknown":{},"code":1},
    "events":[{"unknown":1}],"links":[{"unknown":1}]}]}]}]})";
  const auto request = decoded<Traces>(body);
  ASSERT_THAT(request.spans, SizeIs(1));
  EXPECT_EQ(request.spans[0].status_code, 1);
  EXPECT_EQ(request.spans[0].events.count, 1U);
  EXPECT_EQ(text_of(request, request.resources[0].attributes), "r=1");
  EXPECT_THAT(request.resources[0].schema_url, IsEmpty());
}

TEST(DecodeJson, NullIsTheSameAsNotSet) {
  const std::string body =
      span_with(R"("parentSpanId":null,"name":null,"kind":null,"startTimeUnixNano":null,"attributes":null,
                   "events":null,"links":null,"status":null,"flags":null,"droppedAttributesCount":null)");
  const auto request = decoded<Traces>(body);
  ASSERT_THAT(request.spans, SizeIs(1));
  EXPECT_EQ(request.spans[0].kind, 0);
  EXPECT_THAT(decoded<Traces>(R"({"resourceSpans":null})").spans, IsEmpty());
  EXPECT_THAT(decoded<Metrics>(metric_request(R"("gauge":null,"sum":{"dataPoints":null})")).metrics, IsEmpty());
  const auto point = decoded<Metrics>(point_request(R"("asDouble":null,"asInt":"5")"));
  EXPECT_EQ(point.number_points.at(0).integer, 5);
}

TEST(DecodeJson, EmptyEnvelopesAreIgnored) {
  for (const char* body :
       {"{}", R"({"resourceSpans":[]})", R"({"resourceSpans":[{}]})",
        R"({"resourceSpans":[{"resource":{"attributes":[{"key":"k"}]},"scopeSpans":[{"scope":{"name":"n"}}]}]})"}) {
    const auto request = decoded<Traces>(body);
    EXPECT_THAT(request.resources, IsEmpty()) << body;
    EXPECT_THAT(request.scopes, IsEmpty()) << body;
    EXPECT_THAT(request.attributes, IsEmpty()) << body;
  }
}

TEST(DecodeJson, BadDataIsInvalid) {
  const std::string cases[] = {
      "",
      " ",
      "[]",
      "7",
      "null",
      "{",
      R"({"resourceSpans":[{}]} trailing)",
      R"({"resourceSpans":{}})",
      R"({"resourceSpans":[7]})",
      R"({"resourceSpans":[null]})",
      R"({"resourceSpans":[{"resource":[]}]})",
      R"({"resourceSpans":[{"scopeSpans":{}}]})",
      "{\"resourceSpans\":[{\"schemaUrl\":\"\xFF\"}]}",
      span_with(R"("kind":"SPAN_KIND_SERVER")"),
      span_with(R"("kind":"2")"),
      span_with(R"("kind":2.5)"),
      span_with(R"("kind":2147483648)"),
      span_with(R"("status":{"code":"STATUS_CODE_ERROR"})"),
      span_with(R"("status":7)"),
      span_with(R"("name":7)"),
      span_with(R"("name":{})"),
      span_with(R"("flags":-1)"),
      span_with(R"("flags":4294967296)"),
      span_with(R"("startTimeUnixNano":"-1")"),
      span_with(R"("startTimeUnixNano":-1)"),
      span_with(R"("startTimeUnixNano":"")"),
      span_with(R"("startTimeUnixNano":"1e3")"),
      span_with(R"("startTimeUnixNano":" 1")"),
      span_with(R"("startTimeUnixNano":"1 ")"),
      span_with(R"("startTimeUnixNano":1.5)"),
      span_with(R"("startTimeUnixNano":"18446744073709551616")"),
      span_with(R"("startTimeUnixNano":true)"),
      span_with(R"("droppedAttributesCount":"x")"),
      span_with(R"("attributes":{})"),
      span_with(R"("attributes":[null])"),
      span_with(R"("attributes":[{"key":7}])"),
      span_with(R"("attributes":[{"key":"k","value":"v"}])"),
      span_request(R"("traceId":"3031323334353637383961626364656g","spanId":"3031323334353637")"),
      span_request(R"("traceId":"303","spanId":"3031323334353637")"),
      span_request(R"("traceId":7,"spanId":"3031323334353637")"),
      span_with(R"("parentSpanId":"SPAN_ID!")"),
      value_request(R"({"stringValue":7})"),
      value_request(R"({"boolValue":"true"})"),
      value_request(R"({"boolValue":1})"),
      value_request(R"({"intValue":"1.5"})"),
      value_request(R"({"intValue":1.5})"),
      value_request(R"({"intValue":""})"),
      value_request(R"({"intValue":9223372036854775808})"),
      value_request(R"({"intValue":99999999999999999999})"),
      value_request(R"({"intValue":true})"),
      value_request(R"({"doubleValue":"nan"})"),
      value_request(R"({"doubleValue":"inf"})"),
      value_request(R"({"doubleValue":""})"),
      value_request(R"({"doubleValue":"1x"})"),
      value_request(R"({"doubleValue":true})"),
      value_request(R"({"arrayValue":[]})"),
      value_request(R"({"arrayValue":{"values":{}}})"),
      value_request(R"({"arrayValue":{"values":["a"]}})"),
      value_request(R"({"kvlistValue":{"values":[null]}})"),
      value_request(R"({"bytesValue":"A"})"),
      value_request(R"({"bytesValue":"A*=="})"),
      value_request(R"({"stringValue":"a","intValue":"1"})"),
  };
  for (const std::string& body : cases) refusal(body);
  const std::string metric_cases[] = {
      metric_request(R"("gauge":{"dataPoints":[]},"sum":{})"),
      metric_request(R"("sum":{"aggregationTemporality":"AGGREGATION_TEMPORALITY_DELTA"})"),
      metric_request(R"("sum":{"isMonotonic":"yes"})"),
      metric_request(R"("gauge":[])"),
      point_request(R"("asInt":"1","asDouble":1)"),
      point_request(R"("asInt":1.5)"),
      point_request(R"("asInt":"1","exemplars":[{"asInt":"1","asDouble":1}])"),
      metric_request(R"("histogram":{"dataPoints":[{"bucketCounts":["-1"]}]})"),
      metric_request(R"("histogram":{"dataPoints":[{"explicitBounds":[null]}]})"),
      metric_request(R"("exponentialHistogram":{"dataPoints":[{"scale":2147483648}]})"),
  };
  for (const std::string& body : metric_cases) refusal<Metrics>(body);
}

TEST(DecodeJson, TheErrorNamesThePlaceAndNoPayload) {
  const std::string message = refusal(span_with(R"("name":"hunter2","kind":"hunter3")"));
  EXPECT_THAT(message, HasSubstr("Span.kind"));
  EXPECT_THAT(message, Not(HasSubstr("hunter")));
  EXPECT_THAT(refusal(R"({"hunter4":)"), Not(HasSubstr("hunter")));
}

TEST(DecodeJson, OddJsonOfJavaScriptIsRepaired) {
  const struct {
    const char* sent;
    const char* expected;
  } cases[] = {
      {R"("\ud83d")", "\xEF\xBF\xBD"},
      {R"("cut \ud83d")", "cut \xEF\xBF\xBD"},
      {R"("\ud83d\ud83d\ude00")", "\xEF\xBF\xBD\xF0\x9F\x98\x80"},
      {R"("\ude00 low")", "\xEF\xBF\xBD low"},
      {R"("\\ud83d \ude00")", "\\ud83d \xEF\xBF\xBD"},
      {R"("\"100000000000000000000\ud83d")", "\"100000000000000000000\xEF\xBF\xBD"},
      {R"("\ud83d\n\uD83D")", "\xEF\xBF\xBD\n\xEF\xBF\xBD"},
      {R"("\ud83d\ude00","unknown":123456789012345678901234567890)", "\xF0\x9F\x98\x80"},
      {R"("x","unknown":[-123456789012345678901234567890,18446744073709551615,1.5e3,123456789012345678901234567890])",
       "x"},
  };
  for (const auto& c : cases) {
    const auto request = decoded<Traces>(span_with(std::string(R"("name":)") + c.sent));
    ASSERT_THAT(request.spans, SizeIs(1)) << c.sent;
    EXPECT_EQ(request.spans[0].name, c.expected) << c.sent;
  }
  refusal(span_with(R"("name":"\ud83)"));
  refusal(span_with(R"("name":"\ud83d","flags":1e999)"));
}

TEST(DecodeJson, DuplicatesAndLimitsAreThoseOfTheProtobufDecoder) {
  std::string attributes;
  for (int i = 0; i < 130; ++i) {
    attributes += R"({"key":"key.)" + std::to_string(i) + R"(","value":{"arrayValue":{"values":[{"intValue":1}]}}},)";
  }
  attributes.pop_back();
  const auto cut = decoded<Traces>(span_with(R"("droppedAttributesCount":5,"attributes":[)" + attributes + "]"));
  EXPECT_EQ(cut.spans[0].attributes.count, 128U);
  EXPECT_EQ(cut.spans[0].dropped_attributes_count, 7U);
  EXPECT_EQ(cut.truncated_attributes, 2);
  EXPECT_THAT(cut.values, SizeIs(128)) << "what is cut leaves nothing behind";

  const auto twice = decoded<Traces>(span_with(
      R"("attributes":[{"key":"a","value":{"arrayValue":{"values":[{"stringValue":"gone"}]}}},
                       {"key":"b","value":{"intValue":2}},
                       {"key":"a","value":{"arrayValue":{"values":[{"intValue":3}]}}},
                       {"key":"m","value":{"kvlistValue":{"values":[{"key":"x","value":{"intValue":1}},
                                                                    {"key":"x","value":{"intValue":2}}]}}}])"));
  EXPECT_EQ(text_of(twice, twice.spans[0].attributes), R"(a=[3] b=2 m={"x":2})");
  EXPECT_EQ(twice.duplicate_attributes, 2);
  EXPECT_THAT(twice.values, SizeIs(1));

  const auto strings =
      decoded<Traces>(span_with("\"name\":\"1234567\xC3\xA9\",\"traceState\":\"fits\""), {.string_bytes_max = 8});
  EXPECT_EQ(strings.spans[0].name, "1234567");
  EXPECT_EQ(strings.truncated_strings, 1);

  Traces request;
  const auto two = decode_json(span_request(std::string(kIds) + "},{"), {.items_max = 1}, request);
  ASSERT_FALSE(two);
  EXPECT_EQ(two.error().code(), ErrorCode::kTooLarge);
}

TEST(DecodeJson, NestingIsBounded) {
  const auto nested = [](int depth) {
    std::string value = R"({"intValue":1})";
    for (int i = 1; i < depth; ++i) value = R"({"arrayValue":{"values":[)" + value + "]}}";
    return value_request(value);
  };
  EXPECT_THAT(decoded<Traces>(nested(64)).spans, SizeIs(1));
  EXPECT_THAT(refusal(nested(65)), HasSubstr("nested"));
  EXPECT_THAT(decoded<Traces>(nested(256), {.nesting_max = 256}).spans, SizeIs(1));
  refusal(nested(257), {.nesting_max = 10'000});
  refusal(R"({"unknown":)" + std::string(100'000, '['));
}

TEST(DecodeJson, EveryFieldOfALogRecordArrives) {
  const auto request = decoded<Logs>(log_request(
      R"("timeUnixNano":"1000","observedTimeUnixNano":"2000","severityNumber":17,"severityText":"Error",
         "body":{"kvlistValue":{"values":[{"key":"message","value":{"stringValue":"hello"}}]}},
         "attributes":[{"key":"k","value":{"stringValue":"v"}}],"droppedAttributesCount":3,"flags":4294967041,
         "traceId":"30313233343536373839616263646566","spanId":"3031323334353637","eventName":"user.login")"));
  ASSERT_THAT(request.records, SizeIs(1));
  const LogRecord& r = request.records[0];
  EXPECT_EQ(r.time, 1000);
  EXPECT_EQ(r.observed_time, 2000);
  EXPECT_EQ(r.severity_number, 17);
  EXPECT_EQ(r.severity_text, "Error");
  std::string body;
  append_json(body, request, r.body);
  EXPECT_EQ(body, R"({"message":"hello"})");
  EXPECT_EQ(text_of(request, r.attributes), R"(k="v")");
  EXPECT_EQ(r.dropped_attributes_count, 3U);
  EXPECT_EQ(r.flags, 1U);
  EXPECT_EQ(r.trace_id, "0123456789abcdef");
  EXPECT_EQ(r.span_id, "01234567");
  EXPECT_EQ(r.event_name, "user.login");
  const auto without = decoded<Logs>(log_request(R"("traceId":"3031","spanId":"")"));
  ASSERT_THAT(without.records, SizeIs(1));
  EXPECT_THAT(without.records[0].trace_id, IsEmpty());
  EXPECT_EQ(without.rejections.count, 0);
}

TEST(DecodeJson, EveryKindOfPointArrives) {
  const std::string body = R"({"resourceMetrics":[{"scopeMetrics":[{"metrics":[
    {"name":"s","description":"d","unit":"1","metadata":[{"key":"origin","value":{"stringValue":"sdk"}}],
     "sum":{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[
       {"startTimeUnixNano":"500","timeUnixNano":"1000","asInt":"-7","flags":2,
        "attributes":[{"key":"k","value":{"stringValue":"v"}}],
        "exemplars":[{"timeUnixNano":"900","asDouble":1.5,"spanId":"3031323334353637",
                      "traceId":"30313233343536373839616263646566",
                      "filteredAttributes":[{"key":"user","value":{"stringValue":"u1"}}]},
                     {"asInt":"4"},{"timeUnixNano":"1"}]},
       {"timeUnixNano":"1000","asInt":8},{"timeUnixNano":"1000","asDouble":"NaN"}]}},
    {"name":"h","histogram":{"aggregationTemporality":1,"dataPoints":[
       {"timeUnixNano":"1000","count":"6","sum":12.5,"bucketCounts":["1",2,"3"],"explicitBounds":[1,"5"],
        "min":0.5,"max":9}]}},
    {"name":"e","exponentialHistogram":{"aggregationTemporality":2,"dataPoints":[
       {"timeUnixNano":"1000","count":"10","scale":-3,"zeroCount":1,"zeroThreshold":0.25,
        "positive":{"offset":2,"bucketCounts":["2","3"]},"negative":{"offset":-2,"bucketCounts":[4]}}]}},
    {"name":"q","summary":{"dataPoints":[
       {"timeUnixNano":"1000","count":"6","sum":12.5,
        "quantileValues":[{"quantile":0.5,"value":1},{"quantile":1,"value":"Infinity"}]}]}}
    ]}]}]})";
  const auto request = decoded<Metrics>(body);
  EXPECT_EQ(request.rejections.count, 0) << request.rejections.first_reason;
  ASSERT_THAT(request.metrics, SizeIs(4));
  EXPECT_EQ(request.metrics[0].description, "d");
  EXPECT_EQ(request.metrics[0].unit, "1");
  EXPECT_EQ(text_of(request, request.metrics[0].metadata), R"(origin="sdk")");
  EXPECT_TRUE(request.metrics[0].is_monotonic);
  EXPECT_EQ(request.metrics[0].temporality, Temporality::kCumulative);
  ASSERT_THAT(request.number_points, SizeIs(3));
  EXPECT_EQ(request.number_points[0].start, 500);
  EXPECT_EQ(request.number_points[0].integer, -7);
  EXPECT_TRUE(request.number_points[0].is_int);
  EXPECT_EQ(request.number_points[0].flags, 2U);
  EXPECT_EQ(request.number_points[0].exemplars.count, 2U);
  EXPECT_EQ(request.exemplars.at(0).value, 1.5);
  EXPECT_EQ(request.exemplars[0].time, 900);
  EXPECT_EQ(request.exemplars[0].trace_id, "0123456789abcdef");
  EXPECT_EQ(request.exemplars[0].span_id, "01234567");
  EXPECT_EQ(text_of(request, request.exemplars[0].filtered_attributes), R"(user="u1")");
  EXPECT_EQ(request.exemplars.at(1).value, 4);
  EXPECT_TRUE(std::isnan(request.number_points[2].number));
  ASSERT_THAT(request.histogram_points, SizeIs(1));
  const HistogramPoint& h = request.histogram_points[0];
  EXPECT_EQ(h.metric, 1U);
  EXPECT_THAT(part(request.integers, h.bucket_counts), ElementsAre(1, 2, 3));
  EXPECT_THAT(part(request.doubles, h.bounds), ElementsAre(1, 5));
  EXPECT_TRUE(h.has_sum && h.has_min && h.has_max);
  EXPECT_EQ(h.sum, 12.5);
  EXPECT_EQ(h.min, 0.5);
  EXPECT_EQ(h.max, 9);
  ASSERT_THAT(request.exponential_histogram_points, SizeIs(1));
  const ExponentialHistogramPoint& e = request.exponential_histogram_points[0];
  EXPECT_EQ(e.scale, -3);
  EXPECT_EQ(e.zero_count, 1U);
  EXPECT_EQ(e.zero_threshold, 0.25);
  EXPECT_EQ(e.positive_offset, 2);
  EXPECT_THAT(part(request.integers, e.positive_counts), ElementsAre(2, 3));
  EXPECT_EQ(e.negative_offset, -2);
  EXPECT_THAT(part(request.integers, e.negative_counts), ElementsAre(4));
  EXPECT_FALSE(e.has_sum || e.has_min || e.has_max);
  ASSERT_THAT(request.summary_points, SizeIs(1));
  EXPECT_THAT(part(request.doubles, request.summary_points[0].quantiles),
              ElementsAre(0.5, 1, 1, std::numeric_limits<double>::infinity()));
}

TEST(DecodeJson, InvalidPointsAreRefusedOneByOne) {
  const std::string cases[] = {
      metric_request(R"("gauge":{"dataPoints":[{"asInt":"1"}]})"),
      metric_request(R"("gauge":{"dataPoints":[{"timeUnixNano":"1000"}]})"),
      metric_request(R"("sum":{"dataPoints":[{"timeUnixNano":"1000","asInt":"1"}]})"),
      metric_request(
          R"("histogram":{"aggregationTemporality":1,"dataPoints":[{"timeUnixNano":"1000","count":"2","bucketCounts":["1"]}]})"),
      metric_request(
          R"("exponentialHistogram":{"aggregationTemporality":1,"dataPoints":[{"timeUnixNano":"1000","count":"1"}]})"),
      metric_request(R"("summary":{"dataPoints":[{"timeUnixNano":"1000","quantileValues":[{"quantile":2}]}]})"),
  };
  for (const std::string& body : cases) {
    const auto request = decoded<Metrics>(body);
    EXPECT_EQ(request.rejections.count, 1) << body;
    EXPECT_THAT(request.metrics, IsEmpty()) << body;
    EXPECT_THAT(request.resources, IsEmpty()) << body;
    EXPECT_TRUE(request.number_points.empty() && request.histogram_points.empty() &&
                request.exponential_histogram_points.empty() && request.summary_points.empty())
        << body;
  }
  const auto stale = decoded<Metrics>(point_request(R"("flags":1)"));
  EXPECT_THAT(stale.number_points, SizeIs(1));
}

}  // namespace
}  // namespace fettle::otlp
