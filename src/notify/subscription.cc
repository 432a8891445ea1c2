#include "notify/subscription.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <utility>

#include "core/ids.h"
#include "ledger/hash.h"
#include "ledger/outbox.h"

namespace fettle::notify {
namespace {

namespace json = boost::json;

constexpr std::size_t kEventTypeBytesMax = 64;
constexpr std::size_t kClientBytesMax = 256;
constexpr std::size_t kUrlBytesMax = 2'048;
constexpr std::string_view kManual = "manual";

// What every read of a subscription selects, in the order of read_subscription().
#define FETTLE_SUBSCRIPTION                                                                                 \
  "id, url, description, event_types, clients, enabled, disabled_reason, disabled_at, prior_secret_until, " \
  "created_by, "                                                                                            \
  "created_at, updated_at, dropped"

std::string text_of(const std::vector<std::string>& list) {
  json::array array;
  for (const std::string& one : list) array.emplace_back(one);
  return json::serialize(array);
}

std::string text_of(const std::vector<ClientId>& list) {
  json::array array;
  for (const ClientId& one : list) array.emplace_back(one.value);
  return json::serialize(array);
}

Result<std::vector<std::string>> list_of(std::string_view text) {
  boost::system::error_code error;
  const json::value value = json::parse({text.data(), text.size()}, error);
  if (error || !value.is_array()) return fail(ErrorCode::kDataLoss, "a webhook's stored list is damaged");
  std::vector<std::string> out;
  for (const json::value& one : value.get_array()) {
    if (!one.is_string()) return fail(ErrorCode::kDataLoss, "a webhook's stored list is damaged");
    out.emplace_back(one.get_string());
  }
  return out;
}

Result<Subscription> read_subscription(const db::Row& row, std::size_t first = 0) {
  Subscription out;
  std::string event_types, clients;
  const auto take = [&]<class T>(T& target) -> Result<void> {
    auto value = row.get<T>(first++);
    if (!value) return std::unexpected(std::move(value).error());
    target = std::move(*value);
    return {};
  };
  Result<void> read;
  (void)((read = take(out.id)) && (read = take(out.url)) && (read = take(out.description)) &&
         (read = take(event_types)) && (read = take(clients)) && (read = take(out.is_enabled)) &&
         (read = take(out.disabled_reason)) && (read = take(out.disabled_at)) &&
         (read = take(out.prior_secret_until)) && (read = take(out.created_by)) && (read = take(out.created_at)) &&
         (read = take(out.updated_at)) && (read = take(out.dropped)));
  if (!read) return std::unexpected(std::move(read).error());
  auto types = list_of(event_types);
  if (!types) return std::unexpected(std::move(types).error());
  out.event_types = std::move(*types);
  auto named = list_of(clients);
  if (!named) return std::unexpected(std::move(named).error());
  for (std::string& client : *named) out.clients.push_back({std::move(client)});
  return out;
}

bool may_see(const Scope& scope, const std::vector<ClientId>& clients) {
  if (scope.clients.empty()) return true;
  return !clients.empty() && std::ranges::all_of(clients, [&](const ClientId& client) {
    return std::ranges::find(scope.clients, client) != scope.clients.end();
  });
}

bool is_event_type(std::string_view type) {
  if (type == "*") return true;
  if (type.ends_with(".*")) type.remove_suffix(2);
  return !type.empty() && type.size() <= kEventTypeBytesMax && type.front() != '.' && type.back() != '.' &&
         std::ranges::all_of(
             type, [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.'; });
}

Result<void> check(const Scope& scope, const Subscription& subscription) {
  if (subscription.url.empty() || subscription.url.size() > kUrlBytesMax) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("url: must have 1 to {} bytes", kUrlBytesMax));
  }
  if (subscription.description.size() > kDescriptionBytesMax) {
    return fail(ErrorCode::kTooLarge, fmt::format("description: {} bytes, at most {}", subscription.description.size(),
                                                  kDescriptionBytesMax));
  }
  if (subscription.event_types.empty() || subscription.event_types.size() > kEventTypesMax) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("event_types: must have 1 to {} items", kEventTypesMax));
  }
  for (const std::string& type : subscription.event_types) {
    if (!is_event_type(type)) {
      return fail(ErrorCode::kInvalidArgument,
                  "event_types: an item is a type such as run.succeeded, a prefix such as run.*, or *");
    }
  }
  if (subscription.clients.size() > kClientsMax) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("clients: at most {}", kClientsMax));
  }
  for (const ClientId& client : subscription.clients) {
    if (client.value.empty() || client.value.size() > kClientBytesMax) {
      return fail(ErrorCode::kInvalidArgument, fmt::format("clients: a client has 1 to {} bytes", kClientBytesMax));
    }
  }
  if (!may_see(scope, subscription.clients)) {
    return fail(ErrorCode::kPermissionDenied, "clients: name some that you may act for, and no others");
  }
  return {};
}

