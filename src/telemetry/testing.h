// Requests written by hand, for the tests of this room.
#pragma once

#include <cstdint>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "otlp/model.h"
#include "telemetry/identifiers.h"

namespace fettle::telemetry {

// The catalogue that is shipped.
inline IdentifierCatalogue shipped_catalogue() {
  std::ifstream file(FETTLE_PACKS_DIR "/identifiers.yaml");
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  auto catalogue = IdentifierCatalogue::parse(text);
  if (!catalogue) throw std::runtime_error(catalogue.error().message());
  return std::move(*catalogue);
}

inline otlp::Value text(std::string_view value) { return otlp::Value::of_string(value); }
inline otlp::Value integer(std::int64_t value) {
  otlp::Value out;
  out.type = otlp::ValueType::kInt;
  out.integer = value;
  return out;
}
inline otlp::Value number(double value) {
  otlp::Value out;
  out.type = otlp::ValueType::kDouble;
  out.number = value;
  return out;
}
inline otlp::Value boolean(bool value) {
  otlp::Value out;
  out.type = otlp::ValueType::kBool;
  out.boolean = value;
  return out;
}
inline otlp::Value bytes(std::string_view value) {
  otlp::Value out = otlp::Value::of_string(value);
  out.type = otlp::ValueType::kBytes;
  return out;
}
inline otlp::Value array(otlp::Common& request, std::initializer_list<otlp::Value> items) {
  otlp::Value out;
  out.type = otlp::ValueType::kArray;
  out.first = static_cast<std::uint32_t>(request.values.size());
  out.size = static_cast<std::uint32_t>(items.size());
  request.values.insert(request.values.end(), items.begin(), items.end());
  return out;
}

using Attributes = std::vector<otlp::Attribute>;

inline otlp::Range add(otlp::Common& request, const Attributes& attributes) {
  const auto first = static_cast<std::uint32_t>(request.attributes.size());
  request.attributes.insert(request.attributes.end(), attributes.begin(), attributes.end());
  return {first, static_cast<std::uint32_t>(attributes.size())};
}

inline otlp::Value map(otlp::Common& request, const Attributes& entries) {
  const otlp::Range range = add(request, entries);
  otlp::Value out;
  out.type = otlp::ValueType::kMap;
  out.first = range.first;
  out.size = range.count;
  return out;
}

inline constexpr UnixNanos kNoon = 1'795'262'400'000'000'000;  // 2026-11-21T12:00:00Z
inline constexpr std::string_view kTraceId("\x0a\xf7\x65\x19\x16\xcd\x43\xdd\x84\x48\xeb\x21\x1c\x80\x31\x9c", 16);
inline constexpr std::string_view kTraceHex = "0af7651916cd43dd8448eb211c80319c";
inline constexpr std::string_view kSpanId("\xb7\xad\x6b\x71\x69\x20\x33\x31", 8);

inline otlp::Span make_span(otlp::Traces& request, const Attributes& attributes, UnixNanos start = kNoon) {
  otlp::Span span;
  span.trace_id = kTraceId;
  span.span_id = kSpanId;
  span.name = "work";
  span.start = start;
  span.end = start + 1'500'000;
  span.attributes = add(request, attributes);
  return span;
}

}  // namespace fettle::telemetry
