#include "promql/script_load.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <string_view>

#include "promql/script_compare.h"
#include "promql/series_notation.h"

namespace fettle::promql {
namespace {

struct Cumulative {
  std::map<double, double> buckets;  // by upper bound
  std::optional<double> count;
  double sum = 0;
};

// Null for counts that fall from one bucket to the next.
HistogramPtr histogram_of(const Cumulative& given) {
  auto out = std::make_shared<NativeHistogram>();
  out->schema = kCustomSchema;
  out->sum = given.sum;
  double below = 0;
  std::int32_t index = 0;
  for (const auto& [upper, count] : given.buckets) {
    if (count < below) return nullptr;
    if (std::isfinite(upper)) out->custom_bounds.push_back(upper);
    if (count != below) out->positive.push_back({index, count - below});
    ++index;
    below = count;
  }
  const bool has_infinity = !given.buckets.empty() && std::isinf(given.buckets.rbegin()->first);
  out->count = has_infinity ? below : given.count.value_or(below);
  if (out->count < below) return nullptr;
  if (out->count != below) out->positive.push_back({index, out->count - below});
  return out;
}

bool same_layout(const NativeHistogram& a, const NativeHistogram& b) {
  return a.schema == b.schema && a.zero_threshold == b.zero_threshold && a.custom_bounds == b.custom_bounds;
}

// A store that keeps counters in chunks knows of each sample whether it follows the one before or begins anew, and
// hands that out as the hint; of the first of a series, or of a layout, it knows nothing.
HistogramPtr with_hint(HistogramPtr now, const HistogramPtr& before) {
  if (now->hint == ResetHint::kGauge || now->hint == ResetHint::kReset) return now;
  auto out = std::make_shared<NativeHistogram>(*now);
  out->hint = ResetHint::kUnknown;
  if (before != nullptr && before->hint != ResetHint::kGauge && same_layout(*now, *before)) {
    out->hint = out->is_reset_after(*before) ? ResetHint::kReset : ResetHint::kNotReset;
  }
  return out;
}

std::optional<double> bound_of(std::string_view le) {
  const std::string text(le);
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0') return std::nullopt;
  return value;
}

}  // namespace

LoadedWith load(MemorySource& source, std::int64_t step_ms, const std::vector<std::string>& lines) {
  LoadedWith with;
  for (const std::string& line : lines) {
    if (line.find("@st") != std::string::npos && line.find("@st") < line.find_first_of(" \t")) {
      with.start_times = true;
      continue;
    }
    const auto series = read_series(line);
    if (!series) throw ScriptFailure{series.error().message()};
    UnixMillis at = 0;
    HistogramPtr before;
    for (const NotedSample& sample : series->samples) {
      if (sample) {
        HistogramPtr histogram = sample->histogram;
        if (histogram != nullptr) histogram = with_hint(std::move(histogram), before);
        source.add(series->labels, {at, sample->value, histogram});
        before = std::move(histogram);
      }
      at += step_ms;
    }
  }
  return with;
}

void add_custom_histograms(MemorySource& source) {
  std::map<Labels, std::map<UnixMillis, Cumulative>> histograms;
  std::map<Labels, bool> has_buckets;
  for (const auto& [labels, series] : source.all()) {
    const std::string name(labels.metric_name());
    for (const std::string_view suffix : {"_bucket", "_count", "_sum"}) {
      if (!name.ends_with(suffix)) continue;
      Labels base = labels;
      base.set(kMetricName, name.substr(0, name.size() - suffix.size()));
      const auto bound = bound_of(labels.get(kBucketLabel));
      base.remove(kBucketLabel);
      if (suffix == "_bucket" && !bound) continue;
      if (suffix == "_bucket") has_buckets[base] = true;
      for (const FloatPoint& point : series->floats) {
        if (is_stale(point.value)) continue;
        Cumulative& at = histograms[base][point.at_ms];
        if (suffix == "_bucket")
          at.buckets[*bound] = point.value;
        else if (suffix == "_count")
          at.count = point.value;
        else
          at.sum = point.value;
      }
    }
  }
  for (const auto& [labels, times] : histograms) {
    if (!has_buckets.contains(labels)) continue;
    HistogramPtr before;
    for (const auto& [at, cumulative] : times) {
      HistogramPtr histogram = cumulative.buckets.empty() ? nullptr : histogram_of(cumulative);
      if (histogram == nullptr) continue;
      before = with_hint(std::move(histogram), before);
      source.add(labels, {at, 0, before});
    }
  }
}

}  // namespace fettle::promql
