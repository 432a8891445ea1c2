#include "access/change.h"

#include <fmt/format.h>

#include <utility>

namespace fettle::access {

Grant system_actor(const WorkspaceId& workspace) {
  return {.scope = {.workspace = workspace, .clients = {}},
          .scopes = bit(TokenScope::kAdmin),
          .sender = "fettle",
          .kind = ActorKind::kSystem,
          .actor_id = "fettle",
          .role = Role::kOwner,
          .payloads = true,
          .runs_ai = true};
}

Result<void> record(db::Transaction& tx, const Change& change, const WorkspaceId& workspace, const Recorded& what) {
  ledger::AuditRecord made;
  made.at = change.now;
  made.actor_type = to_string(change.actor.kind);
  made.actor_id = change.actor.actor_id;
  if (const auto role = role_of(change.actor)) made.role = to_string(*role);
  made.action = what.action;
  made.target_type = what.target_type;
  made.target_id = what.target_id;
  made.result = what.result;
  made.reason = what.reason;
  made.request_id = change.request_id;
  made.correlation_id = change.correlation_id;
  made.trace_id = change.trace_id;
  made.payload_summary = what.summary;
  if (!change.address.empty()) {
    if (!made.payload_summary.empty()) made.payload_summary += ' ';
    made.payload_summary += fmt::format("from {}", change.address);
  }
  made.before = what.before;
  made.after = what.after;
  return change.auditor.record(tx, {.workspace = workspace, .clients = {}}, std::move(made), ledger::Tell::kYes);
}

Result<std::int64_t> next_version(db::Transaction& tx) {
  std::int64_t version = 0;
  auto found =
      tx.fetch("UPDATE access_version SET version = version + 1 WHERE workspace = '' RETURNING version", {}, version);
  if (!found) return std::unexpected(std::move(found).error());
  if (!*found) return fail(ErrorCode::kDataLoss, "the number of the last change of access is missing");
  return version;
}

}  // namespace fettle::access
