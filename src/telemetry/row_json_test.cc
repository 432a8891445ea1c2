#include "telemetry/row_json.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

namespace fettle::telemetry {
namespace {

IdentifierCatalogue small_catalogue() {
  return *IdentifierCatalogue::parse(R"(identifiers:
  - {number: 0, name: trace_id, column: false, index: trace, aliases: []}
  - {number: 2, name: request_id, column: true, index: trace, aliases: []}
  - {number: 4, name: client_id, column: true, low_cardinality: true, index: value, aliases: []}
keep_names: []
)");
}

// time, promoted, the two identifiers, then the members of a span.
constexpr std::string_view kSpan =
    R"([1795310099112088658, 4, "req_1", "", "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "", "say \"hi\"\/there", 2, 1, "", )"
    R"(1500000, "svc", "", "", "", 257, {"a.b":1,"c":{"d":"}"}}, "{\"service.name\":\"svc\"}", "", "[{\"trace_id\":\"x\"}]", 0, 0, 0])";

std::string written(const RowWriter& writer, std::string_view line, std::string_view type = {}) {
  std::string out;
  const auto done = writer.append(out, line, type);
  return done ? out : "error: " + done.error().message();
}

TEST(RowJson, ASpanIsTheObjectOfTheApi) {
  const auto writer = RowWriter::of_spans(small_catalogue());
  EXPECT_EQ(RowWriter::time_of(kSpan), 1795310099112088658);
  EXPECT_EQ(
      written(writer, kSpan),
      R"({"ts":"2026-11-22T01:14:59.112088658Z","trace_id":"0af7651916cd43dd8448eb211c80319c","span_id":"b7ad6b7169203331",)"
      R"("parent_span_id":"","name":"say \"hi\"\/there","kind":"server","status":"ok","status_message":"","duration_ms":1.5,)"
      R"("service_name":"svc","scope_name":"","scope_version":"","trace_state":"","flags":257,)"
      R"("attrs":{"request_id":"req_1","a.b":1,"c":{"d":"}"}},"ids":{"request_id":"req_1"},"resource":{"service.name":"svc"},)"
      R"("events":[],"links":[{"trace_id":"x"}],"dropped_attributes_count":0,"dropped_events_count":0,"dropped_links_count":0})");
}

TEST(RowJson, AnIdentifierIsAnAttributeOnlyWhereItWasSentAsOne) {
  const auto writer = RowWriter::of_spans(small_catalogue());
  std::string line(kSpan);
  line.replace(line.find(", 4, "), 5, ", 0, ");
  EXPECT_NE(written(writer, line).find(R"("attrs":{"a.b":1)"), std::string::npos);
  EXPECT_NE(written(writer, line).find(R"("ids":{"request_id":"req_1"})"), std::string::npos);
}

TEST(RowJson, NoAttributesAndNoIdentifiersAreEmptyObjects) {
  const auto writer = RowWriter::of_spans(small_catalogue());
  std::string line(kSpan);
  line.replace(line.find("\"req_1\""), 7, "\"\"");
  line.replace(line.find(R"({"a.b":1,"c":{"d":"}"}})"), 23, "{}");
  EXPECT_NE(written(writer, line).find(R"("attrs":{},"ids":{},)"), std::string::npos);
}

TEST(RowJson, ATypeStandsInFront) {
  EXPECT_TRUE(written(RowWriter::of_spans(small_catalogue()), kSpan, "span").starts_with(R"({"type":"span","ts":")"));
}

TEST(RowJson, NumbersWithoutANameAreShownAsTheyAre) {
  EXPECT_EQ(span_kind_name(5), "consumer");
  EXPECT_EQ(span_kind_name(6), "6");
  EXPECT_EQ(span_kind_name(-1), "-1");
  EXPECT_EQ(span_status_name(2), "error");
  EXPECT_EQ(span_status_name(9), "9");
}

std::string log_line(int body_type, std::string_view body, int severity, std::int64_t observed) {
  return fmt::format(
      R"([1795310099000000001, 0, {}, "", "c1", {}, {}, "INFO", {}, {}, "", "", "", "svc", "", 0, {{}}, "", 3, 99])",
      body_type, observed, severity, severity, body);
}

TEST(RowJson, ALogsBodyIsTextOrJson) {
  const auto writer = RowWriter::of_logs(small_catalogue());
  EXPECT_NE(written(writer, log_line(1, R"("{\"a\":1}")", 9, 0)).find(R"("body":"{\"a\":1}",)"), std::string::npos);
  EXPECT_NE(written(writer, log_line(5, R"("{\"a\":1}")", 9, 0)).find(R"("body":{"a":1},)"), std::string::npos);
}

TEST(RowJson, ALogWithoutAnObservedTimeHasItsOwn) {
  const auto writer = RowWriter::of_logs(small_catalogue());
  EXPECT_NE(written(writer, log_line(1, R"("x")", 9, 0)).find(R"("observed_ts":"2026-11-22T01:14:59.000000001Z")"),
            std::string::npos);
  EXPECT_NE(written(writer, log_line(1, R"("x")", 9, 1)).find(R"("observed_ts":"1970-01-01T00:00:00.000000001Z")"),
            std::string::npos);
}

TEST(RowJson, SeverityHasTheLevelOfItsBand) {
  const auto writer = RowWriter::of_logs(small_catalogue());
  const auto level_of = [&](int severity) {
    const std::string row = written(writer, log_line(1, R"("x")", severity, 0));
    const std::size_t at = row.find("\"level\":\"") + 9;
    return row.substr(at, row.find('"', at) - at);
  };
  EXPECT_EQ(level_of(0), "unset");
  EXPECT_EQ(level_of(4), "trace");
  EXPECT_EQ(level_of(5), "debug");
  EXPECT_EQ(level_of(12), "info");
  EXPECT_EQ(level_of(16), "warn");
  EXPECT_EQ(level_of(17), "error");
  EXPECT_EQ(level_of(24), "fatal");
  EXPECT_EQ(level_of(25), "unset");
}

// Whatever is cut off or turned over, the answer is an error and no row.
TEST(RowJson, ALineThatIsNoRowIsAnError) {
  const auto writer = RowWriter::of_spans(small_catalogue());
  for (const std::string_view line : {"", "[", "[]", "{}", "null", "[1]", "[\"x\", 0]", "[1, 0, {}, {}, {}]"}) {
    EXPECT_TRUE(written(writer, line).starts_with("error: a row of the store")) << line;
  }
  for (std::size_t size = 0; size + 1 < kSpan.size(); ++size) {
    EXPECT_TRUE(written(writer, kSpan.substr(0, size)).starts_with("error: ")) << size;
  }
}

TEST(RowJson, MoreColumnsThanAreAskedForAreLeftAlone) {
  EXPECT_TRUE(written(RowWriter::of_logs(small_catalogue()), log_line(1, R"("x")", 9, 0))
                  .ends_with(R"("dropped_attributes_count":3})"));
}

}  // namespace
}  // namespace fettle::telemetry
