#include "engine/host/statement.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

namespace fettle::engine_host {
namespace {

enum class TokenKind : std::uint8_t { kWord, kQuotedName, kString, kNumber, kSymbol };

struct Token {
  TokenKind kind;
  std::size_t begin;
  std::size_t end;
};

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v' || c == '\0'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_word_start(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_word(char c) { return is_word_start(c) || is_digit(c); }
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

bool same_word(std::string_view text, std::string_view lower_case_word) {
  return text.size() == lower_case_word.size() &&
         std::equal(text.begin(), text.end(), lower_case_word.begin(), [](char a, char b) { return lower(a) == b; });
}

// Yields one token after the other. At the end yields nothing; on text whose extent is doubtful sets `error`.
class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  std::optional<Token> next() {
    if (!skip_blanks()) return std::nullopt;
    const std::size_t begin = at_;
    const char c = text_[at_];
    if (c == '\'') return quoted(TokenKind::kString, c);
    if (c == '"' || c == '`') return quoted(TokenKind::kQuotedName, c);
    if (is_word_start(c)) {
      while (at_ < text_.size() && (is_word(text_[at_]) || text_[at_] == '$')) ++at_;
      return Token{TokenKind::kWord, begin, at_};
    }
    if (is_digit(c)) {
      while (at_ < text_.size() && (is_word(text_[at_]) || text_[at_] == '.')) ++at_;
      return Token{TokenKind::kNumber, begin, at_};
    }
    if (c == '$') return here_document();
    // The engine reads typographic quotation marks as quotes and a typographic minus as a minus.
    const std::string_view rest = text_.substr(at_);
    for (const std::string_view mark :
         {"\xE2\x80\x98", "\xE2\x80\x99", "\xE2\x80\x9C", "\xE2\x80\x9D", "\xE2\x88\x92"}) {
      if (!rest.starts_with(mark)) continue;
      error_ = "typographic quotation marks and minus signs are not accepted outside of quotes";
      return std::nullopt;
    }
    ++at_;
    return Token{TokenKind::kSymbol, begin, at_};
  }

  // Empty while all is well.
  std::string_view error() const { return error_; }

 private:
  bool skip_blanks() {
    while (at_ < text_.size()) {
      const std::string_view rest = text_.substr(at_);
      if (is_space(rest[0])) {
        ++at_;
      } else if (rest.starts_with("--") || rest.starts_with("//") || rest.starts_with("#!") || rest.starts_with("# ")) {
        const std::size_t line_end = rest.find('\n');
        at_ = line_end == std::string_view::npos ? text_.size() : at_ + line_end + 1;
      } else if (rest.starts_with("/*")) {
        const std::size_t comment_end = rest.find("*/", 2);
        if (comment_end == std::string_view::npos) return stop("a comment is not closed");
        if (rest.substr(2, comment_end - 2).contains("/*")) return stop("comments within comments are not accepted");
        at_ += comment_end + 2;
      } else {
        return true;
      }
    }
    return false;
  }

  bool stop(std::string_view error) {
    error_ = error;
    return false;
  }

  std::optional<Token> quoted(TokenKind kind, char mark) {
    const std::size_t begin = at_++;
    // x'41' and b'01' know no escapes, so a backslash there would end the literal elsewhere for the engine than for us.
    const bool is_prefixed = begin > 0 && is_word(text_[begin - 1]);
    while (at_ < text_.size()) {
      const char c = text_[at_++];
      // The engine reads escapes in names, and we compare names as they are written.
      if (kind == TokenKind::kQuotedName && (c == '\\' || static_cast<unsigned char>(c) < ' ')) {
        error_ = "a quoted name holds a backslash or a control character";
        return std::nullopt;
      }
      if (c == '\\') {
        if (is_prefixed) break;
        ++at_;
      } else if (c == mark) {
        if (at_ < text_.size() && text_[at_] == mark) {
          ++at_;  // a doubled mark stands for itself
        } else {
          return Token{kind, begin, at_};
        }
      }
    }
    error_ = "a quotation is not closed or holds a backslash that its prefix forbids";
    return std::nullopt;
  }

