// Runs executed elsewhere and reported by plain calls: start, steps, end. Nothing here is leased or retried by Fettle.
//
//   start_observed(unit, {.run_id = "run_xyz789", .workflow = "lead-intake", .client = "acme"});
//   report_step(unit, {.run_id = "run_xyz789", .step = "parseEmail", .tokens = 156, …});
//   end_observed(unit, {.run_id = "run_xyz789", .succeeded = false, .error = {…}});
//
// Each call may be repeated: the same again changes nothing. A run that was never started is unknown.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "runs/retry_policy.h"
#include "runs/unit.h"

namespace fettle::runs {

struct ObservedStart {
  std::string run_id;  // the executor's own name for the run; empty: one is made
  std::string workflow;
  std::string client, platform, lane, agent;
  std::string executor = "observed";  // who runs it: a host, a worker
  std::string payload = "null", context = "{}";
  std::string correlation_id, trace_id;
  std::optional<UnixNanos> started_at;
};
Result<RunId> start_observed(Unit& unit, const ObservedStart& start);

struct ObservedStep {
  std::string run_id, step;
  bool done = true;       // false: it began
  bool succeeded = true;  // when done
  std::string result;     // JSON or empty
  RunError error;
  std::int32_t retry_count = 0;
  std::int64_t tokens = 0;
  double cost_usd = 0;
  std::optional<UnixNanos> started_at, finished_at;
  std::optional<std::int64_t> duration_ms = {};  // as the executor took it
};
struct Reported {
  Applied applied = Applied::kUnknown;
  // A kill switch reaches the run: the executor should stop. Empty otherwise.
  std::string stop_reason;
};
Result<Reported> report_step(Unit& unit, const ObservedStep& step);

struct ObservedEnd {
  std::string run_id;
  bool succeeded = true;
  std::string result;
  RunError error;
  std::int32_t retry_count = 0;
  std::int64_t tokens = 0;  // beyond those of its steps
  double cost_usd = 0;
  std::optional<UnixNanos> finished_at;
};
// A run that failed is listed with the dead letters, marked as observed.
Result<Reported> end_observed(Unit& unit, const ObservedEnd& end);

}  // namespace fettle::runs
