#include "ingest/replay_guard.h"

#include <algorithm>
#include <utility>

namespace fettle::ingest {

ReplayGuard::Seen ReplayGuard::begin(const RequestHash& hash, Waiter waiter) {
  MutexLock lock(mutex_);
  forget_old();
  if (const auto done = done_.find(hash); done != done_.end()) return {State::kDone, done->second};
  const auto [entry, is_new] = in_flight_.try_emplace(hash);
  if (is_new) return {State::kNew, {}};
  if (entry->second.size() >= limits_.waiters_max) return {State::kCrowded, {}};
  entry->second.push_back(std::move(waiter));
  return {State::kInFlight, {}};
}

void ReplayGuard::finish(const RequestHash& hash, Result<RequestAnswer> outcome) {
  std::vector<Waiter> waiters;
  {
    MutexLock lock(mutex_);
    if (const auto entry = in_flight_.find(hash); entry != in_flight_.end()) {
      waiters = std::move(entry->second);
      in_flight_.erase(entry);
    }
    if (outcome) remember({hash, *outcome}, clock_.monotonic());
  }
  for (Waiter& waiter : waiters) waiter(outcome);
}

void ReplayGuard::restore(const RequestKey& key, UnixNanos at) {
  MutexLock lock(mutex_);
  const std::chrono::nanoseconds age(std::max<UnixNanos>(clock_.now() - at, 0));
  if (age < limits_.remember_for) remember(key, clock_.monotonic() - age);
}

std::size_t ReplayGuard::size() const {
  MutexLock lock(mutex_);
  return done_.size();
}

void ReplayGuard::remember(const RequestKey& key, std::chrono::nanoseconds at) {
  const auto [entry, is_new] = done_.try_emplace(key.hash, key.answer);
  if (!is_new) return;
  by_age_.push_back({at, key.hash});
  while (done_.size() > limits_.keys_max) {
    done_.erase(by_age_.front().hash);
    by_age_.pop_front();
  }
}

// Keys are remembered in the order of their requests, but for those of a start, which are all older. Where the wall
// clock jumped in an earlier run, one of those may stay until those before it have gone.
void ReplayGuard::forget_old() {
  const std::chrono::nanoseconds now = clock_.monotonic();
  while (!by_age_.empty() && by_age_.front().at + limits_.remember_for <= now) {
    done_.erase(by_age_.front().hash);
    by_age_.pop_front();
  }
}

}  // namespace fettle::ingest
