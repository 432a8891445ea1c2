// Kills, full disks, damaged files and servers that go away.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstring>
#include <fstream>
#include <future>
#include <mutex>
#include <set>
#include <thread>

#include "db/faulty_disk_for_test.h"
#include "db/testing.h"

namespace fettle::db {
namespace {

constexpr Sql kCreate = "CREATE TABLE items (id BIGINT NOT NULL PRIMARY KEY, body TEXT NOT NULL)";
constexpr Sql kInsert = "INSERT INTO items (id, body) VALUES ($1, $2)";

Result<std::set<std::int64_t>> ids(Reader& reader) {
  std::set<std::int64_t> found;
  auto read = reader.each("SELECT id FROM items", {}, [&](const Row& row) -> Result<void> {
    std::int64_t id = 0;
    if (auto got = row.into(id); !got) return got;
    found.insert(id);
    return {};
  });
  if (!read) return std::unexpected(read.error());
  return found;
}

// Keeps `in_flight_max` inserts of rising ids on their way until told to stop.
void pour(Database& database, std::size_t in_flight_max, const std::atomic<bool>& stop,
          const std::function<void(std::int64_t, const Result<std::int64_t>&)>& done) {
  std::mutex mutex;
  std::condition_variable changed;
  std::size_t in_flight = 0;
  for (std::int64_t id = 0; !stop; ++id) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return in_flight < in_flight_max; });
    ++in_flight;
    lock.unlock();
    database.write([id](Transaction& tx) { return tx.execute(kInsert, {id, "some text"}); },
                   [&, id](Result<std::int64_t> result) {
                     done(id, result);
                     std::lock_guard guard(mutex);
                     --in_flight;
                     changed.notify_one();
                   });
  }
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return in_flight == 0; });
}

class Faults : public StoreTest {};
FETTLE_FOR_BOTH_STORES(Faults);

TEST_P(Faults, WhatWasCalledBackIsThereAfterAKill) {
  for (const std::size_t acknowledged_min : {1, 500, 1'500}) {
    TestStore fresh(GetParam());
    int pipe_ends[2];
    ASSERT_EQ(pipe(pipe_ends), 0);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      auto database = fresh.open();
      if (!database->write_and_wait([](Transaction& tx) { return tx.execute(kCreate); })) _exit(1);
      const std::atomic<bool> never{false};
      pour(*database, 64, never, [&](std::int64_t id, const Result<std::int64_t>& result) {
        if (result && ::write(pipe_ends[1], &id, sizeof id) != sizeof id) _exit(2);
      });
    }
    ::close(pipe_ends[1]);
    std::set<std::int64_t> acknowledged;
    for (std::int64_t id = 0; ::read(pipe_ends[0], &id, sizeof id) == sizeof id;) {
      acknowledged.insert(id);
      if (acknowledged.size() == acknowledged_min) kill(child, SIGKILL);
    }
    ::close(pipe_ends[0]);
    int status = 0;
    waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status));
    ASSERT_GE(acknowledged.size(), acknowledged_min);
    auto database = fresh.open();
    auto found = database->read_and_wait([](Reader& reader) { return ids(reader); });
    ASSERT_TRUE(found) << found.error().message();
    EXPECT_TRUE(std::ranges::includes(*found, acknowledged));
  }
}

