#include "engine/host/http_error.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace fettle::engine_host {
namespace {

// As ClickHouse's own HTTP handler answers.
constexpr auto kBadRequest = std::to_array<int>(
    {6, 26, 27, 36, 38, 41, 42, 43, 44, 49, 53, 57, 62, 69, 70, 72, 117, 120, 125, 130, 190, 252, 386, 456, 457});
constexpr auto kNotFound = std::to_array<int>({16, 46, 47, 50, 56, 60, 63, 80, 81, 82, 115, 124});
constexpr auto kForbidden = std::to_array<int>({164, 497});

template <std::size_t N>
bool contains(const std::array<int, N>& codes, int code) {
  return std::find(codes.begin(), codes.end(), code) != codes.end();
}

}  // namespace

int http_status_of(int engine_code) {
  if (contains(kBadRequest, engine_code)) return 400;
  if (contains(kNotFound, engine_code)) return 404;
  if (contains(kForbidden, engine_code)) return 403;
  switch (engine_code) {
    case kAuthenticationFailed: return 401;
    case kTimeoutExceeded: return 408;
    case kQueryIsTooLarge: return 413;
    case kTooManySimultaneousQueries: return 503;
    default: return 500;
  }
}

Failure host_failure(EngineCode code, std::string_view name, std::string_view message) {
  return {code, fmt::format("Code: {}. DB::Exception: {}. ({})", static_cast<int>(code), message, name)};
}

http::Response error_response(const Failure& failure, std::string_view query_id) {
  std::string text = failure.message;
  if (!text.starts_with("Code: ")) text = fmt::format("Code: {}. DB::Exception: {}", failure.code, text);
  if (!text.ends_with('\n')) text += '\n';
  auto response = http::Response::make(http_status_of(failure.code), "text/plain; charset=UTF-8", std::move(text));
  response.headers.set("X-ClickHouse-Exception-Code", std::to_string(failure.code));
  if (!query_id.empty()) response.headers.set("X-ClickHouse-Query-Id", std::string(query_id));
  if (failure.code == kTooManySimultaneousQueries) response.headers.set("Retry-After", "1");
  if (failure.code == kAuthenticationFailed) response.headers.set("WWW-Authenticate", "Basic realm=\"fettle-engine\"");
  return response;
}

}  // namespace fettle::engine_host
