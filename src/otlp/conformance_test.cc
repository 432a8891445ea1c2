// Sample requests of the OpenTelemetry projects: decoded from JSON, written as protobuf, decoded again, and compared.
// They are not part of this repository: FETTLE_CONFORMANCE_DATA names the folder that holds otlp-examples/ ("none" when
// there is none on purpose); without it they are looked for beside the checkout.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <optional>
#include <sstream>
#include <string>

#include "otlp/decode.h"
#include "otlp/encode.h"
#include "otlp/to_protobuf_for_test.h"

namespace fettle::otlp {
namespace {

using testing::to_protobuf;

constexpr int kFiles = 5;

std::string setting(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// The folder of the samples, or nothing when their absence was explained.
std::optional<std::filesystem::path> samples() {
  const std::string given = setting("FETTLE_CONFORMANCE_DATA");
  const std::filesystem::path root = given.empty()
                                         ? std::filesystem::path(FETTLE_PROJECT_DIR) / ".." / "shared" / "reference"
                                         : std::filesystem::path(given);
  std::filesystem::path folder = root / "otlp-examples" / "otlp-json";
  if (given != "none" && std::filesystem::is_directory(folder)) return folder;
  std::cout << kFiles << " conformance files did not run: no sample data in " << folder << "\n";
  EXPECT_TRUE(given == "none" || setting("CI").empty())
      << "set FETTLE_CONFORMANCE_DATA to the sample data, or to 'none' to go without";
  return std::nullopt;
}

std::string read(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::ostringstream content;
  content << file.rdbuf();
  EXPECT_FALSE(content.str().empty()) << path;
  return content.str();
}

// Decodes `json` into `from_json` and holds it against the way through protobuf.
template <class Request>
void decode_both_ways(const std::string& json, Request& from_json) {
  const auto decoded = decode_json(json, {}, from_json);
  ASSERT_TRUE(decoded) << decoded.error().message();
  EXPECT_EQ(from_json.rejections.count, 0) << from_json.rejections.first_reason;
  const std::string bytes = to_protobuf(from_json);
  Request from_protobuf;
  const auto again = decode_protobuf(bytes, {}, from_protobuf);
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_EQ(from_protobuf.rejections.count, 0);
  EXPECT_EQ(to_protobuf(from_protobuf), bytes);
  EXPECT_EQ(from_protobuf.attributes.size(), from_json.attributes.size());
  EXPECT_EQ(from_protobuf.values.size(), from_json.values.size());
  EXPECT_EQ(from_protobuf.scopes.size(), from_json.scopes.size());
}

std::string attribute(const Common& request, Range range, std::string_view key) {
  for (std::uint32_t i = 0; i != range.count; ++i) {
    const Attribute& found = request.attributes[range.first + i];
    if (found.key != key) continue;
    std::string text;
    append_json(text, request, found.value);
    return text;
  }
  return "absent";
}

// What the samples of the Java SDK hold in the attributes of their first item.
void expect_java_attributes(const Common& request, Range range) {
  EXPECT_EQ(attribute(request, range, "animal"), R"("cat")");
  EXPECT_EQ(attribute(request, range, "bytes"), R"("AQID")");
  EXPECT_EQ(attribute(request, range, "empty"), "null");
  EXPECT_EQ(attribute(request, range, "heterogeneousArray"), R"(["string",123])");
  EXPECT_EQ(attribute(request, range, "lives"), "9");
  EXPECT_EQ(attribute(request, range, "map"), R"({"nested":"value"})");
}

TEST(Conformance, TraceExampleOfTheProtocol) {
  const auto folder = samples();
  if (!folder) return;
  Traces request;
  decode_both_ways(read(*folder / "trace.json"), request);
  ASSERT_EQ(request.spans.size(), 1U);
  EXPECT_EQ(request.spans[0].name, "I'm a server span");
  EXPECT_EQ(request.spans[0].parent_span_id, "\xEE\xE1\x9B\x7E\xC3\xC1\xB1\x73");
  EXPECT_EQ(request.spans[0].end - request.spans[0].start, 1'000'000'000);
  EXPECT_EQ(attribute(request, request.scopes[0].attributes, "my.scope.attribute"), R"("some scope attribute")");
}

TEST(Conformance, MetricsExampleOfTheProtocol) {
  const auto folder = samples();
  if (!folder) return;
  Metrics request;
  decode_both_ways(read(*folder / "metrics.json"), request);
  EXPECT_EQ(request.metrics.size(), 4U);
  EXPECT_EQ(request.number_points.size(), 2U);
  ASSERT_EQ(request.histogram_points.size(), 1U);
  EXPECT_EQ(request.histogram_points[0].max, 2);
  ASSERT_EQ(request.exponential_histogram_points.size(), 1U);
  EXPECT_EQ(request.exponential_histogram_points[0].positive_offset, 1);
}

TEST(Conformance, SpansOfTheJavaSdk) {
  const auto folder = samples();
  if (!folder) return;
  Traces request;
  decode_both_ways(read(*folder / "java-expected-spans-wrapper.json"), request);
  ASSERT_EQ(request.spans.size(), 2U);
  expect_java_attributes(request, request.spans[0].attributes);
  EXPECT_EQ(request.spans[0].flags, 257U);
  EXPECT_EQ(request.events.at(0).name, "somethingHappenedHere");
  EXPECT_EQ(request.scopes.at(request.spans[1].scope).name, "instrumentation2");
}

TEST(Conformance, LogsOfTheJavaSdk) {
  const auto folder = samples();
  if (!folder) return;
  Logs request;
  decode_both_ways(read(*folder / "java-expected-logs-wrapper.json"), request);
  ASSERT_EQ(request.records.size(), 2U);
  expect_java_attributes(request, request.records[0].attributes);
  EXPECT_EQ(request.records[1].body.text(), "body2");
  EXPECT_EQ(request.records[0].observed_time, 200);
  const std::string whole = to_protobuf(request);
  // The same without its wrapper.
  Logs single;
  decode_both_ways(R"({"resourceLogs":[)" + read(*folder / "java-expected-logs.json") + "]}", single);
  EXPECT_EQ(to_protobuf(single), whole);
}

}  // namespace
}  // namespace fettle::otlp
