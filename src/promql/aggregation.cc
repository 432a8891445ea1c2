// Aggregations: the tracks are parted into groups by their labels once, then each group is walked step by step.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <memory>

#include "core/json.h"
#include "promql/evaluation.h"
#include "promql/histogram_meeting.h"
#include "promql/kahan.h"

namespace fettle::promql {
namespace {

constexpr double kInt64End = 9223372036854775808.0;

struct Group {
  LabelsPtr labels;
  bool drop_name = false;
  std::vector<std::size_t> members;
};

std::vector<Group> grouped(const AggregateExpr& expr, const Tracks& tracks) {
  std::vector<Group> groups;
  std::unordered_map<Labels, std::size_t, LabelsHash> places;
  for (std::size_t i = 0; i < tracks.size(); ++i) {
    Labels labels = tracks[i].labels->matching(!expr.without, expr.grouping);
    const auto [place, is_new] = places.try_emplace(labels, groups.size());
    if (is_new) groups.push_back({std::make_shared<const Labels>(std::move(labels)), tracks[i].drop_name, {}});
    groups[place->second].members.push_back(i);
  }
  return groups;
}

// All digits and no exponent, so that a version number stays one.
std::string fixed(double value) {
  if (!std::isfinite(value)) return format_value(value);
  char buffer[400];
  const auto end = std::to_chars(std::begin(buffer), std::end(buffer), value, std::chars_format::fixed);
  return {buffer, end.ptr};
}

class Aggregation {
 public:
  Aggregation(Evaluation& evaluation, const AggregateExpr& expr, const Grid& grid)
      : evaluation_(evaluation), expr_(expr), grid_(grid) {}

  Tracks run() {
    const bool text = expr_.op == AggregateOp::kCountValues;
    if (expr_.param && !text) param_ = evaluation_.scalar(*expr_.param, grid_);
    evaluation_.announce(&expr_);
    input_ = evaluation_.vector(*expr_.expr, grid_);
    evaluation_.announce(nullptr);
    check_param();
    groups_ = grouped(expr_, input_);
    evaluation_.charge(groups_.size() * grid_.steps);
    switch (expr_.op) {
      case AggregateOp::kTopk:
      case AggregateOp::kBottomk:
      case AggregateOp::kLimitk:
      case AggregateOp::kLimitRatio: return chosen();
      case AggregateOp::kCountValues: return counted_values();
      default: break;
    }
    Tracks out;
    for (const Group& group : groups_) {
      out.emplace_back(group.labels, group.drop_name, grid_.steps);
      aggregate(group, out.back());
    }
    return out;
  }

 private:
  std::size_t place() const { return expr_.expr->at.begin; }

  void ignore_histogram() {
    evaluation_.annotations().inform(fmt::format("ignored histogram in {} aggregation", to_string(expr_.op)), place());
  }

  void aggregate(const Group& group, Track& out) {
    switch (expr_.op) {
      case AggregateOp::kSum:
      case AggregateOp::kAvg: return total(group, out);
      case AggregateOp::kCount:
      case AggregateOp::kGroup: return count(group, out);
      case AggregateOp::kMin:
      case AggregateOp::kMax: return extreme(group, out);
      case AggregateOp::kStddev:
      case AggregateOp::kStdvar: return deviation(group, out);
      default: return quantile(group, out);
    }
  }

  struct HistogramTotal {
    HistogramSum sum;
    bool incompatible = false;
  };

  void total(const Group& group, Track& out) {
    const bool average = expr_.op == AggregateOp::kAvg;
    std::vector<KahanSum> sums(average ? 0 : grid_.steps);
    std::vector<KahanMean> means(average ? grid_.steps : 0);
    std::vector<std::uint8_t> seen(grid_.steps, 0);
    std::vector<std::unique_ptr<HistogramTotal>> histograms;
    for (const std::size_t i : group.members) {
      const Track& track = input_[i];
      for (std::size_t step = 0; step < grid_.steps; ++step) {
        const double value = track.values[step];
        if (!is_stale(value)) {
          seen[step] = 1;
          average ? means[step].add(value) : sums[step].add(value);
        } else if (const HistogramPtr* histogram = track.histogram(step)) {
          if (histograms.empty()) histograms.resize(grid_.steps);
          if (histograms[step] == nullptr) histograms[step] = std::make_unique<HistogramTotal>();
          add(*histograms[step], **histogram, track);
        }
      }
    }
    for (std::size_t step = 0; step < grid_.steps; ++step) {
      HistogramTotal* total = histograms.empty() ? nullptr : histograms[step].get();
      if (total != nullptr && seen[step] != 0) {
        evaluation_.annotations().warn("encountered a mix of histograms and floats for aggregation", place());
        continue;
      }
      if (seen[step] != 0) out.values[step] = average ? means[step].mean() : sums[step].total();
      if (total == nullptr || total->incompatible) continue;
      if (total->sum.resets_collide()) {
        evaluation_.annotations().warn("conflicting counter resets during histogram aggregation", place());
      }
      NativeHistogram result = total->sum.total();
      if (average) result.divide(static_cast<double>(total->sum.size()));
      result.compact();
      out.set(step, std::make_shared<const NativeHistogram>(std::move(result)));
    }
  }

