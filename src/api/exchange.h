// One request on its way through the API: who asks, what the path named, and the right to answer.
//
// Move it to the thread that does the work; answer once. Every answer leaves with the request's id, is not cached and
// is counted by route. Dropped unanswered it answers 500.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "access/tokens.h"
#include "core/clock.h"
#include "core/error.h"
#include "core/metrics.h"
#include "http/server.h"

namespace fettle::api {

// The template's names with what stood in their places, percent-decoded.
using PathParameters = std::vector<std::pair<std::string, std::string>>;

class Exchange {
 public:
  struct Caller {
    access::Grant grant;
    bool is_known = true;  // false on a public route without a token
  };

  Exchange(http::Request request, http::Responder responder, std::string request_id, Clock& clock,
           metrics::Registry& metrics);
  Exchange(Exchange&&) noexcept = default;
  Exchange& operator=(Exchange&&) noexcept = default;
  ~Exchange();

  // Set by the router before the handler runs.
  void set_route(std::string_view method, std::string_view path_template, PathParameters parameters, Caller caller);

  const http::Request& request() const { return request_; }
  // The request's body, for a parser that needs room behind it.
  std::string& body() { return request_.body; }
  const Scope& scope() const { return caller_.grant.scope; }
  const Caller& caller() const { return caller_; }
  const std::string& request_id() const { return request_id_; }
  // What stood in the place of {name}; the name must be in the route's template.
  const std::string& parameter(std::string_view name) const;

  // Called once, on any thread, if the client goes before the end.
  void on_close(std::function<void()> callback);

  void respond(http::Response response);
  void json(std::string body, int status = 200);
  void problem(const Error& error);
  // Sends the head now and the body piece by piece; the callback of on_close() holds for it too.
  std::unique_ptr<http::ResponseStream> stream(http::Response head);

 private:
  void count(int status);
  void add_headers(http::Response& response) const;

  http::Request request_;
  std::unique_ptr<http::Responder> responder_;  // null once answered
  std::string request_id_;
  Clock* clock_;
  metrics::Registry* metrics_;
  std::chrono::nanoseconds begun_;
  std::string route_ = "unknown";
  PathParameters parameters_;
  Caller caller_;
  std::function<void()> on_close_;
};

}  // namespace fettle::api
