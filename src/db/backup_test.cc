#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "db/backup.h"
#include "db/lease.h"
#include "db/testing.h"

namespace fettle::db {
namespace {

const Migrations kRooms = {
    {"runs",
     1,
     "runs and steps",
     {"CREATE TABLE runs (id BIGINT NOT NULL PRIMARY KEY, name TEXT, cost DOUBLE PRECISION, proof BYTEA)",
      "CREATE TABLE a_step (id BIGINT NOT NULL PRIMARY KEY, run BIGINT NOT NULL REFERENCES runs (id))",
      Sql("CREATE TABLE numbered (id INTEGER PRIMARY KEY, n BIGINT NOT NULL)",
          "CREATE TABLE numbered (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n BIGINT NOT NULL)"),
      "INSERT INTO numbered (n) VALUES (41)"}}};

class Backup : public StoreTest {
 protected:
  SystemClock clock;
  std::unique_ptr<Database> database = open();
  const std::filesystem::path folder = store.folder() / "copy";

  void SetUp() override {
    ASSERT_TRUE(migrate(*database, {&lease_migrations(), &kRooms}));
    add(1, 100);
  }
  void add(std::int64_t from, std::int64_t to) {
    auto made = database->write_and_wait([&](Transaction& tx) -> Result<void> {
      for (std::int64_t id = from; id < to; ++id) {
        const std::string name = "name\t\\" + std::to_string(id) + "\nü";
        auto run = tx.execute("INSERT INTO runs (id, name, cost, proof) VALUES ($1, $2, $3, $4)",
                              {id, id % 3 == 0 ? Value() : Value(name), 0.1 * static_cast<double>(id),
                               BlobView{std::string_view("\0\n\\", 3)}});
        if (!run) return std::unexpected(run.error());
        if (auto step = tx.execute("INSERT INTO a_step (id, run) VALUES ($1, $1)", {id}); !step)
          return std::unexpected(step.error());
        if (auto row = tx.execute("INSERT INTO numbered (n) VALUES ($1)", {id}); !row)
          return std::unexpected(row.error());
      }
      return {};
    });
    ASSERT_TRUE(made) << made.error().message();
  }
  static std::string content(Database& of) {
    auto text = of.read_and_wait([](Reader& reader) -> Result<std::string> {
      std::string all;
      auto read = reader.each(
          "SELECT r.id, r.name, r.cost, r.proof, s.run FROM runs r JOIN a_step s ON s.run = r.id ORDER BY r.id", {},
          [&](const Row& row) -> Result<void> {
            std::int64_t id = 0, run = 0;
            std::optional<std::string> name;
            double cost = 0;
            Blob proof;
            if (auto got = row.into(id, name, cost, proof, run); !got) return got;
            all += std::to_string(id) + name.value_or("-") + std::to_string(cost) + proof.bytes + std::to_string(run);
            return {};
          });
      if (!read) return std::unexpected(read.error());
      return all;
    });
    return text ? *text : text.error().message();
  }
};
FETTLE_FOR_BOTH_STORES(Backup);

TEST_P(Backup, ARestoredLedgerHoldsWhatWasThereAndGoesOn) {
  auto made = backup(store.url(), folder, clock);
  ASSERT_TRUE(made) << made.error().message();
  EXPECT_EQ(made->migrations.size(), 2U);
  EXPECT_FALSE(std::filesystem::exists(folder.string() + ".partial"));
  EXPECT_EQ(std::filesystem::status(folder).permissions(), std::filesystem::perms(0700));

  TestStore target(GetParam());
  auto restored = restore(folder, target.url(), {&lease_migrations(), &kRooms}, clock);
  ASSERT_TRUE(restored) << restored.error().message();
  auto again = target.open();
  ASSERT_TRUE(migrate(*again, {&lease_migrations(), &kRooms}));
  EXPECT_EQ(content(*again), content(*database));
  auto number = again->write_and_wait([](Transaction& tx) -> Result<std::int64_t> {
    std::int64_t id = 0;
    auto found = tx.fetch("INSERT INTO numbered (n) VALUES (7) RETURNING id", {}, id);
    if (!found) return std::unexpected(found.error());
    return id;
  });
  ASSERT_TRUE(number) << number.error().message();
  EXPECT_EQ(*number, 101);
}

TEST_P(Backup, WhatIsWrittenMeanwhileIsWhollyInOrWhollyOut) {
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    for (std::int64_t id = 1'000; !stop; id += 5) add(id, id + 5);
  });
  for (int i = 0; i < 3; ++i) {
    const auto one = folder.string() + std::to_string(i);
    auto made = backup(store.url(), one, clock);
    ASSERT_TRUE(made) << made.error().message();
    std::int64_t runs = 0, steps = 0, numbered = 0;
    for (const TableCopy& table : made->tables) {
      if (table.name == "runs") runs = table.rows;
      if (table.name == "a_step") steps = table.rows;
      if (table.name == "numbered") numbered = table.rows;
    }
    EXPECT_EQ(runs, steps);
    EXPECT_EQ(runs + 1, numbered);
    EXPECT_EQ((runs - 99) % 5, 0);
  }
  stop = true;
  writer.join();
}

TEST_P(Backup, NothingIsOverwritten) {
  ASSERT_TRUE(backup(store.url(), folder, clock));
  auto again = backup(store.url(), folder, clock);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code(), ErrorCode::kConflict);
  auto restored = restore(folder, store.url(), {&lease_migrations(), &kRooms}, clock);
  ASSERT_FALSE(restored);
  EXPECT_EQ(restored.error().code(), ErrorCode::kConflict);
}

TEST_P(Backup, ABackupOfANewerFettleIsRefused) {
  ASSERT_TRUE(backup(store.url(), folder, clock));
  TestStore target(GetParam());
  auto restored = restore(folder, target.url(), {&lease_migrations()}, clock);
  ASSERT_FALSE(restored);
  EXPECT_EQ(restored.error().code(), ErrorCode::kUnsupported);
}

TEST_P(Backup, DamageIsFound) {
  ASSERT_TRUE(backup(store.url(), folder, clock));
  const auto file = folder / (GetParam() == Dialect::kSqlite ? "ledger.db" : "runs.copy");
  std::ifstream in(file, std::ios::binary);
  std::string bytes(std::istreambuf_iterator<char>(in), {});
  const auto place = bytes.rfind("name");
  ASSERT_NE(place, std::string::npos);
  bytes[place] = 'N';
  std::ofstream(file, std::ios::binary) << bytes;
  auto verified = verify_backup(folder);
  ASSERT_FALSE(verified);
  EXPECT_EQ(verified.error().code(), ErrorCode::kDataLoss);
  EXPECT_THAT(verified.error().message(), testing::HasSubstr("runs"));
  std::filesystem::remove(folder / "manifest.json");
  EXPECT_EQ(verify_backup(folder).error().code(), ErrorCode::kNotFound);
}

}  // namespace
}  // namespace fettle::db
