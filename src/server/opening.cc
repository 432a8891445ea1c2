#include "server/opening.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/log.h"

namespace fettle::server {

Opening::Opening(Attempt attempt, Clock& clock, Options options)
    : attempt_(std::move(attempt)), clock_(clock), options_(options) {}

void Opening::start(Watcher watcher) {
  thread_ = std::jthread([this, watcher = std::move(watcher)](const std::stop_token& stop) { work(stop, watcher); });
}

void Opening::stop() {
  thread_.request_stop();
  if (thread_.joinable()) thread_.join();
}

Result<void> Opening::check() const {
  MutexLock lock(mutex_);
  if (is_open_) return {};
  if (!trouble_) return fail(ErrorCode::kUnavailable, "the telemetry store is being opened");
  return fail(ErrorCode::kUnavailable,
              fmt::format("the telemetry store cannot be opened yet: {}", trouble_->message()));
}

bool Opening::wait(const std::stop_token& stop) const {
  MutexLock lock(mutex_);
  while (!is_announced_) {
    if (!changed_.wait(lock, stop)) return false;
  }
  return true;
}

void Opening::work(const std::stop_token& stop, const Watcher& watcher) {
  const auto begun = clock_.monotonic();
  auto pause = options_.pause_min;
  for (int attempts = 1;; ++attempts) {
    auto outcome = attempt_(stop);
    if (outcome) {
      {
        MutexLock lock(mutex_);
        is_open_ = true;
      }
      log::info("store_open",
                {{"attempts", attempts},
                 {"took_ms", std::chrono::duration<double, std::milli>(clock_.monotonic() - begun).count()}});
      watcher.opened();
      MutexLock lock(mutex_);
      is_announced_ = true;
      changed_.notify_all();
      return;
    }
    if (stop.stop_requested()) return;
    const Error& why = outcome.error();
    bool is_news = false;
    {
      MutexLock lock(mutex_);
      is_news = !trouble_ || trouble_->message() != why.message();
      trouble_ = why;
    }
    if (is_news) {
      log::error("store_not_open", {{"error", why.message()}, {"meanwhile", "what arrives waits in the spool"}});
      watcher.failed(why);
    }
    if (!clock_.wait_for(pause, stop)) return;
    pause = std::min(2 * pause, options_.pause_max);
  }
}

}  // namespace fettle::server
