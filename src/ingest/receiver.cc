#include "ingest/receiver.h"

#include <fmt/format.h>

#include <charconv>
#include <memory>
#include <optional>

#include "core/json.h"
#include "http/problem.h"
#include "ingest/request_hash.h"
#include "otlp/encode.h"

namespace fettle::ingest {
namespace {

constexpr std::string_view kProtobuf = "application/x-protobuf";
constexpr std::string_view kJson = "application/json";
constexpr std::string_view kNdjson = "application/x-ndjson";
constexpr std::string_view kRequestId = "X-Request-Id";
constexpr std::string_view kLogLines = "/api/v1/ingest/logs";
// A chunked request does not say how long it will be; it is admitted as this much.
constexpr std::size_t kChunkedBytesGuess = 1024 * 1024;

struct Route {
  otlp::Signal signal;
  bool is_lines = false;
};

std::optional<Route> route_of(std::string_view path) {
  if (path == "/v1/traces") return Route{otlp::Signal::kTraces};
  if (path == "/v1/logs") return Route{otlp::Signal::kLogs};
  if (path == "/v1/metrics") return Route{otlp::Signal::kMetrics};
  if (path == kLogLines) return Route{otlp::Signal::kLogs, true};
  return std::nullopt;
}

std::optional<Submission::Format> format_of(const Route& route, std::string_view media_type) {
  if (route.is_lines) {
    if (media_type == kNdjson || media_type == "application/jsonl") return Submission::Format::kNdjson;
    if (media_type == kJson) return Submission::Format::kJsonLogs;
    return std::nullopt;
  }
  if (media_type == kProtobuf) return Submission::Format::kProtobuf;
  if (media_type == kJson) return Submission::Format::kJson;
  return std::nullopt;
}

int status_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument: return 400;
    case ErrorCode::kUnauthenticated: return 401;
    case ErrorCode::kPermissionDenied: return 403;
    case ErrorCode::kNotFound: return 404;
    case ErrorCode::kConflict: return 409;
    case ErrorCode::kTooLarge: return 413;
    case ErrorCode::kUnsupported: return 415;
    case ErrorCode::kResourceExhausted: return 429;
    // Everything that a retry may mend is 503, because clients of OTLP do not retry a 500.
    case ErrorCode::kUnavailable:
    case ErrorCode::kDeadlineExceeded:
    case ErrorCode::kCancelled:
    case ErrorCode::kDataLoss:
    case ErrorCode::kInternal: break;
  }
  return 503;
}

// Codes of google.rpc.Code.
int rpc_code_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument: return 3;
    case ErrorCode::kNotFound: return 5;
    case ErrorCode::kConflict: return 10;
    case ErrorCode::kPermissionDenied: return 7;
    case ErrorCode::kResourceExhausted:
    case ErrorCode::kTooLarge: return 8;
    case ErrorCode::kUnsupported: return 12;
    case ErrorCode::kUnauthenticated: return 16;
    case ErrorCode::kDeadlineExceeded:
    case ErrorCode::kUnavailable:
    case ErrorCode::kCancelled:
    case ErrorCode::kDataLoss:
    case ErrorCode::kInternal: break;
  }
  return 14;
}

// The encoding of answers: the request's own, JSON where it has none that is spoken here.
otlp::Encoding encoding_of(const http::Request& request) {
  return access::media_type_of(request.headers.get("content-type")) == kProtobuf ? otlp::Encoding::kProtobuf
                                                                                 : otlp::Encoding::kJson;
}

// `request_id` is for lines alone: OTLP has no place for one.
http::Response failure(bool is_lines, otlp::Encoding encoding, const Error& error, std::string_view request_id) {
  const int status = status_of(error.code());
  http::Response response;
  if (is_lines) {
    response = http::problem(status, to_string(error.code()), error.message(), request_id);
    response.headers.set(kRequestId, std::string(request_id));
  } else {
    response = http::Response::make(
        status, encoding == otlp::Encoding::kProtobuf ? kProtobuf : kJson,
        otlp::encode_status(encoding, rpc_code_of(error.code()), error.message(), error.retry_after()));
  }
  if (status == 401) response.headers.add("WWW-Authenticate", "Bearer");
  if (error.retry_after()) {
    // Whole seconds, rounded up: a sender that comes back early is refused again.
    response.headers.add("Retry-After", fmt::to_string((error.retry_after()->count() + 999) / 1000));
  }
  return response;
}

