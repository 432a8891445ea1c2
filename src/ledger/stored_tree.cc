#include "ledger/stored_tree.h"

#include <fmt/format.h>

#include <algorithm>

namespace fettle::ledger {
namespace {

Result<std::vector<Digest>> roots_of(db::Reader& reader, const WorkspaceId& workspace, std::uint64_t segments) {
  std::vector<Digest> roots;
  auto read =
      reader.each("SELECT number, root FROM audit_segments WHERE workspace = $1 AND number < $2 ORDER BY number",
                  {workspace, static_cast<std::int64_t>(segments)}, [&](const db::Row& row) -> Result<void> {
                    std::uint64_t number = 0;
                    db::BlobView bytes;
                    if (auto got = row.into(number, bytes); !got) return got;
                    const auto root = digest_of_bytes(bytes.bytes);
                    if (number != roots.size() || !root) {
                      return fail(ErrorCode::kDataLoss, fmt::format("audit segment {} is damaged", roots.size()));
                    }
                    roots.push_back(*root);
                    return {};
                  });
  if (!read) return std::unexpected(read.error());
  if (roots.size() != segments) {
    return fail(ErrorCode::kDataLoss, fmt::format("audit segment {} is missing", roots.size()));
  }
  return roots;
}

}  // namespace

Result<MerkleTree> segment_tree(db::Reader& reader, const WorkspaceId& workspace, std::uint64_t segments) {
  auto roots = roots_of(reader, workspace, segments);
  if (!roots) return std::unexpected(roots.error());
  MerkleTree tree;
  for (const Digest& root : *roots) tree.append_subtree(root, kSegmentLevel);
  return tree;
}

Result<std::vector<Digest>> StoredTree::leaves(std::uint64_t segment) {
  if (segment == cached_segment_) return cached_leaves_;
  std::vector<Digest> leaves;
  std::optional<db::Blob> kept;
  auto found = reader_.fetch("SELECT leaves FROM audit_segments WHERE workspace = $1 AND number = $2",
                             {workspace_, static_cast<std::int64_t>(segment)}, kept);
  if (!found) return std::unexpected(found.error());
  if (*found && kept) {
    for (std::size_t i = 0; i + sizeof(Digest) <= kept->bytes.size(); i += sizeof(Digest)) {
      leaves.push_back(*digest_of_bytes(std::string_view(kept->bytes).substr(i, sizeof(Digest))));
    }
  } else {
    const std::uint64_t first = segment * kSegmentRecords + 1;
    const std::uint64_t last = std::min(size_, (segment + 1) * kSegmentRecords);
    auto read = reader_.each(
        "SELECT entry FROM audit_records WHERE workspace = $1 AND position >= $2 AND position <= $3 ORDER BY position",
        {workspace_, static_cast<std::int64_t>(first), static_cast<std::int64_t>(last)},
        [&](const db::Row& row) -> Result<void> {
          std::string_view entry;
          if (auto got = row.into(entry); !got) return got;
          leaves.push_back(leaf_hash(entry));
          return {};
        });
    if (!read) return std::unexpected(read.error());
  }
  const std::uint64_t expected = std::min(size_ - segment * kSegmentRecords, kSegmentRecords);
  if (leaves.size() != expected) {
    return fail(ErrorCode::kDataLoss,
                fmt::format("audit segment {} holds {} records of {}", segment, leaves.size(), expected));
  }
  cached_segment_ = segment;
  cached_leaves_ = leaves;
  return leaves;
}

Result<Digest> StoredTree::root_inside(std::uint64_t segment, std::uint64_t begin, std::uint64_t end) {
  auto all = leaves(segment);
  if (!all) return std::unexpected(all.error());
  const std::uint64_t base = segment * kSegmentRecords;
  return root_of(std::span(*all).subspan(begin - base, end - begin));
}

Result<Digest> StoredTree::root(std::uint64_t begin, std::uint64_t end) {
  if (end - begin < kSegmentRecords) {
    const std::uint64_t segment = begin / kSegmentRecords;
    // Parts of a tree below the size of a segment never reach over a segment's border.
    return root_inside(segment, begin, end);
  }
  if (!have_roots_) {
    auto roots = roots_of(reader_, workspace_, size_ / kSegmentRecords);
    if (!roots) return std::unexpected(roots.error());
    roots_ = std::move(*roots);
    have_roots_ = true;
  }
  if (end - begin == kSegmentRecords) return roots_[begin / kSegmentRecords];
  const std::uint64_t middle = begin + split_of(end - begin);
  auto left = root(begin, middle);
  if (!left) return left;
  auto right = root(middle, end);
  if (!right) return right;
  return node_hash(*left, *right);
}

}  // namespace fettle::ledger
