// The HTTP receivers: OTLP/HTTP at /v1/{traces,logs,metrics} and log lines at /api/v1/ingest/logs.
//
// gate() and handle() fit http::Server and may be mounted on several listeners. Answers follow the OTLP specification
// 1.x: errors as google.rpc.Status in the request's own encoding, partial success with an exact count, 429 and 503 with
// Retry-After where a retry helps. Thread-safe.
#pragma once

#include <cstddef>
#include <string_view>

#include "access/authenticator.h"
#include "core/clock.h"
#include "http/server.h"
#include "ingest/front.h"

namespace fettle::ingest {

class HttpReceiver {
 public:
  struct Options {
    std::size_t body_bytes_max = 64 * 1024 * 1024;  // as sent; the pipeline bounds it once more when decompressed
  };

  // All outlive the receiver.
  HttpReceiver(Front& front, const access::Authenticator& authenticator, Clock& clock, Options options)
      : front_(front), authenticator_(authenticator), clock_(clock), options_(options) {}

  http::GateDecision gate(http::Request& request);
  void handle(http::Request request, http::Responder responder);

 private:
  Front& front_;
  const access::Authenticator& authenticator_;
  Clock& clock_;
  const Options options_;
};

}  // namespace fettle::ingest
