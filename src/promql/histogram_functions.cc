// Functions of histograms: native ones read by themselves, classic ones as groups of bucket series.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "promql/evaluation.h"
#include "promql/functions.h"
#include "promql/kahan.h"

namespace fettle::promql {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
// Counts that differ by less are the same count after somebody's arithmetic.
constexpr double kCountTolerance = 1e-12;

double count_of(const NativeHistogram& h) { return h.count; }
double sum_of(const NativeHistogram& h) { return h.sum; }
double average_of(const NativeHistogram& h) { return h.sum / h.count; }
double deviation_of(const NativeHistogram& h) { return std::sqrt(variance_of(h)); }

template <double (*F)(const NativeHistogram&)>
Tracks read(Evaluation& evaluation, const CallExpr& call, const Grid& grid) {
  Tracks tracks = evaluation.vector(*call.args[0], grid);
  for (Track& track : tracks) {
    track.drop_name = true;
    for (std::size_t step = 0; step < grid.steps; ++step) {
      const HistogramPtr* histogram = track.histogram(step);
      track.values[step] = histogram == nullptr ? stale_marker() : F(**histogram);
    }
    track.histograms.clear();
  }
  return tracks;
}

struct ClassicBucket {
  double upper = 0;
  double count = 0;  // cumulative
};

bool nearly_equal(double a, double b) {
  if (a == b) return true;
  const double difference = std::abs(a - b);
  const double sum = std::abs(a) + std::abs(b);
  if (a == 0 || b == 0 || sum < std::numeric_limits<double>::min()) {
    return difference < kCountTolerance * std::numeric_limits<double>::min();
  }
  return difference / std::min(sum, std::numeric_limits<double>::max()) < kCountTolerance;
}

// Buckets with one bound become one.
void coalesce(std::vector<ClassicBucket>& buckets) {
  std::size_t kept = 0;
  for (std::size_t i = 1; i < buckets.size(); ++i) {
    if (buckets[i].upper == buckets[kept].upper) {
      buckets[kept].count += buckets[i].count;
    } else {
      buckets[++kept] = buckets[i];
    }
  }
  buckets.resize(kept + 1);
}

// Raises counts that fall below the one before. True when one was too low by more than rounding explains.
bool make_monotonic(std::vector<ClassicBucket>& buckets) {
  bool forced = false;
  double before = buckets[0].count;
  for (ClassicBucket& bucket : buckets) {
    if (bucket.count == before) continue;
    if (nearly_equal(before, bucket.count)) {
      bucket.count = before;
    } else if (bucket.count < before) {
      bucket.count = before;
      forced = true;
    } else {
      before = bucket.count;
    }
  }
  return forced;
}

// `buckets` ascend, are monotonic and end in +Inf.
double classic_quantile(double q, const std::vector<ClassicBucket>& buckets) {
  if (buckets.size() < 2 || buckets.back().upper != kInfinity) return std::bit_cast<double>(kNanBits);
  const double total = buckets.back().count;
  if (total == 0 || std::isnan(total)) return std::bit_cast<double>(kNanBits);
  double rank = q * total;
  std::size_t i = 0;
  while (i + 1 < buckets.size() && !(buckets[i].count >= rank)) ++i;
  if (i + 1 == buckets.size()) return buckets[i - 1].upper;
  if (i == 0 && buckets[0].upper <= 0) return buckets[0].upper;
  const double lower = i == 0 ? 0 : buckets[i - 1].upper;
  const double below = i == 0 ? 0 : buckets[i - 1].count;
  rank -= below;
  return lower + (buckets[i].upper - lower) * (rank / (buckets[i].count - below));
}

double classic_fraction(double lower, double upper, const std::vector<ClassicBucket>& buckets) {
  if (buckets.back().upper != kInfinity) return std::bit_cast<double>(kNanBits);
  // The same as a native histogram with these bounds.
  NativeHistogram histogram{.schema = kCustomSchema};
  double below = 0;
  for (std::size_t i = 0; i < buckets.size(); ++i) {
    if (i + 1 < buckets.size()) histogram.custom_bounds.push_back(buckets[i].upper);
    histogram.positive.push_back({static_cast<std::int32_t>(i), buckets[i].count - below});
    below = buckets[i].count;
  }
  histogram.count = below;
  return fraction_of(histogram, lower, upper);
}

std::optional<double> bound_of(std::string_view text) {
  if (text.empty()) return std::nullopt;
  std::string copy(text);
  char* end = nullptr;
  const double value = std::strtod(copy.c_str(), &end);
  if (end != copy.c_str() + copy.size() || std::isspace(static_cast<unsigned char>(copy[0])) || std::isnan(value)) {
    return std::nullopt;
  }
  return value;
}

// A vector that may hold native histograms, bucket series of classic ones, or both.
class Histograms {
 public:
  Histograms(Evaluation& evaluation, const Expr& expr, const Grid& grid)
      : evaluation_(evaluation), place_(expr.at.begin), grid_(grid), tracks_(evaluation.vector(expr, grid)) {
    for (std::size_t i = 0; i < tracks_.size(); ++i) {
      Labels key = *tracks_[i].labels;
      const std::string le(key.get(kBucketLabel));
      const auto bound = bound_of(le);
      const auto any = [&](auto&& wanted) {
        for (std::size_t step = 0; step < grid.steps; ++step) {
          if (wanted(step)) return true;
        }
        return false;
      };
      const bool floats = any([&](std::size_t step) { return tracks_[i].has_float(step); });
      const bool natives = any([&](std::size_t step) { return tracks_[i].histogram(step) != nullptr; });
      if (floats && !bound) {
        evaluation.annotations().warn(fmt::format("bucket label \"le\" is missing or has a malformed value of {}{}",
                                                  quoted(le), for_metric(tracks_[i].labels->metric_name())),
                                      place_);
      }
      const bool bucket = floats && bound.has_value();
      if (!bucket && !natives) continue;
      key.remove(kBucketLabel);
      const auto [place, is_new] = places_.try_emplace(key, groups_.size());
      if (is_new) groups_.push_back({std::make_shared<const Labels>(std::move(key)), {}, {}});
      if (bucket) groups_[place->second].buckets.emplace_back(*bound, i);
      if (natives) groups_[place->second].natives.push_back(i);
    }
    for (Group& group : groups_) std::sort(group.buckets.begin(), group.buckets.end());
  }

