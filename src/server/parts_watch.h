// Looks once a minute whether the store has put parts of our tables aside, and says so: in a gauge, in the log when
// there are more than before, and to the health check.
//
// A look costs the store a few milliseconds; one that fails is repeated a minute later and changes nothing.
// Thread-safe.
#pragma once

#include <chrono>
#include <functional>
#include <thread>
#include <vector>

#include "core/clock.h"
#include "core/error.h"
#include "core/metrics.h"
#include "core/mutex.h"
#include "telemetry/detached_parts.h"

namespace fettle::server {

class PartsWatch {
 public:
  using Look = std::function<Result<std::vector<telemetry::DetachedParts>>(const std::stop_token& stop)>;

  // The first look is at once. `clock` and `metrics` outlive this.
  PartsWatch(Look look, Clock& clock, metrics::Registry& metrics,
             std::chrono::nanoseconds every = std::chrono::minutes(1));
  void stop();

  // Of the last look that was answered.
  std::vector<telemetry::DetachedParts> latest() const;

 private:
  void work(const std::stop_token& stop);

  const Look look_;
  Clock& clock_;
  const std::chrono::nanoseconds every_;
  metrics::Gauge& gauge_;

  mutable Mutex mutex_;
  std::vector<telemetry::DetachedParts> latest_ FETTLE_GUARDED_BY(mutex_);

  std::jthread thread_;  // last: it uses everything above
};

}  // namespace fettle::server
