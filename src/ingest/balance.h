// The books of ingest: for each workspace, sender and signal
//
//   received = duplicate + rejected + redacted_away + stored + sampled_out + expired + pending
//
// Counts arrive in spool records under the same fsync as the rows they speak of, so they survive a kill. Accepted
// records are pending until the store has confirmed their segment, then stored. The books of all confirmed segments
// are the checkpoint; those of newer ones are rebuilt from the spool. Thread-safe; lives as long as the server.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/ids.h"
#include "core/mutex.h"

namespace fettle::ingest {

enum class Signal : std::uint8_t {  // in spool files: append, never renumber
  kSpans = 1,
  kLogs = 2,
  kPoints = 3,
};
std::string_view to_string(Signal signal);

// What happened to some records of one sender. `received` says all that came in; the others say where they went.
struct CountDelta {
  WorkspaceId workspace;
  std::string sender;
  Signal signal = Signal::kSpans;
  std::uint64_t received = 0;
  std::uint64_t accepted = 0;  // in the blocks of the same spool record: pending, stored once the store has them
  std::uint64_t duplicate = 0;
  std::uint64_t redacted_away = 0;
  std::map<std::string, std::uint64_t> rejected;  // by reason
  // From retention, for records stored earlier: these leave `stored`.
  std::uint64_t sampled_out = 0;
  std::uint64_t expired = 0;

  bool operator==(const CountDelta&) const = default;
};

// One line of the books, as shown.
struct BalanceRow {
  std::string workspace;
  std::string sender;
  Signal signal = Signal::kSpans;
  std::uint64_t received = 0;
  std::uint64_t duplicate = 0;
  std::map<std::string, std::uint64_t> rejected;
  std::uint64_t redacted_away = 0;
  std::uint64_t stored = 0;
  std::uint64_t sampled_out = 0;
  std::uint64_t expired = 0;
  std::uint64_t pending = 0;

  std::uint64_t rejected_total() const;
  bool balanced() const;
  bool operator==(const BalanceRow&) const = default;
};

class Balance {
 public:
  struct Limits {
    std::size_t senders_max = 10'000;  // past it a new sender is counted as "other"
    std::size_t sender_bytes_max = 128;
    std::size_t reasons_max = 32;  // by sender and signal; past it a new reason is "other"
  };
  // The reason under which rows appear that the store refused for good.
  static constexpr std::string_view kRefusedByStore = "refused_by_store";
  // The reason of those that were acknowledged and then lost with a damaged spool file.
  static constexpr std::string_view kSpoolLoss = "spool_loss";

  Balance() : Balance(Limits{}) {}
  explicit Balance(Limits limits) : limits_(limits) {}

  // The lines of a workspace by sender and signal.
  std::vector<BalanceRow> snapshot(const WorkspaceId& workspace) const;

  // The rest is called by the spool.
  //
  // Counts that are durable in `segment`.
  void add(std::uint32_t segment, const std::vector<CountDelta>& counts);
  // Records of `segment` that the store refused for good, by whose they were (of a delta only `workspace`, `sender`,
  // `signal` and `rejected` are read), then: the rest of `segment` and of all before it is stored.
  void confirm(std::uint32_t segment, const std::vector<CountDelta>& refused);
  // What the books of `segment` hold as accepted beyond `intact`, as rejections for confirm(): lost in a damaged file.
  std::vector<CountDelta> missing(std::uint32_t segment, const std::vector<CountDelta>& intact);
  // The books of all confirmed segments as bytes, and back. kDataLoss when the bytes are not such books.
  std::string encode_confirmed() const;
  Result<void> restore_confirmed(std::string_view bytes);

 private:
  struct Key {
    std::string workspace;
    std::string sender;
    Signal signal;
    auto operator<=>(const Key&) const = default;
  };
  struct Line {
    std::uint64_t received = 0;
    std::uint64_t accepted = 0;
    std::uint64_t duplicate = 0;
    std::uint64_t redacted_away = 0;
    std::uint64_t sampled_out = 0;
    std::uint64_t expired = 0;
    std::map<std::string, std::uint64_t, std::less<>> rejected;
    std::uint64_t refused = 0;  // of `accepted`; also in `rejected`
  };
  using Book = std::map<Key, Line>;

  Key key_of(const CountDelta& delta) FETTLE_REQUIRES(mutex_);
  void reject(Line& line, std::string_view reason, std::uint64_t count) const;
  void merge(Line& into, const Line& from) const;

  const Limits limits_;
  mutable Mutex mutex_;
  Book confirmed_ FETTLE_GUARDED_BY(mutex_);
  std::map<std::uint32_t, Book> open_ FETTLE_GUARDED_BY(mutex_);  // by segment, not yet confirmed
  std::map<std::string, std::set<std::string>> senders_ FETTLE_GUARDED_BY(mutex_);
  std::size_t sender_count_ FETTLE_GUARDED_BY(mutex_) = 0;
};

}  // namespace fettle::ingest
