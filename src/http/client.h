// Blocking HTTP requests to one base URL over kept-alive connections.
//
//   http::Client client("unix:/var/lib/fettle/engine.sock", {});
//   auto answer = client.send({.method = "POST", .target = "/?query=…", .body = {block_a, block_b}});
//
// Thread-safe: each call takes a connection of its own from the pool. The client follows no redirect, uses no proxy
// and reads no environment.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "http/message.h"

namespace fettle::http {

struct ClientOptions {
  std::chrono::milliseconds connect_time_max{2'000};
  std::size_t connections_max = 32;
  // Set for https: a PEM file of trusted roots; empty means the system's.
  std::string ca_file;
};

struct ClientRequest {
  std::string method = "GET";
  std::string target = "/";  // path and query, already percent-encoded
  Headers headers;
  // Sent one after the other as one body, without a copy. THE BYTES MUST OUTLIVE THE CALL.
  std::vector<std::string_view> body;
  std::chrono::milliseconds time_max{30'000};  // for the whole exchange
  std::size_t response_bytes_max = 64 * 1024 * 1024;
  std::stop_token stop;  // ends the call with kCancelled
};

class Client {
 public:
  // `base` is "http://host:port", "https://host:port" or "unix:/path".
  Client(std::string base, ClientOptions options);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Any status is a success here. kUnavailable: no connection, or it broke before an answer (the request may have been
  // carried out). kDeadlineExceeded, kCancelled, kTooLarge as named.
  Result<Response> send(const ClientRequest& request);

  // As send(), but the body of a 200 goes to `sink` piece by piece and the returned body is empty; `sink` returns false
  // to stop (kCancelled). Bodies of other statuses are returned as send() does. response_bytes_max bounds the stream.
  Result<Response> stream(const ClientRequest& request, const std::function<bool(std::string_view)>& sink);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fettle::http
