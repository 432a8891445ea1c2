// Errors of the wire and back: problems and reasons to stop as Error, an Error as the server stores it.
#pragma once

#include <exception>
#include <string>

#include "fettle/sdk/clock.h"
#include "fettle/sdk/json.h"

namespace fettle::sdk {

bool retryable_status(int status);
// One of code "late" is the reason for which the lease is gone.
Error problem_error(int status, const Json& problem, std::string request_id = {},
                    std::optional<Milliseconds> retry_after = std::nullopt);
Error late_reason(const Json& problem);
Error stopped(const Json& kill_switch);
Error stop_error(ErrorKind kind);
Error suspended();  // the run sleeps or waits
Error invalid_value(std::string message);
Json error_object(const Error& error);

// What user code does, with what it throws as an error.
template <class T, class F>
Result<T> guarded(const F& body) {
  try {
    return body();
  } catch (const std::exception& exception) {
    return fail({.kind = ErrorKind::kException, .code = "exception", .message = exception.what()});
  } catch (...) {
    return fail({.kind = ErrorKind::kException, .code = "exception", .message = "something was thrown"});
  }
}

}  // namespace fettle::sdk
