// An audit log as one file that whoever holds it can verify offline, without us.
//
// JSON, one object a line:
//   {"manifest":{"exported_at","format":"fettle-audit-bundle-1","from","hash","keys","peaks","to","workspace"}}
//       `from`, `to`: the positions in it. `hash`: h[from-1]. `peaks`: of the tree over what stands before, each 64
//       digits. `keys`: the public keys whose checkpoints are in it.
//   {"record":<entry>,"hash":"<h[position]>"}      the entry byte for byte as it was hashed (chain.h)
//   {"details":{"position","salt","value"}}         behind its record, unless erased or withheld: its details_hash is
//                                                   SHA-256("fettle-audit-details-v1\0" ‖ salt ‖ value)
//   {"checkpoint":{…}}                              behind the record it ends with (checkpoint.h)
//   {"end":{"records","sha256"}}                    SHA-256 over all lines, with their ends, that are neither record
//                                                   nor details: those have hashes of their own
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/clock.h"
#include "core/scope.h"
#include "ledger/bundle_file.h"
#include "ledger/verify.h"

namespace fettle::db {
class Reader;
}

namespace fettle::ledger {

struct ExportOptions {
  std::uint64_t from = 1;  // 1, or the first position of a segment
  std::uint64_t to = 0;    // where a checkpoint is; 0: at the newest one
  bool with_details = true;
};

struct ExportReport {
  std::uint64_t from = 0;
  std::uint64_t to = 0;
  std::uint64_t bytes = 0;
  Digest sha256{};  // of the whole file
};

// Writes beside `file` and renames when all of it is on disk; an existing file is replaced. Blocks; memory does not
// grow with the log. kPermissionDenied for a scope that is limited to clients (use an excerpt: proofs.h), kNotFound
// where there is no checkpoint at `to`, kInvalidArgument for another `from`, or one that is pruned: that is in an
// archive.
Result<ExportReport> export_bundle(db::Database& database, const Scope& scope, const ExportOptions& options,
                                   const std::filesystem::path& file, Clock& clock);

// The same piece by piece, for a bundle that is sent on as it is read. What is chained stays as it is, so each piece
// may be read by a transaction of its own. One thread at a time.
class BundleExport {
 public:
  // Appends the manifest to `out`. Refuses as export_bundle() does.
  static Result<BundleExport> begin(db::Reader& reader, const Scope& scope, const ExportOptions& options, UnixNanos now,
                                    std::string& out);
  // Appends the next lines to `out`, about kBundlePieceBytes of them. False once the last one is among them. kDataLoss
  // when a record is missing (also one that was pruned meanwhile): what was sent is then no bundle.
  Result<bool> next(db::Reader& reader, std::string& out);

  std::uint64_t from() const { return from_; }
  std::uint64_t to() const { return to_; }

 private:
  BundleExport(WorkspaceId workspace, const ExportOptions& options, std::uint64_t to)
      : workspace_(std::move(workspace)),
        from_(options.from),
        to_(to),
        with_details_(options.with_details),
        next_(options.from) {}
  Result<void> append_records(db::Reader& reader, std::uint64_t last, std::string& out);

  WorkspaceId workspace_;
  std::uint64_t from_;
  std::uint64_t to_;
  bool with_details_;
  std::uint64_t next_;  // position
  RunningSha256 hash_;  // of the lines that have none of their own
};
constexpr std::size_t kBundlePieceBytes = 1 << 20;

// Offline. An error only where the file cannot be read; whatever is wrong with it is in the report.
Result<VerifyReport> verify_bundle(const std::filesystem::path& file, const VerifyOptions& options);

// The same for a bundle that comes piece by piece. One thread.
class BundleVerifier {
 public:
  explicit BundleVerifier(const VerifyOptions& options);
  ~BundleVerifier();
  BundleVerifier(const BundleVerifier&) = delete;
  BundleVerifier& operator=(const BundleVerifier&) = delete;
  // One line without its end. False once something is bad.
  bool line(std::string_view line);
  VerifyReport finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

constexpr std::size_t kBundleLineBytesMax = 8 << 20;

}  // namespace fettle::ledger
