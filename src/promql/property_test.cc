// Properties: printing and parsing are inverse, histograms add as numbers do, an instant query is one step of a range.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <string>

#include "promql/memory_source.h"
#include "promql/native_histogram.h"
#include "promql/parser.h"
#include "promql/query.h"

namespace fettle::promql {
namespace {

using rc::gen::element;

std::string pick(std::initializer_list<std::string> from) {
  return *rc::gen::elementOf(std::vector<std::string>(from));
}

// A query of instant vector type, well-formed by construction.
std::string vector_query(int depth) {
  const auto inner = [&] { return vector_query(depth - 1); };
  if (depth == 0) {
    return pick({"a", "b{l=\"x\"}", "{\"odd name\", l!~\"[xy]+\"}", "a @ 60", "a offset -1m", "b @ start() offset 30s",
                 "vector(0x1F)", "vector(-1h30m)", "vector(Inf)"});
  }
  switch (*rc::gen::inRange(0, 8)) {
    case 0: return "(" + inner() + ")";
    case 1: return "-" + inner();
    case 2:
      return inner() +
             pick({" + ", " == bool ", " ^ ", " - on (l) ", " and ", " unless ignoring (m) ", " or ",
                   " * on (l) group_left (m) ", " / ignoring (l) fill (1) "}) +
             inner();
    case 3: return pick({"sum", "avg by (l)", "max without (l, \"odd label\")", "count"}) + "(" + inner() + ")";
    case 4: return pick({"topk(2, ", "quantile by (l) (0.5, ", "count_values(\"v\", "}) + inner() + ")";
    case 5: return pick({"abs", "sort", "absent", "histogram_count"}) + "(" + inner() + ")";
    case 6: return pick({"rate", "max_over_time"}) + pick({"(a[5m])", "(b[2m] offset 1m)", "(a[step() + 1m])"});
    default: return "sum_over_time((" + inner() + pick({")[5m:])", ")[4m:30s] @ 120)", ")[2m * 2:] offset 1m)"});
  }
}

RC_GTEST_PROP(Properties, WhatIsPrintedParsesToTheSame, ()) {
  const std::string query = vector_query(*rc::gen::inRange(0, 5));
  const auto expr = parse(query);
  RC_ASSERT(expr.has_value());
  const std::string printed = format_query(**expr);
  const auto again = parse(printed);
  RC_ASSERT(again.has_value());
  RC_ASSERT(format_query(**again) == printed);
  RC_ASSERT((*again)->type() == (*expr)->type());
  RC_ASSERT((*again)->step_invariant == (*expr)->step_invariant);
}

RC_GTEST_PROP(Properties, NoTextMakesTheParserFall, (const std::string& text)) {
  const auto expr = parse(text);
  if (expr) RC_ASSERT(parse(format_query(**expr)).has_value());
}

// Small whole counts, so that sums are exact in any order.
NativeHistogram histogram(int schema) {
  NativeHistogram h;
  h.schema = schema;
  h.zero_threshold = *element(0.0, 0.25);
  h.zero_count = *rc::gen::inRange(0, 5);
  h.count = h.zero_count;
  // No bucket reaches into the zero bucket.
  for (std::int32_t i = h.zero_threshold == 0 ? *rc::gen::inRange(-4, 4) : *rc::gen::inRange(1, 5); i < 8;
       i += *rc::gen::inRange(1, 4)) {
    h.positive.push_back({i, static_cast<double>(*rc::gen::inRange(0, 9))});
    h.negative.push_back({i, static_cast<double>(*rc::gen::inRange(0, 9))});
    h.count += h.positive.back().count + h.negative.back().count;
  }
  h.sum = *rc::gen::inRange(-100, 100);
  return h;
}

NativeHistogram any_histogram() { return histogram(*rc::gen::inRange(-1, 3)); }

double counted(const NativeHistogram& h) {
  double all = h.zero_count;
  for (const auto& bucket : h.positive) all += bucket.count;
  for (const auto& bucket : h.negative) all += bucket.count;
  return all;
}

RC_GTEST_PROP(Properties, AddingHistogramsCommutesAndLosesNothing, ()) {
  const NativeHistogram a = any_histogram();
  const NativeHistogram b = any_histogram();
  NativeHistogram ab = a;
  NativeHistogram ba = b;
  ab.add(b);
  ba.add(a);
  RC_ASSERT(ab.same_as(ba));
  RC_ASSERT(ab.count == a.count + b.count);
  RC_ASSERT(counted(ab) == ab.count);
}

RC_GTEST_PROP(Properties, SubtractingWhatWasAddedGivesTheFirstBack, ()) {
  const int schema = *rc::gen::inRange(0, 3);
  NativeHistogram a = histogram(schema);
  NativeHistogram b = histogram(schema);
  a.zero_threshold = b.zero_threshold = 0;
  NativeHistogram both = a;
  both.add(b);
  both.subtract(b);
  RC_ASSERT(both.same_as(a));
}

RC_GTEST_PROP(Properties, TheSumOfHistogramsIsTheirTotalInAnyOrder, ()) {
  std::vector<NativeHistogram> all;
  for (int i = *rc::gen::inRange(1, 6); i > 0; --i) all.push_back(any_histogram());
  HistogramSum forward;
  HistogramSum backward;
  for (const NativeHistogram& h : all) forward.add(h);
  for (auto h = all.rbegin(); h != all.rend(); ++h) backward.add(*h);
  RC_ASSERT(forward.total().same_as(backward.total()));
}

RC_GTEST_PROP(Properties, FractionBelowAQuantileIsItsRank, ()) {
  const NativeHistogram h = any_histogram();
  const double q = *rc::gen::inRange(1, 99) / 100.0;
  RC_PRE(h.count > 0);
  NanEffect effect{};
  const double value = quantile_of(h, q, effect);
  const double below = fraction_of(h, -std::numeric_limits<double>::infinity(), value);
  // A quantile may stand at the edge of a gap; the rank is right at one side of it.
  const double above = fraction_of(h, -std::numeric_limits<double>::infinity(),
                                   std::nextafter(value, std::numeric_limits<double>::infinity()));
  RC_ASSERT(below <= q + 1e-9);
  RC_ASSERT(above >= q - 1e-9);
}

RC_GTEST_PROP(Properties, TrimmingPartsAHistogramInTwo, ()) {
  const NativeHistogram h = any_histogram();
  const double bound = *rc::gen::inRange(-40, 40) / 4.0;
  const double below = trimmed(h, bound, true).count;
  const double above = trimmed(h, bound, false).count;
  RC_ASSERT(std::abs(below + above - h.count) < 1e-9 * (1 + h.count));
}

RC_GTEST_PROP(Properties, AnInstantQueryIsOneStepOfARange, ()) {
  MemorySource source;
  for (const char* name : {"a", "b"}) {
    for (const char* l : {"x", "y"}) {
      for (int t = 0; t < 10; ++t) {
        if (*rc::gen::inRange(0, 4) == 0) continue;
        source.add(Labels({{"__name__", name}, {"l", l}}),
                   {t * 30'000, static_cast<double>(*rc::gen::inRange(-3, 9)), nullptr});
      }
    }
  }
  const std::string query = vector_query(*rc::gen::inRange(0, 4));
  RC_PRE(query.find("start()") == std::string::npos && query.find("step()") == std::string::npos);
  const auto expr = parse(query);
  RC_ASSERT(expr.has_value());
  const auto range = query_range(source, **expr, query, {.start_ms = 0, .end_ms = 300'000, .step_ms = 60'000}, {});
  RC_PRE(range.has_value());
  for (UnixMillis at = 0; at <= 300'000; at += 60'000) {
    const auto instant = query_instant(source, **expr, query, at, {});
    RC_ASSERT(instant.has_value());
    std::size_t there = 0;
    for (const ResultSeries& series : std::get<Matrix>(range->value)) {
      for (const FloatPoint& point : series.floats) {
        if (point.at_ms != at) continue;
        ++there;
        bool found = false;
        for (const VectorElement& element : std::get<Vector>(instant->value)) {
          const double value = element.sample.value;
          if (element.labels == series.labels &&
              (value == point.value || (std::isnan(value) && std::isnan(point.value)))) {
            found = true;
          }
        }
        RC_ASSERT(found);
      }
    }
    RC_ASSERT(there == std::get<Vector>(instant->value).size());
  }
}

}  // namespace
}  // namespace fettle::promql
