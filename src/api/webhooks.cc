// Webhooks: who outside is told of which events, how each delivery went, and another try. A secret is in the answer to
// its making and nowhere else: a repeated request with the same Idempotency-Key gets that answer without it.
#include "notify/webhooks.h"

#include "api/filters.h"
#include "api/json_object.h"
#include "api/json_reader.h"
#include "api/work.h"
#include "notify/delivery.h"
#include "notify/subscription.h"

namespace fettle::api {
namespace {

using access::Action;

constexpr std::size_t kBodyBytesMax = 512ULL * 1024;  // a thousand clients
constexpr std::size_t kUrlBytesMax = 2'048;
constexpr std::int64_t kOverlapHoursMax = 24 * 7;
constexpr std::int64_t kOverlapHours = 24;

notify::Change change_of(const Work& work, const runs::Unit& unit) {
  const runs::Actor& actor = unit.actor();
  return {.auditor = work.rooms.webhooks->auditor(),
          .now = unit.now(),
          .actor_type = actor.type,
          .actor_id = actor.id,
          .role = actor.role,
          .request_id = actor.request_id,
          .correlation_id = actor.correlation_id,
          .trace_id = actor.trace_id,
          .span_id = actor.span_id};
}

// False, and answered, when there is no ledger.
bool has_webhooks(const Work& work, Exchange& exchange) {
  if (work.rooms.webhooks != nullptr) return is_open(work, exchange);
  exchange.problem(Error(ErrorCode::kUnavailable, "the ledger is not open"));
  return false;
}

void append_subscription(std::string& out, const notify::Subscription& one, std::string_view secret = {}) {
  ObjectText object(out);
  object.text("id", one.id).text("url", one.url).text("description", one.description);
  append_array(object.key("event_types"), one.event_types, append_json_string);
  if (one.clients.empty()) {
    object.json("clients", "null");
  } else {
    append_array(object.key("clients"), one.clients,
                 [](std::string& text, const ClientId& client) { append_json_string(text, client.value); });
  }
  object.boolean("enabled", one.is_enabled).text_or_null("disabled_reason", one.disabled_reason);
  object.time("disabled_at", one.disabled_at).time("prior_secret_until", one.prior_secret_until);
  object.number("dropped", one.dropped).text("created_by", one.created_by);
  object.time("created_at", one.created_at).time("updated_at", one.updated_at);
  if (!secret.empty()) object.text("secret", secret);
  object.end();
}

Answer answer_with(int status, const notify::Subscription& one, std::string_view secret = {}) {
  Answer answer{.status = status, .body = {}};
  append_subscription(answer.body, one, secret);
  if (!secret.empty()) append_subscription(answer.stored_body.emplace(), one);
  return answer;
}

void append_outcome(ObjectText& object, const std::optional<std::int32_t>& status,
                    const std::optional<std::int64_t>& latency_ms, std::string_view error, std::string_view excerpt) {
  object.number("status", status).number("latency_ms", latency_ms);
  object.text_or_null("error", error).text_or_null("excerpt", excerpt);
}

ObjectText begin_delivery(std::string& out, const notify::Delivery& one) {
  ObjectText object(out);
  object.text("id", one.id).text("webhook_id", one.subscription_id).text("event_id", one.event_id);
  object.text("event_type", one.event_type).text("state", notify::to_string(one.state));
  object.text_or_null("reason", one.reason).number("attempts", one.attempts).time("created_at", one.created_at);
  object.time("next_attempt_at", one.next_attempt_at).time("finished_at", one.finished_at);
  append_outcome(object, one.status, one.latency_ms, one.error, one.excerpt);
  return object;
}

void append_delivery(std::string& out, const notify::Delivery& one) { begin_delivery(out, one).end(); }

void append_attempt(std::string& out, const notify::Attempt& one) {
  ObjectText object(out);
  object.number("number", one.number).time("at", one.at);
  append_outcome(object, one.status, one.latency_ms, one.error, one.excerpt);
  object.end();
}

bool reads_filters(Member& member, std::optional<std::vector<std::string>>& event_types,
                   std::optional<std::vector<ClientId>>& clients) {
  if (member.name() == "event_types" && !member.value().is_null()) {
    return member.texts("event_types", event_types.emplace(), notify::kEventTypesMax);
  }
  if (member.name() == "event_types") return true;
  if (member.name() != "clients") return false;
  std::vector<std::string> names;
  // Null is said, and says all of them.
  clients.emplace();
  if (!member.texts("clients", names, notify::kClientsMax)) return false;
  for (std::string& name : names) clients->push_back({std::move(name)});
  return true;
}

// An empty list would say "none" to whoever sends it and "all" to what reads it.
Result<void> check_clients(const std::optional<std::vector<ClientId>>& clients, simdjson::dom::element body) {
  simdjson::dom::element given;
  if (clients && clients->empty() && body["clients"].get(given) == simdjson::SUCCESS && given.is_array()) {
    return fail(ErrorCode::kInvalidArgument, "clients: null for all, or a list of at least one");
  }
  return {};
}

void list(Work& work, Exchange exchange) {
  if (!has_webhooks(work, exchange)) return;
  if (auto known = only_parameters(exchange.request().query, {}); !known) return exchange.problem(known.error());
  look(work, std::move(exchange), [](runs::View& view) -> Result<std::string> {
    auto found = notify::list_subscriptions(view.reader(), view.scope());
    if (!found) return std::unexpected(std::move(found).error());
    std::string out;
    ObjectText object(out);
    append_array(object.key("items"), *found,
                 [](std::string& text, const notify::Subscription& one) { append_subscription(text, one); });
    object.json("next_cursor", "null").end();
    return out;
  });
}

void get_one(Work& work, Exchange exchange) {
  if (!has_webhooks(work, exchange)) return;
  if (auto known = only_parameters(exchange.request().query, {}); !known) return exchange.problem(known.error());
  const std::string id = exchange.parameter("webhook_id");
  look(work, std::move(exchange), [id](runs::View& view) -> Result<std::string> {
    auto found = notify::find_subscription(view.reader(), view.scope(), id);
    if (!found) return std::unexpected(std::move(found).error());
    std::string out;
    append_subscription(out, *found);
    return out;
  });
}

void create(Work& work, Exchange exchange) {
  if (!has_webhooks(work, exchange)) return;
  auto document = JsonDocument::parse(exchange.body());
  if (!document) return exchange.problem(document.error());
  notify::NewSubscription made;
  std::optional<std::vector<std::string>> event_types;
  std::optional<std::vector<ClientId>> clients;
  const JsonPlace top;
  auto read = read_members(document->root(), top, [&](Member& member) {
    return member.text("url", made.url, kUrlBytesMax) ||
           member.text("description", made.description, notify::kDescriptionBytesMax) ||
           reads_filters(member, event_types, clients);
  });
  if (read && made.url.empty()) read = missing_member(top, "url", "where events are sent");
  if (read) read = check_clients(clients, document->root());
  if (read) read = work.rooms.webhooks->check_url(made.url);
  if (!read) return exchange.problem(read.error());
  if (event_types) made.event_types = std::move(*event_types);
  if (clients) made.clients = std::move(*clients);
  made.id = notify::make_identifier("whk_", work.rooms.webhooks->rng());
  auto secret = work.rooms.webhooks->make_secret(exchange.scope().workspace, made.id);
  made.sealed_secret = std::move(secret.sealed);
  change(work, std::move(exchange), [&work, made, secret = secret.text](runs::Unit& unit) -> Result<Answer> {
    auto done = notify::create_subscription(unit.tx(), unit.scope(), change_of(work, unit), made);
    if (!done) return std::unexpected(std::move(done).error());
    return answer_with(201, *done, secret);
  });
}

void patch(Work& work, Exchange exchange) {
  if (!has_webhooks(work, exchange)) return;
  auto document = JsonDocument::parse(exchange.body());
  if (!document) return exchange.problem(document.error());
  notify::SubscriptionPatch changes;
  const JsonPlace top;
  auto read = read_members(document->root(), top, [&](Member& member) {
    return member.text("url", changes.url, kUrlBytesMax) ||
           member.text("description", changes.description, notify::kDescriptionBytesMax) ||
           member.boolean("enabled", changes.is_enabled) || reads_filters(member, changes.event_types, changes.clients);
  });
  if (read) read = check_clients(changes.clients, document->root());
  if (read && changes.url) read = work.rooms.webhooks->check_url(*changes.url);
  if (!read) return exchange.problem(read.error());
  const std::string id = exchange.parameter("webhook_id");
  change(work, std::move(exchange), [&work, id, changes](runs::Unit& unit) -> Result<Answer> {
    auto done = notify::change_subscription(unit.tx(), unit.scope(), change_of(work, unit), id, changes);
    if (!done) return std::unexpected(std::move(done).error());
    return answer_with(200, *done);
  });
}

void remove(Work& work, Exchange exchange) {
  if (!has_webhooks(work, exchange)) return;
  const std::string id = exchange.parameter("webhook_id");
  change(work, std::move(exchange), [&work, id](runs::Unit& unit) -> Result<Answer> {
    auto done = notify::delete_subscription(unit.tx(), unit.scope(), change_of(work, unit), id);
    if (!done) return std::unexpected(std::move(done).error());
    return Answer{.status = 200, .body = "{}"};
  });
}

void rotate(Work& work, Exchange exchange) {
  if (!has_webhooks(work, exchange)) return;
  auto document = JsonDocument::parse(exchange.body());
  if (!document) return exchange.problem(document.error());
  std::int64_t hours = kOverlapHours;
  const JsonPlace top;
  auto read = read_members(document->root(), top,
                           [&](Member& member) { return member.integer("overlap_hours", hours, 0, kOverlapHoursMax); });
  if (!read) return exchange.problem(read.error());
  const std::string id = exchange.parameter("webhook_id");
  const auto secret = work.rooms.webhooks->make_secret(exchange.scope().workspace, id);
  change(work, std::move(exchange), [&work, id, hours, secret](runs::Unit& unit) -> Result<Answer> {
    const UnixNanos until = unit.now() + hours * 3'600 * kNanosPerSecond;
    auto done = notify::rotate_secret(unit.tx(), unit.scope(), change_of(work, unit), id, secret.sealed, until);
    if (!done) return std::unexpected(std::move(done).error());
    return answer_with(200, *done, secret.text);
  });
}

void test(Work& work, Exchange exchange) {
  if (!has_webhooks(work, exchange)) return;
  const std::string id = exchange.parameter("webhook_id");
  const std::string event_id = notify::make_identifier("evt_test_", work.rooms.webhooks->rng());
  change(work, std::move(exchange), [&work, id, event_id](runs::Unit& unit) -> Result<Answer> {
    auto made = notify::insert_test_delivery(unit.tx(), unit.scope(), change_of(work, unit), id, event_id);
    if (!made) return std::unexpected(std::move(made).error());
    auto delivery = notify::find_delivery(unit.tx(), unit.scope(), id, *made);
    if (!delivery) return std::unexpected(std::move(delivery).error());
    Answer answer{.status = 202, .body = {}};
    append_delivery(answer.body, *delivery);
    return answer;
  });
}

void list_deliveries(Work& work, Exchange exchange) {
  if (!has_webhooks(work, exchange)) return;
  static constexpr std::string_view kOwn[] = {"state", "cursor", "limit"};
  const http::Query& query = exchange.request().query;
  if (auto known = only_parameters(query, kOwn); !known) return exchange.problem(known.error());
  auto limit = number_parameter(query, "limit", 1, kPageRowsMax, 100);
  if (!limit) return exchange.problem(limit.error());
  notify::DeliveryFilter filter{.cursor = std::string(query.get("cursor")),
                                .rows_max = static_cast<std::int32_t>(*limit)};
  if (const std::string_view state = query.get("state"); !state.empty()) {
    filter.state = notify::delivery_state_named(state);
    if (!filter.state) {
      return exchange.problem(Error(ErrorCode::kInvalidArgument, "state: expected pending, delivered or dead"));
    }
  }
  const std::string id = exchange.parameter("webhook_id");
  look(work, std::move(exchange), [id, filter](runs::View& view) -> Result<std::string> {
    auto page = notify::list_deliveries(view.reader(), view.scope(), id, filter);
    if (!page) return std::unexpected(std::move(page).error());
    std::string out;
    ObjectText object(out);
    append_array(object.key("items"), page->deliveries, append_delivery);
    object.text_or_null("next_cursor", page->next).end();
    return out;
  });
}

void get_delivery(Work& work, Exchange exchange) {
  if (!has_webhooks(work, exchange)) return;
  if (auto known = only_parameters(exchange.request().query, {}); !known) return exchange.problem(known.error());
  const std::string id = exchange.parameter("webhook_id");
  const std::string delivery_id = exchange.parameter("delivery_id");
  look(work, std::move(exchange), [id, delivery_id](runs::View& view) -> Result<std::string> {
    auto delivery = notify::find_delivery(view.reader(), view.scope(), id, delivery_id);
    if (!delivery) return std::unexpected(std::move(delivery).error());
    auto attempts = notify::list_attempts(view.reader(), view.scope(), delivery_id);
    if (!attempts) return std::unexpected(std::move(attempts).error());
    std::string out;
    ObjectText object = begin_delivery(out, *delivery);
    append_array(object.key("history"), *attempts, append_attempt);
    object.end();
    return out;
  });
}

void redeliver(Work& work, Exchange exchange) {
  if (!has_webhooks(work, exchange)) return;
  const std::string id = exchange.parameter("webhook_id");
  const std::string delivery_id = exchange.parameter("delivery_id");
  change(work, std::move(exchange), [&work, id, delivery_id](runs::Unit& unit) -> Result<Answer> {
    auto done = notify::redeliver(unit.tx(), unit.scope(), change_of(work, unit), id, delivery_id,
                                  work.rooms.webhooks->give_up_after());
    if (!done) return std::unexpected(std::move(done).error());
    Answer answer{.status = 202, .body = {}};
    append_delivery(answer.body, *done);
    return answer;
  });
}

}  // namespace

void add_webhook_routes(Router& router, Work& work) {
  constexpr auto kRight = Action::kManageChannels;
  const auto with = [&work](void (*answer)(Work&, Exchange)) {
    return [&work, answer](Exchange exchange) { answer(work, std::move(exchange)); };
  };
  add_get(router, "/api/v1/webhooks", kRight, with(list));
  add_post(router, "/api/v1/webhooks", kRight, kBodyBytesMax, with(create));
  add_get(router, "/api/v1/webhooks/{webhook_id}", kRight, with(get_one));
  router.add({.method = "PATCH",
              .path = "/api/v1/webhooks/{webhook_id}",
              .right = kRight,
              .body_bytes_max = kBodyBytesMax,
              .content_types = {"application/json"},
              .handle = with(patch)});
  router.add({.method = "DELETE",
              .path = "/api/v1/webhooks/{webhook_id}",
              .right = kRight,
              .body_bytes_max = 0,
              .content_types = {},
              .handle = with(remove)});
  add_post(router, "/api/v1/webhooks/{webhook_id}/rotate-secret", kRight, kOneBytesMax, with(rotate));
  add_post(router, "/api/v1/webhooks/{webhook_id}/test", kRight, kOneBytesMax, with(test));
  add_get(router, "/api/v1/webhooks/{webhook_id}/deliveries", kRight, with(list_deliveries));
  add_get(router, "/api/v1/webhooks/{webhook_id}/deliveries/{delivery_id}", kRight, with(get_delivery));
  add_post(router, "/api/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver", kRight, kOneBytesMax,
           with(redeliver));
}

}  // namespace fettle::api
