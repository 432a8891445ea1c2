// Whether what records are found by, their times and their details agree with the entries, which the chain covers.
#pragma once

#include <cstdint>
#include <optional>

#include "db/transaction.h"
#include "ledger/verify.h"

namespace fettle::ledger {

// For the positions from `from` to `to`, whose entries are known to be good. Nothing when all agree.
Result<std::optional<FirstBad>> verify_index(db::Reader& reader, const WorkspaceId& workspace, std::uint64_t from,
                                             std::uint64_t to);

}  // namespace fettle::ledger
