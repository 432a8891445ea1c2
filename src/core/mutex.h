// std::mutex with the annotations that clang's thread-safety analysis needs; the bare one carries none.
//
//   Mutex mutex_;
//   int count_ FETTLE_GUARDED_BY(mutex_) = 0;
//   void add() { MutexLock lock(mutex_); ++count_; }
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <stop_token>
#include <utility>

#if defined(__clang__)
#define FETTLE_THREAD_ANNOTATION(x) __attribute__((x))
#else
#define FETTLE_THREAD_ANNOTATION(x)
#endif
#define FETTLE_GUARDED_BY(x) FETTLE_THREAD_ANNOTATION(guarded_by(x))
#define FETTLE_REQUIRES(...) FETTLE_THREAD_ANNOTATION(requires_capability(__VA_ARGS__))
#define FETTLE_EXCLUDES(...) FETTLE_THREAD_ANNOTATION(locks_excluded(__VA_ARGS__))

namespace fettle {

class FETTLE_THREAD_ANNOTATION(capability("mutex")) Mutex {
 public:
  void lock() FETTLE_THREAD_ANNOTATION(acquire_capability()) { mutex_.lock(); }
  void unlock() FETTLE_THREAD_ANNOTATION(release_capability()) { mutex_.unlock(); }

 private:
  std::mutex mutex_;
};

// Holds a Mutex for a scope. Waits on a Condition give it up and take it again.
class FETTLE_THREAD_ANNOTATION(scoped_lockable) MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) FETTLE_THREAD_ANNOTATION(acquire_capability(mutex)) : mutex_(mutex) {
    mutex_.lock();
  }
  ~MutexLock() FETTLE_THREAD_ANNOTATION(release_capability()) { mutex_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  friend class Condition;
  Mutex& mutex_;
};

// A condition variable for Mutex. The caller re-checks its condition in a loop, where the analysis can see the lock:
//   while (queue_.empty() && !closing_) condition_.wait(lock);
class Condition {
 public:
  void wait(MutexLock& lock) { condition_.wait(lock.mutex_); }
  // False when a stop was requested.
  bool wait(MutexLock& lock, const std::stop_token& stop) {
    bool woken = false;
    condition_.wait(lock.mutex_, stop, [&] { return std::exchange(woken, true); });
    return !stop.stop_requested();
  }
  // False on timeout.
  bool wait_for(MutexLock& lock, std::chrono::nanoseconds duration) {
    return condition_.wait_for(lock.mutex_, duration) == std::cv_status::no_timeout;
  }
  void notify_one() { condition_.notify_one(); }
  void notify_all() { condition_.notify_all(); }

 private:
  std::condition_variable_any condition_;
};

}  // namespace fettle
