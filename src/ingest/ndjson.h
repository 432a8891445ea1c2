// Log lines of other loggers as OTLP log records: pino, structlog, Docker json-file, CRI and plain JSON or text.
//
// Line by line: the container's wrapper comes off and its partial lines are joined, then a JSON object is mapped by its
// dialect and anything else is kept as text; an indented text line continues the one before (stack traces). No line is
// dropped because it cannot be parsed. Mapping: opentelemetry-specification, logs data model, and
// docs/sending-telemetry.md.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.h"
#include "core/error.h"
#include "ingest/line_error.h"
#include "otlp/decode.h"
#include "otlp/model.h"

namespace fettle::ingest {

struct NdjsonOptions {
  otlp::DecodeLimits limits;
  std::size_t line_bytes_max = 1024 * 1024;  // after joining partial lines; longer ones are cut
  UnixNanos received_at = 0;
  std::string service_name;  // for lines that name none; from ?service= or the X-Service-Name header
  std::string container_id;  // for container logs
};

struct NdjsonSummary {
  std::uint64_t lines = 0;        // non-empty lines read
  std::uint64_t unparsable = 0;   // lines that looked like JSON and were kept as text
  std::vector<LineError> errors;  // the first ones of those, at most 20
};

// Replaces what `out` held. `body` is NDJSON, or with `whole_json` one JSON object or an array of objects.
// kInvalidArgument only for `whole_json`, when it is not JSON; kTooLarge past limits.items_max lines.
Result<NdjsonSummary> decode_ndjson(std::string_view body, bool whole_json, const NdjsonOptions& options,
                                    otlp::Logs& out);

// 32 hex digits, or a UUID with or without hyphens, as 16 raw bytes; empty when it is neither or all zero.
std::string parse_trace_id(std::string_view text);

}  // namespace fettle::ingest
