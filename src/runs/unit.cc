#include "runs/unit.h"

#include <algorithm>
#include <cmath>

#include "runs/usage.h"

namespace fettle::runs {
namespace {

constexpr UnixNanos kEpoch = 1'577'836'800 * kNanosPerSecond;  // 2020-01-01
constexpr int kReplicaBits = 10;
constexpr int kCounterBits = 12;

}  // namespace

std::int64_t NumberSource::least_at(UnixNanos t) {
  return t <= kEpoch ? 0 : ((t - kEpoch) / kNanosPerMilli) << (kCounterBits + kReplicaBits);
}

std::int64_t NumberSource::next() {
  const std::int64_t floor = least_at(clock_.now());
  std::int64_t seen = next_.load();
  std::int64_t number = 0;
  do {
    // A clock that was set back, or more than the counter holds in one millisecond: go on from the last.
    number = std::max(seen, floor);
  } while (!next_.compare_exchange_weak(seen, number + (1 << kReplicaBits)));
  return number | replica_;
}

bool View::allows(std::string_view client) const {
  return scope_.clients.empty() ||
         std::ranges::any_of(scope_.clients, [&](const ClientId& id) { return id.value == client; });
}

bool View::note(Error error) {
  if (!failure_) failure_ = std::move(error);
  return false;
}

db::Rows View::rows(const db::Sql& sql, db::Params params) {
  if (failure_) return {};
  auto found = reader_.query(sql, params);
  if (!found) {
    note(std::move(found).error());
    return {};
  }
  return std::move(*found);
}

Unit::Unit(db::Transaction& tx, const Scope& scope, const Actor& actor, const Stamp& stamp, NumberSource& numbers,
           const SizeLimits& limits, const Admission* admission)
    : View(tx, scope, stamp.now),
      tx_(tx),
      actor_(actor),
      numbers_(numbers),
      limits_(limits),
      admission_(admission),
      stamp_(stamp) {}

std::int64_t Unit::execute(const db::Sql& sql, db::Params params) {
  if (failure()) return 0;
  auto done = tx_.execute(sql, params);
  if (done) return *done;
  note(std::move(done).error());
  return 0;
}

std::int64_t Unit::execute_many(const db::Sql& sql, std::size_t width, std::span<const db::Value> values) {
  if (failure() || values.empty()) return 0;
  auto done = tx_.execute_many(sql, width, values);
  if (done) return *done;
  note(std::move(done).error());
  return 0;
}

// SplitMix64: a few nanoseconds from any seed, where a Mersenne Twister costs two microseconds to begin.
std::uint64_t Unit::random() {
  std::uint64_t z = stamp_.seed += 0x9E3779B97F4A7C15ULL;
  z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27U)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31U);
}

void Unit::event(std::string_view type, Identifiers identifiers, std::string body) {
  events_.push_back({std::string(type), std::move(identifiers), std::move(body)});
}

void Unit::wake(std::string_view pool, std::string_view workflow, std::size_t count) {
  for (Wake& wake : wakes_) {
    if (wake.pool == pool && wake.workflow == workflow) {
      wake.count += count;
      return;
    }
  }
  wakes_.push_back({std::string(pool), std::string(workflow), count});
}

Result<void> Unit::finish(Journal& journal) {
  if (tokens_ != 0 || cost_usd_ != 0) {
    execute(
        "INSERT INTO run_usage (workspace, month, tokens, micro_usd) VALUES ($1, $2, $3, $4)"
        " ON CONFLICT (workspace, month) DO UPDATE SET tokens = run_usage.tokens + excluded.tokens,"
        " micro_usd = run_usage.micro_usd + excluded.micro_usd",
        {workspace(), month_begin(now()), tokens_, static_cast<std::int64_t>(std::llround(cost_usd_ * 1e6))});
  }
  if (failure()) return std::unexpected(*failure());
  if (!audits_.empty()) {
    if (auto done = journal.record(tx_, scope(), actor_, now(), audits_); !done) return done;
  }
  if (!events_.empty()) return journal.publish(tx_, scope(), now(), events_);
  return {};
}

}  // namespace fettle::runs
