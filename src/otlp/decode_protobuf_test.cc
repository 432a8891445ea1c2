#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "otlp/decode.h"
#include "otlp/encode.h"
#include "otlp/wire_for_test.h"

namespace fettle::otlp {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::kSpanId;
using testing::kTraceId;
using ::testing::Not;
using testing::request_of;
using ::testing::SizeIs;
using testing::valid_span;
using testing::Wire;

template <class Request>
Request decoded(std::string_view body, const DecodeLimits& limits = {}) {
  Request request;
  const Result<void> result = decode_protobuf(body, limits, request);
  EXPECT_TRUE(result) << result.error().message();
  return request;
}

template <class Request = Traces>
ErrorCode refused(std::string_view body, const DecodeLimits& limits = {}) {
  Request request;
  const Result<void> result = decode_protobuf(body, limits, request);
  EXPECT_FALSE(result);
  EXPECT_TRUE(request.resources.empty() && request.attributes.empty()) << "a failed decode left something behind";
  return result ? ErrorCode::kInternal : result.error().code();
}

// An attribute list as "key=value key=value", with JSON values.
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

std::string json_of(const Common& request, const Value& value) {
  std::string text;
  append_json(text, request, value);
  return text;
}

template <class T>
std::vector<T> part(const std::vector<T>& all, Range range) {
  return {all.begin() + range.first, all.begin() + range.first + range.count};
}

Wire nested_arrays(int depth) {
  Wire value = Wire().text(1, "core");
  for (int i = 1; i < depth; ++i) value = Wire().message(5, Wire().message(1, value));
  return value;
}

// ---- Traces

TEST(DecodeProtobuf, EveryFieldOfASpanArrives) {
  Wire span;
  span.bytes(1, kTraceId).bytes(2, kSpanId).text(3, "a=b").bytes(4, "parent-8").text(5, "GET /").varint(6, 2);
  span.fixed64(7, 1000).fixed64(8, 2000).attribute(9, "k", "v").varint(10, 3);
  span.message(11, Wire().fixed64(1, 1500).text(2, "retry").attribute(3, "n", Wire().varint(3, 7)).varint(4, 4));
  span.varint(12, 5);
  span.message(13, Wire()
                       .bytes(1, "fedcba9876543210")
                       .bytes(2, "76543210")
                       .text(3, "c=d")
                       .attribute(4, "l", "w")
                       .varint(5, 6)
                       .fixed32(6, 0x301));
  span.varint(14, 7).message(15, Wire().text(2, "broken").varint(3, 2)).fixed32(16, 0xFFFFFF01);
  const std::string body = request_of({span});
  const auto request = decoded<Traces>(body);
  ASSERT_THAT(request.spans, SizeIs(1));
  const Span& s = request.spans[0];
  EXPECT_EQ(s.trace_id, kTraceId);
  EXPECT_EQ(s.span_id, kSpanId);
  EXPECT_EQ(s.trace_state, "a=b");
  EXPECT_EQ(s.parent_span_id, "parent-8");
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
  EXPECT_EQ(s.flags, 0xFFFFFF01) << "reserved flags are forwarded as received";
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
}

TEST(DecodeProtobuf, EveryFieldOfTheEnvelopeArrives) {
  Wire entity;
  entity.text(4, "host.name").text(3, "host.id").text(1, "https://e").text(2, "host").text(3, "host.zone");
  Wire resource;
  resource.attribute(1, "service.name", "shop").varint(2, 9).message(3, entity);
  Wire scope;
  scope.text(1, "library").text(2, "1.2").attribute(3, "x", "y").varint(4, 8);
  Wire items;
  items.message(1, scope).message(2, valid_span()).text(3, "https://scope");
  const std::string body =
      Wire().message(1, Wire().message(1, resource).message(2, items).text(3, "https://resource")).data();
  const auto request = decoded<Traces>(body);
  ASSERT_THAT(request.spans, SizeIs(1));
  const Resource& r = request.resources[request.spans[0].resource];
  EXPECT_EQ(text_of(request, r.attributes), R"(service.name="shop")");
  EXPECT_EQ(r.dropped_attributes_count, 9U);
  EXPECT_EQ(r.schema_url, "https://resource");
  ASSERT_EQ(r.entity_refs.count, 1U);
  const EntityRef& e = request.entity_refs[r.entity_refs.first];
  EXPECT_EQ(e.schema_url, "https://e");
  EXPECT_EQ(e.type, "host");
  ASSERT_EQ(e.id_keys.count, 2U);
  EXPECT_EQ(request.values[e.id_keys.first].text(), "host.id");
  EXPECT_EQ(request.values[e.id_keys.first + 1].text(), "host.zone");
  ASSERT_EQ(e.description_keys.count, 1U);
  EXPECT_EQ(request.values[e.description_keys.first].text(), "host.name");
  const Scope& s = request.scopes[request.spans[0].scope];
  EXPECT_EQ(s.name, "library");
  EXPECT_EQ(s.version, "1.2");
  EXPECT_EQ(text_of(request, s.attributes), R"(x="y")");
  EXPECT_EQ(s.dropped_attributes_count, 8U);
  EXPECT_EQ(s.schema_url, "https://scope");
}

TEST(DecodeProtobuf, ResourceAndScopeMayComeAfterTheirItems) {
  Wire items;
  items.message(2, valid_span()).message(1, Wire().text(1, "late"));
  const std::string body =
      Wire().message(1, Wire().message(2, items).message(1, Wire().attribute(1, "service.name", "shop"))).data();
  const auto request = decoded<Traces>(body);
  ASSERT_THAT(request.spans, SizeIs(1));
  EXPECT_EQ(request.scopes[request.spans[0].scope].name, "late");
  EXPECT_EQ(text_of(request, request.resources[request.spans[0].resource].attributes), R"(service.name="shop")");
}

TEST(DecodeProtobuf, ItemsKnowTheirOwnScopeAndResource) {
  const auto scope = [](std::string_view name) {
    return Wire().message(1, Wire().text(1, name)).message(2, valid_span().text(5, name));
  };
  Wire body;
  body.message(1, Wire().message(1, Wire().attribute(1, "r", "1")).message(2, scope("a")).message(2, scope("b")));
  body.message(1, Wire().message(1, Wire().attribute(1, "r", "2")).message(2, scope("c")));
  const auto request = decoded<Traces>(body.data());
  ASSERT_THAT(request.spans, SizeIs(3));
  for (const Span& span : request.spans) EXPECT_EQ(request.scopes[span.scope].name, span.name);
  EXPECT_EQ(text_of(request, request.resources[request.spans[1].resource].attributes), R"(r="1")");
  EXPECT_EQ(text_of(request, request.resources[request.spans[2].resource].attributes), R"(r="2")");
}

TEST(DecodeProtobuf, SpansWithInvalidIdsAreRefusedOneByOne) {
  const std::string zero16(16, '\0');
  const std::string zero8(8, '\0');
  const struct {
    const char* what;
    Wire span;
    bool accepted;
  } cases[] = {
      {"valid", valid_span(), true},
      {"no trace id", Wire().bytes(2, kSpanId), false},
      {"no span id", Wire().bytes(1, kTraceId), false},
      {"zero trace id", Wire().bytes(1, zero16).bytes(2, kSpanId), false},
      {"zero span id", Wire().bytes(1, kTraceId).bytes(2, zero8), false},
      {"short trace id", Wire().bytes(1, kTraceId.substr(1)).bytes(2, kSpanId), false},
      {"long trace id", Wire().bytes(1, std::string(kTraceId) + "x").bytes(2, kSpanId), false},
      {"long span id", Wire().bytes(1, kTraceId).bytes(2, std::string(kSpanId) + "x"), false},
      {"only the last byte set", Wire().bytes(1, zero16.substr(1) + "x").bytes(2, zero8.substr(1) + "x"), true},
      {"empty parent", valid_span().bytes(4, ""), true},
      {"zero parent", valid_span().bytes(4, zero8), true},
      {"short parent", valid_span().bytes(4, "abc"), false},
  };
  for (const auto& c : cases) {
    const std::string body = request_of({valid_span().text(5, "before"), c.span, valid_span().text(5, "after")});
    const auto request = decoded<Traces>(body);
    EXPECT_EQ(request.spans.size(), c.accepted ? 3U : 2U) << c.what;
    EXPECT_EQ(request.rejections.count, c.accepted ? 0 : 1) << c.what;
    EXPECT_EQ(request.rejections.first_reason.empty(), c.accepted) << c.what;
    EXPECT_EQ(request.spans.back().name, "after") << c.what;
    EXPECT_THAT(request.spans[1].parent_span_id, IsEmpty()) << c.what;
  }
}

TEST(DecodeProtobuf, RefusedSpansLeaveNothingBehindAndAreCountedExactly) {
  Wire bad;
  bad.attribute(9, "secret", Wire().message(5, Wire().message(1, Wire().text(1, "x"))));
  bad.message(11, Wire().text(2, "event").attribute(3, "k", "v")).message(13, Wire().text(3, "state"));
  const std::string body = request_of({bad, valid_span().attribute(9, "good", "1"), bad, bad});
  const auto request = decoded<Traces>(body);
  EXPECT_EQ(request.rejections.count, 3);
  ASSERT_THAT(request.spans, SizeIs(1));
  EXPECT_EQ(text_of(request, request.spans[0].attributes), R"(good="1")");
  EXPECT_THAT(request.attributes, SizeIs(2)) << "the good span's and the resource's";
  EXPECT_THAT(request.values, IsEmpty());
  EXPECT_THAT(request.events, IsEmpty());
  EXPECT_THAT(request.links, IsEmpty());
}

TEST(DecodeProtobuf, LinksWithInvalidIdsLoseOnlyTheAssociation) {
  const std::string body =
      request_of({valid_span()
                      .message(13, Wire().bytes(1, "short").bytes(2, kSpanId).attribute(4, "k", "v"))
                      .message(13, Wire().bytes(1, kTraceId).bytes(2, std::string(8, '\0')))});
  const auto request = decoded<Traces>(body);
  ASSERT_THAT(request.spans, SizeIs(1));
  ASSERT_EQ(request.spans[0].links.count, 2U);
  EXPECT_THAT(request.links[0].trace_id, IsEmpty());
  EXPECT_EQ(request.links[0].span_id, kSpanId);
  EXPECT_EQ(text_of(request, request.links[0].attributes), R"(k="v")");
  EXPECT_EQ(request.links[1].trace_id, kTraceId);
  EXPECT_THAT(request.links[1].span_id, IsEmpty());
}

TEST(DecodeProtobuf, EventsBetweenAttributesDoNotTearTheListApart) {
  Wire span = valid_span();
  span.attribute(9, "a", "1").message(11, Wire().attribute(3, "e", "x")).attribute(9, "b", "2");
  span.message(13, Wire().attribute(4, "l", "y")).attribute(9, "c", Wire().message(5, Wire().message(1, Wire())));
  const std::string body = request_of({span});
  const auto request = decoded<Traces>(body);
  EXPECT_EQ(text_of(request, request.spans[0].attributes), R"(a="1" b="2" c=[null])");
  EXPECT_EQ(text_of(request, request.events[0].attributes), R"(e="x")");
  EXPECT_EQ(text_of(request, request.links[0].attributes), R"(l="y")");
}

TEST(DecodeProtobuf, EmptyEnvelopesAreIgnored) {
  const Wire named = Wire().message(1, Wire().attribute(1, "service.name", "idle"));
  const Wire scope = Wire().message(1, Wire().text(1, "library").attribute(3, "k", "v"));
  const std::string bodies[] = {"", Wire().message(1, Wire()).data(), Wire().message(1, named).data(),
                                Wire().message(1, Wire(named).message(2, scope)).data()};
  for (const std::string& body : bodies) {
    const auto request = decoded<Traces>(body);
    EXPECT_THAT(request.resources, IsEmpty());
    EXPECT_THAT(request.scopes, IsEmpty());
    EXPECT_THAT(request.attributes, IsEmpty());
    EXPECT_EQ(request.rejections.count, 0);
    EXPECT_THAT(decoded<Logs>(body).resources, IsEmpty());
    EXPECT_THAT(decoded<Metrics>(body).resources, IsEmpty());
  }
}

TEST(DecodeProtobuf, AResourceOfRefusedItemsIsIgnoredToo) {
  const std::string body = request_of({Wire().text(5, "no ids")});
  const auto request = decoded<Traces>(body);
  EXPECT_EQ(request.rejections.count, 1);
  EXPECT_THAT(request.resources, IsEmpty());
  EXPECT_THAT(request.scopes, IsEmpty());
  EXPECT_THAT(request.attributes, IsEmpty());
}

TEST(DecodeProtobuf, UnknownEnumeratorsAreKeptAsNumbers) {
  const std::string body = request_of({valid_span().varint(6, 99).message(15, Wire().varint(3, 77)),
                                       valid_span().varint(6, static_cast<std::uint64_t>(-5))});
  const auto request = decoded<Traces>(body);
  EXPECT_EQ(request.spans[0].kind, 99);
  EXPECT_EQ(request.spans[0].status_code, 77);
  EXPECT_EQ(request.spans[1].kind, -5);
}

TEST(DecodeProtobuf, TheReservedStatusFieldIsIgnored) {
  const std::string body = request_of({valid_span().message(15, Wire().varint(1, 2))});
  EXPECT_EQ(decoded<Traces>(body).spans[0].status_code, 0);
}

TEST(DecodeProtobuf, TimesBeyondTheModelStayInTheFuture) {
  const std::string body = request_of({valid_span().fixed64(7, 0xFFFFFFFFFFFFFFFF).fixed64(8, 1ULL << 63)});
  const auto request = decoded<Traces>(body);
  EXPECT_EQ(request.spans[0].start, std::numeric_limits<UnixNanos>::max());
  EXPECT_EQ(request.spans[0].end, std::numeric_limits<UnixNanos>::max());
}

// ---- The wire

TEST(DecodeProtobuf, UnknownFieldsOfEveryWireTypeAreSkipped) {
  Wire span = valid_span();
  span.varint(100, 5).fixed64(101, 5).bytes(102, "unknown").fixed32(103, 5).varint(536870911, 1);
  span.raw("\xE0\xC2\x09\x01");                              // field 19500, which nobody may define
  span.raw("\xA3\x06\xA8\x06\x01\xAB\x06\xAC\x06\xA4\x06");  // group 100 { 101: 1, group 101 {} }
  span.text(5, "name");
  // A known number with a wire type that it does not have is an unknown field.
  span.varint(9, 1).varint(11, 1).fixed32(7, 1).bytes(16, "abcd");
  const std::string body = request_of({span});
  const auto request = decoded<Traces>(body);
  ASSERT_THAT(request.spans, SizeIs(1));
  EXPECT_EQ(request.spans[0].name, "name");
  EXPECT_EQ(request.spans[0].attributes.count, 0U);
  EXPECT_EQ(request.spans[0].events.count, 0U);
}

TEST(DecodeProtobuf, BrokenBytesAreInvalid) {
  std::string deep_groups;
  for (int i = 0; i < 100; ++i) deep_groups += '\x0B';
  const struct {
    const char* what;
    std::string span;
  } cases[] = {
      {"length past the end", std::string("\x2A\x05"
                                          "abc",
                                          5)},
      {"length of 2^32 + 1", std::string("\x2A\x81\x80\x80\x80\x10"
                                         "a",
                                         7)},
      {"tag of 2^32 + 42", std::string("\xAA\x80\x80\x80\x10\x01"
                                       "a",
                                       7)},
      {"field number 0", std::string("\x02\x00", 2)},
      {"wire type 6", "\x0E"},
      {"wire type 7", "\x0F"},
      {"varint past the end", "\x30\x80"},
      {"varint of 11 bytes", std::string("\x30") + std::string(10, '\x80') + '\x01'},
      {"fixed64 past the end", std::string("\x39\x01\x02\x03", 4)},
      {"fixed32 past the end", std::string("\x85\x01\x02\x03", 4)},
      {"group without an end", "\x0B"},
      {"end of another group", "\x0B\x14"},
      {"end without a group", "\x0C"},
      {"groups in groups", deep_groups},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(refused(request_of({Wire().raw(c.span)})), ErrorCode::kInvalidArgument) << c.what;
  }
}

TEST(DecodeProtobuf, TheErrorNamesThePlaceAndNoPayload) {
  Traces request;
  const std::string body = request_of({Wire().text(5, "hunter2").raw("\x2A\x7F")});
  const auto result = decode_protobuf(body, {}, request);
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message(), ::testing::HasSubstr("Span"));
  EXPECT_THAT(result.error().message(), ::testing::HasSubstr("byte"));
  EXPECT_THAT(result.error().message(), Not(::testing::HasSubstr("hunter2")));
}