http::Response success(bool is_lines, otlp::Signal signal, otlp::Encoding encoding, const Accepted& accepted,
                       std::string_view request_id) {
  if (!is_lines) {
    return http::Response::make(200, encoding == otlp::Encoding::kProtobuf ? kProtobuf : kJson,
                                otlp::encode_response(signal, encoding, accepted.rejected, accepted.message));
  }
  std::string body = fmt::format(R"({{"accepted":{},"rejected":{},"message":)", accepted.received - accepted.rejected,
                                 accepted.rejected);
  append_json_string(body, accepted.message);
  body += ",\"errors\":[";
  for (const LineError& error : accepted.line_errors) {
    body += fmt::format("{}{{\"line\":{},\"detail\":", body.back() == '[' ? "" : ",", error.line);
    append_json_string(body, error.detail);
    body += "}";
  }
  http::Response response = http::Response::make(200, kJson, body + "]}");
  response.headers.set(kRequestId, std::string(request_id));
  return response;
}

}  // namespace

http::GateDecision HttpReceiver::gate(http::Request& request) {
  http::GateDecision decision;
  const auto route = route_of(request.path);
  const bool is_lines = route && route->is_lines;
  const auto refuse = [&](const Error& error) {
    decision.refuse =
        std::make_unique<http::Response>(failure(is_lines, encoding_of(request), error, http::request_id_of(request)));
    return std::move(decision);
  };
  if (!route) return refuse(Error(ErrorCode::kNotFound, "no such path: expected /v1/traces, /v1/logs or /v1/metrics"));
  if (request.method != "POST") {
    decision.refuse = std::make_unique<http::Response>(http::Response::make(405, "text/plain", "expected POST\n"));
    decision.refuse->headers.add("Allow", "POST");
    return decision;
  }
  const auto grant = authenticator_.authenticate(request);
  if (!grant) return refuse(grant.error());
  if (!grant->may(access::TokenScope::kIngest))
    return refuse(Error(ErrorCode::kPermissionDenied, "this token may not send telemetry"));
  if (!format_of(*route, access::media_type_of(request.headers.get("content-type")))) {
    return refuse(
        Error(ErrorCode::kUnsupported, is_lines ? "expected Content-Type application/x-ndjson or application/json"
                                                : "expected Content-Type application/x-protobuf or application/json"));
  }
  if (auto compression = parse_content_encoding(request.headers.get("content-encoding")); !compression) {
    return refuse(compression.error());
  }
  std::size_t bytes = kChunkedBytesGuess;
  if (const std::string_view length = request.headers.get("content-length"); !length.empty()) {
    std::from_chars(length.data(), length.data() + length.size(), bytes);
  }
  if (bytes > options_.body_bytes_max) {
    return refuse(Error(ErrorCode::kTooLarge,
                        fmt::format("the body is {} bytes, the limit is {}", bytes, options_.body_bytes_max)));
  }
  auto ticket = front_.admit(bytes);
  if (!ticket) return refuse(ticket.error());
  decision.body_bytes_max = options_.body_bytes_max;
  decision.on_end = [held = std::move(*ticket)] {};
  return decision;
}

void HttpReceiver::handle(http::Request request, http::Responder responder) {
  // The gate has passed all of this already.
  const Route route = *route_of(request.path);
  const auto grant = authenticator_.authenticate(request);
  const otlp::Encoding encoding = encoding_of(request);
  std::string request_id = route.is_lines ? http::request_id_of(request) : std::string();
  if (!grant) {
    std::move(responder).respond(failure(route.is_lines, encoding, grant.error(), request_id));
    return;
  }
  Submission submission;
  submission.workspace = grant->scope.workspace;
  submission.sender = grant->sender;
  submission.signal = route.signal;
  submission.format = *format_of(route, access::media_type_of(request.headers.get("content-type")));
  submission.compression = *parse_content_encoding(request.headers.get("content-encoding"));
  submission.received_at = clock_.now();
  submission.service_name = request.query.get("service");
  submission.container_id = request.query.get("container");
  submission.hash = hash_request(grant->scope.workspace.value, grant->sender, request.target, request.body);
  submission.body = std::move(request.body);
  front_.submit(std::move(submission), [route, encoding, request_id = std::move(request_id),
                                        held = std::make_unique<http::Responder>(std::move(responder))](
                                           const Result<Accepted>& outcome) {
    std::move(*held).respond(outcome ? success(route.is_lines, route.signal, encoding, *outcome, request_id)
                                     : failure(route.is_lines, encoding, outcome.error(), request_id));
  });
}

}  // namespace fettle::ingest
