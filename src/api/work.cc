#include "api/work.h"

#include <fmt/format.h>

#include <iterator>
#include <memory>
#include <span>

#include "api/problem.h"
#include "core/json.h"
#include "http/message.h"

namespace fettle::api {
namespace {

using ledger::IdempotencyState;

// The header's value is a structured-field string, quoted; many send it bare.
std::string_view unquoted(std::string_view text) {
  if (text.size() >= 2 && text.front() == '"' && text.back() == '"') text = text.substr(1, text.size() - 2);
  return text;
}

struct Outcome {
  IdempotencyState state = IdempotencyState::kFirst;
  Answer answer;
  std::string stored_fingerprint, given_fingerprint;
  std::chrono::milliseconds retry_after{0};
};

// What a keyed request is known by.
struct Key {
  ledger::IdempotencyKey key;
  std::string fingerprint;
  UnixNanos now = 0;
};

Result<Outcome> once(runs::Unit& unit, const Key& key, std::move_only_function<Result<Answer>(runs::Unit&)>& body) {
  auto begun = ledger::begin(unit.tx(), unit.scope(), key.key, key.fingerprint, key.now);
  if (!begun) return std::unexpected(std::move(begun).error());
  Outcome out;
  out.state = begun->state;
  if (begun->state == IdempotencyState::kFirst) {
    auto answer = body(unit);
    if (!answer) return std::unexpected(std::move(answer).error());
    out.answer = std::move(*answer);
    auto kept = ledger::finish(unit.tx(), unit.scope(), key.key, key.fingerprint,
                               {.status = out.answer.status,
                                .headers = {},
                                .body = out.answer.stored_body ? *out.answer.stored_body : out.answer.body});
    if (!kept) return std::unexpected(std::move(kept).error());
    return out;
  }
  out.answer = {.status = begun->answer.status, .body = std::move(begun->answer.body)};
  out.stored_fingerprint = std::move(begun->stored_fingerprint);
  out.given_fingerprint = std::move(begun->given_fingerprint);
  out.retry_after = begun->retry_after;
  return out;
}

void answer_conflict(Exchange& exchange, const Outcome& outcome) {
  std::string body = R"({"type":"about:blank","title":"Unprocessable Content","status":422,"detail":)"
                     R"("this Idempotency-Key was used with another payload","code":"idempotency_conflict",)"
                     R"("request_id":)";
  append_json_string(body, exchange.request_id());
  body += R"(,"stored_payload_sha256":)";
  append_json_string(body, outcome.stored_fingerprint);
  body += R"(,"given_payload_sha256":)";
  append_json_string(body, outcome.given_fingerprint);
  body += '}';
  exchange.respond(http::Response::make(422, "application/problem+json", std::move(body)));
}

// Refusals that are answers of their own are written without the request they belong to.
http::Response response_of(const Exchange& exchange, Answer answer) {
  if (answer.status < 400) return http::Response::make(answer.status, "application/json", std::move(answer.body));
  std::string id = R"(,"request_id":)";
  append_json_string(id, exchange.request_id());
  answer.body.insert(answer.body.size() - 1, id);
  return http::Response::make(answer.status, "application/problem+json", std::move(answer.body));
}

void answer(Work& work, Exchange exchange, Result<Outcome> outcome) {
  if (!outcome) return exchange.problem(outcome.error());
  work.replays.count(outcome->state);
  switch (outcome->state) {
    case IdempotencyState::kFirst: return exchange.respond(response_of(exchange, std::move(outcome->answer)));
    case IdempotencyState::kReplay: {
      auto response = response_of(exchange, std::move(outcome->answer));
      response.headers.set("Idempotent-Replayed", "true");
      return exchange.respond(std::move(response));
    }
    case IdempotencyState::kConflict: return answer_conflict(exchange, *outcome);
    case IdempotencyState::kRunning:
      return exchange.problem(Error(ErrorCode::kConflict, "a request with this Idempotency-Key is still running")
                                  .with_retry_after(outcome->retry_after));
  }
}

}  // namespace

bool is_open(const Work& work, Exchange& exchange) {
  if (work.rooms.runs != nullptr) return true;
  exchange.problem(Error(ErrorCode::kUnavailable, "the ledger is not open"));
  return false;
}

void change(Work& work, Exchange exchange, std::move_only_function<Result<Answer>(runs::Unit&)> body, Keyed keyed) {
  if (!is_open(work, exchange)) return;
  std::optional<Key> key;
  if (const auto& headers = exchange.request().headers; keyed == Keyed::kYes && headers.has("Idempotency-Key")) {
    const access::Grant& grant = exchange.caller().grant;
    // With the query, which some endpoints read beside the body.
    key = Key{.key = {.actor = grant.actor_id,
                      .method = exchange.request().method,
                      .path = exchange.request().target,
                      .key = std::string(unquoted(headers.get("Idempotency-Key")))},
              .fingerprint = ledger::payload_fingerprint(exchange.request().body),
              .now = work.clock.now()};
  }
  Scope scope = exchange.scope();
  runs::Actor actor = actor_of(exchange);
  work.rooms.runs->write(
      std::move(scope), std::move(actor),
      [key = std::move(key), body = std::move(body)](runs::Unit& unit) mutable -> Result<Outcome> {
        if (key) return once(unit, *key, body);
        auto made = body(unit);
        if (!made) return std::unexpected(std::move(made).error());
        return Outcome{.answer = std::move(*made)};
      },
      runs::Runs::Done<Outcome>([&work, exchange = std::move(exchange)](Result<Outcome> outcome) mutable {
        answer(work, std::move(exchange), std::move(outcome));
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
