// What a written duration comes to.
#pragma once

#include <cstdint>
#include <string>

#include "core/error.h"
#include "promql/ast.h"

namespace fettle::promql {

// Times and durations stay well inside 64 bits of milliseconds, so that sums of a few of them cannot overflow.
inline constexpr double kMillisMax = 1e17;

// What step() and range() mean.
struct DurationContext {
  std::int64_t step_ms = 0;
  std::int64_t range_ms = 0;
};

// False when it names step() or range().
bool is_constant(const DurationExpr& duration);
// Milliseconds, rounded. kInvalidArgument for a division by zero or what does not fit.
Result<std::int64_t> duration_ms(const DurationExpr& duration, const DurationContext& context);
std::string format_duration_expr(const DurationExpr& duration);

}  // namespace fettle::promql
