// Functions of one instant vector, element by element; and sort, absent and vector, which look at all of it.
#include <algorithm>
#include <cmath>
#include <numbers>
#include <optional>

#include "promql/evaluation.h"
#include "promql/functions.h"

namespace fettle::promql {
namespace {

// Applies `f(value, step)` to the floats; histograms have no place in arithmetic and go.
template <class F>
Tracks mapped(Tracks tracks, const Grid& grid, F&& f) {
  for (Track& track : tracks) {
    track.drop_name = true;
    track.histograms.clear();
    for (std::size_t step = 0; step < grid.steps; ++step) {
      if (track.has_float(step)) track.values[step] = f(track.values[step], step);
    }
  }
  return tracks;
}

template <double (*F)(double)>
Tracks plain(Evaluation& evaluation, const CallExpr& call, const Grid& grid) {
  return mapped(evaluation.vector(*call.args[0], grid), grid, [](double value, std::size_t) { return F(value); });
}

double sign(double v) { return v > 0 ? 1 : v < 0 ? -1 : v; }
double to_degrees(double v) { return v * 180 / std::numbers::pi; }
double to_radians(double v) { return v * std::numbers::pi / 180; }

Tracks round_to(Evaluation& evaluation, const CallExpr& call, const Grid& grid) {
  Tracks tracks = evaluation.vector(*call.args[0], grid);
  std::vector<double> to(grid.steps, 1);
  if (call.args.size() > 1) to = evaluation.scalar(*call.args[1], grid);
  return mapped(std::move(tracks), grid, [&](double value, std::size_t step) {
    // The inverse first: 1/0.1 is exact where 0.1 is not.
    const double inverse = 1 / to[step];
    return std::floor(value * inverse + 0.5) / inverse;
  });
}

Tracks clamped(Evaluation& evaluation, const CallExpr& call, const Grid& grid) {
  Tracks tracks = evaluation.vector(*call.args[0], grid);
  const std::string_view name = call.function->name;
  std::vector<double> low(grid.steps, -std::numeric_limits<double>::infinity());
  std::vector<double> high(grid.steps, std::numeric_limits<double>::infinity());
  if (name != "clamp_max") low = evaluation.scalar(*call.args[1], grid);
  if (name != "clamp_min") high = evaluation.scalar(*call.args[name == "clamp" ? 2 : 1], grid);
  return mapped(std::move(tracks), grid, [&](double value, std::size_t step) {
    if (low[step] > high[step]) return stale_marker();
    if (std::isnan(value) || std::isnan(low[step]) || std::isnan(high[step])) return std::bit_cast<double>(kNanBits);
    return std::max(low[step], std::min(high[step], value));
  });
}

// By value, NaN last either way. Only one step has an order.
Tracks sorted(Evaluation& evaluation, const CallExpr& call, const Grid& grid) {
  Tracks tracks = evaluation.vector(*call.args[0], grid);
  if (grid.steps != 1) return tracks;
  std::erase_if(tracks, [](const Track& track) { return !track.has_float(0); });
  const bool descending = call.function->name == "sort_desc";
  std::sort(tracks.begin(), tracks.end(), [&](const Track& a, const Track& b) {
    const double x = a.values[0];
    const double y = b.values[0];
    if (x == y || (std::isnan(x) && std::isnan(y))) return *a.labels < *b.labels;
    if (std::isnan(x) || std::isnan(y)) return std::isnan(y);
    return descending ? x > y : x < y;
  });
  return tracks;
}

Tracks one_where_nothing(const Tracks& tracks, const Expr& of, const Grid& grid) {
  Track out(std::make_shared<const Labels>(labels_of_absent(of)), false, grid.steps);
  for (std::size_t step = 0; step < grid.steps; ++step) {
    const bool any = std::any_of(tracks.begin(), tracks.end(), [&](const Track& track) { return track.has(step); });
    if (!any) out.values[step] = 1;
  }
  Tracks result;
  result.push_back(std::move(out));
  return result;
}

Tracks absent(Evaluation& evaluation, const CallExpr& call, const Grid& grid) {
  return one_where_nothing(evaluation.vector(*call.args[0], grid), *call.args[0], grid);
}

Tracks from_scalar(Evaluation& evaluation, const CallExpr& call, const Grid& grid) {
  Tracks tracks;
  tracks.emplace_back(std::make_shared<const Labels>(), false, 0);
  tracks[0].values = evaluation.scalar(*call.args[0], grid);
  return tracks;
}

}  // namespace

Labels labels_of_absent(const Expr& given) {
  const Expr& expr = unwrapped(given);
  const Selector* selector = nullptr;
  if (expr.kind == Expr::Kind::kSelector) selector = &as<Selector>(expr);
  if (expr.kind == Expr::Kind::kMatrixSelector) selector = as<MatrixSelector>(expr).selector.get();
  Labels labels;
  if (selector == nullptr) return labels;
  std::vector<std::string> seen;
  for (const Matcher& matcher : selector->matchers) {
    if (matcher.name() == kMetricName) continue;
    const bool known = std::find(seen.begin(), seen.end(), matcher.name()) != seen.end();
    if (matcher.op() == Matcher::Op::kEqual && !known) {
      labels.set(matcher.name(), matcher.value());
      seen.push_back(matcher.name());
    } else {
      labels.remove(matcher.name());
    }
  }
  return labels;
}

Tracks absent_over_time(Evaluation& evaluation, const CallExpr& call, const Grid& grid) {
  const RangeInput input = evaluation.range(*call.args[0], grid, call.function->name);
  Track out(std::make_shared<const Labels>(labels_of_absent(*call.args[0])), false, grid.steps);
  for (std::size_t step = 0; step < grid.steps; ++step) {
    const UnixMillis until = input.window_end(grid.at(step));
    const UnixMillis after = until - input.range_ms;
    const auto any = [&](const auto& points) {
      const auto first = std::upper_bound(points.begin(), points.end(), after,
                                          [](UnixMillis at, const auto& point) { return at < point.at_ms; });
      return first != points.end() && first->at_ms <= until;
    };
    const bool present = std::any_of(input.series.begin(), input.series.end(), [&](const RangeSeries& series) {
      return any(series.floats) || any(series.histograms);
    });
    if (!present) out.values[step] = 1;
  }
  Tracks result;
  result.push_back(std::move(out));
  return result;
}

VectorFunction find_math_function(std::string_view name) {
  static const std::unordered_map<std::string_view, VectorFunction> functions = {
      {"abs", plain<std::fabs>},    {"ceil", plain<std::ceil>},
      {"floor", plain<std::floor>}, {"exp", plain<std::exp>},
      {"sqrt", plain<std::sqrt>},   {"ln", plain<std::log>},
      {"log2", plain<std::log2>},   {"log10", plain<std::log10>},
      {"sgn", plain<sign>},         {"sin", plain<std::sin>},
      {"cos", plain<std::cos>},     {"tan", plain<std::tan>},
      {"asin", plain<std::asin>},   {"acos", plain<std::acos>},
      {"atan", plain<std::atan>},   {"sinh", plain<std::sinh>},
      {"cosh", plain<std::cosh>},   {"tanh", plain<std::tanh>},
      {"asinh", plain<std::asinh>}, {"acosh", plain<std::acosh>},
      {"atanh", plain<std::atanh>}, {"deg", plain<to_degrees>},
      {"rad", plain<to_radians>},   {"round", round_to},
      {"clamp", clamped},           {"clamp_min", clamped},
      {"clamp_max", clamped},       {"sort", sorted},
      {"sort_desc", sorted},        {"absent", absent},
      {"vector", from_scalar},
  };
  const auto found = functions.find(name);
  return found == functions.end() ? nullptr : found->second;
}

}  // namespace fettle::promql
