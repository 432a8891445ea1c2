// Requests already seen, so that one which its sender repeats after a lost answer is answered again and not stored
// again. A request is its key: a hash over token and body made by the receiver.
//
//   auto seen = guard.begin(hash, waiter);          // waiter is kept only when the same request is in flight
//   if (seen.state == ReplayGuard::State::kNew) spool.append(record_with_key, [&](Result<void> stored) {
//     guard.finish(hash, stored ? Result<RequestAnswer>(answer) : std::unexpected(stored.error())); });
//
// The key travels in the spool record of its rows, under the same fsync: it is known again after a kill exactly when
// the rows are there. Remembered for ten minutes, within a bound. Thread-safe; lives as long as the server.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <unordered_map>
#include <vector>

#include "core/clock.h"
#include "core/error.h"
#include "core/mutex.h"

namespace fettle::ingest {

using RequestHash = std::array<std::uint8_t, 16>;

// What the sender was told, to be told again.
struct RequestAnswer {
  std::uint32_t records = 0;   // in the request, rejected ones included
  std::uint32_t rejected = 0;  // of these
  bool operator==(const RequestAnswer&) const = default;
};

struct RequestKey {
  RequestHash hash{};
  RequestAnswer answer;
  bool operator==(const RequestKey&) const = default;
};

class ReplayGuard {
 public:
  struct Limits {
    std::chrono::nanoseconds remember_for = std::chrono::minutes(10);
    std::size_t keys_max = 1'000'000;  // past it the oldest is forgotten early; about 100 bytes each
    std::size_t waiters_max = 64;      // repeats waiting on one request in flight
  };
  enum class State {
    kNew,       // not seen: the caller goes on and must call finish() once, whatever happens
    kInFlight,  // being stored now: the waiter will be called with the outcome of the first
    kDone,      // stored: `answer` is what the sender was told
    kCrowded,   // in flight with too many waiters: refuse, retry later; the waiter is not kept
  };
  struct Seen {
    State state;
    RequestAnswer answer;
  };
  // Runs on the thread that calls finish(). Must not throw or call the guard for the same key.
  using Waiter = std::move_only_function<void(const Result<RequestAnswer>&)>;

  explicit ReplayGuard(Clock& clock) : ReplayGuard(clock, Limits{}) {}
  ReplayGuard(Clock& clock, Limits limits) : clock_(clock), limits_(limits) {}

  Seen begin(const RequestHash& hash, Waiter waiter);
  // Success: remembered. Failure: forgotten, so that a retry is a new request. Either way the waiters are told.
  void finish(const RequestHash& hash, Result<RequestAnswer> outcome);

  // A key found on disk at start, of a request answered at `at` by the wall clock. Ignored when too old; what was
  // answered in the future, before the clock was set back, counts from now.
  void restore(const RequestKey& key, UnixNanos at);
  std::size_t size() const;

 private:
  struct Hasher {
    std::size_t operator()(const RequestHash& hash) const {
      std::size_t first;
      std::memcpy(&first, hash.data(), sizeof first);
      return first;
    }
  };
  struct Order {
    std::chrono::nanoseconds at;  // of Clock::monotonic: setting the wall clock makes nothing older
    RequestHash hash;
  };

  void forget_old() FETTLE_REQUIRES(mutex_);
  void remember(const RequestKey& key, std::chrono::nanoseconds at) FETTLE_REQUIRES(mutex_);

  Clock& clock_;
  const Limits limits_;
  mutable Mutex mutex_;
  std::unordered_map<RequestHash, RequestAnswer, Hasher> done_ FETTLE_GUARDED_BY(mutex_);
  std::deque<Order> by_age_ FETTLE_GUARDED_BY(mutex_);
  std::unordered_map<RequestHash, std::vector<Waiter>, Hasher> in_flight_ FETTLE_GUARDED_BY(mutex_);
};

}  // namespace fettle::ingest
