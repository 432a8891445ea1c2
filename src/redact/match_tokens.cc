// Credentials that are known by their format.
#include <algorithm>
#include <string>

#include "redact/bytes.h"
#include "redact/keys.h"
#include "redact/matchers.h"
#include "redact/numbers.h"

namespace fettle::redact {
namespace {

constexpr std::size_t kStatementBytesMax = 512;
constexpr std::size_t kCommandBytesMax = 300;  // from mysql to its flag
constexpr std::size_t kHeaderBytesMax = 256;

bool token_byte(char c) { return in_alphabet(Alphabet::kWord, c); }

// Where the credential after the scheme word ending at `at` begins, or kNone.
std::size_t after_scheme(std::string_view text, std::size_t at) {
  const std::size_t start = at;
  while (at < text.size() && at - start < kGapMax) {
    if (is_blank(text[at]) || text[at] == ':' || text[at] == '+') {
      ++at;
    } else if (const std::size_t escape = percent_at(text, at, " :")) {
      at += escape;
    } else {
      break;
    }
  }
  if (at == start) return kNone;
  while (at < text.size() && (text[at] == '\\' || is_quote(text[at]))) ++at;
  return at;
}

// The six bits of a character of base64, or -1.
int sextet(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (is_digit(c)) return c - '0' + 52;
  if (c == '+' || c == '-') return 62;
  return c == '/' || c == '_' ? 63 : -1;
}

std::string from_base64(std::string_view text) {
  std::string bytes;
  unsigned bits = 0;
  int count = 0;
  for (const char c : text) {
    const int value = sextet(c);
    if (value < 0) break;
    bits = bits << 6 | static_cast<unsigned>(value);
    if ((count += 6) < 8) continue;
    count -= 8;
    bytes += static_cast<char>(bits >> count & 0xFFU);
  }
  return bytes;
}

// Private keys that are no PEM text: PuTTY's, and PEM in base64 as clusters keep it.
void match_wrapped_private_key(std::string_view text, std::vector<MaskSpan>& spans) {
  constexpr std::string_view kPutty = "Private-Lines:";
  constexpr std::string_view kPemHead = "LS0tLS1CRUdJTi";  // -----BEGIN
  constexpr std::string_view kNextField = "Private";       // -MAC:
  constexpr std::size_t kHeadBytes = 64;
  const auto base64 = [](char c) { return sextet(c) >= 0 || c == '='; };
  for (std::size_t at = text.find(kPutty); at != kNone; at = text.find(kPutty, at + 1)) {
    std::size_t begin = run_end(text, at + kPutty.size(), [](char c) { return is_blank(c) || is_digit(c); });
    for (const std::string_view line_end : {"\r", "\n", "\\r", "\\n"}) {
      if (text.substr(begin).starts_with(line_end)) begin += line_end.size();
    }
    std::size_t end = run_end(
        text, begin, [](char c) { return is_alnum(c) || is_space(c) || std::string_view("+/=\\").find(c) != kNone; });
    if (text.substr(begin, end - begin).ends_with(kNextField)) end -= kNextField.size();
    add(spans, begin, end, kPrivateKey);
  }
  for (std::size_t at = text.find(kPemHead); at != kNone; at = text.find(kPemHead, at + 1)) {
    const std::size_t end = run_end(text, at, base64);
    if (from_base64(text.substr(at, std::min(end - at, kHeadBytes))).contains("PRIVATE"))
      add(spans, at, end, kPrivateKey);
    at = end - 1;
  }
}

// "user:password" in base64, which tells it from "basic plan" and "Basic authentication".
bool is_basic_credential(std::string_view text) {
  if (text.size() < 4) return false;
  unsigned bits = 0;
  int count = 0;
  bool colon = false;
  for (const char c : text) {
    const int value = sextet(c);
    if (value < 0) break;
    bits = bits << 6 | static_cast<unsigned>(value);
    count += 6;
    if (count >= 8) {
      count -= 8;
      const unsigned byte = bits >> count & 0xFFU;
      if (byte < 0x20 || byte == 0x7F) return false;
      colon |= byte == ':';
    }
  }
  return colon;
}

}  // namespace

void match_token_format(const TokenFormat& format, std::string_view text, std::vector<MaskSpan>& spans) {
  for (std::size_t at = text.find(format.prefix); at != kNone; at = text.find(format.prefix, at + 1)) {
    if (format.boundary && !at_boundary(text, at)) continue;
    const std::size_t body = at + format.prefix.size();
    std::size_t end = run_end(text, body, [&](char c) { return in_alphabet(format.alphabet, c); });
    if (format.exact) {
      if (end - body != format.length_min || (end < text.size() && is_alnum(text[end]))) continue;
    } else {
      while (end > body && text[end - 1] == '.') --end;
      if (end - body < format.length_min) continue;
    }
    if (format.digit && std::ranges::none_of(text.substr(body, end - body), is_digit)) continue;
    add(spans, format.keep_prefix ? body : at, end, format.rule);
    at = end - 1;
  }
}

void match_jwt(std::string_view text, std::vector<MaskSpan>& spans) {
  for (std::size_t at = text.find("eyJ"); at != kNone; at = text.find("eyJ", at + 1)) {
    std::size_t end = run_end(text, at, token_byte);
    if (end - at < 11 || end >= text.size() || text[end] != '.') {
      at = end - 1;
      continue;
    }
    const std::size_t payload_end = run_end(text, end + 1, token_byte);
    if (payload_end - end - 1 < 8) {
      at = end - 1;
      continue;
    }
    end = payload_end;
    while (end + 1 < text.size() && text[end] == '.' && token_byte(text[end + 1]))
      end = run_end(text, end + 1, token_byte);
    add(spans, at, end, kJwt);
    at = end - 1;
  }
}

void match_telegram(std::string_view text, std::vector<MaskSpan>& spans) {
  for (std::size_t at = text.find("AA"); at != kNone; at = text.find("AA", at + 1)) {
    std::size_t colon = at >= 1 && text[at - 1] == ':' ? at - 1 : percent_before(text, at, ":");
    if (colon == kNone) continue;
    std::size_t begin = colon;
    while (begin > 0 && is_digit(text[begin - 1])) --begin;
    const std::size_t end = run_end(text, at, token_byte);
    if (colon - begin < 6 || end - at < 33) continue;
    add(spans, begin, end, kTelegramToken);
    at = end - 1;
  }
}

// <base64 of the user's id>.<6 characters>.<27 or more>
void match_discord(std::string_view text, std::vector<MaskSpan>& spans) {
  for (std::size_t dot = text.find('.'); dot != kNone; dot = text.find('.', dot + 1)) {
    if (dot + 7 >= text.size() || text[dot + 7] != '.') continue;
    if (run_end(text, dot + 1, token_byte) != dot + 7) continue;
    const std::size_t end = run_end(text, dot + 8, token_byte);
    if (end - dot - 8 < 27) continue;
    std::size_t begin = dot;
    while (begin > 0 && token_byte(text[begin - 1])) --begin;
    if (dot - begin < 20) continue;
    add(spans, begin, end, kDiscordToken);
    dot = end - 1;
  }
}

void match_twilio_pair(std::string_view text, std::vector<MaskSpan>& spans) {
  const auto hex = [](char c) { return in_alphabet(Alphabet::kHexLower, c); };
  for (std::size_t at = text.find("AC"); at != kNone; at = text.find("AC", at + 1)) {
    const std::size_t sid_end = run_end(text, at + 2, hex);
    if (sid_end - at - 2 != 32) continue;
    std::size_t token = sid_end;
    if (const std::size_t escape = percent_at(text, token, ": ")) token += escape;
    while (token < text.size() && token - sid_end < kGapMax && !is_alnum(text[token]) && !is_high(text[token])) ++token;
    const std::size_t end = run_end(text, token, hex);
    if (token == sid_end || end - token != 32 || (end < text.size() && is_alnum(text[end]))) continue;
    add(spans, token, end, kTwilioKey);
  }
}

// 40 characters of base64, neither hexadecimal nor a path, in a string that speaks of AWS.
void match_aws_secret(std::string_view text, std::vector<MaskSpan>& spans) {
  const auto accepts = [](char c) { return is_alnum(c) || c == '+' || c == '/'; };
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (!accepts(text[at])) continue;
    const std::size_t end = run_end(text, at, accepts);
    const std::string_view run = text.substr(at, end - at);
    if (run.size() == 40 && std::ranges::any_of(run, is_digit) &&
        std::ranges::any_of(run, [](char c) { return c >= 'a' && c <= 'z'; }) &&
        std::ranges::any_of(run, [](char c) { return c >= 'A' && c <= 'Z'; })) {
      add(spans, at, end, kAwsSecretKey);
    }
    at = end;
  }
}

