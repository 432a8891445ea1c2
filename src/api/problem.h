// Errors as answers: the one place where an ErrorCode becomes an HTTP status and an RFC 9457 document.
#pragma once

#include <string>
#include <string_view>

#include "core/error.h"
#include "http/message.h"

namespace fettle::api {

int http_status_of(ErrorCode code);

// {"type":"about:blank","title","status","detail","code","request_id"} with Retry-After where the error says when.
// The message of an internal error is not shown: it is logged under the request's id.
http::Response problem(const Error& error, std::string_view request_id);
// The same under a status of its own, for what has no ErrorCode (405).
http::Response problem(int status, std::string_view code, std::string_view detail, std::string_view request_id);

}  // namespace fettle::api
