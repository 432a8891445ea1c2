#include "ledger/merkle.h"

#include <bit>

namespace fettle::ledger {
namespace {

constexpr std::string_view kLeafPrefix("\x00", 1);
constexpr std::string_view kNodePrefix("\x01", 1);

Result<void> add_inclusion(std::uint64_t index, std::uint64_t begin, std::uint64_t end, const SubtreeRoot& subtree,
                           std::vector<Digest>& path) {
  if (end - begin == 1) return {};
  const std::uint64_t middle = begin + split_of(end - begin);
  const bool is_left = index < middle;
  if (auto below = is_left ? add_inclusion(index, begin, middle, subtree, path)
                           : add_inclusion(index, middle, end, subtree, path);
      !below) {
    return below;
  }
  Result<Digest> sibling = is_left ? subtree(middle, end) : subtree(begin, middle);
  if (!sibling) return std::unexpected(sibling.error());
  path.push_back(*sibling);
  return {};
}

// `is_known` while the old tree's root is that of [begin, old_end), which whoever verifies already has.
Result<void> add_consistency(std::uint64_t old_end, std::uint64_t begin, std::uint64_t end, bool is_known,
                             const SubtreeRoot& subtree, std::vector<Digest>& path) {
  if (old_end == end) {
    if (is_known) return {};
    Result<Digest> root = subtree(begin, end);
    if (!root) return std::unexpected(root.error());
    path.push_back(*root);
    return {};
  }
  const std::uint64_t middle = begin + split_of(end - begin);
  const bool is_left = old_end <= middle;
  if (auto below = is_left ? add_consistency(old_end, begin, middle, is_known, subtree, path)
                           : add_consistency(old_end, middle, end, false, subtree, path);
      !below) {
    return below;
  }
  Result<Digest> sibling = is_left ? subtree(middle, end) : subtree(begin, middle);
  if (!sibling) return std::unexpected(sibling.error());
  path.push_back(*sibling);
  return {};
}

}  // namespace

Digest leaf_hash(std::string_view entry) { return sha256({kLeafPrefix, entry}); }
Digest node_hash(const Digest& left, const Digest& right) {
  return sha256({kNodePrefix, bytes_of(left), bytes_of(right)});
}
Digest empty_root() { return sha256(""); }

Result<MerkleTree> MerkleTree::resume(std::uint64_t size, std::string_view peaks) {
  MerkleTree tree;
  tree.size_ = size;
  if (peaks.size() != static_cast<std::size_t>(std::popcount(size)) * sizeof(Digest)) {
    return fail(ErrorCode::kDataLoss, "the stored peaks of the audit tree do not fit its size");
  }
  for (; !peaks.empty(); peaks.remove_prefix(sizeof(Digest))) {
    tree.peaks_.push_back(*digest_of_bytes(peaks.substr(0, sizeof(Digest))));
  }
  return tree;
}

std::optional<Digest> MerkleTree::append(const Digest& leaf, unsigned level) {
  std::optional<Digest> completed;
  peaks_.push_back(leaf);
  if (level == 0) completed = leaf;
  ++size_;
  const auto heights = static_cast<unsigned>(std::countr_zero(size_));
  for (unsigned height = 1; height <= heights; ++height) {
    const Digest right = peaks_.back();
    peaks_.pop_back();
    peaks_.back() = node_hash(peaks_.back(), right);
    if (height == level) completed = peaks_.back();
  }
  return completed;
}

void MerkleTree::append_subtree(const Digest& root, unsigned level) {
  peaks_.push_back(root);
  size_ += std::uint64_t{1} << level;
  for (unsigned height = level + 1; height < 64 && size_ % (std::uint64_t{1} << height) == 0; ++height) {
    const Digest right = peaks_.back();
    peaks_.pop_back();
    peaks_.back() = node_hash(peaks_.back(), right);
  }
}

Digest MerkleTree::root() const {
  if (peaks_.empty()) return empty_root();
  Digest root = peaks_.back();
  for (std::size_t i = peaks_.size() - 1; i-- > 0;) root = node_hash(peaks_[i], root);
  return root;
}

std::string MerkleTree::peaks() const {
  std::string out;
  for (const Digest& peak : peaks_) out += bytes_of(peak);
  return out;
}

Digest root_of(std::span<const Digest> leaves) {
  MerkleTree tree;
  for (const Digest& leaf : leaves) tree.append(leaf);
  return tree.root();
}

std::uint64_t split_of(std::uint64_t size) { return std::bit_floor(size - 1); }

Result<std::vector<Digest>> inclusion_path(std::uint64_t index, std::uint64_t size, const SubtreeRoot& subtree) {
  if (index >= size) return fail(ErrorCode::kInvalidArgument, "an inclusion proof needs a leaf inside the tree");
  std::vector<Digest> path;
  if (auto added = add_inclusion(index, 0, size, subtree, path); !added) return std::unexpected(added.error());
  return path;
}

Result<std::vector<Digest>> consistency_path(std::uint64_t old_size, std::uint64_t size, const SubtreeRoot& subtree) {
  if (old_size == 0 || old_size > size) {
    return fail(ErrorCode::kInvalidArgument, "a consistency proof needs an old size from 1 to the new one");
  }
  std::vector<Digest> path;
  if (auto added = add_consistency(old_size, 0, size, true, subtree, path); !added) {
    return std::unexpected(added.error());
  }
  return path;
}

bool verify_inclusion(const Digest& leaf, std::uint64_t index, std::uint64_t size, std::span<const Digest> path,
                      const Digest& root) {
  if (index >= size) return false;
  std::uint64_t node = index;
  std::uint64_t last = size - 1;
  Digest hash = leaf;
  for (const Digest& sibling : path) {
    if (last == 0) return false;
    if (node % 2 == 1 || node == last) {
      hash = node_hash(sibling, hash);
      // The last node of a row may have no sibling: it rises until it has one on its left.
      while (node % 2 == 0 && node != 0) {
        node >>= 1;
        last >>= 1;
      }
    } else {
      hash = node_hash(hash, sibling);
    }
    node >>= 1;
    last >>= 1;
  }
  return last == 0 && hash == root;
}

bool verify_consistency(std::uint64_t old_size, const Digest& old_root, std::uint64_t size, const Digest& root,
                        std::span<const Digest> path) {
  if (old_size == 0 || old_size > size) return false;
  if (old_size == size) return path.empty() && old_root == root;
  std::uint64_t node = old_size - 1;
  std::uint64_t last = size - 1;
  while (node % 2 == 1) {
    node >>= 1;
    last >>= 1;
  }
  // Where the old tree is perfect its root is the first node, and the proof leaves it out.
  const bool is_perfect = std::has_single_bit(old_size);
  if (!is_perfect && path.empty()) return false;
  Digest old_hash = is_perfect ? old_root : path.front();
  Digest hash = old_hash;
  for (const Digest& sibling : path.subspan(is_perfect ? 0 : 1)) {
    if (last == 0) return false;
    if (node % 2 == 1 || node == last) {
      old_hash = node_hash(sibling, old_hash);
      hash = node_hash(sibling, hash);
      while (node % 2 == 0 && node != 0) {
        node >>= 1;
        last >>= 1;
      }
    } else {
      hash = node_hash(hash, sibling);
    }
    node >>= 1;
    last >>= 1;
  }
  return last == 0 && old_hash == old_root && hash == root;
}

}  // namespace fettle::ledger
