// Full-jitter retry, bounded by tries and by elapsed time.
#pragma once

#include <functional>
#include <limits>

#include "fettle/sdk/clock.h"
#include "fettle/sdk/error.h"

namespace fettle::sdk {

struct RetryPolicy {
  int retries_max = 0;  // after the first try
  Milliseconds base{100};
  double factor = 2;
  Milliseconds cap{5'000};
  Milliseconds elapsed_max{30'000};  // from the first try to the start of the last one
};

// For calls to the Fettle server, which is back within seconds of a restart.
inline constexpr RetryPolicy kCallRetry{.retries_max = 20};
inline constexpr RetryPolicy kNoRetry{};

// Uniform in [0, min(cap, base · factor^retry)), retry counted from 0.
Milliseconds full_jitter(const RetryPolicy& policy, int retry, double random);

// How long to wait before the next try; nothing when the policy is used up.
std::optional<Milliseconds> wait_before_retry(Clock& clock, const RetryPolicy& policy, int retry,
                                              Clock::Monotonic began, const Error& error);

// Runs `body` until it succeeds, fails for good, or the policy is used up; the last error as it came.
template <class T>
Result<T> retrying(Clock& clock, const RetryPolicy& policy, const std::stop_token& stop,
                   const std::function<bool(const Error&)>& may, const std::function<Result<T>()>& body) {
  const auto began = clock.now();
  for (int retry = 0;; ++retry) {
    Result<T> result = body();
    if (result || stop.stop_requested() || !may(result.error())) return result;
    const auto wait = wait_before_retry(clock, policy, retry, began, result.error());
    if (!wait || !clock.sleep(stop, *wait)) return result;
  }
}

}  // namespace fettle::sdk
