// What both stores promise: folding, snapshots, limits and errors.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <limits>
#include <map>
#include <mutex>
#include <stdexcept>
#include <thread>

#include "db/testing.h"

namespace fettle::db {
namespace {

using namespace std::chrono_literals;

constexpr Sql kCreate = "CREATE TABLE items (id BIGINT NOT NULL PRIMARY KEY, n BIGINT NOT NULL)";
constexpr Sql kInsert = "INSERT INTO items (id, n) VALUES ($1, $2)";
// Never ends.
constexpr Sql kEndlessRead =
    "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n > 0) SELECT COUNT(*) FROM c";
constexpr Sql kEndlessWrite =
    "WITH RECURSIVE c(n) AS (SELECT 1000 UNION ALL SELECT n + 1 FROM c WHERE n > 0) INSERT INTO items (id, n) SELECT "
    "n, n FROM c";

class Store : public StoreTest {
 protected:
  std::unique_ptr<Database> open_with_table(const Options& options = {}) {
    auto database = open(options);
    auto made = database->write_and_wait([](Transaction& tx) { return tx.execute(kCreate); });
    EXPECT_TRUE(made) << made.error().message();
    return database;
  }
  static Result<std::int64_t> count(Reader& reader) {
    std::int64_t rows = 0;
    auto found = reader.fetch("SELECT COUNT(*) FROM items", {}, rows);
    if (!found) return std::unexpected(found.error());
    return rows;
  }
  static std::int64_t count(Database& database) {
    auto rows = database.read_and_wait([](Reader& reader) { return count(reader); });
    EXPECT_TRUE(rows) << rows.error().message();
    return rows.value_or(-1);
  }
  // Keeps the writer busy until the returned promise is set, so that what follows queues up.
  static std::shared_ptr<std::promise<void>> hold_writer(Database& database) {
    auto gate = std::make_shared<std::promise<void>>();
    auto entered = std::make_shared<std::promise<void>>();
    auto once = std::make_shared<std::once_flag>();
    database.write(
        [gate, entered, once, waiting = gate->get_future().share()](Transaction&) -> Result<void> {
          std::call_once(*once, [&] { entered->set_value(); });
          waiting.wait();
          return {};
        },
        [](Result<void>) {});
    entered->get_future().wait();
    return gate;
  }
};
FETTLE_FOR_BOTH_STORES(Store);

TEST_P(Store, WhatIsCommittedIsReadByTheNextSnapshot) {
  auto database = open_with_table();
  auto made = database->write_and_wait([](Transaction& tx) { return tx.execute(kInsert, {1, 7}); });
  ASSERT_TRUE(made) << made.error().message();
  EXPECT_EQ(*made, 1);
  EXPECT_EQ(count(*database), 1);
}

TEST_P(Store, WhatIsCommittedIsThereAfterReopening) {
  auto database = open_with_table();
  ASSERT_TRUE(database->write_and_wait([](Transaction& tx) { return tx.execute(kInsert, {1, 7}); }));
  database.reset();
  EXPECT_EQ(count(*open()), 1);
}

TEST_P(Store, TransactionsThatQueueUpShareACommit) {
  auto database = open_with_table();
  const Status before = database->status();
  auto gate = hold_writer(*database);
  std::vector<std::future<Result<std::int64_t>>> done;
  for (int i = 0; i < 50; ++i) {
    auto promise = std::make_shared<std::promise<Result<std::int64_t>>>();
    done.push_back(promise->get_future());
    database->write([i](Transaction& tx) { return tx.execute(kInsert, {i, i}); },
                    [promise](Result<std::int64_t> result) { promise->set_value(result); });
  }
  gate->set_value();
  for (auto& one : done) ASSERT_TRUE(one.get());
  const Status after = database->status();
  EXPECT_EQ(after.transactions - before.transactions, 51U);
  EXPECT_LE(after.commits - before.commits, 3U);
  EXPECT_EQ(count(*database), 50);
}

TEST_P(Store, WhatABodyAsksForJoinsItsCommitAndSeesWhatItDid) {
  auto database = open_with_table();
  if (!database->joins()) return;
  const std::uint64_t before = database->status().commits;
  std::promise<Result<std::int64_t>> joined;
  auto made = database->write_and_wait([&](Transaction& tx) -> Result<std::int64_t> {
    auto done = tx.execute(kInsert, {1, 7});
    database->write([](Transaction& after) { return count(after); },
                    [&](Result<std::int64_t> seen) { joined.set_value(std::move(seen)); }, {.joins = true});
    return done;
  });
  ASSERT_TRUE(made) << made.error().message();
  const auto seen = joined.get_future().get();
  ASSERT_TRUE(seen) << seen.error().message();
  EXPECT_EQ(*seen, 1);
  EXPECT_EQ(database->status().commits, before + 1);
  EXPECT_EQ(database->status().transactions, 3U) << "the table, the row and what joined it";
}

TEST_P(Store, WhatJoinedABodyThatFailsIsRunWithoutIt) {
  auto database = open_with_table();
  if (!database->joins()) return;
  std::promise<Result<std::int64_t>> joined;
  auto asked = std::make_shared<std::once_flag>();
  auto made = database->write_and_wait([&, asked](Transaction& tx) -> Result<std::int64_t> {
    auto done = tx.execute(kInsert, {1, 7});
    std::call_once(*asked, [&] {
      database->write([](Transaction& after) { return count(after); },
                      [&](Result<std::int64_t> seen) { joined.set_value(std::move(seen)); }, {.joins = true});
    });
    return fail(ErrorCode::kConflict, "no");
  });
  EXPECT_FALSE(made);
  const auto seen = joined.get_future().get();
  ASSERT_TRUE(seen) << seen.error().message();
  EXPECT_EQ(*seen, 0);
}

TEST_P(Store, AFailingBodyTakesNoNeighbourAlong) {
  auto database = open_with_table();
  auto gate = hold_writer(*database);
  std::vector<std::future<Result<void>>> done;
  const auto add = [&](std::function<Result<void>(Transaction&)> body) {
    auto promise = std::make_shared<std::promise<Result<void>>>();
    done.push_back(promise->get_future());
    database->write(std::move(body), [promise](Result<void> result) { promise->set_value(std::move(result)); });
  };
  const auto insert = [](Transaction& tx, int id) -> Result<void> {
    auto made = tx.execute(kInsert, {id, id});
    if (!made) return std::unexpected(made.error());
    return {};
  };
  add([&](Transaction& tx) { return insert(tx, 1); });
  add([&](Transaction& tx) -> Result<void> {
    if (auto made = insert(tx, 2); !made) return made;
    return fail(ErrorCode::kNotFound, "changed its mind");
  });
  add([&](Transaction& tx) { return insert(tx, 1); });
  add([&](Transaction& tx) -> Result<void> {
    (void)insert(tx, 3);
    throw std::runtime_error("thrown");
  });
  add([&](Transaction& tx) -> Result<void> {
    (void)insert(tx, 4);
    (void)insert(tx, 1);  // the failure is not to be swallowed
    return {};
  });
  add([&](Transaction& tx) { return insert(tx, 5); });
  gate->set_value();
  std::vector<int> codes;
  for (auto& one : done) {
    const Result<void> result = one.get();
    codes.push_back(result ? 0 : static_cast<int>(result.error().code()));
  }
  EXPECT_THAT(codes,
              testing::ElementsAre(0, static_cast<int>(ErrorCode::kNotFound), static_cast<int>(ErrorCode::kConflict),
                                   static_cast<int>(ErrorCode::kInternal), static_cast<int>(ErrorCode::kConflict), 0));
  auto ids = database->read_and_wait([](Reader& reader) -> Result<std::vector<int>> {
    std::vector<int> found;
    auto rows = reader.query("SELECT id FROM items ORDER BY id");
    if (!rows) return std::unexpected(rows.error());
    for (const Row row : *rows) found.push_back(row.get<int>(0).value());
    return found;
  });
  EXPECT_THAT(*ids, testing::ElementsAre(1, 5));
}

TEST_P(Store, AFullQueueRefusesWithRetryAfter) {
  Options options;
  options.write_queue_max = 3;
  auto database = open_with_table(options);
  auto gate = hold_writer(*database);
  std::atomic<int> refused{0};
  std::atomic<bool> advised{true};
  for (int i = 0; i < 5; ++i) {
    database->write([i](Transaction& tx) { return tx.execute(kInsert, {i, i}); },
                    [&](Result<std::int64_t> result) {
                      if (result || result.error().code() != ErrorCode::kResourceExhausted) return;
                      ++refused;
                      if (!result.error().retry_after()) advised = false;
                    });
  }
  EXPECT_EQ(refused, 2);
  EXPECT_TRUE(advised);
  gate->set_value();
  database->close();
  EXPECT_EQ(database->status().refused, 2U);
}

TEST_P(Store, AfterCloseEverythingIsCancelledAndWhatWaitedHasRun) {
  auto database = open_with_table();
  auto gate = hold_writer(*database);
  std::atomic<int> done{0};
  for (int i = 0; i < 10; ++i) {
    database->write([i](Transaction& tx) { return tx.execute(kInsert, {i, i}); },
                    [&](Result<std::int64_t> result) { done += result ? 1 : 0; });
  }
  gate->set_value();
  database->close();
  EXPECT_EQ(done, 10);
  auto late = database->write_and_wait([](Transaction& tx) { return tx.execute(kInsert, {99, 0}); });
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code(), ErrorCode::kCancelled);
}

TEST_P(Store, ASnapshotDoesNotSeeWhatIsCommittedMeanwhile) {
  auto database = open_with_table();
  auto seen = database->read_and_wait([&](Reader& reader) -> Result<std::pair<std::int64_t, std::int64_t>> {
    auto before = count(reader);
    if (!before) return std::unexpected(before.error());
    // The writer is not held up by this snapshot either.
    std::thread([&] {
      EXPECT_TRUE(database->write_and_wait([](Transaction& tx) { return tx.execute(kInsert, {1, 1}); }));
    }).join();
    auto after = count(reader);
    if (!after) return std::unexpected(after.error());
    return std::pair(*before, *after);
  });
  ASSERT_TRUE(seen) << seen.error().message();
  EXPECT_EQ(*seen, std::pair(std::int64_t{0}, std::int64_t{0}));
  EXPECT_EQ(count(*database), 1);
}

TEST_P(Store, AReadPastItsDeadlineFails) {
  auto database = open_with_table();
  auto read = database->read_and_wait(
      [](Reader& reader) -> Result<void> {
        auto rows = reader.query(kEndlessRead);
        if (!rows) return std::unexpected(rows.error());
        return {};
      },
      {.deadline = 50ms});
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code(), ErrorCode::kDeadlineExceeded);
  EXPECT_EQ(count(*database), 0);
}

