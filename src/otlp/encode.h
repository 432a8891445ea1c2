// What a receiver answers, in the request's own encoding, and values as text.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "otlp/model.h"

namespace fettle::otlp {

enum class Signal : std::uint8_t { kTraces, kLogs, kMetrics };
enum class Encoding : std::uint8_t { kProtobuf, kJson };

// Export<Signal>ServiceResponse. partial_success is unset when nothing was rejected and there is no warning.
std::string encode_response(Signal signal, Encoding encoding, std::int64_t rejected, std::string_view message);

// google.rpc.Status {code, message, details}; with `retry_delay` a RetryInfo detail.
std::string encode_status(Encoding encoding, int code, std::string_view message,
                          std::optional<std::chrono::milliseconds> retry_delay = std::nullopt);

// A value as text for columns and labels, after the rules of the OpenTelemetry specification for targets without
// types: strings as they are, arrays and maps as compact JSON, bytes as base64. Depth is bounded by the decoder.
void append_text(std::string& out, const Common& request, const Value& value);
// A value as JSON: strings quoted, NaN and infinities as strings, bytes as base64 strings, empty as null.
void append_json(std::string& out, const Common& request, const Value& value);

}  // namespace fettle::otlp
