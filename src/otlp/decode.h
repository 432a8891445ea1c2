// OTLP requests from protobuf or JSON to the flat model, whole or not at all.
//
//   otlp::Traces traces;                            // reuse it: clear() keeps the memory
//   if (auto ok = otlp::decode_protobuf(body, limits, traces); !ok) return bad_request(ok.error());
//
// kInvalidArgument: the bytes cannot be decoded; the message names where and what was expected, and never holds
// payload. Items that are well-formed but wrong (an all-zero trace id, a point without a value) are left out and
// counted in `rejections`. Pure functions; thread-safe on distinct objects.
#pragma once

#include <cstdint>
#include <string_view>

#include "core/error.h"
#include "otlp/model.h"

namespace fettle::otlp {

struct DecodeLimits {
  std::uint32_t nesting_max = 64;          // of AnyValue; deeper is kInvalidArgument
  std::uint32_t attributes_max = 128;      // in one list; further ones are cut and counted as dropped
  std::uint32_t string_bytes_max = 256 * 1024;  // longer strings are cut at a character border; counted
  std::uint32_t items_max = 1'000'000;     // spans, records or points in one request; more is kTooLarge
};

Result<void> decode_protobuf(std::string_view body, const DecodeLimits& limits, Traces& out);
Result<void> decode_protobuf(std::string_view body, const DecodeLimits& limits, Logs& out);
Result<void> decode_protobuf(std::string_view body, const DecodeLimits& limits, Metrics& out);

// `body` must be followed by at least 64 readable bytes (simdjson reads past the end): JsonBody sees to it.
Result<void> decode_json(std::string_view body, const DecodeLimits& limits, Traces& out);
Result<void> decode_json(std::string_view body, const DecodeLimits& limits, Logs& out);
Result<void> decode_json(std::string_view body, const DecodeLimits& limits, Metrics& out);

// Empties a request and keeps its memory for the next one.
void clear(Traces& request);
void clear(Logs& request);
void clear(Metrics& request);

}  // namespace fettle::otlp