TEST_P(Store, AWritePastItsDeadlineFailsAloneAndItsNeighboursCommit) {
  Options options;
  options.write_deadline = 100ms;
  auto database = open_with_table(options);
  auto gate = hold_writer(*database);
  std::vector<std::future<Result<std::int64_t>>> done;
  for (int i = 0; i < 3; ++i) {
    auto promise = std::make_shared<std::promise<Result<std::int64_t>>>();
    done.push_back(promise->get_future());
    database->write([i](Transaction& tx) { return i == 1 ? tx.execute(kEndlessWrite) : tx.execute(kInsert, {i, i}); },

                    [promise](Result<std::int64_t> result) { promise->set_value(std::move(result)); });
  }
  gate->set_value();
  EXPECT_TRUE(done[0].get());
  auto late = done[1].get();
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code(), ErrorCode::kDeadlineExceeded);
  EXPECT_TRUE(done[2].get());
  EXPECT_EQ(count(*database), 2);
}

TEST_P(Store, AReaderCannotWrite) {
  auto database = open_with_table();
  auto read = database->read_and_wait([](Reader& reader) -> Result<void> {
    auto rows = reader.query("INSERT INTO items (id, n) VALUES (1, 1) RETURNING id");
    if (!rows) return std::unexpected(rows.error());
    return {};
  });
  EXPECT_FALSE(read);
  EXPECT_EQ(count(*database), 0);
}

