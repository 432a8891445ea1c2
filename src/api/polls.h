// The long polls that wait here, by worker: one that drains is answered at once.
#pragma once

#include <map>
#include <stop_token>
#include <string>
#include <utility>

#include "core/ids.h"
#include "core/mutex.h"

namespace fettle::api {

// Thread-safe. As many entries as there are requests under way.
class Polls {
 public:
  using Key = std::pair<std::string, std::string>;  // workspace, worker

  void add(const WorkspaceId& workspace, const std::string& worker, const std::stop_source& stop) {
    MutexLock lock(mutex_);
    polls_.emplace(Key{workspace.value, worker}, stop);
  }
  void remove(const WorkspaceId& workspace, const std::string& worker, const std::stop_source& stop) {
    MutexLock lock(mutex_);
    const auto [begin, end] = polls_.equal_range(Key{workspace.value, worker});
    for (auto poll = begin; poll != end; ++poll) {
      if (poll->second == stop) {
        polls_.erase(poll);
        return;
      }
    }
  }
  void end_of(const WorkspaceId& workspace, const std::string& worker) {
    std::multimap<Key, std::stop_source> ending;
    {
      MutexLock lock(mutex_);
      const auto [begin, end] = polls_.equal_range(Key{workspace.value, worker});
      ending.insert(begin, end);
    }
    // Outside of the lock: a poll that ends removes itself.
    for (auto& [key, stop] : ending) stop.request_stop();
  }

 private:
  Mutex mutex_;
  std::multimap<Key, std::stop_source> polls_ FETTLE_GUARDED_BY(mutex_);
};

}  // namespace fettle::api