  std::optional<Token> here_document() {
    const std::size_t begin = at_;
    std::size_t name_end = at_ + 1;
    while (name_end < text_.size() && is_word(text_[name_end])) ++name_end;
    if (name_end < text_.size() && text_[name_end] == '$') {
      const std::string_view mark = text_.substr(begin, name_end + 1 - begin);
      const std::size_t close = text_.find(mark, name_end + 1);
      if (close != std::string_view::npos) {
        at_ = close + mark.size();
        return Token{TokenKind::kString, begin, at_};
      }
    }
    error_ = "a '$' begins no complete $name$ text $name$";
    return std::nullopt;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::string_view error_;
};

// What a word or quoted name says; empty for anything else.
std::string_view name_of(std::string_view sql, const Token& token) {
  const std::string_view text = sql.substr(token.begin, token.end - token.begin);
  if (token.kind == TokenKind::kWord) return text;
  return token.kind == TokenKind::kQuotedName ? text.substr(1, text.size() - 2) : std::string_view{};
}

// Tokens of a statement read one at a time, so that an INSERT's inline data is never lexed.
class Reader {
 public:
  explicit Reader(std::string_view sql) : sql_(sql), lexer_(sql) { advance(); }

  const std::optional<Token>& token() const { return token_; }
  std::string_view text() const { return sql_.substr(token_->begin, token_->end - token_->begin); }
  bool is_word(std::string_view lower_case_word) const {
    return token_ && token_->kind == TokenKind::kWord && same_word(text(), lower_case_word);
  }
  bool is_symbol(char symbol) const {
    return token_ && token_->kind == TokenKind::kSymbol && sql_[token_->begin] == symbol;
  }
  bool is_name() const {
    return token_ && (token_->kind == TokenKind::kWord || token_->kind == TokenKind::kQuotedName);
  }
  void advance() {
    token_ = lexer_.next();
    if (is_symbol('(') || is_symbol('[') || is_symbol('{')) ++depth_;
    if (is_symbol(')') || is_symbol(']') || is_symbol('}')) --depth_;
  }
  bool skip_word(std::string_view lower_case_word) {
    if (!is_word(lower_case_word)) return false;
    advance();
    return true;
  }
  int depth() const { return depth_; }
  std::string_view error() const { return lexer_.error(); }

