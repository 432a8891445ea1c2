#include "promql/lexer.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

namespace fettle::promql {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

int hex_value(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

void append_utf8(std::string& out, std::uint32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | (c >> 6));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | (c >> 12));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | (c >> 18));
    out += static_cast<char>(0x80 | ((c >> 12) & 0x3F));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  }
}

class Lexer {
 public:
  explicit Lexer(std::string_view query) : query_(query) {}

  std::vector<Token> run() {
    for (;;) {
      skip_blanks();
      const std::size_t begin = at_;
      Token token;
      if (at_ == query_.size()) {
        token.begin = at_;
        token.source = query_.substr(at_);
        tokens_.push_back(std::move(token));
        return std::move(tokens_);
      }
      read(token);
      token.begin = begin;
      token.source = query_.substr(begin, at_ - begin);
      tokens_.push_back(std::move(token));
    }
  }

 private:
  [[noreturn]] void fail_at(std::size_t begin, std::string message) const {
    throw ParseFailure{std::move(message), {begin, std::max(at_, begin)}};
  }
  char peek(std::size_t ahead = 0) const { return at_ + ahead < query_.size() ? query_[at_ + ahead] : '\0'; }

  void skip_blanks() {
    while (at_ < query_.size()) {
      if (is_space(query_[at_])) {
        ++at_;
      } else if (query_[at_] == '#') {
        while (at_ < query_.size() && query_[at_] != '\n') ++at_;
      } else {
        return;
      }
    }
  }

  void read(Token& token) {
    const char c = peek();
    if (is_digit(c) || (c == '.' && is_digit(peek(1)))) return read_number(token);
    // In brackets a colon parts the range of a subquery from its step.
    if (is_letter(c) || (c == ':' && brackets_ == 0 && (is_letter(peek(1)) || peek(1) == ':'))) {
      token.kind = TokenKind::kIdentifier;
      while (is_letter(peek()) || is_digit(peek()) || (peek() == ':' && brackets_ == 0)) ++at_;
      return;
    }
    if (c == '"' || c == '\'' || c == '`') return read_string(token);
    token.kind = read_symbol();
  }

  TokenKind read_symbol() {
    static constexpr std::pair<std::string_view, TokenKind> kSymbols[] = {
        {"==", TokenKind::kEqual},      {"=~", TokenKind::kMatches},     {"!=", TokenKind::kNotEqual},
        {"!~", TokenKind::kNotMatches}, {"<=", TokenKind::kLessOrEqual}, {">=", TokenKind::kGreaterOrEqual},
        {"</", TokenKind::kTrimUpper},  {">/", TokenKind::kTrimLower},   {"=", TokenKind::kAssign},
        {"<", TokenKind::kLess},        {">", TokenKind::kGreater},      {"+", TokenKind::kPlus},
        {"-", TokenKind::kMinus},       {"*", TokenKind::kStar},         {"/", TokenKind::kSlash},
        {"%", TokenKind::kPercent},     {"^", TokenKind::kCaret},        {"(", TokenKind::kLeftParen},
        {")", TokenKind::kRightParen},  {"{", TokenKind::kLeftBrace},    {"}", TokenKind::kRightBrace},
        {"[", TokenKind::kLeftBracket}, {"]", TokenKind::kRightBracket}, {",", TokenKind::kComma},
        {":", TokenKind::kColon},       {"@", TokenKind::kAt},
    };
    for (const auto& [text, kind] : kSymbols) {
      if (query_.substr(at_, text.size()) != text) continue;
      at_ += text.size();
      if (kind == TokenKind::kLeftBracket) ++brackets_;
      if (kind == TokenKind::kRightBracket && brackets_ > 0) --brackets_;
      return kind;
    }
    const char c = query_[at_];
    const std::size_t begin = at_++;
    if (c >= 0x20 && c < 0x7f) fail_at(begin, fmt::format("unexpected character: '{}'", c));
    fail_at(begin, fmt::format("unexpected byte: 0x{:02x}", static_cast<unsigned char>(c)));
  }

  // 1w2d3h4m5s6ms: units from large to small, each once, whole numbers. Leaves `at_` alone when it is no duration.
  std::optional<double> read_duration() {
    static constexpr std::pair<std::string_view, double> kUnits[] = {
        {"y", 365.0 * 86400}, {"w", 7.0 * 86400}, {"d", 86400}, {"h", 3600}, {"m", 60}, {"s", 1}, {"ms", 0.001}};
    std::size_t at = at_;
    std::size_t next_unit = 0;
    double seconds = 0;
    while (at < query_.size() && is_digit(query_[at])) {
      double count = 0;
      while (at < query_.size() && is_digit(query_[at])) count = count * 10 + (query_[at++] - '0');
      std::size_t letters = at;
      while (letters < query_.size() && (is_letter(query_[letters]))) ++letters;
      const std::string_view unit = query_.substr(at, letters - at);
      std::size_t found = next_unit;
      while (found < std::size(kUnits) && kUnits[found].first != unit) ++found;
      if (found == std::size(kUnits)) return std::nullopt;
      // Divided, since 0.001 is no double and a thousand is.
      seconds += unit == "ms" ? count / 1000 : count * kUnits[found].second;
      next_unit = found + 1;
      at = letters;
    }
    if (at == at_) return std::nullopt;
    at_ = at;
    return seconds;
  }

