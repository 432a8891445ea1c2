// Where samples come from. The evaluator asks once for each selector of a query, for the whole time that the query
// looks at, and walks what it is given step by step.
//
// An implementation is called from the thread that evaluates, one selection after the other; it need not be
// thread-safe for one query alone. It may share one Series among queries, since nobody changes it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/error.h"
#include "promql/matcher.h"
#include "promql/value.h"

namespace fettle::promql {

struct Series {
  LabelsPtr labels;
  // Each ascending in time, stale markers among them; no time occurs in both.
  std::vector<FloatPoint> floats;
  std::vector<HistogramPoint> histograms;
};
using SeriesPtr = std::shared_ptr<const Series>;

// What becomes of the samples, for a source that can save itself work by it. A source that ignores all of it is right.
struct SelectHints {
  std::string function;       // around a range selector: "rate"; around neither range nor aggregation empty
  std::int64_t range_ms = 0;  // of a range selector; 0: an instant selector
  std::int64_t step_ms = 0;   // of the evaluation; 0: one instant
  std::string aggregation;    // directly around the selector or its function: "sum"
  bool without = false;       // `grouping` names what is aggregated away
  std::vector<std::string> grouping;
};

struct Selection {
  std::vector<Matcher> matchers;
  // Samples with after_ms < t <= until_ms; more does no harm.
  UnixMillis after_ms = 0;
  UnixMillis until_ms = 0;
  SelectHints hints;
};

class SeriesSource {
 public:
  virtual ~SeriesSource() = default;
  // The series that every matcher matches, in any order, no labels twice. Errors end the query as they are.
  virtual Result<std::vector<SeriesPtr>> select(const Selection& selection) = 0;
};

}  // namespace fettle::promql
