// Errors as documents: RFC 9457 problem+json, the same for every room that answers, and the id under which a request is
// found again in the log.
#pragma once

#include <string>
#include <string_view>

#include "http/message.h"
#include "http/server.h"

namespace fettle::http {

// The X-Request-Id of the request when it is fit for a log (letters, digits, . _ -; at most 128), else a new one.
std::string request_id_of(const Request& request);

// {"type":"about:blank","title","status","detail","code","request_id"}; `code` is ours, for programs.
Response problem(int status, std::string_view code, std::string_view detail, std::string_view request_id);

}  // namespace fettle::http
