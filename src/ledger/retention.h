// Old audit records leave the store as archived bundles; their hashes, roots and checkpoints stay.
//
// A segment is archived once its newest record is older than retention: written as a bundle, synced, verified, and only
// then pruned, in one transaction that keeps its leaves. Proofs over pruned segments can still be made, and the bundle
// still verifies against the checkpoints in the store.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "core/clock.h"
#include "core/error.h"
#include "core/ids.h"

namespace fettle::db {
class Database;
class Reader;
class Transaction;
}  // namespace fettle::db

namespace fettle::ledger {

struct RetentionOptions {
  std::filesystem::path archive;    // a folder that exists; files WORKSPACE-audit-FROM-TO.jsonl
  UnixNanos recorded_before = 0;    // what is older goes
  std::uint64_t segments_max = 64;  // of a call
};

// Archives and prunes the oldest segments of one workspace, one after the other, and says how many. Blocks. `fence` is
// asked in each transaction. A crash leaves a segment archived and not pruned at worst: the next call does it again.
Result<std::uint64_t> archive_segments(db::Database& database, Clock& clock, const WorkspaceId& workspace,
                                       const RetentionOptions& options,
                                       const std::function<Result<void>(db::Transaction&)>& fence);

struct ArchivedSegment {
  std::uint64_t from = 0;
  std::uint64_t to = 0;
  std::string file;    // its name in the archive
  std::string sha256;  // of the file, hexadecimal
};
// Oldest first; at most 100,000.
Result<std::vector<ArchivedSegment>> archived_segments(db::Reader& reader, const WorkspaceId& workspace);

// The workspaces that have an audit log, for whoever does this for all of them.
Result<std::vector<WorkspaceId>> audited_workspaces(db::Reader& reader);

}  // namespace fettle::ledger
