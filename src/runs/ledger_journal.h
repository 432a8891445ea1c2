// The ledger's audit trail and outbox as this room's journal. What it writes is redacted with the auditor's rules: what
// workers and people say of a run reaches telemetry, streams and webhooks from here.
#pragma once

#include "ledger/audit.h"
#include "runs/unit.h"

namespace fettle::runs {

// Thread-safe.
class LedgerJournal final : public Journal {
 public:
  // `auditor` outlives the journal.
  explicit LedgerJournal(const ledger::Auditor& auditor) : auditor_(auditor) {}
  Result<void> record(db::Transaction& tx, const Scope& scope, const Actor& actor, UnixNanos now,
                      std::span<const Audit> audits) override;
  Result<void> publish(db::Transaction& tx, const Scope& scope, UnixNanos now, std::span<const Event> events) override;

 private:
  const ledger::Auditor& auditor_;
};

}  // namespace fettle::runs
