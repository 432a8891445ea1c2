// A run as it is asked for over the wire: by POST /api/v1/runs and in schedules.
#pragma once

#include <optional>
#include <string>

#include "api/json_reader.h"
#include "core/error.h"
#include "runs/observed.h"
#include "runs/queue.h"

namespace fettle::api {

struct RunRequest {
  runs::EnqueueRequest request;
  std::string idempotency_key;
  bool observed = false;
  std::string status;  // of an observed run
};

// Unknown members are refused. What the room has no field for (trace context, model, the caller's own identifiers)
// travels in EnqueueRequest::context.
Result<void> read_run(simdjson::dom::element element, const JsonPlace& place, RunRequest& out);

// The same for a run that is executed elsewhere.
runs::ObservedStart observed_of(RunRequest run);

// SHA-256 of what the run is to do: not of the trace context and the like, which differ when the same run is asked for
// again.
std::string payload_hash_of(const RunRequest& run);

}  // namespace fettle::api
