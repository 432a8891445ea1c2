// A request with an Idempotency-Key takes effect once, in whichever room it changes something.
//
//   auto key = key_of(exchange, clock);
//   database.write([key, body](db::Transaction& tx) { return once(tx, scope, key, [&] { return body(tx); }); },
//                  [&counters, exchange](Result<Outcome> out) { respond(counters, std::move(exchange), std::move(out));
//                  });
//
// The same key and body get the stored answer again with `Idempotent-Replayed: true`, another body 422 with both
// hashes, one still under way 409. Key, effect and answer are one transaction: what is refused leaves no key behind.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "api/exchange.h"
#include "core/clock.h"
#include "ledger/idempotency.h"

namespace fettle::db {
class Transaction;
}

namespace fettle::api {

// From status 400 on, `body` is a problem document to which the request's id is added.
struct Answer {
  int status = 200;
  std::string body;
  // What is kept for a replay in its place, where the body holds a secret that is shown once.
  std::optional<std::string> stored_body = {};
};

// What a keyed request is known by: workspace, actor, method, path with its query, and the key.
struct Key {
  ledger::IdempotencyKey key;
  std::string fingerprint;
  UnixNanos now = 0;
};
// None for a request without the header.
std::optional<Key> key_of(const Exchange& exchange, Clock& clock);

struct Outcome {
  ledger::IdempotencyState state = ledger::IdempotencyState::kFirst;
  Answer answer;
  std::string stored_fingerprint, given_fingerprint;
  std::chrono::milliseconds retry_after{0};
};

// Runs `body`, which writes to `tx`, unless the key was used; may run more than once.
Result<Outcome> once(db::Transaction& tx, const Scope& scope, const std::optional<Key>& key,
                     const std::function<Result<Answer>()>& body);
// After the commit.
void respond(ledger::IdempotencyCounters& counters, Exchange exchange, Result<Outcome> outcome);

}  // namespace fettle::api