TEST(DecodeProtobuf, OfRepeatedScalarsTheLastWins) {
  const std::string body = request_of({valid_span().text(5, "first").varint(6, 1).text(5, "last").varint(6, 2)});
  const auto request = decoded<Traces>(body);
  EXPECT_EQ(request.spans[0].name, "last");
  EXPECT_EQ(request.spans[0].kind, 2);
}

TEST(DecodeProtobuf, SingularMessagesInPartsAreMerged) {
  Wire items;
  items.message(1, Wire().text(1, "library").attribute(3, "a", "1"));
  items.message(2, valid_span().message(15, Wire().text(2, "why")).message(15, Wire().varint(3, 2)));
  items.message(1, Wire().text(2, "1.2").attribute(3, "b", "2"));
  Wire resource;
  resource.message(1, Wire().attribute(1, "r", "1").varint(2, 5));
  resource.message(2, items);
  resource.message(1, Wire().attribute(1, "s", "2"));
  resource.message(1, Wire().attribute(1, "t", "3"));
  const std::string body = Wire().message(1, resource).data();
  const auto request = decoded<Traces>(body);
  ASSERT_THAT(request.spans, SizeIs(1));
  EXPECT_EQ(request.spans[0].status_message, "why");
  EXPECT_EQ(request.spans[0].status_code, 2);
  EXPECT_EQ(request.scopes[0].name, "library");
  EXPECT_EQ(request.scopes[0].version, "1.2");
  EXPECT_EQ(text_of(request, request.scopes[0].attributes), R"(a="1" b="2")");
  EXPECT_EQ(text_of(request, request.resources[0].attributes), R"(r="1" s="2" t="3")");
  EXPECT_EQ(request.resources[0].dropped_attributes_count, 5U);
}

