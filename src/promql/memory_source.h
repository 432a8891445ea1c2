// Series held in memory: what test scripts load, and a source for tests of whatever sits on top of queries.
#pragma once

#include <map>

#include "promql/series_source.h"

namespace fettle::promql {

// Not thread-safe. Series that were handed out stay as they were.
class MemorySource final : public SeriesSource {
 public:
  // In any order of time; a sample at a time that is there already replaces it.
  void add(const Labels& labels, const Sample& sample);
  void clear() { series_.clear(); }
  const std::map<Labels, std::shared_ptr<Series>>& all() const { return series_; }

  Result<std::vector<SeriesPtr>> select(const Selection& selection) override;

 private:
  std::map<Labels, std::shared_ptr<Series>> series_;
};

}  // namespace fettle::promql
