// From a request's header to a Grant, for every listener alike.
//
//   access::Authenticator authenticator(&tokens, access::Mode::kTokens);
//   Result<access::Grant> grant = authenticator.authenticate(request);
//
// With Mode::kDevelopment no token is needed and everything goes to workspace `default`; a token that is sent is still
// looked up. Because such a server trusts whoever reaches it, and a web page of anybody's can reach it through the
// user's own browser, it answers only requests that a foreign page cannot make: the Host must be this machine (DNS
// rebinding), the Origin, when there is one, that same Host and port, and whatever changes state must have a content
// type that a page cannot send without asking first (cross-site requests). Thread-safe.
#pragma once

#include <cstdint>
#include <string_view>

#include "access/tokens.h"
#include "http/server.h"

namespace fettle::access {

enum class Mode : std::uint8_t { kTokens, kDevelopment };

class Authenticator {
 public:
  // `tokens` outlives this; null means that no token is known.
  Authenticator(const Tokens* tokens, Mode mode) : tokens_(tokens), mode_(mode) {}

  // kUnauthenticated without a known token; in development mode kPermissionDenied for a foreign Host or Origin and
  // kUnsupported for a content type that any page may send.
  Result<Grant> authenticate(const http::Request& request) const;

  // The same for transports without Host and Origin (gRPC): `authorization` is that header's value or empty.
  Result<Grant> authenticate(std::string_view authorization) const;

  // The development rules alone: every request has to pass them, the ones that need no token too.
  Result<void> check_request_origin(const http::Request& request) const;

  Mode mode() const { return mode_; }

 private:
  const Tokens* tokens_;
  Mode mode_;
};

// True for the addresses a development server may listen on: 127.0.0.0/8, [::1], localhost, unix:…
bool is_loopback_address(std::string_view address);

// The media type of a Content-Type value, in lower case and without parameters: "application/json".
std::string media_type_of(std::string_view content_type);

}  // namespace fettle::access
