// Slows down guessing: after a few failures an account, or an address, waits before it may try again.
//
//   auto attempt = throttle.begin(account, address);   // refused: kResourceExhausted with retry_after
//   if (!attempt) …
//   … verify …
//   if (matches) throttle.succeeded(account, address);
//
// begin() counts the attempt as failed at once, so that many at the same time are many; succeeded() takes it back. An
// account waits at most a few minutes, however often somebody else fails on it: nobody can be locked out for long. In
// memory and of this process alone: with N replicas a guesser has N times the attempts.
//
// Bounded, and no flood of names makes it forget: when the table is full, the entry with the fewest failures makes
// room, of those the one that has been quiet for longest; one that waits never does. Where nothing else is left,
// whatever is not in the table shares one entry. Thread-safe.
#pragma once

#include <array>
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
    // Whatever finds the table full of those who wait.
    Rule crowd{.free = 20, .first_wait = std::chrono::seconds(1), .wait_max = std::chrono::seconds(60)};
    std::size_t entries_max = 10'000;
  };

  LoginThrottle(Options options, Clock& clock) : options_(options), clock_(clock) { crowd_.rule = &options_.crowd; }

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
    const Rule* rule = nullptr;
    int failures = 0;
    std::chrono::nanoseconds last{0};
    std::chrono::nanoseconds blocked_until{0};
    bool refused_since = false;
  };
  using Entries = std::list<Entry>;  // the longest quiet first
  static constexpr std::size_t kLevels = 16;
  static std::size_t level_of(const Entry& entry);

  // Making room never takes the entry of `keep`.
  Entry& touch(std::string key, const Rule& rule, std::string_view keep = {}) FETTLE_REQUIRES(mutex_);
  void count(Entry& entry) FETTLE_REQUIRES(mutex_);
  // To the end of the list that its failures belong to; it was in that of `before`.
  void settle(Entries::iterator entry, std::size_t before) FETTLE_REQUIRES(mutex_);
  bool make_room(std::string_view keep) FETTLE_REQUIRES(mutex_);
  bool is_over(const Entry& entry) const;

  const Options options_;
  Clock& clock_;

  mutable Mutex mutex_;
  std::array<Entries, kLevels> entries_ FETTLE_GUARDED_BY(mutex_);  // by failures, the last for that many or more
  Entry crowd_ FETTLE_GUARDED_BY(mutex_);
  std::unordered_map<std::string, Entries::iterator> by_key_ FETTLE_GUARDED_BY(mutex_);
};

// What of an address is counted together: "10.0.0.1:5123" → "10.0.0.1"; of IPv6 the first 64 bits, which one
// subscriber has to themselves.
std::string network_of(std::string_view address);

}  // namespace fettle::access
