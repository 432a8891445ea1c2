// Arithmetic and comparison between vectors, matched by their labels, and between a vector and a scalar.
#include <fmt/format.h>

#include <cmath>
#include <optional>

#include "promql/evaluation.h"
#include "promql/histogram_meeting.h"

namespace fettle::promql {
namespace {

using Cardinality = VectorMatching::Cardinality;

struct Operand {
  double value = 0;
  const HistogramPtr* histogram = nullptr;
};

Operand cell(const Track& track, std::size_t step) { return {track.values[step], track.histogram(step)}; }

bool drops_name(BinaryOp op) { return !is_comparison(op) && op != BinaryOp::kTrimLower && op != BinaryOp::kTrimUpper; }

// One operation, with what it means for the annotations of the query.
class Operator {
 public:
  Operator(Evaluation& evaluation, const BinaryExpr& expr) : evaluation_(evaluation), expr_(expr) {}

  struct Out {
    double value = 0;
    HistogramPtr histogram;
  };
  // False: no result, be it filtered away or impossible.
  bool apply(const Operand& left, const Operand& right, Out& out) {
    out.histogram = nullptr;
    if (left.histogram == nullptr && right.histogram == nullptr) {
      if (is_comparison(expr_.op)) return filter(compare(expr_.op, left.value, right.value), left, out);
      if (expr_.op == BinaryOp::kTrimUpper || expr_.op == BinaryOp::kTrimLower) return mismatch(left, right);
      out.value = scalar_operation(expr_.op, left.value, right.value);
      return true;
    }
    if (left.histogram != nullptr && right.histogram != nullptr) return both(left, right, out);
    return mixed(left, right, out);
  }

 private:
  bool filter(bool holds, const Operand& left, Out& out) const {
    if (expr_.returns_bool) {
      out.value = holds ? 1 : 0;
      return true;
    }
    if (!holds) return false;
    out.value = left.value;
    if (left.histogram != nullptr) out.histogram = *left.histogram;
    return true;
  }

  bool both(const Operand& left, const Operand& right, Out& out) {
    const NativeHistogram& a = **left.histogram;
    const NativeHistogram& b = **right.histogram;
    if (expr_.op == BinaryOp::kEqual) return filter(a.same_as(b), left, out);
    if (expr_.op == BinaryOp::kNotEqual) return filter(!a.same_as(b), left, out);
    if (expr_.op != BinaryOp::kAdd && expr_.op != BinaryOp::kSubtract) return mismatch(left, right);
    const bool add = expr_.op == BinaryOp::kAdd;
    auto result = std::make_shared<NativeHistogram>(a);
    const NativeHistogram::Meeting meeting = add ? result->add(b) : result->subtract(b);
    if (!meeting.compatible) {
      evaluation_.annotations().warn(
          fmt::format("incompatible bucket layout encountered for binary operator {}", to_string(expr_.op)),
          expr_.at.begin);
      return false;
    }
    annotate_meeting(evaluation_.annotations(), meeting, add ? "addition" : "subtraction", expr_.at.begin);
    if (!add) result->hint = ResetHint::kGauge;
    result->compact();
    out.histogram = std::move(result);
    return true;
  }

  bool mixed(const Operand& left, const Operand& right, Out& out) {
    const bool histogram_left = left.histogram != nullptr;
    const HistogramPtr& histogram = histogram_left ? *left.histogram : *right.histogram;
    const double number = histogram_left ? right.value : left.value;
    if (expr_.op == BinaryOp::kMultiply) {
      auto result = std::make_shared<NativeHistogram>(*histogram);
      result->multiply(number);
      result->compact();
      out.histogram = std::move(result);
      return true;
    }
    if (!histogram_left) return mismatch(left, right);
    if (expr_.op == BinaryOp::kDivide) {
      auto result = std::make_shared<NativeHistogram>(*histogram);
      result->divide(number);
      result->compact();
      out.histogram = std::move(result);
      return true;
    }
    if (expr_.op == BinaryOp::kTrimUpper || expr_.op == BinaryOp::kTrimLower) {
      out.histogram = std::make_shared<NativeHistogram>(trimmed(*histogram, number, expr_.op == BinaryOp::kTrimUpper));
      return true;
    }
    return mismatch(left, right);
  }

  bool mismatch(const Operand& left, const Operand& right) {
    const auto type = [](const Operand& operand) { return operand.histogram == nullptr ? "float" : "histogram"; };
    evaluation_.annotations().inform(
        fmt::format("incompatible sample types encountered for binary operator \"{}\": {} {} {}", to_string(expr_.op),
                    type(left), to_string(expr_.op), type(right)),
        expr_.at.begin);
    return false;
  }

