#include "runs/ledger_journal.h"

#include <algorithm>
#include <array>
#include <deque>
#include <memory>
#include <string>
#include <utility>

#include "ledger/cleaning.h"
#include "ledger/events.h"

namespace fettle::runs {
namespace {

using ledger::AuditRecord;

// Identifiers that an audit record has fields for.
constexpr std::array<std::pair<std::string_view, std::string AuditRecord::*>, 8> kFields = {{
    {"client_id", &AuditRecord::client_id},
    {"platform", &AuditRecord::platform},
    {"surface", &AuditRecord::surface},
    {"lane", &AuditRecord::lane},
    {"request_id", &AuditRecord::request_id},
    {"correlation_id", &AuditRecord::correlation_id},
    {"trace_id", &AuditRecord::trace_id},
    {"span_id", &AuditRecord::span_id},
}};

AuditRecord record_of(const Audit& audit, const Actor& actor, UnixNanos now) {
  AuditRecord out;
  out.at = now;
  out.actor_type = actor.type;
  out.actor_id = actor.id;
  out.role = actor.role;
  out.request_id = actor.request_id;
  out.correlation_id = actor.correlation_id;
  out.trace_id = actor.trace_id;
  out.span_id = actor.span_id;
  out.action = audit.action;
  out.target_type = audit.target_type;
  out.target_id = audit.target_id;
  out.target_ids = audit.target_ids;
  out.result = ledger::audit_result_named(audit.result).value_or(ledger::AuditResult::kSuccess);
  out.reason = audit.reason;
  out.payload_hash = audit.payload_hash;
  out.policy_snapshot_id = audit.policy_snapshot_id;
  out.proof = audit.proof;
  out.payload_summary = audit.summary;
  out.before = audit.before;
  out.after = audit.after;
  for (const Identifier& identifier : audit.identifiers) {
    const auto field = std::ranges::find(kFields, identifier.name, [](const auto& one) { return one.first; });
    if (field != kFields.end()) {
      out.*(field->second) = identifier.value;
    } else {
      out.identifiers.push_back(identifier);
    }
  }
  return out;
}

}  // namespace

Result<void> LedgerJournal::record(db::Transaction& tx, const Scope& scope, const Actor& actor, UnixNanos now,
                                   std::span<const Audit> audits) {
  std::vector<AuditRecord> records;
  while (!audits.empty()) {
    const auto part = audits.first(std::min(audits.size(), ledger::kAuditRecordsMax));
    records.reserve(part.size());
    for (const Audit& audit : part) records.push_back(record_of(audit, actor, now));
    if (auto done = auditor_.record(tx, scope, std::exchange(records, {})); !done) return done;
    audits = audits.subspan(part.size());
  }
  return {};
}

Result<void> LedgerJournal::publish(db::Transaction& tx, const Scope& scope, UnixNanos now,
                                    std::span<const Event> events) {
  const std::shared_ptr<const redact::Redactor> redactor = auditor_.redactor();
  std::vector<ledger::EventView> out;
  out.reserve(events.size());
  std::deque<std::string> cleaned;  // stays where it is while it grows
  for (const Event& event : events) {
    std::string_view body = event.body;
    // What a worker says of its progress is an object of its own making.
    if (event.type == "run.progress" && !body.empty()) {
      std::string& own = cleaned.emplace_back(body);
      if (auto done = ledger::redact_json(own, event.type, *redactor); !done) return done;
      body = own;
    }
    out.push_back({event.type, now, event.identifiers, body});
  }
  return ledger::publish(tx, scope, out, *redactor);
}

}  // namespace fettle::runs
