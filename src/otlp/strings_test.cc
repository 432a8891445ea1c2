#include "otlp/strings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "core/json.h"
#include "otlp/decode.h"
#include "otlp/encode.h"
#include "otlp/to_protobuf_for_test.h"
#include "otlp/wire_for_test.h"

namespace fettle::otlp {
namespace {

using ::testing::ElementsAre;
using testing::kSpanId;
using testing::kTraceId;
using testing::to_protobuf;
using ::testing::UnorderedElementsAreArray;
using testing::Wire;

// Writes messages whose every string is a different one, "s0", "s1", …, so that a missing visit shows.
class Numbered {
 public:
  std::string next() {
    all_.push_back("s" + std::to_string(all_.size()));
    return all_.back();
  }
  const std::vector<std::string>& all() const { return all_; }

  // Attributes of every shape that can hold strings. Bytes are not among them.
  void attributes(Wire& out, std::uint32_t field) {
    out.attribute(field, next(), next());
    out.attribute(field, next(), Wire().varint(3, 1));
    out.attribute(field, next(), nested());
  }
  Wire nested() {
    const Wire map = Wire().message(6, Wire().attribute(1, next(), next()).attribute(1, next(), list()));
    return Wire().message(5, Wire().message(1, Wire().text(1, next())).message(1, list()).message(1, map));
  }
  Wire list() { return Wire().message(5, Wire().message(1, Wire().text(1, next())).message(1, Wire().varint(3, 1))); }

  std::string envelope(const std::vector<Wire>& items) {
    Wire resource;
    attributes(resource, 1);
    resource.message(3, Wire().text(1, next()).text(2, next()).text(3, next()).text(4, next()));
    Wire scope;
    scope.text(1, next()).text(2, next());
    attributes(scope, 3);
    Wire scope_items;
    scope_items.message(1, scope).text(3, next());
    for (const Wire& item : items) scope_items.message(2, item);
    return Wire().message(1, Wire().message(1, resource).message(2, scope_items).text(3, next())).data();
  }

