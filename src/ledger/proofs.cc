#include "ledger/proofs.h"

#include <fmt/format.h>

#include "db/transaction.h"
#include "ledger/checkpoint_store.h"
#include "ledger/entry.h"
#include "ledger/stored_tree.h"

namespace fettle::ledger {
namespace {

bool may_see(const Scope& scope, std::string_view entry) {
  if (scope.clients.empty()) return true;
  const auto read = read_entry(entry);
  if (!read) return false;
  for (const ClientId& client : scope.clients) {
    if (client.value == read->record.client_id) return true;
  }
  return false;
}

}  // namespace

bool is_proven(const InclusionProof& proof) {
  return proof.position > 0 && is_signed(proof.checkpoint) &&
         verify_inclusion(leaf_hash(proof.entry), proof.position - 1, proof.checkpoint.size, proof.path,
                          proof.checkpoint.root);
}

Result<InclusionProof> prove_inclusion(db::Reader& reader, const Scope& scope, std::uint64_t position) {
  InclusionProof proof{.position = position, .entry = {}, .path = {}, .checkpoint = {}};
  auto found = reader.fetch("SELECT entry FROM audit_records WHERE workspace = $1 AND position = $2",
                            {scope.workspace, static_cast<std::int64_t>(position)}, proof.entry);
  if (!found) return std::unexpected(found.error());
  if (!*found || !may_see(scope, proof.entry)) {
    return fail(ErrorCode::kNotFound, fmt::format("there is no audit record {}", position));
  }
  auto head = audit_head(reader, scope.workspace);
  if (!head) return std::unexpected(head.error());
  auto newest = newest_checkpoint(reader, scope.workspace, head->size);
  if (!newest) return std::unexpected(newest.error());
  if (!*newest || (*newest)->size < position) {
    return fail(ErrorCode::kNotFound, fmt::format("no checkpoint covers audit record {} yet", position));
  }
  proof.checkpoint = std::move(**newest);
  StoredTree tree(reader, scope.workspace, proof.checkpoint.size);
  auto path = inclusion_path(position - 1, proof.checkpoint.size,
                             [&](std::uint64_t begin, std::uint64_t end) { return tree.root(begin, end); });
  if (!path) return std::unexpected(path.error());
  proof.path = std::move(*path);
  return proof;
}

Result<std::vector<Digest>> prove_consistency(db::Reader& reader, const WorkspaceId& workspace, std::uint64_t old_size,
                                              std::uint64_t size) {
  auto head = audit_head(reader, workspace);
  if (!head) return std::unexpected(head.error());
  if (size > head->size) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("the log of '{}' has {} records", workspace.value, head->size));
  }
  StoredTree tree(reader, workspace, size);
  return consistency_path(old_size, size,
                          [&](std::uint64_t begin, std::uint64_t end) { return tree.root(begin, end); });
}

}  // namespace fettle::ledger
