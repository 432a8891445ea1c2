// Errors as values. No function of this SDK throws; what a handler throws is caught and told as a failure of its run.
//
//   Result<EnqueuedRun> made = client.enqueue({.workflow = "lead"});
//   if (!made) return std::unexpected(made.error());
#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>

namespace fettle::sdk {

class Json;

enum class ErrorKind : std::uint8_t {
  kProblem,       // the server answered with a problem document (RFC 9457)
  kUnreachable,   // no answer: whether the request took effect is unknown
  kQueueFull,     // a queue inside the SDK is full; nothing was sent
  kInvalidValue,  // cannot be sent, or is too large; nothing was sent
  kRetryable,     // from a handler: the failure may pass
  kFatal,         // from a handler: trying again cannot help; the run goes to the dead letters at once
  kException,     // a handler has thrown
  kTimedOut,      // what was waited for did not come
  // Why a run must stop. A handler that returns one of these has behaved well.
  kLeaseLost,  // another worker may have the run
  kCancelled,
  kStopped,  // a kill switch
  kShutdown,
  // Of side effects.
  kRefused,        // a kill switch, a policy or a plan forbids it; it was not performed
  kEffectUnknown,  // whether it is visible to the world is unknown, and it was not tried again; a person sees it listed
  kNotPerformed,   // from `perform`: it is certain that nothing became visible
  // Leaves the handler when its run sleeps or waits: return it as it came.
  kSuspended,
};

struct Error {
  ErrorKind kind = ErrorKind::kFatal;
  std::string code;  // stable; messages are for people
  std::string message;
  int status = 0;          // HTTP, of a problem
  std::string request_id;  // of a problem
  std::optional<std::chrono::milliseconds> retry_after;
  std::string side_effect_id;
  std::shared_ptr<const Json> details;  // the problem, the switch or the refusal, where there is one

  // Whether a repetition may help: said by the kind, else by the HTTP status.
  bool retryable() const;
  bool is_stop() const { return kind >= ErrorKind::kLeaseLost && kind <= ErrorKind::kShutdown; }
  // The server says that the lease is gone.
  bool is_late() const { return is_stop() && kind != ErrorKind::kShutdown; }
  // "API_TIMEOUT: Connection timeout after 5s": the code in front, unless the message already begins with it.
  std::string sentence() const;
};

// What handlers and steps return.
Error retryable_error(std::string message, std::string code = "retryable",
                      std::optional<std::chrono::milliseconds> retry_after = std::nullopt);
Error fatal_error(std::string message, std::string code = "fatal");
Error not_performed(std::string message);

template <class T>  // a type of its own, because g++ 12 does not mark std::expected nodiscard
struct [[nodiscard]] Result : std::expected<T, Error> {
  using std::expected<T, Error>::expected;
};
inline std::unexpected<Error> fail(Error error) { return std::unexpected<Error>(std::move(error)); }

}  // namespace fettle::sdk
