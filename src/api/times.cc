#include "api/times.h"

#include <fmt/format.h>

#include <charconv>
#include <chrono>
#include <iterator>
#include <limits>
#include <optional>

namespace fettle::api {
namespace {

constexpr std::int64_t kSecondsMax = std::numeric_limits<std::int64_t>::max() / kNanosPerSecond;

std::unexpected<Error> refused(std::string_view text) {
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("'{}' is not a time: use RFC 3339, a count since 1970 in s, ms, us or ns, 'now', or a time "
                          "ago such as '-15m'",
                          text.substr(0, 64)));
}

template <class T>
std::optional<T> number(std::string_view digits) {
  T value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size() || digits.empty()) return std::nullopt;
  return value;
}

std::optional<UnixNanos> ago(std::string_view text, UnixNanos now) {
  const char unit = text.back();
  const std::int64_t seconds_per_unit = unit == 's'   ? 1
                                        : unit == 'm' ? 60
                                        : unit == 'h' ? 3'600
                                        : unit == 'd' ? 86'400
                                        : unit == 'w' ? 604'800
                                                      : 0;
  const auto count = number<std::uint32_t>(text.substr(1, text.size() - 2));
  if (seconds_per_unit == 0 || !count) return std::nullopt;
  if (*count > kSecondsMax / seconds_per_unit) return 0;
  const UnixNanos back = *count * seconds_per_unit * kNanosPerSecond;
  return back > now ? 0 : now - back;
}

std::optional<UnixNanos> since_epoch(std::string_view text) {
  const auto count = number<std::uint64_t>(text);
  if (!count || *count > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return std::nullopt;
  const auto value = static_cast<std::int64_t>(*count);
  // The sizes at which a count of seconds would be the year 5138, of milliseconds likewise, and so on.
  if (value < 100'000'000'000) return value > kSecondsMax ? std::nullopt : std::optional(value * kNanosPerSecond);
  if (value < 100'000'000'000'000)
    return value / 1'000 > kSecondsMax ? std::nullopt : std::optional(value * kNanosPerMilli);
  if (value < 100'000'000'000'000'000)
    return value / 1'000'000 > kSecondsMax ? std::nullopt : std::optional(value * 1'000);
  return value;
}

// Two (or `width`) digits at `at`, or nothing.
std::optional<int> field(std::string_view text, std::size_t at, std::size_t width) {
  if (text.size() < at + width) return std::nullopt;
  for (std::size_t i = at; i < at + width; ++i) {
    if (text[i] < '0' || text[i] > '9') return std::nullopt;
  }
  return number<int>(text.substr(at, width));
}

std::optional<UnixNanos> rfc3339(std::string_view text) {
  // 2026-11-21T09:14:32[.fraction](Z|±hh:mm)
  const auto year = field(text, 0, 4);
  const auto month = field(text, 5, 2);
  const auto day = field(text, 8, 2);
  const auto hour = field(text, 11, 2);
  const auto minute = field(text, 14, 2);
  const auto second = field(text, 17, 2);
  if (!year || !month || !day || !hour || !minute || !second) return std::nullopt;
  const char between = text[10];
  if (text[4] != '-' || text[7] != '-' || (between != 'T' && between != 't' && between != ' ') || text[13] != ':' ||
      text[16] != ':') {
    return std::nullopt;
  }
  const std::chrono::year_month_day date{std::chrono::year(*year), std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day))};
  if (!date.ok() || *hour > 23 || *minute > 59 || *second > 60 || *year < 1970 || *year > 2261) return std::nullopt;

  std::size_t at = 19;
  std::int64_t nanos = 0;
  if (at < text.size() && text[at] == '.') {
    std::int64_t worth = kNanosPerSecond / 10;
    const std::size_t first = ++at;
    for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, worth /= 10) nanos += (text[at] - '0') * worth;
    if (at == first) return std::nullopt;
  }
  const std::string_view zone = text.substr(at);
  std::int64_t offset_seconds = 0;
  if (zone != "Z" && zone != "z") {
    const auto hours = field(zone, 1, 2);
    const auto minutes = field(zone, 4, 2);
    if (zone.size() != 6 || (zone[0] != '+' && zone[0] != '-') || zone[3] != ':' || !hours || !minutes || *hours > 23 ||
        *minutes > 59) {
      return std::nullopt;
    }
    offset_seconds = (*hours * 3'600 + *minutes * 60) * (zone[0] == '-' ? -1 : 1);
  }
  const std::int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  const std::int64_t seconds = days * 86'400 + *hour * 3'600 + *minute * 60 + *second - offset_seconds;
  if (seconds < 0) return std::nullopt;
  return seconds * kNanosPerSecond + nanos;
}

}  // namespace

Result<UnixNanos> parse_time(std::string_view text, UnixNanos now) {
  if (text == "now") return now;
  if (text.size() < 2 && (text.empty() || text[0] < '0' || text[0] > '9')) return refused(text);
  std::optional<UnixNanos> time;
  if (text.front() == '-') {
    time = ago(text, now);
  } else if (text.find_first_not_of("0123456789") == std::string_view::npos) {
    time = since_epoch(text);
  } else {
    time = rfc3339(text);
  }
  if (!time) return refused(text);
  return *time;
}

std::string format_time(UnixNanos t) {
  std::string text = format_rfc3339(t);
  text.pop_back();
  const std::size_t point = text.find('.');
  const std::size_t decimals = point == std::string::npos ? 0 : text.size() - point - 1;
  if (point == std::string::npos) text += '.';
  text.append(9 - decimals, '0');
  return text + 'Z';
}

void append_time_ms(std::string& out, UnixNanos t) {
  const std::chrono::sys_time<std::chrono::milliseconds> time{
      std::chrono::floor<std::chrono::milliseconds>(std::chrono::nanoseconds(t))};
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(time - day);
  fmt::format_to(std::back_inserter(out), "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", static_cast<int>(date.year()),
                 static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), clock.hours().count(),
                 clock.minutes().count(), clock.seconds().count(), clock.subseconds().count());
}

}  // namespace fettle::api
