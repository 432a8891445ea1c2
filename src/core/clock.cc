#include "core/clock.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <ctime>

namespace fettle {

UnixNanos SystemClock::now() const {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::chrono::nanoseconds SystemClock::monotonic() const { return std::chrono::steady_clock::now().time_since_epoch(); }

bool SystemClock::wait_until(std::chrono::nanoseconds until, const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any wake;
  std::unique_lock lock(mutex);
  wake.wait_until(lock, stop, std::chrono::steady_clock::time_point(until), [] { return false; });
  return !stop.stop_requested();
}

UnixNanos ManualClock::now() const {
  std::lock_guard lock(mutex_);
  return now_;
}

std::chrono::nanoseconds ManualClock::monotonic() const {
  std::lock_guard lock(mutex_);
  return monotonic_;
}

bool ManualClock::wait_until(std::chrono::nanoseconds until, const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  ++waiters_;
  changed_.notify_all();
  const bool reached = changed_.wait(lock, stop, [&] { return monotonic_ >= until; });
  --waiters_;
  return reached && !stop.stop_requested();
}

void ManualClock::advance(std::chrono::nanoseconds by) {
  {
    std::lock_guard lock(mutex_);
    now_ += by.count();
    monotonic_ += by;
  }
  changed_.notify_all();
}

void ManualClock::await_waiters(int count) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return waiters_ >= count; });
}

std::string format_rfc3339(UnixNanos t) {
  UnixNanos seconds = t / kNanosPerSecond;
  UnixNanos nanos = t % kNanosPerSecond;
  if (nanos < 0) {
    nanos += kNanosPerSecond;
    --seconds;
  }
  const auto stamp = static_cast<std::time_t>(seconds);
  std::tm utc{};
  gmtime_r(&stamp, &utc);
  std::string text = fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday,
                                 utc.tm_hour, utc.tm_min, utc.tm_sec);
  if (nanos != 0) {
    std::string fraction = fmt::format(".{:09}", nanos);
    fraction.erase(fraction.find_last_not_of('0') + 1);
    text += fraction;
  }
  return text + 'Z';
}

}  // namespace fettle
