// and, or, unless: which elements there are, by the labels of both sides; values pass through untouched.
#include "promql/evaluation.h"

namespace fettle::promql {
namespace {

// For each group of equal matching labels, at which steps a side has an element.
class Presence {
 public:
  Presence(const VectorMatching& matching, const Tracks& tracks, std::size_t steps) : matching_(matching) {
    for (const Track& track : tracks) {
      const auto [place, is_new] = places_.try_emplace(key(track), there_.size());
      if (is_new) there_.emplace_back(steps, std::uint8_t{0});
      std::vector<std::uint8_t>& there = there_[place->second];
      for (std::size_t step = 0; step < steps; ++step) {
        if (track.has(step)) there[step] = 1;
      }
    }
  }
  // Null: at no step.
  const std::vector<std::uint8_t>* of(const Track& track) const {
    const auto found = places_.find(key(track));
    return found == places_.end() ? nullptr : &there_[found->second];
  }

 private:
  Labels key(const Track& track) const { return track.labels->matching(matching_.on, matching_.labels); }

  const VectorMatching& matching_;
  std::unordered_map<Labels, std::size_t, LabelsHash> places_;
  std::vector<std::vector<std::uint8_t>> there_;
};

// Keeps the cells whose group is on the other side (`wanted`) or is not.
void restrict_to(Tracks& tracks, const Presence& other, bool wanted, std::size_t steps) {
  for (Track& track : tracks) {
    const std::vector<std::uint8_t>* there = other.of(track);
    for (std::size_t step = 0; step < steps; ++step) {
      if ((there != nullptr && (*there)[step] != 0) != wanted) track.clear(step);
    }
  }
}

}  // namespace

Tracks evaluate_set_operator(Evaluation& evaluation, const BinaryExpr& expr, const Grid& grid) {
  Tracks left = evaluation.vector(*expr.left, grid);
  Tracks right = evaluation.vector(*expr.right, grid);
  evaluation.charge((left.size() + right.size()) * grid.steps);
  if (expr.op == BinaryOp::kOr) {
    restrict_to(right, Presence(expr.matching, left, grid.steps), false, grid.steps);
    for (Track& track : right) left.push_back(std::move(track));
    return left;
  }
  restrict_to(left, Presence(expr.matching, right, grid.steps), expr.op == BinaryOp::kAnd, grid.steps);
  return left;
}

}  // namespace fettle::promql
