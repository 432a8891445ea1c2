#include "server/journal.h"

#include <fmt/format.h>

#include <string>
#include <utility>
#include <vector>

#include "ledger/events.h"

namespace fettle::server {
namespace {

// Takes the identifiers that a record has fields for out of the others.
void place(ledger::AuditRecord& record, const runs::Identifiers& identifiers) {
  const std::pair<std::string_view, std::string*> fields[] = {
      {"client_id", &record.client_id}, {"platform", &record.platform},     {"surface", &record.surface},
      {"lane", &record.lane},           {"request_id", &record.request_id}, {"correlation_id", &record.correlation_id},
      {"trace_id", &record.trace_id},   {"span_id", &record.span_id},
  };
  for (const runs::Identifier& identifier : identifiers) {
    std::string* target = nullptr;
    for (const auto& [name, field] : fields) {
      if (identifier.name == name) target = field;
    }
    if (target == nullptr) {
      record.identifiers.push_back(identifier);
    } else if (!identifier.value.empty()) {
      *target = identifier.value;
    }
  }
}

}  // namespace

Result<void> LedgerJournal::record(db::Transaction& tx, const Scope& scope, const runs::Actor& actor, UnixNanos now,
                                   std::span<const runs::Audit> audits) {
  std::vector<ledger::AuditRecord> records;
  records.reserve(audits.size());
  for (const runs::Audit& audit : audits) {
    const auto result = ledger::audit_result_named(audit.result);
    if (!result) return fail(ErrorCode::kInternal, fmt::format("an audit's result is '{}'", audit.result));
    ledger::AuditRecord& record = records.emplace_back();
    record.at = now;
    record.actor_type = actor.type;
    record.actor_id = actor.id;
    record.role = actor.role;
    record.request_id = actor.request_id;
    record.correlation_id = actor.correlation_id;
    record.trace_id = actor.trace_id;
    record.span_id = actor.span_id;
    record.action = audit.action;
    record.target_type = audit.target_type;
    record.target_id = audit.target_id;
    record.result = *result;
    record.reason = audit.reason;
    record.payload_hash = audit.payload_hash;
    record.policy_snapshot_id = audit.policy_snapshot_id;
    record.proof = audit.proof;
    record.payload_summary = audit.summary;
    record.before = audit.before;
    record.after = audit.after;
    place(record, audit.identifiers);
  }
  return auditor_.record(tx, scope, records);
}

Result<void> LedgerJournal::publish(db::Transaction& tx, const Scope& scope, UnixNanos now,
                                    std::span<const runs::Event> events) {
  std::vector<ledger::Event> published;
  published.reserve(events.size());
  for (const runs::Event& event : events) {
    published.push_back({.type = event.type, .at = now, .identifiers = event.identifiers, .body = event.body});
  }
  return ledger::publish(tx, scope, published);
}

}  // namespace fettle::server