void match_azure_client_secret(std::string_view text, std::vector<MaskSpan>& spans) {
  const auto accepts = [](char c) { return is_alnum(c) || c == '_' || c == '.' || c == '~' || c == '-'; };
  for (std::size_t at = text.find("Q~"); at != kNone; at = text.find("Q~", at + 1)) {
    if (at < 4 || !is_digit(text[at - 1])) continue;
    if (!std::ranges::all_of(text.substr(at - 4, 3), accepts)) continue;
    const std::size_t end = run_end(text, at + 2, accepts);
    if (end - at - 2 < 30) continue;
    add(spans, at - 4, end, kAzureKey);
    at = end - 1;
  }
}

void match_private_key(std::string_view text, std::vector<MaskSpan>& spans) {
  constexpr std::string_view kBegin = "-----BEGIN";
  constexpr std::string_view kEnd = "-----END";
  constexpr std::size_t kLabelBytesMax = 80;
  match_wrapped_private_key(text, spans);
  std::size_t footer = text.find(kEnd);
  for (std::size_t at = text.find(kBegin); at != kNone;) {
    // Searched for again only once it is passed: many beginnings without an end cost one search.
    if (footer < at) footer = text.find(kEnd, at);
    const std::size_t label_end = text.find("-----", at + kBegin.size());
    const std::size_t next = text.find(kBegin, at + kBegin.size());
    if (text.substr(at, std::min(label_end, at + kLabelBytesMax) - at).find("PRIVATE") == kNone) {
      at = next;
      continue;
    }
    const std::size_t body = label_end == kNone ? text.size() : label_end + 5;
    std::size_t end = 0;
    if (footer != kNone && footer < next) {
      const std::size_t closing = text.find("-----", footer + kEnd.size());
      end = closing == kNone || closing - footer > kLabelBytesMax ? footer + kEnd.size() : closing + 5;
    } else {
      // Cut off before its end: everything that can belong to it goes.
      const std::string_view rest = text.substr(0, next);
      end = run_end(rest, std::min(body, rest.size()), [](char c) {
        return is_alnum(c) || is_space(c) || std::string_view("+/=\\,:-_.%").find(c) != kNone;
      });
    }
    add(spans, at, end, kPrivateKey);
    at = text.find(kBegin, std::max(end, at + 1));
  }
}

