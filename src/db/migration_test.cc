#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "db/lease.h"
#include "db/migration.h"
#include "db/testing.h"

namespace fettle::db {
namespace {

const Migrations kRuns = {
    {"runs",
     1,
     "runs",
     {"CREATE TABLE runs (id BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL)",
      "INSERT INTO runs (id, name) VALUES (1, 'a')"}},
    {"runs",
     2,
     "states",
     {"ALTER TABLE runs ADD COLUMN state BIGINT NOT NULL DEFAULT 0", "UPDATE runs SET state = state + 1"}},
    {"runs",
     3,
     "differs",
     {Sql("CREATE INDEX runs_state ON runs (state)", "CREATE INDEX runs_state ON runs USING btree (state)"),
      Sql("", "COMMENT ON TABLE runs IS 'x'")}},
};
const Migrations kAccess = {{"access", 1, "users", {"CREATE TABLE users (id BIGINT NOT NULL PRIMARY KEY)"}}};

class Migrating : public StoreTest {
 protected:
  static std::string state_of(Database& database) {
    auto text = database.read_and_wait([](Reader& reader) -> Result<std::string> {
      std::string found;
      auto applied = applied_migrations(reader);
      if (!applied) return std::unexpected(applied.error());
      for (const AppliedMigration& one : *applied) found += one.room + std::to_string(one.version) + " ";
      std::int64_t sum = 0;
      if (auto got = reader.fetch("SELECT SUM(state) FROM runs", {}, sum); !got) return std::unexpected(got.error());
      if (auto got = reader.query("SELECT id FROM users"); !got) return std::unexpected(got.error());
      return found + std::to_string(sum);
    });
    return text ? *text : text.error().message();
  }
};
FETTLE_FOR_BOTH_STORES(Migrating);

TEST_P(Migrating, EachStepIsAppliedOnceInOrder) {
  auto database = open();
  for (int i = 0; i < 2; ++i) {
    auto done = migrate(*database, {&kRuns, &kAccess});
    ASSERT_TRUE(done) << done.error().message();
    EXPECT_EQ(state_of(*database), "runs1 runs2 runs3 access1 1");
  }
}

TEST_P(Migrating, LaterStepsAreAddedToWhatIsThere) {
  auto database = open();
  const Migrations early(kRuns.begin(), kRuns.begin() + 1);
  ASSERT_TRUE(migrate(*database, {&early}));
  ASSERT_TRUE(migrate(*database, {&kRuns, &kAccess}));
  EXPECT_EQ(state_of(*database), "runs1 runs2 runs3 access1 1");
}

TEST_P(Migrating, NewerDataIsRefusedAndLeftAlone) {
  auto database = open();
  ASSERT_TRUE(migrate(*database, {&kRuns, &kAccess}));
  const Migrations early(kRuns.begin(), kRuns.begin() + 2);
  const Migrations more = {{"desk", 1, "desk", {"CREATE TABLE desk (id BIGINT NOT NULL)"}}};
  auto done = migrate(*database, {&early, &kAccess, &more});
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code(), ErrorCode::kUnsupported);
  EXPECT_THAT(done.error().message(), testing::HasSubstr("newer Fettle"));
  EXPECT_EQ(state_of(*database), "runs1 runs2 runs3 access1 1");
}

TEST_P(Migrating, AChangedTextIsRefused) {
  auto database = open();
  ASSERT_TRUE(migrate(*database, {&kRuns}));
  Migrations changed = kRuns;
  changed[1].statements.push_back("UPDATE runs SET state = 5");
  auto done = migrate(*database, {&changed});
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code(), ErrorCode::kUnsupported);
  EXPECT_THAT(done.error().message(), testing::HasSubstr("states"));
}

TEST_P(Migrating, AFailingStepLeavesTheOnesBefore) {
  auto database = open();
  Migrations broken = kRuns;
  broken[2].statements = {"CREATE TABLE half (id BIGINT NOT NULL)", "CREATE TABLE runs (id BIGINT NOT NULL)"};
  ASSERT_FALSE(migrate(*database, {&broken}));
  auto done = migrate(*database, {&kRuns, &kAccess});
  ASSERT_TRUE(done) << done.error().message();
  EXPECT_EQ(state_of(*database), "runs1 runs2 runs3 access1 1");
}

