// Time, handed in. Everything that waits, expires or stamps takes a Clock&, so that a test moves time instead of
// sleeping. Event times are nanoseconds since the Unix epoch (UTC), as OTLP and the store have them.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <stop_token>
#include <string>

namespace fettle {

using UnixNanos = std::int64_t;
constexpr UnixNanos kNanosPerMilli = 1'000'000;
constexpr UnixNanos kNanosPerSecond = 1'000'000'000;
constexpr UnixNanos kNanosPerDay = 86'400 * kNanosPerSecond;

// Thread-safe. Outlives whatever it is handed to.
class Clock {
 public:
  virtual ~Clock() = default;
  // Wall clock: may jump. For stamps and for comparing with event times.
  virtual UnixNanos now() const = 0;
  // Never goes back. For durations and deadlines.
  virtual std::chrono::nanoseconds monotonic() const = 0;
  // Blocks until monotonic() >= until or a stop is requested. Returns false when stopped.
  virtual bool wait_until(std::chrono::nanoseconds until, const std::stop_token& stop) = 0;

  bool wait_for(std::chrono::nanoseconds duration, const std::stop_token& stop) {
    return wait_until(monotonic() + duration, stop);
  }
};

class SystemClock final : public Clock {
 public:
  UnixNanos now() const override;
  std::chrono::nanoseconds monotonic() const override;
  bool wait_until(std::chrono::nanoseconds until, const std::stop_token& stop) override;
};

// Time that stands still until a test moves it; advancing wakes every waiter whose time has come.
class ManualClock final : public Clock {
 public:
  explicit ManualClock(UnixNanos start) : now_(start) {}
  UnixNanos now() const override;
  std::chrono::nanoseconds monotonic() const override;
  bool wait_until(std::chrono::nanoseconds until, const std::stop_token& stop) override;
  void advance(std::chrono::nanoseconds by);
  // Blocks until `count` threads wait on this clock, so that a test advances only when its subject is ready.
  void await_waiters(int count);

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable_any changed_;
  UnixNanos now_;
  std::chrono::nanoseconds monotonic_{0};
  int waiters_ = 0;
};

// Days since 1970-01-01 (UTC): the number of a day partition. Rounds towards the past for times before the epoch.
constexpr std::int32_t day_of(UnixNanos t) {
  return static_cast<std::int32_t>(t >= 0 ? t / kNanosPerDay : -((-t + kNanosPerDay - 1) / kNanosPerDay));
}

// RFC 3339 in UTC with nanoseconds cut to what is there: "2026-11-21T09:14:32.5Z".
std::string format_rfc3339(UnixNanos t);

}  // namespace fettle
