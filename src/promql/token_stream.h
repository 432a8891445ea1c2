// Tokens on their way through the parser: one ahead, with the complaints about what is there. Private to the room.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <string>
#include <string_view>
#include <vector>

#include "promql/lexer.h"
#include "promql/parser.h"

namespace fettle::promql {

inline std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return std::tolower(c); });
  return out;
}

class TokenStream {
 public:
  explicit TokenStream(std::string_view text) : tokens_(tokenize(text)) {}

  const Token& now() const { return tokens_[at_]; }
  const Token& next() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  Token take() { return tokens_[now().kind == TokenKind::kEnd ? at_ : at_++]; }
  std::size_t last_end() const { return at_ == 0 ? 0 : tokens_[at_ - 1].end(); }

  [[noreturn]] void fail_at(const Token& token, std::string message) const {
    throw ParseFailure{std::move(message), {token.begin, token.end()}};
  }
  [[noreturn]] void unexpected(std::string_view wanted) const {
    const std::string what = now().kind == TokenKind::kEnd ? "end of input" : fmt::format("\"{}\"", now().source);
    fail_at(now(), fmt::format("unexpected {}, expected {}", what, wanted));
  }
  bool accept(TokenKind kind) {
    if (now().kind != kind) return false;
    ++at_;
    return true;
  }
  Token expect(TokenKind kind, std::string_view wanted) {
    if (now().kind != kind) unexpected(wanted);
    return take();
  }
  void expect_end() {
    if (now().kind != TokenKind::kEnd) fail_at(now(), fmt::format("unexpected \"{}\"", now().source));
  }
  bool is_word(const Token& token, std::string_view word) const {
    return token.kind == TokenKind::kIdentifier && token.source.size() == word.size() && lower(token.source) == word;
  }
  bool accept_word(std::string_view word) {
    if (!is_word(now(), word)) return false;
    ++at_;
    return true;
  }
  // Counts the depth of the recursion for as long as it lives.
  struct Deeper {
    explicit Deeper(TokenStream& s) : stream(s) {
      if (++stream.depth_ > kQueryDepthMax) stream.fail_at(stream.now(), "the expression is nested too deeply");
    }
    ~Deeper() { --stream.depth_; }
    TokenStream& stream;
  };

  // `node` ends with the last token that was taken.
  template <class T>
  T located(T node, std::size_t begin) const {
    node->at = {begin, last_end()};
    return node;
  }

 private:
  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

// What a range or a step in brackets may be: arithmetic, step(), range(), min_of() and max_of().
DurationPtr read_duration(TokenStream& tokens);
// After "offset": a single one, with a sign; arithmetic only in parentheses.
DurationPtr read_offset(TokenStream& tokens);
// `name`, `name{…}` or `{…}`, without what may follow.
std::unique_ptr<Selector> read_selector(TokenStream& tokens);
// (a, "b.c")
std::vector<std::string> read_label_list(TokenStream& tokens);

}  // namespace fettle::promql
