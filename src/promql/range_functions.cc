// Functions of range vectors but for the rates.
#include "promql/range_functions.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "promql/functions.h"
#include "promql/histogram_meeting.h"
#include "promql/kahan.h"

namespace fettle::promql {
namespace {

WindowResult of(double value) { return {value, nullptr}; }
WindowResult nothing() { return {}; }

// sum_over_time and avg_over_time of histograms.
WindowResult histogram_total(const Window& window, bool average) {
  HistogramSum sum;
  for (const HistogramPoint& point : window.histograms) {
    NativeHistogram::Meeting meeting = sum.add(*point.histogram);
    if (!meeting.compatible) {
      window.warn(fmt::format("vector contains a mix of histograms with exponential and custom buckets schemas{}",
                              for_metric(window.metric_name)));
      return nothing();
    }
    meeting.resets_collide = false;
    annotate_meeting(window.evaluation.annotations(), meeting, "aggregation", window.place);
  }
  if (sum.resets_collide()) window.warn("conflicting counter resets during histogram aggregation");
  auto total = std::make_shared<NativeHistogram>(sum.total());
  if (average) total->divide(static_cast<double>(sum.size()));
  total->compact();
  return {stale_marker(), std::move(total)};
}

WindowResult total_over_time(const Window& window) {
  const bool average = window.function == "avg_over_time";
  if (!window.floats.empty() && !window.histograms.empty()) {
    window.warn_of_mix();
    return nothing();
  }
  if (window.floats.empty()) return histogram_total(window, average);
  if (average) {
    KahanMean mean;
    for (const FloatPoint& point : window.floats) mean.add(point.value);
    return of(mean.mean());
  }
  KahanSum sum;
  for (const FloatPoint& point : window.floats) sum.add(point.value);
  return of(sum.total());
}

WindowResult count_over_time(const Window& window) {
  return of(static_cast<double>(window.floats.size() + window.histograms.size()));
}

WindowResult present_over_time(const Window&) { return of(1); }

// Whether the float is the one at that end of the window.
bool float_is(const Window& window, bool last) {
  if (window.floats.empty() || window.histograms.empty()) return !window.floats.empty();
  return last ? window.floats.back().at_ms > window.histograms.back().at_ms
              : window.floats.front().at_ms < window.histograms.front().at_ms;
}

WindowResult end_over_time(const Window& window) {
  const bool last = window.function == "last_over_time";
  if (float_is(window, last)) return of((last ? window.floats.back() : window.floats.front()).value);
  return {stale_marker(), (last ? window.histograms.back() : window.histograms.front()).histogram};
}

WindowResult time_of_end_over_time(const Window& window) {
  const bool last = window.function == "ts_of_last_over_time";
  const UnixMillis at = float_is(window, last) ? (last ? window.floats.back() : window.floats.front()).at_ms
                                               : (last ? window.histograms.back() : window.histograms.front()).at_ms;
  return of(static_cast<double>(at) / 1000);
}

// min, max and the times of theirs; of equal ones the last counts. NaN only where there is nothing else.
WindowResult extreme_over_time(const Window& window) {
  if (window.floats.empty()) return nothing();
  window.inform_of_ignored_histograms();
  const bool max = window.function.find("max") != std::string_view::npos;
  FloatPoint best = window.floats.front();
  for (const FloatPoint& point : window.floats) {
    if (std::isnan(best.value) || (max ? point.value >= best.value : point.value <= best.value)) best = point;
  }
  return of(window.function.starts_with("ts_of") ? static_cast<double>(best.at_ms) / 1000 : best.value);
}

WindowResult deviation_over_time(const Window& window) {
  if (window.floats.empty()) return nothing();
  window.inform_of_ignored_histograms();
  double count = 0;
  KahanSum mean;
  KahanSum squares;
  for (const FloatPoint& point : window.floats) {
    ++count;
    const double delta = point.value - (mean.sum + mean.compensation);
    mean.add(delta / count);
    squares.add(delta * (point.value - (mean.sum + mean.compensation)));
  }
  const double variance = (squares.sum + squares.compensation) / count;
  return of(window.function == "stddev_over_time" ? std::sqrt(variance) : variance);
}

std::vector<double> values_of(const Window& window) {
  std::vector<double> values;
  values.reserve(window.floats.size());
  for (const FloatPoint& point : window.floats) values.push_back(point.value);
  return values;
}

WindowResult quantile_over_time(const Window& window) {
  if (window.floats.empty()) return nothing();
  window.inform_of_ignored_histograms();
  std::vector<double> values = values_of(window);
  return of(quantile_of_values(window.first_param, values));
}

WindowResult mad_over_time(const Window& window) {
  if (window.floats.empty()) return nothing();
  window.inform_of_ignored_histograms();
  std::vector<double> values = values_of(window);
  if (std::any_of(values.begin(), values.end(), [](double v) { return std::isnan(v); })) {
    return of(std::bit_cast<double>(kNanBits));
  }
  const double median = quantile_of_values(0.5, values);
  for (double& value : values) value = std::abs(value - median);
  return of(quantile_of_values(0.5, values));
}

// Calls `visit(float, histogram)` for each sample in the order of time; one of the two is null.
template <class F>
void in_order(const Window& window, F&& visit) {
  std::size_t f = 0;
  std::size_t h = 0;
  while (f < window.floats.size() || h < window.histograms.size()) {
    const bool take_float = h == window.histograms.size() ||
                            (f < window.floats.size() && window.floats[f].at_ms < window.histograms[h].at_ms);
    if (take_float) {
      visit(&window.floats[f++].value, nullptr);
    } else {
      visit(nullptr, window.histograms[h++].histogram.get());
    }
  }
}

// A sample of another type is a reset, and a change.
WindowResult resets_or_changes(const Window& window) {
  const bool resets = window.function == "resets";
  double count = 0;
  const double* last_float = nullptr;
  const NativeHistogram* last_histogram = nullptr;
  in_order(window, [&](const double* value, const NativeHistogram* histogram) {
    const bool first = last_float == nullptr && last_histogram == nullptr;
    bool counts = false;
    if (!first && value != nullptr) {
      if (last_float == nullptr) {
        counts = true;
      } else if (resets) {
        counts = *value < *last_float;
      } else {
        counts = *value != *last_float && !(std::isnan(*value) && std::isnan(*last_float));
      }
    } else if (!first && histogram != nullptr) {
      counts = last_histogram == nullptr ||
               (resets ? histogram->is_reset_after(*last_histogram) : !histogram->same_as(*last_histogram));
    }
    if (counts) ++count;
    last_float = value;
    last_histogram = histogram;
  });
  return of(count);
}

struct Line {
  double slope = 0;
  double intercept = 0;
};

// Least squares; the intercept at `origin_ms`. A constant series is flat exactly, whatever rounding would say.
Line regression(std::span<const FloatPoint> points, UnixMillis origin_ms) {
  const double nan = std::bit_cast<double>(kNanBits);
  KahanSum x;
  KahanSum y;
  KahanSum xy;
  KahanSum xx;
  double count = 0;
  const double first = points.front().value;
  bool constant = true;
  for (const FloatPoint& point : points) {
    if (point.value != first) constant = false;
    ++count;
    const double seconds = static_cast<double>(point.at_ms - origin_ms) / 1000;
    x.add(seconds);
    y.add(point.value);
    xy.add(seconds * point.value);
    xx.add(seconds * seconds);
  }
  if (constant) return std::isinf(first) ? Line{nan, nan} : Line{0, first};
  const double sum_x = x.sum + x.compensation;
  const double sum_y = y.sum + y.compensation;
  const double covariance = xy.sum + xy.compensation - sum_x * sum_y / count;
  const double variance = xx.sum + xx.compensation - sum_x * sum_x / count;
  const double slope = covariance / variance;
  return {slope, sum_y / count - slope * sum_x / count};
}

WindowResult regression_over_time(const Window& window) {
  if (!window.floats.empty()) window.inform_of_ignored_histograms();
  if (window.floats.size() < 2) return nothing();
  // A slope is the same from anywhere, and most exact from among the samples.
  if (window.function == "deriv") return of(regression(window.floats, window.floats.front().at_ms).slope);
  const Line line = regression(window.floats, window.at_ms);
  return of(line.slope * window.first_param + line.intercept);
}

WindowResult double_exponential_smoothing(const Window& window) {
  const double smoothing = window.first_param;
  const double trend = window.second_param;
  if (!(smoothing > 0 && smoothing < 1)) {
    throw EvalFailure{ErrorCode::kInvalidArgument,
                      fmt::format("invalid smoothing factor. Expected: 0 < sf < 1, got: {:f}", smoothing)};
  }
  if (!(trend > 0 && trend < 1)) {
    throw EvalFailure{ErrorCode::kInvalidArgument,
                      fmt::format("invalid trend factor. Expected: 0 < tf < 1, got: {:f}", trend)};
  }
  if (!window.floats.empty()) window.inform_of_ignored_histograms();
  if (window.floats.size() < 2) return nothing();
  double before = 0;
  double level = window.floats[0].value;
  double slope = window.floats[1].value - window.floats[0].value;
  for (std::size_t i = 1; i < window.floats.size(); ++i) {
    if (i > 1) slope = trend * (level - before) + (1 - trend) * slope;
    const double next = smoothing * window.floats[i].value + (1 - smoothing) * (level + slope);
    before = level;
    level = next;
  }
  return of(level);
}

template <WindowFunction F>
Tracks sliding(Evaluation& evaluation, const CallExpr& call, const Grid& grid) {
  return slide(evaluation, call, grid, F);
}

bool keeps_name(std::string_view function) { return function == "last_over_time" || function == "first_over_time"; }

// Moves [begin, end) on to the points in (after, until].
template <class Points>
void advance(const Points& points, UnixMillis after, UnixMillis until, std::size_t& begin, std::size_t& end) {
  while (begin < points.size() && points[begin].at_ms <= after) ++begin;
  end = std::max(end, begin);
  while (end < points.size() && points[end].at_ms <= until) ++end;
}

}  // namespace

void Window::warn_of_mix() const {
  warn(fmt::format("encountered a mix of histograms and floats{}", for_metric(metric_name)));
}

void Window::inform_of_ignored_histograms() const {
  if (histograms.empty()) return;
  inform(fmt::format("ignored histograms in a range containing both floats and histograms{}", for_metric(metric_name)));
}

Tracks slide(Evaluation& evaluation, const CallExpr& call, const Grid& grid, WindowFunction function) {
  const auto is_range = [](const ExprPtr& arg) { return arg->type() == ValueType::kRangeVector; };
  const auto range_arg = std::find_if(call.args.begin(), call.args.end(), is_range);
  std::vector<double> params[2];
  std::size_t given = 0;
  const RangeInput input = evaluation.range(**range_arg, grid, call.function->name);
  for (const ExprPtr& arg : call.args) {
    if (is_range(arg)) continue;
    params[given++] = evaluation.scalar(*arg, grid);
    if (call.function->name != "quantile_over_time") continue;
    for (const double q : params[0]) {
      if (std::isnan(q) || q < 0 || q > 1) evaluation.annotations().warn(quantile_warning(q), arg->at.begin);
    }
  }
  Tracks tracks;
  tracks.reserve(input.series.size());
  for (const RangeSeries& series : input.series) {
    evaluation.charge(grid.steps);
    Track track(series.labels, series.drop_name || !keeps_name(call.function->name), grid.steps);
    Window window{.evaluation = evaluation,
                  .floats = {},
                  .histograms = {},
                  .metric_name = series.labels->metric_name(),
                  .place = (*range_arg)->at.begin,
                  .function = call.function->name};
    std::size_t float_begin = 0;
    std::size_t float_end = 0;
    std::size_t histogram_begin = 0;
    std::size_t histogram_end = 0;
    bool any = false;
    for (std::size_t step = 0; step < grid.steps; ++step) {
      window.at_ms = grid.at(step);
      window.until_ms = input.window_end(window.at_ms);
      window.after_ms = window.until_ms - input.range_ms;
      advance(series.floats, window.after_ms, window.until_ms, float_begin, float_end);
      advance(series.histograms, window.after_ms, window.until_ms, histogram_begin, histogram_end);
      window.floats = series.floats.subspan(float_begin, float_end - float_begin);
      window.histograms = series.histograms.subspan(histogram_begin, histogram_end - histogram_begin);
      const bool edged = input.edges != EdgeMode::kPlain;
      if (!edged && window.floats.empty() && window.histograms.empty()) continue;
      if (given > 0) window.first_param = params[0][step];
      if (given > 1) window.second_param = params[1][step];
      WindowResult result =
          edged ? edged_window(window, input.edges, series.floats, input.lookback_ms) : function(window);
      if (result.histogram != nullptr) {
        track.set(step, std::move(result.histogram));
      } else if (!is_stale(result.value)) {
        track.values[step] = result.value;
      } else {
        continue;
      }
      any = true;
    }
    if (any) tracks.push_back(std::move(track));
  }
  return tracks;
}

VectorFunction find_range_function(std::string_view name) {
  static const std::unordered_map<std::string_view, VectorFunction> functions = {
      {"rate", sliding<rate_window>},
      {"increase", sliding<rate_window>},
      {"delta", sliding<rate_window>},
      {"irate", sliding<instant_rate_window>},
      {"idelta", sliding<instant_rate_window>},
      {"resets", sliding<resets_or_changes>},
      {"changes", sliding<resets_or_changes>},
      {"deriv", sliding<regression_over_time>},
      {"predict_linear", sliding<regression_over_time>},
      {"double_exponential_smoothing", sliding<double_exponential_smoothing>},
      {"sum_over_time", sliding<total_over_time>},
      {"avg_over_time", sliding<total_over_time>},
      {"count_over_time", sliding<count_over_time>},
      {"present_over_time", sliding<present_over_time>},
      {"absent_over_time", absent_over_time},
      {"last_over_time", sliding<end_over_time>},
      {"first_over_time", sliding<end_over_time>},
      {"ts_of_last_over_time", sliding<time_of_end_over_time>},
      {"ts_of_first_over_time", sliding<time_of_end_over_time>},
      {"min_over_time", sliding<extreme_over_time>},
      {"max_over_time", sliding<extreme_over_time>},
      {"ts_of_min_over_time", sliding<extreme_over_time>},
      {"ts_of_max_over_time", sliding<extreme_over_time>},
      {"stddev_over_time", sliding<deviation_over_time>},
      {"stdvar_over_time", sliding<deviation_over_time>},
      {"quantile_over_time", sliding<quantile_over_time>},
      {"mad_over_time", sliding<mad_over_time>},
  };
  const auto found = functions.find(name);
  return found == functions.end() ? nullptr : found->second;
}

}  // namespace fettle::promql
