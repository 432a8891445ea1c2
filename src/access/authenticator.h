// From a request's header to a Grant, for every listener alike.
//
//   access::Authenticator authenticator(&tokens, access::Mode::kTokens, &directory);
//   Result<access::Grant> grant = authenticator.authenticate(request);
//
// A program sends a token. A person's browser sends the cookie of its session instead, names the workspace it shows in
// X-Fettle-Workspace (or, where it can set no header, in the query parameter `workspace`), and with whatever changes
// something the session's X-Fettle-Csrf. A token that is sent to another workspace than its own is refused as well.
// Listeners for telemetry are given no directory: they know no sessions.
//
// With Mode::kDevelopment no token is needed and everything goes to workspace `default`; a token that is sent is still
// looked up. Because such a server trusts whoever reaches it, and a web page of anybody's can reach it through the
// user's own browser, it answers only requests that a foreign page cannot make: the Host must be this machine (DNS
// rebinding), the Origin, when there is one, that same Host and port, and whatever changes state must have a content
// type that a page cannot send without asking first (cross-site requests). Thread-safe.
#pragma once

#include <cstdint>
#include <string_view>

#include "access/directory.h"
#include "access/tokens.h"
#include "http/server.h"

namespace fettle::access {

enum class Mode : std::uint8_t { kTokens, kDevelopment };

class Authenticator {
 public:
  // Both outlive this; null means that no token, or no session, is known.
  Authenticator(const Tokens* tokens, Mode mode, const Directory* people = nullptr)
      : tokens_(tokens), mode_(mode), people_(people) {}

  // kUnauthenticated without a known token or session, kPermissionDenied for a session's change without its CSRF token,
  // kNotFound for a workspace that the person does not belong to; in development mode kPermissionDenied for a foreign
  // Host or Origin and kUnsupported for a content type that any page may send.
  Result<Grant> authenticate(const http::Request& request) const;

  // The same for transports without Host and Origin (gRPC): `authorization` is that header's value or empty.
  Result<Grant> authenticate(std::string_view authorization) const;

  // The person behind a session: for signing out, and for one's own account. The same errors; never a token.
  Result<Directory::Person> authenticate_person(const http::Request& request) const;

  // The development rules alone: every request has to pass them, the ones that need no token too.
  Result<void> check_request_origin(const http::Request& request) const;

  Mode mode() const { return mode_; }

 private:
  const Tokens* tokens_;
  Mode mode_;
  const Directory* people_;
};

// What a development server takes whoever reaches it for.
Grant development_grant();

// True for the addresses a development server may listen on: 127.0.0.0/8, [::1], localhost, unix:…
bool is_loopback_address(std::string_view address);

// The media type of a Content-Type value, in lower case and without parameters: "application/json".
std::string media_type_of(std::string_view content_type);

}  // namespace fettle::access
