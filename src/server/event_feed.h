// Brings the ledger's domain events to telemetry, so that SQL, dashboards and derived metrics see them.
//
// A consumer of the outbox: what the store does not take stays there and is sent again, in order. Each event has an id
// of its own; after a start, or when it is not known what became of an insert, the store is asked which of the next
// events it has already, so that none is there twice. One thread of its own; runs on the leader alone.
#pragma once

#include <chrono>
#include <functional>
#include <set>
#include <string>
#include <thread>

#include "core/clock.h"
#include "core/error.h"
#include "core/metrics.h"
#include "ledger/outbox.h"
#include "telemetry/client.h"
#include "telemetry/event_block.h"
#include "telemetry/identifier_block.h"
#include "telemetry/identifiers.h"

namespace fettle::server {

class EventFeed {
 public:
  struct Options {
    // A part costs the store milliseconds however small it is, so few events wait a little for company.
    std::chrono::milliseconds every{500};
    std::chrono::milliseconds again_after{2'000};  // when the store or the ledger failed
  };

  // All outlive the feed. `is_leader` is asked before each batch.
  EventFeed(ledger::Outbox& outbox, telemetry::Client& client, const telemetry::IdentifierCatalogue& catalogue,
            std::function<bool()> is_leader, Clock& clock, metrics::Registry& metrics, Options options);
  EventFeed(ledger::Outbox& outbox, telemetry::Client& client, const telemetry::IdentifierCatalogue& catalogue,
            std::function<bool()> is_leader, Clock& clock, metrics::Registry& metrics)
      : EventFeed(outbox, client, catalogue, std::move(is_leader), clock, metrics, Options{}) {}
  void stop();

 private:
  void work(const std::stop_token& stop);
  // Whether there is more to bring.
  Result<bool> bring(const std::stop_token& stop);
  Result<void> insert(const ledger::OutboxBatch& batch, const std::set<std::string>& stored,
                      const std::stop_token& stop);
  Result<std::set<std::string>> stored_of(const ledger::OutboxBatch& batch, const std::stop_token& stop);

  ledger::Outbox& outbox_;
  telemetry::Client& client_;
  const telemetry::IdentifierCatalogue& catalogue_;
  const std::function<bool()> is_leader_;
  Clock& clock_;
  const Options options_;
  metrics::Counter& brought_;
  metrics::Counter& failures_;
  telemetry::EventBlockBuilder builder_;
  telemetry::IdentifierBlockBuilder identifiers_;
  bool is_known_ = false;  // that the store has none of what comes next

  std::jthread thread_;  // last: it uses everything above
};

}  // namespace fettle::server