// Without path and query, which may be what the receiver knows its senders by.
std::string origin_of(std::string_view url) {
  const std::size_t host = url.find("://");
  if (host == std::string_view::npos) return {};
  return std::string(url.substr(0, url.find_first_of("/?#", host + 3)));
}

std::string audited(const Subscription& subscription) {
  json::array types, clients;
  for (const std::string& type : subscription.event_types) types.emplace_back(type);
  for (const ClientId& client : subscription.clients) clients.emplace_back(client.value);
  return json::serialize(json::object{{"url_origin", origin_of(subscription.url)},
                                      {"url_sha256", ledger::to_hex(ledger::sha256(subscription.url))},
                                      {"description", subscription.description},
                                      {"event_types", std::move(types)},
                                      {"clients", std::move(clients)},
                                      {"enabled", subscription.is_enabled},
                                      {"disabled_reason", subscription.disabled_reason}});
}

Result<void> audit(db::Transaction& tx, const WorkspaceId& workspace, const Change& change, std::string_view action,
                   std::string_view id, std::string before, std::string after, std::string_view reason = {}) {
  ledger::AuditRecord record;
  record.at = change.now;
  record.actor_type = change.actor_type;
  record.actor_id = change.actor_id;
  record.role = change.role;
  record.request_id = change.request_id;
  record.correlation_id = change.correlation_id;
  record.trace_id = change.trace_id;
  record.span_id = change.span_id;
  record.action = action;
  record.target_type = "webhook";
  record.target_id = id;
  record.reason = reason;
  record.before = std::move(before);
  record.after = std::move(after);
  return change.auditor.record(tx, {.workspace = workspace, .clients = {}}, record);
}

Result<Subscription> store(db::Transaction& tx, const Scope& scope, const Change& change, std::string_view action,
                           const Subscription& before, Subscription after) {
  after.updated_at = change.now;
  auto changed = tx.execute(
      "UPDATE webhook_subscriptions SET url = $3, description = $4, event_types = $5, clients = $6, enabled = $7, "
      "disabled_reason = $8, disabled_at = $9, updated_at = $10 WHERE workspace = $1 AND id = $2",
      {scope.workspace, after.id, after.url, after.description, text_of(after.event_types), text_of(after.clients),
       after.is_enabled, after.disabled_reason, after.disabled_at, after.updated_at});
  if (!changed) return std::unexpected(std::move(changed).error());
  if (auto done =
          audit(tx, scope.workspace, change, action, after.id, audited(before), audited(after), after.disabled_reason);
      !done) {
    return std::unexpected(std::move(done).error());
  }
  return after;
}

}  // namespace

