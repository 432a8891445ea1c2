#include "promql/memory_source.h"

#include <algorithm>

namespace fettle::promql {
namespace {

template <class Point>
auto place_of(std::vector<Point>& points, UnixMillis at_ms) {
  return std::lower_bound(points.begin(), points.end(), at_ms,
                          [](const Point& point, UnixMillis at) { return point.at_ms < at; });
}

template <class Point>
void erase_at(std::vector<Point>& points, UnixMillis at_ms) {
  const auto place = place_of(points, at_ms);
  if (place != points.end() && place->at_ms == at_ms) points.erase(place);
}

// The part of `points` in (after, until].
template <class Point>
std::vector<Point> between(const std::vector<Point>& points, UnixMillis after, UnixMillis until) {
  const auto later = [](UnixMillis at, const Point& point) { return at < point.at_ms; };
  const auto begin = std::upper_bound(points.begin(), points.end(), after, later);
  return {begin, std::upper_bound(begin, points.end(), until, later)};
}

}  // namespace

void MemorySource::add(const Labels& labels, const Sample& sample) {
  std::shared_ptr<Series>& series = series_[labels];
  if (series == nullptr) {
    series = std::make_shared<Series>();
    series->labels = std::make_shared<const Labels>(labels);
  } else if (series.use_count() > 1) {
    series = std::make_shared<Series>(*series);
  }
  erase_at(series->floats, sample.at_ms);
  erase_at(series->histograms, sample.at_ms);
  if (sample.histogram != nullptr) {
    series->histograms.insert(place_of(series->histograms, sample.at_ms), {sample.at_ms, sample.histogram});
  } else {
    series->floats.insert(place_of(series->floats, sample.at_ms), {sample.at_ms, sample.value});
  }
}

Result<std::vector<SeriesPtr>> MemorySource::select(const Selection& selection) {
  std::vector<SeriesPtr> found;
  for (const auto& [labels, series] : series_) {
    const bool matches = std::all_of(selection.matchers.begin(), selection.matchers.end(), [&](const Matcher& matcher) {
      return matcher.matches(labels.get(matcher.name()));
    });
    if (!matches) continue;
    auto part = std::make_shared<Series>();
    part->labels = series->labels;
    part->floats = between(series->floats, selection.after_ms, selection.until_ms);
    part->histograms = between(series->histograms, selection.after_ms, selection.until_ms);
    if (!part->floats.empty() || !part->histograms.empty()) found.push_back(std::move(part));
  }
  return found;
}

}  // namespace fettle::promql