 private:
  std::string_view sql_;
  Lexer lexer_;
  std::optional<Token> token_;
  int depth_ = 0;
};

std::unexpected<Error> refuse(std::string_view why) {
  return fail(ErrorCode::kInvalidArgument, fmt::format("Syntax error: {}", why));
}

constexpr std::string_view kHostFile = "files of the engine's host cannot be read or written by a statement";

// The rows after FORMAT x begin where the engine's own parser would begin them.
std::size_t data_after_format(std::string_view sql, std::size_t at) {
  while (at < sql.size() && (sql[at] == ' ' || sql[at] == '\t' || sql[at] == '\f')) ++at;
  if (at < sql.size() && sql[at] == ';') ++at;
  if (at < sql.size() && sql[at] == '\r') ++at;
  if (at < sql.size() && sql[at] == '\n') ++at;
  return at;
}

// Reads up to the end of the statement and checks that nothing follows. Returns where the statement's text ends.
// `format` receives the name after a last top-level FORMAT.
Result<std::size_t> read_to_end(Reader& reader, std::string* format) {
  std::size_t end = 0;
  bool after_into = false;
  bool after_format = false;
  std::string candidate;
  bool is_candidate_new = false;
  while (reader.token()) {
    if (reader.is_symbol(';')) {
      const std::size_t stop = reader.token()->begin;
      reader.advance();
      while (reader.is_symbol(';')) reader.advance();
      if (reader.token()) return refuse("more than one statement in one request is not accepted");
      if (!reader.error().empty()) return refuse(reader.error());
      if (format != nullptr) *format = std::move(candidate);
      return stop;
    }
    if (after_into && reader.is_word("outfile")) return refuse(kHostFile);
    after_into = reader.is_word("into");
    // FORMAT x ends the statement but for SETTINGS; followed by anything else it was a column's name.
    if (is_candidate_new && !reader.is_word("settings")) candidate.clear();
    is_candidate_new = after_format && reader.token()->kind == TokenKind::kWord && reader.depth() == 0;
    if (is_candidate_new) candidate = reader.text();
    after_format = reader.is_word("format") && reader.depth() == 0;
    end = reader.token()->end;
    reader.advance();
  }
  if (!reader.error().empty()) return refuse(reader.error());
  if (format != nullptr) *format = std::move(candidate);
  return end;
}

Result<Statement> parse_insert(std::string_view sql, Reader& reader) {
  Statement out;
  reader.skip_word("into");
  bool is_function = reader.skip_word("function");
  if (!is_function) reader.skip_word("table");
  // The table's own name may be a word that means something further on.
  if (!reader.is_name()) return refuse("INSERT names no table");
  reader.advance();
  while (reader.is_symbol('.')) {
    reader.advance();
    if (reader.is_name()) reader.advance();
  }
  while (reader.token()) {
    if (reader.depth() > 0 || reader.is_symbol(')')) {
      reader.advance();
      continue;
    }
    if (reader.is_symbol(';')) break;
    if (reader.is_word("from")) {
      reader.advance();
      if (reader.is_word("infile")) return refuse(kHostFile);
      continue;
    }
    if (reader.is_word("select") || reader.is_word("with") || reader.is_word("watch")) {
      auto end = read_to_end(reader, &out.format);
      if (!end) return std::unexpected(std::move(end).error());
      out.kind = StatementKind::kInsertSelect;
      out.text = sql.substr(0, *end);
      return out;
    }
    if (reader.is_word("settings")) {
      out.has_settings = true;
      out.splice_at = reader.token()->begin;
    } else if (reader.is_word("insert_deduplication_token")) {
      out.has_token = true;
    } else if (reader.is_word("values")) {
      out.kind = StatementKind::kInsertData;
      out.format = "Values";
      if (!out.has_settings) out.splice_at = reader.token()->begin;
      out.text = sql.substr(0, reader.token()->begin);
      out.inline_data = sql.substr(reader.token()->end);
      return out;
    } else if (reader.is_word("format")) {
      const std::size_t format_at = reader.token()->begin;
      reader.advance();
      if (!reader.token() || reader.token()->kind != TokenKind::kWord) return refuse("FORMAT names no format");
      out.kind = StatementKind::kInsertData;
      out.format = reader.text();
      out.has_format = true;
      if (!out.has_settings) out.splice_at = format_at;
      out.text = sql.substr(0, reader.token()->end);
      out.inline_data = sql.substr(data_after_format(sql, reader.token()->end));
      return out;
    }
    reader.advance();
  }
  if (!reader.error().empty()) return refuse(reader.error());
  // Neither rows nor a source in the text: the rows are the request's body.
  const std::size_t end = reader.token() ? reader.token()->begin : sql.size();
  if (reader.token()) {
    reader.advance();
    if (reader.token()) return refuse("more than one statement in one request is not accepted");
  }
  out.kind = StatementKind::kInsertData;
  out.text = sql.substr(0, end);
  if (!out.has_settings) out.splice_at = end;
  return out;
}

bool is_any(const Reader& reader, std::initializer_list<std::string_view> words) {
  return std::any_of(words.begin(), words.end(), [&](std::string_view word) { return reader.is_word(word); });
}

}  // namespace

Result<Statement> parse_statement(std::string_view sql) {
  Reader reader(sql);
  if (!reader.error().empty()) return refuse(reader.error());
  if (!reader.token() || reader.is_symbol(';')) return refuse("the query is empty");
  Statement out;
  if (reader.skip_word("insert")) return parse_insert(sql, reader);

  Reader first(sql);
  while (first.is_symbol('(')) first.advance();
  if (is_any(first, {"select", "with"})) {
    out.kind = StatementKind::kSelect;
  } else if (is_any(first, {"show", "describe", "desc", "exists", "explain"})) {
    out.kind = StatementKind::kRead;
  } else if (is_any(first, {"set", "use"})) {
    out.kind = StatementKind::kSession;
  } else if (first.skip_word("create")) {
    while (is_any(first, {"or", "replace"})) first.advance();
    if (first.is_word("temporary")) out.kind = StatementKind::kSession;
  } else if (first.skip_word("drop")) {
    if (first.is_word("temporary")) out.kind = StatementKind::kSession;
  }
  auto end = read_to_end(reader, &out.format);
  if (!end) return std::unexpected(std::move(end).error());
  out.text = sql.substr(0, *end);
  return out;
}

std::string insert_from_file(const Statement& insert, std::string_view path, std::string_view compression,
                             std::string_view token, std::string_view default_format) {
  std::string head = insert.text.substr(0, insert.splice_at);
  std::string_view tail = std::string_view(insert.text).substr(insert.splice_at);
  std::string out = fmt::format("{} FROM INFILE {} ", head, quote(path));
  if (!compression.empty()) out += fmt::format("COMPRESSION {} ", quote(compression));
  if (!token.empty() && !insert.has_token) {
    out += fmt::format("SETTINGS insert_deduplication_token = {}", quote(token));
    if (insert.has_settings) {
      constexpr std::string_view kSettings = "settings";
      out += ", ";
      tail.remove_prefix(kSettings.size());
    } else {
      out += ' ';
    }
  }
  out += tail;
  if (!insert.has_format) {
    out += fmt::format(" FORMAT {}", insert.format.empty() ? default_format : std::string_view(insert.format));
  }
  return out;
}

std::vector<std::string> function_names(std::string_view sql) {
  std::vector<std::string> out;
  Lexer lexer(sql);
  std::string name;
  bool is_applied = false;
  while (auto token = lexer.next()) {
    const bool opens = token->kind == TokenKind::kSymbol && sql[token->begin] == '(';
    if (opens && !name.empty()) out.push_back(name);
    const bool is_after_apply = name == "apply";
    name = name_of(sql, *token);
    std::transform(name.begin(), name.end(), name.begin(), lower);
    // `* APPLY(f)` and `* APPLY f` call f without brackets of its own.
    if ((is_after_apply || is_applied) && !name.empty()) out.push_back(name);
    is_applied = is_after_apply && opens;
  }
  return out;
}

std::vector<std::string> names_in(std::string_view sql, std::string_view database) {
  std::vector<std::string> out;
  Lexer lexer(sql);
  std::string_view before;  // the name before the last token, when that is a dot
  std::string_view last;    // the last token's name
  while (auto token = lexer.next()) {
    const std::string_view name = name_of(sql, *token);
    if (before == database && !name.empty()) out.emplace_back(name);
    const bool is_dot = token->kind == TokenKind::kSymbol && sql[token->begin] == '.';
    before = is_dot ? last : std::string_view{};
    last = name;
  }
  return out;
}

bool mentions(std::string_view sql, std::string_view name) {
  Lexer lexer(sql);
  while (auto token = lexer.next()) {
    const std::string_view text = name_of(sql, *token);
    if (!text.empty() && std::ranges::equal(text, name, {}, lower)) return true;
  }
  return false;
}

std::string without_literals(std::string_view sql, std::size_t bytes_max) {
  std::string out;
  Lexer lexer(sql);
  while (auto token = lexer.next()) {
    if (out.size() >= bytes_max) break;
    if (!out.empty()) out += ' ';
    if (token->kind == TokenKind::kString || token->kind == TokenKind::kNumber) {
      out += '?';
    } else {
      out += sql.substr(token->begin, token->end - token->begin);
    }
  }
  if (out.size() > bytes_max) out.resize(bytes_max);
  return out;
}

std::string quote(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'' || c == '\\') out += '\\';
    if (c == '\0') {
      out += "\\0";
    } else {
      out += c;
    }
  }
  out += '\'';
  return out;
}

}  // namespace fettle::engine_host
