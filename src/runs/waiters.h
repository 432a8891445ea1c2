// Long polls that wait for work, in this process: who is told that a run became ready.
//
//   const auto ticket = waiters.ticket(workspace, pool);
//   …lease; nothing there…
//   if (!waiters.wait(ticket, …)) …something became ready in between: lease again…
//
// One run wakes one worker, not all: each waiter takes as many runs as it has room for off the count. Holds nothing
// that matters: the queue is in the store, and upkeep looks there for what another replica enqueued. Thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/ids.h"
#include "core/mutex.h"
#include "runs/unit.h"

namespace fettle::runs {

class Waiters {
 public:
  using Key = std::pair<std::string, std::string>;  // workspace, pool
  struct Ticket {
    Key key;
    std::uint64_t seen = 0;
  };
  // Called once: true when there may be work, false when the time is over. On the thread that woke or expired it.
  using Woken = std::move_only_function<void(bool)>;

  Ticket ticket(const WorkspaceId& workspace, const std::string& pool);
  // False, and `woken` is not kept, when something was notified since the ticket.
  // `owner` names the wait for cancel().
  bool wait(const Ticket& ticket, std::vector<std::string> workflows, std::int32_t runs_max,
            std::chrono::nanoseconds deadline, const void* owner, Woken& woken);
  // Ends the owner's wait as if its time were over. Nothing when it does not wait.
  void cancel(const Key& key, const void* owner);
  void notify(const WorkspaceId& workspace, const std::vector<Wake>& wakes);
  // Ends the waits whose deadline (Clock::monotonic) has passed.
  void expire(std::chrono::nanoseconds now);
  // Ends all.
  void close();
  // Where somebody waits.
  std::vector<Key> keys() const;
  std::size_t size() const;

 private:
  struct Waiter {
    std::vector<std::string> workflows;
    std::int32_t runs_max = 1;
    std::chrono::nanoseconds deadline{0};
    const void* owner = nullptr;
    Woken woken;
  };
  struct Pool {
    std::uint64_t notified = 0;
    std::list<Waiter> waiters;  // the longest waiting first
  };
  mutable Mutex mutex_;
  bool closed_ FETTLE_GUARDED_BY(mutex_) = false;
  // Grows by one entry for each pool that was ever leased from here: as many as workers name, bounded by kPoolsMax.
  std::map<Key, Pool> pools_ FETTLE_GUARDED_BY(mutex_);
};

}  // namespace fettle::runs
