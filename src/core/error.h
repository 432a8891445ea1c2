// Errors as values: what went wrong, on which thing, and what the caller can do about it.
//
//   Result<Config> config = load(path);
//   if (!config) return std::unexpected(std::move(config).error().within("starting the server"));
//
// Exceptions of libraries stop where they are called and become an Error there. An Error is a plain value: copy it,
// move it, use it on any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

namespace fettle {

// Each code says what the caller can do. The list is mapped to HTTP and gRPC once, in api/ and ingest/.
enum class ErrorCode : std::uint8_t {
  kInvalidArgument = 1,    // can never succeed as sent
  kNotFound = 2,           // no such thing in this scope
  kConflict = 3,           // same idempotency key, different payload
  kUnauthenticated = 4,    // who are you?
  kPermissionDenied = 5,   // you may not
  kUnavailable = 6,        // a dependency did not answer; retry later
  kResourceExhausted = 7,  // a named limit is reached; retry later or send less
  kTooLarge = 8,           // over a size limit; the same bytes will never fit
  kDeadlineExceeded = 9,   // took longer than allowed
  kUnsupported = 10,       // content type, encoding or feature that is not spoken here
  kInternal = 11,          // our own fault
  kDataLoss = 12,          // stored bytes are damaged
  kCancelled = 13,         // the caller went away or the server is stopping
};

std::string_view to_string(ErrorCode code);

class Error {
 public:
  Error(ErrorCode code, std::string message) : code_(code), message_(std::move(message)) {}

  ErrorCode code() const { return code_; }
  // For whoever is on call: what was attempted, on which thing, and the cause. Never holds a secret or a payload.
  const std::string& message() const { return message_; }
  // Set where the caller should wait before trying again (Retry-After, RetryInfo).
  std::optional<std::chrono::milliseconds> retry_after() const { return retry_after_; }

  // The same error with half a sentence of context in front: "loading run r1: not found".
  Error within(std::string_view context) &&;
  Error within(std::string_view context) const&;
  Error with_retry_after(std::chrono::milliseconds delay) &&;

 private:
  ErrorCode code_;
  std::string message_;
  std::optional<std::chrono::milliseconds> retry_after_;
};

// std::expected that warns when it is dropped (g++ 12 does not mark its own nodiscard).
template <class T>
struct [[nodiscard]] Result : std::expected<T, Error> {
  using std::expected<T, Error>::expected;
};

inline std::unexpected<Error> fail(ErrorCode code, std::string message) {
  return std::unexpected(Error(code, std::move(message)));
}

}  // namespace fettle