  void add(HistogramTotal& total, const NativeHistogram& next, const Track& track) {
    if (total.incompatible) return;
    NativeHistogram::Meeting meeting = total.sum.add(next);
    meeting.resets_collide = false;  // said once, at the end
    if (!meeting.compatible) {
      total.incompatible = true;
      evaluation_.annotations().warn(
          fmt::format("vector contains a mix of histograms with exponential and custom buckets schemas{}",
                      for_metric(track.labels->metric_name())),
          place());
    }
    annotate_meeting(evaluation_.annotations(), meeting, "aggregation", place());
  }

  void count(const Group& group, Track& out) {
    const bool only_presence = expr_.op == AggregateOp::kGroup;
    for (const std::size_t i : group.members) {
      for (std::size_t step = 0; step < grid_.steps; ++step) {
        if (!input_[i].has(step)) continue;
        const bool first = is_stale(out.values[step]);
        out.values[step] = first || only_presence ? 1 : out.values[step] + 1;
      }
    }
  }

  template <class F>
  void each_float(const Group& group, F&& visit) {
    for (const std::size_t i : group.members) {
      const Track& track = input_[i];
      for (std::size_t step = 0; step < grid_.steps; ++step) {
        if (track.has_float(step)) {
          visit(step, track.values[step]);
        } else if (track.histogram(step) != nullptr) {
          ignore_histogram();
        }
      }
    }
  }

  void extreme(const Group& group, Track& out) {
    const bool max = expr_.op == AggregateOp::kMax;
    each_float(group, [&](std::size_t step, double value) {
      double& best = out.values[step];
      // The stale marker of an empty cell is a NaN too.
      if (std::isnan(best) ? is_stale(best) || !std::isnan(value) : max ? value > best : value < best) best = value;
    });
  }

  void deviation(const Group& group, Track& out) {
    struct Moments {
      double count = 0;
      double mean = 0;
      double squares = 0;
    };
    std::vector<Moments> moments(grid_.steps);
    each_float(group, [&](std::size_t step, double value) {
      Moments& m = moments[step];
      ++m.count;
      const double delta = value - m.mean;
      m.mean += delta / m.count;
      m.squares += delta * (value - m.mean);
    });
    for (std::size_t step = 0; step < grid_.steps; ++step) {
      if (moments[step].count == 0) continue;
      const double variance = moments[step].squares / moments[step].count;
      out.values[step] = expr_.op == AggregateOp::kStddev ? std::sqrt(variance) : variance;
    }
  }

  void quantile(const Group& group, Track& out) {
    std::vector<double> values;
    for (std::size_t step = 0; step < grid_.steps; ++step) {
      values.clear();
      for (const std::size_t i : group.members) {
        if (input_[i].has_float(step)) {
          values.push_back(input_[i].values[step]);
        } else if (input_[i].histogram(step) != nullptr) {
          ignore_histogram();
        }
      }
      if (!values.empty()) out.values[step] = quantile_of_values(param_[step], values);
    }
  }

  Tracks counted_values() {
    const std::string& label = evaluation_.text(*expr_.param);
    if (label.empty() || !is_utf8(label)) {
      throw EvalFailure{ErrorCode::kInvalidArgument, fmt::format("invalid label name {}", quoted(label))};
    }
    Tracks out;
    std::unordered_map<Labels, std::size_t, LabelsHash> places;
    for (const Group& group : groups_) {
      for (const std::size_t i : group.members) {
        for (std::size_t step = 0; step < grid_.steps; ++step) {
          const HistogramPtr* histogram = input_[i].histogram(step);
          if (histogram == nullptr && !input_[i].has_float(step)) continue;
          Labels labels = *group.labels;
          labels.set(label, histogram != nullptr ? (*histogram)->to_string() : fixed(input_[i].values[step]));
          const auto [place, is_new] = places.try_emplace(labels, out.size());
          if (is_new) {
            evaluation_.charge(grid_.steps);
            out.emplace_back(std::make_shared<const Labels>(std::move(labels)), group.drop_name, grid_.steps);
          }
          double& value = out[place->second].values[step];
          value = is_stale(value) ? 1 : value + 1;
        }
      }
    }
    return out;
  }

  // How many to keep at a step, 0 to the size of the group.
  std::size_t wanted(std::size_t step, std::size_t members) const {
    const double k = param_[step];
    return k < 1 ? 0 : std::min(members, static_cast<std::size_t>(k));
  }