TEST_P(Migrating, KilledAtAnyStepItGoesOnWhereItWas) {
  for (int victim = 0;; ++victim) {
    TestStore fresh(GetParam());
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      auto database = fresh.open();
      MigrateOptions options;
      options.on_step_for_test = [&](int step) {
        if (step == victim) raise(SIGKILL);
      };
      _exit(migrate(*database, {&kRuns, &kAccess}, options) ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    auto database = fresh.open();
    auto done = migrate(*database, {&kRuns, &kAccess});
    ASSERT_TRUE(done) << victim << ": " << done.error().message();
    EXPECT_EQ(state_of(*database), "runs1 runs2 runs3 access1 1") << victim;
    if (WIFEXITED(status)) {
      EXPECT_EQ(WEXITSTATUS(status), 0);
      EXPECT_GE(victim, 15);
      break;
    }
  }
}

TEST_P(Migrating, OfReplicasThatStartAtOnceOneMigratesAndTheOthersWait) {
  std::vector<std::thread> threads;
  std::vector<std::string> results(4);
  for (std::string& result : results) {
    threads.emplace_back([&] {
      auto database = store.open();
      auto done = migrate(*database, {&kRuns, &kAccess});
      result = done ? state_of(*database) : done.error().message();
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(results, testing::Each("runs1 runs2 runs3 access1 1"));
}

class Lease : public StoreTest {
 protected:
  ManualClock clock{1'700'000'000 * kNanosPerSecond};
  std::unique_ptr<Database> database;
  LeaderLease::Options options(const char* holder) {
    return {"leader", holder, std::chrono::seconds(10), std::chrono::seconds(2)};
  }

  void SetUp() override {
    store.clock = &clock;
    database = open();
    ASSERT_TRUE(migrate(*database, {&lease_migrations()}));
  }
  // As time would: PostgreSQL judges by its own clock, which a test does not move.
  void pass(std::chrono::seconds time) {
    clock.advance(time);
    if (GetParam() == Dialect::kSqlite) return;
    ASSERT_TRUE(database->write_and_wait([&](Transaction& tx) {
      return tx.execute("UPDATE fettle_leases SET expires_at = expires_at - $1",
                        {std::chrono::nanoseconds(time).count()});
    }));
  }
  bool fenced(const LeaderLease& lease) {
    return !database->write_and_wait([&](Transaction& tx) { return lease.check(tx); });
  }
};
FETTLE_FOR_BOTH_STORES(Lease);

TEST_P(Lease, OneHolderAtATime) {
  LeaderLease a(*database, clock, options("a")), b(*database, clock, options("b"));
  EXPECT_TRUE(*a.acquire());
  EXPECT_FALSE(*b.acquire());
  EXPECT_TRUE(a.held());
  EXPECT_FALSE(b.held());
  EXPECT_FALSE(fenced(a));
  EXPECT_TRUE(fenced(b));
}

TEST_P(Lease, RenewingKeepsTheEpochAndMovesTheEnd) {
  LeaderLease a(*database, clock, options("a")), b(*database, clock, options("b"));
  ASSERT_TRUE(*a.acquire());
  const auto epoch = a.epoch();
  for (int i = 0; i < 5; ++i) {
    pass(std::chrono::seconds(7));
    ASSERT_TRUE(a.held());
    ASSERT_TRUE(*a.acquire());
    EXPECT_EQ(a.epoch(), epoch);
    EXPECT_FALSE(*b.acquire());
  }
}

TEST_P(Lease, ALeaderThatCouldNotRenewKnowsBeforeAnybodyElseCanTakeIt) {
  LeaderLease a(*database, clock, options("a")), b(*database, clock, options("b"));
  ASSERT_TRUE(*a.acquire());
  pass(std::chrono::seconds(8));
  EXPECT_FALSE(a.held());
  EXPECT_FALSE(*b.acquire());  // not yet
  pass(std::chrono::seconds(2));
  EXPECT_TRUE(*b.acquire());
  EXPECT_GT(b.epoch(), a.epoch());
  EXPECT_TRUE(fenced(a));
  EXPECT_FALSE(fenced(b));
}

TEST_P(Lease, ReleasedItIsFreeAtOnceAndTheEpochGrows) {
  LeaderLease a(*database, clock, options("a")), b(*database, clock, options("b"));
  ASSERT_TRUE(*a.acquire());
  ASSERT_TRUE(a.release());
  EXPECT_FALSE(a.held());
  EXPECT_TRUE(*b.acquire());
  EXPECT_EQ(b.epoch(), a.epoch() + 1);
  // Too late to take anything away from b.
  ASSERT_TRUE(a.release());
  EXPECT_FALSE(fenced(b));
}

TEST_P(Lease, AnExpiredLeaseTakenAgainByItsHolderHasANewEpoch) {
  LeaderLease a(*database, clock, options("a"));
  ASSERT_TRUE(*a.acquire());
  const auto epoch = a.epoch();
  pass(std::chrono::seconds(11));
  ASSERT_TRUE(*a.acquire());
  EXPECT_EQ(a.epoch(), epoch + 1);
}

}  // namespace
}  // namespace fettle::db
