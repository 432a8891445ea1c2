// What came in by webhook and what became of it: the `webhook_events` of the packs, written and read over the API.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/clock.h"
#include "core/error.h"
#include "core/scope.h"

namespace fettle::db {
class Reader;
class Transaction;
}  // namespace fettle::db

namespace fettle::ledger {

struct WebhookEvent {
  std::string id;  // unique within the workspace; writing it again updates processed_at and status
  std::string client_id;
  std::string trace_id;
  std::string model;
  std::string event_type;
  UnixNanos received_at = 0;
  std::optional<UnixNanos> processed_at;
  std::string status;
};

struct WebhookEventFilter {
  std::string trace_id;
  std::string model;
  std::string event_type;
  std::string status;
  std::optional<UnixNanos> from;  // received_at, inclusive
  std::optional<UnixNanos> to;    // exclusive
  std::string cursor;             // WebhookEventPage::next of the page before
  std::int32_t rows_max = 100;    // at most 1000
};

struct WebhookEventPage {
  std::vector<WebhookEvent> events;  // newest first
  std::string next;                  // empty on the last page
};

// kInvalidArgument without id or event_type, kTooLarge over 256 bytes a field, kPermissionDenied for a client outside
// `scope`, or for an id that belongs to a client outside it.
Result<void> save_webhook_event(db::Transaction& tx, const Scope& scope, const WebhookEvent& event);
Result<WebhookEventPage> find_webhook_events(db::Reader& reader, const Scope& scope, const WebhookEventFilter& filter);
// Removes at most `rows_max` events of a client. kPermissionDenied outside of scope.
Result<std::int64_t> erase_client_webhook_events(db::Transaction& tx, const Scope& scope, std::string_view client,
                                                 std::int32_t rows_max);
// Removes at most `rows_max` events received before `before`, of all workspaces; for retention.
Result<std::int64_t> purge_webhook_events(db::Transaction& tx, UnixNanos before, std::int32_t rows_max = 1000);

}  // namespace fettle::ledger
