#include "api/work.h"

#include <fmt/format.h>

#include <iterator>
#include <memory>
#include <span>

#include "api/keyed.h"
#include "api/problem.h"
#include "core/json.h"
#include "http/message.h"

namespace fettle::api {

bool is_open(const Work& work, Exchange& exchange) {
  if (work.rooms.runs != nullptr) return true;
  exchange.problem(Error(ErrorCode::kUnavailable, "the ledger is not open"));
  return false;
}

void change(Work& work, Exchange exchange, std::move_only_function<Result<Answer>(runs::Unit&)> body, Keyed keyed) {
  if (!is_open(work, exchange)) return;
  std::optional<Key> key = keyed == Keyed::kYes ? key_of(exchange, work.clock) : std::nullopt;
  Scope scope = exchange.scope();
  runs::Actor actor = actor_of(exchange);
  work.rooms.runs->write(
      std::move(scope), std::move(actor),
      [key = std::move(key), body = std::move(body)](runs::Unit& unit) mutable -> Result<Outcome> {
        return once(unit.tx(), unit.scope(), key, [&] { return body(unit); });
      },
      runs::Runs::Done<Outcome>([&work, exchange = std::move(exchange)](Result<Outcome> outcome) mutable {
        respond(work.replays, std::move(exchange), std::move(outcome));
      }));
}

void look(Work& work, Exchange exchange, std::move_only_function<Result<std::string>(runs::View&)> body) {
  if (!is_open(work, exchange)) return;
  Scope scope = exchange.scope();
  work.rooms.runs->read(
      std::move(scope),
      [body = std::move(body)](runs::View& view) mutable -> Result<std::string> {
        auto text = body(view);
        // What the store could not answer is not an empty answer.
        if (view.failure()) return std::unexpected(*view.failure());
        return text;
      },
      runs::Runs::Done<std::string>([exchange = std::move(exchange)](Result<std::string> text) mutable {
        if (!text) return exchange.problem(text.error());
        exchange.json(std::move(*text));
      }));
}

runs::Actor actor_of(const Exchange& exchange) {
  runs::Actor actor;
  const access::Grant& grant = exchange.caller().grant;
  actor.type = access::to_string(grant.kind);
  actor.id = grant.actor_id;
  if (const auto role = access::role_of(grant)) actor.role = access::to_string(*role);
  actor.runs_ai = access::can(grant, access::Action::kRunAi).allowed;
  actor.request_id = exchange.request_id();
  const http::Headers& headers = exchange.request().headers;
  actor.correlation_id = headers.get("X-Correlation-Id").substr(0, ledger::kIdentifierValueBytesMax);
  if (const std::string_view parent = headers.get("traceparent"); parent.size() >= 55) {
    actor.trace_id = parent.substr(3, 32);
    actor.span_id = parent.substr(36, 16);
  }
  return actor;
}

bool reveals_payloads(const Exchange& exchange) {
  return access::can(exchange.caller().grant, access::Action::kReveal).allowed;
}

Result<void> check_reach(const access::Grant& caller, access::Action action, std::string_view client,
                         std::size_t count) {
  const ClientId named{std::string(client)};
  const std::span<const ClientId> clients(&named, client.empty() ? 0 : 1);
  return access::check(caller, action, {.clients = clients, .count = count});
}

void append_refusal(std::string& out, const Error& error) {
  const int status = http_status_of(error.code());
  fmt::format_to(std::back_inserter(out), R"({{"ok":false,"error":{{"type":"about:blank","title":"{}","status":{},)",
                 http::reason_phrase(status), status);
  out += R"("detail":)";
  append_json_string(out, error.message());
  out += R"(,"code":)";
  append_json_string(out, to_string(error.code()));
  // As the header Retry-After says of a request as a whole.
  if (const auto wait = error.retry_after()) {
    fmt::format_to(std::back_inserter(out), R"(,"retry_after_ms":{})", wait->count());
  }
  out += "}}";
}

namespace {

void add_with_body(Router& router, std::string_view method, std::string_view path, access::Action right,
                   std::size_t body_bytes_max, std::function<void(Exchange)> handle) {
  router.add({.method = method,
              .path = path,
              .right = right,
              .body_bytes_max = body_bytes_max,
              .content_types = {"application/json"},
              .handle = std::move(handle)});
}

void add_without_body(Router& router, std::string_view method, std::string_view path, access::Action right,
                      std::function<void(Exchange)> handle) {
  router.add({.method = method,
              .path = path,
              .right = right,
              .body_bytes_max = 0,
              .content_types = {},
              .handle = std::move(handle)});
}

}  // namespace

void add_post(Router& router, std::string_view path, access::Action right, std::size_t body_bytes_max,
              std::function<void(Exchange)> handle) {
  add_with_body(router, "POST", path, right, body_bytes_max, std::move(handle));
}

void add_put(Router& router, std::string_view path, access::Action right, std::size_t body_bytes_max,
             std::function<void(Exchange)> handle) {
  add_with_body(router, "PUT", path, right, body_bytes_max, std::move(handle));
}

void add_get(Router& router, std::string_view path, access::Action right, std::function<void(Exchange)> handle) {
  add_without_body(router, "GET", path, right, std::move(handle));
}

void add_delete(Router& router, std::string_view path, access::Action right, std::function<void(Exchange)> handle) {
  add_without_body(router, "DELETE", path, right, std::move(handle));
}

}  // namespace fettle::api