  Evaluation& evaluation_;
  const BinaryExpr& expr_;
};

void put(Track& track, std::size_t step, const Operator::Out& out) {
  if (out.histogram != nullptr) {
    track.set(step, out.histogram);
  } else {
    track.values[step] = out.value;
  }
}

Tracks vector_and_scalar(Evaluation& evaluation, const BinaryExpr& expr, const Grid& grid) {
  const bool vector_left = expr.left->type() == ValueType::kInstantVector;
  Tracks tracks = evaluation.vector(vector_left ? *expr.left : *expr.right, grid);
  const std::vector<double> scalars = evaluation.scalar(vector_left ? *expr.right : *expr.left, grid);
  Operator operation(evaluation, expr);
  Operator::Out out;
  for (Track& track : tracks) {
    if (drops_name(expr.op) || expr.returns_bool) track.drop_name = true;
    for (std::size_t step = 0; step < grid.steps; ++step) {
      if (!track.has(step)) continue;
      const Operand element = cell(track, step);
      const Operand number{scalars[step], nullptr};
      const bool keep = vector_left ? operation.apply(element, number, out) : operation.apply(number, element, out);
      // A comparison keeps what is in the vector, on whichever side it stands.
      if (keep && is_comparison(expr.op) && !expr.returns_bool) continue;
      track.clear(step);
      if (keep) put(track, step, out);
    }
  }
  return tracks;
}

// Matches the tracks of two vectors. The side that may have many is called so for one-to-one too.
class Join {
 public:
  Join(Evaluation& evaluation, const BinaryExpr& expr, const Grid& grid)
      : evaluation_(evaluation),
        expr_(expr),
        matching_(expr.matching),
        grid_(grid),
        swapped_(expr.matching.cardinality == Cardinality::kOneToMany),
        operation_(evaluation, expr) {}

  Tracks run() {
    Tracks left = evaluation_.vector(*expr_.left, grid_);
    Tracks right = evaluation_.vector(*expr_.right, grid_);
    many_ = swapped_ ? std::move(right) : std::move(left);
    one_ = swapped_ ? std::move(left) : std::move(right);
    fill_many_ = swapped_ ? matching_.fill_right : matching_.fill_left;
    fill_one_ = swapped_ ? matching_.fill_left : matching_.fill_right;
    if ((many_.empty() && !fill_many_) || (one_.empty() && !fill_one_)) return {};
    for (std::size_t i = 0; i < many_.size(); ++i) group_of(*many_[i].labels).many.push_back(i);
    for (std::size_t i = 0; i < one_.size(); ++i) group_of(*one_[i].labels).one.push_back(i);
    for (Group& group : groups_) join(group);
    return std::move(out_);
  }

 private:
  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);
  struct Group {
    Labels labels;
    std::vector<std::size_t> many;
    std::vector<std::size_t> one;
  };

  Group& group_of(const Labels& labels) {
    Labels key = labels.matching(matching_.on, matching_.labels);
    const auto [place, is_new] = places_.try_emplace(key, groups_.size());
    if (is_new) groups_.push_back({std::move(key), {}, {}});
    return groups_[place->second];
  }

  bool any_at(const Tracks& tracks, std::size_t step) const {
    for (const Track& track : tracks) {
      if (track.has(step)) return true;
    }
    return false;
  }

  [[noreturn]] void fail_duplicate(const Group& group, std::size_t a, std::size_t b) const {
    Labels first = *one_[a].labels;
    Labels second = *one_[b].labels;
    if (second < first) std::swap(first, second);
    throw EvalFailure{
        ErrorCode::kInvalidArgument,
        fmt::format("found duplicate series for the match group {} on the {} hand-side of the operation: "
                    "[{}, {}];many-to-many matching not allowed: matching labels must be unique on one "
                    "side",
                    group.labels.to_string(), swapped_ ? "left" : "right", first.to_string(), second.to_string())};
  }

  // Which track of the one side is there at each step.
  std::vector<std::size_t> present(const Group& group) const {
    std::vector<std::size_t> found(grid_.steps, kNone);
    for (const std::size_t i : group.one) {
      for (std::size_t step = 0; step < grid_.steps; ++step) {
        if (!one_[i].has(step)) continue;
        // Where the other side is empty altogether there is nothing to match, and no harm in being ambiguous.
        if (found[step] != kNone && (fill_many_ || any_at(many_, step))) fail_duplicate(group, found[step], i);
        found[step] = i;
      }
    }
    return found;
  }

