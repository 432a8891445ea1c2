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

constexpr std::uint64_t kChunkRecords = kSegmentRecords;
constexpr auto kReadDeadline = std::chrono::hours(6);

// Lines that have no hash of their own go through one together.
class Writer {
 public:
  explicit Writer(BundleFile& file) : file_(file) {}
  Result<void> covered(std::string_view line) { return file_.write(line); }
  Result<void> uncovered(std::string_view line) {
    hash_.add(line);
    return file_.write(line);
  }
  Digest digest() { return hash_.digest(); }

 private:
  BundleFile& file_;
  RunningSha256 hash_;
};

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

Result<ExportReport> write_bundle(db::Reader& reader, const WorkspaceId& workspace, const ExportOptions& options,
                                  const std::filesystem::path& path, UnixNanos now) {
  auto head = audit_head(reader, workspace);
  if (!head) return std::unexpected(head.error());
  auto last = newest_checkpoint(reader, workspace, options.to == 0 ? head->size : options.to);
  if (!last) return std::unexpected(last.error());
  if (!*last || (options.to != 0 && (*last)->size != options.to)) {
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

  auto file = BundleFile::create(path);
  if (!file) return std::unexpected(file.error());
  Writer out(*file);
  std::string line = "{\"manifest\":{\"exported_at\":";
  append_canonical_string(line, format_rfc3339(now));
  line += fmt::format(R"(,"format":"fettle-audit-bundle-1","from":{},"hash":"{}","keys":[)", from, to_hex(before));
  for (auto key = keys->begin(); key != keys->end(); ++key) {
    line += fmt::format("{}\"{}\"", key == keys->begin() ? "" : ",", to_hex(*key));
  }
  line += fmt::format(R"(],"peaks":"{}","to":{},"workspace":)", fettle::to_hex(tree.peaks()), to);
  append_canonical_string(line, workspace.value);
  line += "}}\n";
  if (auto written = out.uncovered(line); !written) return std::unexpected(written.error());

  const db::Sql with_details =
      "SELECT r.position, r.entry, r.hash, d.salt, d.details FROM audit_records AS r LEFT JOIN audit_details AS d ON "
      "d.workspace = r.workspace AND d.position = r.position WHERE r.workspace = $1 AND r.position >= $2 AND "
      "r.position <= "
      "$3 ORDER BY r.position";
  const db::Sql without_details =
      "SELECT position, entry, hash, NULL, NULL FROM audit_records WHERE workspace = $1 AND position >= $2 AND "
      "position <= "
      "$3 ORDER BY position";
  std::uint64_t expected = from;
  for (std::uint64_t begin = from; begin <= to; begin += kChunkRecords) {
    const std::uint64_t end = std::min(to, begin + kChunkRecords - 1);
    auto checkpoints = checkpoints_between(reader, workspace, begin, end);
    if (!checkpoints) return std::unexpected(checkpoints.error());
    auto next = checkpoints->begin();
    auto read =
        reader.each(options.with_details ? with_details : without_details,
                    {workspace, static_cast<std::int64_t>(begin), static_cast<std::int64_t>(end)},
                    [&](const db::Row& row) -> Result<void> {
                      std::uint64_t position = 0;
                      std::string_view entry;
                      db::BlobView hash;
                      std::optional<db::Blob> salt;
                      std::optional<std::string> details;
                      if (auto got = row.into(position, entry, hash, salt, details); !got) return got;
                      if (position != expected++) {
                        return fail(ErrorCode::kDataLoss, fmt::format("audit record {} is missing", expected - 1));
                      }
                      line.assign("{\"record\":");
                      line += entry;
                      line += ",\"hash\":\"";
                      fettle::append_hex(line, hash.bytes);
                      line += "\"}\n";
                      if (salt && details) {
                        line += fmt::format(R"({{"details":{{"position":{},"salt":"{}","value":)", position,
                                            fettle::to_hex(salt->bytes));
                        line += *details;
                        line += "}}\n";
                      }
                      if (auto written = out.covered(line); !written) return written;
                      for (; next != checkpoints->end() && next->size == position; ++next) {
                        if (auto written = out.uncovered("{\"checkpoint\":" + to_json(*next) + "}\n"); !written)
                          return written;
                      }
                      return {};
                    });
    if (!read) return std::unexpected(read.error());
  }
  if (expected != to + 1) return fail(ErrorCode::kDataLoss, fmt::format("audit record {} is missing", expected));
  line = fmt::format("{{\"end\":{{\"records\":{},\"sha256\":\"{}\"}}}}\n", to - from + 1, to_hex(out.digest()));
  if (auto written = out.covered(line); !written) return std::unexpected(written.error());
  if (auto finished = file->finish(); !finished) return std::unexpected(finished.error());
  return ExportReport{.from = from, .to = to, .bytes = file->bytes(), .sha256 = file->sha256()};
}

}  // namespace

Result<ExportReport> export_bundle(db::Database& database, const Scope& scope, const ExportOptions& options,
                                   const std::filesystem::path& file, Clock& clock) {
  if (!scope.clients.empty()) {
    return fail(ErrorCode::kPermissionDenied, "a bundle holds the records of all clients of its workspace");
  }
  const UnixNanos now = clock.now();
  auto report = database.read_and_wait(
      [&](db::Reader& reader) { return write_bundle(reader, scope.workspace, options, file, now); },
      {.deadline = kReadDeadline});
  if (!report) return std::unexpected(std::move(report).error().within("exporting the audit log"));
  return report;
}

}  // namespace fettle::ledger