 private:
  std::vector<std::string> all_;
};

std::string traces_body(Numbered& strings) {
  std::vector<Wire> spans;
  for (int i = 0; i < 3; ++i) {
    Wire event;
    event.text(2, strings.next());
    strings.attributes(event, 3);
    Wire link;
    link.text(3, strings.next());
    strings.attributes(link, 4);
    Wire span = testing::valid_span();
    span.text(3, strings.next()).text(5, strings.next()).message(15, Wire().text(2, strings.next()));
    strings.attributes(span, 9);
    spans.push_back(span.message(11, event).message(13, link));
  }
  return strings.envelope(spans);
}

std::string logs_body(Numbered& strings) {
  std::vector<Wire> records;
  for (const bool structured : {false, true}) {
    Wire record;
    record.text(3, strings.next()).text(12, strings.next());
    strings.attributes(record, 6);
    records.push_back(record.message(5, structured ? strings.nested() : Wire().text(1, strings.next())));
  }
  records.push_back(Wire().message(5, Wire().message(6, Wire().attribute(1, strings.next(), strings.next()))));
  return strings.envelope(records);
}

std::string metrics_body(Numbered& strings) {
  std::vector<Wire> metrics;
  const struct {
    std::uint32_t member, attributes, exemplars;  // field numbers; a summary has no exemplars
  } kinds[] = {{5, 7, 5}, {7, 7, 5}, {9, 9, 8}, {10, 1, 11}, {11, 7, 0}};
  for (const auto& kind : kinds) {
    Wire point;
    point.fixed64(3, 1);
    if (kind.member == 5 || kind.member == 7) point.number(4, 1);
    strings.attributes(point, kind.attributes);
    if (kind.exemplars != 0) {
      Wire exemplar;
      exemplar.number(3, 1);
      strings.attributes(exemplar, 7);
      point.message(kind.exemplars, exemplar);
    }
    Wire metric;
    metric.text(1, strings.next()).text(2, strings.next()).text(3, strings.next());
    strings.attributes(metric, 12);
    metrics.push_back(metric.message(kind.member, Wire().message(1, point).varint(2, 2)));
  }
  return strings.envelope(metrics);
}

template <class Request>
void expect_every_string_once(std::string (*body_of)(Numbered&)) {
  Numbered strings;
  const std::string body = body_of(strings);
  Request request;
  ASSERT_TRUE(decode_protobuf(body, {}, request));
  ASSERT_EQ(request.rejections.first_reason, "");
  std::vector<std::string> visited;
  for_each_string(request, [&](std::string_view& text, std::string_view) {
    if (!text.empty()) visited.emplace_back(text);
  });
  EXPECT_THAT(visited, UnorderedElementsAreArray(strings.all()));

  // Replaced in place, everywhere: nothing of the old strings is left in what would be written.
  for_each_string(request, [&](std::string_view& text, std::string_view) {
    if (!text.empty()) text = request.keep(std::string(text.size(), '*'));
  });
  const std::string written = to_protobuf(request);
  for (const std::string& text : strings.all()) EXPECT_EQ(written.find(text), std::string::npos) << text;
}

TEST(ForEachString, VisitsEveryStringOfTracesOnce) { expect_every_string_once<Traces>(traces_body); }
TEST(ForEachString, VisitsEveryStringOfLogsOnce) { expect_every_string_once<Logs>(logs_body); }

TEST(ForEachString, VisitsEveryStringOfMetricsOnce) { expect_every_string_once<Metrics>(metrics_body); }

TEST(ForEachString, TellsTheKeyEachValueBelongsTo) {
  Wire list;
  list.message(1, Wire().text(1, "in the list"));
  list.message(1, Wire().message(6, Wire().attribute(1, "inner", "in the map")));
  list.message(1, Wire().message(5, Wire().message(1, Wire().text(1, "in two lists"))));
  const std::string body = testing::request_of({testing::valid_span()
                                                    .text(5, "name")
                                                    .attribute(9, "plain", "value")
                                                    .attribute(9, "list", Wire().message(5, list))});
  Traces request;
  ASSERT_TRUE(decode_protobuf(body, {}, request));
  std::map<std::string, std::string> keys;
  for_each_string(request, [&](std::string_view& text, std::string_view key) { keys[std::string(text)] = key; });
  keys.erase("");
  EXPECT_EQ(keys, (std::map<std::string, std::string>{{"name", ""},
                                                      {"plain", ""},
                                                      {"value", "plain"},
                                                      {"list", ""},
                                                      {"in the list", "list"},
                                                      {"in two lists", "list"},
                                                      {"inner", ""},
                                                      {"in the map", "inner"},
                                                      {"service.name", ""},
                                                      {"shop", "service.name"},
                                                      {"library", ""},
                                                      {"1.2", ""}}));
}

TEST(ForEachString, AValueIsVisitedBeforeItsKeyIsReplaced) {
  const std::string body = testing::request_of({testing::valid_span().attribute(9, "password", "hunter2")});
  Traces request;
  ASSERT_TRUE(decode_protobuf(body, {}, request));
  bool seen = false;
  for_each_string(request, [&](std::string_view& text, std::string_view key) {
    if (key == "password") seen = text == "hunter2";
    if (key.empty()) text = request.keep("replaced");
  });
  EXPECT_TRUE(seen);
}

TEST(ForEachString, IncludesATraceIdKeptAsText) {
  Logs request;
  request.records.emplace_back().foreign_trace_id = "abc-123";
  std::vector<std::string> visited;
  for_each_string(request, [&](std::string_view& text, std::string_view) {
    if (!text.empty()) visited.emplace_back(text);
  });
  EXPECT_THAT(visited, ElementsAre("abc-123"));
}

TEST(ForEachBytes, VisitsBytesValuesAloneAndCanReplaceThem) {
  Wire list;
  list.message(1, Wire().bytes(7, "b1")).message(1, Wire().message(6, Wire().attribute(1, "m", Wire().bytes(7, "b2"))));
  Wire record;
  record.message(5, Wire().message(5, list)).attribute(6, "k", Wire().bytes(7, "b3")).attribute(6, "t", "text");
  const std::string body = testing::request_of({record, Wire().message(5, Wire().bytes(7, "b4"))});
  Logs request;
  ASSERT_TRUE(decode_protobuf(body, {}, request));
  std::vector<std::string> visited;
  for_each_bytes(request, [&](std::string_view& content, std::string_view key) {
    visited.push_back(std::string(key) + ":" + std::string(content));
    content = "gone";
  });
  EXPECT_THAT(visited, UnorderedElementsAreArray({":b1", "m:b2", "k:b3", ":b4"}));
  const std::string written = to_protobuf(request);
  for (const char* old : {"b1", "b2", "b3", "b4"}) EXPECT_EQ(written.find(old), std::string::npos);
}

TEST(RepairUtf8, ReplacesIllFormedSequencesAndCountsStrings) {
  const struct {
    std::string sent;
    std::string repaired;
  } cases[] = {
      {"", ""},
      {"plain", "plain"},
      {"exactly8", "exactly8"},
      {"\xC3\xA9\xF0\x9F\x98\x80", "\xC3\xA9\xF0\x9F\x98\x80"},
      {"\xFF", "\xEF\xBF\xBD"},
      {"1234567\xFF", "1234567\xEF\xBF\xBD"},
      {"12345678\xFF", "12345678\xEF\xBF\xBD"},
      {"cut \xE2\x82", "cut \xEF\xBF\xBD\xEF\xBF\xBD"},
      {std::string(100, 'x') + "\xED\xA0\x80", std::string(100, 'x') + "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
      {std::string(100, 'x') + "\xC3\xA9", std::string(100, 'x') + "\xC3\xA9"},
  };
  for (const auto& c : cases) {
    const std::string body = testing::request_of(
        {testing::valid_span().text(5, c.sent).attribute(9, "k", c.sent).attribute(9, "b", Wire().bytes(7, "\xFF"))});
    Traces request;
    ASSERT_TRUE(decode_protobuf(body, {}, request));
    EXPECT_EQ(request.spans[0].name, c.sent) << "the decoder leaves strings as sent";
    EXPECT_EQ(repair_utf8(request), c.sent == c.repaired ? 0 : 2);
    EXPECT_EQ(request.spans[0].name, c.repaired);
    EXPECT_EQ(request.attributes[request.spans[0].attributes.first].value.text(), c.repaired);
    EXPECT_EQ(request.attributes[request.spans[0].attributes.first + 1].value.text(), "\xFF") << "bytes are not text";
    EXPECT_EQ(repair_utf8(request), 0);
  }
  Logs logs;
  const std::string body = testing::request_of({Wire().message(5, Wire().text(1, "\xFF"))});
  ASSERT_TRUE(decode_protobuf(body, {}, logs));
  EXPECT_EQ(repair_utf8(logs), 1);
  Metrics metrics;
  const std::string metric =
      testing::request_of({Wire().text(1, "\xFF").message(5, Wire().message(1, Wire().fixed64(3, 1).number(4, 1)))});
  ASSERT_TRUE(decode_protobuf(metric, {}, metrics));
  EXPECT_EQ(repair_utf8(metrics), 1);
}

}  // namespace
}  // namespace fettle::otlp
