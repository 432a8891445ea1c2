// The block builders without a store: what is cut where, what is left out, what is text.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "telemetry/attribute_text.h"
#include "telemetry/identifier_block.h"
#include "telemetry/llm_call_block.h"
#include "telemetry/log_block.h"
#include "telemetry/metric_blocks.h"
#include "telemetry/native.h"
#include "telemetry/span_block.h"
#include "telemetry/span_derived.h"
#include "telemetry/testing.h"

namespace fettle::telemetry {
namespace {

TEST(AttributeText, KeepsTypesApartAndNothingInvalid) {
  otlp::Traces request;
  const otlp::Range range = add(request, {{"i", integer(1)},
                                          {"d", number(1)},
                                          {"e", number(1e300)},
                                          {"nan", number(std::nan(""))},
                                          {"inf", number(-std::numeric_limits<double>::infinity())},
                                          {"b", boolean(true)},
                                          {"raw", bytes(std::string_view("\0\xff\x10", 3))},
                                          {"none", otlp::Value{}},
                                          {"list", array(request, {text("a\"b"), integer(-9), otlp::Value{}})},
                                          {"twice", integer(1)},
                                          {"twice", integer(2)}});
  std::string out;
  append_attributes_json(out, request, range);
  EXPECT_EQ(out, R"({"i":1,"d":1.0,"e":1e+300,"nan":"NaN","inf":"-Infinity","b":true,"raw":"AP8Q","none":null,)"
                 R"("list":["a\"b",-9,null],"twice":2})");
}

TEST(AttributeText, LabelsFollowTheRuleOfTheSpecification) {
  otlp::Metrics request;
  const auto label = [&](const otlp::Value& value) {
    std::string out;
    append_value_text(out, request, value);
    return out;
  };
  EXPECT_EQ(label(text("plain")), "plain");
  EXPECT_EQ(label(boolean(false)), "false");
  EXPECT_EQ(label(number(std::nan(""))), "NaN");
  EXPECT_EQ(label(otlp::Value{}), "");
  EXPECT_EQ(label(bytes("ab")), "YWI=");
  EXPECT_EQ(label(array(request, {text("a"), number(2)})), R"(["a",2.0])");
}

TEST(DurationBucket, IsTwoToAnOctaveAndNeverFalls) {
  EXPECT_EQ(duration_bucket(0), 0);
  EXPECT_EQ(duration_bucket(1), 1);
  EXPECT_EQ(duration_bucket(2), 3);
  EXPECT_EQ(duration_bucket(3), 4);
  EXPECT_EQ(duration_bucket(4), 5);
  EXPECT_EQ(duration_bucket(5), 5);
  EXPECT_EQ(duration_bucket(6), 6);
  EXPECT_EQ(duration_bucket(std::numeric_limits<std::uint64_t>::max()), 128);
  std::uint8_t last = 0;
  for (std::uint64_t us = 0; us < 100'000; us += 7) {
    EXPECT_GE(duration_bucket(us), last);
    last = duration_bucket(us);
  }
}

TEST(SpanBlockBuilder, CutsBlocksAtTheDayAndStartsAnew) {
  const IdentifierCatalogue catalogue = shipped_catalogue();
  SpanBlockBuilder builder(catalogue);
  otlp::Traces request;
  request.spans.push_back(make_span(request, {}, kNoon));
  request.spans.push_back(make_span(request, {}, kNoon - kNanosPerDay));
  request.spans.push_back(make_span(request, {}, kNoon + 1));
  builder.begin("acme", request, kNoon);
  for (const otlp::Span& span : request.spans) builder.append(span, {});
  EXPECT_EQ(builder.rows(), 3u);
  EXPECT_GT(builder.bytes(), 0u);
  const std::vector<TableBlock> blocks = builder.take();
  ASSERT_EQ(blocks.size(), 2u);
  EXPECT_EQ(blocks[0].day, day_of(kNoon) - 1);
  EXPECT_EQ(blocks[0].rows, 1u);
  EXPECT_EQ(blocks[1].day, day_of(kNoon));
  EXPECT_EQ(blocks[1].rows, 2u);
  EXPECT_EQ(builder.take_derived().size(), 4u);
  EXPECT_EQ(builder.rows(), 0u);
  EXPECT_TRUE(builder.take().empty());
  EXPECT_TRUE(builder.take_derived().empty());
}

