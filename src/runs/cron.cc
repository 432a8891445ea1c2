#include "runs/cron.h"

#include <absl/time/time.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <span>
#include <string>
#include <vector>

namespace fettle::runs {

struct TimeZone::Impl {
  absl::TimeZone zone;
};

TimeZone::TimeZone(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TimeZone::~TimeZone() = default;
TimeZone::TimeZone(TimeZone&&) noexcept = default;
TimeZone& TimeZone::operator=(TimeZone&&) noexcept = default;

Result<TimeZone> TimeZone::load(std::string_view name) {
  auto impl = std::make_unique<Impl>();
  if (name == "UTC") {
    impl->zone = absl::UTCTimeZone();
  } else if (name.empty() || name.size() > 64 || !absl::LoadTimeZone(std::string(name), &impl->zone)) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("there is no time zone '{}'", name.substr(0, 64)));
  }
  return TimeZone(std::move(impl));
}

namespace {

constexpr std::array<std::string_view, 12> kMonths = {"jan", "feb", "mar", "apr", "may", "jun",
                                                      "jul", "aug", "sep", "oct", "nov", "dec"};
constexpr std::array<std::string_view, 7> kWeekdays = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};
constexpr int kDaysAhead = 366 * 8;  // 29 February may be eight years away (1896 to 1904)
constexpr std::size_t kTextBytesMax = 256;

struct Field {
  std::string_view name;
  int lowest, highest;
  std::span<const std::string_view> words;
  int first_word;  // the number of words[0]
};

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const std::size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text = text.substr(end + 1);
  }
}

std::optional<int> number_in(const Field& field, std::string_view text) {
  for (std::size_t i = 0; i < field.words.size(); ++i) {
    if (field.words[i] == text) return field.first_word + static_cast<int>(i);
  }
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty() || text[0] == '-') return std::nullopt;
  return value;
}

// Calls `set` for each number that the field names. False when it cannot be read.
template <class Set>
bool read_field(const Field& field, std::string_view text, Set set) {
  for (const std::string_view part : split(text, ',')) {
    const std::vector<std::string_view> halves = split(part, '/');
    if (halves.size() > 2) return false;
    int step = 1;
    if (halves.size() == 2) {
      const auto given = number_in(Field{field.name, 0, 0, {}, 0}, halves[1]);
      if (!given || *given < 1 || *given > field.highest) return false;
      step = *given;
    }
    int from = field.lowest, to = field.highest;
    if (halves[0] != "*") {
      const std::vector<std::string_view> ends = split(halves[0], '-');
      const auto first = number_in(field, ends[0]);
      if (!first || ends.size() > 2) return false;
      from = *first;
      // 5/10 means from 5 on; a number by itself is itself.
      to = halves.size() == 2 ? field.highest : from;
      if (ends.size() == 2) {
        const auto last = number_in(field, ends[1]);
        if (!last) return false;
        to = *last;
      }
    }
    if (from < field.lowest || to > field.highest || from > to) return false;
    for (int i = from; i <= to; i += step) set(i);
  }
  return true;
}

}  // namespace

Result<Cron> Cron::parse(std::string_view text) {
  if (text.size() > kTextBytesMax) return fail(ErrorCode::kTooLarge, "a schedule has at most 256 bytes");
  std::string lower;
  for (const char c : text) lower += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  constexpr std::array<std::pair<std::string_view, std::string_view>, 7> kNicknames = {{{"@hourly", "0 * * * *"},
                                                                                        {"@daily", "0 0 * * *"},
                                                                                        {"@midnight", "0 0 * * *"},
                                                                                        {"@weekly", "0 0 * * 0"},
                                                                                        {"@monthly", "0 0 1 * *"},
                                                                                        {"@yearly", "0 0 1 1 *"},
                                                                                        {"@annually", "0 0 1 1 *"}}};
  for (const auto& [nickname, meaning] : kNicknames) {
    if (lower == nickname) lower = meaning;
  }
  std::vector<std::string_view> fields;
  for (const std::string_view part : split(lower, ' ')) {
    if (!part.empty()) fields.push_back(part);
  }
  if (fields.size() != 5) {
    return fail(ErrorCode::kInvalidArgument, "a schedule has five fields: minute hour day month weekday");
  }
  Cron cron;
  const std::array<Field, 5> kinds = {{{"minute", 0, 59, {}, 0},
                                       {"hour", 0, 23, {}, 0},
                                       {"day", 1, 31, {}, 0},
                                       {"month", 1, 12, kMonths, 1},
                                       {"weekday", 0, 7, kWeekdays, 0}}};
  for (std::size_t i = 0; i < kinds.size(); ++i) {
    const bool good = read_field(kinds[i], fields[i], [&](int value) {
      const auto at = static_cast<std::size_t>(value);
      switch (i) {
        case 0: cron.minutes_.set(at); break;
        case 1: cron.hours_.set(at); break;
        case 2: cron.days_.set(at); break;
        case 3: cron.months_.set(at); break;
        default: cron.weekdays_.set(at % 7); break;
      }
    });
    if (!good) {
      return fail(ErrorCode::kInvalidArgument, fmt::format("the {} '{}' cannot be read", kinds[i].name, fields[i]));
    }
  }
  cron.any_day_ = fields[2].starts_with('*');
  cron.any_weekday_ = fields[4].starts_with('*');
  return cron;
}

bool Cron::day_matches(int month_day, int weekday) const {
  const bool day = days_.test(static_cast<std::size_t>(month_day));
  const bool of_week = weekdays_.test(static_cast<std::size_t>(weekday));
  return any_day_ || any_weekday_ ? day && of_week : day || of_week;
}

std::optional<UnixNanos> Cron::next(UnixNanos after, const TimeZone& zone) const {
  const absl::TimeZone& local = zone.impl_->zone;
  const absl::Time begin = absl::FromUnixNanos(after);
  absl::CivilDay day(local.At(begin).cs);
  for (int ahead = 0; ahead < kDaysAhead; ++ahead, ++day) {
    // absl counts weekdays from Monday.
    const int weekday = (static_cast<int>(absl::GetWeekday(day)) + 1) % 7;
    if (!months_.test(static_cast<std::size_t>(day.month())) || !day_matches(day.day(), weekday)) continue;
    for (int hour = 0; hour < 24; ++hour) {
      if (!hours_.test(static_cast<std::size_t>(hour))) continue;
      for (int minute = 0; minute < 60; ++minute) {
        if (!minutes_.test(static_cast<std::size_t>(minute))) continue;
        const absl::TimeZone::TimeInfo info =
            local.At(absl::CivilSecond(day.year(), day.month(), day.day(), hour, minute, 0));
        // Skipped: when the clocks jump. Repeated: `pre` is the first of the two.
        const absl::Time at = info.kind == absl::TimeZone::TimeInfo::SKIPPED ? info.trans : info.pre;
        if (at > begin) return absl::ToUnixNanos(at);
      }
      // The second of two same hours, for what is run in every hour.
      for (int minute = 0; minute < 60 && hours_.all(); ++minute) {
        if (!minutes_.test(static_cast<std::size_t>(minute))) continue;
        const absl::TimeZone::TimeInfo info =
            local.At(absl::CivilSecond(day.year(), day.month(), day.day(), hour, minute, 0));
        if (info.kind == absl::TimeZone::TimeInfo::REPEATED && info.post > begin) return absl::ToUnixNanos(info.post);
      }
    }
  }
  return std::nullopt;
}

}  // namespace fettle::runs
