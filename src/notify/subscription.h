// Who outside is told of a workspace's events: a URL, a secret, and which events of which clients.
//
//   NewSubscription made{.id = make_identifier("whk_", rng), .url = url, .event_types = {"run.*"}, …};
//   database.write([=](db::Transaction& tx) { return create_subscription(tx, scope, change, made); }, …);
//
// The functions run inside a transaction of the caller and may run more than once: identifiers and secrets are made
// outside. Whoever is limited to some clients sees and makes only subscriptions that are limited to clients among them;
// others do not exist for them (kNotFound). Every change is audited with its transaction; audits name a URL's origin
// and hash alone, since the rest of it may be a secret.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.h"
#include "core/error.h"
#include "core/rng.h"
#include "core/scope.h"
#include "db/transaction.h"
#include "ledger/audit.h"
#include "ledger/events.h"

namespace fettle::notify {

constexpr std::size_t kSubscriptionsMax = 32;  // of a workspace
constexpr std::size_t kEventTypesMax = 32;
constexpr std::size_t kClientsMax = 1'000;
constexpr std::size_t kDescriptionBytesMax = 256;

// Who changes what and when, for audits.
struct Change {
  const ledger::Auditor& auditor;  // outlives every transaction that uses it
  UnixNanos now = 0;
  std::string actor_type = "system";
  std::string actor_id = "fettle";
  std::string role = {};
  std::string request_id = {};
  std::string correlation_id = {};
  std::string trace_id = {};
  std::string span_id = {};
};

struct Subscription {
  std::string id;
  std::string url;
  std::string description;
  std::vector<std::string> event_types;  // "run.succeeded", "run.*" or "*"; at least one
  std::vector<ClientId> clients;         // empty: all, and events of none
  bool is_enabled = true;
  std::string disabled_reason;  // "manual" or "gone" (the endpoint answered 410); empty while enabled
  std::optional<UnixNanos> disabled_at;
  std::optional<UnixNanos> prior_secret_until;  // set while two secrets sign
  std::string created_by;
  UnixNanos created_at = 0;
  UnixNanos updated_at = 0;
  std::int64_t dropped = 0;  // events for which there was no room among its deliveries
};

struct NewSubscription {
  std::string id;
  std::string url;
  std::string description = {};
  std::vector<std::string> event_types = {"*"};
  std::vector<ClientId> clients = {};
  std::string sealed_secret;
};

struct SubscriptionPatch {
  std::optional<std::string> url = {};
  std::optional<std::string> description = {};
  std::optional<std::vector<std::string>> event_types = {};
  std::optional<std::vector<ClientId>> clients = {};
  std::optional<bool> is_enabled = {};
};

// kInvalidArgument or kTooLarge names the field. The URL is checked by whoever has the client that will call it.
// kResourceExhausted beyond kSubscriptionsMax; kPermissionDenied for clients outside the scope.
Result<Subscription> create_subscription(db::Transaction& tx, const Scope& scope, const Change& change,
                                         const NewSubscription& made);
Result<Subscription> change_subscription(db::Transaction& tx, const Scope& scope, const Change& change,
                                         std::string_view id, const SubscriptionPatch& patch);
// Its deliveries go with it.
Result<void> delete_subscription(db::Transaction& tx, const Scope& scope, const Change& change, std::string_view id);
// The secret so far goes on signing beside the new one until `prior_until`; one that was still doing so ends now.
Result<Subscription> rotate_secret(db::Transaction& tx, const Scope& scope, const Change& change, std::string_view id,
                                   std::string_view sealed_secret, UnixNanos prior_until);

Result<std::vector<Subscription>> list_subscriptions(db::Reader& reader, const Scope& scope);
Result<Subscription> find_subscription(db::Reader& reader, const Scope& scope, std::string_view id);

// Those that are enabled, with their workspaces, for these workspaces.
Result<std::vector<std::pair<WorkspaceId, Subscription>>> enabled_subscriptions(db::Reader& reader,
                                                                                std::span<const WorkspaceId> of);
// By the server, in the transaction that records the answer.
Result<void> disable_subscription(db::Transaction& tx, const WorkspaceId& workspace, const Change& change,
                                  std::string_view id, std::string_view reason);

// Whether an event of that workspace goes to the subscription. Events about webhooks themselves ("webhook.") go to
// none: an endpoint that fails would be told of its failure by a delivery that fails.
bool wants(const Subscription& subscription, const WorkspaceId& workspace, const ledger::Event& event);

// `prefix` and 24 random hexadecimal digits: the identifier of a thing, no secret.
std::string make_identifier(std::string_view prefix, Rng& rng);

}  // namespace fettle::notify