void match_bearer(std::string_view text, std::vector<MaskSpan>& spans) {
  const auto accepts = [](char c) { return is_alnum(c) || std::string_view("._~+/-|").find(c) != kNone; };
  for (std::size_t at = find_caseless(text, "bearer", 0); at != kNone; at = find_caseless(text, "bearer", at + 1)) {
    const std::size_t begin = after_scheme(text, at + 6);
    if (begin == kNone) continue;
    std::size_t end = run_end(text, begin, accepts);
    const std::string_view token = text.substr(begin, end - begin);
    end = run_end(text, end, [](char c) { return c == '='; });
    // token_type=bearer expires_in=3600
    if (end > begin + token.size() && end < text.size() && is_alnum(text[end])) continue;
    if (looks_random(token) || (token.size() >= 6 && std::ranges::any_of(token, is_digit))) {
      add(spans, begin, end, kBearerToken);
    }
  }
}

void match_basic(std::string_view text, std::vector<MaskSpan>& spans) {
  const auto accepts = [](char c) { return is_alnum(c) || std::string_view("+/=-_").find(c) != kNone; };
  for (std::size_t at = find_caseless(text, "basic", 0); at != kNone; at = find_caseless(text, "basic", at + 1)) {
    const std::size_t begin = after_scheme(text, at + 5);
    if (begin == kNone) continue;
    const std::size_t end = run_end(text, begin, accepts);
    if (is_basic_credential(text.substr(begin, end - begin))) add(spans, begin, end, kBasicAuth);
  }
}

void match_statement(const Text& source, std::vector<MaskSpan>& spans) {
  const std::string_view text = source.bytes;
  constexpr std::string_view kHeads[] = {"identified by", "password"};
  for (const std::string_view head : kHeads) {
    for (std::size_t at = find_caseless(text, head, 0); at != kNone; at = find_caseless(text, head, at + 1)) {
      std::size_t begin = run_end(text, at + head.size(), is_blank);
      if (begin == at + head.size()) continue;
      // SET PASSWORD FOR 'bob'@'host' = '…'
      if (starts_caseless(text.substr(begin), "for ")) {
        const std::size_t equals = text.substr(0, begin + kStatementBytesMax).find('=', begin);
        if (equals == kNone) continue;
        begin = run_end(text, equals + 1, is_blank);
      }
      const std::size_t slashes = run_end(text, begin, [](char c) { return c == '\\'; }) - begin;
      if (begin + slashes >= text.size() || text[begin + slashes] != '\'') continue;
      const std::string_view quote = text.substr(begin, slashes + 1);
      begin += quote.size();
      const std::size_t end = std::min(text.find(quote, begin), text.size());
      if (begin == end || source.masked(begin, end) || is_placeholder(text.substr(begin, end - begin))) continue;
      add(spans, begin, end, kPassword);
      at = end - 1;
    }
  }
}

