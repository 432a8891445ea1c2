// What the functions of range vectors share: a window of samples slides over each series. Private to the room.
#pragma once

#include <span>

#include "promql/evaluation.h"

namespace fettle::promql {

// The samples of one series at one step, and where the query asks for them.
struct Window {
  Evaluation& evaluation;
  std::span<const FloatPoint> floats;
  std::span<const HistogramPoint> histograms;
  UnixMillis after_ms = 0;  // exclusive
  UnixMillis until_ms = 0;  // inclusive
  UnixMillis at_ms = 0;     // of the step
  std::string_view metric_name;
  std::size_t place = 0;  // of the range argument in the query
  std::string_view function;
  double first_param = 0;  // the scalar arguments at this step
  double second_param = 0;

  void warn(std::string_view text) const { evaluation.annotations().warn(text, place); }
  void inform(std::string_view text) const { evaluation.annotations().inform(text, place); }
  void warn_of_mix() const;
  // For functions of floats alone.
  void inform_of_ignored_histograms() const;
};

struct WindowResult {
  double value = stale_marker();  // the marker: none
  HistogramPtr histogram;
};

using WindowFunction = WindowResult (*)(const Window&);
Tracks slide(Evaluation& evaluation, const CallExpr& call, const Grid& grid, WindowFunction function);

WindowResult rate_window(const Window& window);          // rate, increase, delta
WindowResult instant_rate_window(const Window& window);  // irate, idelta
// Over a window whose edges are made up from the samples around it; `all` reaches beyond it.
WindowResult edged_window(const Window& window, EdgeMode edges, std::span<const FloatPoint> all,
                          std::int64_t lookback_ms);

}  // namespace fettle::promql
