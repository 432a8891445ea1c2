// info(): adds the labels of info series (target_info and its like) to the series they describe.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>

#include "promql/evaluation.h"

namespace fettle::promql {
namespace {

constexpr std::string_view kIdentifying[] = {"instance", "job"};
constexpr std::string_view kDefaultInfo = "target_info";
// What an info series is called where the query only says what it is not called.
constexpr std::string_view kInfoNames = ".+_info";

// When the samples of an expression were taken, seen from a step.
struct Reference {
  bool pinned = false;
  UnixMillis pinned_ms = 0;
  std::int64_t offset_ms = 0;
};

// The first selector inside, through subqueries. False: there is none.
bool find_reference(const Evaluation& evaluation, const Expr& expr, Reference& reference) {
  const auto shift = [&](const TimeShift& by) {
    UnixMillis pinned_ms = 0;
    if (evaluation.pin_of(by, pinned_ms)) reference = {true, pinned_ms, 0};
    reference.offset_ms += evaluation.offset_of(by);
  };
  switch (expr.kind) {
    case Expr::Kind::kSelector: shift(as<Selector>(expr).shift); return true;
    case Expr::Kind::kMatrixSelector: shift(as<MatrixSelector>(expr).selector->shift); return true;
    case Expr::Kind::kSubquery: {
      const Reference before = reference;
      shift(as<Subquery>(expr).shift);
      if (find_reference(evaluation, *as<Subquery>(expr).expr, reference)) return true;
      reference = before;
      return false;
    }
    case Expr::Kind::kParen: return find_reference(evaluation, *as<ParenExpr>(expr).expr, reference);
    case Expr::Kind::kUnary: return find_reference(evaluation, *as<UnaryExpr>(expr).expr, reference);
    case Expr::Kind::kAggregate: return find_reference(evaluation, *as<AggregateExpr>(expr).expr, reference);
    case Expr::Kind::kBinary:
      return find_reference(evaluation, *as<BinaryExpr>(expr).left, reference) ||
             find_reference(evaluation, *as<BinaryExpr>(expr).right, reference);
    case Expr::Kind::kCall:
      return std::any_of(as<CallExpr>(expr).args.begin(), as<CallExpr>(expr).args.end(),
                         [&](const ExprPtr& arg) { return find_reference(evaluation, *arg, reference); });
    default: return false;
  }
}

class Enrichment {
 public:
  Enrichment(Evaluation& evaluation, const CallExpr& call, const Grid& grid)
      : evaluation_(evaluation), call_(call), grid_(grid) {
    if (call.args.size() < 2) {
      names_.push_back(*Matcher::make(Matcher::Op::kEqual, std::string(kMetricName), std::string(kDefaultInfo)));
      return;
    }
    bool positive = false;
    for (const Matcher& matcher : as<Selector>(*call.args[1]).matchers) {
      if (matcher.name() != kMetricName) {
        data_.push_back(matcher);
        if (!matcher.matches_empty()) required_ = true;
        continue;
      }
      names_.push_back(matcher);
      positive |= matcher.op() == Matcher::Op::kEqual || matcher.op() == Matcher::Op::kMatches;
    }
    if (names_.empty()) {
      names_.push_back(*Matcher::make(Matcher::Op::kEqual, std::string(kMetricName), std::string(kDefaultInfo)));
    } else if (!positive) {
      names_.push_back(*Matcher::make(Matcher::Op::kMatches, std::string(kMetricName), std::string(kInfoNames)));
    }
  }

  Tracks run() {
    Tracks base = evaluation_.vector(*call_.args[0], grid_);
    if (base.empty()) return base;
    load_info();
    for (const Track& track : base) {
      const bool is_info = std::all_of(names_.begin(), names_.end(), [&](const Matcher& matcher) {
        return matcher.matches(track.labels->metric_name());
      });
      for (std::size_t step = 0; step < grid_.steps; ++step) {
        if (!track.has(step)) continue;
        Labels labels = *track.labels;
        if (!is_info && !enrich(labels, step)) continue;
        Track& into = output(std::move(labels), track.drop_name);
        if (into.has(step)) {
          throw EvalFailure{ErrorCode::kInvalidArgument, "vector cannot contain metrics with the same labelset"};
        }
        into.values[step] = track.values[step];
        if (const HistogramPtr* histogram = track.histogram(step)) into.set(step, *histogram);
      }
    }
    return std::move(out_);
  }

