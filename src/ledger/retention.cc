#include "ledger/retention.h"

#include <fmt/format.h>

#include "db/database.h"
#include "ledger/bundle.h"
#include "ledger/entry.h"
#include "ledger/stored_tree.h"

namespace fettle::ledger {
namespace {

static_assert(kIndexBucketRecords % kSegmentRecords == 0, "the keys of a segment lie in one bucket");

// A segment that may go.
struct Due {
  std::uint64_t number = 0;
  UnixNanos last_recorded_at = 0;
  std::string leaves;
};

Result<std::optional<Due>> next_due(db::Reader& reader, const WorkspaceId& workspace, UnixNanos recorded_before) {
  std::uint64_t pruned = 0;
  std::uint64_t size = 0;
  auto found = reader.fetch("SELECT pruned, size FROM audit_chains WHERE workspace = $1", {workspace}, pruned, size);
  if (!found) return std::unexpected(found.error());
  if (!*found) return std::nullopt;
  Due due{.number = pruned / kSegmentRecords, .leaves = {}};
  auto sealed = reader.fetch("SELECT last_recorded_at FROM audit_segments WHERE workspace = $1 AND number = $2",
                             {workspace, static_cast<std::int64_t>(due.number)}, due.last_recorded_at);
  if (!sealed) return std::unexpected(sealed.error());
  if (!*sealed || due.last_recorded_at >= recorded_before) return std::nullopt;
  auto leaves = StoredTree(reader, workspace, size).leaves(due.number);
  if (!leaves) return std::unexpected(leaves.error());
  for (const Digest& leaf : *leaves) due.leaves += bytes_of(leaf);
  return due;
}

Result<void> prune(db::Transaction& tx, const WorkspaceId& workspace, const Due& due, const std::string& file,
                   const std::string& sha256) {
  const auto from = static_cast<std::int64_t>(due.number * kSegmentRecords + 1);
  const auto to = static_cast<std::int64_t>((due.number + 1) * kSegmentRecords);
  auto kept = tx.execute(
      "UPDATE audit_segments SET leaves = $3, archive = $4, archive_sha256 = $5 WHERE workspace = $1 AND number = $2",
      {workspace, static_cast<std::int64_t>(due.number), db::BlobView{due.leaves}, file, sha256});
  if (!kept) return std::unexpected(kept.error());
  // From here on the store lets these positions go.
  auto moved =
      tx.execute("UPDATE audit_chains SET pruned = $2 WHERE workspace = $1 AND pruned = $3", {workspace, to, from - 1});
  if (!moved) return std::unexpected(moved.error());
  if (*kept != 1 || *moved != 1) return fail(ErrorCode::kConflict, "the segment was pruned by somebody else");
  auto index =
      tx.execute("DELETE FROM audit_index WHERE workspace = $1 AND bucket = $2 AND position >= $3 AND position <= $4",
                 {workspace, index_bucket(static_cast<std::uint64_t>(from)), from, to});
  if (!index) return std::unexpected(index.error());
  auto names = tx.execute("DELETE FROM audit_names WHERE workspace = $1 AND recorded_at <= $2",
                          {workspace, due.last_recorded_at});
  if (!names) return std::unexpected(names.error());
  for (const db::Sql& sql :
       {db::Sql("DELETE FROM audit_details WHERE workspace = $1 AND position >= $2 AND position <= $3"),
        db::Sql("DELETE FROM audit_records WHERE workspace = $1 AND position >= $2 AND position <= $3")}) {
    auto gone = tx.execute(sql, {workspace, from, to});
    if (!gone) return std::unexpected(gone.error());
  }
  return {};
}

}  // namespace

Result<std::uint64_t> archive_segments(db::Database& database, Clock& clock, const WorkspaceId& workspace,
                                       const RetentionOptions& options,
                                       const std::function<Result<void>(db::Transaction&)>& fence) {
  std::uint64_t archived = 0;
  for (; archived < options.segments_max; ++archived) {
    auto due = database.read_and_wait(
        [&](db::Reader& reader) { return next_due(reader, workspace, options.recorded_before); });
    if (!due) return std::unexpected(std::move(due).error().within("looking for audit segments to archive"));
    if (!*due) break;
    const std::uint64_t from = (*due)->number * kSegmentRecords + 1;
    const std::uint64_t to = from + kSegmentRecords - 1;
    const std::string name = fmt::format("{}-audit-{}-{}.jsonl", workspace.value, from, to);
    auto written = export_bundle(database, {.workspace = workspace, .clients = {}}, {.from = from, .to = to},
                                 options.archive / name, clock);
    if (!written) return std::unexpected(std::move(written).error().within("archiving audit records"));
    // Read back from the disk before the only other copy goes.
    auto verified = verify_bundle(options.archive / name, {});
    if (!verified) return std::unexpected(verified.error());
    if (verified->bad) {
      return fail(ErrorCode::kDataLoss,
                  fmt::format("audit segment {} of '{}' is not pruned: record {}: {}", (*due)->number, workspace.value,
                              verified->bad->position, verified->bad->what));
    }
    auto pruned = database.write_and_wait(
        [&](db::Transaction& tx) -> Result<void> {
          if (auto mine = fence(tx); !mine) return mine;
          return prune(tx, workspace, **due, name, to_hex(written->sha256));
        },
        {.alone = true});
    if (!pruned) return std::unexpected(std::move(pruned).error().within("pruning audit records"));
  }
  return archived;
}

Result<std::vector<ArchivedSegment>> archived_segments(db::Reader& reader, const WorkspaceId& workspace) {
  auto rows = reader.query(
      "SELECT number, archive, archive_sha256 FROM audit_segments WHERE workspace = $1 AND archive IS NOT NULL ORDER "
      "BY "
      "number LIMIT 100000",
      {workspace});
  if (!rows) return std::unexpected(rows.error());
  std::vector<ArchivedSegment> segments;
  for (const db::Row row : *rows) {
    std::uint64_t number = 0;
    ArchivedSegment& segment = segments.emplace_back();
    if (auto got = row.into(number, segment.file, segment.sha256); !got) return std::unexpected(got.error());
    segment.from = number * kSegmentRecords + 1;
    segment.to = segment.from + kSegmentRecords - 1;
  }
  return segments;
}

Result<std::vector<WorkspaceId>> audited_workspaces(db::Reader& reader) {
  auto rows = reader.query("SELECT workspace FROM audit_chains ORDER BY workspace");
  if (!rows) return std::unexpected(rows.error());
  std::vector<WorkspaceId> workspaces;
  for (const db::Row row : *rows) {
    auto workspace = row.get<WorkspaceId>(0);
    if (!workspace) return std::unexpected(workspace.error());
    workspaces.push_back(std::move(*workspace));
  }
  return workspaces;
}

}  // namespace fettle::ledger
