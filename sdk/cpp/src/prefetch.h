// How many leases a worker may hold: as many as run at once, plus what it will begin within a moment.
//
// A worker whose runs take milliseconds would wait for the network after each if it held only what it runs. One whose
// runs take minutes must not sit on work that another could begin. So the reserve follows from how long runs take.
#pragma once

#include <algorithm>
#include <chrono>

namespace fettle::sdk {

// Not synchronised: the worker's lock guards it.
class Prefetch {
 public:
  Prefetch(int concurrency, int reserve_max) : concurrency_(concurrency), reserve_max_(reserve_max) {}

  void ran(std::chrono::nanoseconds duration) {
    constexpr double kNewest = 0.05;  // weight of the newest run in the average
    const double ms = std::chrono::duration<double, std::milli>(duration).count();
    duration_ms_ = duration_ms_ < 0 ? ms : duration_ms_ + kNewest * (ms - duration_ms_);
  }

  // Leases held at once, at most; without a duration to go by, no reserve.
  int limit() const {
    if (duration_ms_ < 0) return concurrency_;
    constexpr double kBeginsWithinMs = 100;
    constexpr double kDurationMsMin = 0.05;  // below this the worker is bound by its reports
    const double reserve = concurrency_ * kBeginsWithinMs / std::max(duration_ms_, kDurationMsMin);
    return concurrency_ + static_cast<int>(std::min<double>(reserve_max_, reserve));
  }

  // The smallest request worth sending while `held` leases are held: any when there is nothing to do, else a fair part
  // of the limit, so that a busy worker does not ask for runs one by one.
  int least_request(int held) const { return held < concurrency_ ? 1 : std::max(1, limit() / 4); }

 private:
  const int concurrency_;
  const int reserve_max_;
  double duration_ms_ = -1;
};

}  // namespace fettle::sdk
