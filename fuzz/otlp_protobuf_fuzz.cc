// OTLP requests in protobuf as strangers send them.
#include <cstdint>

#include "otlp_checks.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fettle::otlp::fuzzing::decode_and_check(data, size, [](std::string_view body, const auto& limits, auto& request) {
    return fettle::otlp::decode_protobuf(body, limits, request).has_value();
  });
  return 0;
}
