// Small questions about bytes of text, for the matchers. Internal to the room.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>
#include <vector>

#include "redact/matchers.h"

namespace fettle::redact {

constexpr std::size_t kNone = std::string_view::npos;
constexpr std::size_t kGapMax = 8;  // blanks or closing characters between a key and its sign, as in the prefilter

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
constexpr bool is_letter(char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); }
constexpr bool is_alnum(char c) { return is_digit(c) || is_letter(c); }
constexpr bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }
constexpr bool is_blank(char c) { return c == ' ' || c == '\t'; }
constexpr bool is_space(char c) { return is_blank(c) || c == '\n' || c == '\r' || c == '\v' || c == '\f'; }
constexpr bool is_quote(char c) { return c == '"' || c == '\'' || c == '`'; }
constexpr bool is_high(char c) { return static_cast<unsigned char>(c) >= 0x80; }
constexpr char to_lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }
constexpr int hex_value(char c) { return is_digit(c) ? c - '0' : to_lower(c) - 'a' + 10; }

inline bool equals_caseless(std::string_view text, std::string_view lower) {
  return text.size() == lower.size() &&
         std::ranges::equal(text, lower, [](char a, char b) { return to_lower(a) == b; });
}
inline bool starts_caseless(std::string_view text, std::string_view lower) {
  return text.size() >= lower.size() && equals_caseless(text.substr(0, lower.size()), lower);
}
inline std::size_t find_caseless(std::string_view text, std::string_view lower, std::size_t from) {
  for (std::size_t i = from; i + lower.size() <= text.size(); ++i) {
    if (to_lower(text[i]) == lower[0] && starts_caseless(text.substr(i), lower)) return i;
  }
  return kNone;
}

inline void add(std::vector<MaskSpan>& spans, std::size_t begin, std::size_t end, RuleId rule) {
  if (begin < end) spans.push_back({begin, end, rule, mask_of(rule)});
}

inline std::size_t run_end(std::string_view text, std::size_t from, auto&& accepts) {
  while (from < text.size() && accepts(text[from])) ++from;
  return from;
}

// The length of a percent escape (at any depth: %3A, %253A) at `at` whose byte is one of `bytes`, or 0.
inline std::size_t percent_at(std::string_view text, std::size_t at, std::string_view bytes) {
  if (at >= text.size() || text[at] != '%') return 0;
  std::size_t i = at + 1;
  while (i + 3 < text.size() && text[i] == '2' && text[i + 1] == '5' && is_hex(text[i + 2]) && is_hex(text[i + 3])) {
    i += 2;
  }
  if (i + 1 >= text.size() || !is_hex(text[i]) || !is_hex(text[i + 1])) return 0;
  const char byte = static_cast<char>(hex_value(text[i]) * 16 + hex_value(text[i + 1]));
  return bytes.find(byte) != kNone ? i + 2 - at : 0;
}

// Where a percent escape of one of `bytes` that ends at `end` begins, or kNone.
inline std::size_t percent_before(std::string_view text, std::size_t end, std::string_view bytes) {
  if (end < 3) return kNone;
  std::size_t at = end - 3;
  for (int depth = 0; depth < 4; ++depth) {
    if (text[at] == '%') return percent_at(text, at, bytes) == end - at ? at : kNone;
    if (at < 2) return kNone;
    at -= 2;
  }
  return kNone;
}

// The length of &quot; or its like at `at`, or 0; and where one that ends at `end` begins, or kNone.
constexpr std::string_view kQuoteEntities[] = {"&quot;", "&#34;", "&apos;", "&#39;"};
inline std::size_t quote_entity_at(std::string_view text, std::size_t at) {
  if (at >= text.size() || text[at] != '&') return 0;
  for (const std::string_view entity : kQuoteEntities) {
    if (text.substr(at).starts_with(entity)) return entity.size();
  }
  return 0;
}
inline std::size_t quote_entity_before(std::string_view text, std::size_t end) {
  if (end == 0 || text[end - 1] != ';') return kNone;
  for (const std::string_view entity : kQuoteEntities) {
    if (text.substr(0, end).ends_with(entity)) return end - entity.size();
  }
  return kNone;
}

// True when the byte before `at` is the last of a backslash escape: \n, \t, \u0026.
inline bool after_backslash_escape(std::string_view text, std::size_t at) {
  if (at >= 2 && text[at - 2] == '\\' && std::string_view("nrtbfv").find(text[at - 1]) != kNone) return true;
  return at >= 6 && text[at - 6] == '\\' && text[at - 5] == 'u' && std::ranges::all_of(text.substr(at - 4, 4), is_hex);
}

inline bool after_percent_escape(std::string_view text, std::size_t at) {
  return at >= 3 && text[at - 3] == '%' && is_hex(text[at - 2]) && is_hex(text[at - 1]);
}

}  // namespace fettle::redact
