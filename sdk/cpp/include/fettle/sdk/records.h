// Records that others will read: why an agent failed, why a workflow stalled, who did what.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "fettle/sdk/clock.h"
#include "fettle/sdk/json.h"

namespace fettle::sdk {

// What any record may carry; empty is absent. The trace's ids and the correlation id are filled in from the context.
struct Identifiers {
  std::string request_id;
  std::string correlation_id;
  std::string trace_id;
  std::string span_id;
  std::string client_id;
  std::string run_id;
  std::string step_id;  // the step's name, or its place as the step lines have it (then step_name says which)
};

// A line of an agent's run (agent_logs).
struct AgentLog {
  std::string message;
  std::string step_name;
  std::string level = "error";  // debug, info, warn
  std::string agent;
  std::string model;
  std::optional<std::int64_t> tokens;
  std::string error;
  Json payload;
  Identifiers ids;
};

// A durable record of a workflow's error (workflow_failures); open until its run succeeds or is discarded.
struct WorkflowFailure {
  std::string message;
  std::string step_name;
  std::string workflow;
  std::optional<int> retry_attempt;
  std::string error;
  Json payload;
  Identifiers ids;
};

struct Actor {
  std::string id;
  std::string type;
  std::string role;
};
struct Target {
  std::string id;
  std::string type;
};

// Who did what to what (audit_logs).
struct AuditEvent {
  std::string action;
  std::string id;  // the sender's own: what comes under it again is the same event; the server gives one without
  Actor actor;
  Target target;
  std::string platform;
  std::string surface;
  std::string lane;
  std::string policy_snapshot_id;
  std::string payload_hash;
  std::string summary;
  std::string result;  // success, fail, blocked
  std::string reason;  // a code, not prose
  Json before;
  Json after;
  Json payload;
  std::vector<std::string> proof;     // URLs, or "sha256:<hex>" of an attachment
  std::vector<std::string> evidence;  // what a decision rests on
  std::optional<Clock::Wall> at;
  Identifiers ids;
};

}  // namespace fettle::sdk
