#include "fettle/sdk/retry.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ctime>

namespace fettle::sdk {

double SystemClock::random() {
  const std::lock_guard lock(mutex_);
  return std::uniform_real_distribution<double>(0, 1)(engine_);
}

bool SystemClock::sleep(const std::stop_token& stop, Milliseconds duration) {
  std::unique_lock lock(mutex_);
  never_.wait_for(lock, stop, std::max(duration, Milliseconds(0)), [] { return false; });
  return !stop.stop_requested();
}

std::string rfc3339(Clock::Wall at) {
  const auto ms = std::chrono::floor<Milliseconds>(at.time_since_epoch()).count();
  const auto seconds = static_cast<std::time_t>(ms >= 0 ? ms / 1000 : (ms - 999) / 1000);
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  char text[64];
  std::snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", utc.tm_year + 1900, utc.tm_mon + 1,
                utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
                static_cast<int>(ms - static_cast<std::int64_t>(seconds) * 1000));
  return text;
}

Milliseconds full_jitter(const RetryPolicy& policy, int retry, double random) {
  const double bound = std::min(static_cast<double>(policy.cap.count()),
                                static_cast<double>(policy.base.count()) * std::pow(policy.factor, retry));
  return Milliseconds(static_cast<std::int64_t>(random * bound));
}

std::optional<Milliseconds> wait_before_retry(Clock& clock, const RetryPolicy& policy, int retry,
                                              Clock::Monotonic began, const Error& error) {
  if (retry >= policy.retries_max) return std::nullopt;
  const Milliseconds wait =
      std::max(error.retry_after.value_or(Milliseconds(0)), full_jitter(policy, retry, clock.random()));
  if (clock.now() - began + wait > policy.elapsed_max) return std::nullopt;
  return wait;
}

}  // namespace fettle::sdk
