// A mutating request that carries a key takes effect once: its answer is kept and given again.
//
//   database.write([=](db::Transaction& tx) -> Result<Outcome> {
//     auto begun = ledger::begin(tx, scope, key, fingerprint, now);
//     if (!begun) return std::unexpected(begun.error());
//     if (begun->state != IdempotencyState::kFirst) return answer_from(*begun);   // nothing else may be written
//     …the effect…
//     if (auto kept = ledger::finish(tx, scope, key, fingerprint, answer); !kept) return …
//   }, [&](Result<Outcome> committed) { counters.count(committed->state); … });
//
// Key, effect and answer are in one transaction, so a crash leaves all of them or none. Where the effect takes longer
// than a transaction, begin() may commit alone: others then see kRunning until finish(), or until `running_max` has
// passed, when the next one is told kFirst again with `recovered` set and has to find out what became of the effect.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/clock.h"
#include "core/error.h"
#include "core/metrics.h"
#include "core/scope.h"

namespace fettle::db {
class Database;
class Transaction;
}  // namespace fettle::db

namespace fettle::ledger {

// What a key is unique within, besides the workspace.
struct IdempotencyKey {
  std::string actor;
  std::string method;
  std::string path;
  std::string key;  // 1 to 255 bytes
};

struct StoredAnswer {
  std::int32_t status = 0;
  std::string headers;  // the caller's own encoding
  std::string body;
};

constexpr std::size_t kIdempotencyKeyBytesMax = 255;
constexpr std::size_t kStoredAnswerBytesMax = 1 << 20;

enum class IdempotencyState : std::uint8_t {
  kFirst = 1,     // go on, then finish() or forget()
  kReplay = 2,    // done before: give `answer`, marked as a replay
  kConflict = 3,  // the key was used with another payload: 422
  kRunning = 4,   // somebody is at it: 409, retry after `retry_after`
};

struct Begun {
  IdempotencyState state = IdempotencyState::kFirst;
  bool recovered = false;          // kFirst: an earlier attempt began and never finished
  StoredAnswer answer;             // kReplay
  std::string stored_fingerprint;  // kConflict: of the first request …
  std::string given_fingerprint;   // … and of this one
  std::chrono::milliseconds retry_after{0};
};

struct IdempotencyOptions {
  std::chrono::hours keep{24};
  std::chrono::seconds running_max{60};
};

// `fingerprint` tells payloads apart: payload_fingerprint() of the body, or any text up to 128 bytes. kInvalidArgument
// for an empty or overlong key.
Result<Begun> begin(db::Transaction& tx, const Scope& scope, const IdempotencyKey& key, std::string_view fingerprint,
                    UnixNanos now, const IdempotencyOptions& options = {});
// Keeps the answer. kConflict when the key was not begun with this fingerprint, or is finished already;
// kTooLarge for an answer over kStoredAnswerBytesMax. Answers of 5xx are not for keeping: forget() those.
Result<void> finish(db::Transaction& tx, const Scope& scope, const IdempotencyKey& key, std::string_view fingerprint,
                    const StoredAnswer& answer);
// As if it had never been sent.
Result<void> forget(db::Transaction& tx, const Scope& scope, const IdempotencyKey& key, std::string_view fingerprint);

// SHA-256 of the bytes, hexadecimal.
std::string payload_fingerprint(std::string_view payload);

// idempotency_replay_total and idempotency_conflict_total. Count once, after the commit. Thread-safe.
class IdempotencyCounters {
 public:
  explicit IdempotencyCounters(metrics::Registry& registry);
  void count(IdempotencyState state);

 private:
  metrics::Counter& replays_;
  metrics::Counter& conflicts_;
};

// Removes at most `rows_max` expired keys of all workspaces and says how many went. For the leader, now and then.
Result<std::int64_t> purge_idempotency_keys(db::Transaction& tx, UnixNanos now, std::int32_t rows_max = 1000);

}  // namespace fettle::ledger
