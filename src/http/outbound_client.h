// Requests to addresses that people have written down: webhooks, channels, probes. The one client for them.
//
//   OutboundClient client({.allow = config.outbound_allow});
//   auto answer = client.send({.url = "https://example.com/hook", .headers = headers, .body = body});
//
// A name is looked up once; every address that it has must be one that may be reached; the connection goes to one of
// those very addresses, so that a name cannot lead elsewhere between the check and the call. Redirects are answers like
// any other, there is no proxy, nothing is read from the environment, and connections are not kept. Networks behind
// this server (loopback, private, link-local, metadata, …: ip_address.h) are refused unless `allow` names them.
// Thread-safe; send() blocks.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "http/ip_address.h"
#include "http/message.h"

namespace fettle::http {

// From names to addresses. Thread-safe.
class Resolver {
 public:
  virtual ~Resolver() = default;
  // At least one. kUnavailable when there is none, kDeadlineExceeded, kCancelled.
  virtual Result<std::vector<IpAddress>> resolve(const std::string& host, std::chrono::milliseconds time_max,
                                                 const std::stop_token& stop) = 0;
};

// As the machine does it (getaddrinfo). A look-up that is given up goes on in the background, at most 32 at a time.
class SystemResolver final : public Resolver {
 public:
  SystemResolver();
  Result<std::vector<IpAddress>> resolve(const std::string& host, std::chrono::milliseconds time_max,
                                         const std::stop_token& stop) override;

 private:
  struct LookUps;
  std::shared_ptr<LookUps> look_ups_;  // shared with threads that nobody waits for any more
};

struct OutboundRequest {
  std::string method = "POST";
  std::string url;  // http or https, without user, password or fragment
  Headers headers = {};
  std::string_view body = {};                  // THE BYTES MUST OUTLIVE THE CALL
  std::chrono::milliseconds time_max{10'000};  // for everything, the look-up included
  std::size_t response_bytes_max = 64 * 1024;  // of the body; what is beyond is not read
  std::stop_token stop = {};
};

struct OutboundAnswer {
  Response response;    // any status
  bool is_cut = false;  // the body is longer than what is here
  std::string address;  // that answered
  std::chrono::milliseconds latency{0};
};

class OutboundClient {
 public:
  struct Options {
    std::vector<Cidr> allow;   // of the server's own configuration, never of a request
    std::string ca_file = {};  // a PEM file of trusted roots; empty: the system's
    std::chrono::milliseconds connect_time_max{5'000};
  };

  explicit OutboundClient(Options options);
  // With names of a test's own. `resolver` outlives the client.
  OutboundClient(Options options, Resolver& resolver);
  ~OutboundClient();
  OutboundClient(const OutboundClient&) = delete;
  OutboundClient& operator=(const OutboundClient&) = delete;

  // kInvalidArgument: the URL or a header field cannot be sent. kPermissionDenied: it leads to where this server does
  // not go; the message names the range and the setting. kUnavailable: no such name, no connection, or it broke before
  // the answer (the request may have been carried out). kDeadlineExceeded, kCancelled. Messages hold no path or query,
  // which may be secrets.
  Result<OutboundAnswer> send(const OutboundRequest& request) const;

  // What can be told without looking up the name: for whoever writes a URL down. Codes as above.
  Result<void> check(std::string_view url) const;

  // Whether this server would connect to the address.
  bool may_reach(const IpAddress& address) const;

 private:
  struct Target;
  Result<Target> target_of(std::string_view url) const;
  Result<void> check(const std::string& host, const std::vector<IpAddress>& addresses) const;

  const Options options_;
  std::unique_ptr<Resolver> own_resolver_;
  Resolver& resolver_;
};

}  // namespace fettle::http
