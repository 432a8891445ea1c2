// Checkpoints in the store.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/ids.h"
#include "db/transaction.h"
#include "ledger/checkpoint.h"

namespace fettle::ledger {

// The columns that checkpoint_of() reads, in their order.
#define FETTLE_CHECKPOINT_COLUMNS "workspace, size, at, hash, root, public_key, signature"
// kDataLoss when a stored hash or signature has another length.
Result<Checkpoint> checkpoint_of(const db::Row& row);
// Changes nothing when there is one for that size.
Result<void> insert_checkpoint(db::Transaction& tx, const Checkpoint& checkpoint);
// The newest of a workspace with at most `size_max` records.
Result<std::optional<Checkpoint>> newest_checkpoint(db::Reader& reader, const WorkspaceId& workspace,
                                                    std::uint64_t size_max);
// Those with at most `size_max` records, the newest first.
Result<std::vector<Checkpoint>> list_checkpoints(db::Reader& reader, const WorkspaceId& workspace,
                                                 std::uint64_t size_max, std::int32_t rows_max);

}  // namespace fettle::ledger
