// Runs that begin by the clock: a cron line in a time zone, and what to enqueue.
//
// Each time fires once, whatever the number of replicas: the run is enqueued in the transaction that moves `next_at`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runs/queue.h"
#include "runs/unit.h"

namespace fettle::runs {

struct ScheduleRequest {
  std::string name;  // unique in the workspace; setting it again replaces the schedule
  std::string cron, time_zone = "UTC";
  EnqueueRequest run;  // run_id and start_at are not used
  // Times that passed while nobody was there: run once for all of them, or not at all.
  bool catch_up = true;
};

struct Schedule {
  std::string name, cron, time_zone;
  EnqueueRequest run;
  bool paused = false, catch_up = true;
  std::optional<UnixNanos> next_at, last_at;
  std::optional<std::int64_t> last_run_number;
  std::string error;  // why it did not fire the last time
};

// kInvalidArgument for a line, zone or run that cannot be. Audited, as are all here.
Result<Schedule> set_schedule(Unit& unit, const ScheduleRequest& request);
Result<void> pause_schedule(Unit& unit, std::string_view name, bool paused, std::string_view reason);
Result<void> remove_schedule(Unit& unit, std::string_view name, std::string_view reason);
std::optional<Schedule> get_schedule(View& view, std::string_view name);
std::vector<Schedule> list_schedules(View& view);

// ---- inside the room -----------------------------------------------------------------------------------------------

// How many fired; what it looked at is taken from `left`.
std::int64_t fire_schedules(Unit& unit, std::int32_t& left);

}  // namespace fettle::runs
