// A copy of the whole store taken while it is in use, proven before it counts, and the way back.
//
// A backup is a folder: manifest.json, and either ledger.db (SQLite) or one TABLE.copy for each table (PostgreSQL). It
// is built under another name, verified, synced to disk and renamed into place: a folder that is there is whole.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/secret.h"
#include "db/migration.h"

namespace fettle::db {

struct TableCopy {
  std::string name;
  std::int64_t rows = 0;
  std::string digest;  // of the rows whatever their order; hexadecimal
};

struct Manifest {
  Dialect dialect = Dialect::kSqlite;
  UnixNanos taken_at = 0;
  std::vector<AppliedMigration> migrations;
  std::vector<TableCopy> tables;  // in an order in which they can be filled
};

// Blocks, on connections of its own: call it on a thread that may. kConflict when `folder` exists, kResourceExhausted
// when the disk is full (nothing is left behind then).
Result<Manifest> backup(const Secret& url, const std::filesystem::path& folder, Clock& clock);

// Reads a backup and checks every row against the manifest. kDataLoss names what does not agree.
Result<Manifest> verify_backup(const std::filesystem::path& folder);

// Fills an empty store (no file, or a PostgreSQL schema without tables; else kConflict) of the backup's kind and
// verifies it. `rooms` must know the migrations that the backup was made with; run migrate() afterwards as at every
// start.
Result<void> restore(const std::filesystem::path& folder, const Secret& url,
                     const std::vector<const Migrations*>& rooms, Clock& clock);

}  // namespace fettle::db
