// A fixed number of threads that carry out jobs in order of arrival, and a bounded queue before them.
//
// Reads, inserts, other statements and health questions each have a lane, so that none can starve another. Idle
// threads sleep on a condition: an idle lane costs nothing.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "core/metrics.h"
#include "core/mutex.h"

namespace fettle::engine_host {

class Lane {
 public:
  using Job = std::move_only_function<void()>;

  Lane(const std::string& name, int threads, std::size_t waiting_max, metrics::Registry& metrics);
  ~Lane() { stop(); }

  // False when `waiting_max` jobs wait already or the lane is stopping; the job is then untouched.
  bool submit(Job& job);
  // Drops what waits (each job's destructor answers its client) and joins once the running jobs have ended.
  void stop();

 private:
  void work();

  const std::size_t waiting_max_;
  metrics::Counter& refused_;
  metrics::Gauge& waiting_gauge_;

  Mutex mutex_;
  Condition changed_;
  std::deque<Job> waiting_ FETTLE_GUARDED_BY(mutex_);
  bool is_stopping_ FETTLE_GUARDED_BY(mutex_) = false;

  std::vector<std::jthread> threads_;
};

}  // namespace fettle::engine_host
