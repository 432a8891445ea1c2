// The whole of Fettle put together: what is made in which order, and how it is taken down.
//
//   auto server = Server::start(config, clock, stop);    // takes telemetry in, ports.json is written
//   if ((*server)->wait_ready(stop)) print("ready");      // the store is open: everything can be read
//   signals.wait();
//   (*server)->stop();                                    // drains; at most nine seconds
//
// A store that is not there yet holds up nothing but reads: what arrives waits in the spool, reads are answered 503,
// and the store is tried again and again in the background.
#pragma once

#include <chrono>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>

#include "core/clock.h"
#include "core/error.h"
#include "server/config.h"

namespace fettle::server {

struct Addresses {
  std::string http;
  std::string otlp_http;
  std::string otlp_grpc;
};

class Server {
 public:
  // Returns once it listens. kConflict when the data folder is in use, kInvalidArgument for a configuration that can
  // never work, kCancelled when stopped. Other errors say what was being started.
  static Result<std::unique_ptr<Server>> start(const Config& config, Clock& clock, const std::stop_token& stop);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  const Addresses& addresses() const;
  // See entrance.h; a secret.
  std::string first_owner_link() const;
  // Blocks until the store is open. False when stopped before.
  bool wait_ready(const std::stop_token& stop) const;
  // Refuses new work, answers what is open, sends what is in the spool as far as time allows. Idempotent.
  void stop();

 private:
  struct Parts;
  explicit Server(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

std::string_view version();

}  // namespace fettle::server