TEST_P(Store, AnAnswerOverTheLimitIsTooLargeAndEachReadsItAll) {
  Options options;
  options.result_rows_max = 100;
  auto database = open_with_table(options);
  std::vector<Value> rows;
  for (std::int64_t i = 0; i < 2'500; ++i) rows.insert(rows.end(), {Value(i), Value(i)});
  auto made = database->write_and_wait([&](Transaction& tx) { return tx.execute_many(kInsert, 2, rows); });
  ASSERT_TRUE(made) << made.error().message();
  EXPECT_EQ(*made, 2'500);
  auto all = database->read_and_wait([](Reader& reader) -> Result<void> {
    auto found = reader.query("SELECT id FROM items");
    if (!found) return std::unexpected(found.error());
    return {};
  });
  ASSERT_FALSE(all);
  EXPECT_EQ(all.error().code(), ErrorCode::kTooLarge);
  auto sum = database->read_and_wait([](Reader& reader) -> Result<std::int64_t> {
    std::int64_t total = 0;
    auto read =
        reader.each("SELECT id FROM items WHERE id >= $1 ORDER BY id", {500}, [&](const Row& row) -> Result<void> {
          std::int64_t id = 0;
          if (auto got = row.into(id); !got) return got;
          total += id;
          return {};
        });
    if (!read) return std::unexpected(read.error());
    return total;
  });
  ASSERT_TRUE(sum) << sum.error().message();
  EXPECT_EQ(*sum, 2'499 * 2'500 / 2 - 499 * 500 / 2);
}

TEST_P(Store, ManyRowsArriveAsTheyWereWhateverIsMissingInThem) {
  auto database = open_with_table();
  const auto made = database->write_and_wait([](Transaction& tx) -> Result<std::int64_t> {
    if (auto table = tx.execute("CREATE TABLE mixed (id BIGINT PRIMARY KEY, fixed BIGINT, note TEXT, score DOUBLE "
                                "PRECISION, bytes BYTEA)");
        !table) {
      return table;
    }
    std::vector<Value> rows;
    for (std::int64_t i = 0; i < 700; ++i) {
      rows.push_back(i);
      rows.push_back(i % 3 == 0 ? Value() : Value("note"));
      // Whole numbers among fractions: two kinds in one column.
      rows.push_back(i < 100 || i % 50 != 0 ? Value(0.5) : Value(i));
      rows.push_back(i < 300 ? Value() : Value(BlobView{"\x01\x02"}));
    }
    return tx.execute_many("INSERT INTO mixed (id, fixed, note, score, bytes) VALUES ($1, 7, $2, $3, $4)", 4, rows);
  });
  ASSERT_TRUE(made) << made.error().message();
  EXPECT_EQ(*made, 700);
  std::int64_t rows = 0, sevens = 0, notes = 0, blobs = 0;
  double score = 0;
  const auto read = database->read_and_wait([&](Reader& reader) -> Result<void> {
    auto found = reader.fetch("SELECT COUNT(*), SUM(fixed), COUNT(note), SUM(score), COUNT(bytes) FROM mixed", {}, rows,
                              sevens, notes, score, blobs);
    if (!found) return std::unexpected(found.error());
    return {};
  });
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(rows, 700);
  EXPECT_EQ(sevens, 4'900);
  EXPECT_EQ(notes, 466);
  EXPECT_EQ(blobs, 400);
  EXPECT_EQ(score, 0.5 * 688 + 100 + 150 + 200 + 250 + 300 + 350 + 400 + 450 + 500 + 550 + 600 + 650);
}

TEST_P(Store, RowsOfAnyCountArriveOnceEach) {
  auto database = open_with_table();
  std::int64_t id = 0;
  for (const std::int64_t rows : {1, 3, 4, 15, 16, 17, 23, 100}) {
    std::vector<Value> values;
    for (std::int64_t i = 0; i < rows; ++i) {
      values.emplace_back(++id);
      values.emplace_back(id * 7);
    }
    const auto made = database->write_and_wait([&](Transaction& tx) { return tx.execute_many(kInsert, 2, values); });
    ASSERT_TRUE(made) << made.error().message();
    EXPECT_EQ(*made, rows);
  }
  EXPECT_EQ(count(*database), id);
  const auto wrong = database->read_and_wait([](Reader& reader) -> Result<std::int64_t> {
    std::int64_t rows = -1;
    auto found = reader.fetch("SELECT COUNT(*) FROM items WHERE n <> id * 7", {}, rows);
    if (!found) return std::unexpected(found.error());
    return rows;
  });
  EXPECT_EQ(*wrong, 0);
}

TEST_P(Store, AWorkspaceThatFillsTheQueueIsRefusedWhileAnotherGoesOn) {
  Options options;
  options.write_queue_max = 10;
  auto database = open_with_table(options);
  const auto write = [&](const char* owner, std::atomic<int>& accepted, std::atomic<int>& refused) {
    database->write([](Transaction&) -> Result<void> { return {}; },
                    [&](Result<void> done) {
                      if (!done) {
                        EXPECT_EQ(done.error().code(), ErrorCode::kResourceExhausted);
                        EXPECT_TRUE(done.error().retry_after());
                      }
                      ++(done ? accepted : refused);
                    },
                    {.owner = owner});
  };
  std::atomic<int> first = 0, second = 0, third = 0, first_refused = 0, second_refused = 0, third_refused = 0;
  {
    // Alone, it has it all.
    const auto gate = hold_writer(*database);
    for (int i = 0; i < 11; ++i) write("first", first, first_refused);
    EXPECT_EQ(first_refused, 1);
    gate->set_value();
  }
  while (first < 10) std::this_thread::yield();
  const auto gate = hold_writer(*database);
  write("second", second, second_refused);
  for (int i = 0; i < 10; ++i) write("first", first, first_refused);
  EXPECT_EQ(first_refused, 1 + 5);
  for (int i = 0; i < 3; ++i) write("second", second, second_refused);
  write("third", third, third_refused);
  EXPECT_EQ(second_refused + third_refused, 0);
  gate->set_value();
  database->close();
  EXPECT_EQ(first, 15);
  EXPECT_EQ(second, 4);
  EXPECT_EQ(third, 1);
}

TEST_P(Store, WhatIsPostedIsThereForTheNextStatementAndAfterTheCommit) {
  auto database = open_with_table();
  const auto made = database->write_and_wait([&](Transaction& tx) -> Result<std::int64_t> {
    const Value rows[] = {1, 10, 2, 20};
    if (auto posted = tx.post(kInsert, 2, rows); !posted) return std::unexpected(posted.error());
    std::int64_t sum = 0;
    auto found = tx.fetch("SELECT SUM(n) FROM items", {}, sum);
    if (!found) return std::unexpected(found.error());
    const Value last[] = {3, 30};
    if (auto posted = tx.post(kInsert, 2, last); !posted) return std::unexpected(posted.error());
    return sum;
  });
  ASSERT_TRUE(made) << made.error().message();
  EXPECT_EQ(*made, 30);
  EXPECT_EQ(count(*database), 3);
}

TEST_P(Store, APostedStatementThatFailsIsItsOwnBodysFailureAndNobodyElses) {
  auto database = open_with_table();
  ASSERT_TRUE(database->write_and_wait([](Transaction& tx) { return tx.execute(kInsert, {7, 7}); }));
  const auto alone = database->write_and_wait([](Transaction& tx) {
    const Value row[] = {7, 8};
    return tx.post(kInsert, 2, row);
  });
  ASSERT_FALSE(alone);
  EXPECT_EQ(alone.error().code(), ErrorCode::kConflict) << alone.error().message();
  const auto gate = hold_writer(*database);
  std::mutex mutex;
  std::map<int, Result<void>> results;
  for (int i = 0; i < 30; ++i) {
    database->write(
        [i](Transaction& tx) -> Result<void> {
          // Every tenth is there already; every fifth refuses after it has posted, every third asks something behind
          // it.
          const Value row[] = {i % 10 == 7 ? 7 : 100 + i, i};
          if (auto posted = tx.post(kInsert, 2, row); !posted) return posted;
          if (i % 5 == 4) return fail(ErrorCode::kInvalidArgument, "refused");
          if (i % 3 != 0) return {};
          std::int64_t n = 0;
          auto found = tx.fetch("SELECT n FROM items WHERE id = $1", {100 + i}, n);
          if (!found) return std::unexpected(found.error());
          return *found && n == i ? Result<void>() : fail(ErrorCode::kInternal, "it is not there");
        },
        [&, i](Result<void> done) {
          const std::lock_guard lock(mutex);
          results.emplace(i, std::move(done));
        });
  }
  gate->set_value();
  database->close();
  ASSERT_EQ(results.size(), 30U);
  for (const auto& [i, done] : results) {
    const ErrorCode expected = i % 10 == 7 ? ErrorCode::kConflict : ErrorCode::kInvalidArgument;
    EXPECT_EQ(done.has_value(), i % 10 != 7 && i % 5 != 4) << i;
    if (!done) {
      EXPECT_EQ(done.error().code(), expected) << i << ": " << done.error().message();
    }
  }
  database = open();
  EXPECT_EQ(count(*database), 1 + 30 - 3 - 6);
}

// Enough for PostgreSQL's COPY, which has marks of its own for what stands between values.
TEST_P(Store, ThousandsOfRowsArriveByteForByte) {
  const std::string texts[] = {"",
                               "\\N",
                               "\\.",
                               "a\tb",
                               "line\nline\r\n",
                               "\\\\n",
                               "\xc3\xa4\xe2\x82\xac",
                               std::string(70'000, 'x'),
                               "{\"a\":\"b\"}",
                               "\b\f\v\x01"};
  const std::string blobs[] = {"", std::string("\0\n\t\\", 4), "\xff\xfe", "\\x00"};
  const double scores[] = {0.1, -1e300, 5e-324, std::numeric_limits<double>::infinity(), 3};
  constexpr std::int64_t kRows = 3'000;
  // The long one a few times only.
  const auto text_of = [&](std::int64_t i) { return std::string_view(texts[i > 200 && i % 10 == 7 ? 0 : i % 10]); };
  auto database = open_with_table();
  const auto made = database->write_and_wait([&](Transaction& tx) -> Result<std::int64_t> {
    auto table =
        tx.execute("CREATE TABLE mixed (id BIGINT PRIMARY KEY, note TEXT, score DOUBLE PRECISION, bytes BYTEA)");
    if (!table) return table;
    std::vector<Value> rows;
    for (std::int64_t i = 0; i < kRows; ++i) {
      rows.emplace_back(i == 0 ? std::numeric_limits<std::int64_t>::min() : i);
      rows.push_back(i % 7 == 3 ? Value() : Value(text_of(i)));
      rows.push_back(i % 11 == 5 ? Value() : Value(scores[i % std::size(scores)]));
      rows.push_back(i % 13 == 6 ? Value() : Value(BlobView{blobs[i % std::size(blobs)]}));
    }
    auto copied = tx.execute_many("INSERT INTO mixed (id, note, score, bytes) VALUES ($1, $2, $3, $4)", 4, rows);
    if (!copied) return copied;
    // The connection is as it was: the next statement of the same transaction, and one with parameters.
    auto removed = tx.execute("DELETE FROM mixed WHERE id = $1", {17});
    if (!removed) return removed;
    return *copied - *removed;
  });
  ASSERT_TRUE(made) << made.error().message();
  EXPECT_EQ(*made, kRows - 1);
  std::int64_t seen = 0;
  const auto read = database->read_and_wait([&](Reader& reader) {
    return reader.each("SELECT id, note, score, bytes FROM mixed ORDER BY id", {}, [&](const Row& row) -> Result<void> {
      std::int64_t id = 0;
      std::optional<std::string> note;
      std::optional<double> score;
      std::optional<Blob> bytes;
      if (auto got = row.into(id, note, score, bytes); !got) return got;
      const std::int64_t i = std::max<std::int64_t>(id, 0);
      EXPECT_EQ(note.has_value(), i % 7 != 3) << i;
      if (note) {
        EXPECT_EQ(*note, text_of(i)) << i;
      }
      EXPECT_EQ(score.has_value(), i % 11 != 5) << i;
      if (score) {
        EXPECT_EQ(*score, scores[i % std::size(scores)]) << i;
      }
      EXPECT_EQ(bytes.has_value(), i % 13 != 6) << i;
      if (bytes) {
        EXPECT_EQ(bytes->bytes, blobs[i % std::size(blobs)]) << i;
      }
      ++seen;
      return {};
    });
  });
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(seen, kRows - 1);
}

TEST_P(Store, OneOfManyRowsThatIsThereAlreadyUndoesThemAll) {
  for (const std::int64_t rows_in_all : {100, 2'000}) {
    auto database = open_with_table();
    std::vector<Value> rows;
    for (std::int64_t i = 0; i < rows_in_all; ++i) rows.insert(rows.end(), {Value(i == 70 ? 3 : i), Value(i)});
    const auto made = database->write_and_wait([&](Transaction& tx) { return tx.execute_many(kInsert, 2, rows); });
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code(), ErrorCode::kConflict);
    EXPECT_EQ(count(*database), 0);
    // The connection is not harmed.
    EXPECT_TRUE(database->write_and_wait([](Transaction& tx) { return tx.execute(kInsert, {1, 1}); }));
    EXPECT_TRUE(database->write_and_wait([](Transaction& tx) { return tx.execute("DROP TABLE items"); }));
  }
}

TEST_P(Store, ManyMoreStatementsThanTheCacheHoldsStillWork) {
  Options options;
  options.statements_max = 4;
  auto database = open_with_table(options);
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < 20; ++i) {
      const std::string text = fmt::format("SELECT {} + CAST($1 AS BIGINT)", i);
      auto got = database->write_and_wait([&](Transaction& tx) -> Result<std::int64_t> {
        std::int64_t sum = 0;
        auto found = tx.fetch(Sql::assembled(text), {round}, sum);
        if (!found) return std::unexpected(found.error());
        return sum;
      });
      ASSERT_TRUE(got) << got.error().message();
      EXPECT_EQ(*got, i + round);
    }
  }
}

TEST_P(Store, ErrorsSayWhatTheCallerCanDoAndHoldNoValue) {
  auto database = open_with_table();
  ASSERT_TRUE(database->write_and_wait([](Transaction& tx) -> Result<void> {
    if (auto made = tx.execute(
            "CREATE TABLE notes (id BIGINT NOT NULL PRIMARY KEY, body TEXT NOT NULL UNIQUE, CHECK (id < 100))");
        !made) {
      return std::unexpected(made.error());
    }
    auto made = tx.execute("INSERT INTO notes (id, body) VALUES ($1, $2)", {1, "hunter2"});
    if (!made) return std::unexpected(made.error());
    return {};
  }));
  struct Case {
    Sql sql;
    std::vector<Value> values;
    ErrorCode code;
  };
  const std::vector<Case> cases = {
      {"INSERT INTO notes (id, body) VALUES ($1, $2)", {2, "hunter2"}, ErrorCode::kConflict},
      {"INSERT INTO notes (id, body) VALUES ($1, $2)", {200, "hunter2"}, ErrorCode::kInvalidArgument},
      {"INSERT INTO notes (id, body) VALUES ($1, $2)", {3, Value()}, ErrorCode::kInvalidArgument},
      {"INSERT INTO notes (id, body) VALUES ($1, $2)",
       {3, std::string_view("hunter2\0", 8)},
       ErrorCode::kInvalidArgument},
      {"INSERT INTO notes (id, body) VALUES ($1, $2)", {3, "hunter2\xff"}, ErrorCode::kInvalidArgument},
      {"INSERT INTO nowhere (id) VALUES ($1)", {3}, ErrorCode::kInternal},
      {"INSERT INTO notes (id, body) VALUES ($1, $2)", {3}, ErrorCode::kInternal},
  };
  for (const Case& one : cases) {
    auto result = database->write_and_wait([&](Transaction& tx) { return tx.execute(one.sql, one.values); });
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code(), one.code) << result.error().message();
    EXPECT_EQ(result.error().message().find("hunter2"), std::string::npos) << result.error().message();
  }
}

TEST_P(Store, TheWrongTypeIsNamedWithItsColumn) {
  auto database = open_with_table();
  ASSERT_TRUE(database->write_and_wait([](Transaction& tx) { return tx.execute(kInsert, {1, 7}); }));
  auto read = database->read_and_wait([](Reader& reader) -> Result<void> {
    std::string text;
    auto found = reader.fetch("SELECT n AS attempts FROM items", {}, text);
    if (!found) return std::unexpected(found.error());
    return {};
  });
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code(), ErrorCode::kInternal);
  EXPECT_THAT(read.error().message(), testing::HasSubstr("attempts"));
  EXPECT_THAT(read.error().message(), testing::HasSubstr("integer"));
}

