// The API of a running server, as the command line uses it.
#pragma once

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include "core/error.h"
#include "http/client.h"

namespace fettle::server {

struct RemoteOptions {
  std::string url = "http://127.0.0.1:7070";
  std::string token;  // empty: none is sent
};

// Appends "?name=value" or "&name=value", unless the value is empty.
void add_parameter(std::string& target, std::string_view name, const std::string& value);

class Remote {
 public:
  explicit Remote(const RemoteOptions& options);

  // The JSON answer to a GET. Errors carry what the problem document says.
  Result<boost::json::value> get(const std::string& target);
  // The same for a change; `body` is JSON, empty for none.
  Result<boost::json::value> send(const std::string& method, const std::string& target, const std::string& body);
  // Follows `next_cursor` through the `items` of a list until there are no more, `count` of them were seen or visit()
  // says false. `target` may have a query.
  Result<void> items(const std::string& target, std::size_t count,
                     const std::function<bool(const boost::json::object& item)>& visit);
  // The body of a GET, as it comes. kUnavailable when it was cut off.
  Result<void> stream(const std::string& target, const std::function<bool(std::string_view piece)>& sink);
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