Result<Subscription> create_subscription(db::Transaction& tx, const Scope& scope, const Change& change,
                                         const NewSubscription& made) {
  Subscription out;
  out.id = made.id;
  out.url = made.url;
  out.description = made.description;
  out.event_types = made.event_types;
  out.clients = made.clients;
  out.created_by = change.actor_id;
  out.created_at = out.updated_at = change.now;
  if (auto good = check(scope, out); !good) return std::unexpected(std::move(good).error());
  std::int64_t count = 0;
  auto counted = tx.fetch("SELECT COUNT(*) FROM webhook_subscriptions WHERE workspace = $1", {scope.workspace}, count);
  if (!counted) return std::unexpected(std::move(counted).error());
  if (count >= static_cast<std::int64_t>(kSubscriptionsMax)) {
    return fail(ErrorCode::kResourceExhausted, fmt::format("a workspace has at most {} webhooks", kSubscriptionsMax));
  }
  auto inserted = tx.execute(
      "INSERT INTO webhook_subscriptions (workspace, id, url, description, event_types, clients, secret, enabled, "
      "disabled_reason, created_by, created_at, updated_at, dropped) VALUES ($1, $2, $3, $4, $5, $6, $7, 1, '', $8, "
      "$9, $9, 0)",
      {scope.workspace, out.id, out.url, out.description, text_of(out.event_types), text_of(out.clients),
       db::BlobView{made.sealed_secret}, out.created_by, change.now});
  if (!inserted) return std::unexpected(std::move(inserted).error().within("making a webhook"));
  if (auto done = audit(tx, scope.workspace, change, "webhook.create", out.id, "", audited(out)); !done) {
    return std::unexpected(std::move(done).error());
  }
  return out;
}

Result<Subscription> change_subscription(db::Transaction& tx, const Scope& scope, const Change& change,
                                         std::string_view id, const SubscriptionPatch& patch) {
  auto before = find_subscription(tx, scope, id);
  if (!before) return before;
  Subscription after = *before;
  if (patch.url) after.url = *patch.url;
  if (patch.description) after.description = *patch.description;
  if (patch.event_types) after.event_types = *patch.event_types;
  if (patch.clients) after.clients = *patch.clients;
  if (patch.is_enabled && *patch.is_enabled != after.is_enabled) {
    after.is_enabled = *patch.is_enabled;
    after.disabled_reason = after.is_enabled ? std::string_view() : kManual;
    after.disabled_at = after.is_enabled ? std::nullopt : std::optional(change.now);
  }
  if (auto good = check(scope, after); !good) return std::unexpected(std::move(good).error());
  return store(tx, scope, change, "webhook.change", *before, std::move(after));
}

Result<void> delete_subscription(db::Transaction& tx, const Scope& scope, const Change& change, std::string_view id) {
  auto before = find_subscription(tx, scope, id);
  if (!before) return std::unexpected(std::move(before).error());
  // Its deliveries, of which there may be thousands, are cleaned up behind it, some at a time.
  auto gone = tx.execute("DELETE FROM webhook_subscriptions WHERE workspace = $1 AND id = $2", {scope.workspace, id});
  if (!gone) return std::unexpected(std::move(gone).error());
  auto left =
      tx.execute("INSERT INTO webhook_leftovers (workspace, subscription_id) VALUES ($1, $2)", {scope.workspace, id});
  if (!left) return std::unexpected(std::move(left).error());
  return audit(tx, scope.workspace, change, "webhook.delete", id, audited(*before), "");
}

Result<Subscription> rotate_secret(db::Transaction& tx, const Scope& scope, const Change& change, std::string_view id,
                                   std::string_view sealed_secret, UnixNanos prior_until) {
  auto found = find_subscription(tx, scope, id);
  if (!found) return found;
  const bool overlaps = prior_until > change.now;
  auto changed = overlaps
                     ? tx.execute(
                           "UPDATE webhook_subscriptions SET prior_secret = secret, prior_secret_until = $4, secret = "
                           "$3, updated_at = $5 WHERE workspace = $1 AND id = $2",
                           {scope.workspace, id, db::BlobView{sealed_secret}, prior_until, change.now})
                     : tx.execute(
                           "UPDATE webhook_subscriptions SET prior_secret = NULL, prior_secret_until = NULL, secret = "
                           "$3, updated_at = $4 WHERE workspace = $1 AND id = $2",
                           {scope.workspace, id, db::BlobView{sealed_secret}, change.now});
  if (!changed) return std::unexpected(std::move(changed).error());
  found->prior_secret_until = overlaps ? std::optional(prior_until) : std::nullopt;
  found->updated_at = change.now;
  const std::string after =
      overlaps ? fmt::format(R"({{"prior_secret_until":"{}"}})", format_rfc3339(prior_until)) : R"({})";
  if (auto done = audit(tx, scope.workspace, change, "webhook.rotate_secret", id, "", after); !done) {
    return std::unexpected(std::move(done).error());
  }
  return found;
}

