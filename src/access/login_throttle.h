// Slows down guessing: after a few failures an account, or an address, waits before it may try again.
//
//   auto attempt = throttle.begin(account, address);   // refused: kResourceExhausted with retry_after
//   if (!attempt) …
//   … verify …
//   if (matches) throttle.succeeded(account, address);
//
// begin() counts the attempt as failed at once, so that many at the same time are many; succeeded() takes it back. An
// account waits at most a few minutes, however often somebody else fails on it: nobody can be locked out for long. In
// memory and of this process alone: with N replicas a guesser has N times the attempts. Bounded: when the table is full
// the entry that has been quiet for longest makes room. Thread-safe.
#pragma once

#include <chrono>
#include <cstddef>
#include <list>
#include <string>
#include <string_view>
#include <unordered_map>

#include "core/clock.h"
#include "core/error.h"
#include "core/mutex.h"

namespace fettle::access {

class LoginThrottle {
 public:
  // `free` failures cost nothing; each one after that doubles the wait from `first_wait` up to `wait_max`.
  struct Rule {
    int free = 0;
    std::chrono::seconds first_wait{1};
    std::chrono::seconds wait_max{60};
    std::chrono::seconds forget_after{3600};  // without a failure
  };
  struct Options {
    Rule account{.free = 5, .first_wait = std::chrono::seconds(1), .wait_max = std::chrono::minutes(5)};
    Rule address{.free = 20, .first_wait = std::chrono::seconds(2), .wait_max = std::chrono::minutes(15)};
    std::size_t entries_max = 10'000;
  };

  LoginThrottle(Options options, Clock& clock) : options_(options), clock_(clock) {}

  struct Refusal {
    Error error;
    // True for the first refusal of a wait: the one to audit, so that a flood of attempts is not a flood of records.
    bool is_first = false;
    bool by_address = false;
  };
  // `account` as stored (normalised), whether or not there is one; `address` an IP, an IP with port, or "unix".
  std::expected<void, Refusal> begin(std::string_view account, std::string_view address);
  // Forgets the account's failures and takes back the one that begin() counted for the address.
  void succeeded(std::string_view account, std::string_view address);

  std::size_t size() const;

 private:
  struct Entry {
    std::string key;
    int failures = 0;
    std::chrono::nanoseconds last{0};
    std::chrono::nanoseconds blocked_until{0};
    bool refused_since = false;
  };
  using Entries = std::list<Entry>;  // the longest quiet first

  Entry& touch(std::string key, const Rule& rule) FETTLE_REQUIRES(mutex_);
  void count(Entry& entry, const Rule& rule) FETTLE_REQUIRES(mutex_);

  const Options options_;
  Clock& clock_;

  mutable Mutex mutex_;
  Entries entries_ FETTLE_GUARDED_BY(mutex_);
  std::unordered_map<std::string, Entries::iterator> by_key_ FETTLE_GUARDED_BY(mutex_);
};

// What of an address is counted together: "10.0.0.1:5123" → "10.0.0.1"; of IPv6 the first 64 bits, which one
// subscriber has to themselves.
std::string network_of(std::string_view address);

}  // namespace fettle::access
