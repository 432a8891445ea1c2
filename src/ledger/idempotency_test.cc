#include "ledger/idempotency.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "db/database.h"
#include "ledger/ledger_for_test.h"

namespace fettle::ledger {
namespace {

class IdempotencyTest : public LedgerTest {
 protected:
  Result<Begun> begin_at(UnixNanos now, std::string_view fingerprint, const IdempotencyKey& which, const Scope& whose) {
    return database->write_and_wait([&](db::Transaction& tx) { return begin(tx, whose, which, fingerprint, now); });
  }
  Result<Begun> begin_now(std::string_view fingerprint) { return begin_at(clock.now(), fingerprint, request, scope); }
  Result<void> finish_now(std::string_view fingerprint, const StoredAnswer& answer) {
    return database->write_and_wait(
        [&](db::Transaction& tx) { return finish(tx, scope, request, fingerprint, answer); });
  }
  const IdempotencyKey request{.actor = "token-1", .method = "POST", .path = "/api/v1/runs", .key = "k1"};
};
FETTLE_FOR_BOTH_STORES(IdempotencyTest);

TEST_P(IdempotencyTest, TheSameRequestIsAnsweredAgain) {
  ASSERT_EQ(begin_now("f1")->state, IdempotencyState::kFirst);
  const std::string bytes("{\"id\":1}\0\xff", 10);
  ASSERT_TRUE(finish_now("f1", {.status = 201, .headers = "location: /x", .body = bytes}));
  const auto again = begin_now("f1");
  ASSERT_EQ(again->state, IdempotencyState::kReplay);
  EXPECT_EQ(again->answer.status, 201);
  EXPECT_EQ(again->answer.headers, "location: /x");
  EXPECT_EQ(again->answer.body, bytes);
}

TEST_P(IdempotencyTest, AnotherPayloadIsAConflictThatShowsBothHashes) {
  ASSERT_TRUE(begin_now("f1"));
  ASSERT_TRUE(finish_now("f1", {.status = 201, .headers = "", .body = ""}));
  const auto other = begin_now("f2");
  EXPECT_EQ(other->state, IdempotencyState::kConflict);
  EXPECT_EQ(other->stored_fingerprint, "f1");
  EXPECT_EQ(other->given_fingerprint, "f2");
}

TEST_P(IdempotencyTest, WhileTheFirstRunsOthersWaitAndAfterItsTimeOneTakesOver) {
  ASSERT_TRUE(begin_now("f1"));
  const auto second = begin_now("f1");
  EXPECT_EQ(second->state, IdempotencyState::kRunning);
  EXPECT_EQ(second->retry_after, std::chrono::seconds(60));
  clock.advance(std::chrono::seconds(60));
  const auto third = begin_now("f1");
  EXPECT_EQ(third->state, IdempotencyState::kFirst);
  EXPECT_TRUE(third->recovered);
  EXPECT_EQ(begin_now("f1")->state, IdempotencyState::kRunning);
}

TEST_P(IdempotencyTest, KeysAreApartByActorMethodPathAndWorkspace) {
  ASSERT_TRUE(begin_now("f1"));
  for (const IdempotencyKey& other : {IdempotencyKey{"token-2", "POST", "/api/v1/runs", "k1"},
                                      IdempotencyKey{"token-1", "PATCH", "/api/v1/runs", "k1"},
                                      IdempotencyKey{"token-1", "POST", "/api/v1/run", "sk1"},
                                      IdempotencyKey{"token-1", "POST", "/api/v1/runs", "k2"}}) {
    EXPECT_EQ(begin_at(clock.now(), "f1", other, scope)->state, IdempotencyState::kFirst) << other.key;
  }
  EXPECT_EQ(begin_at(clock.now(), "f1", request, {.workspace = {"other"}, .clients = {}})->state,
            IdempotencyState::kFirst);
}

TEST_P(IdempotencyTest, KeyAndEffectGoTogetherWhenTheBodyFails) {
  const auto failed = database->write_and_wait([&](db::Transaction& tx) -> Result<void> {
    if (auto begun = begin(tx, scope, request, "f1", clock.now()); !begun) return std::unexpected(begun.error());
    return fail(ErrorCode::kInternal, "the effect failed");
  });
  EXPECT_FALSE(failed);
  EXPECT_EQ(begin_now("f1")->state, IdempotencyState::kFirst);
}

TEST_P(IdempotencyTest, AForgottenKeyMayBeUsedWithAnotherPayload) {
  ASSERT_TRUE(begin_now("f1"));
  ASSERT_TRUE(database->write_and_wait([&](db::Transaction& tx) { return forget(tx, scope, request, "f1"); }));
  EXPECT_EQ(begin_now("f2")->state, IdempotencyState::kFirst);
}

TEST_P(IdempotencyTest, FinishingTwiceOrWithoutABeginningIsAConflict) {
  EXPECT_EQ(finish_now("f1", {}).error().code(), ErrorCode::kConflict);
  ASSERT_TRUE(begin_now("f1"));
  ASSERT_TRUE(finish_now("f1", {.status = 200, .headers = "", .body = ""}));
  EXPECT_EQ(finish_now("f1", {}).error().code(), ErrorCode::kConflict);
}

TEST_P(IdempotencyTest, AnExpiredKeyIsNewAndIsPurged) {
  ASSERT_TRUE(begin_now("f1"));
  ASSERT_TRUE(finish_now("f1", {.status = 200, .headers = "", .body = ""}));
  const auto purge = [&] {
    return database->write_and_wait([&](db::Transaction& tx) { return purge_idempotency_keys(tx, clock.now()); });
  };
  EXPECT_EQ(*purge(), 0);
  clock.advance(std::chrono::hours(24));
  const auto again = begin_now("f2");
  EXPECT_EQ(again->state, IdempotencyState::kFirst);
  EXPECT_FALSE(again->recovered);
  clock.advance(std::chrono::hours(24));
  EXPECT_EQ(*purge(), 1);
  EXPECT_EQ(*purge(), 0);
}

TEST_P(IdempotencyTest, LimitsAreSaid) {
  IdempotencyKey wrong = request;
  wrong.key.clear();
  EXPECT_EQ(begin_at(clock.now(), "f1", wrong, scope).error().code(), ErrorCode::kInvalidArgument);
  wrong.key.assign(256, 'k');
  EXPECT_EQ(begin_at(clock.now(), "f1", wrong, scope).error().code(), ErrorCode::kInvalidArgument);
  ASSERT_TRUE(begin_now("f1"));
  EXPECT_EQ(finish_now("f1", {.status = 200, .headers = "", .body = std::string(kStoredAnswerBytesMax + 1, 'x')})
                .error()
                .code(),
            ErrorCode::kTooLarge);
}

TEST_P(IdempotencyTest, OfManyAtOnceOneIsFirstAndTheOthersAreReplays) {
  std::atomic<int> firsts = 0;
  std::atomic<int> replays = 0;
  std::vector<std::thread> threads;
  IdempotencyCounters counters(store.registry);
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      const auto state = database->write_and_wait([&](db::Transaction& tx) -> Result<IdempotencyState> {
        auto begun = begin(tx, scope, request, "f1", clock.now());
        if (!begun) return std::unexpected(begun.error());
        if (begun->state != IdempotencyState::kFirst) return begun->state;
        if (auto kept = finish(tx, scope, request, "f1", {.status = 200, .headers = "", .body = "x"}); !kept) {
          return std::unexpected(kept.error());
        }
        return IdempotencyState::kFirst;
      });
      if (!state) return;
      counters.count(*state);
      if (*state == IdempotencyState::kFirst) ++firsts;
      if (*state == IdempotencyState::kReplay) ++replays;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(firsts, 1);
  EXPECT_EQ(replays, 7);
  EXPECT_EQ(store.registry.counter("idempotency_replay_total", "").value(), 7);
  EXPECT_EQ(store.registry.counter("idempotency_conflict_total", "").value(), 0);
}

}  // namespace
}  // namespace fettle::ledger
