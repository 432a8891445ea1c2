#include "runs/retry_policy.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>

namespace fettle::runs {
namespace {

using std::chrono::nanoseconds;

constexpr std::array<std::string_view, 11> kClasses = {"unknown",    "rate_limited", "server",   "timeout",
                                                       "connection", "worker_lost",  "stalled",  "transient",
                                                       "validation", "auth",         "permanent"};

struct Word {
  std::string_view word;
  ErrorClass error_class;
};
// Looked for in lower case with everything but letters and digits taken out; the first that is found decides, so the
// narrower word stands first.
constexpr std::array<Word, 33> kWords = {{
    {"ratelimit", ErrorClass::kRateLimited},
    {"toomanyrequests", ErrorClass::kRateLimited},
    {"throttl", ErrorClass::kRateLimited},
    {"overloaded", ErrorClass::kServer},
    {"timeout", ErrorClass::kTimeout},
    {"timedout", ErrorClass::kTimeout},
    {"deadlineexceeded", ErrorClass::kTimeout},
    {"econnreset", ErrorClass::kConnection},
    {"econnrefused", ErrorClass::kConnection},
    {"econnaborted", ErrorClass::kConnection},
    {"ehostunreach", ErrorClass::kConnection},
    {"enetunreach", ErrorClass::kConnection},
    {"enotfound", ErrorClass::kConnection},
    {"eaiagain", ErrorClass::kConnection},
    {"epipe", ErrorClass::kConnection},
    {"sockethangup", ErrorClass::kConnection},
    {"connectionreset", ErrorClass::kConnection},
    {"connectionrefused", ErrorClass::kConnection},
    {"connectionerror", ErrorClass::kConnection},
    {"connectionaborted", ErrorClass::kConnection},
    {"networkerror", ErrorClass::kConnection},
    {"serviceunavailable", ErrorClass::kServer},
    {"internalservererror", ErrorClass::kServer},
    {"badgateway", ErrorClass::kServer},
    {"unauthorized", ErrorClass::kAuth},
    {"unauthenticated", ErrorClass::kAuth},
    {"forbidden", ErrorClass::kAuth},
    {"permissiondenied", ErrorClass::kAuth},
    {"authentication", ErrorClass::kAuth},
    {"invalidargument", ErrorClass::kValidation},
    {"badrequest", ErrorClass::kValidation},
    {"validation", ErrorClass::kValidation},
    {"unprocessable", ErrorClass::kValidation},
}};

std::string letters_of(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0) out += static_cast<char>(std::tolower(byte));
  }
  return out;
}

std::optional<ErrorClass> by_words(std::string_view text) {
  const std::string letters = letters_of(text);
  for (const Word& word : kWords) {
    if (letters.contains(word.word)) return word.error_class;
  }
  return std::nullopt;
}

std::optional<ErrorClass> by_status(std::int32_t status) {
  switch (status) {
    case 408:
    case 504: return ErrorClass::kTimeout;
    case 425:
    case 429: return ErrorClass::kRateLimited;
    case 400:
    case 413:
    case 422: return ErrorClass::kValidation;
    case 401:
    case 403:
    case 407: return ErrorClass::kAuth;
    case 501: return ErrorClass::kPermanent;
    default: break;
  }
  if (status >= 500 && status <= 599) return ErrorClass::kServer;
  if (status >= 400 && status <= 499) return ErrorClass::kPermanent;
  return std::nullopt;
}

// The code that stands before the colon in "API_TIMEOUT: Connection timeout after 5s". Prose is not searched: "invalid
// page after the timeout was changed" says nothing about retrying.
std::string_view leading_code(std::string_view message) {
  const std::size_t colon = message.find(':');
  if (colon == std::string_view::npos || message.substr(0, colon).contains(' ')) return {};
  return message.substr(0, colon);
}

}  // namespace

std::string_view to_string(ErrorClass error_class) { return kClasses.at(static_cast<std::size_t>(error_class)); }

RetryPolicy RetryOverride::over(RetryPolicy policy) const {
  policy.base = base.value_or(policy.base);
  policy.factor = factor.value_or(policy.factor);
  policy.elapsed_max = elapsed_max.value_or(policy.elapsed_max);
  // A longer first delay than the workflow's cap is meant as it is said.
  policy.cap = cap.value_or(std::max(policy.cap, policy.base));
  return policy;
}

Result<void> check(const RetryPolicy& policy) {
  const auto refuse = [](std::string_view what) { return fail(ErrorCode::kInvalidArgument, std::string(what)); };
  if (policy.max_retries < 0 || policy.max_retries > 1'000) return refuse("max_retries must be from 0 to 1000");
  if (policy.base < nanoseconds(0) || policy.base > std::chrono::hours(24)) return refuse("base must be 0 to 24 h");
  if (!(policy.factor >= 1 && policy.factor <= 100)) return refuse("factor must be from 1 to 100");
  if (policy.cap < policy.base || policy.cap > std::chrono::hours(24 * 7)) return refuse("cap must be base to 7 days");
  if (policy.elapsed_max <= nanoseconds(0)) return refuse("elapsed_max must be more than 0");
  if (policy.retry_after_max < nanoseconds(0)) return refuse("retry_after_max must not be negative");
  return {};
}

ErrorClass classify(const RunError& error) {
  const auto found = [&]() -> ErrorClass {
    if (const auto status = by_status(error.http_status)) return *status;
    for (const std::string_view text :
         {std::string_view(error.code), std::string_view(error.name), leading_code(error.message)}) {
      if (const auto words = by_words(text)) return *words;
    }
    return ErrorClass::kUnknown;
  }();
  if (!error.retryable || *error.retryable == is_retryable(found)) return found;
  return *error.retryable ? ErrorClass::kTransient : ErrorClass::kPermanent;
}

nanoseconds delay_max(const RetryPolicy& policy, std::int32_t retries_made) {
  // In floating point, where too large is infinite and not negative.
  const double grown = static_cast<double>(policy.base.count()) * std::pow(policy.factor, retries_made);
  const auto cap = static_cast<double>(policy.cap.count());
  return nanoseconds(static_cast<std::int64_t>(std::min(grown, cap)));
}

Decision decide(const RetryPolicy& policy, const Situation& situation, const std::function<std::uint64_t()>& random) {
  if (!is_retryable(situation.error_class)) return {.reason = "not_retryable"};
  if (situation.retries_made >= policy.max_retries) return {.reason = "retries_exhausted"};
  const nanoseconds most = delay_max(policy, situation.retries_made);
  nanoseconds delay(0);
  const bool at_once = situation.error_class == ErrorClass::kWorkerLost && situation.retries_made == 0;
  if (!at_once && most.count() > 0) {
    delay = nanoseconds(static_cast<std::int64_t>(random() % (static_cast<std::uint64_t>(most.count()) + 1)));
  }
  if (situation.retry_after) {
    if (*situation.retry_after > policy.retry_after_max) return {.reason = "retry_after_too_long"};
    delay = std::max(delay, *situation.retry_after);
  }
  // The clock may have been set back since the chain began: no time has passed then, as far as can be told.
  const nanoseconds elapsed(std::max<std::int64_t>(situation.now - situation.chain_started_at, 0));
  if (elapsed + delay > policy.elapsed_max) return {.reason = "elapsed_exhausted"};
  return {.retry = true, .delay = delay};
}

}  // namespace fettle::runs
