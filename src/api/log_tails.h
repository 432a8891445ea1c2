// Live log tails: sessions (live_sessions.h) that ask the store once a second for what became readable.
//
// A tail that reads too slowly is not waited for: what it missed is counted to it as `event: dropped`. Thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <stop_token>

#include "api/live_sessions.h"
#include "core/clock.h"
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
  LogTails(telemetry::Reader& reader, access::Authenticator& authenticator, Clock& clock, metrics::Registry& metrics,
           Limits limits);

  // `after`: where an earlier tail of this client ended.
  void run(Exchange exchange, telemetry::LogFilter filter, std::optional<telemetry::TailPosition> after);
  // Ends every tail and joins. Idempotent.
  void stop() { sessions_.stop(); }

 private:
  void tail(Exchange& exchange, const telemetry::LogFilter& filter, std::optional<telemetry::TailPosition> position,
            const std::stop_token& stop);

  telemetry::Reader& reader_;
  Clock& clock_;
  const Limits limits_;
  metrics::Counter& dropped_counter_;
  LiveSessions sessions_;  // last: its threads use everything above
};

}  // namespace fettle::api
