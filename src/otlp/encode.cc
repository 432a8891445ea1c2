#include "otlp/encode.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <protozero/pbf_writer.hpp>
#include <string>
#include <string_view>

#include "core/json.h"
#include "otlp/base64.h"

namespace fettle::otlp {
namespace {

// An answer is for one look of a person; clients bound what they read.
constexpr std::size_t kMessageBytesMax = 4096;

constexpr std::string_view kRetryInfo = "type.googleapis.com/google.rpc.RetryInfo";

// What may stand in an answer: well-formed and short.
std::string shortened(std::string_view message) {
  std::string clean = to_utf8(message.substr(0, kMessageBytesMax + 1));
  if (clean.size() <= kMessageBytesMax) return clean;
  std::size_t end = kMessageBytesMax;
  while (end > 0 && (static_cast<unsigned char>(clean[end]) & 0xC0) == 0x80) --end;
  clean.resize(end);
  return clean;
}

std::string_view rejected_name(Signal signal) {
  switch (signal) {
    case Signal::kTraces: return "rejectedSpans";
    case Signal::kLogs: return "rejectedLogRecords";
    case Signal::kMetrics: return "rejectedDataPoints";
  }
  return "rejectedSpans";
}

struct Delay {
  std::int64_t seconds;
  std::int32_t nanos;
};

Delay split(std::chrono::milliseconds delay) {
  const std::int64_t ms = std::max<std::int64_t>(delay.count(), 0);
  return {ms / 1000, static_cast<std::int32_t>(ms % 1000 * 1'000'000)};
}

// A Duration in JSON has 0, 3, 6 or 9 digits after the point.
std::string duration_json(std::chrono::milliseconds delay) {
  const Delay parts = split(delay);
  std::string text = std::to_string(parts.seconds);
  if (parts.nanos != 0) {
    const std::string ms = std::to_string(parts.nanos / 1'000'000);
    text += '.' + std::string(3 - ms.size(), '0') + ms;
  }
  return text + 's';
}

void append_integer(std::string& out, std::int64_t value) { out += std::to_string(value); }

// The shortest text that reads back as the same double.
void append_finite(std::string& out, double value) {
  char buffer[32];
  const auto result = std::to_chars(buffer, buffer + sizeof buffer, value);
  out.append(buffer, result.ptr);
}

// For NaN and the infinities, which are no JSON numbers.
std::string_view special_name(double value) {
  if (std::isnan(value)) return "NaN";
  return value > 0 ? "Infinity" : "-Infinity";
}

}  // namespace

std::string encode_response(Signal signal, Encoding encoding, std::int64_t rejected, std::string_view message) {
  const std::string text = shortened(message);
  const bool partial = rejected != 0 || !text.empty();
  std::string out;
  if (encoding == Encoding::kProtobuf) {
    if (!partial) return out;
    protozero::pbf_writer response(out);
    protozero::pbf_writer success(response, 1);
    if (rejected != 0) success.add_int64(1, rejected);
    if (!text.empty()) success.add_string(2, text);
    success.commit();
    return out;
  }
  if (!partial) return "{}";
  out += R"({"partialSuccess":{)";
  if (rejected != 0) {
    out += '"';
    out += rejected_name(signal);
    out += R"(":")";
    append_integer(out, rejected);
    out += '"';
  }
  if (!text.empty()) {
    if (rejected != 0) out += ',';
    out += R"("errorMessage":)";
    append_json_string(out, text);
  }
  out += "}}";
  return out;
}

std::string encode_status(Encoding encoding, int code, std::string_view message,
                          std::optional<std::chrono::milliseconds> retry_delay) {
  const std::string text = shortened(message);
  std::string out;
  if (encoding == Encoding::kProtobuf) {
    protozero::pbf_writer status(out);
    status.add_int32(1, code);
    status.add_string(2, text);
    if (retry_delay) {
      const Delay delay = split(*retry_delay);
      protozero::pbf_writer any(status, 3);
      any.add_string(1, kRetryInfo.data(), kRetryInfo.size());
      protozero::pbf_writer retry_info(any, 2);
      protozero::pbf_writer duration(retry_info, 1);
      if (delay.seconds != 0) duration.add_int64(1, delay.seconds);
      if (delay.nanos != 0) duration.add_int32(2, delay.nanos);
    }
    return out;
  }
  out += R"({"code":)";
  append_integer(out, code);
  out += R"(,"message":)";
  append_json_string(out, text);
  if (retry_delay) {
    out += R"(,"details":[{"@type":")";
    out += kRetryInfo;
    out += R"(","retryDelay":")";
    out += duration_json(*retry_delay);
    out += R"("}])";
  }
  out += '}';
  return out;
}

void append_text(std::string& out, const Common& request, const Value& value) {
  switch (value.type) {
    case ValueType::kEmpty: return;
    case ValueType::kString: out += value.text(); return;
    case ValueType::kBytes: append_base64(out, value.text()); return;
    case ValueType::kDouble:
      if (!std::isfinite(value.number)) {
        out += special_name(value.number);
        return;
      }
      break;
    default: break;
  }
  append_json(out, request, value);
}

void append_json(std::string& out, const Common& request, const Value& value) {
  switch (value.type) {
    case ValueType::kEmpty: out += "null"; return;
    case ValueType::kString: append_json_string(out, value.text()); return;
    case ValueType::kBool: out += value.boolean ? "true" : "false"; return;
    case ValueType::kInt: append_integer(out, value.integer); return;
    case ValueType::kDouble:
      if (std::isfinite(value.number)) {
        append_finite(out, value.number);
      } else {
        out += '"';
        out += special_name(value.number);
        out += '"';
      }
      return;
    case ValueType::kBytes:
      out += '"';
      append_base64(out, value.text());
      out += '"';
      return;
    case ValueType::kArray: {
      const Range children = value.children();
      out += '[';
      for (std::uint32_t i = 0; i != children.count; ++i) {
        if (i != 0) out += ',';
        append_json(out, request, request.values[children.first + i]);
      }
      out += ']';
      return;
    }
    case ValueType::kMap: {
      const Range children = value.children();
      out += '{';
      for (std::uint32_t i = 0; i != children.count; ++i) {
        const Attribute& entry = request.attributes[children.first + i];
        if (i != 0) out += ',';
        append_json_string(out, entry.key);
        out += ':';
        append_json(out, request, entry.value);
      }
      out += '}';
      return;
    }
  }
}

}  // namespace fettle::otlp
