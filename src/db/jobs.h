// What waits for a store's threads: transactions and reads with their completions, in bounded queues.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/mutex.h"
#include "db/database.h"

namespace fettle::db {

struct WriteJob {
  std::move_only_function<Result<void>(Transaction&)> body;
  std::move_only_function<void(Result<void>)> done;
  WriteOptions options;
};

struct ReadJob {
  std::move_only_function<Result<void>(Reader&)> body;
  std::move_only_function<void(Result<void>)> done;
  ReadOptions options;
};

// Runs a body and turns what it throws into an Error.
Result<void> run_body(std::move_only_function<Result<void>(Transaction&)>& body, Transaction& tx);
Result<void> run_body(std::move_only_function<Result<void>(Reader&)>& body, Reader& reader);
// Calls `done`; what it throws is logged, because nobody is left to tell.
void complete(std::move_only_function<void(Result<void>)>& done, Result<void> result);

// A bounded queue between any number of threads, of which from the second owner on none has more than half.
template <class Job>
class JobQueue {
 public:
  enum class Push { kAccepted, kFull, kClosed };

  explicit JobQueue(std::size_t size_max) : size_max_(size_max) {}

  // Leaves `job` as it was unless it is accepted.
  Push push(Job&& job) {
    {
      MutexLock lock(mutex_);
      if (closed_) return Push::kClosed;
      if (jobs_.size() >= size_max_) return Push::kFull;
      if (const std::string& owner = job.options.owner; !owner.empty()) {
        if (first_owner_.empty()) first_owner_ = owner;
        is_shared_ = is_shared_ || owner != first_owner_;
        std::size_t& waiting = waiting_[owner];
        if (is_shared_ && waiting >= (size_max_ + 1) / 2) return Push::kFull;
        ++waiting;
      }
      jobs_.push_back(std::move(job));
    }
    ready_.notify_one();
    return Push::kAccepted;
  }

  // Blocks for the next jobs, at most `count`; a job for which `alone` holds comes by itself. False when the queue is
  // closed and empty.
  template <class Alone>
  bool take(std::vector<Job>& out, std::size_t count, const Alone& alone) {
    MutexLock lock(mutex_);
    while (jobs_.empty() && !closed_) ready_.wait(lock);
    out.clear();
    while (!jobs_.empty() && out.size() < count) {
      const bool by_itself = alone(jobs_.front());
      if (by_itself && !out.empty()) break;
      out.push_back(std::move(jobs_.front()));
      jobs_.pop_front();
      if (const auto share = waiting_.find(out.back().options.owner); share != waiting_.end() && --share->second == 0) {
        waiting_.erase(share);
      }
      if (by_itself) break;
    }
    // Another thread may go on with what is left.
    if (!jobs_.empty()) ready_.notify_one();
    return !out.empty();
  }

  void close() {
    {
      MutexLock lock(mutex_);
      closed_ = true;
    }
    ready_.notify_all();
  }

  std::size_t size() const {
    MutexLock lock(mutex_);
    return jobs_.size();
  }

 private:
  const std::size_t size_max_;
  mutable Mutex mutex_;
  Condition ready_;
  std::deque<Job> jobs_ FETTLE_GUARDED_BY(mutex_);
  std::map<std::string, std::size_t> waiting_ FETTLE_GUARDED_BY(mutex_);  // by owner
  std::string first_owner_ FETTLE_GUARDED_BY(mutex_);
  bool is_shared_ FETTLE_GUARDED_BY(mutex_) = false;
  bool closed_ FETTLE_GUARDED_BY(mutex_) = false;
};

// Counts what a store does, for Status and for /metrics.
class Books {
 public:
  explicit Books(metrics::Registry& registry);
  void committed(std::size_t transactions, double seconds);
  void failed(std::size_t transactions);
  void refused();
  void repeated();
  void read(bool ok);
  Status status() const;

 private:
  mutable Mutex mutex_;
  Status status_ FETTLE_GUARDED_BY(mutex_);
  metrics::Counter& committed_;
  metrics::Counter& failed_;
  metrics::Counter& refused_;
  metrics::Counter& repeated_;
  metrics::Counter& commits_;
  metrics::Counter& reads_ok_;
  metrics::Counter& reads_failed_;
  metrics::Histogram& commit_seconds_;
};

// Answers a job that was not accepted.
template <class Job>
void refuse(Job& job, typename JobQueue<Job>::Push why, const char* queue, const Options& options, Books& books) {
  if (why == JobQueue<Job>::Push::kClosed) {
    complete(job.done, fail(ErrorCode::kCancelled, "the ledger's store is closed"));
    return;
  }
  books.refused();
  complete(job.done,
           std::unexpected(Error(ErrorCode::kResourceExhausted, std::string("the ledger's ") + queue + " is full")
                               .with_retry_after(options.retry_after)));
}

}  // namespace fettle::db
