// OTLP/gRPC: the Export methods of TraceService, MetricsService and LogsService.
//
//   GrpcReceiver receiver(front, authenticator, clock, options);
//   auto address = receiver.listen("127.0.0.1:4317");     // the address with the chosen port
//   receiver.stop(std::chrono::seconds(5));
//
// The methods are served generically on raw buffers, so that a request is decoded once, by the same decoder as over
// HTTP. Thread-safe after listen().
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "access/authenticator.h"
#include "core/clock.h"
#include "ingest/front.h"

namespace fettle::ingest {

class GrpcReceiver {
 public:
  struct Options {
    std::size_t message_bytes_max = 64 * 1024 * 1024;     // decompressed
    std::size_t in_flight_bytes_max = 256 * 1024 * 1024;  // what gRPC itself may hold of messages and connections
    int calls_max = 256;                                  // at a time, of one connection; further ones wait
    std::chrono::milliseconds message_time_max{60'000};   // from the call to its whole message
  };

  // All outlive the receiver.
  GrpcReceiver(Front& front, const access::Authenticator& authenticator, Clock& clock, Options options);
  ~GrpcReceiver();

  // kUnavailable when the address is taken.
  Result<std::string> listen(std::string_view address);
  // Refuses new calls, waits up to `deadline` for open ones, then cuts them. Idempotent.
  void stop(std::chrono::milliseconds deadline);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fettle::ingest
