// The load statements of test scripts. Private to the room.
#pragma once

#include <string>
#include <vector>

#include "promql/memory_source.h"

namespace fettle::promql {

struct LoadedWith {
  bool start_times = false;  // the lines give start timestamps, which samples here do not have
};

// Lines of series notation, the first value at time zero, then one a step. Throws ScriptFailure.
LoadedWith load(MemorySource& source, std::int64_t step_ms, const std::vector<std::string>& lines);
// Makes of each classic histogram (_bucket, _count, _sum) a native one with custom bounds, beside it.
void add_custom_histograms(MemorySource& source);

}  // namespace fettle::promql
