#include "promql/evaluation.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <utility>

#include "promql/functions.h"

namespace fettle::promql {
namespace {

// A deadline is looked at every so many samples: reading the clock for each would cost more than the work.
constexpr std::uint64_t kSamplesBetweenChecks = 1 << 16;

// One step's tracks, the same at every step of a longer grid.
void repeat(Tracks& tracks, std::size_t steps) {
  for (Track& track : tracks) {
    track.values.assign(steps, track.values[0]);
    if (!track.histograms.empty()) track.histograms.assign(steps, HistogramPtr(track.histograms[0]));
  }
}

void negate(Tracks& tracks) {
  for (Track& track : tracks) {
    track.drop_name = true;
    for (double& value : track.values) {
      if (!is_stale(value)) value = -value;
    }
    for (HistogramPtr& histogram : track.histograms) {
      if (histogram == nullptr) continue;
      auto copy = std::make_shared<NativeHistogram>(*histogram);
      copy->multiply(-1);
      histogram = std::move(copy);
    }
  }
}

}  // namespace

void Evaluation::charge(std::uint64_t samples) {
  const std::uint64_t before = samples_;
  samples_ += samples;
  if (samples_ > options_.samples_max) {
    throw EvalFailure{ErrorCode::kResourceExhausted,
                      fmt::format("the query would load or compute more than {} samples", options_.samples_max)};
  }
  if (options_.stop.stop_requested()) throw EvalFailure{ErrorCode::kCancelled, "query was canceled"};
  const bool due = before == 0 || before / kSamplesBetweenChecks != samples_ / kSamplesBetweenChecks;
  if (due && options_.clock != nullptr && options_.clock->monotonic() > options_.deadline) {
    throw EvalFailure{ErrorCode::kDeadlineExceeded, "query timed out"};
  }
}

std::int64_t Evaluation::ms_of(const DurationExpr& duration) const {
  const auto ms = duration_ms(duration, {.step_ms = bounds_.step_ms, .range_ms = bounds_.end_ms - bounds_.start_ms});
  if (!ms) throw EvalFailure{ErrorCode::kInvalidArgument, ms.error().message()};
  return *ms;
}

bool Evaluation::pin_of(const TimeShift& shift, UnixMillis& pinned_ms) const {
  switch (shift.at) {
    case TimeShift::At::kNone: return false;
    case TimeShift::At::kTime: pinned_ms = shift.at_ms; break;
    case TimeShift::At::kStart: pinned_ms = bounds_.start_ms; break;
    case TimeShift::At::kEnd: pinned_ms = bounds_.end_ms; break;
  }
  return true;
}

const std::string& Evaluation::text(const Expr& expr) const { return as<StringLiteral>(unwrapped(expr)).value; }

Tracks Evaluation::vector(const Expr& expr, const Grid& grid) {
  if (!expr.step_invariant || grid.steps == 1) return compute(expr, grid);
  Grid first = grid;
  first.steps = 1;
  Tracks tracks = compute(expr, first);
  charge(tracks.size() * grid.steps);
  repeat(tracks, grid.steps);
  return tracks;
}

Tracks Evaluation::compute(const Expr& expr, const Grid& grid) {
  charge(grid.steps);
  const AggregateExpr* announced = std::exchange(announced_, nullptr);
  switch (expr.kind) {
    case Expr::Kind::kSelector: announced_ = announced; return selected(as<Selector>(expr), grid, false);
    case Expr::Kind::kParen: announced_ = announced; return vector(*as<ParenExpr>(expr).expr, grid);
    case Expr::Kind::kUnary: {
      Tracks tracks = vector(*as<UnaryExpr>(expr).expr, grid);
      if (as<UnaryExpr>(expr).negate) negate(tracks);
      return tracks;
    }
    case Expr::Kind::kBinary: {
      const auto& binary = as<BinaryExpr>(expr);
      return is_set_operator(binary.op) ? evaluate_set_operator(*this, binary, grid)
                                        : evaluate_binary(*this, binary, grid);
    }
    case Expr::Kind::kAggregate: return evaluate_aggregate(*this, as<AggregateExpr>(expr), grid);
    case Expr::Kind::kCall: announced_ = announced; return evaluate_call(*this, as<CallExpr>(expr), grid);
    default: throw EvalFailure{ErrorCode::kInternal, "not an instant vector"};
  }
}

std::vector<double> Evaluation::scalar(const Expr& expr, const Grid& grid) {
  announced_ = nullptr;
  charge(grid.steps);
  switch (expr.kind) {
    case Expr::Kind::kNumber: return std::vector<double>(grid.steps, as<NumberLiteral>(expr).value);
    case Expr::Kind::kParen: return scalar(*as<ParenExpr>(expr).expr, grid);
    case Expr::Kind::kUnary: {
      std::vector<double> values = scalar(*as<UnaryExpr>(expr).expr, grid);
      if (as<UnaryExpr>(expr).negate) {
        for (double& value : values) value = -value;
      }
      return values;
    }
    case Expr::Kind::kBinary: {
      const auto& binary = as<BinaryExpr>(expr);
      std::vector<double> left = scalar(*binary.left, grid);
      const std::vector<double> right = scalar(*binary.right, grid);
      for (std::size_t i = 0; i < left.size(); ++i) {
        left[i] = is_comparison(binary.op) ? (compare(binary.op, left[i], right[i]) ? 1 : 0)
                                           : scalar_operation(binary.op, left[i], right[i]);
      }
      return left;
    }
    case Expr::Kind::kCall: return evaluate_scalar_call(*this, as<CallExpr>(expr), grid);
    default: throw EvalFailure{ErrorCode::kInternal, "not a scalar"};
  }
}

std::vector<SeriesPtr> Evaluation::select(Selection selection) {
  charge(0);
  auto series = source_.select(selection);
  if (!series) throw EvalFailure{series.error().code(), series.error().message()};
  series_ += series->size();
  if (series_ > options_.series_max) {
    throw EvalFailure{ErrorCode::kResourceExhausted,
                      fmt::format("the query reads more than {} series", options_.series_max)};
  }
  std::uint64_t samples = 0;
  for (const SeriesPtr& one : *series) samples += one->floats.size() + one->histograms.size();
  charge(samples);
  return std::move(*series);
}

SelectHints Evaluation::hints(const Grid& grid, std::string_view function, std::int64_t range_ms) const {
  SelectHints hints{.function = std::string(function),
                    .range_ms = range_ms,
                    .step_ms = grid.steps == 1 ? 0 : grid.step_ms,
                    .aggregation = {},
                    .without = false,
                    .grouping = {}};
  if (announced_ != nullptr) {
    hints.aggregation = to_string(announced_->op);
    hints.without = announced_->without;
    hints.grouping = announced_->grouping;
  }
  return hints;
}

Tracks Evaluation::sample_times(const Selector& selector, const Grid& grid) { return selected(selector, grid, true); }

Tracks Evaluation::selected(const Selector& selector, const Grid& grid, bool times) {
  UnixMillis pinned_ms = 0;
  const bool pinned = pin_of(selector.shift, pinned_ms);
  const std::int64_t offset = offset_of(selector.shift);
  const auto time_of = [&](std::size_t step) { return (pinned ? pinned_ms : grid.at(step)) - offset; };
  const bool smoothed = selector.edges == EdgeMode::kSmoothed;
  const std::int64_t lookback = options_.lookback_ms;
  const std::vector<SeriesPtr> found = select({.matchers = selector.matchers,
                                               .after_ms = time_of(0) - lookback,
                                               .until_ms = time_of(grid.steps - 1) + (smoothed ? lookback : 0),
                                               .hints = hints(grid, "", 0)});
  announced_ = nullptr;
  Tracks tracks;
  tracks.reserve(found.size());
  for (const SeriesPtr& series : found) {
    charge(grid.steps);
    Track track(series->labels, false, grid.steps);
    bool any = false;
    std::size_t f = 0;
    std::size_t h = 0;
    const auto& floats = series->floats;
    const auto& histograms = series->histograms;
    for (std::size_t step = 0; step < grid.steps; ++step) {
      const UnixMillis at = time_of(step);
      while (f < floats.size() && floats[f].at_ms <= at) ++f;
      while (h < histograms.size() && histograms[h].at_ms <= at) ++h;
      const FloatPoint* last_float = f > 0 && floats[f - 1].at_ms > at - lookback ? &floats[f - 1] : nullptr;
      const HistogramPoint* last_histogram =
          h > 0 && histograms[h - 1].at_ms > at - lookback ? &histograms[h - 1] : nullptr;
      if (last_histogram != nullptr && (last_float == nullptr || last_float->at_ms < last_histogram->at_ms)) {
        if (is_stale(last_histogram->histogram->sum)) continue;
        any = true;
        if (times) {
          track.values[step] = static_cast<double>(last_histogram->at_ms) / 1000;
        } else {
          track.set(step, last_histogram->histogram);
        }
      } else if (last_float != nullptr && !is_stale(last_float->value)) {
        any = true;
        track.values[step] = times ? static_cast<double>(last_float->at_ms) / 1000 : last_float->value;
        const bool between = smoothed && !times && last_float->at_ms < at && f < floats.size() &&
                             floats[f].at_ms < at + lookback && !is_stale(floats[f].value);
        if (between) {
          const FloatPoint& next = floats[f];
          const double share =
              static_cast<double>(at - last_float->at_ms) / static_cast<double>(next.at_ms - last_float->at_ms);
          track.values[step] = last_float->value + (next.value - last_float->value) * share;
        }
      }
    }
    if (any) tracks.push_back(std::move(track));
  }
  return tracks;
}

RangeInput Evaluation::range(const Expr& given, const Grid& grid, std::string_view function) {
  const Expr& expr = unwrapped(given);
  if (expr.kind == Expr::Kind::kSubquery) return samples_of(as<Subquery>(expr), grid);
  return samples_of(as<MatrixSelector>(expr), grid, function);
}

RangeInput Evaluation::samples_of(const MatrixSelector& matrix, const Grid& grid, std::string_view function) {
  RangeInput input;
  const Selector& selector = *matrix.selector;
  input.range_ms = ms_of(*matrix.range);
  if (input.range_ms <= 0) throw EvalFailure{ErrorCode::kInvalidArgument, "duration must be greater than 0"};
  input.offset_ms = offset_of(selector.shift);
  input.pinned = pin_of(selector.shift, input.pinned_ms);
  input.edges = selector.edges;
  input.lookback_ms = options_.lookback_ms;
  const std::int64_t before = selector.edges == EdgeMode::kPlain ? 0 : options_.lookback_ms;
  const std::int64_t after = selector.edges == EdgeMode::kSmoothed ? options_.lookback_ms : 0;
  input.owners = select({.matchers = selector.matchers,
                         .after_ms = input.window_end(grid.start_ms) - input.range_ms - before,
                         .until_ms = input.window_end(grid.end_ms()) + after,
                         .hints = hints(grid, function, input.range_ms)});
  announced_ = nullptr;
  for (const SeriesPtr& owner : input.owners) {
    const Series* series = owner.get();
    const bool stale = std::any_of(series->floats.begin(), series->floats.end(),
                                   [](const FloatPoint& point) { return is_stale(point.value); }) ||
                       std::any_of(series->histograms.begin(), series->histograms.end(),
                                   [](const HistogramPoint& point) { return is_stale(point.histogram->sum); });
    if (stale) {
      auto copy = std::make_unique<Series>(*series);
      std::erase_if(copy->floats, [](const FloatPoint& point) { return is_stale(point.value); });
      std::erase_if(copy->histograms, [](const HistogramPoint& point) { return is_stale(point.histogram->sum); });
      series = copy.get();
      input.made.push_back(std::move(copy));
    }
    input.series.push_back({series->labels, false, series->floats, series->histograms});
  }
  return input;
}

RangeInput Evaluation::samples_of(const Subquery& subquery, const Grid& grid) {
  RangeInput input;
  input.range_ms = ms_of(*subquery.range);
  const std::int64_t step = subquery.step ? ms_of(*subquery.step) : options_.subquery_step_ms;
  if (input.range_ms <= 0 || step <= 0) {
    throw EvalFailure{ErrorCode::kInvalidArgument, "duration must be greater than 0"};
  }
  input.offset_ms = offset_of(subquery.shift);
  input.pinned = pin_of(subquery.shift, input.pinned_ms);
  announced_ = nullptr;
  // The inner steps are multiples of the step, whatever the time of the query.
  const UnixMillis after = input.window_end(grid.start_ms) - input.range_ms;
  UnixMillis first = after / step * step;
  if (first <= after) first += step;
  const UnixMillis last = input.window_end(grid.end_ms());
  if (first > last) return input;
  const auto steps = static_cast<std::uint64_t>((last - first) / step) + 1;
  charge(steps);
  Tracks tracks = vector(*subquery.expr, {.start_ms = first, .step_ms = step, .steps = steps});
  const Grid inner{.start_ms = first, .step_ms = step, .steps = steps};
  for (const Track& track : tracks) {
    auto series = std::make_unique<Series>();
    for (std::size_t i = 0; i < inner.steps; ++i) {
      if (track.has_float(i)) series->floats.push_back({inner.at(i), track.values[i]});
      if (const HistogramPtr* histogram = track.histogram(i)) series->histograms.push_back({inner.at(i), *histogram});
    }
    charge(series->floats.size() + series->histograms.size());
    input.series.push_back({track.labels, track.drop_name, series->floats, series->histograms});
    input.made.push_back(std::move(series));
  }
  return input;
}

void merge_equal(Tracks& tracks, std::size_t steps) {
  std::unordered_map<Labels, std::size_t, LabelsHash> places;
  std::size_t kept = 0;
  for (std::size_t i = 0; i < tracks.size(); ++i) {
    const auto [place, is_new] = places.try_emplace(*tracks[i].labels, kept);
    if (is_new) {
      if (kept != i) tracks[kept] = std::move(tracks[i]);
      ++kept;
      continue;
    }
    Track& into = tracks[place->second];
    for (std::size_t step = 0; step < steps; ++step) {
      if (!tracks[i].has(step)) continue;
      if (into.has(step)) {
        throw EvalFailure{ErrorCode::kInvalidArgument, "vector cannot contain metrics with the same labelset"};
      }
      into.values[step] = tracks[i].values[step];
      if (const HistogramPtr* histogram = tracks[i].histogram(step)) into.set(step, *histogram);
    }
  }
  tracks.resize(kept);
}

std::string for_metric(std::string_view metric_name) {
  return metric_name.empty() ? std::string() : fmt::format(" for metric name {}", quoted(metric_name));
}

std::string quantile_warning(double q) {
  return fmt::format("quantile value should be between 0 and 1, got {}", format_short(q));
}

double quantile_of_values(double q, std::vector<double>& values) {
  if (values.empty() || std::isnan(q)) return std::bit_cast<double>(kNanBits);
  if (q < 0) return -std::numeric_limits<double>::infinity();
  if (q > 1) return std::numeric_limits<double>::infinity();
  std::sort(values.begin(), values.end(), [](double a, double b) { return std::isnan(a) ? !std::isnan(b) : a < b; });
  const double rank = q * static_cast<double>(values.size() - 1);
  const auto lower = static_cast<std::size_t>(std::floor(rank));
  const std::size_t upper = std::min(lower + 1, values.size() - 1);
  const double weight = rank - std::floor(rank);
  return values[lower] * (1 - weight) + values[upper] * weight;
}

}  // namespace fettle::promql
