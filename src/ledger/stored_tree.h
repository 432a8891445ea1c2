// The Merkle tree over what is stored: segments by their roots, inside a segment leaf by leaf.
#pragma once

#include <cstdint>

#include "core/ids.h"
#include "db/transaction.h"
#include "ledger/chain.h"

namespace fettle::ledger {

// The tree over the first `segments` segments. kDataLoss when one of them is missing.
Result<MerkleTree> segment_tree(db::Reader& reader, const WorkspaceId& workspace, std::uint64_t segments);

// Roots of any part of the tree over the first `size` records, for building proofs. Reads what it needs, once; a proof
// touches all segments' roots and the leaves of two segments at most. Valid as long as `reader`.
class StoredTree {
 public:
  StoredTree(db::Reader& reader, WorkspaceId workspace, std::uint64_t size)
      : reader_(reader), workspace_(std::move(workspace)), size_(size) {}
  Result<Digest> root(std::uint64_t begin, std::uint64_t end);
  // The leaves of a segment, or of what there is of the last one.
  Result<std::vector<Digest>> leaves(std::uint64_t segment);

 private:
  Result<Digest> root_inside(std::uint64_t segment, std::uint64_t begin, std::uint64_t end);
  db::Reader& reader_;
  const WorkspaceId workspace_;
  const std::uint64_t size_;
  std::vector<Digest> roots_;
  bool have_roots_ = false;
  std::uint64_t cached_segment_ = ~std::uint64_t{0};
  std::vector<Digest> cached_leaves_;
};

}  // namespace fettle::ledger
