// rate, increase, delta, irate, idelta: how fast a series moves.
#include <fmt/format.h>

#include <algorithm>

#include "promql/histogram_meeting.h"
#include "promql/range_functions.h"

namespace fettle::promql {
namespace {

constexpr std::string_view kNotCounter = "this native histogram metric is not a counter: {}";
constexpr std::string_view kNotGauge = "this native histogram metric is not a gauge: {}";

void warn_of_layouts(const Window& window) {
  window.warn(fmt::format("vector contains a mix of histograms with exponential and custom buckets schemas{}",
                          for_metric(window.metric_name)));
}

bool is_gauge(const HistogramPoint& point) { return point.histogram->hint == ResetHint::kGauge; }

// last − first, plus what was counted before each reset. Null where the layouts do not go together.
std::shared_ptr<NativeHistogram> histogram_increase(const Window& window, bool counter) {
  const auto points = window.histograms;
  NativeHistogram first = *points.front().histogram;
  const NativeHistogram& last = *points.back().histogram;
  const bool gauge_among = std::any_of(points.begin(), points.end(), is_gauge);
  if (counter && gauge_among) {
    window.warn(fmt::format(kNotCounter, quoted(window.metric_name)));
  }
  std::size_t begin = 0;
  if (counter && points[1].histogram->is_reset_after(first)) {
    // Nothing of the first sample matters then, not even its layout.
    const NativeHistogram& second = *points[1].histogram;
    first = NativeHistogram{.schema = second.schema};
    first.zero_threshold = second.zero_threshold;
    first.custom_bounds = second.custom_bounds;
    begin = 1;
  }
  for (std::size_t i = begin; i < points.size(); ++i) {
    // Between the ends only counters look at the samples.
    if (!counter && i != 0 && i + 1 != points.size()) continue;
    if (points[i].histogram->is_custom() != last.is_custom()) {
      warn_of_layouts(window);
      return nullptr;
    }
  }
  auto result = std::make_shared<NativeHistogram>(last);
  const auto annotate = [&](NativeHistogram::Meeting meeting, std::string_view operation) {
    meeting.resets_collide = false;  // a reset is what this is about
    annotate_meeting(window.evaluation.annotations(), meeting, operation, window.place);
  };
  annotate(result->subtract(first), "subtraction");
  if (counter) {
    const NativeHistogram* before = &first;
    for (std::size_t i = 1; i < points.size(); ++i) {
      const NativeHistogram& now = *points[i].histogram;
      if (!(i == 1 && begin == 1) && now.is_reset_after(*before)) annotate(result->add(*before), "addition");
      before = &now;
    }
  } else if (!is_gauge(points.front()) || !is_gauge(points.back())) {
    window.warn(fmt::format(kNotGauge, quoted(window.metric_name)));
  }
  result->hint = ResetHint::kGauge;
  result->compact();
  return result;
}

double float_increase(const Window& window, bool counter) {
  double result = window.floats.back().value - window.floats.front().value;
  if (!counter) return result;
  double before = window.floats.front().value;
  for (const FloatPoint& point : window.floats.subspan(1)) {
    if (point.value < before) result += before;
    before = point.value;
  }
  return result;
}

}  // namespace

WindowResult rate_window(const Window& window) {
  const bool counter = window.function != "delta";
  const bool per_second = window.function == "rate";
  WindowResult out;
  if (!window.floats.empty() && !window.histograms.empty()) {
    window.warn_of_mix();
    return out;
  }
  if (counter && !window.floats.empty() && !window.metric_name.empty()) {
    const auto ends = [&](std::string_view suffix) { return window.metric_name.ends_with(suffix); };
    if (!ends("_total") && !ends("_sum") && !ends("_count") && !ends("_bucket")) {
      window.inform(fmt::format("metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {}",
                                quoted(window.metric_name)));
    }
  }
  std::shared_ptr<NativeHistogram> histogram;
  double value = 0;
  UnixMillis first_ms = 0;
  UnixMillis last_ms = 0;
  double first_level = 0;
  double gained = 0;
  std::size_t samples = 0;
  if (window.histograms.size() > 1) {
    histogram = histogram_increase(window, counter);
    if (histogram == nullptr) return out;
    first_ms = window.histograms.front().at_ms;
    last_ms = window.histograms.back().at_ms;
    first_level = window.histograms.front().histogram->count;
    gained = histogram->count;
    samples = window.histograms.size();
  } else if (window.floats.size() > 1) {
    value = float_increase(window, counter);
    first_ms = window.floats.front().at_ms;
    last_ms = window.floats.back().at_ms;
    first_level = window.floats.front().value;
    gained = value;
    samples = window.floats.size();
  } else {
    return out;
  }
  const auto seconds = [](UnixMillis ms) { return static_cast<double>(ms) / 1000; };
  const double sampled = seconds(last_ms - first_ms);
  const double average = sampled / static_cast<double>(samples - 1);
  double to_start = seconds(first_ms - window.after_ms);
  double to_end = seconds(window.until_ms - last_ms);
  // Samples that lie further from the edge than they do from each other say the series began or ended inside.
  const double threshold = average * 1.1;
  if (to_start >= threshold) to_start = average / 2;
  // A counter cannot have been below zero before its first sample.
  if (counter && gained > 0 && first_level >= 0) to_start = std::min(to_start, sampled * (first_level / gained));
  if (to_end >= threshold) to_end = average / 2;
  double factor = (sampled + to_start + to_end) / sampled;
  if (per_second) factor /= seconds(window.until_ms - window.after_ms);
  if (histogram != nullptr) {
    histogram->multiply(factor);
    out.histogram = std::move(histogram);
  } else {
    out.value = value * factor;
  }
  return out;
}

WindowResult instant_rate_window(const Window& window) {
  const bool rate = window.function == "irate";
  WindowResult out;
  // The last two samples, whichever they are.
  Sample last[2];
  std::size_t f = window.floats.size();
  std::size_t h = window.histograms.size();
  if (f + h < 2) return out;
  for (int i = 1; i >= 0; --i) {
    const bool take_float = f > 0 && (h == 0 || window.floats[f - 1].at_ms > window.histograms[h - 1].at_ms);
    if (take_float) {
      --f;
      last[i] = {window.floats[f].at_ms, window.floats[f].value, nullptr};
    } else {
      --h;
      last[i] = {window.histograms[h].at_ms, 0, window.histograms[h].histogram};
    }
  }
  const double seconds = static_cast<double>(last[1].at_ms - last[0].at_ms) / 1000;
  if ((last[0].histogram == nullptr) != (last[1].histogram == nullptr)) {
    window.warn_of_mix();
    return out;
  }
  if (last[0].histogram == nullptr) {
    const bool reset = rate && last[1].value < last[0].value;
    out.value = reset ? last[1].value : last[1].value - last[0].value;
    if (rate) out.value /= seconds;
    return out;
  }
  const NativeHistogram& before = *last[0].histogram;
  auto result = std::make_shared<NativeHistogram>(*last[1].histogram);
  const bool gauge_before = before.hint == ResetHint::kGauge;
  const bool gauge_now = result->hint == ResetHint::kGauge;
  if (rate && (gauge_before || gauge_now)) window.warn(fmt::format(kNotCounter, quoted(window.metric_name)));
  if (!rate && !(gauge_before && gauge_now)) window.warn(fmt::format(kNotGauge, quoted(window.metric_name)));
  if (!rate || !result->is_reset_after(before)) {
    NativeHistogram::Meeting meeting = result->subtract(before);
    if (!meeting.compatible) {
      warn_of_layouts(window);
      return out;
    }
    meeting.resets_collide = false;
    annotate_meeting(window.evaluation.annotations(), meeting, "subtraction", window.place);
  }
  if (rate) result->divide(seconds);
  result->hint = ResetHint::kGauge;
  result->compact();
  out.histogram = std::move(result);
  return out;
}

}  // namespace fettle::promql
