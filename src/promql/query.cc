#include "promql/query.h"

#include <fmt/format.h>

#include <algorithm>

#include "promql/evaluation.h"

namespace fettle::promql {
namespace {

// Names that were to be dropped go, and what then has the same labels is one series.
void finish(Tracks& tracks, std::size_t steps) {
  bool dropped = false;
  for (Track& track : tracks) {
    if (!track.drop_name) continue;
    dropped = true;
    track.drop_name = false;
    track.labels = std::make_shared<const Labels>(track.labels->without_metadata());
  }
  if (dropped) merge_equal(tracks, steps);
}

Vector as_vector(const Tracks& tracks, UnixMillis at_ms) {
  Vector out;
  for (const Track& track : tracks) {
    if (!track.has(0)) continue;
    const HistogramPtr* histogram = track.histogram(0);
    out.push_back({*track.labels,
                   {at_ms, histogram == nullptr ? track.values[0] : 0, histogram == nullptr ? nullptr : *histogram}});
  }
  return out;
}

Matrix as_matrix(const Tracks& tracks, const Grid& grid) {
  Matrix out;
  for (const Track& track : tracks) {
    ResultSeries series;
    for (std::size_t step = 0; step < grid.steps; ++step) {
      if (track.has_float(step)) series.floats.push_back({grid.at(step), track.values[step]});
      if (const HistogramPtr* histogram = track.histogram(step)) {
        series.histograms.push_back({grid.at(step), *histogram});
      }
    }
    if (series.floats.empty() && series.histograms.empty()) continue;
    series.labels = *track.labels;
    out.push_back(std::move(series));
  }
  return out;
}

void sort_by_labels(Matrix& matrix) {
  std::sort(matrix.begin(), matrix.end(),
            [](const ResultSeries& a, const ResultSeries& b) { return a.labels < b.labels; });
}

Matrix as_matrix(const RangeInput& input, UnixMillis at_ms) {
  const UnixMillis until = input.window_end(at_ms);
  const UnixMillis after = until - input.range_ms;
  const auto inside = [&](const auto& point) { return point.at_ms > after && point.at_ms <= until; };
  Matrix out;
  for (const RangeSeries& from : input.series) {
    ResultSeries series;
    std::copy_if(from.floats.begin(), from.floats.end(), std::back_inserter(series.floats), inside);
    std::copy_if(from.histograms.begin(), from.histograms.end(), std::back_inserter(series.histograms), inside);
    if (series.floats.empty() && series.histograms.empty()) continue;
    series.labels = from.drop_name ? from.labels->without_metadata() : *from.labels;
    out.push_back(std::move(series));
  }
  sort_by_labels(out);
  return out;
}

template <class F>
Result<QueryResult> guarded(F&& work) {
  try {
    return work();
  } catch (const EvalFailure& failure) {
    return fail(failure.code, failure.message);
  }
}

}  // namespace

Result<QueryResult> query_instant(SeriesSource& source, const Expr& expr, std::string_view text, UnixMillis at_ms,
                                  const QueryOptions& options) {
  return guarded([&]() -> Result<QueryResult> {
    Evaluation evaluation(source, text, {.start_ms = at_ms, .end_ms = at_ms, .step_ms = 0}, options);
    const Grid grid{.start_ms = at_ms, .step_ms = 0, .steps = 1};
    QueryResult result;
    switch (expr.type()) {
      case ValueType::kScalar: result.value = Scalar{at_ms, evaluation.scalar(expr, grid)[0]}; break;
      case ValueType::kString: result.value = evaluation.text(expr); break;
      case ValueType::kInstantVector: {
        Tracks tracks = evaluation.vector(expr, grid);
        finish(tracks, grid.steps);
        result.value = as_vector(tracks, at_ms);
        break;
      }
      case ValueType::kRangeVector: result.value = as_matrix(evaluation.range(expr, grid, ""), at_ms); break;
    }
    result.annotations = evaluation.annotations().all();
    return result;
  });
}

Result<QueryResult> query_range(SeriesSource& source, const Expr& expr, std::string_view text, const QueryRange& range,
                                const QueryOptions& options) {
  const ValueType type = expr.type();
  if (type != ValueType::kScalar && type != ValueType::kInstantVector) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("invalid expression type \"{}\" for range query, must be scalar or instant vector",
                            to_string(type)));
  }
  if (range.step_ms <= 0) return fail(ErrorCode::kInvalidArgument, "the step must be above zero");
  if (range.end_ms < range.start_ms) return fail(ErrorCode::kInvalidArgument, "the end lies before the start");
  const auto steps = static_cast<std::uint64_t>((range.end_ms - range.start_ms) / range.step_ms) + 1;
  if (steps > options.steps_max) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("more than {} steps a series: raise the step or narrow the range", options.steps_max));
  }
  return guarded([&]() -> Result<QueryResult> {
    Evaluation evaluation(source, text, range, options);
    const Grid grid{.start_ms = range.start_ms, .step_ms = range.step_ms, .steps = steps};
    Tracks tracks;
    if (type == ValueType::kScalar) {
      tracks.emplace_back(std::make_shared<const Labels>(), false, 0);
      tracks[0].values = evaluation.scalar(expr, grid);
    } else {
      tracks = evaluation.vector(expr, grid);
      finish(tracks, grid.steps);
    }
    Matrix matrix = as_matrix(tracks, grid);
    sort_by_labels(matrix);
    return QueryResult{std::move(matrix), evaluation.annotations().all()};
  });
}

}  // namespace fettle::promql
