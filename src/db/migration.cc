#include "db/migration.h"

#include <fmt/format.h>
#include <openssl/sha.h>

#include <algorithm>
#include <map>

#include "core/ids.h"

namespace fettle::db {
namespace {

// The same in both stores; the order of application is its rowid or its `seq`.
constexpr Sql kCreateRecord =
    "CREATE TABLE IF NOT EXISTS fettle_migrations (seq BIGINT NOT NULL, room TEXT NOT NULL, version BIGINT NOT NULL, "
    "name TEXT NOT NULL, checksum TEXT NOT NULL, PRIMARY KEY (room, version))";
constexpr Sql kInsertRecord =
    "INSERT INTO fettle_migrations (seq, room, version, name, checksum) "
    "SELECT COALESCE(MAX(seq), 0) + 1, CAST($1 AS TEXT), CAST($2 AS BIGINT), CAST($3 AS TEXT), CAST($4 AS TEXT) "
    "FROM fettle_migrations";
constexpr Sql kRecordExists = {"SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'fettle_migrations'",
                               "SELECT 1 FROM pg_class WHERE oid = to_regclass('fettle_migrations')"};
constexpr Sql kRecords = "SELECT room, version, name, checksum FROM fettle_migrations ORDER BY seq";
// In PostgreSQL it comes before the first statement that takes a snapshot, so that whoever waited for it sees what was
// done meanwhile. SQLite's writer has the file to itself.
constexpr Sql kLock = {"", "LOCK TABLE fettle_migrations IN EXCLUSIVE MODE"};
// While that table is made: PostgreSQL refuses one of two replicas that create it at once, IF NOT EXISTS or not. The
// number is nobody else's.
constexpr Sql kCreateLock = {"SELECT 1", "SELECT pg_advisory_xact_lock(4995989)"};

std::string checksum_of(const Migration& migration, Dialect dialect) {
  std::string text;
  for (const Sql& statement : migration.statements) {
    text += statement.text(dialect);
    text += '\0';
  }
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest);
  return to_hex(std::string_view(reinterpret_cast<const char*>(digest), sizeof digest));
}

// The steps that are not applied yet, or why there must be none.
Result<std::vector<const Migration*>> plan(const std::vector<AppliedMigration>& applied,
                                           const std::vector<const Migrations*>& rooms, Dialect dialect) {
  std::map<std::pair<std::string, std::int32_t>, const Migration*> known;
  std::vector<const Migration*> wanted;
  for (const Migrations* room : rooms) {
    std::int32_t expected = 0;
    for (const Migration& migration : *room) {
      if (migration.version != ++expected || migration.room != room->front().room ||
          !known.emplace(std::pair(migration.room, migration.version), &migration).second) {
        return fail(ErrorCode::kInternal, fmt::format("migration {} {} of {} is out of order or there twice",
                                                      migration.version, migration.name, migration.room));
      }
      wanted.push_back(&migration);
    }
  }
  for (const AppliedMigration& done : applied) {
    const auto found = known.find({done.room, done.version});
    if (found == known.end()) {
      return fail(
          ErrorCode::kUnsupported,
          fmt::format("the ledger was made by a newer Fettle: it has step {} of {} ({}), which this one does not "
                      "know. Start that version again, or restore a backup made before the upgrade",
                      done.version, done.room, done.name));
    }
    if (checksum_of(*found->second, dialect) != done.checksum) {
      return fail(ErrorCode::kUnsupported, fmt::format("step {} of {} ({}) was applied to the ledger with another text",
                                                       done.version, done.room, done.name));
    }
    std::erase(wanted, found->second);
  }
  return wanted;
}

Result<void> lock(Transaction& tx) {
  if (kLock.text(tx.dialect()).empty()) return {};
  if (auto locked = tx.execute(kLock); !locked) return std::unexpected(locked.error());
  return {};
}

Result<void> create_record(Database& database) {
  return database.write_and_wait(
      [](Transaction& tx) -> Result<void> {
        if (auto locked = tx.query(kCreateLock); !locked) return std::unexpected(locked.error());
        if (auto made = tx.execute(kCreateRecord); !made) return std::unexpected(made.error());
        return {};
      },
      {.alone = true});
}

}  // namespace

Result<std::vector<AppliedMigration>> applied_migrations(Reader& reader) {
  std::vector<AppliedMigration> applied;
  auto exists = reader.query(kRecordExists);
  if (!exists) return std::unexpected(exists.error());
  if (exists->empty()) return applied;
  auto rows = reader.query(kRecords);
  if (!rows) return std::unexpected(rows.error());
  for (const Row row : *rows) {
    AppliedMigration& one = applied.emplace_back();
    if (auto read = row.into(one.room, one.version, one.name, one.checksum); !read)
      return std::unexpected(read.error());
  }
  return applied;
}

Result<void> migrate(Database& database, const std::vector<const Migrations*>& rooms, const MigrateOptions& options) {
  const Dialect dialect = database.dialect();
  // Before anything is changed.
  auto applied = database.read_and_wait([](Reader& reader) { return applied_migrations(reader); });
  if (!applied) return std::unexpected(std::move(applied).error().within("reading the ledger's migrations"));
  auto wanted = plan(*applied, rooms, dialect);
  if (!wanted) return std::unexpected(wanted.error());
  if (wanted->empty()) return {};

  int step = 0;
  const auto on_step = [&] {
    if (options.on_step_for_test) options.on_step_for_test(step++);
  };
  on_step();
  if (auto ready = create_record(database); !ready)
    return std::unexpected(std::move(ready).error().within("migrating"));
  for (const Migration* migration : *wanted) {
    auto done = database.write_and_wait(
        [&](Transaction& tx) -> Result<void> {
          if (auto locked = lock(tx); !locked) return locked;
          auto now = applied_migrations(tx);
          if (!now) return std::unexpected(now.error());
          // Another replica may have been here meanwhile.
          auto left = plan(*now, rooms, dialect);
          if (!left) return std::unexpected(left.error());
          if (std::find(left->begin(), left->end(), migration) == left->end()) return {};
          for (const Sql& statement : migration->statements) {
            if (statement.text(dialect).empty()) continue;
            on_step();
            if (auto ran = tx.execute(statement); !ran) return std::unexpected(ran.error());
          }
          on_step();
          auto noted = tx.execute(
              kInsertRecord, {migration->room, migration->version, migration->name, checksum_of(*migration, dialect)});
          if (!noted) return std::unexpected(noted.error());
          on_step();
          return {};
        },
        {.alone = true});
    if (!done) {
      return std::unexpected(std::move(done).error().within(
          fmt::format("step {} of {} ({})", migration->version, migration->room, migration->name)));
    }
    on_step();
  }
  return {};
}

}  // namespace fettle::db
