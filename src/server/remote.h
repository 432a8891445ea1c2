// The API of a running server, as the command line uses it.
#pragma once

#include <boost/json/value.hpp>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "core/error.h"
#include "http/client.h"

namespace fettle::server {

struct RemoteOptions {
  std::string url = "http://127.0.0.1:7070";
  std::string token;  // empty: none is sent
};

class Remote {
 public:
  explicit Remote(const RemoteOptions& options);

  // The JSON answer to a GET. Errors carry what the problem document says.
  Result<boost::json::value> get(const std::string& target);
  // The events of a server-sent stream: visit(event, id, data) returns false to stop.
  using Visit = std::function<bool(std::string_view event, std::string_view id, std::string_view data)>;
  Result<void> events(const std::string& target, std::string_view last_id, const Visit& visit);

  http::Client& client() { return client_; }
  const std::string& bearer() const { return bearer_; }  // "Bearer …" or empty

 private:
  std::string bearer_;
  http::Client client_;
};

}  // namespace fettle::server
