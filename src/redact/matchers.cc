#include "redact/matchers.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string>

#include "redact/keys.h"
#include "redact/numbers.h"

namespace fettle::redact {
namespace {

constexpr std::size_t kNone = std::string_view::npos;
constexpr std::size_t kUserInfoBytesMax = 512;
constexpr std::size_t kLocalPartBytesMax = 64;
constexpr std::size_t kDomainBytesMax = 255;
constexpr std::size_t kGapMax = 8;  // blanks or closing characters between a key and its sign, as in the prefilter
constexpr std::size_t kKeyBytesMax = 64;

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
constexpr bool is_letter(char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); }
constexpr bool is_alnum(char c) { return is_digit(c) || is_letter(c); }
constexpr bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }
constexpr bool is_blank(char c) { return c == ' ' || c == '\t'; }
constexpr bool is_space(char c) { return is_blank(c) || c == '\n' || c == '\r' || c == '\v' || c == '\f'; }
constexpr bool is_quote(char c) { return c == '"' || c == '\'' || c == '`'; }
constexpr bool is_high(char c) { return static_cast<unsigned char>(c) >= 0x80; }
constexpr char to_lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }
constexpr int hex_value(char c) { return is_digit(c) ? c - '0' : to_lower(c) - 'a' + 10; }

bool equals_caseless(std::string_view text, std::string_view lower) {
  return text.size() == lower.size() &&
         std::ranges::equal(text, lower, [](char a, char b) { return to_lower(a) == b; });
}
bool starts_caseless(std::string_view text, std::string_view lower) {
  return text.size() >= lower.size() && equals_caseless(text.substr(0, lower.size()), lower);
}
std::size_t find_caseless(std::string_view text, std::string_view lower, std::size_t from) {
  for (std::size_t i = from; i + lower.size() <= text.size(); ++i) {
    if (to_lower(text[i]) == lower[0] && starts_caseless(text.substr(i), lower)) return i;
  }
  return kNone;
}

void add(std::vector<MaskSpan>& spans, std::size_t begin, std::size_t end, RuleId rule) {
  if (begin < end) spans.push_back({begin, end, rule, mask_of(rule)});
}

std::size_t run_end(std::string_view text, std::size_t from, auto&& accepts) {
  while (from < text.size() && accepts(text[from])) ++from;
  return from;
}

// The length of a percent escape (at any depth: %3A, %253A) at `at` whose byte is one of `bytes`, or 0.
std::size_t percent_at(std::string_view text, std::size_t at, std::string_view bytes) {
  if (at >= text.size() || text[at] != '%') return 0;
  std::size_t i = at + 1;
  while (i + 3 < text.size() && text[i] == '2' && text[i + 1] == '5' && is_hex(text[i + 2]) && is_hex(text[i + 3])) {
    i += 2;
  }
  if (i + 1 >= text.size() || !is_hex(text[i]) || !is_hex(text[i + 1])) return 0;
  const char byte = static_cast<char>(hex_value(text[i]) * 16 + hex_value(text[i + 1]));
  return bytes.find(byte) != kNone ? i + 2 - at : 0;
}

// Where a percent escape of one of `bytes` that ends at `end` begins, or kNone.
std::size_t percent_before(std::string_view text, std::size_t end, std::string_view bytes) {
  if (end < 3) return kNone;
  std::size_t at = end - 3;
  for (int depth = 0; depth < 4; ++depth) {
    if (text[at] == '%') return percent_at(text, at, bytes) == end - at ? at : kNone;
    if (at < 2) return kNone;
    at -= 2;
  }
  return kNone;
}

// True when the byte before `at` is the last of a backslash escape: \n, \t, \u0026.
bool after_backslash_escape(std::string_view text, std::size_t at) {
  if (at >= 2 && text[at - 2] == '\\' && std::string_view("nrtbfv").find(text[at - 1]) != kNone) return true;
  return at >= 6 && text[at - 6] == '\\' && text[at - 5] == 'u' && std::ranges::all_of(text.substr(at - 4, 4), is_hex);
}

