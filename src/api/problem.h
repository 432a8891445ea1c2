// Errors of the API as answers: which status an ErrorCode has here. The document itself is http/problem.h.
#pragma once

#include <string>
#include <string_view>

#include "core/error.h"
#include "http/message.h"

namespace fettle::api {

int http_status_of(ErrorCode code);

// A problem document with Retry-After where the error says when.
// The message of an internal error is not shown: it is logged under the request's id.
http::Response problem(const Error& error, std::string_view request_id);

}  // namespace fettle::api
