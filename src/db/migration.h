// The schema, as each room's list of steps. Applied once, in order, each in one transaction with its record.
//
//   const std::vector<db::Migration> kRunsMigrations = {
//       {"runs", 1, "runs and steps", {"CREATE TABLE runs (…)", "CREATE INDEX runs_state ON runs (…)"}}};
//   Result<void> ready = db::migrate(*ledger, {&ledger::migrations(), &runs::migrations()});
//
// One text usually serves both stores: BIGINT, DOUBLE PRECISION, TEXT and BYTEA columns keep in SQLite what they keep
// in PostgreSQL. A migration that was released is never edited (the record holds a hash of its text); a change is the
// next version.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/error.h"
#include "db/database.h"

namespace fettle::db {

struct Migration {
  std::string room;
  std::int32_t version = 0;  // 1, 2, 3, … within the room
  std::string name;
  std::vector<Sql> statements;
};

using Migrations = std::vector<Migration>;

struct MigrateOptions {
  // Called before each statement and each commit with a running number.
  std::function<void(int)> on_step_for_test;
};

// Brings the store to what the rooms know, room by room in the order given. Blocks. Killed at any point, it goes on
// where it was; with several replicas starting at once one migrates and the others wait for it. kUnsupported when the
// store was made by a newer Fettle, or when a migration's text is not what was applied: nothing is changed then.
Result<void> migrate(Database& database, const std::vector<const Migrations*>& rooms,
                     const MigrateOptions& options = {});

// What has been applied, in order of application.
struct AppliedMigration {
  std::string room;
  std::int32_t version = 0;
  std::string name;
  std::string checksum;  // SHA-256 of its text in this dialect, hexadecimal
};
Result<std::vector<AppliedMigration>> applied_migrations(Reader& reader);

}  // namespace fettle::db
