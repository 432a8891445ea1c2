#include "redact/numbers.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <numeric>

#include "redact/redactor.h"

namespace fettle::redact {
namespace {

constexpr std::size_t kCardDigitsMin = 13;
constexpr std::size_t kCardDigitsMax = 19;

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
constexpr bool is_letter(char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); }
constexpr char to_upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; }

struct IssuerRange {
  std::uint32_t first;  // of the leading six digits
  std::uint32_t last;
  std::uint32_t lengths;  // bit n: n digits are issued
};
constexpr std::uint32_t lengths(auto... n) { return ((1U << n) | ...); }
constexpr IssuerRange kIssuers[] = {
    {222100, 272099, lengths(16)},          // Mastercard
    {300000, 305999, lengths(14)},          // Diners Club
    {309500, 309599, lengths(14)},          // Diners Club
    {340000, 349999, lengths(15)},          // American Express
    {352800, 358999, lengths(16)},          // JCB
    {360000, 369999, lengths(14)},          // Diners Club
    {370000, 379999, lengths(15)},          // American Express
    {380000, 399999, lengths(14)},          // Diners Club
    {400000, 499999, lengths(13, 16, 19)},  // Visa
    {500000, 509999, lengths(16, 19)},      // Maestro, Elo, Verve
    {510000, 559999, lengths(16)},          // Mastercard
    {560000, 589999, lengths(16, 19)},      // Maestro
    {601100, 601199, lengths(16, 19)},      // Discover
    {620000, 629999, lengths(16, 19)},      // UnionPay
    {630000, 639999, lengths(16, 19)},      // Maestro
    {644000, 659999, lengths(16, 19)},      // Discover
    {670000, 679999, lengths(16, 19)},      // Maestro
    {810000, 817199, lengths(16, 19)},      // UnionPay
};

struct IbanCountry {
  char code[3];
  std::uint8_t length;
};
constexpr IbanCountry kIbanCountries[] = {
    {"AD", 24}, {"AE", 23}, {"AL", 28}, {"AT", 20}, {"AZ", 28}, {"BA", 20}, {"BE", 16}, {"BG", 22}, {"BH", 22},
    {"BI", 27}, {"BR", 29}, {"BY", 28}, {"CH", 21}, {"CR", 22}, {"CY", 28}, {"CZ", 24}, {"DE", 22}, {"DJ", 27},
    {"DK", 18}, {"DO", 28}, {"EE", 20}, {"EG", 29}, {"ES", 24}, {"FI", 18}, {"FK", 18}, {"FO", 18}, {"FR", 27},
    {"GB", 22}, {"GE", 22}, {"GI", 23}, {"GL", 18}, {"GR", 27}, {"GT", 28}, {"HN", 28}, {"HR", 21}, {"HU", 28},
    {"IE", 22}, {"IL", 23}, {"IQ", 23}, {"IS", 26}, {"IT", 27}, {"JO", 30}, {"KW", 30}, {"KZ", 20}, {"LB", 28},
    {"LC", 32}, {"LI", 21}, {"LT", 20}, {"LU", 20}, {"LV", 21}, {"LY", 25}, {"MC", 27}, {"MD", 24}, {"ME", 22},
    {"MK", 19}, {"MN", 20}, {"MR", 27}, {"MT", 31}, {"MU", 30}, {"NI", 28}, {"NL", 18}, {"NO", 15}, {"OM", 23},
    {"PK", 24}, {"PL", 28}, {"PS", 29}, {"PT", 25}, {"QA", 29}, {"RO", 24}, {"RS", 22}, {"RU", 33}, {"SA", 24},
    {"SC", 31}, {"SD", 18}, {"SE", 24}, {"SI", 19}, {"SK", 24}, {"SM", 27}, {"SO", 23}, {"ST", 25}, {"SV", 28},
    {"TL", 23}, {"TN", 24}, {"TR", 26}, {"UA", 29}, {"VA", 22}, {"VG", 24}, {"XK", 20}, {"YE", 30},
};

bool luhn(std::string_view digits) {
  int sum = 0;
  bool twice = false;
  for (auto it = digits.rbegin(); it != digits.rend(); ++it, twice = !twice) {
    int value = *it - '0';
    if (twice && (value *= 2) > 9) value -= 9;
    sum += value;
  }
  return sum % 10 == 0;
}

// What stands between groups: one of `single`, or %20, a no-break or thin blank, a dash.
std::string_view separator_at(std::string_view text, std::string_view single) {
  if (text.empty()) return {};
  if (single.contains(text[0])) return text.substr(0, 1);
  constexpr std::string_view kLong[] = {"%20",          "\xC2\xA0",     "\xE2\x80\x89",
                                        "\xE2\x80\xAF", "\xE2\x80\x91", "\xE2\x80\x93"};
  for (const std::string_view separator : kLong) {
    if (text.starts_with(separator)) return separator;
  }
  return {};
}

