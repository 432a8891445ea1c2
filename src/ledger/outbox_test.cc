#include "ledger/outbox.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <set>
#include <thread>

#include "db/database.h"
#include "ledger/event_packing.h"
#include "ledger/ledger_for_test.h"

namespace fettle::ledger {
namespace {

class OutboxTest : public LedgerTest {
 protected:
  Event event(std::string type = "run.completed", std::string client = "acme") {
    return {.type = std::move(type),
            .at = clock.now(),
            .identifiers = {{"client_id", std::move(client)}, {"run_id", "r-1"}},
            .body = R"({"attempts":1})"};
  }
  void send(const std::vector<Event>& events) {
    const auto done = database->write_and_wait([&](db::Transaction& tx) { return publish(tx, scope, events); });
    ASSERT_TRUE(done) << done.error().message();
  }
  std::vector<std::string> types(const OutboxBatch& batch) {
    std::vector<std::string> all;
    for (const OutboxRow& row : batch.rows) {
      for (const Event& one : row.events) all.push_back(one.type);
    }
    return all;
  }
  Outbox outbox{*database, clock, store.registry};
};
FETTLE_FOR_BOTH_STORES(OutboxTest);

TEST_P(OutboxTest, EveryConsumerGetsEveryEventBehindItsOwnCursor) {
  ASSERT_TRUE(outbox.add_consumer("telemetry"));
  ASSERT_TRUE(outbox.add_consumer("webhooks"));
  send({event("a"), event("b")});
  send({event("c")});
  const auto first = outbox.next("telemetry");
  ASSERT_TRUE(first) << first.error().message();
  EXPECT_EQ(types(*first), (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(first->rows[0].workspace, scope.workspace);
  EXPECT_EQ(first->rows[0].events[0].identifiers, event().identifiers);
  EXPECT_EQ(first->rows[0].events[0].body, event().body);
  // Not acknowledged: given again.
  EXPECT_EQ(types(*outbox.next("telemetry")).size(), 3U);
  ASSERT_TRUE(outbox.advance("telemetry", first->end));
  EXPECT_TRUE(outbox.next("telemetry")->rows.empty());
  EXPECT_EQ(types(*outbox.next("webhooks")).size(), 3U);
  ASSERT_TRUE(outbox.advance("telemetry", {}));  // never back
  EXPECT_TRUE(outbox.next("telemetry")->rows.empty());
  EXPECT_EQ(outbox.next("nobody").error().code(), ErrorCode::kNotFound);
}

TEST_P(OutboxTest, AnEventThatRolledBackIsNeverDelivered) {
  ASSERT_TRUE(outbox.add_consumer("telemetry"));
  const auto failed = database->write_and_wait([&](db::Transaction& tx) -> Result<void> {
    if (auto done = publish(tx, scope, event("never")); !done) return done;
    return fail(ErrorCode::kInternal, "changed my mind");
  });
  ASSERT_FALSE(failed);
  send({event("after")});
  EXPECT_EQ(types(*outbox.next("telemetry")), (std::vector<std::string>{"after"}));
}

TEST_P(OutboxTest, ABatchIsBoundedByRowsAndBytes) {
  Outbox small(*database, clock, store.registry, {.rows_max = 2, .bytes_max = 400});
  ASSERT_TRUE(small.add_consumer("x"));
  Event large = event("large");
  large.body = "\"" + std::string(1'000, 'x') + "\"";
  send({event()});
  send({event()});
  send({event()});
  send({large});
  send({event()});
  std::vector<std::size_t> sizes;
  std::vector<bool> full;
  for (int i = 0; i < 10; ++i) {
    const auto batch = small.next("x");
    ASSERT_TRUE(batch);
    if (batch->rows.empty()) break;
    sizes.push_back(batch->rows.size());
    full.push_back(batch->is_full);
    ASSERT_TRUE(small.advance("x", batch->end));
  }
  EXPECT_EQ(sizes, (std::vector<std::size_t>{2, 1, 1, 1}));
  EXPECT_EQ(full, (std::vector<bool>{true, true, true, false}));
}

TEST_P(OutboxTest, WhatAllHavePassedIsTrimmedAfterTheTailsTime) {
  ASSERT_TRUE(outbox.add_consumer("slow"));
  ASSERT_TRUE(outbox.add_consumer("fast"));
  send({event("a")});
  send({event("b")});
  ASSERT_TRUE(outbox.advance("fast", outbox.next("fast")->end));
  EXPECT_EQ(*outbox.trim(), 0);
  clock.advance(std::chrono::seconds(60));
  EXPECT_EQ(*outbox.trim(), 0);  // slow has not passed them
  ASSERT_TRUE(outbox.advance("slow", outbox.next("slow")->rows[0].cursor));
  EXPECT_EQ(*outbox.trim(), 1);
  EXPECT_EQ(types(*outbox.next("slow")), (std::vector<std::string>{"b"}));
  ASSERT_TRUE(outbox.remove_consumer("slow"));
  EXPECT_EQ(*outbox.trim(), 1);
  send({event("c")});
  EXPECT_EQ(types(*outbox.next("fast")), (std::vector<std::string>{"c"}));
}

TEST_P(OutboxTest, WhatNobodyListensToIsPassedOverUnread) {
  ASSERT_TRUE(outbox.add_consumer("x"));
  send({event("before")});
  const auto end = outbox.end();
  send({event("after")});
  ASSERT_TRUE(outbox.pass_over("x", *end));
  EXPECT_EQ(types(*outbox.next("x")), (std::vector<std::string>{"after"}));
  ASSERT_TRUE(outbox.advance("x", outbox.next("x")->end));
  const auto commits = database->status().commits;
  ASSERT_TRUE(outbox.pass_over("x", *outbox.end()));
  EXPECT_EQ(database->status().commits, commits) << "nothing to pass over, so nothing is written";
  EXPECT_EQ(outbox.pass_over("nobody", *end).error().code(), ErrorCode::kNotFound);
}

TEST_P(OutboxTest, ATailBeginsAtTheEndAndKeepsItsOwnPlace) {
  send({event("before")});
  const auto end = outbox.end();
  ASSERT_TRUE(end);
  send({event("after")});
  const auto batch = outbox.read_after(*end);
  EXPECT_EQ(types(*batch), (std::vector<std::string>{"after"}));
  EXPECT_EQ(outbox_cursor_of(to_string(batch->end)), batch->end);
  EXPECT_FALSE(outbox_cursor_of("1"));
  EXPECT_FALSE(outbox_cursor_of("1.x"));
  EXPECT_FALSE(outbox_cursor_of("-1.2"));
}

TEST_P(OutboxTest, TheBacklogIsCounted) {
  ASSERT_TRUE(outbox.add_consumer("x"));
  send({event()});
  send({event()});
  const auto status = outbox.status();
  ASSERT_EQ(status->size(), 1U);
  EXPECT_EQ((*status)[0].rows_behind, 2);
}

TEST_P(OutboxTest, OnlyTheClientsOfTheScopeAreVisible) {
  const Scope limited{.workspace = {"agency"}, .clients = {{"acme"}}};
  EXPECT_TRUE(is_visible({"agency"}, event(), limited));
  EXPECT_FALSE(is_visible({"agency"}, event("x", "other"), limited));
  EXPECT_FALSE(is_visible({"elsewhere"}, event(), limited));
  Event of_nobody = event();
  of_nobody.identifiers.clear();
  EXPECT_FALSE(is_visible({"agency"}, of_nobody, limited));
  EXPECT_TRUE(is_visible({"agency"}, of_nobody, scope));
}

TEST_P(OutboxTest, MalformedOrOverlongEventsAreRefused) {
  const auto code_of = [&](const Event& one) {
    return database->write_and_wait([&](db::Transaction& tx) { return publish(tx, scope, one); }).error().code();
  };
  Event wrong = event("Upper");
  EXPECT_EQ(code_of(wrong), ErrorCode::kInvalidArgument);
  wrong = event();
  wrong.at = 0;
  EXPECT_EQ(code_of(wrong), ErrorCode::kInvalidArgument);
  wrong = event();
  wrong.identifiers.push_back({"Bad Name", "x"});
  EXPECT_EQ(code_of(wrong), ErrorCode::kInvalidArgument);
  wrong = event();
  wrong.identifiers.push_back({"long", std::string(257, 'x')});
  EXPECT_EQ(code_of(wrong), ErrorCode::kTooLarge);
  wrong = event();
  wrong.body.assign(kEventBodyBytesMax + 1, 'x');
  EXPECT_EQ(code_of(wrong), ErrorCode::kTooLarge);
}

TEST_P(OutboxTest, DamagedRowsAreDataLoss) {
  EXPECT_EQ(unpack_events("\x02").error().code(), ErrorCode::kDataLoss);
  const Event one = event();
  const EventView view{one.type, one.at, one.identifiers, one.body};
  const std::string packed = pack_events(std::span(&view, 1));
  for (std::size_t size = 0; size < packed.size(); ++size) {
    EXPECT_FALSE(unpack_events(std::string_view(packed).substr(0, size))) << size;
  }
  EXPECT_FALSE(unpack_events(packed + 'x'));
}

// Many writers with transactions that overlap, and a reader that follows them: it passes nobody.
TEST_P(OutboxTest, NoCommitIsPassedOverWhileManyWrite) {
  constexpr int kWriters = 4;
  constexpr int kEach = 80;
  ASSERT_TRUE(outbox.add_consumer("x"));
  std::vector<std::thread> writers;
  std::atomic<int> left = kWriters;
  for (int writer = 0; writer < kWriters; ++writer) {
    writers.emplace_back([&, writer] {
      for (int i = 0; i < kEach; ++i) {
        Event one = event();
        one.identifiers = {{"run_id", std::to_string(writer) + "-" + std::to_string(i)}};
        std::ignore = database->write_and_wait([&](db::Transaction& tx) { return publish(tx, scope, one); });
      }
      --left;
    });
  }
  std::map<std::string, int> last;
  std::set<std::string> seen;
  for (bool done = false; !done;) {
    done = left == 0;
    for (;;) {
      const auto batch = outbox.next("x");
      ASSERT_TRUE(batch) << batch.error().message();
      if (batch->rows.empty()) break;
      for (const OutboxRow& row : batch->rows) {
        const std::string& id = row.events[0].identifiers[0].value;
        EXPECT_TRUE(seen.insert(id).second) << id;
        const std::string writer = id.substr(0, id.find('-'));
        const int number = std::stoi(id.substr(id.find('-') + 1));
        EXPECT_EQ(number, last[writer]++) << id;
      }
      ASSERT_TRUE(outbox.advance("x", batch->end));
    }
  }
  for (std::thread& writer : writers) writer.join();
  EXPECT_EQ(seen.size(), static_cast<std::size_t>(kWriters * kEach));
}

// PostgreSQL alone has transactions beside each other: one takes its number first and commits last.
TEST_P(OutboxTest, ATransactionThatIsStillOpenHoldsBackWhatCameBehindIt) {
  if (GetParam() == db::Dialect::kSqlite) return;
  ASSERT_TRUE(outbox.add_consumer("x"));
  std::promise<void> is_open;
  std::promise<void> may_end;
  std::promise<Result<void>> ended;
  int runs = 0;
  const auto replica = open();
  replica->write(
      [&](db::Transaction& tx) -> Result<void> {
        if (auto done = publish(tx, scope, event("early")); !done) return done;
        // An event is sent with what comes next: it has its number once something behind it is answered.
        std::int64_t one = 0;
        if (auto found = tx.fetch("SELECT 1", {}, one); !found) return std::unexpected(found.error());
        if (runs++ == 0) {
          is_open.set_value();
          may_end.get_future().wait();
        }
        return {};
      },
      db::Database::Done<void>([&](Result<void> done) { ended.set_value(std::move(done)); }));
  is_open.get_future().wait();
  send({event("late")});
  const auto held_back = outbox.next("x");
  may_end.set_value();
  ASSERT_TRUE(ended.get_future().get());
  EXPECT_TRUE(held_back->rows.empty());
  EXPECT_EQ(types(*outbox.next("x")), (std::vector<std::string>{"early", "late"}));
}

TEST_P(OutboxTest, AClusterThatCountsFromLowerDownPassesNothingOver) {
  ASSERT_TRUE(outbox.add_consumer("x"));
  send({event("delivered")});
  send({event("waiting")});
  ASSERT_TRUE(outbox.advance("x", outbox.next("x")->rows[0].cursor));
  if (GetParam() == db::Dialect::kPostgres) {
    // As if the rows came from a cluster that was far ahead.
    ASSERT_TRUE(database->write_and_wait([&](db::Transaction& tx) -> Result<std::int64_t> {
      auto moved = tx.execute("UPDATE outbox SET transaction_id = transaction_id + 1000000");
      if (!moved) return moved;
      return tx.execute("UPDATE outbox_consumers SET transaction_id = transaction_id + 1000000");
    }));
  }
  ASSERT_TRUE(outbox.recover());
  send({event("new")});
  EXPECT_EQ(types(*outbox.next("x")), (std::vector<std::string>{"waiting", "new"}));
}

}  // namespace
}  // namespace fettle::ledger
