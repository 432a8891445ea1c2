// Samples and the results of a query. All are values; histograms are shared, never changed once made.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "promql/labels.h"
#include "promql/native_histogram.h"

namespace fettle::promql {

// Milliseconds since the Unix epoch, as in all of PromQL.
using UnixMillis = std::int64_t;

// The NaN that says "this series ended here", and the one that arithmetic gives.
inline constexpr std::uint64_t kStaleBits = 0x7ff0000000000002;
inline constexpr std::uint64_t kNanBits = 0x7ff8000000000001;
inline bool is_stale(double value) { return std::bit_cast<std::uint64_t>(value) == kStaleBits; }
inline double stale_marker() { return std::bit_cast<double>(kStaleBits); }

struct FloatPoint {
  UnixMillis at_ms = 0;
  double value = 0;
};

// A stale marker among histograms is one whose sum is the stale NaN.
struct HistogramPoint {
  UnixMillis at_ms = 0;
  HistogramPtr histogram;
};

// Either a float or, where `histogram` is set, a histogram.
struct Sample {
  UnixMillis at_ms = 0;
  double value = 0;
  HistogramPtr histogram;
};

struct ResultSeries {
  Labels labels;
  std::vector<FloatPoint> floats;
  std::vector<HistogramPoint> histograms;
};

struct VectorElement {
  Labels labels;
  Sample sample;
};

struct Scalar {
  UnixMillis at_ms = 0;
  double value = 0;
};

using Vector = std::vector<VectorElement>;
using Matrix = std::vector<ResultSeries>;
using Value = std::variant<Scalar, std::string, Vector, Matrix>;

// Shortest decimal that reads back as the same number; exponents only below 1e-6 and from 1e21 on; NaN, +Inf, -Inf.
std::string format_value(double value);
// The same with an exponent below 1e-4 and from 1e6 on: how numbers stand in annotations.
std::string format_short(double value);

}  // namespace fettle::promql
