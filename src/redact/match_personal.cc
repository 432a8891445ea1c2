// Passwords in URLs and e-mail addresses, which both turn on an @, and numbers of money.
#include <algorithm>

#include "redact/bytes.h"
#include "redact/keys.h"
#include "redact/matchers.h"
#include "redact/numbers.h"

namespace fettle::redact {
namespace {

constexpr std::size_t kUserInfoBytesMax = 512;
constexpr std::size_t kLocalPartBytesMax = 64;
constexpr std::size_t kDomainBytesMax = 255;

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

// "jane doe"@example.com
void match_quoted_local_part(std::string_view text, AtSign at, std::vector<MaskSpan>& spans) {
  std::size_t end = at.begin - 1;
  if (end > 0 && text[end - 1] == '\\') --end;
  const std::size_t floor = end - std::min(end, kLocalPartBytesMax);
  const std::size_t open = text.substr(floor, end - floor).rfind('"');
  if (open == kNone) return;
  const std::size_t begin = floor + open + 1;
  if (begin + 1 >= end || !is_alnum(text[begin]) || text.substr(begin + 1, end - begin - 1) == "***") return;
  spans.push_back({begin + 1, end, kEmail, mask_of(kEmail)});
}

void match_email(std::string_view text, AtSign at, std::vector<MaskSpan>& spans) {
  if (!is_domain_at(text.substr(at.end))) return;
  if (at.begin > 0 && text[at.begin - 1] == '"') return match_quoted_local_part(text, at, spans);
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

// user:password@tcp(host:port)/name, as Go programs name a MySQL server.
bool match_dsn_password(const Text& source, AtSign at, std::vector<MaskSpan>& spans) {
  const std::string_view text = source.bytes;
  const std::string_view rest = text.substr(at.end);
  if (!rest.starts_with("tcp(") && !rest.starts_with("unix(")) return false;
  std::size_t begin = at.begin;
  std::size_t password = kNone;
  while (begin > 0 && at.begin - begin < kUserInfoBytesMax && !is_space(text[begin - 1]) &&
         !is_quote(text[begin - 1]) && text[begin - 1] != '\0') {
    --begin;
    // The first colon ends the user's name: a password may hold more.
    if (text[begin] == ':') password = begin + 1;
  }
  if (password == kNone || password == at.begin || source.masked(password, at.begin)) return false;
  if (is_placeholder(text.substr(password, at.begin - password))) return false;
  add(spans, password, at.begin, kUrlPassword);
  return true;
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
  constexpr std::string_view kForms[] = {"\\u0040", "&#64;", "&#x40;", "&#X40;", "&commat;", "\xEF\xBC\xA0"};
  for (const std::string_view form : kForms) {
    if (text.substr(at).starts_with(form)) return form.size();
  }
  return 0;
}

}  // namespace

void match_at(const Text& source, std::vector<MaskSpan>& spans) {
  const std::string_view text = source.bytes;
  std::size_t authority = kNone;  // where that of the URL around `i` begins
  for (std::size_t i = 0; i < text.size();) {
    const char c = text[i];
    std::size_t step = 1;
    if (is_space(c) || is_quote(c) || c == '<' || c == '>' || c == '\0') {
      authority = kNone;
    } else if (c == ':' || c == '%' || c == '@' || c == '\\' || c == '&' || c == '\xEF') {
      if (const std::size_t scheme = c == ':' || c == '%' ? scheme_end_at(text, i) : 0) {
        step = scheme;
        authority = i + step;
      } else if (const std::size_t length = at_sign_length(text, i)) {
        step = length;
        const AtSign at{i, i + length};
        if (!match_url_password(source, authority, at, spans) && !match_dsn_password(source, at, spans)) {
          match_email(text, at, spans);
        }
      }
    }
    i += step;
  }
}

namespace {

// Columns of numbers, paths, versions and names are made of such groups too: between these a card stands alone.
bool in_longer_row(std::string_view text, std::size_t begin, std::size_t end) {
  const char separator = text[begin + 4];
  if (!std::string_view("._/\t\n").contains(separator)) return false;
  const bool before = begin > 0 && text[begin - 1] == separator;
  const bool after = end < text.size() && text[end] == separator;
  if (separator == '/') return before || after;
  return (before && begin > 1 && is_digit(text[begin - 2])) ||
         (after && end + 1 < text.size() && is_digit(text[end + 1]));
}

}  // namespace

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
    if (length != 0 && !in_longer_row(text, at, end) && !fraction && !phone && !continues) {
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

}  // namespace fettle::redact