TEST(SpanBlockBuilder, ColumnsThatNoRowUsesAreLeftOut) {
  const IdentifierCatalogue catalogue = shipped_catalogue();
  SpanBlockBuilder builder(catalogue);
  otlp::Traces request;
  const otlp::Span span = make_span(request, {});
  builder.begin("acme", request, kNoon);
  builder.append(span, {});
  const std::vector<TableBlock> blocks = builder.take();
  EXPECT_EQ(blocks[0].bytes.find("client_id"), std::string::npos);
  EXPECT_EQ(blocks[0].bytes.find("attrs"), std::string::npos);
  EXPECT_NE(blocks[0].bytes.find("trace_id"), std::string::npos);
}

TEST(SpanBlockBuilder, BoundsTheBlockWhenEverySpanBringsNewKeys) {
  const IdentifierCatalogue catalogue = shipped_catalogue();
  SpanBlockBuilder builder(catalogue);
  constexpr int kSpans = 3'000;
  otlp::Traces request;
  std::vector<otlp::Span> spans;
  for (int i = 0; i < kSpans; ++i) {
    spans.push_back(make_span(request, {{request.keep("key." + std::to_string(i)), integer(i)}}));
  }
  builder.begin("acme", request, kNoon);
  for (const otlp::Span& span : spans) builder.append(span, {});
  EXPECT_EQ(builder.rows(), static_cast<std::size_t>(kSpans));
  const std::vector<TableBlock> blocks = builder.take();
  EXPECT_GT(blocks.size(), 1u);
  std::size_t rows = 0;
  for (const TableBlock& block : blocks) rows += block.rows;
  EXPECT_EQ(rows, static_cast<std::size_t>(kSpans));
}

TEST(IdentifierBlockBuilder, WritesEachValueOnceATrace) {
  const IdentifierCatalogue catalogue = shipped_catalogue();
  IdentifierBlockBuilder builder(catalogue);
  ResolvedIds ids;
  ids.set(catalogue.by_name("request_id")->kind, "r-1");
  ids.set(catalogue.by_name("client_id")->kind, "acme");
  const std::string other(16, 'x');
  for (int i = 0; i < 10; ++i) builder.append("w", ids, kTraceId, kNoon + i, Signal::kSpan);
  builder.append("w", ids, other, kNoon, Signal::kLog);
  builder.append("w", ids, {}, kNoon, Signal::kLog);
  // r-1 in two traces and in none, and acme once for all of them.
  EXPECT_EQ(builder.rows(), 4u);
  builder.append("v", ids, kTraceId, kNoon, Signal::kSpan);
  EXPECT_EQ(builder.rows(), 6u);
  EXPECT_EQ(builder.take().size(), 1u);
  EXPECT_EQ(builder.rows(), 0u);
}

TEST(MetricBlocksBuilder, AnnouncesASeriesOnceAnHour) {
  MetricBlocksBuilder builder;
  otlp::Metrics request;
  otlp::Metric metric;
  metric.name = "queue_depth";
  request.metrics.push_back(metric);
  otlp::NumberPoint point;
  point.attributes = add(request, {{"queue", text("a")}});
  const auto series_rows = [&](UnixNanos time) {
    point.time = time;
    builder.begin("acme", request, kNoon);
    builder.append(point);
    std::size_t rows = 0;
    for (const TableBlock& block : builder.take()) rows += block.table == Table::kSeries ? block.rows : 0;
    return rows;
  };
  EXPECT_EQ(series_rows(kNoon), 1u);
  EXPECT_EQ(series_rows(kNoon + 60 * kNanosPerSecond), 0u);
  EXPECT_EQ(series_rows(kNoon + 3'600 * kNanosPerSecond), 1u);
  EXPECT_EQ(series_rows(kNoon + 3'601 * kNanosPerSecond), 0u);
  builder.forget();
  EXPECT_EQ(series_rows(kNoon + 3'602 * kNanosPerSecond), 1u);
}

TEST(NativeFrame, CountsTheColumnItAdds) {
  TableBlock block;
  block.table = Table::kSpans;
  block.rows = 2;
  block.columns = 3;
  block.bytes = "columns";
  const NativeFrame frame(block, 0x0102030405060708);
  EXPECT_EQ(frame.pieces()[0], std::string_view("\x04\x02", 2));
  EXPECT_EQ(frame.pieces()[1].data(), block.bytes.data());
  EXPECT_EQ(frame.pieces()[2].size(), 1 + 9 + 1 + 6 + 2 * 8u);
  block.table = Table::kIdentifiers;
  const NativeFrame merged(block, 1);
  EXPECT_EQ(merged.pieces()[0], std::string_view("\x03\x02", 2));
  EXPECT_EQ(merged.pieces()[2], "");
}

}  // namespace
}  // namespace fettle::telemetry