TEST(PostgresFaults, ARestartOfTheServerLosesNothingThatWasCalledBack) {
  TestStore store(Dialect::kPostgres);
  auto database = store.open();
  ASSERT_TRUE(database->write_and_wait([](Transaction& tx) { return tx.execute(kCreate); }));
  std::mutex mutex;
  std::set<std::int64_t> committed;
  std::set<std::int64_t> refused;
  std::vector<Error> errors;
  std::atomic<bool> stop{false};
  std::atomic<int> since_restart{0};
  std::thread load([&] {
    pour(*database, 32, stop, [&](std::int64_t id, const Result<std::int64_t>& result) {
      std::lock_guard lock(mutex);
      if (result) {
        committed.insert(id);
        ++since_restart;
      } else {
        refused.insert(id);
        if (errors.size() < 1'000) errors.push_back(result.error());
      }
    });
  });
  for (int i = 0; i < 3; ++i) {
    since_restart = 0;
    while (since_restart < 200) std::this_thread::yield();
    TestPostgres::instance().crash_and_restart();
  }
  since_restart = 0;
  while (since_restart < 200) std::this_thread::yield();  // it mends itself
  stop = true;
  load.join();
  for (const Error& error : errors) {
    ASSERT_EQ(error.code(), ErrorCode::kUnavailable) << error.message();
    EXPECT_TRUE(error.retry_after()) << error.message();
  }
  EXPECT_EQ(database->status().down, "");
  auto found = database->read_and_wait([](Reader& reader) { return ids(reader); });
  ASSERT_TRUE(found) << found.error().message();
  EXPECT_TRUE(std::ranges::includes(*found, committed));
  // Whether the one group in flight at each restart happened is unknown; every other refusal did not.
  std::vector<std::int64_t> unknown;
  std::ranges::set_intersection(*found, refused, std::back_inserter(unknown));
  EXPECT_LE(unknown.size(), 3U * 60U);
}

TEST(SqliteFaults, AFullDiskFailsWhatDoesNotFitAndTheStoreGoesOnWhenThereIsRoom) {
  ScratchFolder folder;
  if (geteuid() != 0 || ::mount("tmpfs", folder.path().c_str(), "tmpfs", 0, "size=6m") != 0) {
    GTEST_SKIP() << "mounting a small tmpfs needs root: " << std::strerror(errno);
  }
  const auto ballast = folder.path() / "ballast";
  std::ofstream(ballast) << std::string(2 << 20, 'x');
  SystemClock clock;
  metrics::Registry registry;
  {
    auto opened = open(Secret("sqlite:" + (folder.path() / "ledger.db").string()), {}, clock, registry);
    ASSERT_TRUE(opened) << opened.error().message();
    Database& database = **opened;
    ASSERT_TRUE(database.write_and_wait([](Transaction& tx) { return tx.execute(kCreate); }));
    std::set<std::int64_t> committed;
    std::optional<Error> full;
    const std::string body(20'000, 'x');
    std::int64_t id = 0;
    for (; id < 1'000 && !full; ++id) {
      auto made = database.write_and_wait([&](Transaction& tx) { return tx.execute(kInsert, {id, body}); });
      if (made) {
        committed.insert(id);
      } else {
        full = made.error();
      }
    }
    ASSERT_TRUE(full);
    EXPECT_EQ(full->code(), ErrorCode::kResourceExhausted) << full->message();
    EXPECT_TRUE(full->retry_after());
    EXPECT_NE(database.status().down, "");
    EXPECT_EQ(*database.read_and_wait([](Reader& reader) { return ids(reader); }), committed);
    std::filesystem::remove(ballast);
    auto made = database.write_and_wait([&](Transaction& tx) { return tx.execute(kInsert, {id, body}); });
    ASSERT_TRUE(made) << made.error().message();
    committed.insert(id);
    EXPECT_EQ(database.status().down, "");
    EXPECT_EQ(*database.read_and_wait([](Reader& reader) { return ids(reader); }), committed);
  }
  ::umount(folder.path().c_str());
}

struct DiskFault {
  const char* name;
  FaultyDisk::Fault fault;
  ErrorCode code;
  bool is_unknown;  // whether the commit happened
};

class SqliteDiskFaults : public ::testing::TestWithParam<DiskFault> {};
INSTANTIATE_TEST_SUITE_P(
    Disk, SqliteDiskFaults,
    ::testing::Values(DiskFault{"Sync", FaultyDisk::Fault::kSyncFails, ErrorCode::kUnavailable, true},
                      DiskFault{"Write", FaultyDisk::Fault::kWriteFails, ErrorCode::kUnavailable, true},
                      DiskFault{"Full", FaultyDisk::Fault::kFull, ErrorCode::kResourceExhausted, false}),
    [](const auto& tested) { return std::string(tested.param.name); });

TEST_P(SqliteDiskFaults, ACommitThatTheDiskRefusesFailsAllThatAreInIt) {
  FaultyDisk disk;
  TestStore store(Dialect::kSqlite);
  auto database = store.open();
  ASSERT_TRUE(database->write_and_wait([](Transaction& tx) { return tx.execute(kCreate); }));
  ASSERT_TRUE(database->write_and_wait([](Transaction& tx) { return tx.execute(kInsert, {1, "before"}); }));
  // Twenty in one commit: they queue behind a body that waits.
  std::promise<void> entered, gate;
  database->write(
      [&](Transaction&) -> Result<void> {
        entered.set_value();
        gate.get_future().wait();
        return {};
      },
      [](Result<void>) {});
  entered.get_future().wait();
  std::mutex mutex;
  std::vector<Result<std::int64_t>> results;
  std::vector<std::string> down;  // what the status said when each was answered
  for (std::int64_t id = 100; id < 120; ++id) {
    database->write([id](Transaction& tx) { return tx.execute(kInsert, {id, "lost"}); },
                    [&](Result<std::int64_t> result) {
                      const std::lock_guard lock(mutex);
                      results.push_back(std::move(result));
                      down.push_back(database->status().down);
                    });
  }
  disk.set(GetParam().fault);
  gate.set_value();
  const auto refused = database->write_and_wait([](Transaction& tx) { return tx.execute(kInsert, {2, "lost"}); });
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), GetParam().code) << refused.error().message();
  EXPECT_TRUE(refused.error().retry_after());
  {
    const std::lock_guard lock(mutex);
    ASSERT_EQ(results.size(), 20U);
    for (const auto& result : results) {
      ASSERT_FALSE(result) << "answered as done";
      EXPECT_EQ(result.error().code(), GetParam().code) << result.error().message();
      EXPECT_EQ(result.error().message().contains("it is unknown whether it happened"), GetParam().is_unknown)
          << result.error().message();
    }
    for (const std::string& why : down) EXPECT_NE(why, "");
  }
  EXPECT_NE(database->status().down, "");
  EXPECT_GE(disk.failures(), 1U);
  // What was committed before can be read all the time.
  EXPECT_EQ(*database->read_and_wait([](Reader& reader) { return ids(reader); }), (std::set<std::int64_t>{1}));

  disk.set(FaultyDisk::Fault::kNone);
  const auto made = database->write_and_wait([](Transaction& tx) { return tx.execute(kInsert, {3, "after"}); });
  ASSERT_TRUE(made) << made.error().message();
  EXPECT_EQ(database->status().down, "");
  const std::set<std::int64_t> kept = {1, 3};
  EXPECT_EQ(*database->read_and_wait([](Reader& reader) { return ids(reader); }), kept);
  database.reset();
  database = store.open();
  EXPECT_EQ(*database->read_and_wait([](Reader& reader) { return ids(reader); }), kept);
}

