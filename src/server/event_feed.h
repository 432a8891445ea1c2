// Brings the ledger's domain events to telemetry, so that SQL, dashboards and derived metrics see them.
//
// A consumer of the outbox: what the store does not take stays there and is sent again, in order. Each event has an id
// of its own; after a start, or when it is not known what became of an insert, the store is asked which of the next
// events it has already, so that none is there twice. A batch that the store refuses for good, several times over, is
// sent in halves down to the event that it will not take: that one is set aside, counted and named in the log, and the
// others go on. One thread of its own; runs on the leader alone.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <vector>

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
    int refusals_max = 3;                          // of a batch as it is, before it is taken apart
    // Asked in the transaction that moves the feed on: whether it is still the leader that does.
    ledger::Outbox::Fence fence = {};
    // Grows with each new leader: after a change, somebody else may have brought some in between.
    std::function<std::int64_t()> epoch = {};
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
  // An event in its batch.
  struct Item {
    const ledger::OutboxRow* row;
    std::size_t index;
    std::string id;
  };
  static std::vector<Item> items_of(const ledger::OutboxBatch& batch, const std::set<std::string>& stored);
  Result<void> insert(const ledger::OutboxBatch& batch, std::span<const Item> items, const std::string& token,
                      const std::stop_token& stop);
  Result<void> insert_in_parts(const ledger::OutboxBatch& batch, std::span<const Item> items,
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
  metrics::Counter& refused_;
  telemetry::EventBlockBuilder builder_;
  telemetry::IdentifierBlockBuilder identifiers_;
  bool is_known_ = false;  // that the store has none of what comes next
  std::int64_t epoch_ = 0;
  int refusals_ = 0;  // of the batch that is next, in a row

  std::jthread thread_;  // last: it uses everything above
};

}  // namespace fettle::server
