// What must hold of every request that a decoder accepted, whichever bytes it came from.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "otlp/decode.h"
#include "otlp/encode.h"
#include "otlp/strings.h"
#include "otlp/to_protobuf_for_test.h"

namespace fettle::otlp::fuzzing {

inline void require(bool holds) {
  if (!holds) std::abort();
}

// Limits that small inputs reach, or those of production.
inline DecodeLimits limits_of(std::uint8_t choice) {
  if (choice % 2 == 0) return {};
  return {.nesting_max = 4, .attributes_max = 3, .string_bytes_max = 8, .items_max = 6};
}

template <class Request>
void check_accepted(Request& request, const DecodeLimits& limits) {
  // Everything can be walked, and all that the views name can be read.
  std::uint64_t read = 0;
  const auto touch = [&](std::string_view& text, std::string_view key) {
    require(text.size() <= limits.string_bytes_max);
    for (const char c : text) read += static_cast<std::uint8_t>(c);
    for (const char c : key) read += static_cast<std::uint8_t>(c);
  };
  for_each_string(request, touch);
  for_each_bytes(request, touch);

  std::string text;
  for (const Attribute& attribute : request.attributes) {
    append_text(text, request, attribute.value);
    append_json(text, request, attribute.value);
  }
  if constexpr (requires { request.records; }) {
    for (const LogRecord& record : request.records) {
      append_text(text, request, record.body);
      append_json(text, request, record.body);
    }
  }
  require(read + text.size() < UINT64_MAX);

  // Written as protobuf it decodes to the same again, with nothing left to refuse or repair.
  const std::string written = testing::to_protobuf(request);
  Request again;
  require(decode_protobuf(written, limits, again).has_value());
  require(again.rejections.count == 0);
  require(again.duplicate_attributes == 0);
  require(again.truncated_attributes == 0);
  require(again.truncated_strings == 0);
  require(again.attributes.size() == request.attributes.size());
  require(again.values.size() == request.values.size());
  require(testing::to_protobuf(again) == written);

  (void)repair_utf8(request);
  require(repair_utf8(request) == 0);
}

// The first byte chooses the signal and the limits.
template <class Decode>
void decode_and_check(const std::uint8_t* data, std::size_t size, Decode decode) {
  if (size == 0) return;
  const DecodeLimits limits = limits_of(data[0] / 3);
  const std::string_view body(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto check = [&](auto& request) {
    if (decode(body, limits, request)) {
      check_accepted(request, limits);
    } else {
      require(request.attributes.empty() && request.resources.empty());
    }
  };
  // Used again from input to input, as receivers do.
  static Traces traces;
  static Logs logs;
  static Metrics metrics;
  switch (data[0] % 3) {
    case 0: check(traces); break;
    case 1: check(logs); break;
    default: check(metrics); break;
  }
}

}  // namespace fettle::otlp::fuzzing
