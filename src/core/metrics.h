// The server's own metrics: counters, gauges and histograms that anybody may update from any thread, rendered at
// /metrics. Names follow Prometheus conventions with units in them (fettle_ingest_acknowledge_seconds).
//
//   metrics::Counter& accepted = registry.counter("fettle_ingest_records_total", "Records by outcome.",
//                                                 {{"signal", "spans"}, {"outcome", "stored"}});
//   accepted.add(512);
//
// Asking twice for the same name and labels gives the same object. References live as long as the Registry.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace fettle::metrics {

using Labels = std::map<std::string, std::string>;

class Counter {
 public:
  virtual ~Counter() = default;
  virtual void add(double value = 1) = 0;
  virtual double value() const = 0;
};

class Gauge {
 public:
  virtual ~Gauge() = default;
  virtual void set(double value) = 0;
  virtual double value() const = 0;
};

class Histogram {
 public:
  virtual ~Histogram() = default;
  virtual void observe(double value) = 0;
};

class Registry {
 public:
  Registry();
  ~Registry();
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  Counter& counter(const std::string& name, const std::string& help, const Labels& labels = {});
  Gauge& gauge(const std::string& name, const std::string& help, const Labels& labels = {});
  // `bounds` are upper bounds in rising order; those of the first call for a name hold.
  Histogram& histogram(const std::string& name, const std::string& help, const std::vector<double>& bounds,
                       const Labels& labels = {});

  // Prometheus text exposition format 0.0.4.
  std::string prometheus_text() const;
  // {"name":{"type","help","samples":[{"labels":{},"value":…}|{"labels":{},"count","sum","buckets":[[le,n],…]}]}}
  std::string json() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fettle::metrics
