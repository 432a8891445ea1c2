#include "server/remote.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>

namespace fettle::server {
namespace {

constexpr std::size_t kPageMax = 1'000;
constexpr std::chrono::hours kStreamTimeMax{24 * 365};
constexpr std::size_t kStreamBytesMax = std::size_t{1} << 50;

ErrorCode code_of(int status) {
  switch (status) {
    case 400: return ErrorCode::kInvalidArgument;
    case 401: return ErrorCode::kUnauthenticated;
    case 403: return ErrorCode::kPermissionDenied;
    case 404: return ErrorCode::kNotFound;
    case 409:
    case 422: return ErrorCode::kConflict;
    default: return ErrorCode::kUnavailable;
  }
}

Error error_of(const http::Response& response) {
  boost::json::error_code ignored;  // whatever stands between us and the server may answer in another language
  const boost::json::value document = boost::json::parse(response.body, ignored);
  std::string detail;
  if (const auto* object = document.if_object(); object != nullptr && object->contains("detail")) {
    if (const auto* text = object->at("detail").if_string()) detail = std::string(*text);
  }
  return Error(code_of(response.status), detail.empty() ? fmt::format("the server answered {} {}", response.status,
                                                                      http::reason_phrase(response.status))
                                                        : detail);
}

}  // namespace

void add_parameter(std::string& target, std::string_view name, const std::string& value) {
  if (value.empty()) return;
  target += target.find('?') == std::string::npos ? '?' : '&';
  target += name;
  target += '=' + http::percent_encode(value);
}

Remote::Remote(const RemoteOptions& options)
    : bearer_(options.token.empty() ? "" : "Bearer " + options.token), client_(options.url, {}) {}

Result<boost::json::value> Remote::get(const std::string& target) { return send("GET", target, {}); }

Result<boost::json::value> Remote::send(const std::string& method, const std::string& target, const std::string& body) {
  http::ClientRequest request;
  request.method = method;
  request.target = target;
  if (!bearer_.empty()) request.headers.add("Authorization", bearer_);
  // A development server asks this of every change, also of one without a body.
  if (method != "GET") request.headers.add("Content-Type", "application/json");
  if (!body.empty()) request.body.push_back(body);
  auto answer = client_.send(request);
  if (!answer) return std::unexpected(std::move(answer).error().within("asking the server"));
  if (answer->status < 200 || answer->status > 299) return std::unexpected(error_of(*answer));
  boost::json::error_code error;
  boost::json::value document = boost::json::parse(answer->body, error);
  if (error) return fail(ErrorCode::kUnavailable, "the answer is not JSON: is this Fettle's address?");
  return document;
}

Result<void> Remote::items(const std::string& target, std::size_t count,
                           const std::function<bool(const boost::json::object& item)>& visit) {
  std::string cursor;
  std::size_t seen = 0;
  do {
    std::string page_target = target;
    add_parameter(page_target, "limit", std::to_string(std::min<std::size_t>(count - seen, kPageMax)));
    add_parameter(page_target, "cursor", cursor);
    auto page = get(page_target);
    if (!page) return std::unexpected(std::move(page).error());
    const auto* object = page->if_object();
    const auto* list = object == nullptr ? nullptr : object->if_contains("items");
    if (list == nullptr || !list->is_array()) return fail(ErrorCode::kUnavailable, "the answer has no items");
    for (const boost::json::value& item : list->get_array()) {
      if (!item.is_object()) continue;
      if (!visit(item.get_object()) || ++seen == count) return {};
    }
    const auto* next = object->if_contains("next_cursor");
    cursor = next != nullptr && next->is_string() ? std::string(next->get_string()) : std::string();
  } while (!cursor.empty());
  return {};
}

Result<void> Remote::stream(const std::string& target, const std::function<bool(std::string_view piece)>& sink) {
  http::ClientRequest request;
  request.target = target;
  request.time_max = kStreamTimeMax;
  request.response_bytes_max = kStreamBytesMax;
  if (!bearer_.empty()) request.headers.add("Authorization", bearer_);
  auto answer = client_.stream(request, sink);
  if (!answer) return std::unexpected(std::move(answer).error());
  if (answer->status != 200) return std::unexpected(error_of(*answer));
  return {};
}

Result<void> Remote::events(const std::string& target, std::string_view last_id, const Visit& visit) {
  http::ClientRequest request;
  request.target = target;
  request.time_max = kStreamTimeMax;
  request.response_bytes_max = kStreamBytesMax;
  if (!bearer_.empty()) request.headers.add("Authorization", bearer_);
  if (!last_id.empty()) request.headers.add("Last-Event-ID", std::string(last_id));
  std::string pending, event, id, data;
  auto answer = client_.stream(request, [&](std::string_view piece) {
    pending += piece;
    std::size_t at = 0;
    for (std::size_t end = pending.find('\n'); end != std::string::npos; end = pending.find('\n', at)) {
      const std::string_view line = std::string_view(pending).substr(at, end - at);
      at = end + 1;
      if (line.empty()) {
        const bool goes_on = visit(event, id, data);
        event.clear();
        data.clear();
        if (!goes_on) return false;
      } else if (line.starts_with("event: ")) {
        event = line.substr(7);
      } else if (line.starts_with("id: ")) {
        id = line.substr(4);
      } else if (line.starts_with("data: ")) {
        data = line.substr(6);
      }
    }
    pending.erase(0, at);
    return true;
  });
  if (!answer) return std::unexpected(std::move(answer).error());
  if (answer->status != 200) return std::unexpected(error_of(*answer));
  return {};
}

}  // namespace fettle::server
