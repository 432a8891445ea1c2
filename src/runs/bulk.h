// Retry or discard many by filter: a job that survives restarts, says how far it is and can be aborted.
//
//   auto job = start_bulk(unit, {.action = BulkAction::kRetry, .filter = {.client = "acme"}, .reason = "API is back"});
//   …upkeep drives it…
//   get_bulk(view, job->id)->done;   list_bulk_runs(view, job->id) says what became of each
//
// The runs are those that match when it starts; each is changed in the transaction that moves the job's cursor, so a
// crash repeats none and skips none.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runs/operate.h"
#include "runs/page.h"
#include "runs/unit.h"

namespace fettle::runs {

enum class BulkAction : std::uint8_t { kRetry = 0, kDiscard = 1 };
enum class BulkState : std::uint8_t { kRunning = 0, kFinished = 1, kAborted = 2 };
std::string_view to_string(BulkAction action);
std::string_view to_string(BulkState state);

// Among dead letters (and failed observed runs, which can only be discarded). An empty part matches everything.
struct BulkFilter {
  std::string client, platform, lane, workflow, agent, failure_reason;
  std::optional<UnixNanos> finished_from, finished_until;
};

struct BulkRequest {
  BulkAction action = BulkAction::kRetry;
  BulkFilter filter;
  RetryFrom from = RetryFrom::kFailedStep;
  std::string reason;
};

struct BulkJob {
  std::string id;  // "bulk_…"
  BulkAction action = BulkAction::kRetry;
  BulkState state = BulkState::kRunning;
  std::int32_t total = 0, done = 0, skipped = 0;  // skipped: changed by somebody else in between
  std::string reason, actor;
  std::string client;  // the only one it reaches; empty: all
  UnixNanos created_at = 0;
  std::optional<UnixNanos> finished_at;
};

Result<BulkJob> start_bulk(Unit& unit, const BulkRequest& request);
// What is done stays done. kConflict when it has ended.
Result<BulkJob> abort_bulk(Unit& unit, std::string_view id, std::string_view reason);
std::optional<BulkJob> get_bulk(View& view, std::string_view id);
// Newest first.
Result<PageOf<BulkJob>> list_bulk(View& view, const PageRequest& page = {});

struct BulkRun {
  RunId run;
  RunState state = RunState::kReady;
  std::string failure_reason;
};
// The job's runs as they are now, those that failed again first.
std::vector<BulkRun> list_bulk_runs(View& view, std::string_view id, std::int32_t limit = 1'000);

// ---- inside the room -----------------------------------------------------------------------------------------------

// Takes the open jobs of the workspace further by at most `left` runs altogether, oldest first. How many were changed;
// what it looked at is taken from `left`.
std::int64_t drive_bulk(Unit& unit, std::int32_t& left);

}  // namespace fettle::runs
