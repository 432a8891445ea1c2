// Series as test scripts write them:  up{job="a"} 1 2 _ stale 0+10x5 {{schema:0 sum:5 count:4 buckets:[1 2 1]}}x3
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "promql/labels.h"
#include "promql/value.h"

namespace fettle::promql {

// No time of its own: the place in the list says when. std::nullopt: "_", no sample.
using NotedSample = std::optional<Sample>;

struct NotedSeries {
  Labels labels;
  std::vector<NotedSample> samples;
};

// kInvalidArgument with what is wrong, for a text that is no such line or has more than a million samples.
Result<NotedSeries> read_series(std::string_view line);

}  // namespace fettle::promql