bool after_percent_escape(std::string_view text, std::size_t at) {
  return at >= 3 && text[at - 3] == '%' && is_hex(text[at - 2]) && is_hex(text[at - 1]);
}

// --- formats with a fixed prefix -------------------------------------------------------------------------------------

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

bool token_byte(char c) { return in_alphabet(Alphabet::kWord, c); }

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
      end = run_end(text, std::min(body, text.size()), [](char c) {
        return is_alnum(c) || is_space(c) || std::string_view("+/=\\,:-_.%").find(c) != kNone;
      });
      end = std::min(end, next);
    }
    add(spans, at, end, kPrivateKey);
    at = text.find(kBegin, std::max(end, at + 1));
  }
}

// --- schemes of the Authorization header, wherever they stand --------------------------------------------------------

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

void match_bearer(std::string_view text, std::vector<MaskSpan>& spans) {
  const auto accepts = [](char c) { return is_alnum(c) || std::string_view("._~+/=-|").find(c) != kNone; };
  for (std::size_t at = find_caseless(text, "bearer", 0); at != kNone; at = find_caseless(text, "bearer", at + 1)) {
    const std::size_t begin = after_scheme(text, at + 6);
    if (begin == kNone) continue;
    const std::size_t end = run_end(text, begin, accepts);
    const std::string_view token = text.substr(begin, end - begin);
    if (looks_random(token) || (token.size() >= 6 && std::ranges::any_of(token, is_digit))) {
      add(spans, begin, end, kBearerToken);
    }
  }
}

