#include "ledger/webhook_events.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "db/transaction.h"

namespace fettle::ledger {
namespace {

constexpr std::size_t kFieldBytesMax = 256;
constexpr std::int32_t kRowsMax = 1'000;

bool may_see(const Scope& scope, std::string_view client) {
  return scope.clients.empty() ||
         std::ranges::any_of(scope.clients, [&](const ClientId& id) { return id.value == client; });
}

}  // namespace

Result<void> save_webhook_event(db::Transaction& tx, const Scope& scope, const WebhookEvent& event) {
  if (event.id.empty() || event.event_type.empty()) {
    return fail(ErrorCode::kInvalidArgument, "webhook event: id and event_type are required");
  }
  for (const std::string* text :
       {&event.id, &event.client_id, &event.trace_id, &event.model, &event.event_type, &event.status}) {
    if (text->size() > kFieldBytesMax) {
      return fail(ErrorCode::kTooLarge,
                  fmt::format("webhook event: a field of {} bytes, at most {}", text->size(), kFieldBytesMax));
    }
  }
  if (!may_see(scope, event.client_id)) {
    return fail(ErrorCode::kPermissionDenied, "webhook event: the client is outside the caller's");
  }
  std::string known_client;
  auto known = tx.fetch("SELECT client_id FROM webhook_events WHERE workspace = $1 AND id = $2",
                        {scope.workspace, event.id}, known_client);
  if (!known) return std::unexpected(known.error());
  if (*known && !may_see(scope, known_client)) {
    return fail(ErrorCode::kPermissionDenied, "webhook event: the client is outside the caller's");
  }
  auto saved = tx.execute(
      "INSERT INTO webhook_events (workspace, id, client_id, trace_id, model, event_type, received_at, processed_at, "
      "status) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (workspace, id) DO UPDATE SET processed_at = "
      "COALESCE(excluded.processed_at, webhook_events.processed_at), status = excluded.status",
      {scope.workspace, event.id, event.client_id, event.trace_id, event.model, event.event_type, event.received_at,
       event.processed_at, event.status});
  if (!saved) return std::unexpected(std::move(saved).error().within("saving a webhook event"));
  return {};
}

Result<WebhookEventPage> find_webhook_events(db::Reader& reader, const Scope& scope, const WebhookEventFilter& filter) {
  std::string sql =
      "SELECT id, client_id, trace_id, model, event_type, received_at, processed_at, status FROM webhook_events WHERE "
      "workspace = $1";
  std::vector<db::Value> values = {scope.workspace};
  const auto add = [&](std::string_view condition, db::Value value) {
    values.push_back(value);
    sql += fmt::format(" AND {} ${}", condition, values.size());
  };
  if (!filter.trace_id.empty()) add("trace_id <> '' AND trace_id =", filter.trace_id);
  if (!filter.model.empty()) add("model =", filter.model);
  if (!filter.event_type.empty()) add("event_type =", filter.event_type);
  if (!filter.status.empty()) add("status =", filter.status);
  if (filter.from) add("received_at >=", *filter.from);
  if (filter.to) add("received_at <", *filter.to);
  if (!scope.clients.empty()) {
    sql += " AND client_id IN (";
    for (std::size_t i = 0; i < scope.clients.size(); ++i) {
      values.emplace_back(scope.clients[i]);
      sql += fmt::format("{}${}", i == 0 ? "" : ", ", values.size());
    }
    sql += ')';
  }
  if (!filter.cursor.empty()) {
    UnixNanos at = 0;
    const char* const end = filter.cursor.data() + filter.cursor.size();
    const auto [colon, error] = std::from_chars(filter.cursor.data(), end, at);
    if (error != std::errc() || colon == end || *colon != ':') {
      return fail(ErrorCode::kInvalidArgument, "webhook events: malformed cursor");
    }
    values.emplace_back(at);
    values.emplace_back(std::string_view(colon + 1, end));
    sql += fmt::format(" AND (received_at, id) < (${}, ${})", values.size() - 1, values.size());
  }
  const std::int32_t rows_max = std::clamp(filter.rows_max, 1, kRowsMax);
  values.emplace_back(rows_max + 1);
  sql += fmt::format(" ORDER BY received_at DESC, id DESC LIMIT ${}", values.size());
  auto rows = reader.query(db::Sql::assembled(sql), values);
  if (!rows) return std::unexpected(std::move(rows).error().within("reading webhook events"));
  WebhookEventPage page;
  for (const db::Row row : *rows) {
    if (page.events.size() == static_cast<std::size_t>(rows_max)) {
      page.next = fmt::format("{}:{}", page.events.back().received_at, page.events.back().id);
      break;
    }
    WebhookEvent& event = page.events.emplace_back();
    if (auto got = row.into(event.id, event.client_id, event.trace_id, event.model, event.event_type, event.received_at,
                            event.processed_at, event.status);
        !got) {
      return std::unexpected(got.error());
    }
  }
  return page;
}

Result<std::int64_t> erase_client_webhook_events(db::Transaction& tx, const Scope& scope, std::string_view client,
                                                 std::int32_t rows_max) {
  const bool may_see = scope.clients.empty() ||
                       std::ranges::any_of(scope.clients, [&](const ClientId& id) { return id.value == client; });
  if (!may_see) return fail(ErrorCode::kPermissionDenied, "webhook events: the client is outside the caller's");
  auto gone = tx.execute(
      "DELETE FROM webhook_events WHERE workspace = $1 AND id IN (SELECT id FROM webhook_events WHERE workspace = $1 "
      "AND client_id = $2 LIMIT $3)",
      {scope.workspace, client, rows_max});
  if (!gone) return std::unexpected(std::move(gone).error().within("erasing webhook events"));
  return *gone;
}

Result<std::int64_t> purge_webhook_events(db::Transaction& tx, UnixNanos before, std::int32_t rows_max) {
  return tx.execute(
      "DELETE FROM webhook_events WHERE (workspace, id) IN (SELECT workspace, id FROM webhook_events WHERE received_at "
      "< $1 "
      "LIMIT $2)",
      {before, rows_max});
}

}  // namespace fettle::ledger
