#include "notify/subscription.h"

#include "notify/webhooks_for_test.h"

namespace fettle::notify {
namespace {

class SubscriptionTest : public WebhookTest {
 protected:
  ErrorCode code_of_new(const NewSubscription& made) { return code_of_new(scope, made); }
  ErrorCode code_of_new(const Scope& whose, const NewSubscription& made) {
    const auto done = write([&](db::Transaction& tx) { return create_subscription(tx, whose, change(), made); });
    return done ? ErrorCode{} : done.error().code();
  }
  Result<Subscription> patched(const std::string& id, const SubscriptionPatch& patch) {
    return write([&](db::Transaction& tx) { return change_subscription(tx, scope, change(), id, patch); });
  }
  NewSubscription made(std::string id = "whk_x") {
    return {.id = std::move(id), .url = "https://hook.example/x?key=hidden", .sealed_secret = "sealed"};
  }
};
FETTLE_FOR_BOTH_STORES(SubscriptionTest);

TEST_P(SubscriptionTest, ASubscriptionIsKeptChangedAndRemovedAndEachIsAudited) {
  const Made one = subscribe("https://hook.example/x?key=hidden", {"run.*", "approval.decided"}, {{"acme"}});
  Subscription found = subscription(one.id);
  EXPECT_EQ(found.url, "https://hook.example/x?key=hidden");
  EXPECT_EQ(found.event_types, (std::vector<std::string>{"run.*", "approval.decided"}));
  EXPECT_EQ(found.clients, (std::vector<ClientId>{{"acme"}}));
  EXPECT_TRUE(found.is_enabled);
  EXPECT_EQ(found.created_by, "usr_1");

  ASSERT_TRUE(patched(one.id, {.event_types = {{"*"}}, .is_enabled = false}));
  found = subscription(one.id);
  EXPECT_EQ(found.event_types, (std::vector<std::string>{"*"}));
  EXPECT_FALSE(found.is_enabled);
  EXPECT_EQ(found.disabled_reason, "manual");
  EXPECT_EQ(found.disabled_at, clock.now());
  ASSERT_TRUE(patched(one.id, {.is_enabled = true}));
  EXPECT_EQ(subscription(one.id).disabled_reason, "");
  EXPECT_FALSE(subscription(one.id).disabled_at);

  ASSERT_TRUE(write([&](db::Transaction& tx) {
    return rotate_secret(tx, scope, change(), one.id, "other", clock.now() + kNanosPerDay);
  }));
  EXPECT_EQ(subscription(one.id).prior_secret_until, clock.now() + kNanosPerDay);
  ASSERT_TRUE(write([&](db::Transaction& tx) { return delete_subscription(tx, scope, change(), one.id); }));
  EXPECT_TRUE(read([&](db::Reader& reader) { return list_subscriptions(reader, scope); })->empty());
  EXPECT_EQ(patched(one.id, {.is_enabled = true}).error().code(), ErrorCode::kNotFound);

  EXPECT_EQ(audited_actions(), (std::vector<std::string>{"webhook.create", "webhook.change", "webhook.change",
                                                         "webhook.rotate_secret", "webhook.delete"}));
  const ledger::AuditPage page = find({.with_details = true});
  for (const ledger::FoundAudit& audit : page.audits) {
    EXPECT_FALSE(audit.entry.contains("hidden") || audit.details.contains("hidden")) << audit.details;
  }
}

TEST_P(SubscriptionTest, WhatCannotBeASubscriptionIsRefused) {
  NewSubscription wrong = made();
  wrong.event_types = {};
  EXPECT_EQ(code_of_new(wrong), ErrorCode::kInvalidArgument);
  for (const char* type : {"", "run*", ".*", "run.", "Run.x", "run. x", "*.run", "run.**"}) {
    wrong.event_types = {type};
    EXPECT_EQ(code_of_new(wrong), ErrorCode::kInvalidArgument) << type;
  }
  wrong = made();
  wrong.clients = {{""}};
  EXPECT_EQ(code_of_new(wrong), ErrorCode::kInvalidArgument);
  wrong = made();
  wrong.description.assign(kDescriptionBytesMax + 1, 'x');
  EXPECT_EQ(code_of_new(wrong), ErrorCode::kTooLarge);
  for (std::size_t i = 0; i < kSubscriptionsMax; ++i) {
    EXPECT_EQ(code_of_new(made("whk_" + std::to_string(i))), ErrorCode{});
  }
  EXPECT_EQ(code_of_new(made("whk_more")), ErrorCode::kResourceExhausted);
}

TEST_P(SubscriptionTest, WhoeverIsLimitedToSomeClientsHasOnlySubscriptionsOfThose) {
  const Made all = subscribe("https://hook.example/all");
  const Made acme = subscribe("https://hook.example/acme", {"*"}, {{"acme"}});
  const Made both = subscribe("https://hook.example/both", {"*"}, {{"acme"}, {"other"}});
  const Scope limited{.workspace = scope.workspace, .clients = {{"acme"}, {"third"}}};
  const auto seen = read([&](db::Reader& reader) { return list_subscriptions(reader, limited); });
  ASSERT_EQ(seen->size(), 1U);
  EXPECT_EQ(seen->front().id, acme.id);
  for (const Made& hidden : {all, both}) {
    EXPECT_EQ(read([&](db::Reader& reader) { return find_subscription(reader, limited, hidden.id); }).error().code(),
              ErrorCode::kNotFound);
    EXPECT_EQ(write([&](db::Transaction& tx) { return delete_subscription(tx, limited, change(), hidden.id); })
                  .error()
                  .code(),
              ErrorCode::kNotFound);
    EXPECT_EQ(read([&](db::Reader& reader) { return list_deliveries(reader, limited, hidden.id, {}); }).error().code(),
              ErrorCode::kNotFound);
  }
  EXPECT_EQ(code_of_new(limited, made()), ErrorCode::kPermissionDenied) << "for all clients";
  NewSubscription one = made();
  one.clients = {{"other"}};
  EXPECT_EQ(code_of_new(limited, one), ErrorCode::kPermissionDenied);
  one.clients = {{"third"}};
  EXPECT_EQ(code_of_new(limited, one), ErrorCode{});
  EXPECT_EQ(write([&](db::Transaction& tx) {
              return change_subscription(tx, limited, change(), acme.id, {.clients = std::vector<ClientId>()});
            })
                .error()
                .code(),
            ErrorCode::kPermissionDenied)
      << "widened";
  const Scope elsewhere{.workspace = {"globex"}, .clients = {}};
  EXPECT_EQ(read([&](db::Reader& reader) { return find_subscription(reader, elsewhere, all.id); }).error().code(),
            ErrorCode::kNotFound);
}

TEST_P(SubscriptionTest, EventsAreWantedByTypePrefixAndClient) {
  const auto wanted = [&](std::vector<std::string> types, std::vector<ClientId> clients, const std::string& type,
                          const std::string& client) {
    Subscription one;
    one.event_types = std::move(types);
    one.clients = std::move(clients);
    ledger::Event event{.type = type, .at = 1, .identifiers = {}, .body = {}};
    if (!client.empty()) event.identifiers = {{"client_id", client}};
    return wants(one, scope.workspace, event);
  };
  EXPECT_TRUE(wanted({"*"}, {}, "run.succeeded", ""));
  EXPECT_TRUE(wanted({"run.*"}, {}, "run.step.failed", "acme"));
  EXPECT_FALSE(wanted({"run.*"}, {}, "runner.lost", "acme"));
  EXPECT_FALSE(wanted({"run.*"}, {}, "run", "acme"));
  EXPECT_TRUE(wanted({"run.failed", "run.succeeded"}, {}, "run.succeeded", "acme"));
  EXPECT_FALSE(wanted({"run.succeeded"}, {}, "run.succeeded.late", "acme"));
  EXPECT_TRUE(wanted({"*"}, {{"acme"}}, "run.succeeded", "acme"));
  EXPECT_FALSE(wanted({"*"}, {{"acme"}}, "run.succeeded", "other"));
  EXPECT_FALSE(wanted({"*"}, {{"acme"}}, "run.succeeded", "")) << "of no client";
  EXPECT_FALSE(wanted({"*"}, {}, "webhook.dead", "")) << "about webhooks";
}

}  // namespace
}  // namespace fettle::notify
