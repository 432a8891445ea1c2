// Which function a call is.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "promql/evaluation.h"
#include "promql/functions.h"

namespace fettle::promql {
namespace {

double scalar_of(const Tracks& tracks, std::size_t step) {
  const Track* only = nullptr;
  for (const Track& track : tracks) {
    if (!track.has_float(step)) continue;
    if (only != nullptr) return std::bit_cast<double>(kNanBits);
    only = &track;
  }
  return only == nullptr ? std::bit_cast<double>(kNanBits) : only->values[step];
}

double smaller(double a, double b, bool smallest) {
  if (std::isnan(a) || std::isnan(b)) return std::bit_cast<double>(kNanBits);
  return (a < b) == smallest ? a : b;
}

}  // namespace

Tracks evaluate_call(Evaluation& evaluation, const CallExpr& call, const Grid& grid) {
  const std::string_view name = call.function->name;
  for (const auto find :
       {find_range_function, find_math_function, find_histogram_function, find_time_function, find_label_function}) {
    if (const VectorFunction function = find(name)) return function(evaluation, call, grid);
  }
  throw EvalFailure{ErrorCode::kInternal, fmt::format("function \"{}\" cannot be evaluated", name)};
}

std::vector<double> evaluate_scalar_call(Evaluation& evaluation, const CallExpr& call, const Grid& grid) {
  const std::string_view name = call.function->name;
  const QueryRange& bounds = evaluation.bounds();
  const auto constant = [&](double value) { return std::vector<double>(grid.steps, value); };
  const auto seconds = [](std::int64_t ms) { return static_cast<double>(ms) / 1000; };
  if (name == "pi") return constant(std::numbers::pi);
  if (name == "step") return constant(seconds(bounds.step_ms));
  if (name == "range") return constant(seconds(bounds.end_ms - bounds.start_ms));
  if (name == "start") return constant(seconds(bounds.start_ms));
  if (name == "end") return constant(seconds(bounds.end_ms));
  std::vector<double> out(grid.steps);
  if (name == "time") {
    for (std::size_t step = 0; step < grid.steps; ++step) out[step] = seconds(grid.at(step));
    return out;
  }
  if (name == "scalar") {
    const Tracks tracks = evaluation.vector(*call.args[0], grid);
    for (std::size_t step = 0; step < grid.steps; ++step) out[step] = scalar_of(tracks, step);
    return out;
  }
  const std::vector<double> left = evaluation.scalar(*call.args[0], grid);
  const std::vector<double> right = evaluation.scalar(*call.args[1], grid);
  for (std::size_t step = 0; step < grid.steps; ++step) out[step] = smaller(left[step], right[step], name == "min_of");
  return out;
}

}  // namespace fettle::promql
