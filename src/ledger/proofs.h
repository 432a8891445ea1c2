// Short proofs that a record is in the log, and that the log only grew.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/clock.h"
#include "core/scope.h"
#include "ledger/audit_log.h"
#include "ledger/checkpoint.h"
#include "ledger/merkle.h"

namespace fettle::db {
class Reader;
}

namespace fettle::ledger {

// leaf_hash(entry) at index position - 1 of the tree whose root the checkpoint signs: see verify_inclusion().
struct InclusionProof {
  std::uint64_t position = 0;
  std::string entry;
  std::vector<Digest> path;
  Checkpoint checkpoint;
};
bool is_proven(const InclusionProof& proof);

// Against the newest checkpoint. kNotFound for a position outside the scope, pruned, or that no checkpoint covers yet.
Result<InclusionProof> prove_inclusion(db::Reader& reader, const Scope& scope, std::uint64_t position);

// That the log of `size` records continues the one of `old_size`; see verify_consistency(). Also over pruned records.
// kInvalidArgument for sizes that the log has not had.
Result<std::vector<Digest>> prove_consistency(db::Reader& reader, const WorkspaceId& workspace, std::uint64_t old_size,
                                              std::uint64_t size);

}  // namespace fettle::ledger
