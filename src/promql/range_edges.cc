// anchored and smoothed: the value at each edge of the window is taken, or interpolated, from the samples around it,
// instead of extrapolating from those inside.
#include <fmt/format.h>

#include <algorithm>

#include "promql/range_functions.h"

namespace fettle::promql {
namespace {

// The value between two samples. Across a counter's reset it rises from zero (left edge) or goes on (right edge).
double between(const FloatPoint& a, const FloatPoint& b, UnixMillis at, bool counter, bool left_edge) {
  double from = a.value;
  double to = b.value;
  if (counter && to < from) {
    if (left_edge) {
      from = 0;
    } else {
      to += from;
    }
  }
  return from + (to - from) * static_cast<double>(at - a.at_ms) / static_cast<double>(b.at_ms - a.at_ms);
}

void require_function(std::string_view function, EdgeMode edges) {
  const bool moves = function == "rate" || function == "increase" || function == "delta";
  if (moves || (edges == EdgeMode::kAnchored && (function == "changes" || function == "resets"))) return;
  throw EvalFailure{
      ErrorCode::kInvalidArgument,
      edges == EdgeMode::kAnchored
          ? fmt::format("anchored modifier can only be used with: changes, delta, increase, rate, resets "
                        "- not with {}",
                        function)
          : fmt::format("smoothed modifier can only be used with: delta, increase, rate - not with {}", function)};
}

}  // namespace

WindowResult edged_window(const Window& window, EdgeMode edges, std::span<const FloatPoint> all,
                          std::int64_t lookback_ms) {
  require_function(window.function, edges);
  if (!window.histograms.empty()) {
    throw EvalFailure{ErrorCode::kInvalidArgument,
                      "smoothed and anchored modifiers do not work with native histograms"};
  }
  const bool smoothed = edges == EdgeMode::kSmoothed;
  const bool counter = window.function == "rate" || window.function == "increase";
  const auto later = [](UnixMillis at, const FloatPoint& point) { return at < point.at_ms; };
  const auto begin = std::upper_bound(all.begin(), all.end(), window.after_ms - lookback_ms, later);
  const auto end = std::upper_bound(begin, all.end(), window.until_ms + (smoothed ? lookback_ms : 0), later);
  const std::span<const FloatPoint> points(begin, end);
  if (points.empty()) return {};
  // The last sample at or before the left edge, or the first after it.
  const auto inside =
      static_cast<std::size_t>(std::upper_bound(points.begin(), points.end(), window.after_ms, later) - points.begin());
  std::size_t first = inside == 0 ? 0 : inside - 1;
  std::size_t last = points.size() - 1;
  if (smoothed) {
    // The first sample at or after the right edge, or the last before it.
    const auto reached = std::lower_bound(points.begin(), points.end(), window.until_ms,
                                          [](const FloatPoint& point, UnixMillis at) { return point.at_ms < at; });
    last = std::min(last, static_cast<std::size_t>(reached - points.begin()));
  }
  if (points[last].at_ms <= window.after_ms) return {};
  double left = points[first].value;
  if (smoothed && points[first].at_ms < window.after_ms && first + 1 < points.size()) {
    left = between(points[first], points[first + 1], window.after_ms, counter, true);
  }
  double right = points[last].value;
  if (smoothed && last > 0 && points[last].at_ms > window.until_ms) {
    right = between(points[last - 1], points[last], window.until_ms, counter, false);
  }
  if (points[first].at_ms <= window.after_ms) ++first;
  std::size_t stop = points[last].at_ms >= window.until_ms ? last : last + 1;
  stop = std::max(stop, first);
  const bool resets = window.function == "resets";
  double moved = right - left;
  double count = 0;
  double before = left;
  const auto visit = [&](double value) {
    if (counter && value < before) moved += before;
    if (resets ? value < before : value != before && !(std::isnan(value) && std::isnan(before))) ++count;
    before = value;
  };
  for (std::size_t i = first; i < stop; ++i) visit(points[i].value);
  visit(right);
  if (resets || window.function == "changes") return {count, nullptr};
  if (window.function == "rate") moved /= static_cast<double>(window.until_ms - window.after_ms) / 1000;
  return {moved, nullptr};
}

}  // namespace fettle::promql
