#include "ingest/replay_guard.h"

#include <utility>

namespace fettle::ingest {

ReplayGuard::Seen ReplayGuard::begin(const RequestHash& hash, Waiter waiter) {
  MutexLock lock(mutex_);
  forget_old(clock_.now());
  if (const auto done = done_.find(hash); done != done_.end()) return {State::kDone, done->second.answer};
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
    if (outcome) remember({hash, *outcome}, clock_.now());
  }
  for (Waiter& waiter : waiters) waiter(outcome);
}

void ReplayGuard::restore(const RequestKey& key, UnixNanos at) {
  MutexLock lock(mutex_);
  if (at + limits_.remember_for.count() > clock_.now()) remember(key, at);
}

std::size_t ReplayGuard::size() const {
  MutexLock lock(mutex_);
  return done_.size();
}

void ReplayGuard::remember(const RequestKey& key, UnixNanos at) {
  const auto [entry, is_new] = done_.try_emplace(key.hash, Done{key.answer, at});
  if (!is_new) return;
  by_age_.push_back({at, key.hash});
  while (done_.size() > limits_.keys_max) {
    done_.erase(by_age_.front().hash);
    by_age_.pop_front();
  }
}

// Keys are remembered in the order of their requests, but for those of a start, which are all older. A wall clock that
// jumps can only make one stay until those before it have gone.
void ReplayGuard::forget_old(UnixNanos now) {
  while (!by_age_.empty() && by_age_.front().at + limits_.remember_for.count() <= now) {
    done_.erase(by_age_.front().hash);
    by_age_.pop_front();
  }
}

}  // namespace fettle::ingest
