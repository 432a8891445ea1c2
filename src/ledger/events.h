// Domain events: what happened, told to telemetry, the live stream and webhooks. They commit with their change.
//
//   ledger::publish(tx, scope, events);     // one row in the outbox, however many events
//
// Delivered at least once to every consumer of the outbox (outbox.h), in commit order.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.h"
#include "core/error.h"
#include "core/scope.h"
#include "ledger/identifiers.h"

namespace fettle::db {
class Transaction;
}
namespace fettle::redact {
class Redactor;
}

namespace fettle::ledger {

struct Event {
  std::string type;  // "run.dead_lettered": lower-case letters, digits, '_' and '.', at most 64 bytes
  UnixNanos at = 0;
  Identifiers identifiers;
  std::string body;  // a JSON object, or empty
};

// An event whose parts lie elsewhere until publish() has returned.
struct EventView {
  std::string_view type;
  UnixNanos at = 0;
  std::span<const Identifier> identifiers;
  std::string_view body;
};

constexpr std::size_t kEventBodyBytesMax = 64 << 10;
constexpr std::size_t kEventsMax = 10'000;        // of a call
constexpr std::size_t kEventsBytesMax = 4 << 20;  // of a call, packed

// kInvalidArgument for a malformed type or identifier, kTooLarge over a limit; nothing is written then. Bodies are
// taken as they are: for what says nothing that somebody outside wrote. An empty span writes nothing.
Result<void> publish(db::Transaction& tx, const Scope& scope, std::span<const EventView> events);
Result<void> publish(db::Transaction& tx, const Scope& scope, std::span<const Event> events);
Result<void> publish(db::Transaction& tx, const Scope& scope, const Event& event);
// The same with every secret masked, in bodies and identifiers. All of a call is looked through as one text first, so
// that what holds no secret, nearly always everything, is not taken apart; where the names of a body's members come
// from outside, too, redact_json() goes first (cleaning.h): a name may say that its value is a secret.
Result<void> publish(db::Transaction& tx, const Scope& scope, std::span<const EventView> events,
                     const redact::Redactor& redactor);

}  // namespace fettle::ledger
