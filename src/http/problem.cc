#include "http/problem.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <iterator>

#include "core/ids.h"
#include "core/json.h"
#include "core/rng.h"

namespace fettle::http {
namespace {

constexpr std::size_t kRequestIdBytesMax = 128;

}  // namespace

std::string request_id_of(const Request& request) {
  const std::string_view sent = request.headers.get("X-Request-Id");
  const bool is_fit =
      !sent.empty() && sent.size() <= kRequestIdBytesMax && std::ranges::all_of(sent, [](unsigned char c) {
        return std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-';
      });
  if (is_fit) return std::string(sent);
  return to_hex(SystemRng().bytes(16));
}

Response problem(int status, std::string_view code, std::string_view detail, std::string_view request_id) {
  std::string body = R"({"type":"about:blank","title":)";
  append_json_string(body, reason_phrase(status));
  fmt::format_to(std::back_inserter(body), R"(,"status":{},"detail":)", status);
  append_json_string(body, detail);
  body += R"(,"code":)";
  append_json_string(body, code);
  body += R"(,"request_id":)";
  append_json_string(body, request_id);
  body += '}';
  return Response::make(status, "application/problem+json", std::move(body));
}

}  // namespace fettle::http