// "user:password" in base64, which tells it from "basic plan" and "Basic authentication".
bool is_basic_credential(std::string_view text) {
  if (text.size() < 4) return false;
  unsigned bits = 0;
  int count = 0;
  bool colon = false;
  for (const char c : text) {
    int value = 0;
    if (c >= 'A' && c <= 'Z')
      value = c - 'A';
    else if (c >= 'a' && c <= 'z')
      value = c - 'a' + 26;
    else if (is_digit(c))
      value = c - '0' + 52;
    else if (c == '+' || c == '-')
      value = 62;
    else if (c == '/' || c == '_')
      value = 63;
    else
      break;
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

void match_basic(std::string_view text, std::vector<MaskSpan>& spans) {
  const auto accepts = [](char c) { return is_alnum(c) || std::string_view("+/=-_").find(c) != kNone; };
  for (std::size_t at = find_caseless(text, "basic", 0); at != kNone; at = find_caseless(text, "basic", at + 1)) {
    const std::size_t begin = after_scheme(text, at + 5);
    if (begin == kNone) continue;
    const std::size_t end = run_end(text, begin, accepts);
    if (is_basic_credential(text.substr(begin, end - begin))) add(spans, begin, end, kBasicAuth);
  }
}

// --- what stands around an @ ----------------------------------------------------------------------------------------

struct AtSign {
  std::size_t begin;
  std::size_t end;
};

// The password in scheme://user:password@host. Returns false when there is none.
bool match_url_password(const Text& source, std::size_t authority, AtSign at, std::vector<MaskSpan>& spans) {
  const std::string_view text = source.bytes;
  if (authority == kNone || at.end >= text.size() || at.begin - authority > kUserInfoBytesMax) return false;
  std::size_t colon = authority;
  std::size_t password = kNone;
  for (; colon < at.begin; ++colon) {
    if (text[colon] == ':') {
      password = colon + 1;
      break;
    }
    if (const std::size_t length = percent_at(text, colon, ":")) {
      password = colon + length;
      break;
    }
    // A user's name has none of these: what follows is a path.
    if (std::string_view("/?#@").find(text[colon]) != kNone || percent_at(text, colon, "/?#") != 0) return false;
  }
  if (password == kNone || password >= at.begin) return false;
  const std::string_view value = text.substr(password, at.begin - password);
  const std::size_t digits = run_end(value, 0, is_digit);
  // host:8080/path?mail=a@b is a port.
  if (digits < value.size() &&
      (std::string_view("/?#").find(value[digits]) != kNone || percent_at(value, digits, "/?#") != 0)) {
    return false;
  }
  const std::size_t earlier = value.find('@');
  if (earlier != kNone && value.find_first_of("/?#", earlier) != kNone) return false;
  if (value.back() == '/' || source.masked(password, at.begin) || is_placeholder(value)) return false;
  add(spans, password, at.begin, kUrlPassword);
  return true;
}

bool local_byte(char c) { return is_alnum(c) || is_high(c) || std::string_view("._+-!#$*~^").find(c) != kNone; }

// Endings of files and units that follow an @ and are no domains: icon@2x.png, render@app.min.js, user@1000.service.
bool is_file_ending(std::string_view label) {
  constexpr std::string_view kEndings[] = {"js",   "mjs",     "cjs",    "ts",    "tsx",   "jsx",   "css",   "html",
                                           "json", "png",     "jpg",    "jpeg",  "gif",   "svg",   "webp",  "map",
                                           "php",  "service", "socket", "timer", "slice", "scope", "mount", "dll",
                                           "exe",  "yaml",    "yml",    "txt",   "log"};
  return std::ranges::any_of(kEndings, [&](std::string_view ending) { return equals_caseless(label, ending); });
}

bool is_domain_at(std::string_view text) {
  const std::size_t end = run_end(text.substr(0, kDomainBytesMax), 0,
                                  [](char c) { return is_alnum(c) || is_high(c) || c == '-' || c == '.'; });
  const std::string_view run = text.substr(0, end);
  if (run.empty() || run[0] == '.' || run[0] == '-') return false;
  // name@1.2.3-beta.rc is a package.
  const std::size_t number = run_end(run, 0, is_digit);
  if (number > 0 && number + 1 < run.size() && run[number] == '.' && is_digit(run[number + 1])) return false;
  std::string_view top;
  for (std::size_t dot = run.find('.'); dot != kNone; dot = run.find('.', dot + 1)) {
    const std::size_t label_end = run_end(run, dot + 1, [](char c) { return is_letter(c) || is_high(c); });
    if (label_end - dot - 1 >= 2) top = run.substr(dot + 1, label_end - dot - 1);
    if (starts_caseless(run.substr(dot + 1), "xn--")) top = run.substr(dot + 1, 4);
  }
  return !top.empty() && !is_file_ending(top);
}

void match_email(std::string_view text, AtSign at, std::vector<MaskSpan>& spans) {
  if (!is_domain_at(text.substr(at.end))) return;
  std::size_t begin = at.begin;
  while (begin > 0 && at.begin - begin < kLocalPartBytesMax) {
    if (after_percent_escape(text, begin)) {
      const char decoded = static_cast<char>(hex_value(text[begin - 2]) * 16 + hex_value(text[begin - 1]));
      if (!local_byte(decoded)) break;
      begin -= 3;
      continue;
    }
    if (after_backslash_escape(text, begin)) break;
    const char c = text[begin - 1];
    // O'Brien, but not 'quoted'.
    const bool apostrophe =
        c == '\'' && begin >= 2 && is_alnum(text[begin - 2]) && begin < at.begin && is_alnum(text[begin]);
    if (!local_byte(c) && !apostrophe) break;
    --begin;
  }
  const std::string_view local = text.substr(begin, at.begin - begin);
  if (local.empty() || local == "git") return;
  if (std::ranges::none_of(local, [](char c) { return is_alnum(c) || is_high(c); })) return;
  // What is kept: one character, which may be several bytes long.
  std::size_t kept = 1;
  if (local[0] == '%') {
    kept = std::min<std::size_t>(3, local.size());
  } else if (is_high(local[0])) {
    while (kept < local.size() && kept < 4 && (static_cast<unsigned char>(local[kept]) & 0xC0U) == 0x80U) ++kept;
  }
  if (local.substr(kept) == "***") return;
  spans.push_back({begin + kept, at.begin, kEmail, mask_of(kEmail)});
}

// The length of "://" at `at`, as it is or percent-encoded, or 0.
std::size_t scheme_end_at(std::string_view text, std::size_t at) {
  if (text[at] == ':') return text.substr(at).starts_with("://") ? 3 : 0;
  const std::size_t colon = percent_at(text, at, ":");
  const std::size_t first = colon == 0 ? 0 : percent_at(text, at + colon, "/");
  const std::size_t second = first == 0 ? 0 : percent_at(text, at + colon + first, "/");
  return second == 0 ? 0 : colon + first + second;
}

std::size_t at_sign_length(std::string_view text, std::size_t at) {
  if (text[at] == '@') return 1;
  if (text[at] == '%') return percent_at(text, at, "@");
  return text.substr(at).starts_with("\\u0040") ? 6 : 0;
}

void match_at(const Text& source, std::vector<MaskSpan>& spans) {
  const std::string_view text = source.bytes;
  std::size_t authority = kNone;  // where that of the URL around `i` begins
  for (std::size_t i = 0; i < text.size();) {
    const char c = text[i];
    std::size_t step = 1;
    if (is_space(c) || is_quote(c) || c == '<' || c == '>' || c == '\0') {
      authority = kNone;
    } else if (c == ':' || c == '%' || c == '@' || c == '\\') {
      if (const std::size_t scheme = c == ':' || c == '%' ? scheme_end_at(text, i) : 0) {
        step = scheme;
        authority = i + step;
      } else if (const std::size_t length = at_sign_length(text, i)) {
        step = length;
        const AtSign at{i, i + length};
        if (!match_url_password(source, authority, at, spans)) match_email(text, at, spans);
      }
    }
    i += step;
  }
}

// --- numbers --------------------------------------------------------------------------------------------------------

void match_card(std::string_view text, std::vector<MaskSpan>& spans) {
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (!is_digit(text[at])) continue;
    std::size_t run = run_end(text, at, is_digit);
    // %204111…: the digits of an escape are not digits of the number.
    if (at >= 1 && text[at - 1] == '%' && run - at > 2) at += 2;
    const std::size_t length =
        text[at] >= '2' && text[at] <= '8' && at_boundary(text, at) ? card_length(text.substr(at)) : 0;
    const std::size_t end = at + length;
    const bool fraction = at >= 2 && text[at - 1] == '.' && is_digit(text[at - 2]);
    const bool phone = at >= 1 && text[at - 1] == '+' && length == 13;
    const bool continues =
        end < text.size() &&
        (is_alnum(text[end]) || (text[end] == '.' && end + 1 < text.size() && is_digit(text[end + 1])));
    if (length != 0 && !fraction && !phone && !continues) {
      add(spans, at, end, kPaymentCard);
      run = end;
    }
    at = run - 1;
  }
}

void match_iban(std::string_view text, std::vector<MaskSpan>& spans) {
  for (std::size_t at = 0; at + 15 <= text.size(); ++at) {
    if (!is_letter(text[at]) || !is_digit(text[at + 2]) || !at_boundary(text, at)) continue;
    if (const std::size_t length = iban_length(text.substr(at))) {
      add(spans, at, at + length, kIban);
      at += length - 1;
    }
  }
}

// --- key and value --------------------------------------------------------------------------------------------------

struct Key {
  std::size_t begin = 0;
  std::size_t end = 0;
};

bool key_byte(char c) { return is_alnum(c) || c == '_' || c == '-' || c == '.' || c == '$' || is_high(c); }

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
    } else {
      break;
    }
  }
  std::size_t begin = end;
  while (begin > 0 && end - begin < kKeyBytesMax && key_byte(text[begin - 1])) {
    if (after_percent_escape(text, begin) || after_backslash_escape(text, begin)) break;
    --begin;
  }
  // "[redacted:password]: …" is a mask, not a key.
  if (source.masked(begin, end)) return {};
  return {begin, end};
}