TEST_P(SqliteDiskFaults, NothingThatWasCalledBackIsLostHoweverOftenTheDiskFails) {
  FaultyDisk disk;
  TestStore store(Dialect::kSqlite);
  Options options;
  options.wal_bytes_target = 256 << 10;  // so that the log goes round many times
  auto database = store.open(options);
  ASSERT_TRUE(database->write_and_wait([](Transaction& tx) { return tx.execute(kCreate); }));
  std::mutex mutex;
  std::set<std::int64_t> committed;
  std::atomic<bool> stop{false};
  std::atomic<int> done{0}, failed{0}, silent{0};
  std::thread load([&] {
    pour(*database, 32, stop, [&](std::int64_t id, const Result<std::int64_t>& result) {
      if (result) {
        const std::lock_guard lock(mutex);
        committed.insert(id);
        ++done;
      } else {
        if (database->status().down.empty()) ++silent;
        ++failed;
      }
    });
  });
  for (int i = 0; i < 10; ++i) {
    done = 0;
    while (done < 100) std::this_thread::yield();
    failed = 0;
    disk.set(GetParam().fault);
    while (failed < 40) std::this_thread::yield();
    disk.set(FaultyDisk::Fault::kNone);
  }
  done = 0;
  while (done < 100) std::this_thread::yield();
  stop = true;
  load.join();
  EXPECT_EQ(silent, 0) << "a commit failed and the status did not say so";
  EXPECT_EQ(database->status().down, "");
  for (int i = 0; i < 2; ++i) {
    auto found = database->read_and_wait([](Reader& reader) { return ids(reader); });
    ASSERT_TRUE(found) << found.error().message();
    EXPECT_TRUE(std::ranges::includes(*found, committed));
    database.reset();
    database = store.open();
  }
}

