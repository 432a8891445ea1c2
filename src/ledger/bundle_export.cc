#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "db/database.h"
#include "ledger/audit_log.h"
#include "ledger/bundle.h"
#include "ledger/bundle_file.h"
#include "ledger/checkpoint_store.h"
#include "ledger/entry.h"
#include "ledger/stored_tree.h"

namespace fettle::ledger {
namespace {

// Of one statement: with the largest details that there can be, 64 MiB.
constexpr std::uint64_t kChunkRecords = 256;
constexpr auto kReadDeadline = std::chrono::hours(6);

Result<std::set<PublicKey>> keys_between(db::Reader& reader, const WorkspaceId& workspace, std::uint64_t from,
                                         std::uint64_t to) {
  auto rows = reader.query(
      "SELECT DISTINCT public_key FROM audit_checkpoints WHERE workspace = $1 AND size >= $2 AND size <= $3",
      {workspace, static_cast<std::int64_t>(from), static_cast<std::int64_t>(to)});
  if (!rows) return std::unexpected(rows.error());
  std::set<PublicKey> keys;
  for (const db::Row row : *rows) {
    db::BlobView bytes;
    if (auto got = row.into(bytes); !got) return std::unexpected(got.error());
    if (const auto key = digest_of_bytes(bytes.bytes)) keys.insert(*key);
  }
  return keys;
}

Result<std::vector<Checkpoint>> checkpoints_between(db::Reader& reader, const WorkspaceId& workspace,
                                                    std::uint64_t from, std::uint64_t to) {
  auto rows = reader.query("SELECT " FETTLE_CHECKPOINT_COLUMNS
                           " FROM audit_checkpoints WHERE workspace = $1 AND size >= $2 AND size <= $3 ORDER BY size",
                           {workspace, static_cast<std::int64_t>(from), static_cast<std::int64_t>(to)});
  if (!rows) return std::unexpected(rows.error());
  std::vector<Checkpoint> found;
  for (const db::Row row : *rows) {
    auto checkpoint = checkpoint_of(row);
    if (!checkpoint) return std::unexpected(checkpoint.error());
    found.push_back(std::move(*checkpoint));
  }
  return found;
}

constexpr db::Sql kWithDetails =
    "SELECT r.position, r.entry, r.hash, d.salt, d.details FROM audit_records AS r LEFT JOIN audit_details AS d ON "
    "d.workspace = r.workspace AND d.position = r.position WHERE r.workspace = $1 AND r.position >= $2 AND "
    "r.position <= $3 ORDER BY r.position";
constexpr db::Sql kWithoutDetails =
    "SELECT position, entry, hash, NULL, NULL FROM audit_records WHERE workspace = $1 AND position >= $2 AND "
    "position <= $3 ORDER BY position";

Result<ExportReport> write_bundle(db::Reader& reader, const Scope& scope, const ExportOptions& options,
                                  const std::filesystem::path& path, UnixNanos now) {
  std::string piece;
  auto bundle = BundleExport::begin(reader, scope, options, now, piece);
  if (!bundle) return std::unexpected(bundle.error());
  auto file = BundleFile::create(path);
  if (!file) return std::unexpected(file.error());
  for (bool more = true; more;) {
    auto next = bundle->next(reader, piece);
    if (!next) return std::unexpected(next.error());
    more = *next;
    if (auto written = file->write(piece); !written) return std::unexpected(written.error());
    piece.clear();
  }
  if (auto finished = file->finish(); !finished) return std::unexpected(finished.error());
  return ExportReport{.from = bundle->from(), .to = bundle->to(), .bytes = file->bytes(), .sha256 = file->sha256()};
}

}  // namespace

Result<BundleExport> BundleExport::begin(db::Reader& reader, const Scope& scope, const ExportOptions& options,
                                         UnixNanos now, std::string& out) {
  if (!scope.clients.empty()) {
    return fail(ErrorCode::kPermissionDenied, "a bundle holds the records of all clients of its workspace");
  }
  const WorkspaceId& workspace = scope.workspace;
  auto head = audit_head(reader, workspace);
  if (!head) return std::unexpected(head.error());
  auto last = newest_checkpoint(reader, workspace, options.to == 0 ? head->size : options.to);
  if (!last) return std::unexpected(last.error());
  if (!*last) return fail(ErrorCode::kNotFound, fmt::format("'{}' has no checkpoint yet", workspace.value));
  if (options.to != 0 && (*last)->size != options.to) {
    return fail(ErrorCode::kNotFound,
                fmt::format("there is no checkpoint at record {} of '{}'", options.to, workspace.value));
  }
  const std::uint64_t to = (*last)->size;
  const std::uint64_t from = options.from;
  if (from == 0 || from > to || (from - 1) % kSegmentRecords != 0) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("a bundle begins at record 1 or the first of a segment of {}, and before record {}",
                            kSegmentRecords, to));
  }
  if (from <= head->pruned) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("records up to {} are pruned: they are in the archived bundles", head->pruned));
  }
  Digest before = first_link(workspace);
  MerkleTree tree;
  if (from > 1) {
    auto sealed = newest_checkpoint(reader, workspace, from - 1);
    if (!sealed) return std::unexpected(sealed.error());
    if (!*sealed || (*sealed)->size != from - 1) {
      return fail(ErrorCode::kDataLoss, fmt::format("the checkpoint at record {} is missing", from - 1));
    }
    before = (*sealed)->hash;
    auto grown = segment_tree(reader, workspace, (from - 1) / kSegmentRecords);
    if (!grown) return std::unexpected(grown.error());
    tree = std::move(*grown);
  }
  auto keys = keys_between(reader, workspace, from, to);
  if (!keys) return std::unexpected(keys.error());

  std::string line = "{\"manifest\":{\"exported_at\":";
  append_canonical_string(line, format_rfc3339(now));
  line += fmt::format(R"(,"format":"fettle-audit-bundle-1","from":{},"hash":"{}","keys":[)", from, to_hex(before));
  for (auto key = keys->begin(); key != keys->end(); ++key) {
    line += fmt::format("{}\"{}\"", key == keys->begin() ? "" : ",", to_hex(*key));
  }
  line += fmt::format(R"(],"peaks":"{}","to":{},"workspace":)", fettle::to_hex(tree.peaks()), to);
  append_canonical_string(line, workspace.value);
  line += "}}\n";
  BundleExport bundle(workspace, options, to);
  bundle.hash_.add(line);
  out += line;
  return bundle;
}

