// What is read out of a native histogram: quantile, share, variance, and the part on one side of a bound.
#include <algorithm>
#include <cmath>
#include <limits>

#include "promql/kahan.h"
#include "promql/native_histogram.h"

namespace fettle::promql {
namespace {

using Range = NativeHistogram::Range;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// The zero bucket reaches to one side only when the other holds nothing; the first custom bucket starts at 0 when it
// ends above.
Range tightened(const NativeHistogram& h, Range range) {
  if (h.is_custom()) {
    if (range.lower == -kInfinity && range.upper > 0) range.lower = 0;
  } else if (range.lower < 0 && range.upper > 0) {
    if (h.negative.empty() && !h.positive.empty()) range.lower = 0;
    if (h.positive.empty() && !h.negative.empty()) range.upper = 0;
  }
  return range;
}

bool is_linear(const NativeHistogram& h, const Range& range) {
  return h.is_custom() || (range.lower <= 0 && range.upper >= 0);
}

// Where in the bucket `value` lies, 0 to 1. A bucket without end is all at its finite end.
double position_in(const NativeHistogram& h, const Range& range, double value) {
  if (range.lower == -kInfinity) return 1;
  if (range.upper == kInfinity) return 0;
  if (is_linear(h, range)) return (value - range.lower) / (range.upper - range.lower);
  const double low = std::log2(std::abs(range.lower));
  const double high = std::log2(std::abs(range.upper));
  return (std::log2(std::abs(value)) - low) / (high - low);
}

double value_at(const NativeHistogram& h, const Range& range, double position) {
  if (is_linear(h, range)) return range.lower + (range.upper - range.lower) * position;
  const double low = std::log2(std::abs(range.lower));
  const double high = std::log2(std::abs(range.upper));
  const double magnitude = std::exp2(low + (high - low) * position);
  return range.lower < 0 ? -magnitude : magnitude;
}

// The value that stands for what is in a bucket: the middle, geometric where the buckets are.
double middle_of(const Range& range, bool linear) {
  if (range.lower == -kInfinity) return range.upper;
  if (range.upper == kInfinity) return range.lower;
  if (linear) return (range.lower + range.upper) / 2;
  const double middle = std::sqrt(range.lower * range.upper);
  return range.upper < 0 ? -middle : middle;
}

}  // namespace

double quantile_of(const NativeHistogram& h, double q, NanEffect& nan) {
  nan = NanEffect::kNone;
  if (q < 0) return -kInfinity;
  if (q > 1) return kInfinity;
  if (h.count == 0 || std::isnan(q)) return kNan;
  std::vector<Range> ranges = h.ranges();
  // NaN observations are in the count and in no bucket: then only the walk from below finds what lies under a rank.
  const bool has_nan = std::isnan(h.sum);
  const bool forward = has_nan || q < 0.5;
  if (!forward) std::reverse(ranges.begin(), ranges.end());
  double rank = (forward ? q : 1 - q) * h.count;
  double count = 0;
  Range found;
  for (const Range& range : ranges) {
    if (range.count == 0) continue;
    found = range;
    count += range.count;
    if (count >= rank) break;
  }
  const bool first_custom = h.is_custom() && found.lower == -kInfinity;
  if (first_custom && found.upper <= 0) return found.upper;
  found = tightened(h, found);
  if (h.is_custom() && found.upper == kInfinity) return found.lower;
  count = std::min(count, h.count);
  if (count < rank) {
    if (has_nan) {
      nan = NanEffect::kResultIsNan;
      return kNan;
    }
    return forward ? found.upper : found.lower;
  }
  if (has_nan) nan = NanEffect::kSkewed;
  if (found.count == 0) return kNan;
  rank = forward ? rank - (count - found.count) : count - rank;
  return value_at(h, found, rank / found.count);
}

double fraction_of(const NativeHistogram& h, double lower, double upper) {
  if (h.count == 0 || std::isnan(lower) || std::isnan(upper)) return kNan;
  if (lower >= upper) return 0;
  const std::vector<Range> ranges = h.ranges();
  const auto rank_of = [&](double value, double otherwise) {
    double rank = 0;
    for (const Range& given : ranges) {
      const Range range = tightened(h, given);
      if (range.lower >= value) return rank;
      if (range.upper > value) return rank + range.count * position_in(h, range, value);
      rank += range.count;
    }
    return std::min(rank, otherwise);
  };
  // All but NaN observations lie below infinity.
  double all = h.count;
  if (std::isnan(h.sum)) {
    all = 0;
    for (const Range& range : ranges) all += range.count;
  }
  const double low = std::min(rank_of(lower, all), all);
  const double high = upper == kInfinity ? all : std::min(rank_of(upper, all), all);
  return (high - low) / h.count;
}

double variance_of(const NativeHistogram& h) {
  const double mean = h.sum / h.count;
  KahanSum variance;
  for (const Range& range : h.ranges()) {
    if (range.count == 0) continue;
    double value = 0;
    if (h.is_custom()) {
      value = (range.upper + range.lower) / 2;
    } else if (range.lower > 0 || range.upper < 0) {
      value = middle_of(range, false);
    }
    const double delta = value - mean;
    variance.add(range.count * delta * delta);
  }
  return (variance.sum + variance.compensation) / h.count;
}

NativeHistogram trimmed(const NativeHistogram& h, double bound, bool keep_below) {
  NativeHistogram out = h;
  double count = 0;
  KahanSum sum;
  bool whole = true;
  const auto keep = [&](const Range& given) {
    const Range range = tightened(h, given);
    double kept = given.count;
    Range part = range;
    if (std::isnan(bound)) {
      kept = 0;
    } else if (keep_below ? range.lower >= bound && range.upper > bound : range.upper <= bound) {
      kept = 0;
    } else if (keep_below ? range.upper > bound : range.lower < bound) {
      const double position = position_in(h, range, bound);
      kept *= keep_below ? position : 1 - position;
      (keep_below ? part.upper : part.lower) = bound;
    }
    if (kept != given.count) whole = false;
    if (kept != 0) {
      count += kept;
      sum.add(kept * middle_of(part, is_linear(h, range)));
    }
    return kept;
  };
  for (NativeHistogram::Bucket& bucket : out.negative) bucket.count = keep(h.range_of(bucket, true));
  if (h.zero_count != 0) out.zero_count = keep({-h.zero_threshold, h.zero_threshold, h.zero_count});
  for (NativeHistogram::Bucket& bucket : out.positive) bucket.count = keep(h.range_of(bucket, false));
  if (whole) return h;
  out.count = count;
  out.sum = sum.total();
  out.compact();
  return out;
}

}  // namespace fettle::promql
