#include "db/backup.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "db/backup_parts.h"
#include "db/location.h"

namespace fettle::db {
namespace {

namespace json = boost::json;

constexpr int kFormat = 1;  // of the folder: raise when an older program cannot read it
constexpr const char* kManifest = "manifest.json";

std::string to_text(const Manifest& manifest) {
  json::array migrations;
  for (const AppliedMigration& one : manifest.migrations) {
    migrations.push_back(
        {{"room", one.room}, {"version", one.version}, {"name", one.name}, {"checksum", one.checksum}});
  }
  json::array tables;
  for (const TableCopy& one : manifest.tables) {
    tables.push_back({{"name", one.name}, {"rows", one.rows}, {"digest", one.digest}});
  }
  return json::serialize(json::object{{"format", kFormat},
                                      {"store", manifest.dialect == Dialect::kSqlite ? "sqlite" : "postgres"},
                                      {"taken_at", manifest.taken_at},
                                      {"taken_at_text", format_rfc3339(manifest.taken_at)},
                                      {"migrations", std::move(migrations)},
                                      {"tables", std::move(tables)}}) +
         "\n";
}

Result<Manifest> from_text(const std::string& text) {
  try {
    const json::value document = json::parse(text);
    if (document.at("format").to_number<int>() > kFormat) {
      return fail(ErrorCode::kUnsupported, "the backup was made by a newer Fettle");
    }
    Manifest manifest;
    manifest.dialect = document.at("store").as_string() == "sqlite" ? Dialect::kSqlite : Dialect::kPostgres;
    manifest.taken_at = document.at("taken_at").to_number<std::int64_t>();
    for (const json::value& one : document.at("migrations").as_array()) {
      manifest.migrations.push_back(
          {json::value_to<std::string>(one.at("room")), one.at("version").to_number<std::int32_t>(),
           json::value_to<std::string>(one.at("name")), json::value_to<std::string>(one.at("checksum"))});
    }
    for (const json::value& one : document.at("tables").as_array()) {
      manifest.tables.push_back({json::value_to<std::string>(one.at("name")), one.at("rows").to_number<std::int64_t>(),
                                 json::value_to<std::string>(one.at("digest"))});
    }
    return manifest;
  } catch (const std::exception& error) {
    return fail(ErrorCode::kDataLoss, fmt::format("{} is not a manifest: {}", kManifest, error.what()));
  }
}

Result<Manifest> read_manifest(const std::filesystem::path& folder) {
  std::ifstream file(folder / kManifest);
  if (!file) return fail(ErrorCode::kNotFound, fmt::format("there is no backup in {}", folder.string()));
  std::stringstream text;
  text << file.rdbuf();
  return from_text(text.str());
}

Result<void> write_manifest(const std::filesystem::path& folder, const Manifest& manifest) {
  const auto path = folder / kManifest;
  std::ofstream file(path);
  file << to_text(manifest);
  file.close();
  if (!file) return fail(ErrorCode::kResourceExhausted, fmt::format("{} could not be written", path.string()));
  std::error_code error;
  std::filesystem::permissions(path, std::filesystem::perms(0600), error);
  return sync_path(path);
}

// What the rooms know of the backup's migrations, and nothing later.
Result<std::vector<Migrations>> as_of(const Manifest& manifest, const std::vector<const Migrations*>& rooms) {
  std::vector<Migrations> lists;
  std::size_t found = 0;
  for (const Migrations* room : rooms) {
    Migrations& list = lists.emplace_back();
    for (const Migration& migration : *room) {
      const bool there = std::ranges::any_of(manifest.migrations, [&](const AppliedMigration& one) {
        return one.room == migration.room && one.version == migration.version;
      });
      if (!there) break;
      list.push_back(migration);
      ++found;
    }
  }
  if (found != manifest.migrations.size()) {
    return fail(ErrorCode::kUnsupported,
                "the backup was made by a newer Fettle: it has steps that this one does not know");
  }
  return lists;
}

}  // namespace

Result<void> sync_path(const std::filesystem::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const bool synced = fd >= 0 && ::fsync(fd) == 0;
  const int error = errno;
  if (fd >= 0) ::close(fd);
  if (!synced) {
    return fail(error == ENOSPC ? ErrorCode::kResourceExhausted : ErrorCode::kUnavailable,
                fmt::format("syncing {}: {}", path.string(), std::strerror(error)));
  }
  return {};
}

Result<Manifest> backup(const Secret& url, const std::filesystem::path& folder, Clock& clock) {
  auto location = locate(url);
  if (!location) return std::unexpected(location.error());
  std::error_code error;
  if (std::filesystem::exists(folder, error)) {
    return fail(ErrorCode::kConflict, fmt::format("{} is there already", folder.string()));
  }
  const std::filesystem::path building = folder.string() + ".partial";
  std::filesystem::remove_all(building, error);
  if (::mkdir(building.c_str(), 0700) != 0) {
    return fail(ErrorCode::kUnavailable, fmt::format("creating {}: {}", building.string(), std::strerror(errno)));
  }
  Manifest manifest;
  manifest.dialect = location->dialect;
  manifest.taken_at = clock.now();
  const auto make = [&]() -> Result<void> {
    if (manifest.dialect == Dialect::kSqlite) {
      if (auto copied = copy_sqlite(location->file, building, clock, manifest); !copied) return copied;
    } else {
      if (auto copied = copy_postgres(location->server, building, clock, manifest); !copied) return copied;
    }
    if (auto written = write_manifest(building, manifest); !written) return written;
    // From what is on the disk, as a restore would find it.
    if (auto verified = verify_backup(building); !verified) return std::unexpected(verified.error());
    if (auto synced = sync_path(building); !synced) return synced;
    std::filesystem::rename(building, folder, error);
    if (error)
      return fail(ErrorCode::kUnavailable, fmt::format("renaming to {}: {}", folder.string(), error.message()));
    const auto parent = folder.parent_path();
    return sync_path(parent.empty() ? "." : parent);
  };
  if (auto made = make(); !made) {
    std::filesystem::remove_all(building, error);
    return std::unexpected(std::move(made).error().within("backing up the ledger"));
  }
  return manifest;
}

Result<Manifest> verify_backup(const std::filesystem::path& folder) {
  auto manifest = read_manifest(folder);
  if (!manifest) return manifest;
  SystemClock clock;
  auto good = manifest->dialect == Dialect::kSqlite ? check_sqlite(folder / kSqliteCopy, *manifest, clock)
                                                    : check_postgres(folder, *manifest);
  if (!good) return std::unexpected(std::move(good).error().within("verifying the backup"));
  return manifest;
}

Result<void> restore(const std::filesystem::path& folder, const Secret& url,
                     const std::vector<const Migrations*>& rooms, Clock& clock) {
  auto location = locate(url);
  if (!location) return std::unexpected(location.error());
  auto manifest = verify_backup(folder);
  if (!manifest) return std::unexpected(manifest.error());
  if (manifest->dialect != location->dialect) {
    return fail(ErrorCode::kInvalidArgument, "the backup is of the other kind of store");
  }
  auto lists = as_of(*manifest, rooms);
  if (!lists) return std::unexpected(lists.error());
  if (manifest->dialect == Dialect::kSqlite) return fill_sqlite(folder, location->file);

  if (auto empty = require_empty_postgres(url); !empty) return empty;
  metrics::Registry registry;
  Options options;
  options.readers = options.writers = 1;
  auto database = open(url, options, clock, registry);
  if (!database) return std::unexpected(database.error());
  std::vector<const Migrations*> pointers;
  for (const Migrations& list : *lists) {
    if (!list.empty()) pointers.push_back(&list);
  }
  if (auto schema = migrate(**database, pointers); !schema) return schema;
  (*database)->close();
  return fill_postgres(folder, url, *manifest);
}

}  // namespace fettle::db
