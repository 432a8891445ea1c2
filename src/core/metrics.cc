#include "core/metrics.h"

#include <fmt/format.h>
#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <cmath>
#include <deque>
#include <mutex>
#include <unordered_map>

#include "core/json.h"

namespace fettle::metrics {
namespace {

struct CounterOver final : Counter {
  explicit CounterOver(prometheus::Counter& target) : counter(target) {}
  void add(double value) override { counter.Increment(value); }
  double value() const override { return counter.Value(); }
  prometheus::Counter& counter;
};

struct GaugeOver final : Gauge {
  explicit GaugeOver(prometheus::Gauge& target) : gauge(target) {}
  void set(double value) override { gauge.Set(value); }
  double value() const override { return gauge.Value(); }
  prometheus::Gauge& gauge;
};

struct HistogramOver final : Histogram {
  explicit HistogramOver(prometheus::Histogram& target) : histogram(target) {}
  void observe(double value) override { histogram.Observe(value); }
  prometheus::Histogram& histogram;
};

std::string_view type_name(prometheus::MetricType type) {
  switch (type) {
    case prometheus::MetricType::Counter: return "counter";
    case prometheus::MetricType::Gauge: return "gauge";
    case prometheus::MetricType::Histogram: return "histogram";
    case prometheus::MetricType::Summary: return "summary";
    case prometheus::MetricType::Untyped: break;
  }
  return "untyped";
}

// JSON has no NaN or infinity: they are written as strings, as proto3 JSON does.
std::string number(double value) {
  if (std::isnan(value)) return "\"NaN\"";
  if (std::isinf(value)) return value > 0 ? "\"Infinity\"" : "\"-Infinity\"";
  return fmt::format("{}", value);
}

}  // namespace

struct Registry::Impl {
  prometheus::Registry registry{prometheus::Registry::InsertBehavior::Merge};
  std::mutex mutex;
  // Wrappers by the prometheus object they stand for; a deque keeps their addresses.
  std::unordered_map<const void*, void*> by_target;
  std::deque<CounterOver> counters;
  std::deque<GaugeOver> gauges;
  std::deque<HistogramOver> histograms;

  template <class Wrapper, class Target>
  Wrapper& wrap(std::deque<Wrapper>& wrappers, Target& target) {
    auto [entry, is_new] = by_target.try_emplace(&target, nullptr);
    if (is_new) entry->second = &wrappers.emplace_back(target);
    return *static_cast<Wrapper*>(entry->second);
  }
};

Registry::Registry() : impl_(std::make_unique<Impl>()) {}
Registry::~Registry() = default;

Counter& Registry::counter(const std::string& name, const std::string& help, const Labels& labels) {
  std::lock_guard lock(impl_->mutex);
  return impl_->wrap(impl_->counters,
                     prometheus::BuildCounter().Name(name).Help(help).Register(impl_->registry).Add(labels));
}

Gauge& Registry::gauge(const std::string& name, const std::string& help, const Labels& labels) {
  std::lock_guard lock(impl_->mutex);
  return impl_->wrap(impl_->gauges,
                     prometheus::BuildGauge().Name(name).Help(help).Register(impl_->registry).Add(labels));
}

Histogram& Registry::histogram(const std::string& name, const std::string& help, const std::vector<double>& bounds,
                               const Labels& labels) {
  std::lock_guard lock(impl_->mutex);
  return impl_->wrap(impl_->histograms,
                     prometheus::BuildHistogram().Name(name).Help(help).Register(impl_->registry).Add(labels, bounds));
}

std::string Registry::prometheus_text() const {
  return prometheus::TextSerializer().Serialize(impl_->registry.Collect());
}

std::string Registry::json() const {
  std::string out = "{";
  for (const prometheus::MetricFamily& family : impl_->registry.Collect()) {
    if (out.size() > 1) out.push_back(',');
    append_json_string(out, family.name);
    out += fmt::format(R"(:{{"type":"{}","help":)", type_name(family.type));
    append_json_string(out, family.help);
    out += ",\"samples\":[";
    for (const prometheus::ClientMetric& metric : family.metric) {
      if (out.back() != '[') out.push_back(',');
      out += "{\"labels\":{";
      for (const auto& label : metric.label) {
        if (out.back() != '{') out.push_back(',');
        append_json_string(out, label.name);
        out.push_back(':');
        append_json_string(out, label.value);
      }
      out += "},";
      if (family.type == prometheus::MetricType::Histogram) {
        out += fmt::format(R"("count":{},"sum":{},"buckets":[)", metric.histogram.sample_count,
                           number(metric.histogram.sample_sum));
        for (const auto& bucket : metric.histogram.bucket) {
          if (out.back() != '[') out.push_back(',');
          out += fmt::format("[{},{}]", number(bucket.upper_bound), bucket.cumulative_count);
        }
        out += "]}";
      } else {
        out += fmt::format(
            "\"value\":{}}}",
            number(family.type == prometheus::MetricType::Counter ? metric.counter.value : metric.gauge.value));
      }
    }
    out += "]}";
  }
  return out + "}";
}

}  // namespace fettle::metrics