TEST_P(Store, TransactionsThatConflictAreRepeatedUntilAllHaveHappened) {
  Options options;
  options.writers = 2;
  options.fold_max = 1;
  auto database = open_with_table(options);
  ASSERT_TRUE(database->write_and_wait([](Transaction& tx) { return tx.execute(kInsert, {1, 0}); }));
  // In PostgreSQL both read before either writes, the first time; SQLite's one writer cannot interleave them.
  const int parties = GetParam() == Dialect::kPostgres ? 2 : 1;
  std::atomic<int> have_read{0};
  std::vector<std::future<Result<std::int64_t>>> done;
  for (int i = 0; i < 2; ++i) {
    auto promise = std::make_shared<std::promise<Result<std::int64_t>>>();
    done.push_back(promise->get_future());
    database->write(
        [&](Transaction& tx) -> Result<std::int64_t> {
          std::int64_t n = 0;
          auto found = tx.fetch("SELECT n FROM items WHERE id = $1", {1}, n);
          if (!found) return std::unexpected(found.error());
          ++have_read;
          while (have_read < parties) std::this_thread::yield();
          return tx.execute("UPDATE items SET n = $2 WHERE id = $1", {1, n + 1});
        },

        [promise](Result<std::int64_t> result) { promise->set_value(std::move(result)); });
  }
  for (auto& one : done) {
    auto result = one.get();
    EXPECT_TRUE(result) << result.error().message();
  }
  auto n = database->read_and_wait([](Reader& reader) -> Result<std::int64_t> {
    std::int64_t value = 0;
    auto found = reader.fetch("SELECT n FROM items WHERE id = 1", {}, value);
    if (!found) return std::unexpected(found.error());
    return value;
  });
  EXPECT_EQ(*n, 2);
  if (GetParam() == Dialect::kPostgres) {
    EXPECT_GE(database->status().repeated, 1U);
  }
}

TEST(StoreUrl, ABadUrlIsRefusedWithoutRepeatingIt) {
  SystemClock clock;
  metrics::Registry registry;
  for (const char* url : {"mysql://root:hunter2@db/x", "", "sqlite:", "hunter2"}) {
    auto opened = open(Secret(url), {}, clock, registry);
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code(), ErrorCode::kInvalidArgument);
    EXPECT_EQ(opened.error().message().find("hunter2"), std::string::npos);
  }
  for (const char* url : {"postgres://u:hunter2@127.0.0.1:1/x", "postgres://u:x@hunter2@127.0.0.1:1/x",
                          "postgresql://u@127.0.0.1:1/x?password=hunter2"}) {
    auto opened = open(Secret(url), {}, clock, registry);
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code(), ErrorCode::kUnavailable);
    EXPECT_EQ(opened.error().message().find("hunter2"), std::string::npos) << opened.error().message();
  }
}

}  // namespace
}  // namespace fettle::db
