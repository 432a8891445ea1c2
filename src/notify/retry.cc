#include "notify/retry.h"

#include <algorithm>
#include <charconv>
#include <ctime>
#include <string>

namespace fettle::notify {
namespace {

constexpr std::int64_t kRetryAfterSecondsMax = 365 * 86'400;

// [0, 1)
double fraction(Rng& rng) { return static_cast<double>(rng.next() >> 11) * 0x1.0p-53; }

}  // namespace

Verdict verdict_of(int status) {
  if (status >= 200 && status < 300) return Verdict::kDelivered;
  if (status == 410) return Verdict::kGone;
  if (status >= 500 || status == 408 || status == 425 || status == 429) return Verdict::kRetry;
  return Verdict::kDead;
}

std::optional<UnixNanos> next_attempt(const RetryPolicy& policy, int attempts, UnixNanos now, UnixNanos give_up_at,
                                      std::chrono::nanoseconds retry_after, Rng& rng) {
  if (now >= give_up_at || retry_after.count() > give_up_at - now) return std::nullopt;
  // Forty doublings of a millisecond are 35 years.
  const int doublings = std::clamp(attempts - 1, 0, 40);
  const double most = std::min(static_cast<double>(policy.cap.count()),
                               static_cast<double>(policy.base.count()) * static_cast<double>(1LL << doublings));
  const auto jittered = static_cast<std::int64_t>(fraction(rng) * most * static_cast<double>(kNanosPerMilli));
  return std::min(now + std::max(jittered, static_cast<std::int64_t>(retry_after.count())), give_up_at);
}

std::chrono::nanoseconds parse_retry_after(std::string_view value, UnixNanos now) {
  if (value.empty()) return {};
  std::int64_t seconds = 0;
  const char* const end = value.data() + value.size();
  if (const auto [rest, error] = std::from_chars(value.data(), end, seconds);
      rest == end && (error == std::errc() || error == std::errc::result_out_of_range)) {
    if (error != std::errc()) seconds = kRetryAfterSecondsMax;
    return std::chrono::seconds(std::clamp<std::int64_t>(seconds, 0, kRetryAfterSecondsMax));
  }
  const std::string text(value);
  for (const char* form : {"%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y"}) {
    std::tm parts{};
    const char* const rest = ::strptime(text.c_str(), form, &parts);
    if (rest == nullptr || *rest != '\0') continue;
    const std::int64_t wait = ::timegm(&parts) - now / kNanosPerSecond;
    return std::chrono::seconds(std::clamp<std::int64_t>(wait, 0, kRetryAfterSecondsMax));
  }
  return {};
}

}  // namespace fettle::notify
