#include "notify/delivery.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <utility>

#include "core/ids.h"
#include "core/json.h"
#include "ledger/hash.h"

namespace fettle::notify {
namespace {

constexpr std::int32_t kPageRowsMax = 1'000;
constexpr std::int32_t kAttemptsShown = 100;
constexpr std::size_t kInsertRows = 500;
constexpr std::string_view kTestType = "webhook.test";

bool is_json_object(std::string_view text) {
  boost::system::error_code error;
  boost::json::stream_parser parser;
  parser.write(text.data(), text.size(), error);
  if (!error) parser.finish(error);
  return !error && parser.release().is_object();
}

std::string delivery_id_of(std::string_view subscription_id, std::string_view event_id) {
  return "dlv_" + ledger::to_hex(ledger::sha256({subscription_id, ".", event_id})).substr(0, 24);
}

// What every read of a delivery selects, in the order of read_delivery().
#define FETTLE_DELIVERY                                                                                    \
  "id, subscription_id, event_id, event_type, state, reason, attempts, created_at, next_at, finished_at, " \
  "last_status, "                                                                                          \
  "last_latency_ms, last_error, last_excerpt"

Result<Delivery> read_delivery(const db::Row& row) {
  Delivery out;
  std::int32_t state = 0;
  UnixNanos next_at = 0;
  if (auto read =
          row.into(out.id, out.subscription_id, out.event_id, out.event_type, state, out.reason, out.attempts,
                   out.created_at, next_at, out.finished_at, out.status, out.latency_ms, out.error, out.excerpt);
      !read) {
    return std::unexpected(std::move(read).error());
  }
  out.state = static_cast<DeliveryState>(state);
  if (out.state == DeliveryState::kPending) out.next_attempt_at = next_at;
  return out;
}

}  // namespace

std::string_view to_string(DeliveryState state) {
  switch (state) {
    case DeliveryState::kPending: return "pending";
    case DeliveryState::kDelivered: return "delivered";
    case DeliveryState::kDead: return "dead";
  }
  return "unknown";
}

std::optional<DeliveryState> delivery_state_named(std::string_view name) {
  for (const DeliveryState state : {DeliveryState::kPending, DeliveryState::kDelivered, DeliveryState::kDead}) {
    if (to_string(state) == name) return state;
  }
  return std::nullopt;
}

std::string event_id_of(const ledger::OutboxRow& row, std::size_t index) {
  const ledger::Event& event = row.events[index];
  // Lengths in front of what varies, so that no two events are written the same.
  std::string text = fmt::format("{}.{} {} {} {} {}", row.cursor.id, index, event.at, row.workspace.value, event.type,
                                 event.identifiers.size());
  for (const ledger::Identifier& identifier : event.identifiers) {
    fmt::format_to(std::back_inserter(text), " {} {} {}", identifier.name, identifier.value.size(), identifier.value);
  }
  return "evt_" + ledger::to_hex(ledger::sha256({text, "\n", event.body})).substr(0, 32);
}

std::string envelope_of(std::string_view event_id, const WorkspaceId& workspace, const ledger::Event& event) {
  std::string out = R"({"id":)";
  append_json_string(out, event_id);
  out += R"(,"type":)";
  append_json_string(out, event.type);
  fmt::format_to(std::back_inserter(out), R"(,"created_at":"{}","data":{{"workspace":)", format_rfc3339(event.at));
  append_json_string(out, workspace.value);
  out += R"(,"identifiers":{)";
  bool first = true;
  for (const ledger::Identifier& identifier : event.identifiers) {
    if (!std::exchange(first, false)) out += ',';
    append_json_string(out, identifier.name);
    out += ':';
    append_json_string(out, identifier.value);
  }
  // What does not parse would take the whole envelope with it.
  out += R"(},"details":)";
  out += is_json_object(event.body) ? std::string_view(event.body) : std::string_view("null");
  out += "}}";
  return out;
}

Result<std::int64_t> insert_deliveries(db::Transaction& tx, std::span<const NewDelivery> deliveries) {
  constexpr std::size_t kWidth = 9;
  std::int64_t inserted = 0;
  for (; !deliveries.empty(); deliveries = deliveries.subspan(std::min(kInsertRows, deliveries.size()))) {
    std::vector<std::string> ids;
    ids.reserve(kInsertRows);
    std::vector<db::Value> values;
    for (const NewDelivery& one : deliveries.first(std::min(kInsertRows, deliveries.size()))) {
      ids.push_back(delivery_id_of(one.subscription_id, one.event_id));
      for (const db::Value& value :
           {db::Value(one.workspace), db::Value(ids.back()), db::Value(one.subscription_id), db::Value(one.event_id),
            db::Value(one.event_type), db::Value(db::BlobView{one.body}), db::Value(one.at), db::Value(one.give_up_at),
            db::Value(static_cast<std::int64_t>(DeliveryState::kPending))}) {
        values.push_back(value);
      }
    }
    auto done = tx.execute_many(
        "INSERT INTO webhook_deliveries (workspace, id, subscription_id, event_id, event_type, body, state, reason, "
        "attempts, created_at, next_at, give_up_at, last_error, last_excerpt) VALUES ($1, $2, $3, $4, $5, $6, $9, '', "
        "0, $7, $7, $8, '', '') ON CONFLICT (workspace, id) DO NOTHING",
        kWidth, values);
    if (!done) return std::unexpected(std::move(done).error().within("keeping webhook deliveries"));
    inserted += *done;
  }
  return inserted;
}

Result<std::string> insert_test_delivery(db::Transaction& tx, const Scope& scope, const Change& change,
                                         std::string_view subscription_id, const std::string& event_id) {
  auto subscription = find_subscription(tx, scope, subscription_id);
  if (!subscription) return std::unexpected(std::move(subscription).error());
  if (!subscription->is_enabled) return fail(ErrorCode::kConflict, "the webhook is disabled: enable it first");
  const std::string type(kTestType);
  const std::string body = envelope_of(event_id, scope.workspace,
                                       {.type = type,
                                        .at = change.now,
                                        .identifiers = {{"webhook_id", subscription->id}},
                                        .body = R"({"message":"a test: nothing has happened"})"});
  // Nobody waits a day for a test: the first failure is its end.
  const NewDelivery one{.workspace = scope.workspace,
                        .subscription_id = subscription->id,
                        .event_id = event_id,
                        .event_type = type,
                        .body = body,
                        .at = change.now,
                        .give_up_at = change.now};
  auto inserted = insert_deliveries(tx, std::span(&one, 1));
  if (!inserted) return std::unexpected(std::move(inserted).error());
  return delivery_id_of(subscription->id, event_id);
}

Result<std::optional<DueDelivery>> find_due(db::Reader& reader, const WorkspaceId& workspace, std::string_view id,
                                            UnixNanos now) {
  DueDelivery out;
  db::Blob body, secret;
  std::optional<db::Blob> prior;
  auto found = reader.fetch(
      "SELECT d.id, d.subscription_id, d.event_id, d.body, d.attempts, d.give_up_at, s.url, s.secret, s.prior_secret, "
      "s.prior_secret_until FROM webhook_deliveries d JOIN webhook_subscriptions s ON s.workspace = d.workspace AND "
      "s.id = d.subscription_id WHERE d.workspace = $1 AND d.id = $2 AND d.state = 1 AND d.next_at <= $3 AND s.enabled "
      "= 1",
      {workspace, id, now}, out.id, out.subscription_id, out.event_id, body, out.attempts, out.give_up_at, out.url,
      secret, prior, out.prior_secret_until);
  if (!found) return std::unexpected(std::move(found).error().within("reading a webhook delivery"));
  if (!*found) return std::optional<DueDelivery>();
  out.body = std::move(body.bytes);
  out.sealed_secret = std::move(secret.bytes);
  if (prior) out.sealed_prior_secret = std::move(prior->bytes);
  return std::optional(std::move(out));
}

Result<std::vector<SubscriptionKey>> subscriptions_with_due(db::Reader& reader, UnixNanos now) {
  auto rows = reader.query(
      "SELECT s.workspace, s.id FROM webhook_subscriptions s WHERE s.enabled = 1 AND EXISTS (SELECT 1 FROM "
      "webhook_deliveries d WHERE d.workspace = s.workspace AND d.subscription_id = s.id AND d.state = 1 AND d.next_at "
      "<= $1)",
      {now});
  if (!rows) return std::unexpected(std::move(rows).error().within("looking for due webhooks"));
  std::vector<SubscriptionKey> out;
  for (const db::Row row : *rows) {
    SubscriptionKey& key = out.emplace_back();
    if (auto read = row.into(key.workspace, key.id); !read) return std::unexpected(std::move(read).error());
  }
  return out;
}

Result<std::vector<std::string>> due_deliveries(db::Reader& reader, const SubscriptionKey& of, UnixNanos now,
                                                std::int32_t rows_max) {
  auto rows = reader.query(
      "SELECT id FROM webhook_deliveries WHERE workspace = $1 AND subscription_id = $2 AND state = 1 AND next_at <= $3 "
      "ORDER BY next_at, id LIMIT $4",
      {of.workspace, of.id, now, rows_max});
  if (!rows) return std::unexpected(std::move(rows).error().within("looking for due webhooks"));
  std::vector<std::string> out;
  for (const db::Row row : *rows) {
    if (auto read = row.into(out.emplace_back()); !read) return std::unexpected(std::move(read).error());
  }
  return out;
}

Result<std::int64_t> count_pending(db::Reader& reader, const SubscriptionKey& of, std::int64_t most) {
  std::int64_t count = 0;
  auto counted = reader.fetch(
      "SELECT COUNT(*) FROM (SELECT 1 FROM webhook_deliveries WHERE workspace = $1 AND subscription_id = $2 AND state "
      "= "
      "1 LIMIT $3) AS pending",
      {of.workspace, of.id, most}, count);
  if (!counted) return std::unexpected(std::move(counted).error());
  return count;
}

Result<bool> record_attempt(db::Transaction& tx, const WorkspaceId& workspace, std::string_view subscription_id,
                            std::string_view id, const Outcome& outcome) {
  const Attempt& attempt = outcome.attempt;
  const bool is_over = outcome.state != DeliveryState::kPending;
  const std::optional<UnixNanos> finished_at = is_over ? std::optional(attempt.at) : std::nullopt;
  std::string event_type;
  auto changed = tx.fetch(
      "UPDATE webhook_deliveries SET state = $4, reason = $5, attempts = $6, next_at = $7, finished_at = $8, "
      "last_status = $9, last_latency_ms = $10, last_error = $11, last_excerpt = $12 WHERE workspace = $1 AND id = $2 "
      "AND state = 1 AND attempts = $3 RETURNING event_type",
      {workspace, id, attempt.number - 1, static_cast<std::int64_t>(outcome.state), outcome.reason, attempt.number,
       is_over ? attempt.at : outcome.next_at, finished_at, attempt.status, attempt.latency_ms, attempt.error,
       attempt.excerpt},
      event_type);
  if (!changed) return std::unexpected(std::move(changed).error().within("recording a webhook attempt"));
  if (!*changed) return false;
  auto kept = tx.execute(
      "INSERT INTO webhook_attempts (workspace, delivery_id, number, at, status, latency_ms, error, excerpt) VALUES "
      "($1, $2, $3, $4, $5, $6, $7, $8)",
      {workspace, id, attempt.number, attempt.at, attempt.status, attempt.latency_ms, attempt.error, attempt.excerpt});
  if (!kept) return std::unexpected(std::move(kept).error().within("recording a webhook attempt"));
  if (outcome.state != DeliveryState::kDead || event_type == kTestType) return true;
  auto told = ledger::publish(
      tx, {.workspace = workspace, .clients = {}},
      {.type = "webhook.dead",
       .at = attempt.at,
       .identifiers = {{"webhook_id", std::string(subscription_id)}, {"webhook_delivery_id", std::string(id)}},
       .body = fmt::format(R"({{"event_type":"{}","reason":"{}","attempts":{}}})", event_type, outcome.reason,
                           attempt.number)});
  if (!told) return std::unexpected(std::move(told).error());
  return true;
}

Result<DeliveryPage> list_deliveries(db::Reader& reader, const Scope& scope, std::string_view subscription_id,
                                     const DeliveryFilter& filter) {
  if (auto known = find_subscription(reader, scope, subscription_id); !known) {
    return std::unexpected(std::move(known).error());
  }
  std::string sql = "SELECT " FETTLE_DELIVERY " FROM webhook_deliveries WHERE workspace = $1 AND subscription_id = $2";
  std::vector<db::Value> values = {scope.workspace, subscription_id};
  if (filter.state) {
    values.emplace_back(static_cast<std::int64_t>(*filter.state));
    sql += fmt::format(" AND state = ${}", values.size());
  }
  if (!filter.cursor.empty()) {
    UnixNanos at = 0;
    const char* const end = filter.cursor.data() + filter.cursor.size();
    const auto [colon, error] = std::from_chars(filter.cursor.data(), end, at);
    if (error != std::errc() || colon == end || *colon != ':') {
      return fail(ErrorCode::kInvalidArgument, "cursor: malformed");
    }
    values.emplace_back(at);
    values.emplace_back(std::string_view(colon + 1, end));
    sql += fmt::format(" AND (created_at, id) < (${}, ${})", values.size() - 1, values.size());
  }
  const std::int32_t rows_max = std::clamp(filter.rows_max, 1, kPageRowsMax);
  values.emplace_back(rows_max + 1);
  sql += fmt::format(" ORDER BY created_at DESC, id DESC LIMIT ${}", values.size());
  auto rows = reader.query(db::Sql::assembled(sql), values);
  if (!rows) return std::unexpected(std::move(rows).error().within("listing webhook deliveries"));
  DeliveryPage page;
  for (const db::Row row : *rows) {
    if (page.deliveries.size() == static_cast<std::size_t>(rows_max)) {
      page.next = fmt::format("{}:{}", page.deliveries.back().created_at, page.deliveries.back().id);
      break;
    }
    auto one = read_delivery(row);
    if (!one) return std::unexpected(std::move(one).error());
    page.deliveries.push_back(std::move(*one));
  }
  return page;
}

Result<Delivery> find_delivery(db::Reader& reader, const Scope& scope, std::string_view subscription_id,
                               std::string_view id) {
  if (auto known = find_subscription(reader, scope, subscription_id); !known) {
    return std::unexpected(std::move(known).error());
  }
  auto rows = reader.query("SELECT " FETTLE_DELIVERY
                           " FROM webhook_deliveries WHERE workspace = $1 AND subscription_id = $2 AND id = $3",
                           {scope.workspace, subscription_id, id});
  if (!rows) return std::unexpected(std::move(rows).error().within("reading a webhook delivery"));
  if (rows->empty()) return fail(ErrorCode::kNotFound, "there is no such delivery");
  return read_delivery((*rows)[0]);
}

Result<std::vector<Attempt>> list_attempts(db::Reader& reader, const Scope& scope, std::string_view id) {
  auto rows = reader.query(
      "SELECT number, at, status, latency_ms, error, excerpt FROM webhook_attempts WHERE workspace = $1 AND "
      "delivery_id = $2 ORDER BY number DESC LIMIT $3",
      {scope.workspace, id, kAttemptsShown});
  if (!rows) return std::unexpected(std::move(rows).error().within("listing webhook attempts"));
  std::vector<Attempt> out;
  for (const db::Row row : *rows) {
    Attempt& one = out.emplace_back();
    if (auto read = row.into(one.number, one.at, one.status, one.latency_ms, one.error, one.excerpt); !read) {
      return std::unexpected(std::move(read).error());
    }
  }
  std::ranges::reverse(out);
  return out;
}

Result<Delivery> redeliver(db::Transaction& tx, const Scope& scope, const Change& change,
                           std::string_view subscription_id, std::string_view id,
                           std::chrono::milliseconds give_up_after) {
  auto subscription = find_subscription(tx, scope, subscription_id);
  if (!subscription) return std::unexpected(std::move(subscription).error());
  if (!subscription->is_enabled) return fail(ErrorCode::kConflict, "the webhook is disabled: enable it first");
  auto found = find_delivery(tx, scope, subscription_id, id);
  if (!found) return found;
  if (found->state == DeliveryState::kPending) return fail(ErrorCode::kConflict, "the delivery is pending already");
  const UnixNanos give_up_at = change.now + std::chrono::nanoseconds(give_up_after).count();
  auto changed = tx.execute(
      "UPDATE webhook_deliveries SET state = 1, reason = '', next_at = $3, give_up_at = $4, finished_at = NULL WHERE "
      "workspace = $1 AND id = $2",
      {scope.workspace, id, change.now, give_up_at});
  if (!changed) return std::unexpected(std::move(changed).error());
  ledger::AuditRecord record;
  record.at = change.now;
  record.actor_type = change.actor_type;
  record.actor_id = change.actor_id;
  record.role = change.role;
  record.request_id = change.request_id;
  record.correlation_id = change.correlation_id;
  record.trace_id = change.trace_id;
  record.span_id = change.span_id;
  record.action = "webhook.redeliver";
  record.target_type = "webhook_delivery";
  record.target_id = id;
  record.identifiers = {{"webhook_id", std::string(subscription_id)}};
  if (auto done = change.auditor.record(tx, {.workspace = scope.workspace, .clients = {}}, record); !done) {
    return std::unexpected(std::move(done).error());
  }
  found->state = DeliveryState::kPending;
  found->reason.clear();
  found->finished_at.reset();
  found->next_attempt_at = change.now;
  return found;
}

Result<std::int64_t> tidy_deliveries(db::Transaction& tx, const Upkeep& upkeep) {
  std::int64_t total = 0;
  auto ended = tx.execute(
      "UPDATE webhook_deliveries SET state = 3, reason = 'gave_up', finished_at = $1 WHERE (workspace, id) IN (SELECT "
      "d.workspace, d.id FROM webhook_subscriptions s JOIN webhook_deliveries d ON d.workspace = s.workspace AND "
      "d.subscription_id = s.id AND d.state = 1 WHERE s.enabled = 0 AND d.give_up_at < $1 LIMIT $2)",
      {upkeep.now, upkeep.rows_max});
  if (!ended) return std::unexpected(std::move(ended).error().within("ending webhook deliveries"));
  total += *ended;

  std::vector<std::pair<std::string, std::string>> gone;  // workspace, delivery
  const auto choose = [&](const db::Sql& sql, db::Params params) -> Result<void> {
    auto rows = tx.query(sql, params);
    if (!rows) return std::unexpected(std::move(rows).error().within("looking for old webhook deliveries"));
    for (const db::Row row : *rows) {
      auto& [workspace, id] = gone.emplace_back();
      if (auto read = row.into(workspace, id); !read) return read;
    }
    return {};
  };
  const std::int64_t before = upkeep.now - std::chrono::nanoseconds(upkeep.finished_keep).count();
  if (auto done = choose("SELECT workspace, id FROM webhook_deliveries WHERE finished_at < $1 ORDER BY finished_at "
                         "LIMIT $2",
                         {before, upkeep.rows_max});
      !done) {
    return std::unexpected(std::move(done).error());
  }
  if (auto done = choose("SELECT d.workspace, d.id FROM webhook_leftovers l JOIN webhook_deliveries d ON d.workspace = "
                         "l.workspace AND d.subscription_id = l.subscription_id LIMIT $1",
                         {upkeep.rows_max});
      !done) {
    return std::unexpected(std::move(done).error());
  }
  // Beyond the limit the oldest go, whatever became of them; pending ones have a limit of their own.
  if (auto done = choose(
          "SELECT d.workspace, d.id FROM webhook_subscriptions s JOIN webhook_deliveries d ON d.workspace = "
          "s.workspace "
          "AND d.subscription_id = s.id AND d.state <> 1 WHERE d.created_at < (SELECT b.created_at FROM "
          "webhook_deliveries b WHERE b.workspace = s.workspace AND b.subscription_id = s.id ORDER BY b.created_at "
          "DESC, b.id DESC LIMIT 1 OFFSET $1) LIMIT $2",
          {upkeep.finished_max, upkeep.rows_max});
      !done) {
    return std::unexpected(std::move(done).error());
  }
  auto cleaned = tx.execute(
      "DELETE FROM webhook_leftovers WHERE NOT EXISTS (SELECT 1 FROM webhook_deliveries d WHERE d.workspace = "
      "webhook_leftovers.workspace AND d.subscription_id = webhook_leftovers.subscription_id)");
  if (!cleaned) return std::unexpected(std::move(cleaned).error().within("removing webhooks"));
  std::vector<db::Value> values;
  for (const auto& [workspace, id] : gone) {
    values.emplace_back(workspace);
    values.emplace_back(id);
  }
  if (values.empty()) return total;
  auto attempts = tx.execute_many("DELETE FROM webhook_attempts WHERE workspace = $1 AND delivery_id = $2", 2, values);
  if (!attempts) return std::unexpected(std::move(attempts).error().within("removing webhook attempts"));
  auto removed = tx.execute_many("DELETE FROM webhook_deliveries WHERE workspace = $1 AND id = $2", 2, values);
  if (!removed) return std::unexpected(std::move(removed).error().within("removing webhook deliveries"));
  return total + *removed;
}

}  // namespace fettle::notify
