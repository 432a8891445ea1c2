// What was done, by whom, to what, under which policy and with which proof: one record, written with the change itself.
//
//   ledger::AuditRecord record;
//   record.at = now;  record.actor_type = "operator";  record.actor_id = user;  record.role = "manager";
//   record.action = "run.retry";  record.target_type = "run";  record.target_id = run;  record.result =
//   AuditResult::kSuccess; if (auto recorded = auditor.record(tx, scope, record); !recorded) return recorded;
//
// A record commits unchained with its change, as part of one row however many records a call brings. Within a second
// the sequencer gives it a position in its workspace's chain; from then on it can be found (audit_log.h) and proven.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.h"
#include "core/error.h"
#include "core/metrics.h"
#include "core/scope.h"
#include "ledger/identifiers.h"

namespace fettle::db {
class Transaction;
}
namespace fettle::redact {
class Redactor;
}

namespace fettle::ledger {

enum class AuditResult : std::uint8_t { kSuccess = 1, kFail = 2, kBlocked = 3 };  // stored: append, never renumber
std::string_view to_string(AuditResult result);
std::optional<AuditResult> audit_result_named(std::string_view name);

// Empty text is an absent field. Everything but the four fields of the last group enters the hash chain as it is and
// stays for good: no personal data there, only identifiers.
struct AuditRecord {
  UnixNanos at = 0;      // when it happened, by the clock that the caller was handed
  std::string audit_id;  // the sender's own name for the record; found by it

  std::string actor_type;  // agent, operator, system, …
  std::string actor_id;
  std::string role;
  std::string action;  // required: publish, dm_send, run.retry, role.change, …
  std::string target_type;
  std::string target_id;
  // Instead of target_id, when the same was done to many: the record is found by each of them, and runs by run_id too.
  std::vector<std::string> target_ids;
  AuditResult result = AuditResult::kSuccess;
  std::string reason;  // as a code; prose belongs into the summary

  std::string client_id;
  std::string platform;
  std::string surface;
  std::string lane;
  std::string request_id;
  std::string correlation_id;
  std::string trace_id;
  std::string span_id;
  Identifiers identifiers;  // further ones by which it is to be found: run_id, step_id, job_id, ticket_id, …

  std::string payload_hash;  // of what was sent out, as the sender computed it
  std::string policy_snapshot_id;
  std::vector<std::string> proof;     // URLs, or "sha256:<hex>" of an attachment
  std::vector<std::string> evidence;  // the same, for what the decision rests on

  // May hold personal data: kept beside the chain, which holds only a salted digest of them, and erasable.
  std::string payload_summary;
  std::string payload;  // JSON
  std::string before;   // JSON: the thing before the change
  std::string after;    // JSON: and after it
};

constexpr std::size_t kAuditFieldBytesMax = 1024;         // each text that has no limit of its own
constexpr std::size_t kAuditTargetsMax = 1000;            // target_ids of a record
constexpr std::size_t kAuditReferencesMax = 32;           // proofs, and evidence, of a record
constexpr std::size_t kAuditDetailsBytesMax = 256 << 10;  // summary, payload, before and after together
constexpr std::size_t kAuditRecordsMax = 1000;            // of a call
constexpr std::size_t kAuditBytesMax = 8 << 20;           // of a call, packed

// Whether records are also told as events `audit.recorded` (events.h), so that telemetry, journeys, live streams and
// webhooks know of them: yes for what is no event otherwise. The event leaves out what may hold personal data.
enum class Tell : std::uint8_t { kNo, kYes };

// Writes audit records. Thread-safe.
class Auditor {
 public:
  // `clock` (which stamps rows with when they were recorded) and `registry` outlive the auditor; a null `redactor` is a
  // mistake. Counts fettle_audit_records_total and fettle_audit_redactions_total{rule}; the body of a transaction that
  // is repeated counts again.
  Auditor(std::shared_ptr<const redact::Redactor> redactor, Clock& clock, metrics::Registry& registry);
  ~Auditor();
  Auditor(const Auditor&) = delete;
  Auditor& operator=(const Auditor&) = delete;

  // Masks secrets in every string and writes all records as one row, in their order. kInvalidArgument without an
  // action, `at` or a well-formed JSON; kTooLarge over a limit, with limit and size; kPermissionDenied for a client
  // outside `scope`. Text that is not UTF-8 is mended.
  Result<void> record(db::Transaction& tx, const Scope& scope, std::vector<AuditRecord> records,
                      Tell tell = Tell::kNo) const;
  Result<void> record(db::Transaction& tx, const Scope& scope, AuditRecord record, Tell tell = Tell::kNo) const;

  // For events and records beside the audits: the same rules.
  std::shared_ptr<const redact::Redactor> redactor() const;
  // Takes the place of the redactor in all later calls.
  void use(std::shared_ptr<const redact::Redactor> redactor);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fettle::ledger
