// Times of a schedule as cron writes them: five fields (minute hour day month weekday) in a time zone.
//
//   auto cron = Cron::parse("30 8 * * mon-fri");
//   auto zone = TimeZone::load("Europe/Vienna");
//   cron->next(now, *zone);
//
// Fields: *, numbers, names (jan, mon), lists, ranges, steps (*/15, 9-17/2, 5/10); Sunday is 0 and 7; when day and
// weekday are both restricted, either will do. Also @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually.
// A local time that the clocks skip in spring is run at the moment of the jump; one that they repeat in autumn is run
// once, the first time; what is run in every hour is run in both.
#pragma once

#include <bitset>
#include <memory>
#include <optional>
#include <string_view>

#include "core/clock.h"
#include "core/error.h"

namespace fettle::runs {

class TimeZone {
 public:
  // By IANA name; "UTC" always works. kInvalidArgument for one that this machine does not know.
  static Result<TimeZone> load(std::string_view name);
  ~TimeZone();
  TimeZone(TimeZone&&) noexcept;
  TimeZone& operator=(TimeZone&&) noexcept;

 private:
  friend class Cron;
  struct Impl;
  explicit TimeZone(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

class Cron {
 public:
  // kInvalidArgument naming the field.
  static Result<Cron> parse(std::string_view text);
  // The first time after `after`, nothing when there is none within eight years (30 February).
  std::optional<UnixNanos> next(UnixNanos after, const TimeZone& zone) const;

 private:
  bool day_matches(int month_day, int weekday) const;

  std::bitset<60> minutes_;
  std::bitset<24> hours_;
  std::bitset<32> days_;
  std::bitset<13> months_;
  std::bitset<7> weekdays_;
  bool any_day_ = false, any_weekday_ = false;  // the field begins with *
};

}  // namespace fettle::runs
