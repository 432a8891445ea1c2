// Evaluates a parsed query over a source of series.
//
//   auto result = query_range(source, *expr, text, {.start_ms = from, .end_ms = to, .step_ms = 15'000}, options);
//
// Functions of their arguments alone: any number of queries may run at once, each on its own thread and source.
#pragma once

#include <chrono>
#include <cstdint>
#include <stop_token>
#include <string_view>
#include <vector>

#include "core/clock.h"
#include "core/error.h"
#include "promql/annotations.h"
#include "promql/ast.h"
#include "promql/series_source.h"
#include "promql/value.h"

namespace fettle::promql {

struct QueryOptions {
  std::int64_t lookback_ms = 300'000;
  std::int64_t subquery_step_ms = 60'000;  // where a subquery names none
  std::uint64_t steps_max = 11'000;
  std::uint64_t series_max = 500'000;      // read, over all selectors
  std::uint64_t samples_max = 50'000'000;  // read and computed, over the whole query: what it may cost in memory
  // With a clock: the monotonic time after which the query gives up.
  const Clock* clock = nullptr;
  std::chrono::nanoseconds deadline{0};
  std::stop_token stop;
};

struct QueryRange {
  UnixMillis start_ms = 0;
  UnixMillis end_ms = 0;  // inclusive
  std::int64_t step_ms = 0;
};

struct QueryResult {
  Value value;
  std::vector<Annotation> annotations;
};

// `text` is what `expr` was parsed from: annotations name their place in it.
//
// kInvalidArgument: the query cannot be evaluated over this data (many-to-many matching, the same labels twice, …) or
// has more than steps_max steps. kResourceExhausted: series_max or samples_max. kDeadlineExceeded, kCancelled. Errors
// of the source pass through.
Result<QueryResult> query_instant(SeriesSource& source, const Expr& expr, std::string_view text, UnixMillis at_ms,
                                  const QueryOptions& options);
// The result is a Matrix, and kInvalidArgument when the expression is a string or a range vector.
Result<QueryResult> query_range(SeriesSource& source, const Expr& expr, std::string_view text, const QueryRange& range,
                                const QueryOptions& options);

}  // namespace fettle::promql
