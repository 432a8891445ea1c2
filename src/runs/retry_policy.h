// Retry or dead letter, and when: pure decisions, tested by table.
//
//   ErrorClass what = classify(error);
//   Decision next = decide(policy, {what, chain_retries, chain_started_at, now, error.retry_after}, random);
//
// Full jitter: the delay is uniform between nothing and min(cap, base · factor^n), so that work that failed together
// does not come back together. A longer Retry-After wins. Bounded by the number of retries and by elapsed time.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "core/clock.h"
#include "runs/types.h"

namespace fettle::runs {

struct RetryPolicy {
  std::int32_t max_retries = 3;  // after the first try
  std::chrono::nanoseconds base = std::chrono::milliseconds(500);
  double factor = 2;
  std::chrono::nanoseconds cap = std::chrono::seconds(60);
  std::chrono::nanoseconds elapsed_max = std::chrono::hours(24);     // from the first try of the chain
  std::chrono::nanoseconds retry_after_max = std::chrono::hours(1);  // asked to wait longer: dead letter
  bool operator==(const RetryPolicy&) const = default;
};
// kInvalidArgument naming what is out of range.
Result<void> check(const RetryPolicy& policy);

// What a run says for itself; what it leaves out is its workflow's.
struct RetryOverride {
  std::optional<std::chrono::nanoseconds> base, cap, elapsed_max;
  std::optional<double> factor;
  bool operator==(const RetryOverride&) const = default;
  RetryPolicy over(RetryPolicy policy) const;
};

// What went wrong, as a worker reports it. All but `message` may be missing.
struct RunError {
  std::string name;     // of the exception: "TimeoutError"
  std::string code;     // "API_TIMEOUT", "ECONNRESET"
  std::string message;  // "API_TIMEOUT: Connection timeout after 5s"
  std::string stack;
  std::int32_t http_status = 0;
  std::optional<bool> retryable;  // said by the worker: wins over every rule
  std::optional<std::chrono::nanoseconds> retry_after;
  std::string step;

  bool operator==(const RunError&) const = default;
};

enum class ErrorClass : std::uint8_t {
  kUnknown = 0,  // an exception that says nothing: retried
  kRateLimited = 1,
  kServer = 2,
  kTimeout = 3,
  kConnection = 4,
  kWorkerLost = 5,
  kStalled = 6,
  kTransient = 7,  // the worker says so
  kValidation = 8,
  kAuth = 9,
  kPermanent = 10,  // the worker says so, or another 4xx or 501
};
std::string_view to_string(ErrorClass error_class);
constexpr bool is_retryable(ErrorClass error_class) { return error_class < ErrorClass::kValidation; }

// By `retryable`, else the HTTP status, else the words of code and name, else those that begin the message.
ErrorClass classify(const RunError& error);

struct Situation {
  ErrorClass error_class = ErrorClass::kUnknown;
  std::int32_t retries_made = 0;  // in this chain
  UnixNanos chain_started_at = 0;
  UnixNanos now = 0;
  std::optional<std::chrono::nanoseconds> retry_after;
};

struct Decision {
  bool retry = false;
  std::chrono::nanoseconds delay{0};
  // Of a dead letter: not_retryable, retries_exhausted, elapsed_exhausted or retry_after_too_long.
  std::string_view reason;
};

// `random` gives numbers uniform in [0, 2^64). A worker that was lost for the first time is replaced at once: its run
// is late already by the length of a lease.
Decision decide(const RetryPolicy& policy, const Situation& situation, const std::function<std::uint64_t()>& random);

// The most that full jitter can wait before retry number `retries_made` + 1.
std::chrono::nanoseconds delay_max(const RetryPolicy& policy, std::int32_t retries_made);

}  // namespace fettle::runs
