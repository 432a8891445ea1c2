// What dashboards and objectives ask of the work that waits and of those who do it, under the names that packs know:
//
//   queue_depth{queue, workflow}          runs that a worker of the pool could lease now
//   runner_capacity_in_use{runner_pool}   0 to 1: leases over the capacity of the pool's workers, lost ones left out
//
// Read from the ledger, where the truth is; whoever serves this room brings them to the telemetry store.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runs/unit.h"

namespace fettle::runs {

constexpr std::string_view kQueueDepth = "queue_depth";
constexpr std::string_view kCapacityInUse = "runner_capacity_in_use";

struct WorkGauge {
  std::string_view name;  // one of the above
  Identifiers labels;
  double value = 0;
};
// Of the view's workspace, as it is now; at most `series_max` of a name: what is beyond is added up in a queue_depth
// without `workflow`.
std::vector<WorkGauge> work_gauges(View& view, std::int32_t series_max = 1'000);

// Where there is anything to count. Of all workspaces: for the server's own loop alone.
std::vector<WorkspaceId> workspaces_with_work(View& view, std::size_t most = 10'000);

}  // namespace fettle::runs
