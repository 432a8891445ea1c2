// Requests built by hand, for the tests of what happens to them after decoding.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "otlp/encode.h"
#include "otlp/model.h"

namespace fettle::ingest {

inline otlp::Value text_value(std::string_view text) { return otlp::Value::of_string(text); }
inline otlp::Value int_value(std::int64_t number) {
  otlp::Value value;
  value.type = otlp::ValueType::kInt;
  value.integer = number;
  return value;
}

// Appends a list of attributes and returns where it lies. THE TEXTS MUST OUTLIVE THE REQUEST.
inline otlp::Range add_attributes(otlp::Common& request, const std::vector<otlp::Attribute>& list) {
  const otlp::Range range{static_cast<std::uint32_t>(request.attributes.size()),
                          static_cast<std::uint32_t>(list.size())};
  request.attributes.insert(request.attributes.end(), list.begin(), list.end());
  return range;
}

// The keys of a list joined by spaces, and the text of one of its values ("(absent)" without it).
inline std::string keys_of(const otlp::Common& request, otlp::Range range) {
  std::string keys;
  for (std::uint32_t i = range.first; i < range.first + range.count; ++i) {
    if (!keys.empty()) keys += ' ';
    keys += request.attributes[i].key;
  }
  return keys;
}
inline std::string value_of(const otlp::Common& request, otlp::Range range, std::string_view key) {
  for (std::uint32_t i = range.first; i < range.first + range.count; ++i) {
    if (request.attributes[i].key != key) continue;
    std::string text;
    otlp::append_text(text, request, request.attributes[i].value);
    return text;
  }
  return "(absent)";
}

}  // namespace fettle::ingest
