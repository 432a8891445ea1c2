// What runs write down beside their changes, in the ledger's own terms: audits to the audit log, events to the outbox.
// Thread-safe.
#pragma once

#include "ledger/audit.h"
#include "runs/unit.h"

namespace fettle::server {

class LedgerJournal final : public runs::Journal {
 public:
  // `auditor` outlives the journal.
  explicit LedgerJournal(const ledger::Auditor& auditor) : auditor_(auditor) {}

  Result<void> record(db::Transaction& tx, const Scope& scope, const runs::Actor& actor, UnixNanos now,
                      std::span<const runs::Audit> audits) override;
  Result<void> publish(db::Transaction& tx, const Scope& scope, UnixNanos now,
                       std::span<const runs::Event> events) override;

 private:
  const ledger::Auditor& auditor_;
};

}  // namespace fettle::server