  // Parameters are looked at before there is anything to aggregate: a wrong one is wrong over no series too.
  void check_param() {
    if (param_.empty()) return;
    const bool ratio = expr_.op == AggregateOp::kLimitRatio;
    const bool quantile = expr_.op == AggregateOp::kQuantile;
    const bool nan = std::any_of(param_.begin(), param_.end(), [](double p) { return std::isnan(p); });
    const auto [least, most] = std::minmax_element(param_.begin(), param_.end());
    const std::size_t at = expr_.param->at.begin;
    if (nan && !quantile) {
      throw EvalFailure{ErrorCode::kInvalidArgument, ratio ? "Ratio value is NaN" : "Parameter value is NaN"};
    }
    if (quantile) {
      for (const double q : param_) {
        if (std::isnan(q) || q < 0 || q > 1) evaluation_.annotations().warn(quantile_warning(q), at);
      }
    } else if (ratio) {
      for (const auto& [value, capped] : {std::pair{*most, 1.0}, std::pair{*least, -1.0}}) {
        if (std::abs(value) <= 1 || (value > 0) != (capped > 0)) continue;
        evaluation_.annotations().warn(fmt::format("ratio value should be between -1 and 1, got {}, capping to {}",
                                                   format_short(value), format_short(capped)),
                                       at);
      }
    } else if (*least <= -kInt64End || *most >= kInt64End) {
      const bool over = *most >= kInt64End;
      throw EvalFailure{ErrorCode::kInvalidArgument,
                        fmt::format("Scalar value {} {} int64", format_short(over ? *most : *least),
                                    over ? "overflows" : "underflows")};
    }
  }

  // The aggregations that give back some of their elements as they were.
  Tracks chosen() {
    evaluation_.charge(input_.size() * grid_.steps);
    std::vector<std::vector<std::uint8_t>> keep(input_.size(), std::vector<std::uint8_t>(grid_.steps, 0));
    std::vector<std::size_t> order;  // of an instant query: groups one after the other, each by value
    std::vector<std::size_t> there;
    for (std::size_t step = 0; step < grid_.steps; ++step) {
      const double share = expr_.op == AggregateOp::kLimitRatio ? std::clamp(param_[step], -1.0, 1.0) : 0;
      for (const Group& group : groups_) {
        there.clear();
        for (const std::size_t i : group.members) {
          if (input_[i].has(step)) there.push_back(i);
        }
        choose(step, share, there);
        for (const std::size_t i : there) keep[i][step] = 1;
        if (grid_.steps == 1) order.insert(order.end(), there.begin(), there.end());
      }
    }
    Tracks out;
    if (grid_.steps == 1) {
      for (const std::size_t i : order) out.push_back(std::move(input_[i]));
      return out;
    }
    for (std::size_t i = 0; i < input_.size(); ++i) {
      bool any = false;
      for (std::size_t step = 0; step < grid_.steps; ++step) {
        if (keep[i][step] == 0) {
          input_[i].clear(step);
        } else {
          any = true;
        }
      }
      if (any) out.push_back(std::move(input_[i]));
    }
    return out;
  }

  // Leaves in `there` what is chosen of it.
  void choose(std::size_t step, double share, std::vector<std::size_t>& there) {
    if (expr_.op == AggregateOp::kLimitRatio) {
      std::erase_if(there, [&](std::size_t i) {
        const double position = static_cast<double>(input_[i].labels->hash()) / 18446744073709551616.0;
        return share >= 0 ? position >= share : position < 1 + share;
      });
      return;
    }
    if (expr_.op == AggregateOp::kLimitk) {
      there.resize(wanted(step, there.size()));
      return;
    }
    std::erase_if(there, [&](std::size_t i) {
      if (input_[i].has_float(step)) return false;
      ignore_histogram();
      return true;
    });
    const bool top = expr_.op == AggregateOp::kTopk;
    const auto before = [&](std::size_t a, std::size_t b) {
      const double x = input_[a].values[step];
      const double y = input_[b].values[step];
      if (std::isnan(x) || std::isnan(y)) return std::isnan(x) == std::isnan(y) ? a < b : std::isnan(y);
      if (x == y) return a < b;  // the first come stay
      return top ? x > y : x < y;
    };
    std::sort(there.begin(), there.end(), before);
    there.resize(wanted(step, there.size()));
  }

  Evaluation& evaluation_;
  const AggregateExpr& expr_;
  const Grid& grid_;
  std::vector<double> param_;
  Tracks input_;
  std::vector<Group> groups_;
};

}  // namespace

Tracks evaluate_aggregate(Evaluation& evaluation, const AggregateExpr& expr, const Grid& grid) {
  return Aggregation(evaluation, expr, grid).run();
}

}  // namespace fettle::promql
