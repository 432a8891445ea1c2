// Makes audit records fit to be stored: secrets masked, text mended, limits kept.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ledger/audit.h"
#include "redact/redactor.h"

namespace fettle::ledger {

// kInvalidArgument, kTooLarge or kPermissionDenied names the field; see Auditor::record().
Result<void> check_record(const AuditRecord& record, const Scope& scope);

// Identifiers sorted and without doubles; those that a record has a field for move there. Ill-formed UTF-8 is replaced.
void tidy_record(AuditRecord& record);

// Masks every string of the records, those inside the JSON values too, and card numbers that are JSON numbers.
// kInvalidArgument for a payload, before or after that is not JSON.
Result<void> redact_records(std::span<AuditRecord> records, const redact::Redactor& redactor,
                            redact::RuleCounts& counts);

// Masks every string inside a JSON text, and card numbers that are JSON numbers; as it was where there is nothing to
// mask. kInvalidArgument, naming `what`, when it is not JSON.
Result<void> redact_json(std::string& json, std::string_view what, const redact::Redactor& redactor);

}  // namespace fettle::ledger
