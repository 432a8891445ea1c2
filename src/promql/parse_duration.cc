// Durations and the arithmetic on them.
#include <cmath>
#include <memory>

#include "promql/duration.h"
#include "promql/token_stream.h"

namespace fettle::promql {
namespace {

DurationPtr make_duration(const TokenStream& tokens, DurationExpr::Op op, std::size_t begin, DurationPtr left = nullptr,
                          DurationPtr right = nullptr) {
  auto made = std::make_unique<DurationExpr>();
  made->op = op;
  made->left = std::move(left);
  made->right = std::move(right);
  made->at = {begin, tokens.last_end()};
  return made;
}

DurationPtr duration_primary(TokenStream& tokens, bool may_be_signed);

DurationPtr duration(TokenStream& tokens, int precedence_min) {
  const TokenStream::Deeper deeper(tokens);
  const std::size_t begin = tokens.now().begin;
  DurationPtr left;
  if (tokens.now().kind == TokenKind::kMinus || tokens.now().kind == TokenKind::kPlus) {
    const bool negative = tokens.take().kind == TokenKind::kMinus;
    left = duration(tokens, 3);
    left =
        make_duration(tokens, negative ? DurationExpr::Op::kNegate : DurationExpr::Op::kPlus, begin, std::move(left));
  } else {
    left = duration_primary(tokens, false);
  }
  for (int operators = 0;; ++operators) {
    if (operators > kQueryDepthMax) tokens.fail_at(tokens.now(), "the expression is nested too deeply");
    DurationExpr::Op op{};
    int precedence = 0;
    switch (tokens.now().kind) {
      case TokenKind::kPlus:
        op = DurationExpr::Op::kAdd;
        precedence = 1;
        break;
      case TokenKind::kMinus:
        op = DurationExpr::Op::kSubtract;
        precedence = 1;
        break;
      case TokenKind::kStar:
        op = DurationExpr::Op::kMultiply;
        precedence = 2;
        break;
      case TokenKind::kSlash:
        op = DurationExpr::Op::kDivide;
        precedence = 2;
        break;
      case TokenKind::kPercent:
        op = DurationExpr::Op::kModulo;
        precedence = 2;
        break;
      case TokenKind::kCaret:
        op = DurationExpr::Op::kPower;
        precedence = 3;
        break;
      default: return left;
    }
    if (precedence < precedence_min) return left;
    tokens.take();
    DurationPtr right = duration(tokens, precedence == 3 ? 3 : precedence + 1);
    left = make_duration(tokens, op, begin, std::move(left), std::move(right));
  }
}

DurationPtr duration_primary(TokenStream& tokens, bool may_be_signed) {
  const TokenStream::Deeper deeper(tokens);
  const std::size_t begin = tokens.now().begin;
  if (may_be_signed && (tokens.now().kind == TokenKind::kMinus || tokens.now().kind == TokenKind::kPlus)) {
    const bool negative = tokens.take().kind == TokenKind::kMinus;
    DurationPtr inner = duration_primary(tokens, false);
    return make_duration(tokens, negative ? DurationExpr::Op::kNegate : DurationExpr::Op::kPlus, begin,
                         std::move(inner));
  }
  if (tokens.now().kind == TokenKind::kNumber) {
    const Token token = tokens.take();
    DurationPtr literal =
        make_duration(tokens, token.is_duration ? DurationExpr::Op::kDuration : DurationExpr::Op::kSeconds, begin);
    literal->seconds = token.number;
    if (!(std::abs(token.number) * 1000 < kMillisMax)) tokens.fail_at(token, "duration out of range");
    return literal;
  }
  if (tokens.accept(TokenKind::kLeftParen)) {
    DurationPtr inner = duration(tokens, 1);
    tokens.expect(TokenKind::kRightParen, "\")\"");
    return make_duration(tokens, DurationExpr::Op::kParen, begin, std::move(inner));
  }
  for (const bool is_step : {true, false}) {
    if (!tokens.is_word(tokens.now(), is_step ? "step" : "range")) continue;
    tokens.take();
    tokens.expect(TokenKind::kLeftParen, "\"(\"");
    tokens.expect(TokenKind::kRightParen, "\")\"");
    return make_duration(tokens, is_step ? DurationExpr::Op::kStep : DurationExpr::Op::kRange, begin);
  }
  for (const bool is_min : {true, false}) {
    if (!tokens.is_word(tokens.now(), is_min ? "min_of" : "max_of")) continue;
    tokens.take();
    tokens.expect(TokenKind::kLeftParen, "\"(\"");
    DurationPtr left = duration(tokens, 1);
    tokens.expect(TokenKind::kComma, "\",\"");
    DurationPtr right = duration(tokens, 1);
    tokens.expect(TokenKind::kRightParen, "\")\"");
    return make_duration(tokens, is_min ? DurationExpr::Op::kMinOf : DurationExpr::Op::kMaxOf, begin, std::move(left),
                         std::move(right));
  }
  tokens.unexpected("number, duration, step(), or range()");
}

}  // namespace

DurationPtr read_duration(TokenStream& tokens) {
  DurationPtr read = duration(tokens, 1);
  // What step() and range() make of it shows when it is evaluated.
  if (!is_constant(*read)) return read;
  const auto ms = duration_ms(*read, {});
  if (!ms) throw ParseFailure{ms.error().message(), read->at};
  if (*ms <= 0) throw ParseFailure{"duration must be greater than 0", read->at};
  return read;
}

DurationPtr read_offset(TokenStream& tokens) {
  DurationPtr read = duration_primary(tokens, true);
  if (!is_constant(*read)) return read;
  if (const auto ms = duration_ms(*read, {}); !ms) throw ParseFailure{ms.error().message(), read->at};
  return read;
}

}  // namespace fettle::promql
