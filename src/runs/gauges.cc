#include "runs/gauges.h"

#include <algorithm>

#include "runs/workers.h"

namespace fettle::runs {

std::vector<WorkGauge> work_gauges(View& view, std::int32_t series_max) {
  std::vector<WorkGauge> out;
  // Of the pool that is being read: the index of what is ready has pools and their workflows in this order.
  std::string pool;
  std::int32_t series = 0;
  double beyond = 0;
  const auto add = [&](std::string workflow, double value) {
    Identifiers labels = {{"queue", pool}};
    if (!workflow.empty()) labels.push_back({"workflow", std::move(workflow)});
    out.push_back({kQueueDepth, std::move(labels), value});
  };
  for (const db::Row row : view.rows("SELECT pool, workflow, count(*) FROM runs WHERE workspace = $1 AND state = 0"
                                     " GROUP BY pool, workflow ORDER BY pool, workflow",
                                     {view.workspace()})) {
    std::string next, workflow;
    std::int64_t runs = 0;
    if (!view.read(row, next, workflow, runs)) return {};
    if (next != pool && beyond > 0) {
      add({}, beyond);
      beyond = 0;
    }
    pool = std::move(next);
    if (series++ < series_max) {
      add(std::move(workflow), static_cast<double>(runs));
    } else {
      beyond += static_cast<double>(runs);
    }
  }
  if (beyond > 0) add({}, beyond);
  for (const PoolCapacity& one : pool_capacity(view)) {
    if (one.capacity == 0) continue;
    out.push_back({kCapacityInUse, {{"runner_pool", one.pool}}, static_cast<double>(one.in_use) / one.capacity});
  }
  return out;
}

std::vector<WorkspaceId> workspaces_with_work(View& view, std::size_t most) {
  std::vector<WorkspaceId> out;
  // From one workspace to the next, however much each has.
  const auto walk = [&](const db::Sql& sql) {
    WorkspaceId at;
    for (std::size_t i = 0; i < most && view.first(sql, {at}, at); ++i) out.push_back(at);
  };
  walk("SELECT workspace FROM runs WHERE workspace > $1 AND state = 0 ORDER BY workspace LIMIT 1");
  walk("SELECT workspace FROM workers WHERE workspace > $1 ORDER BY workspace LIMIT 1");
  std::ranges::sort(out);
  const auto doubles = std::ranges::unique(out);
  out.erase(doubles.begin(), doubles.end());
  return out;
}

}  // namespace fettle::runs
