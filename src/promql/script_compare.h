// What an eval of a test script expects, and whether a result is that. Private to the room.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "promql/query.h"
#include "promql/series_notation.h"

namespace fettle::promql {

// Why a statement failed; caught by the script.
struct ScriptFailure {
  std::string message;
};

// Numbers are equal within 1e-6 of their size, all NaN alike, histograms bucket by bucket. Each check throws
// ScriptFailure on the first difference.
class Expectation {
 public:
  // A line of the eval: a number alone (a scalar), or a series.
  void add(std::string_view line);

  void check_scalar(double value) const;
  void check_vector(const Vector& vector, bool ordered) const;
  void check_matrix(const Matrix& matrix, const QueryRange& bounds) const;

 private:
  std::vector<NotedSeries> series_;
  std::vector<double> scalars_;
};

}  // namespace fettle::promql
