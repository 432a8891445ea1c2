#include "caller.h"

#include <openssl/rand.h>

#include <array>

#include "problem.h"

namespace fettle::sdk {

namespace {

constexpr char kHex[] = "0123456789abcdef";

// Every call that changes something carries a key, so a repetition is safe even when the first try took effect. 409
// with a time to wait says that the first try is still under way.
bool may_repeat(const Error& error) {
  if (error.kind == ErrorKind::kUnreachable) return true;
  return error.kind == ErrorKind::kProblem &&
         (retryable_status(error.status) || (error.status == 409 && error.retry_after));
}

// What could end the quotes of the header is not a key's business.
std::string key_of(std::string_view wanted) {
  std::string key = wanted.empty() ? random_uuid() : std::string(wanted);
  for (char& c : key) {
    if (c < 0x21 || c > 0x7D || c == '"' || c == '\\') c = '_';
  }
  return key;
}

Result<Json> read(const HttpAnswer& answer, std::string_view path) {
  const bool good = answer.status >= 200 && answer.status < 300;
  Result<Json> value = answer.body.empty() ? Result<Json>(Json()) : Json::parse(answer.body);
  if (good) {
    if (value) return value;
    // A proxy's page, or an answer cut short.
    return fail({.kind = ErrorKind::kUnreachable,
                 .code = "unreachable",
                 .message = std::string(path) + ": the answer is not JSON"});
  }
  return fail(problem_error(answer.status, value ? *value : Json(), answer.request_id, answer.retry_after));
}

}  // namespace

Result<Json> Caller::get(std::string_view path, const CallOptions& options) { return call({.path = path}, options); }

Result<Json> Caller::post(std::string_view path, std::string_view body, const CallOptions& options) {
  const std::string key = key_of(options.idempotency_key);
  return call({.post = true, .path = path, .body = body, .idempotency_key = key}, options);
}

Result<Json> Caller::remove(std::string_view path, const CallOptions& options) {
  const std::string key = key_of(options.idempotency_key);
  return call({.remove = true, .path = path, .idempotency_key = key}, options);
}

Result<Json> Caller::call(const HttpRequest& request, const CallOptions& options) {
  HttpRequest filled = request;
  filled.timeout = options.timeout.value_or(timeout_);
  filled.stop = options.stop;
  filled.long_poll = options.long_poll;
  return retrying<Json>(*clock_, options.retry.value_or(retry_), options.stop, may_repeat, [&]() -> Result<Json> {
    const Result<HttpAnswer> answer = transport_->send(filled);
    if (!answer) return fail(answer.error());
    return read(*answer, filled.path);
  });
}

std::string random_uuid() {
  std::array<unsigned char, 16> bytes{};
  RAND_bytes(bytes.data(), static_cast<int>(bytes.size()));
  bytes[6] = static_cast<unsigned char>((bytes[6] & 0x0F) | 0x40);
  bytes[8] = static_cast<unsigned char>((bytes[8] & 0x3F) | 0x80);
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text.append(1, kHex[bytes[i] >> 4]).append(1, kHex[bytes[i] & 15]);
  }
  return text;
}

std::string url_encoded(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                       c == '_' || c == '.' || c == '~';
    const auto byte = static_cast<unsigned char>(c);
    if (plain) {
      out += c;
    } else {
      out.append("%").append(1, kHex[byte >> 4]).append(1, kHex[byte & 15]);
    }
  }
  return out;
}

}  // namespace fettle::sdk
