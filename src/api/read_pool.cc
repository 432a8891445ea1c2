#include "api/read_pool.h"

#include <algorithm>
#include <exception>

#include "core/log.h"

namespace fettle::api {

ReadPool::ReadPool(const std::string& name, int threads, std::size_t queue_max, metrics::Registry& metrics)
    : threads_max_(static_cast<std::size_t>(threads)),
      queue_max_(queue_max),
      waiting_gauge_(
          metrics.gauge("fettle_api_reads_waiting", "Reads that wait for a query thread.", {{"pool", name}})),
      refused_counter_(metrics.counter("fettle_api_reads_refused_total", "Reads refused because the queue was full.",
                                       {{"pool", name}})) {
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { loop(); });
}

void ReadPool::run(Exchange exchange, Work work) {
  std::stop_source stop;
  // Registered before the job is queued: the client may leave while it waits.
  exchange.on_close([stop]() mutable { stop.request_stop(); });
  std::string workspace = exchange.scope().workspace.value;
  bool is_stopping = false;
  {
    MutexLock lock(mutex_);
    is_stopping = stopping_;
    if (first_workspace_.empty()) first_workspace_ = workspace;
    is_shared_ = is_shared_ || workspace != first_workspace_;
    const auto own = shares_.find(workspace);
    const std::size_t own_waiting = own == shares_.end() ? 0 : own->second.waiting;
    if (!is_stopping && waiting_.size() < queue_max_ && own_waiting < share_of(queue_max_)) {
      ++shares_[workspace].waiting;
      waiting_.push_back({std::move(exchange), std::move(work), stop, std::move(workspace)});
      waiting_gauge_.set(static_cast<double>(waiting_.size()));
      changed_.notify_one();
      return;
    }
  }
  refused_counter_.add();
  exchange.problem(Error(ErrorCode::kUnavailable, is_stopping ? "the server is stopping" : "too many reads are waiting")
                       .with_retry_after(std::chrono::seconds(is_stopping ? 5 : 1)));
}

std::size_t ReadPool::share_of(std::size_t all) const { return is_shared_ ? (all + 1) / 2 : all; }

std::deque<ReadPool::Job>::iterator ReadPool::next() {
  auto chosen = waiting_.end();
  const Share* its = nullptr;
  for (auto it = waiting_.begin(); it != waiting_.end(); ++it) {
    const Share& share = shares_[it->workspace];
    if (share.running >= share_of(threads_max_)) continue;
    if (its != nullptr && share.last_turn >= its->last_turn) continue;
    chosen = it;
    its = &share;
  }
  return chosen;
}

void ReadPool::loop() {
  while (true) {
    std::unique_ptr<Job> job;
    {
      MutexLock lock(mutex_);
      auto chosen = next();
      while (chosen == waiting_.end() && !stopping_) {
        changed_.wait(lock);
        chosen = next();
      }
      if (stopping_) return;
      job = std::make_unique<Job>(std::move(*chosen));
      waiting_.erase(chosen);
      Share& share = shares_[job->workspace];
      --share.waiting;
      ++share.running;
      share.last_turn = ++turns_;
      waiting_gauge_.set(static_cast<double>(waiting_.size()));
      running_.push_back(job->stop);
    }
    try {
      if (job->stop.stop_requested()) {
        job->exchange.problem(Error(ErrorCode::kCancelled, "the client left"));
      } else {
        job->work(job->exchange, job->stop.get_token());
      }
    } catch (const std::exception& error) {
      // The exchange answers 500 when it is dropped.
      log::error("read_threw", {{"request_id", job->exchange.request_id()}, {"error", error.what()}});
    }
    MutexLock lock(mutex_);
    running_.erase(std::ranges::find(running_, job->stop));
    const auto share = shares_.find(job->workspace);
    // This thread is the next to look for work, so nobody need be told of the room.
    if (--share->second.running == 0 && share->second.waiting == 0) shares_.erase(share);
  }
}

void ReadPool::stop() {
  std::deque<Job> left;
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    left.swap(waiting_);
    for (std::stop_source& source : running_) source.request_stop();
    changed_.notify_all();
  }
  for (Job& job : left) {
    job.exchange.problem(
        Error(ErrorCode::kUnavailable, "the server is stopping").with_retry_after(std::chrono::seconds(5)));
  }
  threads_.clear();
}

}  // namespace fettle::api
