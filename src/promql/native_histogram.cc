#include "promql/native_histogram.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <iterator>
#include <limits>

#include "promql/kahan.h"
#include "promql/value.h"

namespace fettle::promql {
namespace {

using Bucket = NativeHistogram::Bucket;
using Buckets = std::vector<Bucket>;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

double exponential_bound(std::int32_t index, int schema) {
  const double exponent = std::ldexp(static_cast<double>(index), -schema);
  // The last bucket below infinity ends at the largest number there is.
  if (exponent == 1024) return std::numeric_limits<double>::max();
  return std::exp2(exponent);
}

// a + sign·b; with sign 0 the counts of `a` with room for the buckets of `b`.
Buckets combine(const Buckets& a, const Buckets& b, double sign) {
  Buckets out;
  out.reserve(std::max(a.size(), b.size()));
  auto i = a.begin();
  auto j = b.begin();
  while (i != a.end() || j != b.end()) {
    if (j == b.end() || (i != a.end() && i->index < j->index)) {
      out.push_back(*i++);
    } else if (i == a.end() || j->index < i->index) {
      out.push_back({j->index, sign == 0 ? 0 : sign * j->count});
      ++j;
    } else {
      out.push_back({i->index, sign == 0 ? i->count : i->count + sign * j->count});
      ++i;
      ++j;
    }
  }
  return out;
}

void add_compensated(double& sum, double& compensation, double value) {
  KahanSum kahan{.sum = sum, .compensation = compensation};
  kahan.add(value);
  sum = kahan.sum;
  compensation = kahan.compensation;
}

// `sum` and `compensation` list the buckets that either has, or `next`.
void combine_compensated(Buckets& sum, Buckets& compensation, const Buckets& next) {
  Buckets total = combine(sum, next, 0);
  Buckets lost = combine(combine(compensation, sum, 0), next, 0);
  std::size_t i = 0;
  for (std::size_t slot = 0; slot < total.size(); ++slot) {
    while (i < next.size() && next[i].index < total[slot].index) ++i;
    if (i == next.size() || next[i].index != total[slot].index) continue;
    add_compensated(total[slot].count, lost[slot].count, next[i].count);
  }
  sum = std::move(total);
  compensation = std::move(lost);
}

void coarsen(Buckets& buckets, int levels) {
  Buckets out;
  for (const Bucket& bucket : buckets) {
    const std::int32_t index = ((bucket.index - 1) >> levels) + 1;
    if (!out.empty() && out.back().index == index) {
      out.back().count += bucket.count;
    } else {
      out.push_back({index, bucket.count});
    }
  }
  buckets = std::move(out);
}

bool is_empty(const Bucket& bucket) { return bucket.count == 0; }

// Widens the zero bucket to `threshold`, or to the end of a bucket that counts something and that `threshold` cuts.
void widen_zero_bucket(NativeHistogram& h, double threshold) {
  if (threshold <= h.zero_threshold) return;
  for (bool grown = true; grown;) {
    grown = false;
    for (const bool negative : {false, true}) {
      for (const Bucket& bucket : negative ? h.negative : h.positive) {
        const NativeHistogram::Range range = h.range_of(bucket, negative);
        const double low = negative ? -range.upper : range.lower;
        const double high = negative ? -range.lower : range.upper;
        if (low < threshold && high > threshold && bucket.count != 0) {
          threshold = high;
          grown = true;
        }
      }
    }
  }
  for (const bool negative : {false, true}) {
    Buckets& buckets = negative ? h.negative : h.positive;
    std::erase_if(buckets, [&](const Bucket& bucket) {
      const NativeHistogram::Range range = h.range_of(bucket, negative);
      if ((negative ? -range.upper : range.lower) >= threshold) return false;
      h.zero_count += bucket.count;
      return true;
    });
  }
  h.zero_threshold = threshold;
}

void align_zero_buckets(NativeHistogram& a, NativeHistogram& b) {
  // Widening one may go further than asked, so the other follows until both agree; each turn swallows a bucket.
  while (a.zero_threshold != b.zero_threshold) {
    widen_zero_bucket(a, b.zero_threshold);
    widen_zero_bucket(b, a.zero_threshold);
  }
}

void rebound(NativeHistogram& h, const std::vector<double>& bounds) {
  Buckets out;
  for (const Bucket& bucket : h.positive) {
    const auto old = static_cast<std::size_t>(bucket.index);
    const double upper = old < h.custom_bounds.size() ? h.custom_bounds[old] : kInfinity;
    const auto index =
        static_cast<std::int32_t>(std::lower_bound(bounds.begin(), bounds.end(), upper) - bounds.begin());
    if (!out.empty() && out.back().index == index) {
      out.back().count += bucket.count;
    } else {
      out.push_back({index, bucket.count});
    }
  }
  h.positive = std::move(out);
  h.custom_bounds = bounds;
}

std::vector<double> common_bounds(const NativeHistogram& a, const NativeHistogram& b) {
  std::vector<double> common;
  std::set_intersection(a.custom_bounds.begin(), a.custom_bounds.end(), b.custom_bounds.begin(), b.custom_bounds.end(),
                        std::back_inserter(common));
  return common;
}

bool any_lower(const Buckets& now, const Buckets& before) {
  auto i = now.begin();
  for (const Bucket& old : before) {
    while (i != now.end() && i->index < old.index) ++i;
    const double count = i != now.end() && i->index == old.index ? i->count : 0;
    if (count < old.count) return true;
  }
  return false;
}

bool same_bits(double a, double b) { return std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b); }

bool same_buckets(const Buckets& a, const Buckets& b) {
  Buckets x = a;
  Buckets y = b;
  std::erase_if(x, is_empty);
  std::erase_if(y, is_empty);
  return std::equal(x.begin(), x.end(), y.begin(), y.end(),
                    [](const Bucket& m, const Bucket& n) { return m.index == n.index && same_bits(m.count, n.count); });
}

}  // namespace

