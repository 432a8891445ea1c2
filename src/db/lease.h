// Work that must happen once is done by whoever holds a named lease: one holder at a time, over all replicas.
//
//   LeaderLease lease(database, clock, {"leader", holder_id});
//   every few seconds: lease.acquire();                    // takes it, or prolongs it
//   if (lease.held()) database.write([&](Transaction& tx) -> Result<void> {
//     if (auto mine = lease.check(tx); !mine) return mine;  // fences: the write lands only while the lease is ours
//     …
//
// Expiry is judged by the store's clock in PostgreSQL and by the Clock in SQLite. held() is judged by this process's
// own monotonic clock from before the request was sent, less a margin: it turns false before anybody else can take
// over. A process that slept through that is stopped by check().
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "core/clock.h"
#include "core/error.h"
#include "core/mutex.h"
#include "db/database.h"
#include "db/migration.h"

namespace fettle::db {

// The table of leases; belongs in the list given to migrate(), first.
const Migrations& lease_migrations();

// Thread-safe.
class LeaderLease {
 public:
  struct Options {
    std::string name;
    std::string holder;  // unique for each process that ever runs
    std::chrono::milliseconds duration = std::chrono::seconds(10);
    std::chrono::milliseconds margin = std::chrono::seconds(2);  // for clocks that run at different speeds
  };

  LeaderLease(Database& database, Clock& clock, Options options);

  // Takes the lease when it is free or expired, prolongs it when it is ours. True when it is ours afterwards. Blocks on
  // the store.
  Result<bool> acquire();
  // Lets somebody else take it at once. Harmless when it is not ours.
  Result<void> release();

  // Without the store: true while nobody else can have taken it.
  bool held() const;
  // Grows by one with each new holder; 0 before the first acquire().
  std::int64_t epoch() const;

  // Inside a transaction: kUnavailable unless the store still names this holder and epoch, whatever the clocks say.
  Result<void> check(Transaction& tx) const;

 private:
  Database& database_;
  Clock& clock_;
  const Options options_;

  mutable Mutex mutex_;
  std::int64_t epoch_ FETTLE_GUARDED_BY(mutex_) = 0;
  bool ours_ FETTLE_GUARDED_BY(mutex_) = false;
  std::chrono::nanoseconds held_until_ FETTLE_GUARDED_BY(mutex_){0};
};

}  // namespace fettle::db
