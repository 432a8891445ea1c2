#include "telemetry/attribute_text.h"

#include <charconv>
#include <cmath>
#include <string_view>

#include "core/json.h"

namespace fettle::telemetry {
namespace {

constexpr int kDepthMax = 64;

void append_base64(std::string& out, std::string_view bytes) {
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::size_t i = 0;
  const auto byte = [&](std::size_t at) { return static_cast<std::uint32_t>(static_cast<unsigned char>(bytes[at])); };
  for (; i + 2 < bytes.size(); i += 3) {
    const std::uint32_t bits = byte(i) << 16 | byte(i + 1) << 8 | byte(i + 2);
    for (int shift = 18; shift >= 0; shift -= 6) out.push_back(kDigits[bits >> shift & 63]);
  }
  if (i == bytes.size()) return;
  const bool two = i + 1 < bytes.size();
  const std::uint32_t bits = byte(i) << 16 | (two ? byte(i + 1) << 8 : 0);
  out.push_back(kDigits[bits >> 18 & 63]);
  out.push_back(kDigits[bits >> 12 & 63]);
  out.push_back(two ? kDigits[bits >> 6 & 63] : '=');
  out.push_back('=');
}

void append_integer(std::string& out, std::int64_t value) {
  char text[24];
  const auto end = std::to_chars(text, text + sizeof text, value).ptr;
  out.append(text, end);
}

// Keys of one list are few; comparing them pairwise is cheaper than a set.
bool comes_again(const otlp::Common& request, otlp::Range attributes, std::uint32_t index) {
  for (std::uint32_t later = index + 1; later < attributes.count; ++later) {
    if (request.attributes[attributes.first + later].key == request.attributes[attributes.first + index].key) {
      return true;
    }
  }
  return false;
}

void append_attributes(std::string& out, const otlp::Common& request, otlp::Range attributes, int depth) {
  out.push_back('{');
  bool is_first = true;
  for (std::uint32_t i = 0; i < attributes.count; ++i) {
    if (comes_again(request, attributes, i)) continue;
    const otlp::Attribute& attribute = request.attributes[attributes.first + i];
    if (!is_first) out.push_back(',');
    is_first = false;
    append_json_string(out, attribute.key);
    out.push_back(':');
    append_value_json(out, request, attribute.value, depth + 1);
  }
  out.push_back('}');
}

}  // namespace

void append_double(std::string& out, double value) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, value).ptr;
  const std::string_view digits(text, static_cast<std::size_t>(end - text));
  out.append(digits);
  if (digits.find_first_of(".en") == std::string_view::npos) out.append(".0");
}

void append_value_json(std::string& out, const otlp::Common& request, const otlp::Value& value, int depth) {
  if (depth > kDepthMax) {
    out.append("null");
    return;
  }
  switch (value.type) {
    case otlp::ValueType::kEmpty: out.append("null"); return;
    case otlp::ValueType::kString: append_json_string(out, value.text()); return;
    case otlp::ValueType::kBool: out.append(value.boolean ? "true" : "false"); return;
    case otlp::ValueType::kInt: append_integer(out, value.integer); return;
    case otlp::ValueType::kDouble:
      if (std::isnan(value.number)) {
        out.append("\"NaN\"");
      } else if (std::isinf(value.number)) {
        out.append(value.number > 0 ? "\"Infinity\"" : "\"-Infinity\"");
      } else {
        append_double(out, value.number);
      }
      return;
    case otlp::ValueType::kBytes:
      out.push_back('"');
      append_base64(out, value.text());
      out.push_back('"');
      return;
    case otlp::ValueType::kArray: {
      const otlp::Range items = value.children();
      out.push_back('[');
      for (std::uint32_t i = 0; i < items.count; ++i) {
        if (i != 0) out.push_back(',');
        append_value_json(out, request, request.values[items.first + i], depth + 1);
      }
      out.push_back(']');
      return;
    }
    case otlp::ValueType::kMap: append_attributes(out, request, value.children(), depth); return;
  }
}

void append_attributes_json(std::string& out, const otlp::Common& request, otlp::Range attributes) {
  append_attributes(out, request, attributes, 0);
}

void append_value_text(std::string& out, const otlp::Common& request, const otlp::Value& value) {
  switch (value.type) {
    case otlp::ValueType::kEmpty: return;
    case otlp::ValueType::kString: out.append(value.text()); return;
    case otlp::ValueType::kBytes: append_base64(out, value.text()); return;
    case otlp::ValueType::kDouble:
      if (std::isfinite(value.number)) {
        append_double(out, value.number);
      } else {
        out.append(std::isnan(value.number) ? "NaN" : value.number > 0 ? "Infinity" : "-Infinity");
      }
      return;
    default: append_value_json(out, request, value); return;
  }
}

}  // namespace fettle::telemetry
