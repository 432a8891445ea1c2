#include "access/authenticator.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <string>

namespace fettle::access {
namespace {

// Without asking first, that is; images and documents are proofs.
constexpr std::string_view kTypesNoPageSends[] = {"application/json",
                                                  "application/x-protobuf",
                                                  "application/x-ndjson",
                                                  "application/grpc",
                                                  "image/png",
                                                  "image/jpeg",
                                                  "image/webp",
                                                  "application/pdf",
                                                  "application/octet-stream"};

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

bool is_port(std::string_view text) {
  return !text.empty() && text.size() <= 5 &&
         std::ranges::all_of(text, [](unsigned char c) { return std::isdigit(c) != 0; });
}

// "localhost", "127.0.0.1" or "[::1]", each with or without a port.
bool is_this_machine(std::string_view host_and_port) {
  const std::string text = lower(host_and_port);
  for (const std::string_view host : {"localhost", "127.0.0.1", "[::1]"}) {
    if (!text.starts_with(host)) continue;
    const std::string_view rest = std::string_view(text).substr(host.size());
    if (rest.empty() || (rest.front() == ':' && is_port(rest.substr(1)))) return true;
  }
  return false;
}

// Of this server's own pages: another program on this machine serves its pages from another port, and is another site.
bool is_own_origin(std::string_view origin, std::string_view host) {
  const std::string text = lower(origin);
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (text.starts_with(scheme)) return !host.empty() && std::string_view(text).substr(scheme.size()) == lower(host);
  }
  return false;
}

// A page names it in a header; an EventSource, which can set none, in the query.
std::string_view workspace_named_by(const http::Request& request) {
  const std::string_view header = request.headers.get(kWorkspaceHeader);
  return header.empty() ? request.query.get("workspace") : header;
}

bool changes_state(std::string_view method) { return method != "GET" && method != "HEAD" && method != "OPTIONS"; }

}  // namespace

std::string media_type_of(std::string_view content_type) {
  return lower(trimmed(content_type.substr(0, content_type.find(';'))));
}

bool is_loopback_address(std::string_view address) {
  if (address.starts_with("unix:")) return true;
  const std::size_t colon = address.rfind(':');
  if (colon == std::string_view::npos) return false;
  const std::string host = lower(address.substr(0, colon));
  if (host == "localhost" || host == "[::1]") return true;
  if (!host.starts_with("127.")) return false;
  return std::ranges::all_of(host, [](unsigned char c) { return std::isdigit(c) != 0 || c == '.'; }) &&
         std::ranges::count(host, '.') == 3;
}

Grant development_grant() {
  return {.scope = {.workspace = {"default"}, .clients = {}},
          .scopes = bit(TokenScope::kAdmin),
          .sender = "development",
          .kind = ActorKind::kDevelopment,
          .actor_id = "development",
          .role = Role::kOwner,
          .payloads = true,
          .runs_ai = true};
}

Result<void> Authenticator::check_request_origin(const http::Request& request) const {
  if (mode_ != Mode::kDevelopment) return {};
  if (request.remote != "unix") {
    if (request.headers.count("Host") != 1 || !is_this_machine(request.headers.get("Host"))) {
      return fail(ErrorCode::kPermissionDenied,
                  "a development server answers only to the hosts localhost, 127.0.0.1 and [::1]");
    }
  }
  if (request.headers.has("Origin") && (request.headers.count("Origin") != 1 || request.headers.count("Host") != 1 ||
                                        !is_own_origin(request.headers.get("Origin"), request.headers.get("Host")))) {
    return fail(ErrorCode::kPermissionDenied, "a development server answers no page of another origin");
  }
  if (changes_state(request.method)) {
    const std::string type = media_type_of(request.headers.get("Content-Type"));
    if (request.headers.count("Content-Type") != 1 ||
        std::ranges::find(kTypesNoPageSends, type) == std::end(kTypesNoPageSends)) {
      return fail(ErrorCode::kUnsupported,
                  "send Content-Type application/json, application/x-protobuf or application/x-ndjson");
    }
  }
  return {};
}

Result<Grant> Authenticator::authenticate(std::string_view authorization) const {
  if (authorization.empty()) {
    if (mode_ == Mode::kDevelopment) return development_grant();
    return fail(ErrorCode::kUnauthenticated, "send a token: Authorization: Bearer <token>");
  }
  const std::size_t space = authorization.find(' ');
  if (space == std::string_view::npos || lower(authorization.substr(0, space)) != "bearer") {
    return fail(ErrorCode::kUnauthenticated, "the Authorization header must be: Bearer <token>");
  }
  const std::string_view token = trimmed(authorization.substr(space + 1));
  std::optional<Grant> grant = tokens_ == nullptr || token.empty() ? std::nullopt : tokens_->find(token);
  if (!grant) return fail(ErrorCode::kUnauthenticated, "the token is not known here");
  return std::move(*grant);
}

Result<Grant> Authenticator::authenticate(const http::Request& request) const {
  if (auto origin = check_request_origin(request); !origin) return std::unexpected(std::move(origin).error());
  if (request.headers.count("Authorization") > 1) {
    return fail(ErrorCode::kUnauthenticated, "more than one Authorization header");
  }
  if (people_ != nullptr && !request.headers.has("Authorization") && request.headers.has("Cookie")) {
    auto person = authenticate_person(request);
    if (person) return std::move(person->grant);
    // A browser keeps the cookie of whatever served this address before: in development it is no obstacle.
    const bool is_stale = person.error().code() == ErrorCode::kUnauthenticated;
    if (!is_stale || mode_ != Mode::kDevelopment) return std::unexpected(std::move(person).error());
  }
  auto grant = authenticate(request.headers.get("Authorization"));
  const std::string_view wanted = workspace_named_by(request);
  if (grant && !wanted.empty() && wanted != grant->scope.workspace.value) {
    return fail(ErrorCode::kNotFound, "no such workspace");
  }
  return grant;
}

Result<Directory::Person> Authenticator::authenticate_person(const http::Request& request) const {
  if (auto origin = check_request_origin(request); !origin) return std::unexpected(std::move(origin).error());
  const std::string session =
      request.headers.count("Cookie") == 1 ? session_in_cookies(request.headers.get("Cookie")) : std::string();
  if (people_ == nullptr || session.empty()) return fail(ErrorCode::kUnauthenticated, "sign in");
  auto person = people_->person(session, {std::string(workspace_named_by(request))});
  if (!person) return person;
  if (changes_state(request.method) && !is_csrf_token(session, request.headers.get(kCsrfHeader))) {
    return fail(ErrorCode::kPermissionDenied, fmt::format("send the session's token in {}", kCsrfHeader));
  }
  return person;
}

}  // namespace fettle::access