Result<std::vector<Subscription>> list_subscriptions(db::Reader& reader, const Scope& scope) {
  auto rows = reader.query("SELECT " FETTLE_SUBSCRIPTION
                           " FROM webhook_subscriptions WHERE workspace = $1 ORDER BY created_at, id",
                           {scope.workspace});
  if (!rows) return std::unexpected(std::move(rows).error().within("listing webhooks"));
  std::vector<Subscription> out;
  for (const db::Row row : *rows) {
    auto one = read_subscription(row);
    if (!one) return std::unexpected(std::move(one).error());
    if (may_see(scope, one->clients)) out.push_back(std::move(*one));
  }
  return out;
}

Result<Subscription> find_subscription(db::Reader& reader, const Scope& scope, std::string_view id) {
  auto rows = reader.query("SELECT " FETTLE_SUBSCRIPTION " FROM webhook_subscriptions WHERE workspace = $1 AND id = $2",
                           {scope.workspace, id});
  if (!rows) return std::unexpected(std::move(rows).error().within("reading a webhook"));
  if (!rows->empty()) {
    auto one = read_subscription((*rows)[0]);
    if (!one || may_see(scope, one->clients)) return one;
  }
  return fail(ErrorCode::kNotFound, "there is no such webhook");
}

Result<std::vector<std::pair<WorkspaceId, Subscription>>> enabled_subscriptions(db::Reader& reader,
                                                                                std::span<const WorkspaceId> of) {
  static constexpr db::Sql kSelect(
      "SELECT workspace, " FETTLE_SUBSCRIPTION
      " FROM webhook_subscriptions WHERE enabled = 1 AND workspace IN (SELECT value FROM json_each($1))",
      "SELECT workspace, " FETTLE_SUBSCRIPTION
      " FROM webhook_subscriptions WHERE enabled = 1 AND workspace IN (SELECT jsonb_array_elements_text(CAST($1 AS "
      "jsonb)))");
  json::array names;
  for (const WorkspaceId& workspace : of) names.emplace_back(workspace.value);
  auto rows = reader.query(kSelect, {json::serialize(names)});
  if (!rows) return std::unexpected(std::move(rows).error().within("reading webhooks"));
  std::vector<std::pair<WorkspaceId, Subscription>> out;
  for (const db::Row row : *rows) {
    auto workspace = row.get<std::string>(0);
    if (!workspace) return std::unexpected(std::move(workspace).error());
    auto one = read_subscription(row, 1);
    if (!one) return std::unexpected(std::move(one).error());
    out.emplace_back(WorkspaceId{std::move(*workspace)}, std::move(*one));
  }
  return out;
}

Result<void> disable_subscription(db::Transaction& tx, const WorkspaceId& workspace, const Change& change,
                                  std::string_view id, std::string_view reason) {
  const Scope scope{.workspace = workspace, .clients = {}};
  auto before = find_subscription(tx, scope, id);
  if (!before) return std::unexpected(std::move(before).error());
  if (!before->is_enabled) return {};
  Subscription after = *before;
  after.is_enabled = false;
  after.disabled_reason = reason;
  after.disabled_at = change.now;
  auto stored = store(tx, scope, change, "webhook.disable", *before, std::move(after));
  if (!stored) return std::unexpected(std::move(stored).error());
  return ledger::publish(tx, scope,
                         {.type = "webhook.disabled",
                          .at = change.now,
                          .identifiers = {{"webhook_id", std::string(id)}},
                          .body = fmt::format(R"({{"reason":"{}"}})", reason)});
}

bool wants(const Subscription& subscription, const WorkspaceId& workspace, const ledger::Event& event) {
  if (event.type.starts_with("webhook.")) return false;
  const bool typed = std::ranges::any_of(subscription.event_types, [&](std::string_view type) {
    if (type == "*") return true;
    // "run.*" is the prefix "run."
    return type.ends_with(".*") ? event.type.starts_with(type.substr(0, type.size() - 1)) : event.type == type;
  });
  return typed && ledger::is_visible(workspace, event, {.workspace = workspace, .clients = subscription.clients});
}

std::string make_identifier(std::string_view prefix, Rng& rng) { return std::string(prefix) + to_hex(rng.bytes(12)); }

}  // namespace fettle::notify
