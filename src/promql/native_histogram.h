// A native histogram: counts in buckets that are computed from a schema (exponential, -4 to 8) or listed
// (custom bounds, schema -53). Counts are doubles, since queries scale and average them. A value type.
//
// Buckets are kept as (index, count) with ascending indexes; a bucket that is not listed is empty, so spans of the
// wire formats are only another way to write the same. Bucket i of an exponential schema covers (2^((i-1)·2^-n),
// 2^(i·2^-n)], mirrored for the negative ones; of custom bounds (bounds[i-1], bounds[i]].
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace fettle::promql {

inline constexpr int kCustomSchema = -53;
inline constexpr int kSchemaMin = -4;
inline constexpr int kSchemaMax = 8;

// What the sender said of the sample before.
enum class ResetHint : std::uint8_t { kUnknown, kReset, kNotReset, kGauge };

struct NativeHistogram {
  struct Bucket {
    std::int32_t index = 0;
    double count = 0;
    bool operator==(const Bucket&) const = default;
  };
  // One bucket with its bounds, as a walk over all of them sees it.
  struct Range {
    double lower = 0;
    double upper = 0;
    double count = 0;
  };
  // What adding or subtracting had to do to make two layouts meet.
  struct Meeting {
    bool compatible = true;          // false: one exponential, one custom; nothing was changed
    bool bounds_reconciled = false;  // custom bounds differed: only the common ones are left
    bool resets_collide = false;     // one says reset, the other not reset
  };

  int schema = 0;
  ResetHint hint = ResetHint::kUnknown;
  double zero_threshold = 0;
  double zero_count = 0;
  double count = 0;
  double sum = 0;
  std::vector<Bucket> positive;
  std::vector<Bucket> negative;
  std::vector<double> custom_bounds;  // ascending, without the last +Inf

  bool is_custom() const { return schema == kCustomSchema; }
  Range range_of(const Bucket& bucket, bool is_negative) const;
  // From the lowest to the highest, the zero bucket among them when it counts something.
  std::vector<Range> ranges() const;

  Meeting add(const NativeHistogram& other) { return merge(other, 1); }
  Meeting subtract(const NativeHistogram& other) { return merge(other, -1); }
  // Brings both into one layout (zero bucket, schema, bounds) and settles this one's hint; adds nothing.
  Meeting meet(NativeHistogram& other);
  void multiply(double factor);
  // Division by zero leaves no buckets: their counts would all be NaN or infinite.
  void divide(double divisor);
  // Drops empty buckets.
  void compact();
  // The same with coarser buckets. `to` is not above the present schema.
  void reduce_schema(int to);
  // Whether a counter was reset between `before` and this.
  bool is_reset_after(const NativeHistogram& before) const;

  // Equal in layout and, to the bit, in counts; empty buckets and the hint do not matter.
  bool same_as(const NativeHistogram& other) const;
  // {count:3, sum:2.5, [0,0.001]:1, (0.5,1]:2}
  std::string to_string() const;

 private:
  Meeting merge(const NativeHistogram& other, double sign);
};

using HistogramPtr = std::shared_ptr<const NativeHistogram>;

// Sums histograms with compensation, so that large and small observations may come in any order.
class HistogramSum {
 public:
  // The meeting of the sum so far with `next`; incompatible ones are not added.
  NativeHistogram::Meeting add(const NativeHistogram& next);
  // Both reset and not-reset samples were added.
  bool resets_collide() const { return saw_reset_ && saw_not_reset_; }
  NativeHistogram total() const;
  std::uint64_t size() const { return size_; }

 private:
  NativeHistogram sum_;
  NativeHistogram compensation_;
  std::uint64_t size_ = 0;
  bool saw_reset_ = false;
  bool saw_not_reset_ = false;
};

// What histogram_quantile met on its way.
enum class NanEffect : std::uint8_t { kNone, kSkewed, kResultIsNan };
double quantile_of(const NativeHistogram& histogram, double q, NanEffect& nan);
// The share of observations between the bounds; NaN when there are none.
double fraction_of(const NativeHistogram& histogram, double lower, double upper);
double variance_of(const NativeHistogram& histogram);
// What lies at or below (`keep_below`) or above the bound; the bucket that holds it is split by interpolation.
NativeHistogram trimmed(const NativeHistogram& histogram, double bound, bool keep_below);

}  // namespace fettle::promql
