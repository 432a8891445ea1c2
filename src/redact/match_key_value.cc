// Values whose key says that they are secret: key=value, "key":"value", key: value, --key value, <key>value</key>, each
// also percent-encoded and at any depth of JSON in JSON.
#include <algorithm>
#include <optional>
#include <string>

#include "redact/bytes.h"
#include "redact/keys.h"
#include "redact/matchers.h"
#include "redact/numbers.h"

namespace fettle::redact {
namespace {

constexpr std::size_t kKeyBytesMax = 64;
constexpr std::size_t kElementBytesMax = 512;
constexpr std::size_t kCookieNameBytesMax = 256;
constexpr std::size_t kSignatureBytesMin = 16;
constexpr std::size_t kCodeBytesMin = 8;
constexpr std::size_t kLoneCodeBytesMin = 20;
constexpr std::size_t kTokenDigitsMin = 7;
constexpr std::size_t kNestedDigitsMin = 3;  // "minLength": 8

struct Key {
  std::size_t begin = 0;
  std::size_t end = 0;
  bool escaped = false;    // letters of it are written as \u0077
  bool two_words = false;  // of a sentence: what follows is a secret only if it looks so
};

bool key_byte(char c) { return is_alnum(c) || c == '_' || c == '-' || c == '.' || c == '$' || is_high(c); }

// True when a letter or sign of a key, written as an escape, ends at `at`.
bool after_escaped_key_byte(std::string_view text, std::size_t at) {
  if (at < 6 || text.substr(at - 6, 4) != "\\u00" || !is_hex(text[at - 2]) || !is_hex(text[at - 1])) return false;
  const char c = static_cast<char>(hex_value(text[at - 2]) * 16 + hex_value(text[at - 1]));
  return is_alnum(c) || c == '_' || c == '-';
}

std::string without_escapes(std::string_view key) {
  std::string plain;
  for (std::size_t i = 0; i < key.size(); ++i) {
    if (after_escaped_key_byte(key, i + 6 <= key.size() ? i + 6 : 0)) {
      plain += static_cast<char>(hex_value(key[i + 4]) * 16 + hex_value(key[i + 5]));
      i += 5;
    } else {
      plain += key[i];
    }
  }
  return plain;
}

// The key that ends before `sign`, past blanks and what closes it.
Key key_before(const Text& source, std::size_t sign) {
  const std::string_view text = source.bytes;
  std::size_t end = sign;
  for (std::size_t n = 0; n < kGapMax && end > 0 && is_blank(text[end - 1]); ++n) --end;
  for (std::size_t n = 0; n < kGapMax && end > 0; ++n) {
    const char c = text[end - 1];
    if (c == '\\' || is_quote(c) || c == ']' || c == ')') {
      --end;
    } else if (const std::size_t escape = percent_before(text, end, "\"']\\"); escape != kNone) {
      end = escape;
    } else if (const std::size_t entity = quote_entity_before(text, end); entity != kNone) {
      end = entity;
    } else {
      break;
    }
  }
  std::size_t begin = end;
  bool escaped = false;
  while (begin > 0 && end - begin < kKeyBytesMax && key_byte(text[begin - 1])) {
    if (after_escaped_key_byte(text, begin)) {
      begin -= 6;
      escaped = true;
      continue;
    }
    if (after_percent_escape(text, begin) || after_backslash_escape(text, begin)) break;
    --begin;
  }
  // "API key: …": the word that makes it one stands apart.
  const std::string_view last = text.substr(begin, end - begin);
  bool two_words = false;
  if (begin >= 2 && text[begin - 1] == ' ' && key_byte(text[begin - 2]) &&
      (equals_caseless(last, "key") || equals_caseless(last, "number") || equals_caseless(last, "code"))) {
    --begin;
    while (begin > 0 && end - begin < kKeyBytesMax && key_byte(text[begin - 1]) &&
           !after_backslash_escape(text, begin)) {
      --begin;
    }
    two_words = true;
  }
  // "[redacted:password]: …" is a mask, not a key.
  if (source.masked(begin, end)) return {};
  return {begin, end, escaped, two_words};
}

bool is_query_key(std::string_view text, std::size_t begin) {
  if (begin == 0) return false;
  const char c = text[begin - 1];
  if (c == '?' || c == '&' || c == ';') return true;
  if (percent_before(text, begin, "?&") != kNone) return true;
  return begin >= 6 && text.substr(begin - 6, 6) == "\\u0026";
}

// The "<" of the tag whose name ends in the key at `begin`, past a namespace, or kNone.
std::size_t tag_before(std::string_view text, std::size_t begin) {
  std::size_t at = begin;
  if (at > 0 && text[at - 1] == ':') {
    --at;
    while (at > 0 && begin - at < kKeyBytesMax && key_byte(text[at - 1])) --at;
  }
  if (at > 0 && text[at - 1] == '<') return at - 1;
  if (at > 1 && text[at - 1] == '/' && text[at - 2] == '<') return at - 2;
  return percent_before(text, at, "<");
}

bool next_is_key(std::string_view text) {
  while (!text.empty() && (is_blank(text[0]) || is_quote(text[0]) || text[0] == '\\')) text.remove_prefix(1);
  const std::size_t end =
      run_end(text.substr(0, kKeyBytesMax), 0, [](char c) { return key_byte(c) || c == '[' || c == ']' || c == '%'; });
  if (end == 0 || end >= text.size()) return false;
  if (text[end] == '=' || (is_quote(text[end]) && end + 1 < text.size() && text[end + 1] == ':')) return true;
  return text[end] == ':' && end + 1 < text.size() && (is_blank(text[end + 1]) || is_quote(text[end + 1]));
}

// True when the byte at `at` ends a bare value. Passwords hold any character, so one that could be part of the value
// ends it only where what follows shows that it does.
bool ends_value(std::string_view text, std::size_t at) {
  const char c = text[at];
  if (is_space(c) || c == '\0') return true;
  const std::string_view rest = text.substr(at + 1);
  switch (c) {
    case ',':
    case ';':
    case '&':
      return rest.empty() || is_space(rest[0]) || is_quote(rest[0]) || rest.starts_with("amp;") || next_is_key(rest);
    case ')':
    case ']':
    case '}': return rest.empty() || is_space(rest[0]) || std::string_view(",;.)}]:\"'`\\<").find(rest[0]) != kNone;
    case '"':
    case '\'':
    case '`': return rest.empty() || !is_alnum(rest[0]);
    case '<': return !rest.empty() && (rest[0] == '/' || is_letter(rest[0]));
    case '>': return rest.empty() || is_space(rest[0]) || rest[0] == '<';
    case '\\':
      // An escape of the text around it: the value's own are rarer than JSON in JSON.
      if (rest.empty()) return true;
      if (is_quote(rest[0]) || rest[0] == 'n' || rest[0] == 'r' || rest[0] == 't') return true;
      return rest.starts_with("u0026") || rest.starts_with("u003c") || rest.starts_with("u003e") ||
             rest.starts_with("u0022");
    default: return false;
  }
}

struct Value {
  std::size_t begin = 0;
  std::size_t end = 0;
  bool quoted = false;
  bool list = false;  // the first of ["…", "…"]
};

// The value inside quotes of any depth of escaping: "…", \"…\", \\\"…\\\".
Value quoted_value(const Text& source, std::size_t begin, char quote, std::size_t backslashes) {
  const std::string_view text = source.bytes;
  for (std::size_t i = text.find(quote, begin); i != kNone; i = text.find(quote, i + 1)) {
    std::size_t before = 0;
    while (i - before > begin && text[i - before - 1] == '\\') ++before;
    // Fewer backslashes close an outer string. As many close this one, and so do pairs of escaped backslashes more.
    const bool closes = before <= backslashes || (before - backslashes) % (2 * (backslashes + 1)) == 0;
    if (closes) return {begin, i - std::min(before, backslashes), true};
  }
  return {begin, text.size(), true};
}

// The same where quotes and backslashes are percent-encoded: %22…%22, %5C%22…%5C%22.
Value encoded_quoted_value(std::string_view text, std::size_t begin, std::string_view quote, std::size_t backslashes) {
  for (std::size_t i = text.find(quote, begin); i != kNone; i = text.find(quote, i + 1)) {
    std::size_t before = 0;
    while (i >= begin + (before + 1) * quote.size() &&
           percent_at(text, i - (before + 1) * quote.size(), "\\") == quote.size()) {
      ++before;
    }
    const bool closes = before <= backslashes || (before - backslashes) % (2 * (backslashes + 1)) == 0;
    if (closes) return {begin, i - std::min(before, backslashes) * quote.size(), true};
  }
  return {begin, text.size(), true};
}

// Words that stand before the credential in an Authorization header.
std::size_t skip_scheme(std::string_view text, std::size_t at) {
  const std::size_t word_end = run_end(text, at, [](char c) { return is_alnum(c) || c == '-'; });
  constexpr std::string_view kSchemes[] = {"basic", "bearer", "token", "digest", "apikey", "api-key",   "negotiate",
                                           "hawk",  "oauth",  "bot",   "ntlm",   "key",    "sharedkey", "jwt"};
  const std::string_view word = text.substr(at, word_end - at);
  if (std::ranges::none_of(kSchemes, [&](std::string_view scheme) { return equals_caseless(word, scheme); })) return at;
  std::size_t next = word_end;
  while (next < text.size() && is_blank(text[next])) ++next;
  if (next == word_end) {
    while (next < text.size() && text[next] == '+') ++next;
    while (const std::size_t escape = percent_at(text, next, " ")) next += escape;
  }
  return next == word_end || next >= text.size() ? at : next;
}

// The rest of a header's line, or of the quotes around it.
// Quoted parameters (realm="x") are part of it.
std::size_t header_end(std::string_view text, std::size_t at) {
  while (at < text.size() && text[at] != '\n' && text[at] != '\r' && text[at] != '\0') {
    const std::size_t slashes = run_end(text, at, [](char c) { return c == '\\'; }) - at;
    const char c = at + slashes < text.size() ? text[at + slashes] : '\0';
    if (slashes != 0 && (c == 'n' || c == 'r')) return at;
    if (!is_quote(c)) {
      at += slashes + 1;
      continue;
    }
    if (at == 0 || text[at - 1] != '=') return at;
    const std::size_t close = text.find(text.substr(at, slashes + 1), at + slashes + 1);
    if (close == kNone) return at;
    at = close + slashes + 1;
  }
  return std::min(at, text.size());
}

Value bare_value(const Text& source, std::size_t begin, std::size_t escape_length) {
  const std::string_view text = source.bytes;
  std::size_t i = begin;
  if (text.substr(i).starts_with("${")) {
    // ${NAME} is judged whole.
    const std::size_t name_end = run_end(text, i + 2, key_byte);
    if (name_end < text.size() && text[name_end] == '}') i = name_end + 1;
  }
  while (i < text.size()) {
    if (const std::size_t end = source.mask_end(i)) {
      i = end;
      continue;
    }
    if (ends_value(text, i)) break;
    if (escape_length != 0 && percent_at(text, i, "&\"', ;}\n\r") == escape_length) break;
    ++i;
  }
  return {begin, i, false};
}

// The list of ["Bearer …"], as header attributes are.
bool opens_list_of_texts(std::string_view text, std::size_t at) {
  return text[at] == '[' && at + 1 < text.size() && (is_quote(text[at + 1]) || text[at + 1] == '\\');
}

Value value_after(const Text& source, std::size_t at, std::size_t escape_length, const KeyMeaning& meaning) {
  const std::string_view text = source.bytes;
  for (std::size_t n = 0; n < kGapMax && at < text.size() && is_blank(text[at]); ++n) ++at;
  if (escape_length != 0) {
    while (percent_at(text, at, " ") == escape_length) at += escape_length;
  }
  const bool list = at < text.size() && opens_list_of_texts(text, at) && source.mask_end(at) == 0;
  if (list) ++at;
  const std::size_t backslashes = run_end(text, at, [](char c) { return c == '\\'; }) - at;
  if (at + backslashes < text.size() && is_quote(text[at + backslashes])) {
    Value value = quoted_value(source, at + backslashes + 1, text[at + backslashes], backslashes);
    value.list = list;
    return value;
  }
  if (const std::size_t entity = quote_entity_at(text, at)) {
    const std::size_t begin = at + entity;
    return {begin, std::min(text.find(text.substr(at, entity), begin), text.size()), true};
  }
  if (escape_length != 0) {
    std::size_t quote = at;
    std::size_t escapes = 0;
    while (percent_at(text, quote, "\\") == escape_length) {
      quote += escape_length;
      ++escapes;
    }
    if (percent_at(text, quote, "\"'") == escape_length) {
      return encoded_quoted_value(text, quote + escape_length, text.substr(quote, escape_length), escapes);
    }
  }
  if (meaning.rule == kCookie) {
    // "cookies": 3 is a count. Looked for nearby, or many keys in a long line would each read all of it.
    const std::string_view near = text.substr(at, kCookieNameBytesMax);
    if (near.substr(0, near.find('\n')).contains('=')) return {at, header_end(text, at), true};
  }
  if (meaning.rule == kAuthorization) {
    if (starts_caseless(text.substr(at), "digest ") || starts_caseless(text.substr(at), "aws4-")) {
      return {at, header_end(text, at), true};
    }
    const std::size_t credential = skip_scheme(text, at);
    return {at, bare_value(source, credential, escape_length).end, false};
  }
  return bare_value(source, at, escape_length);
}

// The element of a list after `value`, or an empty value.
Value next_in_list(const Text& source, Value value) {
  const std::string_view text = source.bytes;
  std::size_t at = run_end(text, value.end, [](char c) { return c == '\\'; });
  if (at >= text.size() || !is_quote(text[at])) return {};
  at = run_end(text, at + 1, is_space);
  if (at >= text.size() || text[at] != ',') return {};
  at = run_end(text, at + 1, is_space);
  const std::size_t backslashes = run_end(text, at, [](char c) { return c == '\\'; }) - at;
  if (at + backslashes >= text.size() || !is_quote(text[at + backslashes])) return {};
  Value next = quoted_value(source, at + backslashes + 1, text[at + backslashes], backslashes);
  next.list = true;
  return next;
}

// What stands before </password>, whatever attributes <password …> has; percent-encoded, what stands behind it.
Value element_value(std::string_view text, std::size_t name, std::size_t behind, std::size_t escape_length) {
  if (escape_length != 0) {
    const std::size_t length = text.substr(behind, kElementBytesMax).find("%3C");
    return length == kNone ? Value{} : Value{behind, behind + length, true};
  }
  const std::size_t tag = tag_before(text, name);
  if (!text.substr(tag).starts_with("</")) return {};
  const std::size_t floor = tag > kElementBytesMax ? tag - kElementBytesMax : 0;
  const std::size_t open = text.substr(floor, tag - floor).rfind('>');
  return open == kNone ? Value{} : Value{floor + open + 1, tag, true};
}

// What remains of a value without the masks in it.
bool only_masks(const Text& source, Value value) {
  for (std::size_t i = value.begin; i < value.end;) {
    if (const std::size_t end = source.mask_end(i); end != 0 && end <= value.end) {
      i = end;
      continue;
    }
    if (is_alnum(source.bytes[i]) || is_high(source.bytes[i])) return false;
    ++i;
  }
  return true;
}

// "Authorization: Bearer [redacted:…]": a scheme and a mask, as a caller's own masking or a former rule leaves it.
bool scheme_and_masks(const Text& source, Value value) {
  const std::size_t credential = skip_scheme(source.bytes.substr(0, value.end), value.begin);
  return only_masks(source, {credential, value.end, value.quoted});
}

// Whether an object or a list with values begins at `at`, and not [Object], {{template}} or a format's {0}.
bool opens_nested(std::string_view text, std::size_t at) {
  const std::size_t first = run_end(text, at + 1, is_space);
  if (first >= text.size()) return false;
  const char c = text[first];
  if (is_quote(c) || c == '\\') return true;
  if (text[at] == '[') {
    if (c == '{' || c == '[') return true;
    const std::size_t end = run_end(text, first, is_digit);
    return end > first && end < text.size() && (text[end] == ',' || text[end] == ']' || is_space(text[end]));
  }
  const std::size_t colon = run_end(text, run_end(text, first, key_byte), is_blank);
  return key_byte(c) && colon < text.size() && text[colon] == ':';
}

// Words that say what stands in a secret's place: in schemas, and where a printer did not look inside.
bool is_nested_word(std::string_view value) {
  constexpr std::string_view kWords[] = {"string", "number", "integer", "boolean",
                                         "object", "array",  "Object",  "Array"};
  return std::ranges::find(kWords, value) != std::end(kWords);
}

bool is_secret_inside(std::string_view value, const KeyMeaning& meaning) {
  if (is_placeholder(value) || is_nested_word(value)) return false;
  if (meaning.digits) return is_bank_account_text(value);
  if (std::ranges::all_of(value, is_digit) && value.size() < (meaning.weak ? kTokenDigitsMin : kNestedDigitsMin))
    return false;
  return !meaning.weak || looks_random(value) || !std::ranges::all_of(value, is_letter);
}

// Masks all values in the object or list that begins at `at`, which stands under a secret key, and returns where it
// ends; of one that was cut off, the end of the text. With `quoted_only`, words without quotes stay: they may be code.
std::size_t mask_nested(const Text& source, std::size_t at, const KeyMeaning& meaning, bool quoted_only,
                        std::vector<MaskSpan>& spans) {
  const std::string_view text = source.bytes;
  const auto is_key = [&](std::size_t end) {
    const std::size_t sign = run_end(text, end, is_space);
    return sign < text.size() && (text[sign] == ':' || text[sign] == '=');
  };
  const auto mask = [&](Value value) {
    const std::string_view found = text.substr(value.begin, value.end - value.begin);
    if (found.empty() || only_masks(source, value) || !is_secret_inside(found, meaning)) return;
    add(spans, value.begin, value.end, meaning.rule);
  };
  std::size_t depth = 0;
  while (at < text.size() && text[at] != '\0') {
    if (const std::size_t end = source.mask_end(at)) {
      at = end;
      continue;
    }
    const char c = text[at];
    if (c == '{' || c == '[') {
      ++depth;
      ++at;
      continue;
    }
    if (c == '}' || c == ']') {
      ++at;
      if (--depth == 0) return at;
      continue;
    }
    const std::size_t backslashes = run_end(text, at, [](char b) { return b == '\\'; }) - at;
    if (at + backslashes < text.size() && is_quote(text[at + backslashes])) {
      const Value value = quoted_value(source, at + backslashes + 1, text[at + backslashes], backslashes);
      const std::size_t closing = run_end(text, value.end, [](char b) { return b == '\\'; }) - value.end;
      const std::size_t end = std::min(value.end + closing + 1, text.size());
      if (!is_key(end)) mask(value);
      // The string around all of this has ended: the rest was cut off.
      if (closing < backslashes) return value.end;
      at = end;
      continue;
    }
    const std::size_t end = run_end(text, at, [](char b) {
      return !is_space(b) && !is_quote(b) && std::string_view(",:=;{}[]\\").find(b) == kNone && b != '\0';
    });
    if (end > at && !is_key(end) && (!quoted_only || std::ranges::all_of(text.substr(at, end - at), is_digit))) {
      mask({at, end, false});
    }
    at = std::max(end, at + 1);
  }
  return at;
}

// Of "name":"DB_PASSWORD","value":"…", where the comma stands at `comma`: what follows the colon, or 0.
std::size_t paired_value(std::string_view text, std::size_t comma) {
  std::size_t at = run_end(text, comma + 1, is_space);
  const std::size_t quote = run_end(text, at, [](char c) { return c == '\\'; });
  if (quote >= text.size() || !is_quote(text[quote])) return 0;
  const std::string_view closing = text.substr(at, quote + 1 - at);
  at = quote + 1;
  if (!starts_caseless(text.substr(at), "value") || !text.substr(at + 5).starts_with(closing)) return 0;
  at = run_end(text, at + 5 + closing.size(), is_space);
  return at < text.size() && text[at] == ':' ? at + 1 : 0;
}

// What may give the key before it a value.
struct Sign {
  std::size_t length = 0;         // 0: not a sign
  std::size_t escape_length = 0;  // of one percent escape where the text is percent-encoded
  bool prose = false;             // ": " as in a sentence
  bool flag = false;              // the blank behind --password
  bool element = false;           // the end of <password> or </password>
  bool object = false;            // the brace of password { value: "x" }
  bool pair = false;              // the comma in "cookie", "a=b", as Node lists raw headers
};

Sign sign_at(std::string_view text, std::size_t i) {
  const char next = i + 1 < text.size() ? text[i + 1] : '\0';
  switch (text[i]) {
    case '=': return {.length = next == '>' || next == '=' ? std::size_t{2} : std::size_t{1}};
    case ':': return {.length = next == '=' ? std::size_t{2} : std::size_t{1}, .prose = is_blank(next)};
    case '{':
      return {.length = key_byte(text[i - 1]) || is_blank(text[i - 1]) ? std::size_t{1} : std::size_t{0},
              .object = true};
    case ',': return {.length = is_quote(text[i - 1]) ? std::size_t{1} : std::size_t{0}, .pair = true};
    case ' ': return {.length = key_byte(text[i - 1]) ? std::size_t{1} : std::size_t{0}, .flag = true};
    case '>': return {.length = key_byte(text[i - 1]) ? std::size_t{1} : std::size_t{0}, .element = true};
    case '%': {
      const std::size_t length = percent_at(text, i, ":=> ");
      return {.length = length,
              .escape_length = length,
              .flag = length != 0 && percent_at(text, i, " ") != 0,
              .element = length != 0 && percent_at(text, i, ">") != 0};
    }
    default: return {};
  }
}

// Whether the text is part of an exchange of OAuth, where a "code" is a secret. Looked up once a text, when asked for.
class OAuthContext {
 public:
  explicit OAuthContext(std::string_view text) : text_(text) {}

