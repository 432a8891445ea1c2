#include "notify/webhooks.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <boost/json.hpp>
#include <map>
#include <random>
#include <set>

#include "notify/webhooks_for_test.h"

namespace fettle::notify {
namespace {

using namespace std::chrono_literals;
using http::Response;

class WebhooksTest : public WebhookTest {
 protected:
  // As a receiver does it, from the secret's text.
  static std::string signature_by(const std::string& secret_text, const Received& got) {
    const std::string encoded = secret_text.substr(6);
    std::string bytes(encoded.size(), '\0');
    const int size =
        EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                        reinterpret_cast<const unsigned char*>(encoded.data()), static_cast<int>(encoded.size()));
    bytes.resize(static_cast<std::size_t>(size) - static_cast<std::size_t>(std::ranges::count(encoded, '=')));
    const std::vector<Secret> secrets = {Secret(bytes)};
    return sign_webhook(secrets, got.id, std::stoll(got.timestamp), got.body);
  }
};
FETTLE_FOR_BOTH_STORES(WebhooksTest);

TEST_P(WebhooksTest, AnEventReachesItsSubscriberOnceAndSigned) {
  const Made one = subscribe(receiver.url("/hook?token=t"));
  publish("run.succeeded", "acme");
  run();
  run();
  const auto got = receiver.got();
  ASSERT_EQ(got.size(), 1U);
  EXPECT_EQ(got[0].signature, signature_by(one.secret, got[0]));
  EXPECT_EQ(got[0].timestamp, std::to_string(clock.now() / kNanosPerSecond));
  const auto body = boost::json::parse(got[0].body);
  EXPECT_EQ(body.at("id").as_string(), got[0].id);
  EXPECT_EQ(body.at("type").as_string(), "run.succeeded");
  EXPECT_EQ(body.at("data").at("workspace").as_string(), "agency");
  EXPECT_EQ(body.at("data").at("identifiers").at("run_id").as_string(), "run_1");
  EXPECT_EQ(body.at("data").at("details").at("attempts").as_int64(), 1);
  const auto list = deliveries(one.id);
  ASSERT_EQ(list.size(), 1U);
  EXPECT_EQ(list[0].state, DeliveryState::kDelivered);
  EXPECT_EQ(list[0].attempts, 1);
  EXPECT_EQ(list[0].status, 200);
  EXPECT_EQ(list[0].excerpt, "ok");
  EXPECT_EQ(counted("delivered"), 1);
}

TEST_P(WebhooksTest, EachSubscriberGetsWhatItAskedForAndTheSameEventUnderTheSameId) {
  const Made all = subscribe(receiver.url("/all"));
  subscribe(receiver.url("/failed"), {"run.failed"});
  subscribe(receiver.url("/acme"), {"run.*"}, {{"acme"}});
  publish("run.failed", "other");
  publish("run.succeeded", "acme");
  publish("approval.approved", "acme");
  run();
  std::map<std::string, std::set<std::string>> types;
  std::map<std::string, std::set<std::string>> ids;
  for (const Received& got : receiver.got()) {
    const std::string type(boost::json::parse(got.body).at("type").as_string());
    types[got.path].insert(type);
    ids[type].insert(got.id);
  }
  EXPECT_EQ(types["/all"], (std::set<std::string>{"run.failed", "run.succeeded", "approval.approved"}));
  EXPECT_EQ(types["/failed"], (std::set<std::string>{"run.failed"}));
  EXPECT_EQ(types["/acme"], (std::set<std::string>{"run.succeeded"}));
  for (const auto& [type, its_ids] : ids) EXPECT_EQ(its_ids.size(), 1U) << type;
  EXPECT_EQ(ids.size(), 3U);
}

TEST_P(WebhooksTest, EventsOfAnotherWorkspaceGoNowhere) {
  subscribe(receiver.url());
  const Scope elsewhere{.workspace = {"globex"}, .clients = {}};
  ASSERT_TRUE(write([&](db::Transaction& tx) {
    return ledger::publish(tx, elsewhere, {.type = "run.failed", .at = clock.now(), .identifiers = {}, .body = {}});
  }));
  run();
  EXPECT_TRUE(receiver.got().empty());
}

TEST_P(WebhooksTest, AFailingEndpointIsTriedAgainUnderTheSameIdUntilItAnswers) {
  const Made one = subscribe(receiver.url());
  publish();
  for (const int status : {503, 500, 429, 408}) {
    receiver.answer_with(status, "not now");
    run();
    clock.advance(2h);
  }
  EXPECT_EQ(deliveries(one.id)[0].state, DeliveryState::kPending);
  receiver.answer_with(204);
  run();
  const auto got = receiver.got();
  ASSERT_EQ(got.size(), 5U);
  std::set<std::string> ids, bodies, timestamps;
  for (const Received& each : got) {
    ids.insert(each.id);
    bodies.insert(each.body);
    timestamps.insert(each.timestamp);
    EXPECT_EQ(each.signature, signature_by(one.secret, each));
  }
  EXPECT_EQ(ids.size(), 1U);
  EXPECT_EQ(bodies.size(), 1U);
  EXPECT_EQ(timestamps.size(), 5U);
  const Delivery done = deliveries(one.id)[0];
  EXPECT_EQ(done.state, DeliveryState::kDelivered);
  const auto history = attempts(done.id);
  ASSERT_EQ(history.size(), 5U);
  EXPECT_EQ(history[0].status, 503);
  EXPECT_EQ(history[0].excerpt, "not now");
  EXPECT_EQ(history[4].status, 204);
  EXPECT_EQ(counted("retried"), 4);
}

TEST_P(WebhooksTest, NoAttemptComesBeforeTheTimeThatTheEndpointAskedFor) {
  subscribe(receiver.url());
  receiver.answer_with(429, "", "600");
  publish();
  run();
  clock.advance(599s);
  run();
  EXPECT_EQ(receiver.got().size(), 1U);
  clock.advance(1s);
  run();
  EXPECT_EQ(receiver.got().size(), 2U);
}

TEST_P(WebhooksTest, WhatNobodyTookForADayIsDeadListedToldAndCanBeSentAgain) {
  const Made one = subscribe(receiver.url());
  ASSERT_TRUE(outbox->add_consumer("listener"));
  receiver.answer_with(503);
  publish();
  for (int i = 0; i < 40 && deliveries(one.id, DeliveryState::kDead).empty(); ++i) {
    run();
    clock.advance(2h);
  }
  const auto dead = deliveries(one.id, DeliveryState::kDead);
  ASSERT_EQ(dead.size(), 1U);
  EXPECT_EQ(dead[0].reason, "gave_up");
  EXPECT_FALSE(dead[0].next_attempt_at);
  // Others hear of it; no webhook does.
  const auto told = outbox->next("listener");
  ASSERT_TRUE(told);
  ASSERT_EQ(told->rows.size(), 2U);
  EXPECT_EQ(told->rows[1].events[0].type, "webhook.dead");
  const std::size_t before = receiver.got().size();
  run();
  EXPECT_EQ(receiver.got().size(), before);

  receiver.answer_with(200);
  const auto again = write([&](db::Transaction& tx) {
    return redeliver(tx, scope, change(), one.id, dead[0].id, webhooks->give_up_after());
  });
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_EQ(
      write([&](db::Transaction& tx) { return redeliver(tx, scope, change(), one.id, dead[0].id, 1h); }).error().code(),
      ErrorCode::kConflict);
  run();
  EXPECT_EQ(deliveries(one.id)[0].state, DeliveryState::kDelivered);
  EXPECT_EQ(receiver.got().back().id, receiver.got().front().id);
  EXPECT_EQ(audited_actions().back(), "webhook.redeliver");
}

TEST_P(WebhooksTest, AnAnswerThatWillNotGetBetterIsTheEndAtOnce) {
  const Made one = subscribe(receiver.url());
  for (const int status : {400, 404, 302}) {
    receiver.answer_with(status);
    publish();
    run();
  }
  clock.advance(24h);
  run();
  EXPECT_EQ(receiver.got().size(), 3U);
  const auto dead = deliveries(one.id, DeliveryState::kDead);
  ASSERT_EQ(dead.size(), 3U);
  for (const Delivery& each : dead) EXPECT_EQ(each.reason, "refused");
  EXPECT_TRUE(subscription(one.id).is_enabled);
}

TEST_P(WebhooksTest, AnEndpointThatIsGoneIsDisabledAndThatIsAudited) {
  const Made one = subscribe(receiver.url());
  receiver.answer_with(410);
  publish();
  run();
  const Subscription after = subscription(one.id);
  EXPECT_FALSE(after.is_enabled);
  EXPECT_EQ(after.disabled_reason, "gone");
  EXPECT_EQ(deliveries(one.id)[0].reason, "gone");
  publish();
  run();
  EXPECT_EQ(receiver.got().size(), 1U);
  EXPECT_EQ(deliveries(one.id).size(), 1U);
  EXPECT_EQ(audited_actions(), (std::vector<std::string>{"webhook.create", "webhook.disable"}));
}

TEST_P(WebhooksTest, AnEndpointThatHangsHoldsUpNeitherOthersNorTheOutbox) {
  make_webhooks({.senders = 8});
  subscribe(receiver.url("/hangs"));
  subscribe(receiver.url("/answers"));
  receiver.answer_with([](const Received& got) -> std::optional<Response> {
    if (got.path == "/hangs") return std::nullopt;
    return Response::make(200, "text/plain", "");
  });
  publish("run.succeeded", "acme", 6);
  ASSERT_TRUE(webhooks->round());
  std::set<std::string> answered;
  while (answered.size() < 6) {
    const auto got = receiver.arrived.take();
    ASSERT_TRUE(got) << "the other endpoint waits";
    if (got->path == "/answers") answered.insert(got->id);
  }
  const auto behind = outbox->status();
  ASSERT_TRUE(behind);
  for (const auto& consumer : *behind) EXPECT_EQ(consumer.rows_behind, 0) << consumer.name;
}

TEST_P(WebhooksTest, EndpointsThatBeginToHangTogetherLeaveSendersForOneThatAnswers) {
  make_webhooks({.senders = 8});
  for (const char* path : {"/hangs/1", "/hangs/2", "/hangs/3", "/hangs/4"}) subscribe(receiver.url(path));
  receiver.answer_with([](const Received& got) -> std::optional<Response> {
    if (got.path.starts_with("/hangs")) return std::nullopt;
    return Response::make(200, "text/plain", "");
  });
  // None of them has failed so far: all begin to hang in the same moment, with as much as they are given.
  publish("run.succeeded", "acme", 6);
  ASSERT_TRUE(webhooks->round());
  std::set<std::string> hanging;
  while (hanging.size() < 4) {
    const auto got = receiver.arrived.take();
    ASSERT_TRUE(got);
    hanging.insert(got->path);
  }
  subscribe(receiver.url("/answers"));
  publish("run.succeeded", "acme", 6);
  ASSERT_TRUE(webhooks->round());
  for (int answered = 0; answered < 6;) {
    const auto got = receiver.arrived.take();
    ASSERT_TRUE(got) << "the endpoint that answers waits";
    answered += got->path == "/answers" ? 1 : 0;
  }
}

TEST_P(WebhooksTest, AWorkspaceWhoseEndpointsAllHangLeavesHalfOfTheSendersToAnother) {
  make_webhooks({.senders = 8});
  receiver.answer_with([](const Received& got) -> std::optional<Response> {
    if (got.path.starts_with("/hangs")) return std::nullopt;
    return Response::make(200, "text/plain", "");
  });
  // A new endpoint of the workspace, and four events there.
  const auto send_in = [&](const Scope& of, const std::string& path) {
    const std::string id = make_identifier("whk_", system_rng);
    const NewSubscription made{.id = id,
                               .url = receiver.url(path),
                               .event_types = {"*"},
                               .clients = {},
                               .sealed_secret = webhooks->make_secret(of.workspace, id).sealed};
    const std::vector<ledger::Event> events(
        4, {.type = "run.succeeded", .at = clock.now(), .identifiers = {}, .body = {}});
    const auto done = write([&](db::Transaction& tx) -> Result<void> {
      if (auto created = create_subscription(tx, of, change(), made); !created) {
        return std::unexpected(created.error());
      }
      return ledger::publish(tx, of, events);
    });
    ASSERT_TRUE(done) << done.error().message();
    ASSERT_TRUE(webhooks->round());
  };
  const auto take = [&](const std::string& path, int count) {
    while (count > 0) {
      const auto got = receiver.arrived.take();
      ASSERT_TRUE(got) << path << " waits";
      count -= got->path == path ? 1 : 0;
    }
  };
  const Scope other{.workspace = {"other"}, .clients = {}};
  send_in(other, "/answers");
  take("/answers", 4);
  webhooks->drain();
  // More endpoints than there are senders.
  for (int i = 0; i < 12; ++i) send_in(scope, "/hangs");
  take("/hangs", 4);
  send_in(other, "/answers");
  take("/answers", 4 + 4);  // the first endpoint there wants them, too
}

TEST_P(WebhooksTest, WhatWasUnderWayAtAStopIsSentAgainUnderTheSameId) {
  const Made one = subscribe(receiver.url());
  receiver.answer_with([](const Received&) { return std::nullopt; });
  publish();
  ASSERT_TRUE(webhooks->round());
  const auto first = receiver.arrived.take();
  ASSERT_TRUE(first);
  reopen();
  EXPECT_EQ(deliveries(one.id)[0].attempts, 0) << "nobody knows how it ended";
  receiver.answer_with(200);
  run();
  ASSERT_EQ(receiver.got().size(), 2U);
  EXPECT_EQ(receiver.got()[1].id, first->id);
  EXPECT_EQ(receiver.got()[1].body, first->body);
}

TEST_P(WebhooksTest, KilledBetweenTheAnswerAndItsRecordTheEventIsDeliveredAgainAndNeverLost) {
  const Made one = subscribe(receiver.url());
  publish();
  receiver.answer_with([this](const Received&) {
    database->close();  // from here on nothing can be recorded
    return Response::make(200, "text/plain", "");
  });
  ASSERT_TRUE(webhooks->round());
  webhooks->drain();
  ASSERT_EQ(receiver.got().size(), 1U);
  receiver.answer_with(200);
  reopen();
  EXPECT_EQ(deliveries(one.id, DeliveryState::kPending).size(), 1U);
  run();
  const auto got = receiver.got();
  ASSERT_EQ(got.size(), 2U);
  EXPECT_EQ(got[0].id, got[1].id);
  EXPECT_EQ(deliveries(one.id, DeliveryState::kDelivered).size(), 1U);
  run();
  EXPECT_EQ(receiver.got().size(), 2U);
}

TEST_P(WebhooksTest, BothSecretsSignUntilTheOverlapEnds) {
  const Made one = subscribe(receiver.url());
  const auto fresh = webhooks->make_secret(scope.workspace, one.id);
  ASSERT_TRUE(write([&](db::Transaction& tx) {
    return rotate_secret(tx, scope, change(), one.id, fresh.sealed, clock.now() + kNanosPerDay);
  }));
  publish();
  run();
  const Received during = receiver.got().back();
  EXPECT_EQ(during.signature, signature_by(fresh.text, during) + " " + signature_by(one.secret, during));
  clock.advance(24h);
  publish();
  run();
  const Received behind = receiver.got().back();
  EXPECT_EQ(behind.signature, signature_by(fresh.text, behind));
}

TEST_P(WebhooksTest, WithoutTheServersKeyNothingIsSentAndTheListSaysWhy) {
  const Made one = subscribe(receiver.url());
  ASSERT_TRUE(write([&](db::Transaction& tx) { return rotate_secret(tx, scope, change(), one.id, "damaged", 0); }));
  publish();
  run();
  EXPECT_TRUE(receiver.got().empty());
  const Delivery waiting = deliveries(one.id)[0];
  EXPECT_EQ(waiting.state, DeliveryState::kPending);
  EXPECT_TRUE(waiting.error.contains("secret.key")) << waiting.error;
  const auto fresh = webhooks->make_secret(scope.workspace, one.id);
  ASSERT_TRUE(write([&](db::Transaction& tx) { return rotate_secret(tx, scope, change(), one.id, fresh.sealed, 0); }));
  clock.advance(1h);
  run();
  ASSERT_EQ(receiver.got().size(), 1U);
  EXPECT_EQ(receiver.got()[0].signature, signature_by(fresh.text, receiver.got()[0]));
}

TEST_P(WebhooksTest, AnEndpointBehindTheServerIsNotCalled) {
  outbound = std::make_unique<http::OutboundClient>(http::OutboundClient::Options{.allow = {}});
  make_webhooks();
  const Made one = subscribe(receiver.url());
  publish();
  run();
  EXPECT_TRUE(receiver.got().empty());
  EXPECT_TRUE(deliveries(one.id)[0].error.contains("outbound.allow")) << deliveries(one.id)[0].error;
  EXPECT_EQ(webhooks->check_url(receiver.url()).error().code(), ErrorCode::kInvalidArgument);
  EXPECT_TRUE(webhooks->check_url("https://hook.example/x"));
}

TEST_P(WebhooksTest, AnExcerptIsCutAndHoldsNoSecret) {
  const Made one = subscribe(receiver.url());
  receiver.answer_with(500, "authorization: Bearer sk-ant-api03-" + std::string(90, 'a') + "AA \xff" +
                                std::string(1, '\0') + std::string(5'000, 'y'));
  publish();
  run();
  const Delivery kept = deliveries(one.id)[0];
  EXPECT_LE(kept.excerpt.size(), kExcerptBytesMax);
  EXPECT_GT(kept.excerpt.size(), kExcerptBytesMax / 2);
  EXPECT_FALSE(kept.excerpt.contains("aaaaaaaa")) << kept.excerpt;
}

TEST_P(WebhooksTest, BeyondTheRoomOfAnEndpointEventsAreDroppedAndCounted) {
  make_webhooks({.senders = 2, .pending_max = 3});
  const Made one = subscribe(receiver.url());
  const Made other = subscribe(receiver.url("/other"), {"approval.*"});
  publish("run.succeeded", "acme", 5);
  publish("approval.approved", "acme", 1);
  EXPECT_EQ(*webhooks->take_events(), 4);
  EXPECT_EQ(deliveries(one.id).size(), 3U);
  EXPECT_EQ(deliveries(other.id).size(), 1U);
  EXPECT_EQ(subscription(one.id).dropped, 3) << "two runs and the approval";
  EXPECT_EQ(subscription(other.id).dropped, 0);
  EXPECT_EQ(counted("dropped"), 3);
  run();
  publish("run.succeeded", "acme", 2);
  run();
  EXPECT_EQ(deliveries(one.id).size(), 5U) << "there is room again";
}

TEST_P(WebhooksTest, OnlyTheLeaderTakesAndSends) {
  const Made one = subscribe(receiver.url());
  publish();
  is_leader = false;
  run();
  EXPECT_TRUE(deliveries(one.id).empty());
  is_leader = true;
  run();
  EXPECT_EQ(receiver.got().size(), 1U);
}

TEST_P(WebhooksTest, ATestDeliveryIsTriedOnceAndSaysWhatItIs) {
  const Made one = subscribe(receiver.url(), {"run.failed"});
  const auto send_test = [&](const std::string& event_id) {
    return write([&](db::Transaction& tx) { return insert_test_delivery(tx, scope, change(), one.id, event_id); });
  };
  ASSERT_TRUE(send_test("evt_test_1"));
  run();
  ASSERT_EQ(receiver.got().size(), 1U);
  EXPECT_EQ(boost::json::parse(receiver.got()[0].body).at("type").as_string(), "webhook.test");
  receiver.answer_with(503);
  const auto failing = send_test("evt_test_2");
  ASSERT_TRUE(failing);
  run();
  const auto dead = deliveries(one.id, DeliveryState::kDead);
  ASSERT_EQ(dead.size(), 1U);
  EXPECT_EQ(dead[0].id, *failing);
  ASSERT_TRUE(write(
      [&](db::Transaction& tx) { return change_subscription(tx, scope, change(), one.id, {.is_enabled = false}); }));
  EXPECT_EQ(send_test("evt_test_3").error().code(), ErrorCode::kConflict);
}

// Receivers that fail at random, a leader that changes, a ledger that is opened again: every event arrives at both.
TEST_P(WebhooksTest, EveryEventArrivesWhateverFailsOnTheWay) {
  const Made one = subscribe(receiver.url("/one"));
  const Made two = subscribe(receiver.url("/two"));
  std::mt19937 random(7);
  std::mutex mutex;
  receiver.answer_with([&](const Received&) -> std::optional<Response> {
    const std::lock_guard lock(mutex);
    constexpr int kAnswers[] = {200, 200, 503, 429, 500, 204};
    return Response::make(kAnswers[random() % std::size(kAnswers)], "text/plain", "");
  });
  constexpr int kEvents = 200;
  for (int i = 0; i < kEvents; i += 10) {
    publish("run.succeeded", "acme", 10);
    run();
    if (i == 100) reopen();
  }
  const auto pending = [&] {
    return deliveries(one.id, DeliveryState::kPending).size() + deliveries(two.id, DeliveryState::kPending).size();
  };
  for (int i = 0; i < 200 && pending() != 0; ++i) {
    clock.advance(10min);
    run();
  }
  EXPECT_EQ(pending(), 0U);
  EXPECT_EQ(deliveries(one.id, DeliveryState::kDelivered).size(), static_cast<std::size_t>(kEvents));
  EXPECT_EQ(deliveries(two.id, DeliveryState::kDelivered).size(), static_cast<std::size_t>(kEvents));
  std::map<std::string, std::set<std::string>> runs;
  for (const Received& got : receiver.got()) {
    runs[got.path].insert(
        std::string(boost::json::parse(got.body).at("data").at("identifiers").at("run_id").as_string()));
  }
  EXPECT_EQ(runs["/one"].size(), static_cast<std::size_t>(kEvents));
  EXPECT_EQ(runs["/two"].size(), static_cast<std::size_t>(kEvents));
}

}  // namespace
}  // namespace fettle::notify
