#include "fettle/sdk/error.h"

#include "problem.h"

namespace fettle::sdk {

bool retryable_status(int status) {
  switch (status) {
    case 408:
    case 425:
    case 429:
    case 500:
    case 502:
    case 503:
    case 504:
    case 529: return true;
    default: return false;
  }
}

bool Error::retryable() const {
  switch (kind) {
    case ErrorKind::kUnreachable:
    case ErrorKind::kQueueFull:
    case ErrorKind::kRetryable: return true;
    case ErrorKind::kFatal:
    case ErrorKind::kInvalidValue:
    case ErrorKind::kRefused:
    case ErrorKind::kCancelled: return false;
    case ErrorKind::kProblem: return retryable_status(status);
    // What says nothing is retried: a run that is tried in vain costs less than one that is given up in vain.
    default: return true;
  }
}

std::string Error::sentence() const {
  return code.empty() || message.starts_with(code + ":") ? message : code + ": " + message;
}

Error retryable_error(std::string message, std::string code, std::optional<std::chrono::milliseconds> retry_after) {
  return {.kind = ErrorKind::kRetryable,
          .code = std::move(code),
          .message = std::move(message),
          .retry_after = retry_after};
}

Error fatal_error(std::string message, std::string code) {
  return {.kind = ErrorKind::kFatal, .code = std::move(code), .message = std::move(message)};
}

Error not_performed(std::string message) {
  return {.kind = ErrorKind::kNotPerformed, .code = "not_performed", .message = std::move(message)};
}

namespace {

std::string_view type_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kProblem: return "Problem";
    case ErrorKind::kUnreachable: return "Unreachable";
    case ErrorKind::kQueueFull: return "QueueFull";
    case ErrorKind::kInvalidValue: return "InvalidValue";
    case ErrorKind::kRetryable: return "Retryable";
    case ErrorKind::kFatal: return "Fatal";
    case ErrorKind::kException: return "Exception";
    case ErrorKind::kTimedOut: return "TimedOut";
    case ErrorKind::kLeaseLost: return "LeaseLost";
    case ErrorKind::kCancelled: return "Cancelled";
    case ErrorKind::kStopped: return "Stopped";
    case ErrorKind::kShutdown: return "Shutdown";
    case ErrorKind::kRefused: return "Refused";
    case ErrorKind::kEffectUnknown: return "EffectUnknown";
    case ErrorKind::kNotPerformed: return "NotPerformed";
    case ErrorKind::kSuspended: return "Suspended";
  }
  return "Error";
}

constexpr std::size_t kMessageBytesMax = 4096;

// Cut where a character ends.
std::string shortened(std::string_view text) {
  std::size_t size = std::min(text.size(), kMessageBytesMax);
  while (size < text.size() && size > 0 && (static_cast<unsigned char>(text[size]) & 0xC0) == 0x80) --size;
  return std::string(text.substr(0, size));
}

}  // namespace

Error problem_error(int status, const Json& problem, std::string request_id, std::optional<Milliseconds> retry_after) {
  Error error{.kind = ErrorKind::kProblem,
              .code = std::string(problem["code"].as_string()),
              .message = std::string(problem["detail"].as_string(problem["title"].as_string())),
              .status = status,
              .request_id = std::move(request_id),
              .retry_after = retry_after,
              .details = std::make_shared<const Json>(problem)};
  if (error.request_id.empty()) error.request_id = problem["request_id"].as_string();
  if (error.message.empty()) error.message = "the server answered " + std::to_string(status);
  if (error.code == "late") return late_reason(problem);
  if (error.code.empty()) error.code = "http_" + std::to_string(status);
  return error;
}

Error late_reason(const Json& problem) {
  if (problem["stop"].is_object()) return stopped(problem["stop"]);
  if (problem["cancel"].as_bool()) return stop_error(ErrorKind::kCancelled);
  Error error = stop_error(ErrorKind::kLeaseLost);
  if (const auto detail = problem["detail"].as_string(); !detail.empty()) error.message = detail;
  return error;
}

Error stopped(const Json& kill_switch) {
  Error error = stop_error(ErrorKind::kStopped);
  if (const auto reason = kill_switch["reason"].as_string(); !reason.empty()) error.message.append(": ").append(reason);
  error.details = std::make_shared<const Json>(kill_switch);
  return error;
}

Error stop_error(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kCancelled: return {.kind = kind, .code = "cancelled", .message = "the run was cancelled"};
    case ErrorKind::kStopped: return {.kind = kind, .code = "stopped", .message = "a kill switch stopped the run"};
    case ErrorKind::kShutdown: return {.kind = kind, .code = "shutdown", .message = "the worker is shutting down"};
    default:
      return {.kind = ErrorKind::kLeaseLost,
              .code = "lease_lost",
              .message = "the lease is lost: another worker may have the run"};
  }
}

Error suspended() {
  return {.kind = ErrorKind::kSuspended, .code = "suspended", .message = "the run sleeps: return this error"};
}

Error invalid_value(std::string message) {
  return {.kind = ErrorKind::kInvalidValue, .code = "invalid_value", .message = std::move(message)};
}

Json error_object(const Error& error) {
  Json made = Json::object({{"type", type_of(error.kind)}, {"message", shortened(error.message)}});
  made.set_if("code", error.code);
  if (error.status != 0) made.set("status", error.status);
  made.set("retryable", error.retryable());
  if (error.retry_after) made.set("retry_after_ms", error.retry_after->count());
  return made;
}

}  // namespace fettle::sdk