Result<bool> BundleExport::next(db::Reader& reader, std::string& out) {
  const std::size_t begun = out.size();
  while (next_ <= to_) {
    if (out.size() - begun >= kBundlePieceBytes) return true;
    if (auto added = append_records(reader, std::min(to_, next_ + kChunkRecords - 1), out); !added) {
      return std::unexpected(added.error());
    }
  }
  out += fmt::format("{{\"end\":{{\"records\":{},\"sha256\":\"{}\"}}}}\n", to_ - from_ + 1, to_hex(hash_.digest()));
  return false;
}

Result<void> BundleExport::append_records(db::Reader& reader, std::uint64_t last, std::string& out) {
  auto checkpoints = checkpoints_between(reader, workspace_, next_, last);
  if (!checkpoints) return std::unexpected(checkpoints.error());
  auto checkpoint = checkpoints->begin();
  auto read = reader.each(with_details_ ? kWithDetails : kWithoutDetails,
                          {workspace_, static_cast<std::int64_t>(next_), static_cast<std::int64_t>(last)},
                          [&](const db::Row& row) -> Result<void> {
                            std::uint64_t position = 0;
                            std::string_view entry;
                            db::BlobView hash;
                            std::optional<db::Blob> salt;
                            std::optional<std::string> details;
                            if (auto got = row.into(position, entry, hash, salt, details); !got) return got;
                            if (position != next_) {
                              return fail(ErrorCode::kDataLoss, fmt::format("audit record {} is missing", next_));
                            }
                            ++next_;
                            out += "{\"record\":";
                            out += entry;
                            out += ",\"hash\":\"";
                            fettle::append_hex(out, hash.bytes);
                            out += "\"}\n";
                            if (salt && details) {
                              out += fmt::format(R"({{"details":{{"position":{},"salt":"{}","value":)", position,
                                                 fettle::to_hex(salt->bytes));
                              out += *details;
                              out += "}}\n";
                            }
                            for (; checkpoint != checkpoints->end() && checkpoint->size == position; ++checkpoint) {
                              const std::string line = "{\"checkpoint\":" + to_json(*checkpoint) + "}\n";
                              hash_.add(line);
                              out += line;
                            }
                            return {};
                          });
  if (!read) return std::unexpected(read.error());
  if (next_ <= last) return fail(ErrorCode::kDataLoss, fmt::format("audit record {} is missing", next_));
  return {};
}

Result<ExportReport> export_bundle(db::Database& database, const Scope& scope, const ExportOptions& options,
                                   const std::filesystem::path& file, Clock& clock) {
  const UnixNanos now = clock.now();
  auto report = database.read_and_wait(
      [&](db::Reader& reader) { return write_bundle(reader, scope, options, file, now); }, {.deadline = kReadDeadline});
  if (!report) return std::unexpected(std::move(report).error().within("exporting the audit log"));
  return report;
}

}  // namespace fettle::ledger
