// From method and path to the handler, with what each route demands before it is called.
//
//   router.add({.method = "GET", .path = "/api/v1/traces/{trace_id}", .right = Action::kSee, .handle = …});
//
// Filled once at start, then constant: any thread may look up.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "access/rights.h"
#include "access/tokens.h"
#include "api/exchange.h"

namespace fettle::api {

struct Route {
  std::string_view method;
  std::string_view path;  // segments, "{name}" for a segment of any text
  // What the caller must be able to do to something; which object it is about, the handler asks again. None: anybody
  // may ask, and a token is looked at if there is one.
  std::optional<access::Action> right;
  std::size_t body_bytes_max = 0;
  std::vector<std::string_view> content_types;  // of the body, when there may be one
  // Called on an I/O thread: what blocks goes to the ReadPool.
  std::function<void(Exchange exchange)> handle;
};

class Router {
 public:
  void add(Route route) { routes_.push_back(std::move(route)); }
  const std::vector<Route>& routes() const { return routes_; }

  struct Match {
    const Route* route = nullptr;  // null: no such path, or `allow` names the methods it has
    PathParameters parameters;
    std::string allow;
  };
  // `path` is still percent-encoded, so that an encoded slash stays within its segment. HEAD is answered as GET.
  // kInvalidArgument on a broken percent sequence.
  Result<Match> match(std::string_view method, std::string_view path) const;

 private:
  std::vector<Route> routes_;
};

}  // namespace fettle::api
