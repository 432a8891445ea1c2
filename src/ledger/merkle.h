// The Merkle tree of RFC 6962 over a log's entries: one root for all of them, short proofs that an entry is in it
// (inclusion) and that a longer log continues a shorter one (consistency).
//
//   MerkleTree tree;  tree.append(leaf_hash(entry));  Digest root = tree.root();
//
// Leaves are counted from 0. Pure; a value may be used by one thread at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "ledger/hash.h"

namespace fettle::ledger {

Digest leaf_hash(std::string_view entry);                   // SHA-256(0x00 ‖ entry)
Digest node_hash(const Digest& left, const Digest& right);  // SHA-256(0x01 ‖ left ‖ right)
Digest empty_root();                                        // SHA-256 of nothing

// Grows by appending and keeps one hash for each set bit of its size: the roots of its perfect subtrees.
class MerkleTree {
 public:
  MerkleTree() = default;
  // What peaks() gave at `size`, as 32 bytes each. kDataLoss unless there is one for each set bit.
  static Result<MerkleTree> resume(std::uint64_t size, std::string_view peaks);

  // When this leaf completes a perfect subtree of 2^level leaves, that subtree's root is answered.
  std::optional<Digest> append(const Digest& leaf, unsigned level = 64);
  // Appends a perfect subtree of 2^level leaves whose root is known; the size must be a multiple of 2^level.
  void append_subtree(const Digest& root, unsigned level);

  std::uint64_t size() const { return size_; }
  Digest root() const;
  std::string peaks() const;  // the largest first

 private:
  std::uint64_t size_ = 0;
  std::vector<Digest> peaks_;
};

Digest root_of(std::span<const Digest> leaves);

// The root over the leaves [begin, end), for building proofs over what is stored.
using SubtreeRoot = std::function<Result<Digest>(std::uint64_t begin, std::uint64_t end)>;
// The largest power of two below `size` (at least 2): where a tree of that size is split.
std::uint64_t split_of(std::uint64_t size);

// kInvalidArgument unless index < size, or 1 <= old_size <= size.
Result<std::vector<Digest>> inclusion_path(std::uint64_t index, std::uint64_t size, const SubtreeRoot& subtree);
Result<std::vector<Digest>> consistency_path(std::uint64_t old_size, std::uint64_t size, const SubtreeRoot& subtree);

bool verify_inclusion(const Digest& leaf, std::uint64_t index, std::uint64_t size, std::span<const Digest> path,
                      const Digest& root);
bool verify_consistency(std::uint64_t old_size, const Digest& old_root, std::uint64_t size, const Digest& root,
                        std::span<const Digest> path);

}  // namespace fettle::ledger
