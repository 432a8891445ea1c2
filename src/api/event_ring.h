// The newest domain events of the outbox, kept once for all who watch them live.
//
//   auto begun = ring.after(std::nullopt);      // no rows: where the end is now
//   auto more = ring.after(begun->end);         // what came since; is_gap when some of it is not known any more
//
// Read anew when somebody asks and the last look is older than `interval`, so that a hundred watchers cost the store as
// much as one, and none costs nothing. Thread-safe; a call may block on the store.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "core/clock.h"
#include "core/error.h"
#include "core/mutex.h"
#include "ledger/outbox.h"

namespace fettle::api {

class EventRing {
 public:
  struct Limits {
    std::chrono::milliseconds interval{250};
    std::size_t rows_max = 4'096;
    std::uint64_t bytes_max = 16 << 20;
    // Unread for longer, it begins anew: the outbox keeps rows for readers like this one only for so long.
    std::chrono::seconds forgotten_after{30};
  };

  // Both outlive this.
  EventRing(ledger::Outbox& outbox, Clock& clock, Limits limits) : outbox_(outbox), clock_(clock), limits_(limits) {}

  using Row = std::shared_ptr<const ledger::OutboxRow>;
  struct Slice {
    std::vector<Row> rows;
    ledger::OutboxCursor end;  // where to go on
    bool is_gap = false;       // `after` lies before what is kept, or behind all that ever was: rows were missed
  };
  // The error of the store when it cannot be read now; the place is as good later.
  Result<Slice> after(std::optional<ledger::OutboxCursor> place);

 private:
  Result<void> refresh(bool at_once) FETTLE_REQUIRES(mutex_);

  ledger::Outbox& outbox_;
  Clock& clock_;
  const Limits limits_;

  Mutex mutex_;
  bool is_open_ FETTLE_GUARDED_BY(mutex_) = false;
  std::chrono::nanoseconds looked_at_ FETTLE_GUARDED_BY(mutex_){0};
  ledger::OutboxCursor begin_ FETTLE_GUARDED_BY(mutex_);  // everything after it and up to end_ is in rows_
  ledger::OutboxCursor end_ FETTLE_GUARDED_BY(mutex_);
  std::deque<Row> rows_ FETTLE_GUARDED_BY(mutex_);
  std::uint64_t bytes_ FETTLE_GUARDED_BY(mutex_) = 0;
};

}  // namespace fettle::api
