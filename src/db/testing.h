// Both stores for the tests of any room.
//
//   class RunsTest : public db::StoreTest {};
//   FETTLE_FOR_BOTH_STORES(RunsTest);
//   TEST_P(RunsTest, EnqueuesOnce) { auto store = open(); db::migrate(*store, …); … }
//
// Each test gets a ledger of its own: a file in a scratch folder, or a schema of a PostgreSQL server (Debian's
// postgresql-15, Unix socket only, fsync on). Without that package the PostgreSQL half fails: it is never skipped.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "core/clock.h"
#include "core/metrics.h"
#include "core/secret.h"
#include "db/database.h"

namespace fettle::db {

// A folder that goes with everything in it.
class ScratchFolder {
 public:
  ScratchFolder();
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// The server of this process, and nobody else's while the process lives: one of those whose folders
// FETTLE_TEST_POSTGRES names, separated by colons, if one is free, so that not every process starts its own
// (tools/test_postgres); else one that is started here and stopped at the end. Ends the program with the reason when
// that fails.
class TestPostgres {
 public:
  static TestPostgres& instance();
  // The URL of a new, empty schema.
  Secret fresh_schema();
  // As a machine would that loses power and comes back: immediate shutdown, recovery from the log.
  void crash_and_restart();

 private:
  TestPostgres();
  ~TestPostgres();
  bool take_shared();
  void control(const char* command);
  std::string base_url() const;
  void execute(const std::string& statement);

  std::optional<ScratchFolder> own_;
  std::filesystem::path folder_;  // of the socket, the lock and the data
  int lock_fd_ = -1;              // of a shared server: held until the process ends
  int schemas_ = 0;
};

// A store and what it needs. The clock does not move by itself unless a test replaces it.
class TestStore {
 public:
  explicit TestStore(Dialect dialect);

  Dialect dialect() const { return dialect_; }
  const Secret& url() const { return url_; }
  // Of SQLite's file.
  std::filesystem::path file() const { return folder_.path() / "ledger.db"; }
  const std::filesystem::path& folder() const { return folder_.path(); }
  // Opens the same ledger each time. Fails the program if that fails.
  std::unique_ptr<Database> open(const Options& options = {});
  Result<std::unique_ptr<Database>> try_open(const Options& options = {});

  metrics::Registry registry;
  SystemClock system_clock;
  Clock* clock = &system_clock;

 private:
  const Dialect dialect_;
  ScratchFolder folder_;
  Secret url_;
};

class StoreTest : public ::testing::TestWithParam<Dialect> {
 protected:
  TestStore store{GetParam()};
  std::unique_ptr<Database> open(const Options& options = {}) { return store.open(options); }
};

std::string store_name(const ::testing::TestParamInfo<Dialect>& info);

#define FETTLE_FOR_BOTH_STORES(suite)                                                                           \
  INSTANTIATE_TEST_SUITE_P(Stores, suite,                                                                       \
                           ::testing::Values(::fettle::db::Dialect::kSqlite, ::fettle::db::Dialect::kPostgres), \
                           ::fettle::db::store_name)

}  // namespace fettle::db
