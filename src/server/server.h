// The whole of Fettle put together: what is made in which order, and how it is taken down.
//
//   auto server = Server::start(config, clock);     // everything is up, ports.json is written
//   signals.wait();
//   (*server)->stop();                              // drains; at most about eight seconds
#pragma once

#include <chrono>
#include <memory>
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
  // kConflict when the data folder is in use. Other errors say what was being started.
  static Result<std::unique_ptr<Server>> start(const Config& config, Clock& clock);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  const Addresses& addresses() const;
  // Refuses new work, answers what is open, sends what is in the spool as far as time allows. Idempotent.
  void stop();

 private:
  struct Parts;
  explicit Server(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

std::string_view version();

}  // namespace fettle::server
