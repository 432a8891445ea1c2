// What a workspace used, for plans and budgets: kept in the transactions that use it.
#pragma once

#include <cstdint>

#include "runs/unit.h"

namespace fettle::runs {

struct Usage {
  std::int64_t running = 0;  // leased and observed runs, now
  std::int64_t month_tokens = 0;
  std::int64_t month_micro_usd = 0;
};

// Of the calendar month (UTC) of the view's time.
Usage usage_of(View& view);

// The first nanosecond of the month that `at` lies in, UTC.
UnixNanos month_begin(UnixNanos at);

}  // namespace fettle::runs