  bool is_grant() {
    if (!grant_) {
      grant_ = text_.contains("grant_type") || text_.contains("redirect_uri") || text_.contains("authorization_code");
    }
    return *grant_;
  }
  bool is_exchange() {
    if (!exchange_) {
      exchange_ = is_grant() || text_.contains("state=") || find_caseless(text_, "oauth", 0) != kNone ||
                  find_caseless(text_, "callback", 0) != kNone;
    }
    return *exchange_;
  }

 private:
  std::string_view text_;
  std::optional<bool> grant_;
  std::optional<bool> exchange_;
};

// Names that mean a secret only where they stand.
std::optional<KeyMeaning> meaning_in_place(std::string_view text, Key key, OAuthContext& oauth) {
  const std::string_view name = text.substr(key.begin, key.end - key.begin);
  const bool signature = equals_caseless(name, "sig") || equals_caseless(name, "signature");
  const bool code = equals_caseless(name, "code");
  if (!signature && !code) return std::nullopt;
  const bool query = is_query_key(text, key.begin);
  if (signature && query) return KeyMeaning{kSignedUrl, true};
  if (code && (query || oauth.is_grant())) return KeyMeaning{kOAuthCode, true};
  return std::nullopt;
}

bool is_secret_value(std::string_view name, const KeyMeaning& meaning, Sign sign, bool quoted, std::string_view value,
                     OAuthContext& oauth) {
  if (is_placeholder(value)) return false;
  // password = :password, as statements name their parameters.
  if ((value[0] == ':' || value[0] == '@') && value.size() > 3 && name.ends_with(value.substr(1))) return false;
  if (meaning.digits) return is_bank_account_text(value);
  if (equals_caseless(name, "pwd") && value[0] == '/') return false;  // the working directory
  if (!meaning.weak) return true;
  if (meaning.rule == kSignedUrl) return value.size() >= kSignatureBytesMin;
  if (meaning.rule == kOAuthCode) {
    return std::ranges::any_of(value, is_digit) && std::ranges::any_of(value, is_letter) &&
           value.size() >= (oauth.is_exchange() ? kCodeBytesMin : kLoneCodeBytesMin);
  }
  // "Unexpected token: x" is prose, "token: 12" a count.
  if (sign.prose && !quoted && !looks_random(value)) return false;
  return value.size() >= kTokenDigitsMin || !std::ranges::all_of(value, is_digit);
}

}  // namespace

void match_key_value(const Text& source, std::vector<MaskSpan>& spans) {
  const std::string_view text = source.bytes;
  OAuthContext oauth(text);
  std::size_t nested_end = 0;  // of the last object or list under a secret key
  std::string plain;
  for (std::size_t i = 1; i < text.size(); ++i) {
    const Sign sign = sign_at(text, i);
    if (sign.length == 0) continue;
    const Key key = key_before(source, i);
    if (key.begin == key.end) continue;
    std::string_view name = text.substr(key.begin, key.end - key.begin);
    if (key.escaped) name = plain = without_escapes(name);
    if (sign.flag && !name.starts_with("--")) continue;
    // scheme://token:password@host is user and password.
    if (text[i] == ':' && key.begin >= 3 && text.substr(key.begin - 3, 3) == "://" && !sign.prose) continue;
    if (sign.element && (key.end != i || tag_before(text, key.begin) == kNone)) continue;
    auto meaning = key_meaning(name);
    if (!meaning) meaning = meaning_in_place(text, key, oauth);
    if (!meaning) continue;
    meaning->weak |= key.two_words;

    if (sign.object) {
      // In a sentence or in code a word stands before the brace just so.
      const std::size_t gap = run_end(text, key.end, is_blank);
      if (gap == i && i >= nested_end && opens_nested(text, i))
        nested_end = mask_nested(source, i, *meaning, true, spans);
      continue;
    }
    // Found before the value is: one without quotes would reach to the end of the text for each brace of it.
    const std::size_t open = run_end(text, i + sign.length, is_blank);
    if (!sign.pair && !sign.element && open < text.size() &&
        (text[open] == '{' || (text[open] == '[' && source.mask_end(open) == 0 && !opens_list_of_texts(text, open)))) {
      if (open >= nested_end && opens_nested(text, open)) {
        nested_end = mask_nested(source, open, *meaning, false, spans);
      }
      continue;
    }
    const std::size_t paired = sign.pair ? paired_value(text, i) : 0;
    if (sign.pair && paired == 0 && !meaning->header) continue;
    Value value = paired != 0    ? value_after(source, paired, 0, *meaning)
                  : sign.element ? element_value(text, key.begin, i + sign.length, sign.escape_length)
                                 : value_after(source, i + sign.length, sign.escape_length, *meaning);
    // In a list of names ("cookie","accept") the next is another name.
    if (sign.pair && paired == 0 &&
        (!value.quoted || text.substr(value.begin, value.end - value.begin).find_first_of("= ") == kNone)) {
      continue;
    }
    for (; value.begin < value.end; value = value.list ? next_in_list(source, value) : Value{}) {
      const std::string_view found = text.substr(value.begin, value.end - value.begin);
      if (only_masks(source, value) || (meaning->header && scheme_and_masks(source, value))) continue;
      if (!value.quoted && (found[0] == '{' || (found[0] == '[' && source.mask_end(value.begin) == 0))) continue;
      if (!is_secret_value(name, *meaning, sign, value.quoted, found, oauth)) continue;
      add(spans, value.begin, value.end, meaning->rule);
      i = std::max(i, value.end - 1);
    }
  }
}

}  // namespace fettle::redact