TEST(DecodeProtobuf, ValuesInPartsAreMergedOrReplaced) {
  const Wire array_of_1 = Wire().message(5, Wire().message(1, Wire().varint(3, 1)));
  const Wire array_of_2 = Wire().message(5, Wire().message(1, Wire().varint(3, 2)));
  const Wire map = Wire().message(6, Wire().attribute(1, "m", "x"));
  const struct {
    std::vector<Wire> parts;
    const char* expected;
  } cases[] = {
      {{Wire().text(1, "a"), Wire().varint(3, 5)}, "5"},
      {{Wire().varint(3, 5), Wire().text(1, "a")}, "\"a\""},
      {{Wire().varint(2, 1), Wire()}, "true"},
      {{array_of_1, array_of_2}, "[1,2]"},
      {{array_of_1, array_of_2, array_of_1}, "[1,2,1]"},
      {{array_of_1, map}, R"({"m":"x"})"},
      {{array_of_1, Wire().text(1, "a"), array_of_2}, "[2]"},
      {{map, map}, R"({"m":"x"})"},
      {{Wire().text(1, "a"), Wire().varint(8, 3)}, "null"},
  };
  for (const auto& c : cases) {
    Wire separate = Wire().text(1, "k");  // one KeyValue with several values
    Wire joined;                          // one AnyValue with several members
    Wire log;                             // one record with several bodies
    for (const Wire& value : c.parts) {
      separate.message(2, value);
      joined.raw(value.data());
      log.message(5, value);
    }
    const std::string body = request_of({valid_span().message(9, separate).attribute(9, "j", joined)});
    const auto request = decoded<Traces>(body);
    EXPECT_EQ(text_of(request, request.spans[0].attributes), std::string("k=") + c.expected + " j=" + c.expected);
    const std::string log_body = request_of({log});
    const auto logs = decoded<Logs>(log_body);
    EXPECT_EQ(json_of(logs, logs.records[0].body), c.expected);
  }
}

