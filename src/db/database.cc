#include "db/database.h"

#include <string_view>

#include "db/location.h"
#include "db/postgres_database.h"
#include "db/sqlite_database.h"

namespace fettle::db {

Result<Location> locate(const Secret& url) {
  const std::string_view text = url.reveal();
  static constexpr std::string_view kSqlite = "sqlite:";
  if (text.starts_with(kSqlite) && text.size() > kSqlite.size()) {
    return Location{Dialect::kSqlite, std::string(text.substr(kSqlite.size())), {}};
  }
  if (text.starts_with("postgres://") || text.starts_with("postgresql://"))
    return Location{Dialect::kPostgres, {}, url};
  // Not repeated: it may hold a password.
  return fail(ErrorCode::kInvalidArgument, "ledger.url is sqlite:PATH, postgres://… or postgresql://…");
}

Result<std::unique_ptr<Database>> open(const Secret& url, const Options& options, Clock& clock,
                                       metrics::Registry& registry) {
  auto location = locate(url);
  if (!location) return std::unexpected(location.error());
  if (location->dialect == Dialect::kSqlite) return SqliteDatabase::open(location->file, options, clock, registry);
  return PostgresDatabase::open(location->server, options, clock, registry);
}

}  // namespace fettle::db
