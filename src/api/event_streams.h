// The live stream: domain events as server-sent events, as they happen.
//
// An event's id is its place in the outbox, so a client that comes back with Last-Event-ID goes on where it was. When
// what it missed is not known any more it gets `event: reset` and loads anew. At least once: after a reconnect the
// events of one change may come again, with the same `id` member. Thread-safe.
#pragma once

#include <chrono>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "api/event_ring.h"
#include "api/live_sessions.h"

namespace fettle::api {

// What a watcher asked for; empty parts match everything.
struct EventFilter {
  std::vector<std::string> topics;                               // "run" is run.succeeded and all its kin
  std::vector<std::pair<std::string, std::string>> identifiers;  // each must be the event's
};
bool matches(const EventFilter& filter, const ledger::Event& event);

class EventStreams {
 public:
  struct Limits {
    std::size_t streams_max = 64;
    std::chrono::milliseconds interval{250};
    std::chrono::milliseconds heartbeat{15'000};
    EventRing::Limits ring;
  };

  // All outlive this.
  EventStreams(ledger::Outbox& outbox, access::Authenticator& authenticator, Clock& clock, metrics::Registry& metrics,
               Limits limits);

  void run(Exchange exchange, EventFilter filter, std::optional<ledger::OutboxCursor> place);
  // Ends every stream and joins. Idempotent.
  void stop() { sessions_.stop(); }

 private:
  void follow(Exchange& exchange, const EventFilter& filter, std::optional<ledger::OutboxCursor> place,
              const std::stop_token& stop);

  Clock& clock_;
  const Limits limits_;
  metrics::Counter& resets_;
  EventRing ring_;
  LiveSessions sessions_;  // last: its threads use everything above
};

}  // namespace fettle::api
