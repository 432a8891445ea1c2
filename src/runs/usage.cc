#include "runs/usage.h"

#include <chrono>

namespace fettle::runs {

UnixNanos month_begin(UnixNanos at) {
  const std::chrono::sys_days day{std::chrono::days(day_of(at))};
  const std::chrono::year_month_day date(day);
  const std::chrono::sys_days first = date.year() / date.month() / std::chrono::day(1);
  return first.time_since_epoch().count() * kNanosPerDay;
}

Usage usage_of(View& view) {
  Usage out;
  // Each part from its own index, however many runs have ended.
  view.first(
      "SELECT (SELECT count(*) FROM runs WHERE workspace = $1 AND lease_until IS NOT NULL)"
      " + (SELECT count(*) FROM runs WHERE workspace = $1 AND state = 3 AND kind = 1)",
      {view.workspace()}, out.running);
  view.first("SELECT tokens, micro_usd FROM run_usage WHERE workspace = $1 AND month = $2",
             {view.workspace(), month_begin(view.now())}, out.month_tokens, out.month_micro_usd);
  return out;
}

}  // namespace fettle::runs