 private:
  struct InfoSeries {
    LabelsPtr labels;
    std::vector<double> times;  // of the sample at each step; the stale marker: none
  };

  static std::string key_of(const Labels& labels) {
    std::string key;
    for (const std::string_view name : kIdentifying) {
      key += labels.get(name);
      key += '\xff';
    }
    return key;
  }

  void load_info() {
    Reference reference;
    find_reference(evaluation_, *call_.args[0], reference);
    Grid grid = grid_;
    grid.start_ms = (reference.pinned ? reference.pinned_ms : grid.start_ms) - reference.offset_ms;
    if (reference.pinned) grid.steps = 1;
    Selector selector;
    selector.matchers = names_;
    selector.matchers.insert(selector.matchers.end(), data_.begin(), data_.end());
    for (const Track& track : evaluation_.vector(selector, grid)) {
      if (track.histograms.empty()) continue;
      throw EvalFailure{
          ErrorCode::kInvalidArgument,
          fmt::format("this should be an info metric, with float samples: {}", track.labels->to_string())};
    }
    for (Track& track : evaluation_.sample_times(selector, grid)) {
      if (reference.pinned) track.values.assign(grid_.steps, double{track.values[0]});
      info_[key_of(*track.labels)].push_back({track.labels, std::move(track.values)});
    }
  }

  // False: the element goes, since it lacks a label that was asked for.
  bool enrich(Labels& labels, std::size_t step) const {
    const bool identified = std::any_of(std::begin(kIdentifying), std::end(kIdentifying),
                                        [&](std::string_view name) { return !labels.get(name).empty(); });
    const auto found = identified ? info_.find(key_of(labels)) : info_.end();
    if (found == info_.end()) return !required_;
    // Of each info metric the series with the latest sample.
    std::map<std::string_view, const InfoSeries*> latest;
    for (const InfoSeries& series : found->second) {
      if (is_stale(series.times[step])) continue;
      const auto [place, is_new] = latest.try_emplace(series.labels->metric_name(), &series);
      if (is_new) continue;
      if (place->second->times[step] == series.times[step]) {
        throw EvalFailure{ErrorCode::kInvalidArgument,
                          fmt::format("found duplicate series for info metric: existing {}, new {}",
                                      place->second->labels->to_string(), series.labels->to_string())};
      }
      if (place->second->times[step] < series.times[step]) place->second = &series;
    }
    if (latest.empty()) return !required_;
    Labels added;
    for (const auto& [name, series] : latest) {
      for (const Label& label : *series->labels) {
        if (!is_data(label.name) || !labels.get(label.name).empty()) continue;
        const std::string_view known = added.get(label.name);
        if (!known.empty() && known != label.value) {
          throw EvalFailure{ErrorCode::kInvalidArgument, fmt::format("conflicting label: {}", label.name)};
        }
        added.set(label.name, label.value);
      }
    }
    for (const Label& label : added) labels.set(label.name, label.value);
    return true;
  }

  bool is_data(std::string_view name) const {
    if (name == kMetricName ||
        std::find(std::begin(kIdentifying), std::end(kIdentifying), name) != std::end(kIdentifying)) {
      return false;
    }
    return data_.empty() ||
           std::any_of(data_.begin(), data_.end(), [&](const Matcher& matcher) { return matcher.name() == name; });
  }

  Track& output(Labels labels, bool drop_name) {
    const auto [place, is_new] = places_.try_emplace(labels, out_.size());
    if (is_new) {
      evaluation_.charge(grid_.steps);
      out_.emplace_back(std::make_shared<const Labels>(std::move(labels)), drop_name, grid_.steps);
    }
    return out_[place->second];
  }

  Evaluation& evaluation_;
  const CallExpr& call_;
  const Grid& grid_;
  std::vector<Matcher> names_;
  std::vector<Matcher> data_;
  bool required_ = false;
  std::unordered_map<std::string, std::vector<InfoSeries>> info_;
  std::unordered_map<Labels, std::size_t, LabelsHash> places_;
  Tracks out_;
};

}  // namespace

Tracks info_function(Evaluation& evaluation, const CallExpr& call, const Grid& grid) {
  return Enrichment(evaluation, call, grid).run();
}

}  // namespace fettle::promql
