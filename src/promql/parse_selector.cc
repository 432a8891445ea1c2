// Selectors and lists of labels.
#include <memory>

#include "core/json.h"
#include "promql/token_stream.h"

namespace fettle::promql {
namespace {

std::string label_name(TokenStream& tokens) {
  const Token& token = tokens.now();
  const bool plain = token.kind == TokenKind::kIdentifier && is_classic_label_name(token.source);
  const bool text = token.kind == TokenKind::kString && !token.text.empty() && is_utf8(token.text);
  if (!plain && !text) tokens.unexpected("label");
  const Token taken = tokens.take();
  return plain ? std::string(taken.source) : taken.text;
}

Matcher matcher(TokenStream& tokens) {
  std::string name = label_name(tokens);
  Matcher::Op op = Matcher::Op::kEqual;
  switch (tokens.now().kind) {
    case TokenKind::kAssign: break;
    case TokenKind::kNotEqual: op = Matcher::Op::kNotEqual; break;
    case TokenKind::kMatches: op = Matcher::Op::kMatches; break;
    case TokenKind::kNotMatches: op = Matcher::Op::kNotMatches; break;
    default: tokens.unexpected("label matching operator");
  }
  tokens.take();
  const Token value = tokens.expect(TokenKind::kString, "string in label matching");
  auto made = Matcher::make(op, std::move(name), value.text);
  if (!made) tokens.fail_at(value, made.error().message());
  return std::move(*made);
}

}  // namespace

std::vector<std::string> read_label_list(TokenStream& tokens) {
  tokens.expect(TokenKind::kLeftParen, "\"(\"");
  std::vector<std::string> labels;
  while (!tokens.accept(TokenKind::kRightParen)) {
    labels.push_back(label_name(tokens));
    if (tokens.accept(TokenKind::kComma)) continue;
    tokens.expect(TokenKind::kRightParen, "\",\" or \")\" in grouping opts");
    break;
  }
  return labels;
}

std::unique_ptr<Selector> read_selector(TokenStream& tokens) {
  const std::size_t begin = tokens.now().begin;
  auto expr = std::make_unique<Selector>();
  const auto set_name = [&](const Token& token, std::string name) {
    if (!expr->name.empty()) {
      tokens.fail_at(token, fmt::format("metric name must not be set twice: \"{}\" or \"{}\"", expr->name, name));
    }
    expr->name = std::move(name);
  };
  if (tokens.now().kind == TokenKind::kIdentifier) {
    const Token token = tokens.take();
    set_name(token, std::string(token.source));
  }
  if (tokens.accept(TokenKind::kLeftBrace)) {
    while (!tokens.accept(TokenKind::kRightBrace)) {
      const Token token = tokens.now();
      if (token.kind == TokenKind::kString &&
          (tokens.next().kind == TokenKind::kComma || tokens.next().kind == TokenKind::kRightBrace)) {
        if (token.text.empty() || !is_utf8(token.text))
          tokens.fail_at(token, "metric name must be UTF-8 and not empty");
        tokens.take();
        set_name(token, token.text);
      } else {
        expr->matchers.push_back(matcher(tokens));
      }
      if (tokens.accept(TokenKind::kComma)) continue;
      tokens.expect(TokenKind::kRightBrace, "\",\" or \"}\" in label matching");
      break;
    }
  }
  if (!expr->name.empty()) {
    for (const Matcher& m : expr->matchers) {
      if (m.name() == kMetricName && m.op() == Matcher::Op::kEqual) {
        throw ParseFailure{fmt::format("metric name must not be set twice: \"{}\" or \"{}\"", expr->name, m.value()),
                           {begin, tokens.last_end()}};
      }
    }
    expr->matchers.push_back(*Matcher::make(Matcher::Op::kEqual, std::string(kMetricName), expr->name));
  }
  return tokens.located(std::move(expr), begin);
}

}  // namespace fettle::promql