  void join(const Group& group) {
    if (group.many.empty() && !fill_many_ && group.one.size() < 2) return;
    const std::vector<std::size_t> one_at = present(group);
    std::vector<std::uint8_t> matched(grid_.steps, 0);
    for (const std::size_t i : group.many) {
      const Track& many = many_[i];
      // The output for each partner; a series has seldom more than one over time.
      std::vector<std::pair<std::size_t, std::size_t>> outputs;
      for (std::size_t step = 0; step < grid_.steps; ++step) {
        if (!many.has(step)) continue;
        const std::size_t partner = one_at[step];
        if (partner == kNone && !fill_one_) continue;
        if (matching_.cardinality == Cardinality::kOneToOne && matched[step] != 0) {
          throw EvalFailure{ErrorCode::kInvalidArgument,
                            "multiple matches for labels: many-to-one matching must be explicit "
                            "(group_left/group_right)"};
        }
        matched[step] = 1;
        auto known = std::find_if(outputs.begin(), outputs.end(), [&](const auto& o) { return o.first == partner; });
        if (known == outputs.end()) {
          const Labels& other = partner == kNone ? group.labels : *one_[partner].labels;
          outputs.emplace_back(partner, output_for(*many.labels, many.drop_name, other));
          known = outputs.end() - 1;
        }
        const Operand filled{partner == kNone ? *fill_one_ : 0, nullptr};
        compute(known->second, step, cell(many, step), partner == kNone ? filled : cell(one_[partner], step));
      }
    }
    if (!fill_many_) return;
    for (std::size_t step = 0; step < grid_.steps; ++step) {
      if (matched[step] != 0 || one_at[step] == kNone) continue;
      const Track& one = one_[one_at[step]];
      compute(output_for(group.labels, false, *one.labels), step, {*fill_many_, nullptr}, cell(one, step));
    }
  }

  void compute(std::size_t output, std::size_t step, const Operand& many, const Operand& one) {
    if (used_[output][step] != 0) {
      throw EvalFailure{ErrorCode::kInvalidArgument,
                        "multiple matches for labels: grouping labels must ensure unique matches"};
    }
    used_[output][step] = 1;
    Operator::Out result;
    const bool keep = swapped_ ? operation_.apply(one, many, result) : operation_.apply(many, one, result);
    if (keep) put(out_[output], step, result);
  }

  std::size_t output_for(const Labels& many, bool drop_name, const Labels& one) {
    Labels labels = many;
    if (drops_name(expr_.op)) labels = labels.without_metadata();
    if (matching_.cardinality == Cardinality::kOneToOne) {
      if (matching_.on) {
        labels = labels.matching(true, matching_.labels);
      } else {
        for (const std::string& label : matching_.labels) labels.remove(label);
      }
    }
    for (const std::string& label : matching_.include) labels.set(label, one.get(label));
    const auto [place, is_new] = output_places_.try_emplace(labels, out_.size());
    if (is_new) {
      evaluation_.charge(grid_.steps);
      out_.emplace_back(std::make_shared<const Labels>(std::move(labels)), drop_name || expr_.returns_bool,
                        grid_.steps);
      used_.emplace_back(grid_.steps, std::uint8_t{0});
    }
    return place->second;
  }

  Evaluation& evaluation_;
  const BinaryExpr& expr_;
  const VectorMatching& matching_;
  const Grid& grid_;
  const bool swapped_;
  Operator operation_;
  Tracks many_;
  Tracks one_;
  std::optional<double> fill_many_;
  std::optional<double> fill_one_;
  std::unordered_map<Labels, std::size_t, LabelsHash> places_;
  std::vector<Group> groups_;
  std::unordered_map<Labels, std::size_t, LabelsHash> output_places_;
  Tracks out_;
  std::vector<std::vector<std::uint8_t>> used_;
};

}  // namespace

double scalar_operation(BinaryOp op, double left, double right) {
  switch (op) {
    case BinaryOp::kAdd: return left + right;
    case BinaryOp::kSubtract: return left - right;
    case BinaryOp::kMultiply: return left * right;
    case BinaryOp::kDivide: return left / right;
    case BinaryOp::kModulo: return std::fmod(left, right);
    case BinaryOp::kPower: return std::pow(left, right);
    case BinaryOp::kAtan2: return std::atan2(left, right);
    default:
      throw EvalFailure{ErrorCode::kInvalidArgument,
                        fmt::format("operator \"{}\" not allowed for operations between scalars", to_string(op))};
  }
}

bool compare(BinaryOp op, double left, double right) {
  switch (op) {
    case BinaryOp::kEqual: return left == right;
    case BinaryOp::kNotEqual: return left != right;
    case BinaryOp::kLess: return left < right;
    case BinaryOp::kLessOrEqual: return left <= right;
    case BinaryOp::kGreater: return left > right;
    case BinaryOp::kGreaterOrEqual: return left >= right;
    default: return false;
  }
}

Tracks evaluate_binary(Evaluation& evaluation, const BinaryExpr& expr, const Grid& grid) {
  const bool both = expr.left->type() == ValueType::kInstantVector && expr.right->type() == ValueType::kInstantVector;
  if (!both) return vector_and_scalar(evaluation, expr, grid);
  return Join(evaluation, expr, grid).run();
}

}  // namespace fettle::promql
