// Opens the telemetry store, which may not be there yet: again and again with growing pauses until it is open, and
// knows why it is not.
//
//   Opening opening([&](const std::stop_token& stop) { return migrate(stop); }, clock);
//   opening.start({.opened = [&] { health.set_serving(true); }, .failed = [&](const Error& why) { … }});
//   if (!opening.wait(stop)) return;       // stopped
//   …
//   opening.stop();
//
// What went wrong is logged when it changes, not at each attempt. Thread-safe; start() and stop() on one thread.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <stop_token>
#include <thread>

#include "core/clock.h"
#include "core/error.h"
#include "core/mutex.h"

namespace fettle::server {

class Opening {
 public:
  struct Options {
    std::chrono::nanoseconds pause_min = std::chrono::milliseconds(200);
    std::chrono::nanoseconds pause_max = std::chrono::seconds(5);
  };
  // Both are called on the thread that opens: `opened` when check() succeeds and before wait() returns, `failed` only
  // when the reason is another than before.
  struct Watcher {
    std::function<void()> opened;
    std::function<void(const Error& why)> failed;
  };
  // One attempt; ends soon after a stop.
  using Attempt = std::function<Result<void>(const std::stop_token& stop)>;

  // The clock outlives this.
  Opening(Attempt attempt, Clock& clock, Options options);
  Opening(Attempt attempt, Clock& clock) : Opening(std::move(attempt), clock, Options{}) {}
  ~Opening() { stop(); }
  Opening(const Opening&) = delete;
  Opening& operator=(const Opening&) = delete;

  // Returns at once.
  void start(Watcher watcher);
  // Ends the attempts; what is open stays so.
  void stop();

  // Nothing once it is open. Before: kUnavailable, with the reason of the last attempt if one has ended.
  Result<void> check() const;
  // Blocks until it is open. False when stopped before.
  bool wait(const std::stop_token& stop) const;

 private:
  void work(const std::stop_token& stop, const Watcher& watcher);

  const Attempt attempt_;
  Clock& clock_;
  const Options options_;

  mutable Mutex mutex_;
  mutable Condition changed_;
  bool is_open_ FETTLE_GUARDED_BY(mutex_) = false;
  bool is_announced_ FETTLE_GUARDED_BY(mutex_) = false;  // the watcher has been told
  std::optional<Error> trouble_ FETTLE_GUARDED_BY(mutex_);

  std::jthread thread_;  // last: it uses everything above
};

}  // namespace fettle::server
