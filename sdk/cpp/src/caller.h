// A call of the API: JSON in and out, an idempotency key on what changes something, retry, problems as errors.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "fettle/sdk/json.h"
#include "fettle/sdk/retry.h"
#include "fettle/sdk/transport.h"

namespace fettle::sdk {

struct CallOptions {
  // The same key makes the server answer a repetition as it answered the first time. Made up when empty; the tries of
  // one call share it either way.
  std::string_view idempotency_key;
  std::optional<Milliseconds> timeout;
  std::optional<RetryPolicy> retry;
  std::stop_token stop;
  bool long_poll = false;
};

// Used by many threads at once.
class Caller {
 public:
  Caller(std::shared_ptr<Transport> transport, std::shared_ptr<Clock> clock, RetryPolicy retry, Milliseconds timeout)
      : transport_(std::move(transport)), clock_(std::move(clock)), retry_(retry), timeout_(timeout) {}

  Result<Json> get(std::string_view path, const CallOptions& options = {});
  Result<Json> remove(std::string_view path, const CallOptions& options = {});
  // `body` is JSON text, so that a caller who already has it does not write it twice.
  Result<Json> post(std::string_view path, std::string_view body, const CallOptions& options = {});

  Clock& clock() { return *clock_; }

 private:
  Result<Json> call(const HttpRequest& request, const CallOptions& options);

  // Constant after construction.
  const std::shared_ptr<Transport> transport_;
  const std::shared_ptr<Clock> clock_;
  const RetryPolicy retry_;
  const Milliseconds timeout_;
};

// 128 random bits in the form of a UUID.
std::string random_uuid();
// For a path or a query.
std::string url_encoded(std::string_view text);

}  // namespace fettle::sdk
