#include "ledger/webhook_events.h"

#include "ledger/ledger_for_test.h"

namespace fettle::ledger {
namespace {

class WebhookEventsTest : public LedgerTest {
 protected:
  Result<void> save(const Scope& whose, const WebhookEvent& event) {
    return database->write_and_wait([&](db::Transaction& tx) { return save_webhook_event(tx, whose, event); });
  }
  std::vector<std::string> ids(const Scope& whose, const WebhookEventFilter& filter) {
    const auto page = read([&](db::Reader& reader) { return find_webhook_events(reader, whose, filter); });
    EXPECT_TRUE(page) << page.error().message();
    std::vector<std::string> found;
    for (const WebhookEvent& event : page->events) found.push_back(event.id);
    return found;
  }
  WebhookEvent event(std::string id, UnixNanos received_at) {
    return {.id = std::move(id),
            .client_id = "acme",
            .trace_id = "t-1",
            .model = "account.move",
            .event_type = "write",
            .received_at = received_at,
            .processed_at = std::nullopt,
            .status = "received"};
  }
};
FETTLE_FOR_BOTH_STORES(WebhookEventsTest);

TEST_P(WebhookEventsTest, AnEventIsSavedOnceAndItsStatusFollows) {
  ASSERT_TRUE(save(scope, event("e-1", 10)));
  WebhookEvent done = event("e-1", 99);
  done.processed_at = 20;
  done.status = "processed";
  ASSERT_TRUE(save(scope, done));
  WebhookEvent late = event("e-1", 10);
  late.status = "checked";
  ASSERT_TRUE(save(scope, late));
  const auto page = read([&](db::Reader& reader) { return find_webhook_events(reader, scope, {}); });
  ASSERT_EQ(page->events.size(), 1U);
  EXPECT_EQ(page->events[0].received_at, 10);
  EXPECT_EQ(page->events[0].processed_at, 20);
  EXPECT_EQ(page->events[0].status, "checked");
}

TEST_P(WebhookEventsTest, FiltersAndPages) {
  for (int i = 1; i <= 5; ++i) ASSERT_TRUE(save(scope, event("e-" + std::to_string(i), i / 2)));
  WebhookEvent other = event("other", 100);
  other.model = "sale.order";
  other.trace_id = "t-2";
  ASSERT_TRUE(save(scope, other));
  EXPECT_EQ(ids(scope, {.trace_id = "t-2"}), (std::vector<std::string>{"other"}));
  EXPECT_EQ(ids(scope, {.model = "sale.order"}), (std::vector<std::string>{"other"}));
  EXPECT_EQ(ids(scope, {.status = "nothing"}), (std::vector<std::string>{}));
  EXPECT_EQ(ids(scope, {.from = 1, .to = 2}), (std::vector<std::string>{"e-3", "e-2"}));
  WebhookEventFilter filter{.model = "account.move", .rows_max = 2};
  std::vector<std::string> all;
  do {
    const auto page = read([&](db::Reader& reader) { return find_webhook_events(reader, scope, filter); });
    for (const WebhookEvent& found : page->events) all.push_back(found.id);
    filter.cursor = page->next;
  } while (!filter.cursor.empty());
  EXPECT_EQ(all, (std::vector<std::string>{"e-5", "e-4", "e-3", "e-2", "e-1"}));
  EXPECT_EQ(*database->write_and_wait([&](db::Transaction& tx) { return purge_webhook_events(tx, 50); }), 5);
  EXPECT_EQ(ids(scope, {}), (std::vector<std::string>{"other"}));
}

TEST_P(WebhookEventsTest, OtherClientsAndWorkspacesDoNotExist) {
  ASSERT_TRUE(save(scope, event("e-1", 10)));
  const Scope limited{.workspace = scope.workspace, .clients = {{"zenith"}}};
  EXPECT_TRUE(ids(limited, {}).empty());
  EXPECT_TRUE(ids({.workspace = {"elsewhere"}, .clients = {}}, {}).empty());
  EXPECT_EQ(save(limited, event("e-2", 10)).error().code(), ErrorCode::kPermissionDenied);
  WebhookEvent stolen = event("e-1", 10);
  stolen.client_id = "zenith";
  EXPECT_EQ(save(limited, stolen).error().code(), ErrorCode::kPermissionDenied);
  WebhookEvent nameless = event("", 1);
  EXPECT_EQ(save(scope, nameless).error().code(), ErrorCode::kInvalidArgument);
  WebhookEvent large = event("x", 1);
  large.status.assign(257, 'x');
  EXPECT_EQ(save(scope, large).error().code(), ErrorCode::kTooLarge);
}

}  // namespace
}  // namespace fettle::ledger
