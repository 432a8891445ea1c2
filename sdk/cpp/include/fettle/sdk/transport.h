// One HTTP exchange. Knows nothing of routes, retries or problems. A program with an HTTP client of its own, and a test
// with a server in memory, hands in another one.
#pragma once

#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fettle/sdk/clock.h"
#include "fettle/sdk/error.h"

namespace fettle::sdk {

struct HttpRequest {
  bool post = false;      // else GET, or
  bool remove = false;    // DELETE
  std::string_view path;  // with query
  std::string_view body;  // JSON
  std::string_view idempotency_key;
  Milliseconds timeout{10'000};  // from the call to the last byte of the answer
  std::stop_token stop;
  // A request that the server answers late on purpose; it does not count against the connections.
  bool long_poll = false;
};

struct HttpAnswer {
  int status = 0;
  std::string body;
  std::string request_id;
  std::optional<Milliseconds> retry_after;
};

// Used by many threads at once.
class Transport {
 public:
  virtual ~Transport() = default;
  // kUnreachable when there is no answer.
  virtual Result<HttpAnswer> send(const HttpRequest& request) = 0;
};

// Over kept-alive connections, of which at most `connections_max` are busy but for long polls. kInvalidValue when the
// address is none of http or https.
Result<std::shared_ptr<Transport>> http_transport(std::string url, std::string token, int connections_max);

}  // namespace fettle::sdk
