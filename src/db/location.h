// Where a ledger lies, read from its URL.
#pragma once

#include <filesystem>

#include "core/error.h"
#include "core/secret.h"
#include "db/value.h"

namespace fettle::db {

struct Location {
  Dialect dialect = Dialect::kSqlite;
  std::filesystem::path file;  // SQLite
  Secret server;               // PostgreSQL: the URL with whatever it holds
};

// kInvalidArgument, without repeating it, for a URL of another kind.
Result<Location> locate(const Secret& url);

}  // namespace fettle::db
