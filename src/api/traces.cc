// GET /api/v1/traces/{trace_id} and …/outline.
#include <fmt/format.h>

#include <iterator>

#include "api/api.h"
#include "core/json.h"

namespace fettle::api {
namespace {

// Up to here an answer is sent whole, with its length; a longer one as it comes.
constexpr std::size_t kStreamFromBytes = 256 * 1024;

http::Response json_head() {
  http::Response head;
  head.headers.set("Content-Type", "application/json");
  return head;
}

std::string cut_note(const telemetry::TraceEnd& end, const telemetry::TraceLimits& limits) {
  switch (end.cut_by) {
    case telemetry::TraceEnd::CutBy::kRows: return fmt::format(R"({{"reason":"spans","limit":{}}})", limits.rows_max);
    case telemetry::TraceEnd::CutBy::kBytes: return fmt::format(R"({{"reason":"bytes","limit":{}}})", limits.bytes_max);
    case telemetry::TraceEnd::CutBy::kNothing: break;
  }
  return "null";
}

}  // namespace

void Api::get_trace(Exchange exchange) {
  if (auto known = only_parameters(exchange.request().query, {}); !known) return exchange.problem(known.error());
  reads_.run(std::move(exchange), [this](Exchange& held, const std::stop_token& stop) {
    const std::string trace_id = held.parameter("trace_id");
    std::unique_ptr<http::ResponseStream> stream;
    std::string body = R"({"trace_id":)";
    append_json_string(body, trace_id);
    body += R"(,"spans":[)";
    bool is_first = true;
    auto end =
        services_.reader.trace(held.scope(), trace_id, limits_.trace, read_options(stop), [&](std::string_view row) {
          if (!is_first) body += ',';
          is_first = false;
          body += row;
          if (body.size() < kStreamFromBytes) return true;
          if (stream == nullptr) {
            stream = held.stream(json_head());
            stream->stop_waiting_on(stop);
          }
          const bool is_read = stream->write(body);
          body.clear();
          return is_read;
        });
    if (!end) {
      // Half an answer must not look whole.
      if (stream != nullptr) return stream->abort();
      return held.problem(end.error());
    }
    if (is_first) return held.problem(Error(ErrorCode::kNotFound, fmt::format("no trace '{}' is stored", trace_id)));
    fmt::format_to(std::back_inserter(body), R"(],"partial":{},"truncated":{}}})", end->partial,
                   cut_note(*end, limits_.trace));
    if (stream == nullptr) return held.json(std::move(body));
    if (stream->write(body)) stream->finish();
  });
}

void Api::get_outline(Exchange exchange) {
  if (auto known = only_parameters(exchange.request().query, {}); !known) return exchange.problem(known.error());
  reads_.run(std::move(exchange), [this](Exchange& held, const std::stop_token& stop) {
    auto outline =
        services_.reader.outline(held.scope(), held.parameter("trace_id"), limits_.outline, read_options(stop));
    if (!outline) return held.problem(outline.error());
    held.json(std::move(*outline));
  });
}

}  // namespace fettle::api
