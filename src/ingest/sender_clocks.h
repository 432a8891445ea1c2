// How far the clocks of senders are from ours, from the newest event time of each of their requests.
//
//   SenderClocks clocks(clock);
//   clocks.note("acme", "checkout", newest_event_time - received_at);
//   for (const SenderClock& one : clocks.list("acme")) …          // newest first
//
// A batch holds nothing newer than the moment it was sent, so event time ahead of our clock is skew for certain, and at
// least so much. Event time behind may be a clock that is behind or a batch that was long under way: of several batches
// the promptest counts, and what is left is called delay. Both are of the last five minutes (2.5 at the least).
//
// Remembers a bounded number of senders, the most recently heard ones, and nothing over a restart. Thread-safe.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.h"
#include "core/mutex.h"

namespace fettle::ingest {

struct SenderClock {
  std::string sender;
  std::chrono::nanoseconds skew{0};   // the sender's clock is ahead of ours by at least this
  std::chrono::nanoseconds delay{0};  // the promptest batch was so late, or its sender's clock is behind
  bool operator==(const SenderClock&) const = default;
};

class SenderClocks {
 public:
  struct Limits {
    std::size_t senders_max = 256;       // of a workspace; past it the one unheard for longest is forgotten
    std::size_t workspaces_max = 1'000;  // past it a new one is not watched
    std::size_t sender_bytes_max = 128;
  };

  explicit SenderClocks(Clock& clock) : SenderClocks(clock, Limits{}) {}
  SenderClocks(Clock& clock, Limits limits) : clock_(clock), limits_(limits) {}

  // `offset` is the newest event time of a request less the time at which it was received.
  void note(std::string_view workspace, std::string_view sender, std::chrono::nanoseconds offset);
  // Those heard within the window.
  std::vector<SenderClock> list(std::string_view workspace) const;

 private:
  struct Heard {
    std::chrono::nanoseconds at{0};
    std::int64_t half = 0;  // the half window that `newest` is of
    std::chrono::nanoseconds newest{0};
    std::optional<std::chrono::nanoseconds> newest_before;  // of the half window before
  };
  using BySender = std::map<std::string, Heard, std::less<>>;

  Clock& clock_;
  const Limits limits_;
  mutable Mutex mutex_;
  std::map<std::string, BySender, std::less<>> workspaces_ FETTLE_GUARDED_BY(mutex_);
};

}  // namespace fettle::ingest
