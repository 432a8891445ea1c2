#include "notify/delivery.h"

#include <boost/json.hpp>

#include "notify/webhooks_for_test.h"

namespace fettle::notify {
namespace {

using namespace std::chrono_literals;

class DeliveryTest : public WebhookTest {
 protected:
  std::int64_t tidy(std::chrono::seconds keep, std::int64_t most) {
    const auto done = write([&](db::Transaction& tx) {
      return tidy_deliveries(tx, {.now = clock.now(), .finished_keep = keep, .finished_max = most, .rows_max = 1'000});
    });
    EXPECT_TRUE(done) << done.error().message();
    return done.value_or(-1);
  }
  std::int64_t rows_of(std::string_view table) {
    const std::string sql = "SELECT COUNT(*) FROM " + std::string(table);
    std::int64_t count = -1;
    EXPECT_TRUE(read([&](db::Reader& reader) { return reader.fetch(db::Sql::assembled(sql), {}, count); }));
    return count;
  }
};
FETTLE_FOR_BOTH_STORES(DeliveryTest);

TEST_P(DeliveryTest, AnEnvelopeCarriesWhoseEventItIsAndItsDetails) {
  const ledger::Event event{.type = "run.failed",
                            .at = 1'700'000'000'500'000'000,
                            .identifiers = {{"client_id", "ac\"me"}, {"run_id", "run_1"}},
                            .body = R"({"code":"API_TIMEOUT"})"};
  const auto value = boost::json::parse(envelope_of("evt_1", {"agency"}, event));
  EXPECT_EQ(value, boost::json::parse(R"({"id":"evt_1","type":"run.failed","created_at":"2023-11-14T22:13:20.5Z",
      "data":{"workspace":"agency","identifiers":{"client_id":"ac\"me","run_id":"run_1"},
              "details":{"code":"API_TIMEOUT"}}})"));
  ledger::Event broken = event;
  for (const char* body : {"", "[]", "{", "{}}", "{\"a\":1} x", "null"}) {
    broken.body = body;
    EXPECT_TRUE(boost::json::parse(envelope_of("evt_1", {"agency"}, broken)).at("data").at("details").is_null())
        << body;
  }
}

TEST_P(DeliveryTest, AnEventsIdIsTheSameWheneverItIsReadAndNoOtherEvents) {
  ledger::OutboxRow row{.cursor = {5, 7}, .workspace = {"agency"}, .events = {}};
  for (int i = 0; i < 2; ++i) row.events.push_back({.type = "a", .at = 1, .identifiers = {{"k", "v"}}, .body = "{}"});
  const std::string id = event_id_of(row, 0);
  EXPECT_EQ(id, event_id_of(row, 0));
  EXPECT_NE(id, event_id_of(row, 1));
  ledger::OutboxRow other = row;
  other.cursor.transaction_id = 9;  // a database that was restored counts transactions anew
  EXPECT_EQ(id, event_id_of(other, 0));
  other.events[0].at = 2;
  EXPECT_NE(id, event_id_of(other, 0)) << "a number that is used again";
  other = row;
  other.workspace = {"globex"};
  EXPECT_NE(id, event_id_of(other, 0));
  other = row;
  other.events[0].body = "{ }";
  EXPECT_NE(id, event_id_of(other, 0));
}

TEST_P(DeliveryTest, ABatchThatIsReadAgainMakesNoSecondDelivery) {
  const Made one = subscribe(receiver.url());
  publish("run.succeeded", "acme", 3);
  EXPECT_EQ(*webhooks->take_events(), 3);
  // As after a kill between the deliveries and the consumer's step.
  ASSERT_TRUE(
      write([&](db::Transaction& tx) { return tx.execute("UPDATE outbox_consumers SET transaction_id = 0, id = 0"); }));
  EXPECT_EQ(*webhooks->take_events(), 0);
  EXPECT_EQ(deliveries(one.id).size(), 3U);
  run();
  EXPECT_EQ(receiver.got().size(), 3U);
}

TEST_P(DeliveryTest, OfTwoSendersOfOneDeliveryOnlyTheFirstIsRecorded) {
  const Made one = subscribe(receiver.url());
  publish();
  ASSERT_TRUE(webhooks->take_events());
  const std::string id = deliveries(one.id).at(0).id;
  Outcome outcome{.state = DeliveryState::kPending, .reason = {}, .next_at = clock.now() + 1, .attempt = {}};
  outcome.attempt = {.number = 1, .at = clock.now(), .status = 503, .latency_ms = 1, .error = {}, .excerpt = {}};
  const auto record = [&] {
    return write([&](db::Transaction& tx) { return record_attempt(tx, scope.workspace, one.id, id, outcome); });
  };
  EXPECT_EQ(*record(), true);
  outcome.attempt.status = 200;
  outcome.state = DeliveryState::kDelivered;
  EXPECT_EQ(*record(), false);
  EXPECT_EQ(deliveries(one.id)[0].status, 503);
  EXPECT_EQ(attempts(id).size(), 1U);
}

TEST_P(DeliveryTest, ListsGoPageByPageFromTheNewest) {
  const Made one = subscribe(receiver.url());
  publish("run.succeeded", "acme", 5);
  run();
  std::vector<std::string> seen;
  std::string cursor;
  do {
    const auto page = read(
        [&](db::Reader& reader) { return list_deliveries(reader, scope, one.id, {.cursor = cursor, .rows_max = 2}); });
    ASSERT_TRUE(page) << page.error().message();
    for (const Delivery& delivery : page->deliveries) seen.push_back(delivery.id);
    cursor = page->next;
  } while (!cursor.empty());
  ASSERT_EQ(seen.size(), 5U);
  const auto all = deliveries(one.id);
  for (std::size_t i = 0; i < 5; ++i) EXPECT_EQ(all[i].id, seen[i]);
  EXPECT_GT(all[0].created_at, all[4].created_at);
  EXPECT_EQ(deliveries(one.id, DeliveryState::kDead).size(), 0U);
  EXPECT_EQ(deliveries(one.id, DeliveryState::kDelivered).size(), 5U);
  EXPECT_EQ(
      read([&](db::Reader& reader) { return list_deliveries(reader, scope, one.id, {.cursor = "x"}); }).error().code(),
      ErrorCode::kInvalidArgument);
}

TEST_P(DeliveryTest, WhatFinishedLongAgoAndWhatIsBeyondTheLimitGoesOldestFirst) {
  const Made one = subscribe(receiver.url());
  publish("run.succeeded", "acme", 4);
  run();
  clock.advance(1h);
  publish("run.succeeded", "acme", 4);
  run();
  EXPECT_EQ(rows_of("webhook_attempts"), 8);
  EXPECT_EQ(tidy(2h, 100), 0);
  EXPECT_EQ(tidy(30min, 100), 4);
  const auto left = deliveries(one.id);
  ASSERT_EQ(left.size(), 4U);
  EXPECT_GT(left.back().created_at, kStart);
  receiver.answer_with(503);
  publish("run.succeeded", "acme", 1);
  run();
  EXPECT_EQ(tidy(2h, 2), 2);
  EXPECT_EQ(deliveries(one.id, DeliveryState::kPending).size(), 1U) << "what is pending stays";
  EXPECT_EQ(rows_of("webhook_attempts"), static_cast<std::int64_t>(deliveries(one.id).size()));
}

TEST_P(DeliveryTest, TheDeliveriesOfASubscriptionThatIsGoneGoToo) {
  const Made one = subscribe(receiver.url());
  const Made other = subscribe(receiver.url());
  publish("run.succeeded", "acme", 3);
  run();
  ASSERT_TRUE(write([&](db::Transaction& tx) { return delete_subscription(tx, scope, change(), one.id); }));
  EXPECT_EQ(tidy(24h, 100), 3);
  EXPECT_EQ(rows_of("webhook_deliveries"), 3);
  EXPECT_EQ(rows_of("webhook_attempts"), 3);
  EXPECT_EQ(tidy(24h, 100), 0);
  EXPECT_EQ(rows_of("webhook_leftovers"), 0);
  EXPECT_EQ(deliveries(other.id).size(), 3U);
}

TEST_P(DeliveryTest, WhatWaitsForADisabledEndpointEndsAfterItsTime) {
  const Made one = subscribe(receiver.url());
  receiver.answer_with(503);
  publish();
  run();
  ASSERT_TRUE(write(
      [&](db::Transaction& tx) { return change_subscription(tx, scope, change(), one.id, {.is_enabled = false}); }));
  clock.advance(23h);
  run();
  EXPECT_EQ(receiver.got().size(), 1U) << "nothing is sent to it";
  EXPECT_EQ(deliveries(one.id, DeliveryState::kPending).size(), 1U);
  clock.advance(2h);
  EXPECT_EQ(tidy(100h, 100), 1);
  ASSERT_EQ(deliveries(one.id, DeliveryState::kDead).size(), 1U);
  EXPECT_EQ(deliveries(one.id)[0].reason, "gave_up");
}

}  // namespace
}  // namespace fettle::notify
