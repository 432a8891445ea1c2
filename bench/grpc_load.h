// A blocking OTLP/gRPC sender for the load generator; gRPC's headers stay in its source.
#pragma once

#include <memory>
#include <string>

namespace fettle::bench {

class GrpcSender {
 public:
  GrpcSender(const std::string& address, bool logs);
  ~GrpcSender();
  // False on any status but OK; `error` then says which.
  bool send(const std::string& body, std::string& error);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fettle::bench