void match_curl(const Text& source, std::vector<MaskSpan>& spans) {
  const std::string_view text = source.bytes;
  constexpr std::string_view kFlags[] = {" -u", " -U", " --user", " --proxy-user"};
  for (const std::string_view flag : kFlags) {
    for (std::size_t at = text.find(flag); at != kNone; at = text.find(flag, at + 1)) {
      std::size_t begin = at + flag.size();
      if (begin >= text.size() || (text[begin] != ' ' && text[begin] != '=')) continue;
      begin = run_end(text, begin + 1, [](char c) { return c == ' ' || c == '\\' || is_quote(c); });
      const std::size_t end =
          run_end(text, begin, [](char c) { return !is_space(c) && !is_quote(c) && c != '\\' && c != '\0'; });
      const std::size_t colon = text.substr(0, end).find(':', begin);
      if (colon == kNone || colon + 1 >= end || source.masked(colon + 1, end)) continue;
      if (is_placeholder(text.substr(colon + 1, end - colon - 1))) continue;
      add(spans, colon + 1, end, kBasicAuth);
    }
  }
}

// The password is joined to its flag; a blank behind it means to ask for one.
void match_mysql(const Text& source, std::vector<MaskSpan>& spans) {
  const std::string_view text = source.bytes;
  constexpr std::string_view kFlag = " -p";
  for (std::size_t at = text.find(kFlag); at != kNone; at = text.find(kFlag, at + 1)) {
    const std::size_t floor = at - std::min<std::size_t>(at, kCommandBytesMax);
    std::string_view before = text.substr(floor, at - floor);
    // Of this command, not of the one before.
    before = before.substr(before.find_last_of("\n;|&") + 1);
    if (!before.contains("mysql") && !before.contains("mariadb")) continue;
    std::size_t begin = at + kFlag.size();
    if (begin >= text.size()) continue;
    std::size_t end = 0;
    if (is_quote(text[begin])) {
      const char quote = text[begin++];
      end = std::min(text.find(quote, begin), text.size());
    } else {
      end = run_end(text, begin, [](char c) { return !is_space(c) && !is_quote(c) && c != '\\' && c != '\0'; });
    }
    const std::string_view value = text.substr(begin, end - begin);
    // docker run … mysql -p3306:3306
    const bool is_port = value.find_first_not_of("0123456789:./") == kNone;
    if (value.empty() || is_port || source.masked(begin, end) || is_placeholder(value)) continue;
    add(spans, begin, end, kPassword);
  }
}

// Content-Disposition: form-data; name="password", an empty line, and the value up to the end of its line.
void match_form(const Text& source, std::vector<MaskSpan>& spans) {
  const std::string_view text = source.bytes;
  constexpr std::string_view kHead = "form-data;";
  // As they are, and escaped in a string.
  struct LineEnd {
    std::string_view empty_line;
    std::string_view line;
  };
  constexpr LineEnd kLineEnds[] = {{"\r\n\r\n", "\r\n"}, {"\n\n", "\n"}, {"\\r\\n\\r\\n", "\\r\\n"}, {"\\n\\n", "\\n"}};
  for (std::size_t at = find_caseless(text, kHead, 0); at != kNone; at = find_caseless(text, kHead, at + 1)) {
    const std::size_t name_at = text.substr(0, at + kHeaderBytesMax).find("name=", at);
    if (name_at == kNone) continue;
    const std::size_t name = run_end(text, name_at + 5, [](char c) { return c == '\\' || is_quote(c); });
    const std::size_t name_end =
        run_end(text, name, [](char c) { return !is_quote(c) && c != '\\' && !is_space(c) && c != ';'; });
    const auto meaning = key_meaning(text.substr(name, name_end - name));
    if (!meaning) continue;
    const std::string_view headers = text.substr(0, name_end + kHeaderBytesMax);
    std::size_t begin = kNone;
    std::string_view line;
    for (const LineEnd& form : kLineEnds) {
      const std::size_t empty_line = headers.find(form.empty_line, name_end);
      if (empty_line == kNone || empty_line >= begin) continue;
      begin = empty_line + form.empty_line.size();
      line = form.line;
    }
    if (begin == kNone) continue;
    const std::size_t end = std::min(text.find(line, begin), text.size());
    const std::string_view value = text.substr(begin, end - begin);
    if (value.empty() || source.masked(begin, end) || is_placeholder(value)) continue;
    if (meaning->digits && !is_bank_account_text(value)) continue;
    add(spans, begin, end, meaning->rule);
  }
}

}  // namespace fettle::redact
