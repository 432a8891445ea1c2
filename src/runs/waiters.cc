#include "runs/waiters.h"

#include <algorithm>

namespace fettle::runs {
namespace {

// Past it, pools where nobody waits are forgotten.
constexpr std::size_t kPoolsMax = 10'000;

}  // namespace

Waiters::Ticket Waiters::ticket(const WorkspaceId& workspace, const std::string& pool) {
  MutexLock lock(mutex_);
  if (pools_.size() >= kPoolsMax) {
    std::erase_if(pools_, [](const auto& entry) { return entry.second.waiters.empty(); });
  }
  Key key{workspace.value, pool};
  const std::uint64_t seen = pools_[key].notified;
  return {std::move(key), seen};
}

bool Waiters::wait(const Ticket& ticket, std::vector<std::string> workflows, std::int32_t runs_max,
                   std::chrono::nanoseconds deadline, const void* owner, Woken& woken) {
  {
    MutexLock lock(mutex_);
    if (!closed_) {
      Pool& pool = pools_[ticket.key];
      if (pool.notified != ticket.seen) return false;
      pool.waiters.push_back({std::move(workflows), std::max(runs_max, 1), deadline, owner, std::move(woken)});
      return true;
    }
  }
  woken(false);
  return true;
}

void Waiters::cancel(const Key& key, const void* owner) {
  Woken woken;
  {
    MutexLock lock(mutex_);
    const auto found = pools_.find(key);
    if (found == pools_.end()) return;
    auto& waiters = found->second.waiters;
    const auto waiter = std::ranges::find(waiters, owner, &Waiter::owner);
    if (waiter == waiters.end()) return;
    woken = std::move(waiter->woken);
    waiters.erase(waiter);
  }
  woken(false);
}

void Waiters::notify(const WorkspaceId& workspace, const std::vector<Wake>& wakes) {
  std::vector<Waiter> chosen;
  {
    MutexLock lock(mutex_);
    for (const Wake& wake : wakes) {
      const auto found = pools_.find({workspace.value, wake.pool});
      if (found == pools_.end()) continue;
      Pool& pool = found->second;
      ++pool.notified;
      auto left = static_cast<std::int64_t>(wake.count);
      for (auto waiter = pool.waiters.begin(); waiter != pool.waiters.end() && left > 0;) {
        const bool wants = waiter->workflows.empty() || wake.workflow.empty() ||
                           std::ranges::find(waiter->workflows, wake.workflow) != waiter->workflows.end();
        if (!wants) {
          ++waiter;
          continue;
        }
        left -= waiter->runs_max;
        chosen.push_back(std::move(*waiter));
        waiter = pool.waiters.erase(waiter);
      }
    }
  }
  for (Waiter& waiter : chosen) waiter.woken(true);
}

void Waiters::expire(std::chrono::nanoseconds now) {
  std::vector<Waiter> expired;
  {
    MutexLock lock(mutex_);
    for (auto& [key, pool] : pools_) {
      for (auto waiter = pool.waiters.begin(); waiter != pool.waiters.end();) {
        if (waiter->deadline > now) {
          ++waiter;
          continue;
        }
        expired.push_back(std::move(*waiter));
        waiter = pool.waiters.erase(waiter);
      }
    }
  }
  for (Waiter& waiter : expired) waiter.woken(false);
}

void Waiters::close() {
  {
    MutexLock lock(mutex_);
    closed_ = true;
  }
  expire(std::chrono::nanoseconds::max());
}

std::vector<Waiters::Key> Waiters::keys() const {
  MutexLock lock(mutex_);
  std::vector<Key> out;
  for (const auto& [key, pool] : pools_) {
    if (!pool.waiters.empty()) out.push_back(key);
  }
  return out;
}

std::size_t Waiters::size() const {
  MutexLock lock(mutex_);
  std::size_t count = 0;
  for (const auto& [key, pool] : pools_) count += pool.waiters.size();
  return count;
}

}  // namespace fettle::runs
