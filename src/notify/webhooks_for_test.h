// A ledger of either store with webhooks on it, and a receiver on a real socket that answers as a test wants.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <boost/json.hpp>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "http/test_support.h"
#include "ledger/ledger_for_test.h"
#include "ledger/outbox.h"
#include "notify/schema.h"
#include "notify/signature.h"
#include "notify/webhooks.h"

namespace fettle::notify {

// What one request to a receiver held.
struct Received {
  std::string path, id, timestamp, signature, body;
};

class Receiver {
 public:
  Receiver() {
    server_.handler = [this](http::Request request, http::Responder responder) {
      Received one{.path = request.path,
                   .id = std::string(request.headers.get("webhook-id")),
                   .timestamp = std::string(request.headers.get("webhook-timestamp")),
                   .signature = std::string(request.headers.get("webhook-signature")),
                   .body = request.body};
      std::function<std::optional<http::Response>(const Received&)> how;
      {
        const std::lock_guard lock(mutex_);
        got_.push_back(one);
        how = answer_;
      }
      auto response = how(one);
      if (response) {
        std::move(responder).respond(std::move(*response));
      } else {
        held.put(std::move(responder));
      }
      arrived.put(one);
    };
    server_.start();
  }
  ~Receiver() { server_.server.stop(std::chrono::milliseconds(0)); }

  std::string url(const std::string& path = "/hook") const { return server_.url() + path; }
  // Nothing: the request hangs.
  void answer_with(std::function<std::optional<http::Response>(const Received&)> how) {
    const std::lock_guard lock(mutex_);
    answer_ = std::move(how);
  }
  void answer_with(int status, std::string body = "", std::string retry_after = "") {
    answer_with([=](const Received&) {
      auto response = http::Response::make(status, "text/plain", body);
      if (!retry_after.empty()) response.headers.set("Retry-After", retry_after);
      return response;
    });
  }
  std::vector<Received> got() const {
    const std::lock_guard lock(mutex_);
    return got_;
  }

  http::Mailbox<Received> arrived;
  http::Mailbox<http::Responder> held;

 private:
  mutable std::mutex mutex_;
  std::vector<Received> got_;
  std::function<std::optional<http::Response>(const Received&)> answer_ = [](const Received&) {
    return http::Response::make(200, "text/plain", "ok");
  };
  http::TestServer server_;  // last: it stops before what its handler uses goes
};

class WebhookTest : public ledger::LedgerTest {
 protected:
  WebhookTest() {
    const auto ready = db::migrate(*database, {&ledger::migrations(), &migrations()});
    EXPECT_TRUE(ready) << ready.error().message();
    make_webhooks();
  }
  ~WebhookTest() override {
    if (webhooks) webhooks->stop();
  }

  void make_webhooks(Webhooks::Options options = {.senders = 4}) {
    if (webhooks) webhooks->stop();
    webhooks.reset();
    outbox = std::make_unique<ledger::Outbox>(*database, clock, store.registry);
    webhooks = std::make_unique<Webhooks>(Webhooks::Rooms{.database = *database,
                                                          .outbox = *outbox,
                                                          .auditor = *auditor,
                                                          .client = *outbound,
                                                          .redactor = ledger::test_redactor(),
                                                          .box = box,
                                                          .clock = clock,
                                                          .rng = system_rng,
                                                          .metrics = store.registry,
                                                          .is_leader = [this] { return is_leader; }},
                                          options);
    webhooks->start_senders();
    const auto begun = webhooks->take_events();  // its place in the outbox is here
    EXPECT_TRUE(begun) << begun.error().message();
  }
  // As a server that starts again on the same ledger.
  void reopen() {
    if (webhooks) webhooks->stop();
    webhooks.reset();
    outbox.reset();
    sequencer.reset();
    database.reset();
    database = open();
    make_webhooks();
  }

  Change change() const { return {.auditor = *auditor, .now = clock.now(), .actor_type = "user", .actor_id = "usr_1"}; }
  template <class Body>
  auto write(Body body) {
    return database->write_and_wait(std::move(body));
  }

  struct Made {
    std::string id;
    std::string secret;  // as it was shown
  };
  Made subscribe(const std::string& url, std::vector<std::string> types = {"*"}, std::vector<ClientId> clients = {}) {
    const std::string id = make_identifier("whk_", system_rng);
    const auto secret = webhooks->make_secret(scope.workspace, id);
    const NewSubscription made{.id = id,
                               .url = url,
                               .event_types = std::move(types),
                               .clients = std::move(clients),
                               .sealed_secret = secret.sealed};
    const auto done = write([&](db::Transaction& tx) { return create_subscription(tx, scope, change(), made); });
    EXPECT_TRUE(done) << done.error().message();
    return {.id = id, .secret = secret.text};
  }
  Subscription subscription(const std::string& id) {
    auto found = read([&](db::Reader& reader) { return find_subscription(reader, scope, id); });
    EXPECT_TRUE(found) << found.error().message();
    return found ? *found : Subscription();
  }
  std::vector<Delivery> deliveries(const std::string& id, std::optional<DeliveryState> state = {}) {
    auto page = read([&](db::Reader& reader) {
      return list_deliveries(reader, scope, id, {.state = state, .cursor = {}, .rows_max = 1'000});
    });
    EXPECT_TRUE(page) << page.error().message();
    return page ? std::move(page->deliveries) : std::vector<Delivery>();
  }
  std::vector<Attempt> attempts(const std::string& delivery) {
    auto list = read([&](db::Reader& reader) { return list_attempts(reader, scope, delivery); });
    EXPECT_TRUE(list) << list.error().message();
    return list ? *list : std::vector<Attempt>();
  }

  void publish(const std::string& type = "run.succeeded", const std::string& client = "acme", int count = 1) {
    std::vector<ledger::Event> events;
    for (int i = 0; i < count; ++i) {
      events.push_back({.type = type,
                        .at = clock.now(),
                        .identifiers = {{"client_id", client}, {"run_id", "run_" + std::to_string(++published)}},
                        .body = R"({"attempts":1})"});
    }
    const auto done = write([&](db::Transaction& tx) { return ledger::publish(tx, scope, events); });
    ASSERT_TRUE(done) << done.error().message();
  }
  // One round, to its end.
  void run() {
    const auto done = webhooks->round();
    ASSERT_TRUE(done) << done.error().message();
    webhooks->drain();
  }
  double counted(const std::string& outcome) {
    return store.registry.counter("fettle_webhook_deliveries_total", "", {{"outcome", outcome}}).value();
  }
  std::vector<std::string> audited_actions() {
    chain();
    std::vector<std::string> actions;
    const ledger::AuditPage page = find({});
    for (const ledger::FoundAudit& one : page.audits) {
      actions.emplace_back(boost::json::parse(one.entry).at("action").as_string());
    }
    std::ranges::reverse(actions);
    return actions;
  }

  SystemRng system_rng;
  const SecretBox box = SecretBox::derive(Secret(std::string(32, 's'))).value();
  std::unique_ptr<http::OutboundClient> outbound = std::make_unique<http::OutboundClient>(
      http::OutboundClient::Options{.allow = {*http::Cidr::parse("127.0.0.0/8")}});
  bool is_leader = true;
  int published = 0;
  Receiver receiver;
  std::unique_ptr<ledger::Outbox> outbox;
  std::unique_ptr<Webhooks> webhooks;
};

}  // namespace fettle::notify
