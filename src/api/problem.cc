#include "api/problem.h"

#include <algorithm>

#include "core/log.h"
#include "http/problem.h"

namespace fettle::api {

int http_status_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument: return 400;
    case ErrorCode::kNotFound: return 404;
    case ErrorCode::kConflict: return 409;
    case ErrorCode::kUnauthenticated: return 401;
    case ErrorCode::kPermissionDenied: return 403;
    case ErrorCode::kUnavailable: return 503;
    case ErrorCode::kResourceExhausted: return 429;
    case ErrorCode::kTooLarge: return 413;
    case ErrorCode::kDeadlineExceeded: return 504;
    case ErrorCode::kUnsupported: return 415;
    case ErrorCode::kInternal: return 500;
    case ErrorCode::kDataLoss: return 500;
    case ErrorCode::kCancelled: return 503;
  }
  return 500;
}

http::Response problem(const Error& error, std::string_view request_id) {
  const int status = http_status_of(error.code());
  const bool is_ours = status == 500;
  if (is_ours) {
    log::error("request_failed",
               {{"request_id", request_id}, {"code", to_string(error.code())}, {"error", error.message()}});
  }
  http::Response response = http::problem(
      status, to_string(error.code()),
      is_ours ? "something failed inside Fettle; its log has more under this request_id" : error.message(), request_id);
  if (error.retry_after()) {
    const auto seconds = std::chrono::ceil<std::chrono::seconds>(*error.retry_after());
    response.headers.set("Retry-After", std::to_string(std::max<std::int64_t>(1, seconds.count())));
  } else if (status == 503) {
    response.headers.set("Retry-After", "1");
  }
  if (status == 401) response.headers.set("WWW-Authenticate", R"(Bearer realm="fettle")");
  return response;
}

}  // namespace fettle::api
