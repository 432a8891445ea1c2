#include "server/config_values.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <limits>
#include <utility>

namespace fettle::server {
namespace {

std::unexpected<Error> expected(std::string_view what, std::string_view text) {
  return fail(ErrorCode::kInvalidArgument, fmt::format("expected {}, not '{}'", what, text.substr(0, 128)));
}

// A whole number and what follows it.
bool split(std::string_view text, std::uint64_t& number, std::string_view& unit) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || text.empty()) return false;
  unit = text.substr(static_cast<std::size_t>(end - text.data()));
  while (unit.starts_with(' ')) unit.remove_prefix(1);
  return true;
}

template <std::size_t N>
bool scale(std::uint64_t& number, std::string_view unit,
           const std::array<std::pair<std::string_view, std::uint64_t>, N>& units) {
  for (const auto& [name, factor] : units) {
    if (name != unit) continue;
    if (number > std::numeric_limits<std::int64_t>::max() / factor) return false;
    number *= factor;
    return true;
  }
  return false;
}

constexpr std::array<std::pair<std::string_view, std::uint64_t>, 10> kByteUnits = {{
    {"", 1},
    {"B", 1},
    {"kB", 1'000},
    {"MB", 1'000'000},
    {"GB", 1'000'000'000},
    {"TB", 1'000'000'000'000},
    {"KiB", 1ULL << 10},
    {"MiB", 1ULL << 20},
    {"GiB", 1ULL << 30},
    {"TiB", 1ULL << 40},
}};

constexpr std::array<std::pair<std::string_view, std::uint64_t>, 5> kDurationUnits = {
    {{"ms", 1}, {"s", 1'000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}}};

}  // namespace

Result<std::uint64_t> parse_bytes(std::string_view text) {
  std::uint64_t number = 0;
  std::string_view unit;
  if (!split(text, number, unit) || !scale(number, unit, kByteUnits)) {
    return expected("a size such as 64MiB, 2GB or a number of bytes", text);
  }
  return number;
}

Result<std::chrono::milliseconds> parse_duration(std::string_view text) {
  std::uint64_t number = 0;
  std::string_view unit;
  if (!split(text, number, unit) || !scale(number, unit, kDurationUnits) || number > 3'650ULL * 86'400'000) {
    return expected("a duration such as 500ms, 30s, 15m, 48h or 30d, at most ten years", text);
  }
  return std::chrono::milliseconds(number);
}

Result<std::uint64_t> parse_whole(std::string_view text, std::uint64_t least, std::uint64_t most) {
  std::uint64_t number = 0;
  std::string_view rest;
  if (!split(text, number, rest) || !rest.empty() || number < least || number > most) {
    return expected(fmt::format("a whole number from {} to {}", least, most), text);
  }
  return number;
}

Result<double> parse_percent(std::string_view text) {
  double number = 0;
  const std::string_view digits = text.ends_with('%') ? text.substr(0, text.size() - 1) : text;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc() || end != digits.data() + digits.size() || !(number >= 0 && number <= 100)) {
    return expected("a percentage from 0 to 100", text);
  }
  return number;
}

Result<bool> parse_bool(std::string_view text) {
  if (text == "true" || text == "yes" || text == "on" || text == "1") return true;
  if (text == "false" || text == "no" || text == "off" || text == "0") return false;
  return expected("true or false", text);
}

Result<void> check_address(std::string_view text) {
  if (text.starts_with("unix:/")) return {};
  const std::size_t colon = text.rfind(':');
  const bool has_port = colon != std::string_view::npos && colon != 0 && parse_whole(text.substr(colon + 1), 0, 65'535);
  const bool is_bare_ipv6 = has_port && text.substr(0, colon).contains(':') && text.front() != '[';
  if (!has_port || is_bare_ipv6) return expected("an address such as 127.0.0.1:7070 or [::1]:7070", text);
  return {};
}

}  // namespace fettle::server
