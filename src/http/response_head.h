// The first part of an answer as bytes: status line and header fields, made safe to send.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "http/message.h"

namespace fettle::http {

struct ResponseFraming {
  // Set: a Content-Length field. Not set and not chunked: no length is named.
  std::optional<std::uint64_t> content_length;
  bool chunked = false;
  // Written as "Connection: close", or "keep-alive" to a client of HTTP/1.0 that asked for it.
  bool close = false;
  bool keep_alive_named = false;
};

// Appends the head with its closing empty line. What frames the message (Content-Length, Transfer-Encoding,
// Connection) comes from `framing` alone; a field whose name is no token is left out, and control characters in a value
// become spaces, so that a value from outside cannot begin a field or an answer of its own.
void append_head(std::string& out, int status, const Headers& headers, const ResponseFraming& framing);

// True when the value of `field` names `token` in its comma-separated list, without regard to case.
bool lists_token(std::string_view field, std::string_view token);

// A problem document (RFC 9457) for what the transport itself refuses.
Response problem(int status, std::string_view detail);

// True for a status whose answer never has a body.
constexpr bool is_bodyless(int status) { return status < 200 || status == 204 || status == 304; }

}  // namespace fettle::http
