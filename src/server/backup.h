// A copy of everything that a server keeps, taken while it works, proven before it counts, and the way back.
//
// A backup is a folder:
//   manifest.json   format, when, by which version, and every file below with its size and SHA-256
//   ledger/         the ledger as db/backup.h makes it: one snapshot, each row verified
//   telemetry/      the embedded engine's own BACKUP of its database; absent where telemetry.url names another store
// It is built under another name, verified and renamed: a folder that has its name is whole. The ledger is taken first:
// what it has not yet told the telemetry store it tells again after a restore, so nothing falls between the two.
//
// Never in it: secret.key, which signs the audit log and is to be kept apart; what waits in the spool, which is sent to
// the store before that is copied; the configuration.
#pragma once

#include <cstdint>
#include <filesystem>
#include <stop_token>
#include <string>

#include "core/clock.h"
#include "core/error.h"
#include "server/config.h"

namespace fettle::server {

struct BackupReport {
  UnixNanos taken_at = 0;
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
  std::int64_t ledger_rows = 0;
  std::string ledger;     // "sqlite" or "postgres"
  std::string telemetry;  // "embedded", or "elsewhere" when it is not in the backup
};

// Of the server that uses config.data, on this machine and by its user. Blocks. kConflict when `folder` exists or
// another backup is under way, kUnavailable when no server uses the data folder or what waits in its spool does not
// become less, kResourceExhausted when a disk is full. Nothing is left behind on failure.
Result<BackupReport> take_backup(const Config& config, const std::filesystem::path& folder, Clock& clock,
                                 const std::stop_token& stop);

// Whether every file is as the manifest says, and the ledger's rows, too. kDataLoss names what is not, kUnsupported for
// a backup of a newer Fettle, kNotFound where there is none.
Result<BackupReport> verify_backup(const std::filesystem::path& folder, Clock& clock);

// Fills config.data, which must not exist or be empty, and for PostgreSQL an empty schema (else kConflict); the folder
// gets its name when all of it is there. `secret_key`, unless empty, becomes its secret.key. Errors as of
// verify_backup(); kUnsupported also for telemetry of a newer Fettle.
Result<BackupReport> restore_backup(const Config& config, const std::filesystem::path& folder,
                                    const std::filesystem::path& secret_key, Clock& clock, const std::stop_token& stop);

}  // namespace fettle::server