  // `classic(buckets, step)` and `native(histogram, step)` give the value of each group.
  template <class Classic, class Native>
  Tracks each(Classic&& classic, Native&& native) {
    Tracks out;
    std::vector<ClassicBucket> buckets;
    for (const Group& group : groups_) {
      evaluation_.charge(grid_.steps);
      Track track(group.labels, true, grid_.steps);
      metric_name_ = group.labels->metric_name();
      for (std::size_t step = 0; step < grid_.steps; ++step) {
        const HistogramPtr* histogram = nullptr;
        for (const std::size_t i : group.natives) {
          const HistogramPtr* found = tracks_[i].histogram(step);
          if (found != nullptr) histogram = found;
        }
        buckets.clear();
        for (const auto& [upper, i] : group.buckets) {
          if (tracks_[i].has_float(step)) buckets.push_back({upper, tracks_[i].values[step]});
        }
        if (histogram != nullptr && !buckets.empty()) {
          evaluation_.annotations().warn(
              fmt::format("vector contains a mix of classic and native histograms{}", for_metric(metric_name_)),
              place_);
        } else if (histogram != nullptr) {
          track.values[step] = native(**histogram, step);
        } else if (!buckets.empty()) {
          coalesce(buckets);
          track.values[step] = classic(buckets, step);
        }
      }
      out.push_back(std::move(track));
    }
    return out;
  }

  void inform(std::string_view text) const {
    evaluation_.annotations().inform(fmt::format("{}{}", text, for_metric(metric_name_)), place_);
  }

  double quantile(double q, std::vector<ClassicBucket>& buckets) const {
    if (std::isnan(q)) return q;
    if (q < 0) return -kInfinity;
    if (q > 1) return kInfinity;
    if (make_monotonic(buckets)) {
      inform(
          "input to histogram_quantile needed to be fixed for monotonicity (see "
          "https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)");
    }
    return classic_quantile(q, buckets);
  }

  double quantile(double q, const NativeHistogram& histogram) const {
    NanEffect effect{};
    const double value = quantile_of(histogram, q, effect);
    if (effect == NanEffect::kResultIsNan) {
      inform("input to histogram_quantile has NaN observations, result is NaN");
    }
    if (effect == NanEffect::kSkewed) {
      inform("input to histogram_quantile has NaN observations, result is skewed higher");
    }
    return value;
  }

