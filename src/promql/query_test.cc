// What test scripts cannot say: limits, cancellation, what a source is asked, errors that pass through.
#include "promql/query.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "promql/memory_source.h"
#include "promql/parser.h"

namespace fettle::promql {
namespace {

constexpr std::int64_t kMinute = 60'000;

class Source final : public SeriesSource {
 public:
  explicit Source(int series = 3) {
    for (int i = 0; i < series; ++i) {
      const Labels labels({{"__name__", "m"}, {"i", std::to_string(i)}});
      for (int t = 0; t < 10; ++t) memory_.add(labels, {t * kMinute, static_cast<double>(i + t), nullptr});
    }
  }
  Result<std::vector<SeriesPtr>> select(const Selection& selection) override {
    asked.push_back(selection);
    if (broken) return fail(ErrorCode::kUnavailable, "the store is away");
    return memory_.select(selection);
  }

  std::vector<Selection> asked;
  bool broken = false;

 private:
  MemorySource memory_;
};

Result<QueryResult> range(Source& source, const char* query, const QueryOptions& options = {}) {
  const auto expr = parse(query);
  EXPECT_TRUE(expr) << query;
  return query_range(source, **expr, query, {.start_ms = 0, .end_ms = 9 * kMinute, .step_ms = kMinute}, options);
}

TEST(Query, ASourceIsAskedOnceForEachSelectorWhateverTheSteps) {
  Source source;
  ASSERT_TRUE(range(source, "sum by (i) (rate(m[5m] offset 1m)) + on (i) m @ 60"));
  ASSERT_EQ(source.asked.size(), 2U);
  const Selection& rate = source.asked[0];
  EXPECT_EQ(rate.after_ms, -6 * kMinute);
  EXPECT_EQ(rate.until_ms, 8 * kMinute);
  EXPECT_EQ(rate.hints.function, "rate");
  EXPECT_EQ(rate.hints.range_ms, 5 * kMinute);
  EXPECT_EQ(rate.hints.step_ms, kMinute);
  EXPECT_EQ(rate.hints.aggregation, "sum");
  EXPECT_THAT(rate.hints.grouping, testing::ElementsAre("i"));
  const Selection& pinned = source.asked[1];
  EXPECT_EQ(pinned.after_ms, -4 * kMinute);
  EXPECT_EQ(pinned.until_ms, kMinute);
  EXPECT_EQ(pinned.hints.step_ms, 0);
  EXPECT_EQ(pinned.hints.aggregation, "");
}

TEST(Query, AnAggregationOfAnythingElseIsNoHint) {
  Source source;
  ASSERT_TRUE(range(source, "sum(abs(m) + m)"));
  for (const Selection& selection : source.asked) EXPECT_EQ(selection.hints.aggregation, "");
}

TEST(Query, LimitsAnswerWithTheirOwnError) {
  Source source;
  QueryOptions few_series;
  few_series.series_max = 2;
  EXPECT_EQ(range(source, "m", few_series).error().code(), ErrorCode::kResourceExhausted);
  QueryOptions few_samples;
  few_samples.samples_max = 29;
  EXPECT_EQ(range(source, "m", few_samples).error().code(), ErrorCode::kResourceExhausted);
  QueryOptions few_steps;
  few_steps.steps_max = 9;
  EXPECT_EQ(range(source, "m", few_steps).error().code(), ErrorCode::kInvalidArgument);
}

TEST(Query, AFineSubqueryOverALongTimeEndsAtTheLimit) {
  Source source;
  EXPECT_EQ(range(source, "sum_over_time(m[100y:1ms])").error().code(), ErrorCode::kResourceExhausted);
}

TEST(Query, StopsAtItsDeadlineAndWhenCancelled) {
  Source source;
  ManualClock clock(0);
  QueryOptions late;
  late.clock = &clock;
  late.deadline = std::chrono::seconds(1);
  EXPECT_TRUE(range(source, "m", late));
  clock.advance(std::chrono::seconds(2));
  EXPECT_EQ(range(source, "m", late).error().code(), ErrorCode::kDeadlineExceeded);
  std::stop_source stop;
  QueryOptions cancelled;
  cancelled.stop = stop.get_token();
  EXPECT_TRUE(range(source, "m", cancelled));
  stop.request_stop();
  EXPECT_EQ(range(source, "m", cancelled).error().code(), ErrorCode::kCancelled);
}

TEST(Query, ErrorsOfTheSourcePassThrough) {
  Source source;
  source.broken = true;
  const auto result = range(source, "sum(m)");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), ErrorCode::kUnavailable);
  EXPECT_EQ(result.error().message(), "the store is away");
}

TEST(Query, ARangeHasNoPlaceForStringsAndRangeVectors) {
  Source source;
  EXPECT_EQ(range(source, "\"text\"").error().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(range(source, "m[5m]").error().code(), ErrorCode::kInvalidArgument);
}

TEST(Query, ABareRangeSelectorGivesItsSamplesToAnInstantQuery) {
  Source source(1);
  const auto expr = parse("m[2m]");
  const auto result = query_instant(source, **expr, "m[2m]", 5 * kMinute, {});
  ASSERT_TRUE(result);
  const auto& matrix = std::get<Matrix>(result->value);
  ASSERT_EQ(matrix.size(), 1U);
  ASSERT_EQ(matrix[0].floats.size(), 2U);
  EXPECT_EQ(matrix[0].floats[0].at_ms, 4 * kMinute);
}

TEST(Query, ValuesArePrintedAsTheApiHasThem) {
  const std::pair<double, const char*> kForms[] = {{0.1, "0.1"},       {1e21, "1e+21"}, {123456789, "123456789"},
                                                   {1e-6, "0.000001"}, {1e-7, "1e-07"}, {-0.0, "-0"}};
  for (const auto& [value, text] : kForms) EXPECT_EQ(format_value(value), text);
  EXPECT_EQ(format_value(-std::numeric_limits<double>::infinity()), "-Inf");
  EXPECT_EQ(format_value(stale_marker()), "NaN");
}

}  // namespace
}  // namespace fettle::promql
