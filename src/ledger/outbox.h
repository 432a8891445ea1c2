// The way of domain events out of the ledger: each consumer reads in commit order behind a cursor of its own.
//
//   outbox.add_consumer("telemetry");
//   while (auto batch = outbox.next("telemetry")) {      // blocks on the store, never waits for events
//     if (batch->rows.empty()) { …wait for a nudge or a second… continue; }
//     deliver(batch->rows);
//     outbox.advance("telemetry", batch->end);           // delivered again if we die before this
//   }
//
// At least once; what all consumers have passed is trimmed. A row is delivered only when no transaction that could come
// before it is still open, and then in an order in which nothing precedes what had committed before it began. In
// PostgreSQL a write transaction left open anywhere in the cluster therefore holds delivery up. Thread-safe; every call
// blocks on the store.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.h"
#include "core/error.h"
#include "core/metrics.h"
#include "core/mutex.h"
#include "core/scope.h"
#include "ledger/events.h"

namespace fettle::db {
class Database;
class Reader;
}  // namespace fettle::db

namespace fettle::ledger {

// A place between two rows. As text ("12.345") it can travel as the id of a server-sent event.
struct OutboxCursor {
  std::int64_t transaction_id = 0;
  std::int64_t id = 0;
  auto operator<=>(const OutboxCursor&) const = default;
};
std::string to_string(const OutboxCursor& cursor);
std::optional<OutboxCursor> outbox_cursor_of(std::string_view text);

// The events of one publish().
struct OutboxRow {
  OutboxCursor cursor;
  WorkspaceId workspace;
  std::vector<Event> events;
};

struct OutboxBatch {
  std::vector<OutboxRow> rows;
  OutboxCursor end;      // where to go on
  bool is_full = false;  // a limit ended it: there is more
};

struct ConsumerStatus {
  std::string name;
  OutboxCursor cursor;
  std::int64_t rows_behind = 0;  // counted up to Outbox::kBacklogCountMax
};

// Whether somebody who is limited to `scope` may see the event.
bool is_visible(const WorkspaceId& workspace, const Event& event, const Scope& scope);

class Outbox {
 public:
  struct Options {
    std::int32_t rows_max = 2'048;  // of a batch
    std::uint64_t bytes_max = 4 << 20;
    std::chrono::seconds tail_keep{60};  // how long rows stay for readers without a stored cursor
    std::int32_t trim_rows_max = 5'000;  // of a call
  };
  static constexpr std::int64_t kBacklogCountMax = 100'000;

  // The references outlive the outbox.
  Outbox(db::Database& database, Clock& clock, metrics::Registry& registry, Options options);
  Outbox(db::Database& database, Clock& clock, metrics::Registry& registry);

  // Begins at the end as it is now; keeps its place when it is known already. At most 64 bytes.
  Result<void> add_consumer(std::string_view name);
  Result<void> remove_consumer(std::string_view name);
  // kNotFound for an unknown consumer.
  Result<OutboxBatch> next(std::string_view name);
  // Never goes back. `fence`, if there is one, is asked in the same transaction: what it refuses moves nothing, so that
  // a leader that has lost its place meanwhile does not answer for its successor.
  using Fence = std::function<Result<void>(db::Transaction&)>;
  Result<void> advance(std::string_view name, OutboxCursor to, const Fence& fence = {});
  // The same for a consumer that nobody listens to: it reads no events, and writes nothing when there are none.
  Result<void> pass_over(std::string_view name, OutboxCursor to);

  // For readers that keep their own place, such as the live stream: they miss what is older than tail_keep.
  Result<OutboxBatch> read_after(OutboxCursor after);
  Result<OutboxCursor> end();

  // Removes what all consumers have passed and has been seen here for tail_keep. Says how many rows went. For the
  // leader, every few seconds.
  Result<std::int64_t> trim();
  // Sets fettle_outbox_rows_behind{consumer}.
  Result<std::vector<ConsumerStatus>> status();
  // For the start of a server: a PostgreSQL cluster that was filled from a backup counts transactions from elsewhere.
  // Renumbers what was not delivered, so that nothing is passed over.
  Result<void> recover();

 private:
  Result<OutboxBatch> read(db::Reader& reader, OutboxCursor after) const;

  db::Database& database_;
  Clock& clock_;
  metrics::Registry& registry_;
  const Options options_;

  // Ends seen by trim(), oldest first.
  struct SeenEnd {
    std::chrono::nanoseconds at;
    OutboxCursor end;
  };
  Mutex mutex_;
  std::deque<SeenEnd> seen_ FETTLE_GUARDED_BY(mutex_);
};

}  // namespace fettle::ledger
