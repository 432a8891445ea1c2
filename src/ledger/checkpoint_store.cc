#include "ledger/checkpoint_store.h"

#include <fmt/format.h>

#include <cstring>

namespace fettle::ledger {
namespace {

template <std::size_t N>
bool copy_into(std::array<unsigned char, N>& out, std::string_view bytes) {
  if (bytes.size() != N) return false;
  std::memcpy(out.data(), bytes.data(), N);
  return true;
}

template <std::size_t N>
db::BlobView blob(const std::array<unsigned char, N>& bytes) {
  return {std::string_view(reinterpret_cast<const char*>(bytes.data()), N)};
}

Result<std::optional<Checkpoint>> first_of(Result<db::Rows> rows) {
  if (!rows) return std::unexpected(rows.error());
  if (rows->empty()) return std::nullopt;
  auto checkpoint = checkpoint_of((*rows)[0]);
  if (!checkpoint) return std::unexpected(checkpoint.error());
  return std::move(*checkpoint);
}

}  // namespace

Result<Checkpoint> checkpoint_of(const db::Row& row) {
  Checkpoint checkpoint;
  std::int64_t size = 0;
  db::BlobView hash;
  db::BlobView root;
  db::BlobView public_key;
  db::BlobView signature;
  if (auto got = row.into(checkpoint.workspace, size, checkpoint.at, hash, root, public_key, signature); !got) {
    return std::unexpected(got.error());
  }
  checkpoint.size = static_cast<std::uint64_t>(size);
  if (!copy_into(checkpoint.hash, hash.bytes) || !copy_into(checkpoint.root, root.bytes) ||
      !copy_into(checkpoint.public_key, public_key.bytes) || !copy_into(checkpoint.signature, signature.bytes)) {
    return fail(ErrorCode::kDataLoss, fmt::format("the audit checkpoint of '{}' at {} records is damaged",
                                                  checkpoint.workspace.value, checkpoint.size));
  }
  return checkpoint;
}

Result<void> insert_checkpoint(db::Transaction& tx, const Checkpoint& made) {
  auto inserted = tx.execute("INSERT INTO audit_checkpoints (" FETTLE_CHECKPOINT_COLUMNS
                             ") VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (workspace, size) DO NOTHING",
                             {made.workspace, static_cast<std::int64_t>(made.size), made.at, blob(made.hash),
                              blob(made.root), blob(made.public_key), blob(made.signature)});
  if (!inserted) return std::unexpected(inserted.error());
  return {};
}

Result<std::optional<Checkpoint>> newest_checkpoint(db::Reader& reader, const WorkspaceId& workspace,
                                                    std::uint64_t size_max) {
  return first_of(reader.query("SELECT " FETTLE_CHECKPOINT_COLUMNS
                               " FROM audit_checkpoints WHERE workspace = $1 AND size <= $2 ORDER BY size DESC LIMIT 1",
                               {workspace, static_cast<std::int64_t>(size_max)}));
}

Result<std::vector<Checkpoint>> list_checkpoints(db::Reader& reader, const WorkspaceId& workspace,
                                                 std::uint64_t size_max, std::int32_t rows_max) {
  auto rows = reader.query("SELECT " FETTLE_CHECKPOINT_COLUMNS
                           " FROM audit_checkpoints WHERE workspace = $1 AND size <= $2 ORDER BY size DESC LIMIT $3",
                           {workspace, static_cast<std::int64_t>(size_max), rows_max});
  if (!rows) return std::unexpected(rows.error());
  std::vector<Checkpoint> found;
  for (const db::Row row : *rows) {
    auto checkpoint = checkpoint_of(row);
    if (!checkpoint) return std::unexpected(std::move(checkpoint).error());
    found.push_back(std::move(*checkpoint));
  }
  return found;
}

}  // namespace fettle::ledger