TEST(SqliteFaults, ADamagedOrForeignFileIsNamedAndLeftAlone) {
  const auto overwrite = [](const std::filesystem::path& file, const std::string& bytes) {
    std::ofstream(file, std::ios::binary) << bytes;
  };
  TestStore garbage(Dialect::kSqlite);
  overwrite(garbage.file(), std::string(10'000, '\x55'));
  auto opened = garbage.try_open();
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code(), ErrorCode::kDataLoss);
  EXPECT_THAT(opened.error().message(), testing::HasSubstr(garbage.file().string()));
  EXPECT_EQ(std::filesystem::file_size(garbage.file()), 10'000U);

  TestStore foreign(Dialect::kSqlite);
  sqlite3* handle = nullptr;
  ASSERT_EQ(sqlite3_open(foreign.file().c_str(), &handle), SQLITE_OK);
  sqlite3_exec(handle, "CREATE TABLE theirs (id INTEGER)", nullptr, nullptr, nullptr);
  sqlite3_close(handle);
  opened = foreign.try_open();
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code(), ErrorCode::kDataLoss);

  TestStore damaged(Dialect::kSqlite);
  {
    auto database = damaged.open();
    ASSERT_TRUE(database->write_and_wait([](Transaction& tx) -> Result<void> {
      if (auto made = tx.execute(kCreate); !made) return std::unexpected(made.error());
      for (std::int64_t id = 0; id < 200; ++id) {
        if (auto made = tx.execute(kInsert, {id, std::string(1'000, 'x')}); !made) return std::unexpected(made.error());
      }
      return {};
    }));
  }
  std::fstream file(damaged.file(), std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(3 * 4'096);
  file << std::string(20 * 4'096, '\x55');
  file.close();
  auto database = damaged.open();
  auto read = database->read_and_wait([](Reader& reader) -> Result<std::int64_t> {
    std::int64_t bytes = 0;
    auto found = reader.fetch("SELECT SUM(LENGTH(body)) FROM items", {}, bytes);
    if (!found) return std::unexpected(found.error());
    return bytes;
  });
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code(), ErrorCode::kDataLoss) << read.error().message();
}

TEST(SqliteFaults, TheFileIsForItsOwnerAlone) {
  TestStore store(Dialect::kSqlite);
  auto database = store.open();
  ASSERT_TRUE(database->write_and_wait([](Transaction& tx) { return tx.execute(kCreate); }));
  for (const char* suffix : {"", "-wal", "-shm"}) {
    EXPECT_EQ(std::filesystem::status(store.file().string() + suffix).permissions(), std::filesystem::perms(0600))
        << suffix;
  }
}

TEST(SqliteFaults, TheLogStaysShortWhileReadersComeAndGo) {
  TestStore store(Dialect::kSqlite);
  Options options;
  options.wal_bytes_target = 256 << 10;
  options.wal_bytes_max = 1 << 20;
  auto database = store.open(options);
  ASSERT_TRUE(database->write_and_wait([](Transaction& tx) { return tx.execute(kCreate); }));
  const std::string body(4'000, 'x');
  for (std::int64_t id = 0; id < 2'000; ++id) {
    ASSERT_TRUE(database->write_and_wait([&](Transaction& tx) { return tx.execute(kInsert, {id, body}); }));
    if (id % 100 == 0) {
      ASSERT_TRUE(database->read_and_wait([](Reader& reader) { return ids(reader); }));
    }
  }
  EXPECT_LE(std::filesystem::file_size(store.file().string() + "-wal"), 3U << 20);
}

}  // namespace
}  // namespace fettle::db
