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
  std::uint32_t nesting_max = 64;      // of AnyValue, at most 256; deeper is kInvalidArgument
  std::uint32_t attributes_max = 128;  // in one list; further ones are cut and counted as dropped
  // Longer strings are cut at a character border, longer bytes values at the limit; both are counted.
  std::uint32_t string_bytes_max = 256 * 1024;
  // Spans, records or points in one request, and events, links and exemplars together; more is kTooLarge. Attributes
  // and nested values may be 8 times as many.
  std::uint32_t items_max = 1'000'000;
};

// `out` is emptied first and left empty on failure. Strings are left as sent, ill-formed UTF-8 too: see repair_utf8 in
// otlp/strings.h. What a repeated field overwrites is not looked into.
Result<void> decode_protobuf(std::string_view body, const DecodeLimits& limits, Traces& out);
Result<void> decode_protobuf(std::string_view body, const DecodeLimits& limits, Logs& out);
Result<void> decode_protobuf(std::string_view body, const DecodeLimits& limits, Metrics& out);

// The strings of a request decoded from JSON live in its own arena: it does not depend on `body`.
Result<void> decode_json(std::string_view body, const DecodeLimits& limits, Traces& out);
Result<void> decode_json(std::string_view body, const DecodeLimits& limits, Logs& out);
Result<void> decode_json(std::string_view body, const DecodeLimits& limits, Metrics& out);

// Empties a request and keeps its memory for the next one.
void clear(Traces& request);
void clear(Logs& request);
void clear(Metrics& request);

}  // namespace fettle::otlp
