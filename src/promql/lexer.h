// A query as tokens.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "promql/parse_error.h"

namespace fettle::promql {

enum class TokenKind : std::uint8_t {
  kEnd,
  kIdentifier,  // also keywords: which they are depends on the place
  kNumber,
  kString,
  kLeftParen,
  kRightParen,
  kLeftBrace,
  kRightBrace,
  kLeftBracket,
  kRightBracket,
  kComma,
  kColon,
  kAt,
  kAssign,
  kNotEqual,
  kMatches,
  kNotMatches,
  kEqual,
  kLess,
  kLessOrEqual,
  kGreater,
  kGreaterOrEqual,
  kTrimUpper,
  kTrimLower,
  kPlus,
  kMinus,
  kStar,
  kSlash,
  kPercent,
  kCaret
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  std::string_view source;  // of the query, which must outlive the tokens
  std::size_t begin = 0;
  std::string text;   // of kString, without quotes and escapes
  double number = 0;  // of kNumber, in seconds where it is a duration
  bool is_duration = false;

  std::size_t end() const { return begin + source.size(); }
};

// The tokens, the last of them kEnd. Throws ParseFailure.
std::vector<Token> tokenize(std::string_view query);

}  // namespace fettle::promql