NativeHistogram::Range NativeHistogram::range_of(const Bucket& bucket, bool is_negative) const {
  if (is_custom()) {
    const auto i = static_cast<std::size_t>(bucket.index);
    return {i == 0 ? -kInfinity : custom_bounds[std::min(i, custom_bounds.size()) - 1],
            i < custom_bounds.size() ? custom_bounds[i] : kInfinity, bucket.count};
  }
  const double lower = exponential_bound(bucket.index - 1, schema);
  const double upper = exponential_bound(bucket.index, schema);
  if (is_negative) return {-upper, -lower, bucket.count};
  return {lower, upper, bucket.count};
}

std::vector<NativeHistogram::Range> NativeHistogram::ranges() const {
  std::vector<Range> out;
  out.reserve(negative.size() + positive.size() + 1);
  for (auto it = negative.rbegin(); it != negative.rend(); ++it) out.push_back(range_of(*it, true));
  if (zero_count != 0) out.push_back({-zero_threshold, zero_threshold, zero_count});
  for (const Bucket& bucket : positive) out.push_back(range_of(bucket, false));
  return out;
}

NativeHistogram::Meeting NativeHistogram::meet(NativeHistogram& other) {
  Meeting meeting;
  if (is_custom() != other.is_custom()) {
    meeting.compatible = false;
    return meeting;
  }
  if (hint != other.hint) {
    if (hint == ResetHint::kGauge || other.hint == ResetHint::kGauge) {
      hint = ResetHint::kGauge;
    } else {
      meeting.resets_collide = hint != ResetHint::kUnknown && other.hint != ResetHint::kUnknown;
      hint = ResetHint::kUnknown;
    }
  }
  if (is_custom()) {
    if (custom_bounds != other.custom_bounds) {
      meeting.bounds_reconciled = true;
      const std::vector<double> common = common_bounds(*this, other);
      rebound(other, common);
      rebound(*this, common);
    }
    return meeting;
  }
  align_zero_buckets(*this, other);
  reduce_schema(std::min(schema, other.schema));
  other.reduce_schema(schema);
  return meeting;
}

NativeHistogram::Meeting NativeHistogram::merge(const NativeHistogram& given, double sign) {
  const bool same_layout =
      schema == given.schema && zero_threshold == given.zero_threshold && custom_bounds == given.custom_bounds;
  NativeHistogram copy;
  if (!same_layout || hint != given.hint) copy = given;
  const NativeHistogram& other = same_layout && hint == given.hint ? given : copy;
  const Meeting meeting = &other == &copy ? meet(copy) : Meeting{};
  if (!meeting.compatible) return meeting;
  zero_count += sign * other.zero_count;
  count += sign * other.count;
  sum += sign * other.sum;
  positive = combine(positive, other.positive, sign);
  negative = combine(negative, other.negative, sign);
  return meeting;
}

void NativeHistogram::multiply(double factor) {
  zero_count *= factor;
  count *= factor;
  sum *= factor;
  for (Bucket& bucket : positive) bucket.count *= factor;
  for (Bucket& bucket : negative) bucket.count *= factor;
  if (factor < 0) hint = ResetHint::kGauge;
}

