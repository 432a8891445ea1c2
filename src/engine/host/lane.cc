#include "engine/host/lane.h"

#include <exception>

#include "core/log.h"

namespace fettle::engine_host {

Lane::Lane(const std::string& name, int threads, std::size_t waiting_max, metrics::Registry& metrics)
    : waiting_max_(waiting_max),
      refused_(metrics.counter("fettle_engine_refused_total", "Statements refused because their lane was full.",
                               {{"lane", name}})),
      waiting_gauge_(metrics.gauge("fettle_engine_waiting", "Statements waiting for a thread.", {{"lane", name}})) {
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
}

bool Lane::submit(Job& job) {
  MutexLock lock(mutex_);
  if (is_stopping_ || waiting_.size() >= waiting_max_) {
    refused_.add();
    return false;
  }
  waiting_.push_back(std::move(job));
  waiting_gauge_.set(static_cast<double>(waiting_.size()));
  changed_.notify_one();
  return true;
}

void Lane::stop() {
  std::deque<Job> dropped;
  {
    MutexLock lock(mutex_);
    is_stopping_ = true;
    dropped.swap(waiting_);
    changed_.notify_all();
  }
  threads_.clear();
}

void Lane::work() {
  while (true) {
    Job job;
    {
      MutexLock lock(mutex_);
      while (waiting_.empty() && !is_stopping_) changed_.wait(lock);
      if (is_stopping_) return;
      job = std::move(waiting_.front());
      waiting_.pop_front();
      waiting_gauge_.set(static_cast<double>(waiting_.size()));
    }
    try {
      job();
    } catch (const std::exception& error) {
      // The job's destructor answers its client; the lane goes on.
      log::error("statement_failed", {{"error", error.what()}});
    }
  }
}

}  // namespace fettle::engine_host
