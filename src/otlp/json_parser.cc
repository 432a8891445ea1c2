#include "otlp/json_parser.h"

#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <system_error>

namespace fettle::otlp {
namespace {

// A parser that has grown beyond this is not kept.
constexpr std::size_t kKeptBytesMax = 2UZ * 1024 * 1024;

thread_local dom::parser parser;

// Nothing when there is nothing to repair.
std::optional<std::string> repaired_json(std::string_view json) {
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  const auto escape_at = [&](std::size_t at) -> std::optional<std::uint32_t> {
    std::uint32_t unit = 0;
    if (json.size() - at < 6 || json[at] != '\\' || json[at + 1] != 'u') return std::nullopt;
    const char* const begin = json.data() + at + 2;
    const auto [end, error] = std::from_chars(begin, begin + 4, unit, 16);
    if (error != std::errc() || end != begin + 4) return std::nullopt;
    return unit;
  };
  const auto is_high = [](std::uint32_t unit) { return unit >= 0xD800 && unit <= 0xDBFF; };
  const auto is_low = [](std::uint32_t unit) { return unit >= 0xDC00 && unit <= 0xDFFF; };

  std::string repaired;
  std::size_t copied = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < json.size();) {
    const char c = json[i];
    if (c == '"') {
      in_string = !in_string;
      ++i;
    } else if (in_string && c == '\\') {
      const std::optional<std::uint32_t> unit = escape_at(i);
      if (!unit) {
        i += 2;
        continue;
      }
      if (is_high(*unit)) {
        const std::optional<std::uint32_t> next = json.size() - i >= 12 ? escape_at(i + 6) : std::nullopt;
        if (next && is_low(*next)) {
          i += 12;
          continue;
        }
      }
      if (is_high(*unit) || is_low(*unit)) {
        repaired.append(json, copied, i - copied).append("\\ufffd");
        copied = i + 6;
      }
      i += 6;
    } else if (!in_string && (is_digit(c) || c == '-')) {
      std::size_t end = i + 1;
      while (end < json.size() && is_digit(json[end])) ++end;
      const bool whole = end == json.size() || (json[end] != '.' && json[end] != 'e' && json[end] != 'E');
      std::int64_t negative = 0;
      std::uint64_t positive = 0;
      const char* const first = json.data() + i;
      const char* const last = json.data() + end;
      const std::errc error =
          c == '-' ? std::from_chars(first, last, negative).ec : std::from_chars(first, last, positive).ec;
      if (whole && error == std::errc::result_out_of_range) {
        repaired.append(json, copied, end - copied).append("e0");
        copied = end;
      }
      // Over the rest of the number, whose digits must not be taken for another one.
      while (end < json.size() && (is_digit(json[end]) || std::string_view(".eE+-").contains(json[end]))) ++end;
      i = end;
    } else {
      ++i;
    }
  }
  if (copied == 0) return std::nullopt;
  repaired.append(json, copied);
  return repaired;
}

}  // namespace

ParserLease::~ParserLease() {
  if (parser.capacity() > kKeptBytesMax) parser = dom::parser();
}

simdjson::simdjson_result<dom::element> ParserLease::parse(std::string_view json) {
  const auto parsed = parser.parse(json.data(), json.size());
  const simdjson::error_code code = parsed.error();
  if (code == simdjson::STRING_ERROR || code == simdjson::NUMBER_ERROR || code == simdjson::TAPE_ERROR) {
    if (const std::optional<std::string> repaired = repaired_json(json)) return parser.parse(*repaired);
  }
  return parsed;
}

}  // namespace fettle::otlp
