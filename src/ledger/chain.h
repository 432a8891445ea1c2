// The hash chain of one workspace's audit records, and the Merkle tree over the same records, as both grow.
//
//   h[0] = SHA-256("fettle-audit-v1" ‖ workspace)
//   h[n] = SHA-256(0x02 ‖ h[n-1] ‖ n as 64 bits, big-endian ‖ SHA-256(entry n))
//   leaf n-1 of the tree = SHA-256(0x00 ‖ entry n)
//
// Positions count from 1. The chain finds an edit, a removal inside or another order at the very record; the tree gives
// short proofs; a signed checkpoint of both, kept elsewhere, finds a cut at the end.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "core/ids.h"
#include "ledger/merkle.h"

namespace fettle::ledger {

// A segment is what is archived and pruned as a whole: a perfect subtree of 1,024 records. Segment s holds the
// positions s × 1,024 + 1 to (s + 1) × 1,024.
constexpr unsigned kSegmentLevel = 10;
constexpr std::uint64_t kSegmentRecords = std::uint64_t{1} << kSegmentLevel;

Digest first_link(const WorkspaceId& workspace);
Digest next_link(const Digest& before, std::uint64_t position, const Digest& entry_digest);

class Chain {
 public:
  explicit Chain(const WorkspaceId& workspace) : hash_(first_link(workspace)) {}
  // As it was at `tree.size()`.
  Chain(const Digest& hash, MerkleTree tree) : hash_(hash), tree_(std::move(tree)) {}

  // The root of the segment when this entry completes one.
  std::optional<Digest> append(std::string_view entry);

  std::uint64_t size() const { return tree_.size(); }
  const Digest& hash() const { return hash_; }
  Digest root() const { return tree_.root(); }
  const MerkleTree& tree() const { return tree_; }

 private:
  Digest hash_;
  MerkleTree tree_;
};

}  // namespace fettle::ledger
