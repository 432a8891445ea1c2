// What is said of two histograms that had to be made to fit.
#pragma once

#include <fmt/format.h>

#include <string_view>

#include "promql/annotations.h"
#include "promql/native_histogram.h"

namespace fettle::promql {

// `operation` is "addition", "subtraction" or "aggregation".
inline void annotate_meeting(Annotations& annotations, const NativeHistogram::Meeting& meeting,
                             std::string_view operation, std::size_t offset) {
  if (meeting.bounds_reconciled) {
    annotations.inform(fmt::format("mismatched custom buckets were reconciled during {}", operation), offset);
  }
  if (meeting.resets_collide) {
    annotations.warn(fmt::format("conflicting counter resets during histogram {}", operation), offset);
  }
}

}  // namespace fettle::promql
