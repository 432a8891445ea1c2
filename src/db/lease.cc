#include "db/lease.h"

#include <fmt/format.h>

namespace fettle::db {
namespace {

// One row for each name, never deleted: the epoch must not start again.
constexpr Sql kAcquire = {
    "INSERT INTO fettle_leases (name, holder, epoch, expires_at) VALUES ($1, $2, 1, $4 + $3) "
    "ON CONFLICT (name) DO UPDATE SET "
    "epoch = CASE WHEN fettle_leases.holder = excluded.holder AND fettle_leases.expires_at > $4 THEN "
    "fettle_leases.epoch "
    "ELSE fettle_leases.epoch + 1 END, "
    "holder = excluded.holder, expires_at = excluded.expires_at "
    "WHERE fettle_leases.holder = excluded.holder OR fettle_leases.expires_at <= $4 RETURNING epoch",
    "INSERT INTO fettle_leases (name, holder, epoch, expires_at) "
    "SELECT $1, $2, 1, now_ns + $3 FROM (SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000000 AS BIGINT) AS "
    "now_ns) AS t "
    "ON CONFLICT (name) DO UPDATE SET "
    "epoch = CASE WHEN fettle_leases.holder = excluded.holder AND fettle_leases.expires_at > excluded.expires_at - $3 "
    "THEN fettle_leases.epoch ELSE fettle_leases.epoch + 1 END, "
    "holder = excluded.holder, expires_at = excluded.expires_at "
    "WHERE fettle_leases.holder = excluded.holder OR fettle_leases.expires_at <= excluded.expires_at - $3 "
    "RETURNING epoch"};
constexpr Sql kRelease = "UPDATE fettle_leases SET expires_at = 0 WHERE name = $1 AND holder = $2 AND epoch = $3";
constexpr Sql kCheck = {"SELECT 1 FROM fettle_leases WHERE name = $1 AND holder = $2 AND epoch = $3",
                        "SELECT 1 FROM fettle_leases WHERE name = $1 AND holder = $2 AND epoch = $3 FOR SHARE"};

}  // namespace

const Migrations& lease_migrations() {
  static const Migrations kMigrations = {
      {"db",
       1,
       "leases",
       {"CREATE TABLE fettle_leases (name TEXT NOT NULL PRIMARY KEY, holder TEXT NOT NULL, epoch BIGINT NOT NULL, "
        "expires_at BIGINT NOT NULL)"}}};
  return kMigrations;
}

LeaderLease::LeaderLease(Database& database, Clock& clock, Options options)
    : database_(database), clock_(clock), options_(std::move(options)) {}

Result<bool> LeaderLease::acquire() {
  const std::int64_t duration_ns = std::chrono::nanoseconds(options_.duration).count();
  // Before the request: the store's expiry can only be later than what we believe.
  const auto asked = clock_.monotonic();
  const UnixNanos now = clock_.now();
  auto epoch = database_.write_and_wait([&](Transaction& tx) -> Result<std::int64_t> {
    std::int64_t got = 0;
    auto found = tx.dialect() == Dialect::kSqlite
                     ? tx.fetch(kAcquire, {options_.name, options_.holder, duration_ns, now}, got)
                     : tx.fetch(kAcquire, {options_.name, options_.holder, duration_ns}, got);
    if (!found) return std::unexpected(found.error());
    return *found ? got : 0;
  });
  // A failure changes nothing: what we held, we hold until its time is over.
  if (!epoch) return std::unexpected(std::move(epoch).error().within("acquiring the lease " + options_.name));
  MutexLock lock(mutex_);
  ours_ = *epoch != 0;
  if (!ours_) return false;
  epoch_ = *epoch;
  held_until_ = asked + options_.duration - options_.margin;
  return true;
}

Result<void> LeaderLease::release() {
  std::int64_t epoch = 0;
  {
    MutexLock lock(mutex_);
    if (!ours_) return {};
    // First: from here on somebody else may have it.
    ours_ = false;
    epoch = epoch_;
  }
  auto released = database_.write_and_wait([&](Transaction& tx) -> Result<void> {
    auto done = tx.execute(kRelease, {options_.name, options_.holder, epoch});
    if (!done) return std::unexpected(done.error());
    return {};
  });
  if (!released) return std::unexpected(std::move(released).error().within("releasing the lease " + options_.name));
  return {};
}

bool LeaderLease::held() const {
  MutexLock lock(mutex_);
  return ours_ && clock_.monotonic() < held_until_;
}

std::int64_t LeaderLease::epoch() const {
  MutexLock lock(mutex_);
  return epoch_;
}

Result<void> LeaderLease::check(Transaction& tx) const {
  const std::int64_t epoch = this->epoch();
  auto rows = tx.query(kCheck, {options_.name, options_.holder, epoch});
  if (!rows) return std::unexpected(rows.error());
  if (rows->empty()) {
    return fail(ErrorCode::kUnavailable,
                fmt::format("the lease {} of epoch {} has passed to somebody else", options_.name, epoch));
  }
  return {};
}

}  // namespace fettle::db
