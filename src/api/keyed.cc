#include "api/keyed.h"

#include <utility>

#include "core/json.h"
#include "db/transaction.h"
#include "http/message.h"

namespace fettle::api {
namespace {

using ledger::IdempotencyState;

// The header's value is a structured-field string, quoted; many send it bare.
std::string_view unquoted(std::string_view text) {
  if (text.size() >= 2 && text.front() == '"' && text.back() == '"') text = text.substr(1, text.size() - 2);
  return text;
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

}  // namespace

std::optional<Key> key_of(const Exchange& exchange, Clock& clock) {
  const http::Request& request = exchange.request();
  if (!request.headers.has("Idempotency-Key")) return std::nullopt;
  // With the query, which some endpoints read beside the body.
  return Key{.key = {.actor = exchange.caller().grant.actor_id,
                     .method = request.method,
                     .path = request.target,
                     .key = std::string(unquoted(request.headers.get("Idempotency-Key")))},
             .fingerprint = ledger::payload_fingerprint(request.body),
             .now = clock.now()};
}

Result<Outcome> once(db::Transaction& tx, const Scope& scope, const std::optional<Key>& key,
                     const std::function<Result<Answer>()>& body) {
  Outcome out;
  if (key) {
    auto begun = ledger::begin(tx, scope, key->key, key->fingerprint, key->now);
    if (!begun) return std::unexpected(std::move(begun).error());
    out.state = begun->state;
    if (out.state != IdempotencyState::kFirst) {
      out.answer = {.status = begun->answer.status, .body = std::move(begun->answer.body)};
      out.stored_fingerprint = std::move(begun->stored_fingerprint);
      out.given_fingerprint = std::move(begun->given_fingerprint);
      out.retry_after = begun->retry_after;
      return out;
    }
  }
  auto answer = body();
  if (!answer) return std::unexpected(std::move(answer).error());
  out.answer = std::move(*answer);
  if (!key) return out;
  auto kept = ledger::finish(tx, scope, key->key, key->fingerprint,
                             {.status = out.answer.status,
                              .headers = {},
                              .body = out.answer.stored_body ? *out.answer.stored_body : out.answer.body});
  if (!kept) return std::unexpected(std::move(kept).error());
  return out;
}

void respond(ledger::IdempotencyCounters& counters, Exchange exchange, Result<Outcome> outcome) {
  if (!outcome) return exchange.problem(outcome.error());
  counters.count(outcome->state);
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

}  // namespace fettle::api
