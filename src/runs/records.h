// The records that agents and workflow runners already write, under their own names: agent_runs, agent_logs,
// workflow_triggers and workflow_failures. Fields are a JSON object and come back as they were sent; a few are also
// known to the room, by which records are found and counted.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runs/page.h"
#include "runs/unit.h"

namespace fettle::runs {

enum class Collection : std::uint8_t { kAgentRuns, kAgentLogs, kWorkflowTriggers, kWorkflowFailures };
std::string_view to_string(Collection collection);

struct Record {
  std::string id;
  std::string client;  // clientId or client_id
  std::string ref;  // runId (agent_logs, workflow_failures), eventKey (workflow_triggers), correlationId (agent_runs)
  std::string status;
  std::string fields;  // JSON object, with "id"
  UnixNanos created_at = 0, updated_at = 0;
};

// Creates the record, or merges `fields` over those of the one with this id. Without an id one is made.
// kInvalidArgument when `fields` is no JSON object. A workflow failure is open unless it says otherwise, and belongs to
// the run that runId names, if there is one.
Result<Record> write_record(Unit& unit, Collection collection, std::string_view id, std::string_view fields);

struct RecordFilter {
  std::string client, ref, status;
};
// Newest first. workflow_failures are those that the engine wrote, too, with the fields that its records have: runId,
// stepId, message, retryAttempt, status, kind, workflow, createdAt, resolvedAt.
Result<PageOf<Record>> list_records(View& view, Collection collection, const RecordFilter& filter,
                                    const PageRequest& page = {});
std::optional<Record> get_record(View& view, Collection collection, std::string_view id);

}  // namespace fettle::runs
