#include "otlp/strings.h"

#include <simdjson.h>

#include "core/json.h"

namespace fettle::otlp {
namespace {

constexpr std::uint64_t kHighBits = 0x8080808080808080ULL;
// From here on the vector instructions of simdjson pay for the call.
constexpr std::size_t kLongBytes = 64;

std::uint64_t load(const char* at) {
  std::uint64_t word = 0;
  __builtin_memcpy(&word, at, 8);
  return word;
}

// Nearly all strings are short and ASCII: for them it comes down to a few words.
bool well_formed(std::string_view text) {
  if (text.size() >= kLongBytes) return simdjson::validate_utf8(text.data(), text.size());
  std::uint64_t seen = 0;
  if (text.size() >= 8) {
    for (std::size_t i = 0; i + 8 <= text.size(); i += 8) seen |= load(text.data() + i);
    seen |= load(text.data() + text.size() - 8);
  } else {
    for (const char c : text) seen |= static_cast<std::uint8_t>(c);
  }
  return (seen & kHighBits) == 0 || is_utf8(text);
}

template <class Request>
std::int64_t repair(Request& request) {
  std::int64_t repaired = 0;
  for_each_string(request, [&](std::string_view& text, std::string_view) {
    if (well_formed(text)) return;
    text = request.keep(to_utf8(text));
    ++repaired;
  });
  return repaired;
}

}  // namespace

std::int64_t repair_utf8(Traces& request) { return repair(request); }
std::int64_t repair_utf8(Logs& request) { return repair(request); }
std::int64_t repair_utf8(Metrics& request) { return repair(request); }

}  // namespace fettle::otlp
