// What becomes of a delivery after an attempt, and when the next one is. Pure.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

#include "core/clock.h"
#include "core/rng.h"

namespace fettle::notify {

enum class Verdict : std::uint8_t {
  kDelivered,  // 2xx
  kRetry,      // no answer, 408, 425, 429, 5xx
  kDead,       // any other answer: the same request will not do better
  kGone,       // 410: the endpoint wants no more
};
Verdict verdict_of(int status);

struct RetryPolicy {
  std::chrono::milliseconds base = std::chrono::seconds(5);
  std::chrono::milliseconds cap = std::chrono::hours(2);
  std::chrono::milliseconds give_up_after = std::chrono::hours(24);  // about 25 to 35 attempts
};

// When to try again after `attempts` (at least 1): at now + uniform(0, min(cap, base · 2^(attempts − 1))), no earlier
// than `retry_after` asks, and once more at `give_up_at` at the latest. Nothing once that is past, or when the endpoint
// asks to be left alone beyond it.
std::optional<UnixNanos> next_attempt(const RetryPolicy& policy, int attempts, UnixNanos now, UnixNanos give_up_at,
                                      std::chrono::nanoseconds retry_after, Rng& rng);

// The value of a Retry-After field: seconds, or a date in any of the three forms of RFC 9110. Zero for what is past or
// malformed; at most a year.
std::chrono::nanoseconds parse_retry_after(std::string_view value, UnixNanos now);

}  // namespace fettle::notify