void NativeHistogram::divide(double divisor) {
  zero_count /= divisor;
  count /= divisor;
  sum /= divisor;
  if (divisor == 0) {
    positive.clear();
    negative.clear();
  }
  for (Bucket& bucket : positive) bucket.count /= divisor;
  for (Bucket& bucket : negative) bucket.count /= divisor;
  if (divisor < 0) hint = ResetHint::kGauge;
}

void NativeHistogram::compact() {
  std::erase_if(positive, is_empty);
  std::erase_if(negative, is_empty);
}

void NativeHistogram::reduce_schema(int to) {
  if (is_custom() || to >= schema) return;
  coarsen(positive, schema - to);
  coarsen(negative, schema - to);
  schema = to;
}

bool NativeHistogram::is_reset_after(const NativeHistogram& before) const {
  if (hint == ResetHint::kReset) return true;
  if (hint == ResetHint::kNotReset) return false;
  if (count < before.count) return true;
  if (is_custom() != before.is_custom()) return true;
  if (is_custom()) {
    if (custom_bounds == before.custom_bounds) return any_lower(positive, before.positive);
    NativeHistogram now = *this;
    NativeHistogram old = before;
    const std::vector<double> common = common_bounds(now, old);
    rebound(now, common);
    rebound(old, common);
    return any_lower(now.positive, old.positive);
  }
  if (schema > before.schema || zero_threshold < before.zero_threshold) return true;
  if (schema == before.schema && zero_threshold == before.zero_threshold) {
    return zero_count < before.zero_count || any_lower(positive, before.positive) ||
           any_lower(negative, before.negative);
  }
  NativeHistogram old = before;
  widen_zero_bucket(old, zero_threshold);
  if (old.zero_threshold != zero_threshold) return true;
  old.reduce_schema(schema);
  return zero_count < old.zero_count || any_lower(positive, old.positive) || any_lower(negative, old.negative);
}

bool NativeHistogram::same_as(const NativeHistogram& other) const {
  if (schema != other.schema || !same_bits(count, other.count) || !same_bits(sum, other.sum)) return false;
  if (is_custom()) {
    if (custom_bounds != other.custom_bounds) return false;
  } else if (zero_threshold != other.zero_threshold || !same_bits(zero_count, other.zero_count)) {
    return false;
  }
  return same_buckets(positive, other.positive) && same_buckets(negative, other.negative);
}

std::string NativeHistogram::to_string() const {
  std::string out = fmt::format("{{count:{}, sum:{}", format_value(count), format_value(sum));
  for (const Range& range : ranges()) {
    if (range.count == 0) continue;
    const bool below = range.upper <= 0 && !is_custom();
    const bool zero = range.lower < 0 && range.upper > 0 && !is_custom();
    out += fmt::format(", {}{},{}{}:{}", below || zero ? "[" : "(", format_value(range.lower),
                       format_value(range.upper), below ? ")" : "]", format_value(range.count));
  }
  return out + "}";
}

NativeHistogram::Meeting HistogramSum::add(const NativeHistogram& given) {
  saw_reset_ |= given.hint == ResetHint::kReset;
  saw_not_reset_ |= given.hint == ResetHint::kNotReset;
  if (size_ == 0) {
    sum_ = given;
    compensation_ = NativeHistogram{.schema = given.schema, .zero_threshold = given.zero_threshold};
    compensation_.custom_bounds = given.custom_bounds;
    size_ = 1;
    return {};
  }
  // The meeting of layouts first, with nothing to add; then the counts, one by one.
  NativeHistogram next = given;
  NativeHistogram layout = given;
  const NativeHistogram::Meeting meeting = sum_.meet(layout);
  if (!meeting.compatible) return meeting;
  compensation_.meet(layout);
  next.meet(sum_);
  ++size_;
  add_compensated(sum_.count, compensation_.count, next.count);
  add_compensated(sum_.sum, compensation_.sum, next.sum);
  add_compensated(sum_.zero_count, compensation_.zero_count, next.zero_count);
  combine_compensated(sum_.positive, compensation_.positive, next.positive);
  combine_compensated(sum_.negative, compensation_.negative, next.negative);
  return meeting;
}

NativeHistogram HistogramSum::total() const {
  NativeHistogram out = sum_;
  const ResetHint hint = out.hint;
  if (!std::isfinite(out.count) || !std::isfinite(out.sum)) return out;
  out.add(compensation_);
  out.hint = hint;
  return out;
}

}  // namespace fettle::promql
