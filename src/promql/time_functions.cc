// Functions that read a time off a value, in UTC, and the times of samples themselves.
#include <chrono>
#include <cmath>

#include "promql/evaluation.h"

namespace fettle::promql {
namespace {

struct Calendar {
  std::chrono::sys_days day;
  std::chrono::year_month_day date;
  std::int64_t second_of_day = 0;
};

Calendar calendar_of(double unix_seconds) {
  // Beyond this the calendar of the standard library ends; whoever asks has no real time in hand.
  constexpr double kSecondsMax = 9e11;
  const auto seconds = static_cast<std::int64_t>(std::clamp(unix_seconds, -kSecondsMax, kSecondsMax));
  const std::chrono::sys_seconds at{std::chrono::seconds(seconds)};
  const auto day = std::chrono::floor<std::chrono::days>(at);
  return {day, std::chrono::year_month_day(day), (at - day).count()};
}

int minute(const Calendar& c) { return static_cast<int>(c.second_of_day / 60 % 60); }
int hour(const Calendar& c) { return static_cast<int>(c.second_of_day / 3600); }
int day_of_week(const Calendar& c) { return static_cast<int>(std::chrono::weekday(c.day).c_encoding()); }
int day_of_month(const Calendar& c) { return static_cast<int>(static_cast<unsigned>(c.date.day())); }
int day_of_year(const Calendar& c) {
  return static_cast<int>((c.day - std::chrono::sys_days(c.date.year() / std::chrono::January / 1)).count()) + 1;
}
int days_in_month(const Calendar& c) {
  const std::chrono::year_month_day_last last(c.date.year() / c.date.month() / std::chrono::last);
  return static_cast<int>(static_cast<unsigned>(last.day()));
}
int month(const Calendar& c) { return static_cast<int>(static_cast<unsigned>(c.date.month())); }
int year(const Calendar& c) { return static_cast<int>(c.date.year()); }

template <int (*F)(const Calendar&)>
Tracks calendar(Evaluation& evaluation, const CallExpr& call, const Grid& grid) {
  Tracks tracks;
  if (call.args.empty()) {
    tracks.emplace_back(std::make_shared<const Labels>(), false, grid.steps);
    for (std::size_t step = 0; step < grid.steps; ++step) {
      tracks[0].values[step] = static_cast<double>(grid.at(step)) / 1000;
    }
  } else {
    tracks = evaluation.vector(*call.args[0], grid);
  }
  for (Track& track : tracks) {
    track.drop_name = true;
    track.histograms.clear();
    for (double& value : track.values) {
      if (!is_stale(value) && !std::isnan(value)) value = F(calendar_of(value));
    }
  }
  return tracks;
}

Tracks timestamp(Evaluation& evaluation, const CallExpr& call, const Grid& grid) {
  const Expr& arg = unwrapped(*call.args[0]);
  Tracks tracks;
  if (arg.kind == Expr::Kind::kSelector) {
    tracks = evaluation.sample_times(as<Selector>(arg), grid);
    for (Track& track : tracks) track.drop_name = true;
    return tracks;
  }
  tracks = evaluation.vector(arg, grid);
  for (Track& track : tracks) {
    track.drop_name = true;
    for (std::size_t step = 0; step < grid.steps; ++step) {
      if (track.has(step)) track.values[step] = static_cast<double>(grid.at(step)) / 1000;
    }
    track.histograms.clear();
  }
  return tracks;
}

}  // namespace

VectorFunction find_time_function(std::string_view name) {
  static const std::unordered_map<std::string_view, VectorFunction> functions = {
      {"minute", calendar<minute>},
      {"hour", calendar<hour>},
      {"day_of_week", calendar<day_of_week>},
      {"day_of_month", calendar<day_of_month>},
      {"day_of_year", calendar<day_of_year>},
      {"days_in_month", calendar<days_in_month>},
      {"month", calendar<month>},
      {"year", calendar<year>},
      {"timestamp", timestamp},
  };
  const auto found = functions.find(name);
  return found == functions.end() ? nullptr : found->second;
}

}  // namespace fettle::promql
