// Gives committed audit records their place in their workspace's chain, signs checkpoints and hands them to witnesses.
//
//   Sequencer sequencer(database, clock, rng, key, registry, [&](db::Transaction& tx) { return lease.check(tx); },
//   {&file}, {}); std::jthread thread([&](std::stop_token stop) { sequencer.run(stop, [&] { return lease.held(); });
//   });
//
// One runs at a time: the leader's. `fence` is asked in every transaction, and every transaction moves the chain only
// from where it was read, so a second sequencer cannot fork it.
//
// Order. A pass takes every record that is committed, in the order of pending ids, and chains it; nothing is followed
// by number, so a record that commits late is not passed over, it comes in the next pass. Ids are taken before the
// commit, therefore: what committed before another's transaction began has the lower id and the lower position; records
// whose transactions overlapped stand in one of the orders that nobody can tell apart. In SQLite that is the commit
// order.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "core/clock.h"
#include "core/error.h"
#include "core/metrics.h"
#include "core/mutex.h"
#include "core/rng.h"
#include "ledger/chain.h"
#include "ledger/checkpoint.h"
#include "ledger/witness.h"

namespace fettle::db {
class Database;
class Reader;
class Transaction;
}  // namespace fettle::db

namespace fettle::ledger {

struct SequencerStatus {
  std::uint64_t chained_total = 0;
  std::chrono::nanoseconds oldest_unchained_age{0};  // as of the last pass
  bool is_late = false;                              // the alarm: older than Options::alarm_after
  UnixNanos last_pass_at = 0;
  std::string error;          // of the last pass; empty when it went well
  std::string witness_error;  // of the last delivery
};

class Sequencer {
 public:
  using Fence = std::function<Result<void>(db::Transaction&)>;
  struct Options {
    std::chrono::milliseconds interval{200};
    std::uint64_t records_target = 1'000;  // of one transaction, so that it does not hold up the writer for long
    std::uint64_t bytes_target = 4ULL << 20;
    std::chrono::seconds checkpoint_interval{60};
    std::chrono::milliseconds alarm_after{1'000};
  };

  // The references and the witnesses outlive the sequencer.
  Sequencer(db::Database& database, Clock& clock, Rng& rng, const SigningKey& key, metrics::Registry& registry,
            Fence fence, std::vector<Witness*> witnesses, Options options);
  ~Sequencer();

  // Until a stop is requested; idle while `is_leader` says no. Never throws.
  void run(const std::stop_token& stop, const std::function<bool()>& is_leader);

  // For run(), tests and the command line, on one thread at a time; they block on the store.
  // Chains what waits, one transaction's worth, and says how many records. Segments that are completed get a
  // checkpoint.
  Result<std::uint64_t> pass();
  // Signs a checkpoint for every chain that has grown since its last, and delivers the newest of each to the witnesses.
  Result<void> checkpoint();

  SequencerStatus status() const;

 private:
  struct Batch;
  struct PendingRow;
  // Reads and links what waits, but for what is in the batch `before`, which is being written.
  Result<void> prepare(Batch& batch, const Batch* before);
  Result<void> read(Batch& batch, const Batch* before);
  Result<void> read_rows(db::Reader& reader, std::int64_t first, std::int64_t last,
                         const std::vector<PendingRow>& taken, Batch& batch);
  Result<void> load_chains(db::Reader& reader, Batch& batch);
  void link(Batch& batch);
  Result<void> commit(const Batch& batch);
  Result<void> write(db::Transaction& tx, const Batch& batch);
  Result<void> deliver();
  void forget();
  void note_pass(const Batch& batch, const Result<void>& outcome);

  db::Database& database_;
  Clock& clock_;
  Rng& rng_;
  const SigningKey& key_;
  const Fence fence_;
  const std::vector<Witness*> witnesses_;
  const Options options_;
  metrics::Counter& chained_;
  metrics::Gauge& age_;
  metrics::Gauge& late_;
  metrics::Counter& witness_failures_;

  // Made ready while the batch before it was written; good for the next pass alone.
  std::unique_ptr<Batch> next_;
  // The heads of chains behind everything that was linked; checked against the store in each transaction.
  std::map<std::string, Chain> chains_;
  std::map<std::pair<std::string, std::string>, std::uint64_t> delivered_;  // by witness and workspace: the size

  mutable Mutex mutex_;
  SequencerStatus status_ FETTLE_GUARDED_BY(mutex_);
};

// The age of the oldest record that is not chained, from the store: for the health of replicas that do not sequence.
Result<std::chrono::nanoseconds> oldest_unchained_age(db::Reader& reader, UnixNanos now);

}  // namespace fettle::ledger
