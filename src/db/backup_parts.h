// The two stores' halves of backup.h, on a folder that is prepared and published there.
#pragma once

#include <filesystem>
#include <vector>

#include "core/clock.h"
#include "core/error.h"
#include "core/secret.h"
#include "db/backup.h"

namespace fettle::db {

constexpr const char* kSqliteCopy = "ledger.db";

// Makes what is in `path` durable, or removes the doubt.
Result<void> sync_path(const std::filesystem::path& path);

// Fills tables and migrations of `manifest` from one snapshot and writes it below `folder`.
Result<void> copy_sqlite(const std::filesystem::path& file, const std::filesystem::path& folder, Clock& clock,
                         Manifest& manifest);
Result<void> copy_postgres(const Secret& url, const std::filesystem::path& folder, Clock& clock, Manifest& manifest);

// kDataLoss naming the first table or page that is not as the manifest says.
Result<void> check_sqlite(const std::filesystem::path& file, const Manifest& manifest, Clock& clock);
Result<void> check_postgres(const std::filesystem::path& folder, const Manifest& manifest);

// kConflict unless nothing is there.
Result<void> fill_sqlite(const std::filesystem::path& folder, const std::filesystem::path& file);
// The schema is there, as the manifest's migrations made it.
Result<void> fill_postgres(const std::filesystem::path& folder, const Secret& url, const Manifest& manifest);
Result<void> require_empty_postgres(const Secret& url);

}  // namespace fettle::db