  void read_number(Token& token) {
    token.kind = TokenKind::kNumber;
    if (const auto seconds = read_duration()) {
      token.number = *seconds;
      token.is_duration = true;
      return;
    }
    const std::size_t begin = at_;
    std::string digits;
    const auto take = [&](auto&& wanted) {
      while (wanted(peek()) || (peek() == '_' && !digits.empty() && wanted(peek(1)))) {
        if (peek() != '_') digits += peek();
        ++at_;
      }
    };
    if (peek() == '0' && (peek(1) == 'x' || peek(1) == 'X')) {
      at_ += 2;
      double value = 0;
      if (peek() == '_') ++at_;
      take([](char c) { return hex_value(c) >= 0; });
      for (const char c : digits) value = value * 16 + hex_value(c);
      if (!digits.empty() && !is_letter(peek()) && !is_digit(peek()) && peek() != '.') {
        token.number = value;
        return;
      }
    } else {
      take(is_digit);
      if (peek() == '.') {
        digits += '.';
        ++at_;
        take(is_digit);
      }
      if ((peek() == 'e' || peek() == 'E') &&
          (is_digit(peek(1)) || ((peek(1) == '+' || peek(1) == '-') && is_digit(peek(2))))) {
        digits += 'e';
        ++at_;
        if (!is_digit(peek())) {
          if (peek() == '-') digits += '-';
          ++at_;
        }
        take(is_digit);
      }
      if (!is_letter(peek()) && !is_digit(peek()) && peek() != '.') {
        const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), token.number);
        if (error == std::errc::result_out_of_range) {
          // Too large is infinite and too small is zero, as IEEE rounds them.
          token.number = digits.find("e-") == std::string::npos ? std::numeric_limits<double>::infinity() : 0;
          return;
        }
        if (error == std::errc() && end == digits.data() + digits.size()) return;
      }
    }
    while (is_letter(peek()) || is_digit(peek()) || peek() == '.') ++at_;
    fail_at(begin, fmt::format("bad number or duration syntax: \"{}\"", query_.substr(begin, at_ - begin)));
  }

  void read_string(Token& token) {
    const std::size_t begin = at_;
    const char quote = query_[at_++];
    token.kind = TokenKind::kString;
    for (;;) {
      if (at_ == query_.size() || (query_[at_] == '\n' && quote != '`')) fail_at(begin, "unterminated quoted string");
      const char c = query_[at_++];
      if (c == quote) return;
      if (c == '\\' && quote != '`') {
        read_escape(token.text, quote);
      } else {
        token.text += c;
      }
    }
  }

  void read_escape(std::string& out, char quote) {
    const std::size_t begin = at_ - 1;
    const char c = peek();
    ++at_;
    switch (c) {
      case 'a': out += '\a'; return;
      case 'b': out += '\b'; return;
      case 'f': out += '\f'; return;
      case 'n': out += '\n'; return;
      case 'r': out += '\r'; return;
      case 't': out += '\t'; return;
      case 'v': out += '\v'; return;
      case '\\': out += '\\'; return;
      default: break;
    }
    if (c == quote) {
      out += c;
      return;
    }
    int digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    std::uint32_t base = 16;
    if (c >= '0' && c <= '7') {
      digits = 3;
      base = 8;
      --at_;
    }
    if (digits == 0) {
      at_ = std::min(at_, query_.size());
      fail_at(begin, fmt::format("unknown escape sequence: {}", query_.substr(begin, at_ - begin)));
    }
    std::uint32_t value = 0;
    for (int i = 0; i < digits; ++i, ++at_) {
      const int digit = hex_value(peek());
      if (digit < 0 || static_cast<std::uint32_t>(digit) >= base) fail_at(begin, "bad escape sequence");
      value = value * base + static_cast<std::uint32_t>(digit);
    }
    if (c == 'u' || c == 'U') {
      if (value > 0x10FFFF || (value >= 0xD800 && value < 0xE000)) fail_at(begin, "escape is no Unicode code point");
      append_utf8(out, value);
    } else {
      if (value > 0xFF) fail_at(begin, "escape is no byte");
      out += static_cast<char>(value);
    }
  }

  std::string_view query_;
  std::size_t at_ = 0;
  int brackets_ = 0;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view query) { return Lexer(query).run(); }

}  // namespace fettle::promql
