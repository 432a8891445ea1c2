// What is to be told to whom, and how it went: one row for each event and subscription, one for each attempt.
//
//   pending ── 2xx ─▶ delivered ─┐
//      │ ▲                       ├─ redeliver() ─▶ pending
//      │ └── no answer, 408, 425, 429, 5xx: later
//      └──── another answer, or too late ─▶ dead ─┘
//
// A delivery keeps its event's id over all attempts and redeliveries: the receiver knows a repetition by it.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.h"
#include "core/error.h"
#include "core/scope.h"
#include "db/transaction.h"
#include "ledger/outbox.h"
#include "notify/subscription.h"

namespace fettle::notify {

enum class DeliveryState : std::uint8_t { kPending = 1, kDelivered = 2, kDead = 3 };  // stored: never renumber
std::string_view to_string(DeliveryState state);
std::optional<DeliveryState> delivery_state_named(std::string_view name);

constexpr std::size_t kExcerptBytesMax = 1'024;

struct Delivery {
  std::string id;
  std::string subscription_id;
  std::string event_id;
  std::string event_type;
  DeliveryState state = DeliveryState::kPending;
  std::string reason;  // of a dead one: "refused", "gone", "gave_up"
  std::int32_t attempts = 0;
  UnixNanos created_at = 0;
  std::optional<UnixNanos> next_attempt_at;  // of a pending one
  std::optional<UnixNanos> finished_at;
  // Of the last attempt.
  std::optional<std::int32_t> status;  // of the answer, if there was one
  std::optional<std::int64_t> latency_ms;
  std::string error;    // why there was none
  std::string excerpt;  // of the answer's body, redacted
};

struct Attempt {
  std::int32_t number = 0;
  UnixNanos at = 0;
  std::optional<std::int32_t> status;
  std::int64_t latency_ms = 0;
  std::string error;
  std::string excerpt;
};

// Unique for ever and the same whenever the event is read again: a hash of where it stands and what it says. The place
// alone would not do: a ledger that comes back from a backup uses numbers again.
std::string event_id_of(const ledger::OutboxRow& row, std::size_t index);
// {"id","type","created_at","data":{"workspace","identifiers":{…},"details":{…}|null}}
std::string envelope_of(std::string_view event_id, const WorkspaceId& workspace, const ledger::Event& event);

struct NewDelivery {
  const WorkspaceId& workspace;
  const std::string& subscription_id;
  const std::string& event_id;
  const std::string& event_type;
  const std::string& body;
  UnixNanos at = 0;  // of the first attempt; the order among those of one call
  UnixNanos give_up_at = 0;
};
// Those of an event and subscription that are there already are left as they are. How many are new.
Result<std::int64_t> insert_deliveries(db::Transaction& tx, std::span<const NewDelivery> deliveries);
// One attempt with a body of its own, of type "webhook.test"; kConflict when the subscription is disabled. The id of
// the delivery; `event_id` is made outside.
Result<std::string> insert_test_delivery(db::Transaction& tx, const Scope& scope, const Change& change,
                                         std::string_view subscription_id, const std::string& event_id);

// What a sender needs for one attempt.
struct DueDelivery {
  std::string id, subscription_id, event_id, url, body, sealed_secret;
  std::optional<std::string> sealed_prior_secret;
  std::optional<UnixNanos> prior_secret_until;
  std::int32_t attempts = 0;
  UnixNanos give_up_at = 0;
};
// None when it is no longer due, or its subscription is disabled or gone.
Result<std::optional<DueDelivery>> find_due(db::Reader& reader, const WorkspaceId& workspace, std::string_view id,
                                            UnixNanos now);

struct SubscriptionKey {
  WorkspaceId workspace;
  std::string id;
  auto operator<=>(const SubscriptionKey&) const = default;
};
// Enabled subscriptions that have something due.
Result<std::vector<SubscriptionKey>> subscriptions_with_due(db::Reader& reader, UnixNanos now);
// Ids of deliveries that are due, the longest waiting first.
Result<std::vector<std::string>> due_deliveries(db::Reader& reader, const SubscriptionKey& of, UnixNanos now,
                                                std::int32_t rows_max);
// Counted up to `most`.
Result<std::int64_t> count_pending(db::Reader& reader, const SubscriptionKey& of, std::int64_t most);

// What became of an attempt.
struct Outcome {
  DeliveryState state = DeliveryState::kPending;  // kPending: again at `next_at`
  std::string reason;
  UnixNanos next_at = 0;
  Attempt attempt;  // its number is the number of attempts with it
};
// False, and nothing is written, when somebody else has recorded an attempt meanwhile. A dead delivery is published as
// "webhook.dead".
Result<bool> record_attempt(db::Transaction& tx, const WorkspaceId& workspace, std::string_view subscription_id,
                            std::string_view id, const Outcome& outcome);

struct DeliveryFilter {
  std::optional<DeliveryState> state = {};
  std::string cursor = {};
  std::int32_t rows_max = 100;
};
struct DeliveryPage {
  std::vector<Delivery> deliveries;  // newest first
  std::string next;                  // empty at the end
};
// kNotFound for a subscription outside the scope, here and below.
Result<DeliveryPage> list_deliveries(db::Reader& reader, const Scope& scope, std::string_view subscription_id,
                                     const DeliveryFilter& filter);
Result<Delivery> find_delivery(db::Reader& reader, const Scope& scope, std::string_view subscription_id,
                               std::string_view id);
// At most the newest 100, oldest first.
Result<std::vector<Attempt>> list_attempts(db::Reader& reader, const Scope& scope, std::string_view id);
// Pending again with a time of its own; kConflict while it is pending, or while the subscription is disabled. Audited.
Result<Delivery> redeliver(db::Transaction& tx, const Scope& scope, const Change& change,
                           std::string_view subscription_id, std::string_view id,
                           std::chrono::milliseconds give_up_after);

struct Upkeep {
  UnixNanos now = 0;
  std::chrono::seconds finished_keep{0};
  std::int64_t finished_max = 0;  // of a subscription
  std::int32_t rows_max = 0;      // of each step of a call
};
// Ends what waits for a disabled endpoint beyond its time; removes what finished long ago, what is beyond the limit,
// and what belonged to subscriptions that are gone. How many rows went or ended.
Result<std::int64_t> tidy_deliveries(db::Transaction& tx, const Upkeep& upkeep);

}  // namespace fettle::notify