bool is_query_key(std::string_view text, std::size_t begin) {
  if (begin == 0) return false;
  const char c = text[begin - 1];
  if (c == '?' || c == '&' || c == ';') return true;
  if (percent_before(text, begin, "?&") != kNone) return true;
  return begin >= 6 && text.substr(begin - 6, 6) == "\\u0026";
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
std::size_t header_end(std::string_view text, std::size_t at) {
  while (at < text.size() && text[at] != '\n' && text[at] != '\r' && text[at] != '\0' && !is_quote(text[at]) &&
         !(text[at] == '\\' && at + 1 < text.size() && std::string_view("nr\"'").find(text[at + 1]) != kNone)) {
    ++at;
  }
  return at;
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

Value value_after(const Text& source, std::size_t at, std::size_t escape_length, const KeyMeaning& meaning) {
  const std::string_view text = source.bytes;
  for (std::size_t n = 0; n < kGapMax && at < text.size() && is_blank(text[at]); ++n) ++at;
  if (escape_length != 0) {
    while (percent_at(text, at, " ") == escape_length) at += escape_length;
  }
  // One-element lists, as header attributes are: ["Bearer …"].
  if (at + 1 < text.size() && text[at] == '[' && source.mask_end(at) == 0 &&
      (is_quote(text[at + 1]) || text[at + 1] == '\\'))
    ++at;
  const std::size_t backslashes = run_end(text, at, [](char c) { return c == '\\'; }) - at;
  if (at + backslashes < text.size() && is_quote(text[at + backslashes])) {
    return quoted_value(source, at + backslashes + 1, text[at + backslashes], backslashes);
  }
  if (escape_length != 0) {
    if (const std::size_t quote = percent_at(text, at, "\"'"); quote != 0) {
      const std::string_view delimiter = text.substr(at, quote);
      const std::size_t end = text.find(delimiter, at + quote);
      return {at + quote, end == kNone ? text.size() : end, true};
    }
  }
  if (meaning.rule == kCookie) return {at, header_end(text, at), true};
  if (meaning.rule == kAuthorization) {
    if (starts_caseless(text.substr(at), "digest ") || starts_caseless(text.substr(at), "aws4-")) {
      return {at, header_end(text, at), true};
    }
    const std::size_t credential = skip_scheme(text, at);
    return {at, bare_value(source, credential, escape_length).end, false};
  }
  return bare_value(source, at, escape_length);
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

void match_key_value(const Text& source, std::vector<MaskSpan>& spans) {
  const std::string_view text = source.bytes;
  // "code" is a secret only in an exchange of OAuth.
  const bool grant = text.find("grant_type") != kNone || text.find("redirect_uri") != kNone ||
                     text.find("authorization_code") != kNone;
  for (std::size_t i = 1; i < text.size(); ++i) {
    std::size_t sign_length = 0;
    std::size_t escape_length = 0;
    bool prose = false;
    bool flag = false;
    bool element = false;
    switch (text[i]) {
      case '=': sign_length = i + 1 < text.size() && (text[i + 1] == '>' || text[i + 1] == '=') ? 2 : 1; break;
      case ':':
        sign_length = i + 1 < text.size() && text[i + 1] == '=' ? 2 : 1;
        prose = sign_length == 1 && i + 1 < text.size() && is_blank(text[i + 1]);
        break;
      case '%': sign_length = escape_length = percent_at(text, i, ":="); break;
      case ' ':
        flag = key_byte(text[i - 1]);
        sign_length = flag ? 1 : 0;
        break;
      case '>':
        element = key_byte(text[i - 1]);
        sign_length = element ? 1 : 0;
        break;
      default: break;
    }
    if (sign_length == 0) continue;
    const Key key = key_before(source, i);
    if (key.begin == key.end) continue;
    const std::string_view name = text.substr(key.begin, key.end - key.begin);
    if (flag && !name.starts_with("--")) continue;
    if (element && (key.end != i || key.begin == 0 || text[key.begin - 1] != '<')) continue;

    auto meaning = key_meaning(name);
    if (!meaning && (is_query_key(text, key.begin) || grant)) {
      const bool query = is_query_key(text, key.begin);
      if (query && (equals_caseless(name, "sig") || equals_caseless(name, "signature")))
        meaning = KeyMeaning{kSignedUrl, true};
      if (equals_caseless(name, "code")) meaning = KeyMeaning{kOAuthCode, true};
    }
    if (!meaning) continue;

    Value value = value_after(source, i + sign_length, escape_length, *meaning);
    if (element) {
      const std::size_t close = text.find('<', i);
      if (close == kNone || close + 1 >= text.size() || text[close + 1] != '/') continue;
      value = {i + 1, close, true};
    }
    if (value.begin >= value.end || only_masks(source, value)) continue;
    const std::string_view found = text.substr(value.begin, value.end - value.begin);
    // An object or list: its own keys are looked at on their own.
    if (!value.quoted && (found[0] == '{' || (found[0] == '[' && source.mask_end(value.begin) == 0))) continue;
    if (is_placeholder(found)) continue;
    if (meaning->header && scheme_and_masks(source, value)) continue;
    if (meaning->digits && !is_bank_account_text(found)) continue;
    if (equals_caseless(name, "pwd") && found[0] == '/') continue;  // the working directory
    if (meaning->rule == kOAuthCode) {
      const bool exchange = grant || text.find("state=") != kNone || find_caseless(text, "oauth", 0) != kNone ||
                            find_caseless(text, "callback", 0) != kNone;
      const bool digit = std::ranges::any_of(found, is_digit);
      const bool letter = std::ranges::any_of(found, is_letter);
      if (!digit || !letter || found.size() < (exchange ? 8 : 20)) continue;
    } else if (meaning->rule == kSignedUrl && meaning->weak) {
      if (found.size() < 16) continue;
    } else if (meaning->weak) {
      if (prose && !value.quoted && !looks_random(found)) continue;
      if (found.size() < 7 && std::ranges::all_of(found, is_digit)) continue;
    }
    add(spans, value.begin, value.end, meaning->rule);
    i = std::max(i, value.end - 1);
  }
}

}  // namespace

std::size_t Text::mask_end(std::size_t at) const {
  const auto it = std::ranges::lower_bound(masks, at, {}, &MaskRange::begin);
  return it != masks.end() && it->begin == at ? it->end : 0;
}

bool Text::masked(std::size_t begin, std::size_t end) const {
  auto it = std::ranges::upper_bound(masks, begin, {}, &MaskRange::begin);
  return it != masks.begin() && begin < end && (--it)->end >= end;
}

bool at_boundary(std::string_view text, std::size_t at) {
  return at == 0 || !is_alnum(text[at - 1]) || after_percent_escape(text, at) || after_backslash_escape(text, at);
}

void match(std::uint16_t detector, const Text& text, std::vector<MaskSpan>& spans) {
  switch (detector) {
    case kDetectKeyValue: return match_key_value(text, spans);
    case kDetectBearer: return match_bearer(text.bytes, spans);
    case kDetectBasic: return match_basic(text.bytes, spans);
    case kDetectJwt: return match_jwt(text.bytes, spans);
    case kDetectPrivateKey: return match_private_key(text.bytes, spans);
    case kDetectAt: return match_at(text, spans);
    case kDetectTelegram: return match_telegram(text.bytes, spans);
    case kDetectTwilioPair: return match_twilio_pair(text.bytes, spans);
    case kDetectAwsSecret: return match_aws_secret(text.bytes, spans);
    case kDetectAzureClientSecret: return match_azure_client_secret(text.bytes, spans);
    case kDetectCard: return match_card(text.bytes, spans);
    case kDetectIban: return match_iban(text.bytes, spans);
    case kDetectDiscord: return match_discord(text.bytes, spans);
    default: return match_token_format(token_formats()[detector - kFirstTokenFormat], text.bytes, spans);
  }
}

}  // namespace fettle::redact
