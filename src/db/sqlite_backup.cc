#include <fcntl.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <unistd.h>

#include <memory>

#include "db/backup_parts.h"
#include "db/digest.h"
#include "db/sqlite_connection.h"

namespace fettle::db {
namespace {

using Mode = SqliteConnection::Mode;

std::string quote(std::string_view name) {
  std::string text = "\"";
  for (const char c : name) text += c == '"' ? std::string("\"\"") : std::string(1, c);
  return text + '"';
}

Result<std::vector<TableCopy>> digest_tables(SqliteConnection& connection) {
  auto names = connection.query(
      "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
      {});
  if (!names) return std::unexpected(names.error());
  std::vector<TableCopy> tables;
  for (const Row row : *names) {
    auto name = row.get<std::string>(0);
    if (!name) return std::unexpected(name.error());
    RowDigest digest;
    auto read = connection.each(fmt::format("SELECT * FROM {}", quote(*name)), {}, [&](const Row& one) -> Result<void> {
      digest.add(one);
      return {};
    });
    if (!read) return std::unexpected(std::move(read).error().within("table " + *name));
    tables.push_back({*name, digest.rows(), digest.hex()});
  }
  return tables;
}

Result<std::vector<AppliedMigration>> read_migrations(SqliteConnection& connection) {
  std::vector<AppliedMigration> applied;
  auto rows = connection.query("SELECT room, version, name, checksum FROM fettle_migrations ORDER BY seq", {});
  // A ledger without migrations has no such table.
  if (!rows) return applied;
  for (const Row row : *rows) {
    AppliedMigration& one = applied.emplace_back();
    if (auto read = row.into(one.room, one.version, one.name, one.checksum); !read)
      return std::unexpected(read.error());
  }
  return applied;
}

struct CloseHandle {
  void operator()(sqlite3* handle) const { sqlite3_close_v2(handle); }
};

Result<void> copy_pages(sqlite3* source, const std::filesystem::path& file) {
  // SQLite would create it with the process's umask.
  const int fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return fail(ErrorCode::kUnavailable, fmt::format("creating {}", file.string()));
  ::close(fd);
  sqlite3* raw = nullptr;
  int code = sqlite3_open_v2(file.c_str(), &raw, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
  const std::unique_ptr<sqlite3, CloseHandle> target(raw);
  const auto refuse = [&]() -> Result<void> {
    const bool full = (code & 0xff) == SQLITE_FULL;
    return fail(full ? ErrorCode::kResourceExhausted : ErrorCode::kUnavailable,
                fmt::format("copying to {}: {}", file.string(), sqlite3_errstr(code)));
  };
  if (code != SQLITE_OK) return refuse();
  // Synced as a whole afterwards.
  sqlite3_exec(raw, "PRAGMA synchronous = OFF", nullptr, nullptr, nullptr);
  sqlite3_backup* copy = sqlite3_backup_init(raw, "main", source, "main");
  if (copy == nullptr) {
    code = sqlite3_errcode(raw);
    return refuse();
  }
  // In one step: it belongs to the snapshot that `source` holds, and the writer goes on meanwhile.
  code = sqlite3_backup_step(copy, -1);
  const int finished = sqlite3_backup_finish(copy);
  if (code != SQLITE_DONE) return refuse();
  code = finished;
  if (code != SQLITE_OK) return refuse();
  // So that one file is the whole of it.
  code = sqlite3_exec(raw, "PRAGMA journal_mode = DELETE", nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return refuse();
  return {};
}

}  // namespace

Result<void> copy_sqlite(const std::filesystem::path& file, const std::filesystem::path& folder, Clock& clock,
                         Manifest& manifest) {
  const Options options;
  auto source = SqliteConnection::open(file, Mode::kReader, options, clock);
  if (!source) return std::unexpected(source.error());
  if (auto begun = (*source)->control("BEGIN"); !begun) return begun;
  auto tables = digest_tables(**source);
  if (!tables) return std::unexpected(tables.error());
  manifest.tables = std::move(*tables);
  auto migrations = read_migrations(**source);
  if (!migrations) return std::unexpected(migrations.error());
  manifest.migrations = std::move(*migrations);
  if (auto copied = copy_pages((*source)->handle(), folder / kSqliteCopy); !copied) return copied;
  return sync_path(folder / kSqliteCopy);
}

Result<void> check_sqlite(const std::filesystem::path& file, const Manifest& manifest, Clock& clock) {
  const Options options;
  auto copy = SqliteConnection::open(file, Mode::kCopy, options, clock);
  if (!copy) return std::unexpected(copy.error());
  std::string verdict;
  auto rows = (*copy)->query("PRAGMA integrity_check", {});
  if (!rows) return std::unexpected(rows.error());
  if (rows->empty()) return fail(ErrorCode::kDataLoss, "SQLite's integrity check said nothing");
  if (auto read = (*rows)[0].into(verdict); !read) return read;
  if (verdict != "ok") return fail(ErrorCode::kDataLoss, "SQLite's integrity check: " + verdict);
  auto tables = digest_tables(**copy);
  if (!tables) return std::unexpected(tables.error());
  if (tables->size() != manifest.tables.size()) {
    return fail(ErrorCode::kDataLoss,
                fmt::format("{} tables, {} in the manifest", tables->size(), manifest.tables.size()));
  }
  for (std::size_t i = 0; i < tables->size(); ++i) {
    const TableCopy& is = (*tables)[i];
    const TableCopy& was = manifest.tables[i];
    if (is.name != was.name || is.rows != was.rows || is.digest != was.digest) {
      return fail(ErrorCode::kDataLoss, fmt::format("table {} has {} rows ({}), {} has {} ({}) in the manifest",
                                                    is.name, is.rows, is.digest, was.name, was.rows, was.digest));
    }
  }
  return {};
}

Result<void> fill_sqlite(const std::filesystem::path& folder, const std::filesystem::path& file) {
  std::error_code error;
  for (const char* suffix : {"", "-wal"}) {
    if (std::filesystem::exists(file.string() + suffix, error)) {
      return fail(ErrorCode::kConflict, fmt::format("{}{} is there already", file.string(), suffix));
    }
  }
  const std::filesystem::path building = file.string() + ".partial";
  std::filesystem::remove(building, error);
  std::filesystem::copy_file(folder / kSqliteCopy, building, error);
  if (!error) std::filesystem::permissions(building, std::filesystem::perms(0600), error);
  Result<void> done;
  if (error)
    done = fail(ErrorCode::kResourceExhausted, fmt::format("copying to {}: {}", building.string(), error.message()));
  if (done) done = sync_path(building);
  if (done) {
    std::filesystem::rename(building, file, error);
    if (error) done = fail(ErrorCode::kUnavailable, fmt::format("renaming to {}: {}", file.string(), error.message()));
  }
  if (!done) {
    std::filesystem::remove(building, error);
    return done;
  }
  const auto parent = file.parent_path();
  return sync_path(parent.empty() ? "." : parent);
}

}  // namespace fettle::db
