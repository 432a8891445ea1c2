// One evaluation of a query: what its parts share. Private to the room.
//
// An instant vector over all steps of a query is a list of tracks: one for each series, with a cell for each step.
// Operators work track by track or cell by cell, and what depends on labels alone is done once for all steps.
// Failures are thrown as EvalFailure and become values in query.cc.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "promql/ast.h"
#include "promql/duration.h"
#include "promql/query.h"

namespace fettle::promql {

struct EvalFailure {
  ErrorCode code = ErrorCode::kInvalidArgument;
  std::string message;
};

// The steps of an evaluation.
struct Grid {
  UnixMillis start_ms = 0;
  std::int64_t step_ms = 0;
  std::size_t steps = 1;

  UnixMillis at(std::size_t step) const { return start_ms + static_cast<std::int64_t>(step) * step_ms; }
  UnixMillis end_ms() const { return at(steps - 1); }
};

struct Track {
  LabelsPtr labels;
  // The metric's name goes when the query is done; until then functions of labels still see it.
  bool drop_name = false;
  std::vector<double> values;            // the stale marker: no float at this step
  std::vector<HistogramPtr> histograms;  // empty when the track has none, else one cell a step, null for none

  Track() = default;
  Track(LabelsPtr l, bool drop, std::size_t steps)
      : labels(std::move(l)), drop_name(drop), values(steps, stale_marker()) {}
  bool has_float(std::size_t step) const { return !is_stale(values[step]); }
  const HistogramPtr* histogram(std::size_t step) const {
    return histograms.empty() || histograms[step] == nullptr ? nullptr : &histograms[step];
  }
  bool has(std::size_t step) const { return has_float(step) || histogram(step) != nullptr; }
  void set(std::size_t step, HistogramPtr histogram) {
    if (histograms.empty()) histograms.resize(values.size());
    histograms[step] = std::move(histogram);
  }
  void clear(std::size_t step) {
    values[step] = stale_marker();
    if (!histograms.empty()) histograms[step] = nullptr;
  }
};
using Tracks = std::vector<Track>;

// The samples under a range selector or a subquery, and which of them belong to a step.
struct RangeSeries {
  LabelsPtr labels;
  bool drop_name = false;
  std::span<const FloatPoint> floats;
  std::span<const HistogramPoint> histograms;
};
struct RangeInput {
  std::vector<RangeSeries> series;
  std::int64_t range_ms = 0;
  std::int64_t offset_ms = 0;
  bool pinned = false;
  UnixMillis pinned_ms = 0;
  EdgeMode edges = EdgeMode::kPlain;
  std::int64_t lookback_ms = 0;
  // What the spans look into.
  std::vector<SeriesPtr> owners;
  std::vector<std::unique_ptr<Series>> made;

  // A step looks at window_end − range < t <= window_end.
  UnixMillis window_end(UnixMillis at_ms) const { return (pinned ? pinned_ms : at_ms) - offset_ms; }
};

class Evaluation {
 public:
  Evaluation(SeriesSource& source, std::string_view text, const QueryRange& bounds, const QueryOptions& options)
      : source_(source), bounds_(bounds), options_(options), annotations_(text) {}

  Tracks vector(const Expr& expr, const Grid& grid);
  std::vector<double> scalar(const Expr& expr, const Grid& grid);
  const std::string& text(const Expr& expr) const;
  // `expr` is a range selector or a subquery, in any parentheses. `function` is what is done with it.
  RangeInput range(const Expr& expr, const Grid& grid, std::string_view function);
  // The sample times instead of the values.
  Tracks sample_times(const Selector& selector, const Grid& grid);
  std::vector<SeriesPtr> select(Selection selection);

  // Counts cells or samples against the limit, and looks whether to go on at all.
  void charge(std::uint64_t samples);
  Annotations& annotations() { return annotations_; }
  const QueryRange& bounds() const { return bounds_; }
  const QueryOptions& options() const { return options_; }
  std::int64_t ms_of(const DurationExpr& duration) const;
  std::int64_t offset_of(const TimeShift& shift) const { return shift.offset ? ms_of(*shift.offset) : 0; }
  bool pin_of(const TimeShift& shift, UnixMillis& pinned_ms) const;

  // An aggregation that is about to evaluate its operand: a hint for the selector directly inside.
  void announce(const AggregateExpr* aggregate) { announced_ = aggregate; }

 private:
  Tracks compute(const Expr& expr, const Grid& grid);
  Tracks selected(const Selector& selector, const Grid& grid, bool times);
  RangeInput samples_of(const MatrixSelector& matrix, const Grid& grid, std::string_view function);
  RangeInput samples_of(const Subquery& subquery, const Grid& grid);
  SelectHints hints(const Grid& grid, std::string_view function, std::int64_t range_ms) const;

  SeriesSource& source_;
  const QueryRange bounds_;
  const QueryOptions& options_;
  Annotations annotations_;
  std::uint64_t samples_ = 0;
  std::uint64_t series_ = 0;
  const AggregateExpr* announced_ = nullptr;
};

// Joins tracks with the same labels; EvalFailure where two have a value at the same step.
void merge_equal(Tracks& tracks, std::size_t steps);

// The operators and functions, a family a file.
Tracks evaluate_binary(Evaluation& evaluation, const BinaryExpr& expr, const Grid& grid);
Tracks evaluate_set_operator(Evaluation& evaluation, const BinaryExpr& expr, const Grid& grid);
double scalar_operation(BinaryOp op, double left, double right);
bool compare(BinaryOp op, double left, double right);
Tracks evaluate_aggregate(Evaluation& evaluation, const AggregateExpr& expr, const Grid& grid);
Tracks evaluate_call(Evaluation& evaluation, const CallExpr& call, const Grid& grid);
std::vector<double> evaluate_scalar_call(Evaluation& evaluation, const CallExpr& call, const Grid& grid);

using VectorFunction = Tracks (*)(Evaluation&, const CallExpr&, const Grid&);
// Null where the family has no such function.
VectorFunction find_range_function(std::string_view name);
VectorFunction find_histogram_function(std::string_view name);
VectorFunction find_math_function(std::string_view name);
VectorFunction find_time_function(std::string_view name);
VectorFunction find_label_function(std::string_view name);
Tracks info_function(Evaluation& evaluation, const CallExpr& call, const Grid& grid);
Tracks absent_over_time(Evaluation& evaluation, const CallExpr& call, const Grid& grid);

// Linear interpolation at rank q·(n−1), NaN lowest. Reorders `values`.
double quantile_of_values(double q, std::vector<double>& values);
// The labels that absent() gives for what was not there.
Labels labels_of_absent(const Expr& expr);
// ` for metric name "x"`, or nothing.
std::string for_metric(std::string_view metric_name);
std::string quantile_warning(double q);

}  // namespace fettle::promql