 private:
  struct Group {
    LabelsPtr labels;
    std::vector<std::pair<double, std::size_t>> buckets;  // upper bound, track
    std::vector<std::size_t> natives;
  };

  Evaluation& evaluation_;
  const std::size_t place_;
  const Grid& grid_;
  Tracks tracks_;
  std::vector<Group> groups_;
  std::unordered_map<Labels, std::size_t, LabelsHash> places_;
  std::string_view metric_name_;
};

std::vector<double> quantiles(Evaluation& evaluation, const Expr& expr, const Grid& grid) {
  std::vector<double> qs = evaluation.scalar(expr, grid);
  for (const double q : qs) {
    if (std::isnan(q) || q < 0 || q > 1) evaluation.annotations().warn(quantile_warning(q), expr.at.begin);
  }
  return qs;
}

Tracks histogram_quantile(Evaluation& evaluation, const CallExpr& call, const Grid& grid) {
  const std::vector<double> qs = quantiles(evaluation, *call.args[0], grid);
  Histograms histograms(evaluation, *call.args[1], grid);
  return histograms.each(
      [&](std::vector<ClassicBucket>& buckets, std::size_t step) { return histograms.quantile(qs[step], buckets); },
      [&](const NativeHistogram& histogram, std::size_t step) { return histograms.quantile(qs[step], histogram); });
}

// "0.0", "0.25", "1.0", as bounds are written in exposition formats.
std::string bound_text(double value) {
  std::string text = format_value(value);
  if (std::isfinite(value) && text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

Tracks histogram_quantiles(Evaluation& evaluation, const CallExpr& call, const Grid& grid) {
  const std::string& label = evaluation.text(*call.args[1]);
  std::vector<std::vector<double>> qs;
  for (std::size_t i = 2; i < call.args.size(); ++i) qs.push_back(quantiles(evaluation, *call.args[i], grid));
  Histograms histograms(evaluation, *call.args[0], grid);
  Tracks out;
  std::unordered_map<Labels, std::size_t, LabelsHash> places;
  for (const std::vector<double>& q : qs) {
    Tracks tracks = histograms.each(
        [&](std::vector<ClassicBucket>& buckets, std::size_t step) { return histograms.quantile(q[step], buckets); },
        [&](const NativeHistogram& histogram, std::size_t step) { return histograms.quantile(q[step], histogram); });
    for (const Track& track : tracks) {
      for (std::size_t step = 0; step < grid.steps; ++step) {
        if (!track.has(step)) continue;
        Labels labels = *track.labels;
        labels.set(label, bound_text(q[step]));
        const auto [place, is_new] = places.try_emplace(labels, out.size());
        if (is_new) {
          evaluation.charge(grid.steps);
          out.emplace_back(std::make_shared<const Labels>(std::move(labels)), true, grid.steps);
        }
        if (out[place->second].has(step)) {
          throw EvalFailure{ErrorCode::kInvalidArgument, "vector cannot contain metrics with the same labelset"};
        }
        out[place->second].values[step] = track.values[step];
      }
    }
  }
  return out;
}

Tracks histogram_fraction(Evaluation& evaluation, const CallExpr& call, const Grid& grid) {
  const std::vector<double> lower = evaluation.scalar(*call.args[0], grid);
  const std::vector<double> upper = evaluation.scalar(*call.args[1], grid);
  Histograms histograms(evaluation, *call.args[2], grid);
  return histograms.each(
      [&](std::vector<ClassicBucket>& buckets, std::size_t step) {
        return classic_fraction(lower[step], upper[step], buckets);
      },
      [&](const NativeHistogram& histogram, std::size_t step) {
        if (std::isnan(histogram.sum)) {
          histograms.inform("input to histogram_fraction has NaN observations, which are excluded from all fractions");
        }
        return fraction_of(histogram, lower[step], upper[step]);
      });
}

}  // namespace

VectorFunction find_histogram_function(std::string_view name) {
  static const std::unordered_map<std::string_view, VectorFunction> functions = {
      {"histogram_count", read<count_of>},          {"histogram_sum", read<sum_of>},
      {"histogram_avg", read<average_of>},          {"histogram_stddev", read<deviation_of>},
      {"histogram_stdvar", read<variance_of>},      {"histogram_quantile", histogram_quantile},
      {"histogram_quantiles", histogram_quantiles}, {"histogram_fraction", histogram_fraction},
  };
  const auto found = functions.find(name);
  return found == functions.end() ? nullptr : found->second;
}

}  // namespace fettle::promql
