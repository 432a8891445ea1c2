#include "promql/script_compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

namespace fettle::promql {
namespace {

constexpr double kTolerance = 1e-6;

bool same(double a, double b) {
  if (is_stale(a) || is_stale(b)) return is_stale(a) && is_stale(b);
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  if (a == b) return true;
  const double sum = std::abs(a) + std::abs(b);
  const double difference = std::abs(a - b);
  constexpr double kSmallest = std::numeric_limits<double>::min();
  if (a == 0 || b == 0 || sum < kSmallest) return difference < kTolerance * kSmallest;
  return difference / std::min(sum, std::numeric_limits<double>::max()) < kTolerance;
}

bool same_buckets(const std::vector<NativeHistogram::Bucket>& a, const std::vector<NativeHistogram::Bucket>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const auto& x, const auto& y) { return x.index == y.index && same(x.count, y.count); });
}

bool same(NativeHistogram expected, NativeHistogram actual) {
  expected.compact();
  actual.compact();
  const bool hint = expected.hint == ResetHint::kUnknown || expected.hint == actual.hint;
  const bool layout =
      expected.schema == actual.schema && expected.custom_bounds.size() == actual.custom_bounds.size() &&
      std::equal(expected.custom_bounds.begin(), expected.custom_bounds.end(), actual.custom_bounds.begin(),
                 [](double a, double b) { return same(a, b); }) &&
      (expected.is_custom() ||
       (same(expected.zero_threshold, actual.zero_threshold) && same(expected.zero_count, actual.zero_count)));
  return hint && layout && same(expected.count, actual.count) && same(expected.sum, actual.sum) &&
         same_buckets(expected.positive, actual.positive) && same_buckets(expected.negative, actual.negative);
}

std::string text_of(const Sample& sample) {
  if (sample.histogram == nullptr) return fmt::format("{}", sample.value);
  const NativeHistogram& h = *sample.histogram;
  static constexpr std::string_view kHints[] = {"unknown", "reset", "not_reset", "gauge"};
  return fmt::format("{} (schema {}, zero {} wide {}, hint {})", h.to_string(), h.schema, h.zero_count,
                     h.zero_threshold, kHints[static_cast<std::size_t>(h.hint)]);
}

void check_sample(const Labels& labels, const Sample& expected, const Sample& actual) {
  const bool equal = (expected.histogram == nullptr) == (actual.histogram == nullptr) &&
                     (expected.histogram == nullptr ? same(expected.value, actual.value)
                                                    : same(*expected.histogram, *actual.histogram));
  if (equal) return;
  throw ScriptFailure{fmt::format("expected {} for {} at {} s, got {}", text_of(expected), labels.to_string(),
                                  static_cast<double>(actual.at_ms) / 1000, text_of(actual))};
}

}  // namespace

void Expectation::add(std::string_view line) {
  // A number alone is a scalar; a series has a value behind it.
  auto number = read_series(fmt::format("{{}} {}", line));
  if (line.find_first_of(" \t") == std::string_view::npos && number && number->samples.size() == 1 &&
      number->samples[0]) {
    scalars_.push_back(number->samples[0]->value);
    return;
  }
  auto series = read_series(line);
  if (!series) throw ScriptFailure{series.error().message()};
  series_.push_back(std::move(*series));
}

void Expectation::check_scalar(double value) const {
  if (scalars_.size() != 1 || !series_.empty()) {
    throw ScriptFailure{fmt::format("expected no scalar, got {}", format_value(value))};
  }
  if (!same(scalars_[0], value)) {
    throw ScriptFailure{fmt::format("expected {}, got {}", scalars_[0], value)};
  }
}

void Expectation::check_vector(const Vector& vector, bool ordered) const {
  if (!scalars_.empty()) throw ScriptFailure{"expected a scalar, got an instant vector"};
  std::map<Labels, std::size_t> places;
  for (std::size_t i = 0; i < series_.size(); ++i) places.emplace(series_[i].labels, i);
  std::vector<bool> seen(series_.size(), false);
  for (std::size_t i = 0; i < vector.size(); ++i) {
    const auto place = places.find(vector[i].labels);
    if (place == places.end()) {
      throw ScriptFailure{
          fmt::format("unexpected {} with {}", vector[i].labels.to_string(), text_of(vector[i].sample))};
    }
    if (seen[place->second]) throw ScriptFailure{fmt::format("{} twice", vector[i].labels.to_string())};
    if (ordered && place->second != i) {
      throw ScriptFailure{
          fmt::format("{} at place {}, expected at {}", vector[i].labels.to_string(), i + 1, place->second + 1)};
    }
    seen[place->second] = true;
    const NotedSeries& expected = series_[place->second];
    if (expected.samples.size() != 1 || !expected.samples[0]) throw ScriptFailure{"expected one value for each series"};
    check_sample(expected.labels, *expected.samples[0], vector[i].sample);
  }
  for (std::size_t i = 0; i < seen.size(); ++i) {
    if (!seen[i]) throw ScriptFailure{fmt::format("{} is missing", series_[i].labels.to_string())};
  }
}

void Expectation::check_matrix(const Matrix& matrix, const QueryRange& bounds) const {
  if (!scalars_.empty()) throw ScriptFailure{"expected a scalar, got a range"};
  std::map<Labels, const NotedSeries*> expected;
  for (const NotedSeries& series : series_) {
    const bool any = std::any_of(series.samples.begin(), series.samples.end(),
                                 [](const NotedSample& sample) { return sample.has_value(); });
    if (any) expected.emplace(series.labels, &series);
  }
  for (const ResultSeries& series : matrix) {
    const auto found = expected.find(series.labels);
    if (found == expected.end()) {
      const Sample first = series.floats.empty() ? Sample{0, 0, series.histograms[0].histogram}
                                                 : Sample{0, series.floats[0].value, nullptr};
      throw ScriptFailure{fmt::format("unexpected {} with {}", series.labels.to_string(), text_of(first))};
    }
    std::map<UnixMillis, Sample> actual;
    for (const FloatPoint& point : series.floats) actual[point.at_ms] = {point.at_ms, point.value, nullptr};
    for (const HistogramPoint& point : series.histograms) actual[point.at_ms] = {point.at_ms, 0, point.histogram};
    for (std::size_t i = 0; i < found->second->samples.size(); ++i) {
      const NotedSample& wanted = found->second->samples[i];
      const UnixMillis at = bounds.start_ms + static_cast<std::int64_t>(i) * bounds.step_ms;
      const auto there = actual.find(at);
      if (!wanted) continue;
      if (there == actual.end()) {
        throw ScriptFailure{fmt::format("expected {} for {} at {} s, got nothing", text_of(*wanted),
                                        series.labels.to_string(), static_cast<double>(at) / 1000)};
      }
      check_sample(series.labels, *wanted, there->second);
      actual.erase(there);
    }
    if (!actual.empty()) {
      throw ScriptFailure{fmt::format("unexpected {} for {} at {} s", text_of(actual.begin()->second),
                                      series.labels.to_string(), static_cast<double>(actual.begin()->first) / 1000)};
    }
    expected.erase(found);
  }
  if (!expected.empty()) throw ScriptFailure{fmt::format("{} is missing", expected.begin()->first.to_string())};
}

}  // namespace fettle::promql
