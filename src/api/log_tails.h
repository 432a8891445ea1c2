// Live log tails: one thread each, at most `tails_max`, asking the store once a second for what became readable. A
// workspace may have them all while nobody else asks; what it has above half (rounded up) gives way, oldest first, to
// another workspace's.
//
// A tail that reads too slowly is not waited for: what it missed is counted to it as `event: dropped`. Thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <list>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>

#include "api/exchange.h"
#include "core/clock.h"
#include "core/mutex.h"
#include "telemetry/reader.h"

namespace fettle::api {

class LogTails {
 public:
  struct Limits {
    std::size_t tails_max = 32;
    std::uint32_t rows_max = 1'000;  // of one look; more are dropped and counted
    std::chrono::milliseconds interval{1'000};
    std::chrono::milliseconds heartbeat{15'000};
    std::chrono::milliseconds read_time_max{10'000};
  };

  // All outlive this.
  LogTails(telemetry::Reader& reader, Clock& clock, metrics::Registry& metrics, Limits limits);
  ~LogTails() { stop(); }

  // Answers 503 at the limit, when nobody has to give way. `after`: where an earlier tail of this client ended.
  void run(Exchange exchange, telemetry::LogFilter filter, std::optional<telemetry::TailPosition> after);
  // Ends every tail and joins. Idempotent.
  void stop();

 private:
  struct Session {
    std::stop_source stop;
    std::string workspace;
    bool is_over = false;
    std::jthread thread;
  };
  void tail(Exchange exchange, const telemetry::LogFilter& filter, std::optional<telemetry::TailPosition> position,
            const std::stop_token& stop);
  void reap() FETTLE_REQUIRES(mutex_);
  // Whether `workspace` may open one more; ends another's where that makes the room.
  bool make_room(const std::string& workspace) FETTLE_REQUIRES(mutex_);

  telemetry::Reader& reader_;
  Clock& clock_;
  const Limits limits_;
  metrics::Gauge& open_gauge_;
  metrics::Counter& dropped_counter_;

  Mutex mutex_;
  bool stopping_ FETTLE_GUARDED_BY(mutex_) = false;
  std::list<Session> sessions_ FETTLE_GUARDED_BY(mutex_);
};

}  // namespace fettle::api
