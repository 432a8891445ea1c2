// Audit records between their commit and their place in the chain: packed, many to a row of audit_pending.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ledger/audit.h"

namespace fettle::ledger {

std::string pack_records(std::span<const AuditRecord> records);
// kDataLoss when the bytes are not what pack_records() wrote.
Result<std::vector<AuditRecord>> unpack_records(std::string_view bytes);

}  // namespace fettle::ledger
