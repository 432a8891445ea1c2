// OTLP requests in JSON as strangers send them.
#include <cstdint>

#include "otlp_checks.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using fettle::otlp::fuzzing::require;
  fettle::otlp::fuzzing::decode_and_check(data, size, [](std::string_view body, const auto& limits, auto& request) {
    if (!fettle::otlp::decode_json(body, limits, request)) return false;
    // JSON is text: whatever was accepted is well-formed, even what was cut at a limit.
    require(fettle::otlp::repair_utf8(request) == 0);
    return true;
  });
  return 0;
}
