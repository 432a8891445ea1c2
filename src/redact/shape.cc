#include "redact/shape.h"

#include <immintrin.h>

#include <bit>
#include <string_view>

#include "redact/matchers.h"
#include "redact/numbers.h"

namespace fettle::redact {
namespace {

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
constexpr bool is_alnum(char c) { return is_digit(c) || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); }
constexpr bool is_high(char c) { return static_cast<unsigned char>(c) >= 0x80; }

// One bit a byte for the 64 bytes from a position.
struct Classes {
  std::uint64_t digit;
  std::uint64_t letter;
  std::uint64_t at;
  std::uint64_t dot;
};

Classes classify_half(const char* bytes) {
  const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes));
  const auto mask = [](__m256i m) {
    return static_cast<std::uint64_t>(static_cast<std::uint32_t>(_mm256_movemask_epi8(m)));
  };
  // Unsigned "x - low <= width" as a saturating comparison: min(x, width) == x.
  const auto between = [&](__m256i x, char low, char width) {
    const __m256i shifted = _mm256_sub_epi8(x, _mm256_set1_epi8(low));
    return mask(_mm256_cmpeq_epi8(_mm256_min_epu8(shifted, _mm256_set1_epi8(width)), shifted));
  };
  return {between(v, '0', 9), between(_mm256_or_si256(v, _mm256_set1_epi8(0x20)), 'a', 25),
          mask(_mm256_cmpeq_epi8(v, _mm256_set1_epi8('@'))), mask(_mm256_cmpeq_epi8(v, _mm256_set1_epi8('.')))};
}

Classes classify(const char* bytes) {
  const Classes low = classify_half(bytes);
  const Classes high = classify_half(bytes + 32);
  return {low.digit | high.digit << 32, low.letter | high.letter << 32, low.at | high.at << 32,
          low.dot | high.dot << 32};
}

// The bits of the positions `by` further on.
std::uint64_t ahead(std::uint64_t now, std::uint64_t next, int by) { return now >> by | next << (64 - by); }

bool is_card_at(std::string_view buffer, std::size_t at) {
  // The digits of a %20 before the number are no part of it.
  if (at >= 1 && buffer[at - 1] == '%') at += 2;
  return card_length(buffer.substr(at, 40)) != 0;
}

bool is_at_sign_between_words(std::string_view buffer, std::size_t at) {
  const char before = at == 0 ? '\0' : buffer[at - 1];
  const char after = at + 1 < buffer.size() ? buffer[at + 1] : '\0';
  if (!is_alnum(after) && !is_high(after) && after != '[') return false;
  // "jane doe"@example.com
  if (before == '"')
    return at >= 2 && (is_alnum(buffer[at - 2]) || (buffer[at - 2] == '\\' && at >= 3 && is_alnum(buffer[at - 3])));
  return before != '\0' && before != '/' && before != ' ' && before != '"' && before != '\'' && before != '\n' &&
         before != '(' && before != '<' && before != '>' && before != '`';
}

bool is_discord_at(std::string_view buffer, std::size_t at) {
  const auto token = [](char c) { return in_alphabet(Alphabet::kWord, c); };
  if (at + 8 + 27 > buffer.size() || at < 20) return false;
  for (std::size_t i = at + 8; i < at + 8 + 27; ++i) {
    if (!token(buffer[i])) return false;
  }
  for (std::size_t i = at - 20; i < at; ++i) {
    if (!token(buffer[i])) return false;
  }
  return true;
}

}  // namespace

void find_shapes(const char* buffer, std::size_t size, std::vector<ShapeHit>& hits) {
  const std::string_view text(buffer, size);
  std::uint64_t digit_before = 0;  // of the last byte of the block before, in bit 0
  Classes now = classify(buffer);
  for (std::size_t base = 0; base < size; base += 64) {
    const Classes next = classify(buffer + base + 64);
    const std::uint64_t word = now.digit | now.letter;
    const std::uint64_t word_next = next.digit | next.letter;
    const auto digit = [&](int by) { return ahead(now.digit, next.digit, by); };
    const auto alnum = [&](int by) { return ahead(word, word_next, by); };

    // Digits where all of dddddddddddddd…, dddd dddd dddd d… and dddd dddddd dddd… have one, at the start of a run.
    const std::uint64_t cards = now.digit & ~(now.digit << 1 | digit_before) & digit(1) & digit(2) & digit(3) &
                                digit(5) & digit(6) & digit(7) & digit(8) & digit(10) & digit(12);
    // Two letters and two digits, then groups: together or after a separator.
    const std::uint64_t ibans = now.letter & ahead(now.letter, next.letter, 1) & digit(2) & digit(3) & alnum(5) &
                                alnum(6) & alnum(7) & alnum(8) & alnum(10) & alnum(11) & alnum(12) & alnum(13);
    const std::uint64_t discords = now.dot & ahead(now.dot, next.dot, 7);
    std::uint64_t any = cards | ibans | discords | now.at;
    digit_before = now.digit >> 63;
    while (any != 0) {
      const int bit = std::countr_zero(any);
      any &= any - 1;
      const std::size_t at = base + static_cast<std::size_t>(bit);
      if (at >= size) break;
      const auto has = [&](std::uint64_t mask) { return (mask >> bit & 1) != 0; };
      const auto hit = [&](Detector detector) { hits.push_back({static_cast<std::uint32_t>(at), detector}); };
      if (has(now.at)) {
        if (is_at_sign_between_words(text, at)) hit(kDetectAt);
      } else if (has(cards)) {
        if (is_card_at(text, at)) hit(kDetectCard);
      } else if (has(ibans)) {
        if (at_boundary(text, at) && iban_length(text.substr(at, 48)) != 0) hit(kDetectIban);
      } else if (has(discords)) {
        if (is_discord_at(text, at)) hit(kDetectDiscord);
      }
    }
    now = next;
  }
}

}  // namespace fettle::redact