std::size_t digits_at(std::string_view text) {
  std::size_t n = 0;
  while (n < text.size() && is_digit(text[n])) ++n;
  return n;
}

}  // namespace

bool is_card_digits(std::string_view digits) {
  if (digits.size() < kCardDigitsMin || digits.size() > kCardDigitsMax) return false;
  std::uint32_t leading = 0;
  std::from_chars(digits.data(), digits.data() + 6, leading);
  const bool issued = std::ranges::any_of(kIssuers, [&](const IssuerRange& range) {
    return leading >= range.first && leading <= range.last && (range.lengths >> digits.size() & 1) != 0;
  });
  if (!issued) return false;
  // 4000000000000000 and its like pass every check and are round numbers.
  if (digits.find_first_not_of('0', 1) == std::string_view::npos) return false;
  return luhn(digits);
}

bool is_payment_card(std::uint64_t number) {
  std::array<char, 20> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), number).ptr;
  return is_card_digits({text.data(), static_cast<std::size_t>(end - text.data())});
}

std::size_t card_length(std::string_view text) {
  const std::size_t run = digits_at(text);
  if (run >= kCardDigitsMin) return run <= kCardDigitsMax && is_card_digits(text.substr(0, run)) ? run : 0;
  if (run != 4) return 0;
  const std::string_view separator = separator_at(text.substr(4), " -+._/\t\n");
  if (separator.empty()) return 0;

  std::array<char, kCardDigitsMax> digits{};
  std::array<std::size_t, 5> groups{};  // digits in each
  std::array<std::size_t, 5> ends{};    // bytes up to and with each
  std::size_t count = 0;
  std::size_t group_count = 0;
  for (std::size_t at = 0; group_count < groups.size();) {
    const std::size_t n = digits_at(text.substr(at));
    if (n == 0 || count + n > digits.size()) break;
    std::copy_n(text.data() + at, n, digits.data() + count);
    count += n;
    at += n;
    groups[group_count] = n;
    ends[group_count++] = at;
    if (!text.substr(at).starts_with(separator)) break;
    at += separator.size();
  }
  // The longest that fits: another number may follow behind the same separator.
  constexpr std::array<std::size_t, 5> kShapes[] = {{4, 4, 4, 4, 3}, {4, 4, 4, 4}, {4, 6, 5}, {4, 6, 4}};
  for (const auto& shape : kShapes) {
    const auto size = static_cast<std::size_t>(std::ranges::find(shape, std::size_t{0}) - shape.begin());
    if (group_count < size || !std::equal(shape.begin(), shape.begin() + size, groups.begin())) continue;
    const auto total = std::accumulate(shape.begin(), shape.end(), std::size_t{0});
    const std::size_t end = ends[size - 1];
    const bool continues = end < text.size() && (is_digit(text[end]) || is_letter(text[end]));
    if (!continues && is_card_digits({digits.data(), total})) return end;
  }
  return 0;
}

std::size_t iban_length(std::string_view text) {
  if (text.size() < 15 || !is_letter(text[0]) || !is_letter(text[1]) || !is_digit(text[2]) || !is_digit(text[3])) {
    return 0;
  }
  const char code[2] = {to_upper(text[0]), to_upper(text[1])};
  const auto country = std::ranges::find_if(
      kIbanCountries, [&](const IbanCountry& c) { return c.code[0] == code[0] && c.code[1] == code[1]; });
  if (country == std::end(kIbanCountries)) return 0;

  std::array<char, 34> letters{};
  std::size_t count = 0;
  std::size_t at = 0;
  const std::string_view separator = separator_at(text.substr(4), " -+");
  while (count < country->length) {
    if (at >= text.size()) return 0;
    if (!separator.empty() && count > 0 && count % 4 == 0) {
      if (!text.substr(at).starts_with(separator)) return 0;
      at += separator.size();
      if (at >= text.size()) return 0;
    }
    if (!is_digit(text[at]) && !is_letter(text[at])) return 0;
    letters[count++] = to_upper(text[at++]);
  }
  if (at < text.size() && (is_digit(text[at]) || is_letter(text[at]))) return 0;
  unsigned remainder = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const char c = letters[(i + 4) % count];
    remainder = is_digit(c) ? (remainder * 10 + static_cast<unsigned>(c - '0')) % 97
                            : (remainder * 100 + static_cast<unsigned>(c - 'A' + 10)) % 97;
  }
  return remainder == 1 ? at : 0;
}

bool is_bank_account_text(std::string_view text) {
  std::size_t digits = 0;
  bool separated = true;
  for (const char c : text) {
    if (is_digit(c)) {
      ++digits;
      separated = false;
    } else if ((c == ' ' || c == '-') && !separated) {
      separated = true;
    } else {
      return false;
    }
  }
  return !separated && digits >= 6 && digits <= 17;
}

}  // namespace fettle::redact