TEST(DecodeProtobuf, MessagesInManyPartsAreBounded) {
  // Half a megabyte of array elements, each in a part of its own, over and over.
  const Wire part = Wire().message(5, Wire().message(1, Wire().text(1, std::string(512, 'x'))));
  Wire value;
  for (int i = 0; i < 10'000; ++i) value.raw(part.data());
  EXPECT_EQ(refused(request_of({valid_span().attribute(9, "k", value)})), ErrorCode::kTooLarge);
}

TEST(DecodeProtobuf, EveryTypeOfValueArrives) {
  const struct {
    Wire value;
    ValueType type;
    const char* json;
  } cases[] = {
      {Wire(), ValueType::kEmpty, "null"},
      {Wire().text(1, ""), ValueType::kString, "\"\""},
      {Wire().text(1, "text"), ValueType::kString, "\"text\""},
      {Wire().varint(2, 0), ValueType::kBool, "false"},
      {Wire().varint(2, 2), ValueType::kBool, "true"},
      {Wire().varint(3, 42), ValueType::kInt, "42"},
      {Wire().varint(3, static_cast<std::uint64_t>(-1)), ValueType::kInt, "-1"},
      {Wire().varint(3, 1ULL << 63), ValueType::kInt, "-9223372036854775808"},
      {Wire().number(4, 2.5), ValueType::kDouble, "2.5"},
      {Wire().number(4, std::nan("")), ValueType::kDouble, "\"NaN\""},
      {Wire().message(5, Wire()), ValueType::kArray, "[]"},
      {Wire().message(5, Wire().message(1, Wire()).message(1, Wire().text(1, "a")).message(1, Wire().varint(3, 1))),
       ValueType::kArray, R"([null,"a",1])"},
      {Wire().message(6, Wire()), ValueType::kMap, "{}"},
      {Wire().message(6, Wire().attribute(1, "a", Wire().message(6, Wire().attribute(1, "b", "c")))), ValueType::kMap,
       R"({"a":{"b":"c"}})"},
      {Wire().message(5, Wire()
                             .message(1, Wire().message(5, Wire().message(1, Wire().varint(3, 1))))
                             .message(1, Wire().message(6, Wire().attribute(1, "k", "v")))),
       ValueType::kArray, R"([[1],{"k":"v"}])"},
      {Wire().bytes(7, "\x01\x02\x03"), ValueType::kBytes, "\"AQID\""},
      {Wire().varint(8, 3), ValueType::kEmpty, "null"},
  };
  for (const auto& c : cases) {
    const std::string body = request_of({valid_span().attribute(9, "k", c.value).attribute(9, "end", "!")});
    const auto request = decoded<Traces>(body);
    EXPECT_EQ(request.attributes[request.spans[0].attributes.first].value.type, c.type) << c.json;
    EXPECT_EQ(text_of(request, request.spans[0].attributes), std::string("k=") + c.json + " end=\"!\"");
    const std::string log_body = request_of({Wire().message(5, c.value)});
    const auto logs = decoded<Logs>(log_body);
    EXPECT_EQ(json_of(logs, logs.records[0].body), c.json);
  }
}

TEST(DecodeProtobuf, AKeyFromTheStringTableOfProfilesIsEmpty) {
  const std::string body = request_of({valid_span().message(9, Wire().varint(3, 4).message(2, Wire().varint(3, 1)))});
  const auto request = decoded<Traces>(body);
  EXPECT_EQ(text_of(request, request.spans[0].attributes), "=1");
}

TEST(DecodeProtobuf, NestingIsBounded) {
  const auto attribute = [](int depth) { return request_of({valid_span().attribute(9, "k", nested_arrays(depth))}); };
  const auto body = [](int depth) { return request_of({Wire().message(5, nested_arrays(depth))}); };
  const std::string fits = attribute(64);
  EXPECT_THAT(decoded<Traces>(fits).spans, SizeIs(1));
  EXPECT_EQ(refused(attribute(65)), ErrorCode::kInvalidArgument);
  const std::string body_fits = body(64);
  EXPECT_THAT(decoded<Logs>(body_fits).records, SizeIs(1));
  EXPECT_EQ(refused<Logs>(body(65)), ErrorCode::kInvalidArgument);
  EXPECT_EQ(refused(attribute(2), {.nesting_max = 1}), ErrorCode::kInvalidArgument);
  EXPECT_EQ(refused(attribute(300), {.nesting_max = 1'000'000}), ErrorCode::kInvalidArgument);
}

// ---- Limits and repairs of lists

TEST(DecodeProtobuf, OfDuplicateKeysTheLastWinsAndIsCounted) {
  Wire span = valid_span();
  span.attribute(9, "a", "1").attribute(9, "b", "2").attribute(9, "a", "3").attribute(9, "c", "4");
  span.attribute(9, "a", Wire().message(5, Wire().message(1, Wire().varint(3, 5)))).attribute(9, "b", "6");
  span.attribute(9, "m", Wire().message(6, Wire().attribute(1, "x", "1").attribute(1, "x", "2")));
  const std::string body = request_of({span});
  const auto request = decoded<Traces>(body);
  EXPECT_EQ(text_of(request, request.spans[0].attributes), R"(a=[5] b="6" c="4" m={"x":"2"})");
  EXPECT_EQ(request.duplicate_attributes, 4);
}

TEST(DecodeProtobuf, KeysThatDifferAnywhereAreNotDuplicates) {
  // Same length, same beginning, same end.
  Wire span = valid_span();
  for (const std::string_view key : {"", "a", "b", "aa", "ab", "aab", "abb", "aaaabaaaa", "aaaacaaaa",
                                     "long.prefix.x.long.suffix", "long.prefix.y.long.suffix"}) {
    span.attribute(9, key, key);
  }
  const std::string body = request_of({span});
  const auto request = decoded<Traces>(body);
  EXPECT_EQ(request.spans[0].attributes.count, 11U);
  EXPECT_EQ(request.duplicate_attributes, 0);
}

TEST(DecodeProtobuf, DuplicatesAreFoundInListsOfAnyLength) {
  for (const int count : {2, 31, 32, 33, 255, 256, 257, 1000}) {
    Wire span = valid_span();
    for (int i = 0; i < count; ++i) span.attribute(9, "key." + std::to_string(i), Wire().varint(3, 1));
    span.attribute(9, "key.0", Wire().varint(3, 2))
        .attribute(9, "key." + std::to_string(count - 1), Wire().varint(3, 3));
    const std::string body = request_of({span});
    const auto request = decoded<Traces>(body, {.attributes_max = 10'000});
    ASSERT_EQ(request.spans[0].attributes.count, static_cast<std::uint32_t>(count));
    EXPECT_EQ(request.duplicate_attributes, 2);
    const Attribute* const first = &request.attributes[request.spans[0].attributes.first];
    EXPECT_EQ(first->key, "key.0");
    EXPECT_EQ(first->value.integer, 2);
    EXPECT_EQ(first[count - 1].value.integer, 3);
  }
}

TEST(DecodeProtobuf, AttributesBeyondTheLimitAreCutAndCountedAsDropped) {
  Wire span = valid_span();
  Wire event;
  Wire resource;
  for (int i = 0; i < 130; ++i) {
    span.attribute(9, "key." + std::to_string(i), "v");
    event.attribute(3, "key." + std::to_string(i), "v");
    resource.attribute(1, "key." + std::to_string(i), "v");
  }
  span.varint(10, 5).message(11, event);
  const std::string body = Wire().message(1, Wire().message(1, resource).message(2, Wire().message(2, span))).data();
  const auto request = decoded<Traces>(body);
  EXPECT_EQ(request.spans[0].attributes.count, 128U);
  EXPECT_EQ(request.spans[0].dropped_attributes_count, 7U);
  EXPECT_EQ(request.events[0].dropped_attributes_count, 2U);
  EXPECT_EQ(request.resources[0].dropped_attributes_count, 2U);
  EXPECT_EQ(request.truncated_attributes, 6);
  EXPECT_EQ(request.attributes[request.spans[0].attributes.first + 127].key, "key.127");
}

TEST(DecodeProtobuf, DroppedCountsDoNotOverflow) {
  const std::string body =
      request_of({valid_span().attribute(9, "a", "1").attribute(9, "b", "2").varint(10, 0xFFFFFFFF)});
  EXPECT_EQ(decoded<Traces>(body, {.attributes_max = 1}).spans[0].dropped_attributes_count, 0xFFFFFFFF);
}

TEST(DecodeProtobuf, LongStringsAreCutAtACharacterBorder) {
  const struct {
    const char* what;
    std::string sent;
    std::string kept;
  } cases[] = {
      {"fits", "12345678", "12345678"},
      {"ASCII", "123456789", "12345678"},
      {"two bytes across", "1234567\xC3\xA9", "1234567"},
      {"four bytes across", "12345\xF0\x9F\x98\x80", "12345"},
      {"ends in time",
       "123456\xC3\xA9"
       "9",
       "123456\xC3\xA9"},
      {"no character at all", std::string(12, '\x80'), std::string(5, '\x80')},
  };
  for (const auto& c : cases) {
    const std::string body = request_of({valid_span().text(5, c.sent).attribute(9, c.sent, c.sent)});
    const auto request = decoded<Traces>(body, {.string_bytes_max = 8});
    EXPECT_EQ(request.spans[0].name, c.kept) << c.what;
    const Attribute& attribute = request.attributes[request.spans[0].attributes.first];
    EXPECT_EQ(attribute.key, c.kept) << c.what;
    EXPECT_EQ(attribute.value.text(), c.kept) << c.what;
    // The resource brings "service.name", which is too long as well.
    EXPECT_EQ(request.truncated_strings, c.sent == c.kept ? 1 : 4) << c.what;
  }
  const std::string body = request_of({valid_span().attribute(9, "b", Wire().bytes(7, "1234567\xC3\xA9"))});
  const auto request = decoded<Traces>(body, {.string_bytes_max = 8});
  EXPECT_EQ(request.attributes[request.spans[0].attributes.first].value.text(), "1234567\xC3")
      << "bytes have no characters";
}

TEST(DecodeProtobuf, TooManyItemsAreTooLarge) {
  const std::string two = request_of({valid_span(), Wire()});
  EXPECT_THAT(decoded<Traces>(two, {.items_max = 2}).spans, SizeIs(1));
  EXPECT_EQ(refused(two, {.items_max = 1}), ErrorCode::kTooLarge) << "refused items count as well";
  EXPECT_EQ(
      refused(request_of({valid_span().message(11, Wire()).message(13, Wire()).message(11, Wire())}), {.items_max = 2}),
      ErrorCode::kTooLarge)
      << "so do events and links";
  EXPECT_EQ(refused<Logs>(request_of({Wire(), Wire()}), {.items_max = 1}), ErrorCode::kTooLarge);
  Wire values;
  for (int i = 0; i < 20; ++i) values.message(1, Wire());
  EXPECT_EQ(refused(request_of({valid_span().attribute(9, "k", Wire().message(5, values))}), {.items_max = 2}),
            ErrorCode::kTooLarge);
}

TEST(DecodeProtobuf, ARequestIsEmptiedBeforeItIsUsedAgain) {
  Traces request;
  const std::string first = request_of({valid_span().attribute(9, "a", "1").attribute(9, "a", "1"), Wire()});
  ASSERT_TRUE(decode_protobuf(first, {}, request));
  EXPECT_EQ(request.rejections.count, 1);
  ASSERT_TRUE(decode_protobuf(first, {}, request));
  EXPECT_THAT(request.spans, SizeIs(1));
  EXPECT_EQ(request.rejections.count, 1);
  EXPECT_EQ(request.duplicate_attributes, 1);
  ASSERT_TRUE(decode_protobuf({}, {}, request));
  EXPECT_THAT(request.spans, IsEmpty());
  EXPECT_EQ(request.rejections.count, 0);
  EXPECT_THAT(request.rejections.first_reason, IsEmpty());
}

// ---- Logs

TEST(DecodeProtobuf, EveryFieldOfALogRecordArrives) {
  Wire record;
  record.fixed64(1, 1000).varint(2, 17).text(3, "Error").attribute(6, "k", "v").varint(7, 3).fixed32(8, 0xFFFFFF01);
  record.message(5, Wire().message(6, Wire().attribute(1, "message", "hello")));
  record.bytes(9, kTraceId).bytes(10, kSpanId).fixed64(11, 2000).text(12, "user.login").text(4, "old name");
  const std::string body = request_of({record});
  const auto request = decoded<Logs>(body);
  ASSERT_THAT(request.records, SizeIs(1));
  const LogRecord& r = request.records[0];
  EXPECT_EQ(r.time, 1000);
  EXPECT_EQ(r.observed_time, 2000);
  EXPECT_EQ(r.severity_number, 17);
  EXPECT_EQ(r.severity_text, "Error");
  EXPECT_EQ(json_of(request, r.body), R"({"message":"hello"})");
  EXPECT_EQ(text_of(request, r.attributes), R"(k="v")");
  EXPECT_EQ(r.dropped_attributes_count, 3U);
  EXPECT_EQ(r.flags, 1U) << "only the trace flags are kept";
  EXPECT_EQ(r.trace_id, kTraceId);
  EXPECT_EQ(r.span_id, kSpanId);
  EXPECT_EQ(r.event_name, "user.login");
  EXPECT_EQ(request.resources.size(), 1U);
}

TEST(DecodeProtobuf, ALogRecordWithInvalidIdsLosesOnlyTheAssociation) {
  const std::string body = request_of({Wire().text(3, "a").bytes(9, "short").bytes(10, kSpanId),
                                       Wire().text(3, "b").bytes(9, kTraceId).bytes(10, std::string(8, '\0')), Wire()});
  const auto request = decoded<Logs>(body);
  EXPECT_EQ(request.rejections.count, 0);
  ASSERT_THAT(request.records, SizeIs(3));
  EXPECT_THAT(request.records[0].trace_id, IsEmpty());
  EXPECT_EQ(request.records[1].trace_id, kTraceId);
  EXPECT_THAT(request.records[1].span_id, IsEmpty());
}

// ---- Metrics

Wire metric(std::uint32_t member, const Wire& data) { return Wire().text(1, "m").message(member, data); }
Wire cumulative(const Wire& point) { return Wire().message(1, point).varint(2, 2); }
Wire at_1000() { return Wire().fixed64(3, 1000); }

TEST(DecodeProtobuf, EveryFieldOfANumberPointArrives) {
  Wire exemplar;
  exemplar.fixed64(2, 900).number(3, 1.5).bytes(4, kSpanId).bytes(5, kTraceId).attribute(7, "user", "u1");
  Wire point;
  point.fixed64(2, 500).fixed64(3, 1000).number(4, 2.5).message(5, exemplar).attribute(7, "k", "v").varint(8, 2);
  Wire data;
  data.message(1, point).message(1, at_1000().fixed64(6, static_cast<std::uint64_t>(-7)));
  data.varint(2, 2).varint(3, 1);
  Wire sum;
  sum.text(1, "requests").text(2, "Requests served").text(3, "1").message(7, data).attribute(12, "origin", "sdk");
  const std::string body = request_of({sum, metric(5, Wire().message(1, at_1000().number(4, 1)))});
  const auto request = decoded<Metrics>(body);
  ASSERT_THAT(request.metrics, SizeIs(2));
  const Metric& m = request.metrics[0];
  EXPECT_EQ(m.name, "requests");
  EXPECT_EQ(m.description, "Requests served");
  EXPECT_EQ(m.unit, "1");
  EXPECT_EQ(m.type, MetricType::kSum);
  EXPECT_EQ(m.temporality, Temporality::kCumulative);
  EXPECT_TRUE(m.is_monotonic);
  EXPECT_EQ(text_of(request, m.metadata), R"(origin="sdk")");
  EXPECT_EQ(request.metrics[1].type, MetricType::kGauge);
  ASSERT_THAT(request.number_points, SizeIs(3));
  const NumberPoint& p = request.number_points[0];
  EXPECT_EQ(p.metric, 0U);
  EXPECT_EQ(p.start, 500);
  EXPECT_EQ(p.time, 1000);
  EXPECT_FALSE(p.is_int);
  EXPECT_EQ(p.number, 2.5);
  EXPECT_EQ(p.flags, 2U);
  EXPECT_EQ(text_of(request, p.attributes), R"(k="v")");
  ASSERT_EQ(p.exemplars.count, 1U);
  const Exemplar& e = request.exemplars[p.exemplars.first];
  EXPECT_EQ(e.time, 900);
  EXPECT_EQ(e.value, 1.5);
  EXPECT_EQ(e.span_id, kSpanId);
  EXPECT_EQ(e.trace_id, kTraceId);
  EXPECT_EQ(text_of(request, e.filtered_attributes), R"(user="u1")");
  EXPECT_TRUE(request.number_points[1].is_int);
  EXPECT_EQ(request.number_points[1].integer, -7);
  EXPECT_EQ(request.number_points[2].metric, 1U);
}

TEST(DecodeProtobuf, EveryFieldOfAHistogramPointArrives) {
  Wire point;
  point.fixed64(2, 500).fixed64(3, 1000).fixed64(4, 6).number(5, 12.5).varint(10, 4).number(11, 0.5).number(12, 9);
  point.raw(std::string("\x32\x10", 2)).raw(std::string("\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0", 16));  // packed
  point.fixed64(6, 3);                                                                                 // not packed
  point.number(7, 1).number(7, 5).attribute(9, "k", "v").message(8, Wire().fixed64(6, 4));
  const std::string body = request_of({metric(9, Wire().message(1, point).varint(2, 1))});
  const auto request = decoded<Metrics>(body);
  EXPECT_EQ(request.rejections.first_reason, "");
  ASSERT_THAT(request.histogram_points, SizeIs(1));
  const HistogramPoint& p = request.histogram_points[0];
  EXPECT_EQ(p.start, 500);
  EXPECT_EQ(p.time, 1000);
  EXPECT_EQ(p.count, 6U);
  EXPECT_TRUE(p.has_sum && p.has_min && p.has_max);
  EXPECT_EQ(p.sum, 12.5);
  EXPECT_EQ(p.min, 0.5);
  EXPECT_EQ(p.max, 9);
  EXPECT_EQ(p.flags, 4U);
  EXPECT_THAT(part(request.integers, p.bucket_counts), ElementsAre(1, 2, 3));
  EXPECT_THAT(part(request.doubles, p.bounds), ElementsAre(1, 5));
  EXPECT_EQ(text_of(request, p.attributes), R"(k="v")");
  ASSERT_EQ(p.exemplars.count, 1U);
  EXPECT_EQ(request.exemplars[0].value, 4);
  EXPECT_EQ(request.metrics[0].temporality, Temporality::kDelta);
}

TEST(DecodeProtobuf, AbsentSumMinAndMaxAreNotInvented) {
  const std::string body =
      request_of({metric(9, cumulative(at_1000().fixed64(4, 6))), metric(10, cumulative(at_1000()))});
  const auto request = decoded<Metrics>(body);
  ASSERT_THAT(request.histogram_points, SizeIs(1));
  ASSERT_THAT(request.exponential_histogram_points, SizeIs(1));
  const HistogramPoint& h = request.histogram_points[0];
  EXPECT_FALSE(h.has_sum || h.has_min || h.has_max);
  EXPECT_EQ(h.bucket_counts.count, 0U);
  const ExponentialHistogramPoint& e = request.exponential_histogram_points[0];
  EXPECT_FALSE(e.has_sum || e.has_min || e.has_max);
}

TEST(DecodeProtobuf, EveryFieldOfAnExponentialHistogramPointArrives) {
  Wire point;
  point.attribute(1, "k", "v").fixed64(2, 500).fixed64(3, 1000).fixed64(4, 21).number(5, 12.5).zigzag(6, -3);
  point.fixed64(7, 1).varint(10, 4).message(11, Wire().number(3, 2)).number(12, -9).number(13, 9).number(14, 0.25);
  point.message(8, Wire().zigzag(1, 2).bytes(2, "\x02\x03"));        // packed
  point.message(9, Wire().zigzag(1, -2).varint(2, 4).varint(2, 5));  // not packed
  point.message(8, Wire().varint(2, 6));                             // the rest of `positive`
  const std::string body = request_of({metric(10, cumulative(point))});
  const auto request = decoded<Metrics>(body);
  EXPECT_EQ(request.rejections.first_reason, "");
  ASSERT_THAT(request.exponential_histogram_points, SizeIs(1));
  const ExponentialHistogramPoint& p = request.exponential_histogram_points[0];
  EXPECT_EQ(p.start, 500);
  EXPECT_EQ(p.time, 1000);
  EXPECT_EQ(p.count, 21U);
  EXPECT_EQ(p.sum, 12.5);
  EXPECT_EQ(p.min, -9);
  EXPECT_EQ(p.max, 9);
  EXPECT_TRUE(p.has_sum && p.has_min && p.has_max);
  EXPECT_EQ(p.scale, -3);
  EXPECT_EQ(p.zero_count, 1U);
  EXPECT_EQ(p.zero_threshold, 0.25);
  EXPECT_EQ(p.positive_offset, 2);
  EXPECT_THAT(part(request.integers, p.positive_counts), ElementsAre(2, 3, 6));
  EXPECT_EQ(p.negative_offset, -2);
  EXPECT_THAT(part(request.integers, p.negative_counts), ElementsAre(4, 5));
  EXPECT_EQ(p.flags, 4U);
  EXPECT_EQ(p.exemplars.count, 1U);
  EXPECT_EQ(text_of(request, p.attributes), R"(k="v")");
}

TEST(DecodeProtobuf, EveryFieldOfASummaryPointArrives) {
  Wire point;
  point.fixed64(2, 500).fixed64(3, 1000).fixed64(4, 6).number(5, 12.5).attribute(7, "k", "v").varint(8, 4);
  point.message(6, Wire().number(1, 0).number(2, 1)).message(6, Wire().number(1, 1).number(2, 9));
  const std::string body = request_of({metric(11, Wire().message(1, point))});
  const auto request = decoded<Metrics>(body);
  ASSERT_THAT(request.summary_points, SizeIs(1));
  const SummaryPoint& p = request.summary_points[0];
  EXPECT_EQ(p.start, 500);
  EXPECT_EQ(p.time, 1000);
  EXPECT_EQ(p.count, 6U);
  EXPECT_EQ(p.sum, 12.5);
  EXPECT_EQ(p.flags, 4U);
  EXPECT_THAT(part(request.doubles, p.quantiles), ElementsAre(0, 1, 1, 9));
  EXPECT_EQ(text_of(request, p.attributes), R"(k="v")");
  EXPECT_EQ(request.metrics[0].temporality, Temporality::kUnspecified);
}

TEST(DecodeProtobuf, OfSeveralDataMembersTheLastWins) {
  const Wire gauge = Wire().message(1, at_1000().number(4, 1));
  const Wire sum = cumulative(at_1000().number(4, 2));
  const std::string body = request_of(
      {Wire().message(5, gauge).message(7, sum), Wire().message(7, sum).message(5, gauge).message(5, gauge)});
  const auto request = decoded<Metrics>(body);
  ASSERT_THAT(request.metrics, SizeIs(2));
  EXPECT_EQ(request.metrics[0].type, MetricType::kSum);
  EXPECT_EQ(request.metrics[1].type, MetricType::kGauge);
  EXPECT_THAT(request.number_points, SizeIs(3)) << "two gauges are one in two parts";
}

TEST(DecodeProtobuf, OfSeveralValuesOfAPointTheLastWins) {
  const std::string body = request_of({metric(
      5,
      Wire().message(1, at_1000().number(4, 1.5).fixed64(6, 2)).message(1, at_1000().fixed64(6, 2).number(4, 1.5)))});
  const auto request = decoded<Metrics>(body);
  ASSERT_THAT(request.number_points, SizeIs(2));
  EXPECT_TRUE(request.number_points[0].is_int);
  EXPECT_EQ(request.number_points[0].integer, 2);
  EXPECT_EQ(request.number_points[0].number, 0);
  EXPECT_FALSE(request.number_points[1].is_int);
  EXPECT_EQ(request.number_points[1].number, 1.5);
}

TEST(DecodeProtobuf, ExemplarsWithoutValueAreLeftOutAndWithoutIdsAreKept) {
  Wire point = at_1000().number(4, 1);
  point.message(5, Wire().fixed64(2, 1).attribute(7, "gone", "x"));
  point.message(5, Wire().fixed64(2, 2).number(3, 7).bytes(4, "short").bytes(5, std::string(16, '\0')));
  const std::string body = request_of({metric(5, Wire().message(1, point))});
  const auto request = decoded<Metrics>(body);
  EXPECT_EQ(request.rejections.count, 0);
  ASSERT_THAT(request.exemplars, SizeIs(1));
  EXPECT_EQ(request.exemplars[0].value, 7);
  EXPECT_THAT(request.exemplars[0].trace_id, IsEmpty());
  EXPECT_THAT(request.exemplars[0].span_id, IsEmpty());
  EXPECT_THAT(request.attributes, SizeIs(1)) << "of the resource";
}

struct PointCase {
  const char* what;
  std::uint32_t member;
  Wire data;
  int kept;
  int refused;
};

Wire histogram(std::uint64_t count, const std::vector<std::uint64_t>& buckets, const std::vector<double>& bounds) {
  Wire point = at_1000().fixed64(4, count);
  for (const std::uint64_t bucket : buckets) point.fixed64(6, bucket);
  for (const double bound : bounds) point.number(7, bound);
  return cumulative(point);
}

Wire exponential(std::uint64_t count, std::int32_t scale, std::int32_t offset, std::uint64_t in_bucket,
                 std::int32_t negative_offset = 0) {
  Wire point = at_1000().fixed64(4, count).zigzag(6, scale);
  point.message(8, Wire().zigzag(1, offset).varint(2, in_bucket));
  if (negative_offset != 0) point.message(9, Wire().zigzag(1, negative_offset).varint(2, 0));
  return cumulative(point);
}

Wire summary(const std::vector<double>& quantiles) {
  Wire point = at_1000();
  for (const double quantile : quantiles) point.message(6, Wire().number(1, quantile).number(2, 1));
  return Wire().message(1, point);
}

TEST(DecodeProtobuf, InvalidPointsAreRefusedOneByOne) {
  constexpr std::uint32_t kGauge = 5, kSum = 7, kHistogram = 9, kExponential = 10, kSummary = 11;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Wire number = at_1000().number(4, 1);
  const PointCase cases[] = {
      {"gauge", kGauge, Wire().message(1, number), 1, 0},
      {"gauge without time", kGauge, Wire().message(1, Wire().number(4, 1)), 0, 1},
      {"gauge without value", kGauge, Wire().message(1, at_1000()), 0, 1},
      {"stale marker without value", kGauge, Wire().message(1, at_1000().varint(8, 1)), 1, 0},
      {"stale marker without time", kGauge, Wire().message(1, Wire().varint(8, 1)), 0, 1},
      {"one good, one bad", kGauge, Wire().message(1, number).message(1, at_1000()), 1, 1},
      {"sum", kSum, Wire().message(1, number).varint(2, 1), 1, 0},
      {"sum without temporality", kSum, Wire().message(1, number).message(1, number), 0, 2},
      {"sum of temporality 0", kSum, Wire().message(1, number).varint(2, 0), 0, 1},
      {"sum of an unknown temporality", kSum, Wire().message(1, number).varint(2, 3), 1, 0},
      {"sum of an absurd temporality", kSum, Wire().message(1, number).varint(2, 256), 0, 1},
      {"sum, last temporality wins", kSum, Wire().varint(2, 0).message(1, number).varint(2, 2), 1, 0},
      {"histogram", kHistogram, histogram(6, {1, 2, 3}, {1, 2}), 1, 0},
      {"histogram without temporality", kHistogram, Wire().message(1, at_1000()), 0, 1},
      {"histogram without time", kHistogram, cumulative(Wire().fixed64(4, 1)), 0, 1},
      {"histogram of one bucket", kHistogram, histogram(6, {6}, {}), 1, 0},
      {"histogram of count alone", kHistogram, histogram(6, {}, {}), 1, 0},
      {"as many bounds as buckets", kHistogram, histogram(6, {1, 5}, {1, 2}), 0, 1},
      {"bounds without buckets", kHistogram, histogram(0, {}, {1}), 0, 1},
      {"two buckets too many", kHistogram, histogram(6, {1, 2, 3}, {}), 0, 1},
      {"equal bounds", kHistogram, histogram(6, {1, 2, 3}, {1, 1}), 0, 1},
      {"falling bounds", kHistogram, histogram(6, {1, 2, 3}, {2, 1}), 0, 1},
      {"a bound that is no number", kHistogram, histogram(3, {1, 2}, {nan}), 0, 1},
      {"a second bound that is no number", kHistogram, histogram(6, {1, 2, 3}, {1, nan}), 0, 1},
      {"infinite last bound", kHistogram, histogram(6, {1, 2, 3}, {1, std::numeric_limits<double>::infinity()}), 1, 0},
      {"count too small", kHistogram, histogram(5, {1, 2, 3}, {1, 2}), 0, 1},
      {"sum of buckets overflows to count", kHistogram, histogram(1, {1ULL << 63, 1ULL << 63, 1}, {1, 2}), 0, 1},
      {"stale histogram of any shape", kHistogram, cumulative(at_1000().number(7, 1).varint(10, 1)), 1, 0},
      {"exponential", kExponential, exponential(3, 0, 1, 3), 1, 0},
      {"exponential without temporality", kExponential, Wire().message(1, at_1000()), 0, 1},
      {"exponential without time", kExponential, cumulative(Wire()), 0, 1},
      {"exponential with a wrong count", kExponential, exponential(4, 0, 1, 3), 0, 1},
      {"exponential, zero bucket counts", kExponential, cumulative(at_1000().fixed64(4, 2).fixed64(7, 2)), 1, 0},
      {"exponential whose sum overflows", kExponential,
       cumulative(at_1000().fixed64(4, 0).fixed64(7, 1).message(8, Wire().varint(2, 0xFFFFFFFFFFFFFFFF))), 0, 1},
      {"largest bucket of scale 0", kExponential, exponential(1, 0, 1023, 1), 1, 0},
      {"first bucket too large for scale 0", kExponential, exponential(1, 0, 1024, 1), 0, 1},
      {"largest bucket of scale 20", kExponential, exponential(1, 20, (1024 << 20) - 1, 1), 1, 0},
      {"first bucket too large for scale 20", kExponential, exponential(1, 20, 1024 << 20, 1), 0, 1},
      {"scale 31 reaches nowhere", kExponential, exponential(1, 31, 0x7FFFFFFF, 1), 1, 0},
      {"scale beyond all shifts", kExponential, exponential(1, 0x7FFFFFFF, 0x7FFFFFFF, 1), 1, 0},
      {"upper bucket of scale -10", kExponential, exponential(1, -10, 0, 1), 1, 0},
      {"bucket too large for scale -10", kExponential, exponential(1, -10, 1, 1), 0, 1},
      {"scale -11", kExponential, exponential(1, -11, 0, 1), 0, 1},
      {"scale -11, small values", kExponential, exponential(1, -11, -1, 1), 1, 0},
      {"scale of the smallest integer", kExponential, exponential(1, std::numeric_limits<std::int32_t>::min(), 0, 1), 0,
       1},
      {"negative bucket too large", kExponential, exponential(1, 0, 1, 1, 1024), 0, 1},
      {"summary", kSummary, summary({0, 0.5, 1}), 1, 0},
      {"summary without time", kSummary, Wire().message(1, Wire().fixed64(4, 1)), 0, 1},
      {"summary without quantiles", kSummary, summary({}), 1, 0},
      {"quantile above 1", kSummary, summary({1.01}), 0, 1},
      {"quantile below 0", kSummary, summary({-0.01}), 0, 1},
      {"quantile that is no number", kSummary, summary({nan}), 0, 1},
      {"equal quantiles", kSummary, summary({0.5, 0.5}), 0, 1},
      {"falling quantiles", kSummary, summary({0.9, 0.5}), 0, 1},
      {"unknown data", 13, Wire().message(1, number), 0, 0},
  };
  for (const PointCase& c : cases) {
    const std::string body = request_of({metric(c.member, c.data), metric(5, Wire().message(1, number))});
    const auto request = decoded<Metrics>(body);
    const std::size_t points = request.number_points.size() + request.histogram_points.size() +
                               request.exponential_histogram_points.size() + request.summary_points.size();
    EXPECT_EQ(points, static_cast<std::size_t>(c.kept) + 1) << c.what;
    EXPECT_EQ(request.rejections.count, c.refused) << c.what;
    EXPECT_EQ(request.rejections.first_reason.empty(), c.refused == 0) << c.what;
    EXPECT_EQ(request.metrics.size(), c.kept > 0 ? 2U : 1U) << c.what << ": a metric without points is left out";
    EXPECT_EQ(request.number_points.back().metric, request.metrics.size() - 1) << c.what;
    if (c.kept == 0) {
      EXPECT_THAT(request.integers, IsEmpty()) << c.what;
      EXPECT_THAT(request.doubles, IsEmpty()) << c.what;
    }
  }
}

TEST(DecodeProtobuf, ValuesOfAStaleMarkerAreIgnored) {
  const std::string body =
      request_of({metric(5, Wire().message(1, at_1000().number(4, 7).varint(8, 1))),
                  metric(9, cumulative(at_1000().fixed64(4, 9).number(5, 1).fixed64(6, 2).varint(10, 1))),
                  metric(10, cumulative(at_1000().fixed64(4, 9).number(5, 1).fixed64(7, 2).varint(10, 1))),
                  metric(11, Wire().message(1, at_1000().fixed64(4, 9).number(5, 1).varint(8, 1)))});
  const auto request = decoded<Metrics>(body);
  EXPECT_EQ(request.rejections.count, 0);
  EXPECT_EQ(request.number_points.at(0).number, 0);
  EXPECT_EQ(request.histogram_points.at(0).count, 0U);
  EXPECT_FALSE(request.histogram_points[0].has_sum);
  EXPECT_EQ(request.histogram_points[0].bucket_counts.count, 0U);
  EXPECT_EQ(request.exponential_histogram_points.at(0).count, 0U);
  EXPECT_EQ(request.summary_points.at(0).count, 0U);
}

TEST(DecodeProtobuf, PackedNumbersThatDoNotFillTheirFieldAreInvalid) {
  EXPECT_EQ(refused<Metrics>(request_of({metric(9, cumulative(at_1000().bytes(6, "1234567")))})),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(refused<Metrics>(request_of({metric(10, cumulative(at_1000().message(8, Wire().bytes(2, "\x80"))))})),
            ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace fettle::otlp
