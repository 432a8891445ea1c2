#include "redact/keys.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "redact/redactor.h"

namespace fettle::redact {
namespace {

constexpr std::size_t kKeyBytesLooked = 64;

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
constexpr bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
constexpr bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
constexpr bool is_alnum(char c) { return is_digit(c) || is_upper(c) || is_lower(c); }
constexpr char to_lower(char c) { return is_upper(c) ? static_cast<char>(c + 32) : c; }

struct Ending {
  std::string_view text;  // lower case, without separators
  KeyMeaning meaning;
  bool whole_word = false;  // short: "topwd" is not a "pwd"
};

// The first that fits wins, so the more specific stand first.
constexpr Ending kEndings[] = {
    {"clientsecret", {kOAuthToken}},
    {"accesstoken", {kOAuthToken}},
    {"refreshtoken", {kOAuthToken}},
    {"idtoken", {kOAuthToken}},
    {"oauthtoken", {kOAuthToken}},
    {"assertion", {kOAuthToken, true}},
    {"samlresponse", {kOAuthToken}},
    {"secretaccesskey", {kAwsSecretKey}},
    {"awssecretkey", {kAwsSecretKey}},
    {"awssecret", {kAwsSecretKey}},
    {"accountkey", {kAzureKey}},
    {"sharedaccesskey", {kAzureKey}},
    {"storagekey", {kAzureKey}},
    {"subscriptionkey", {kAzureKey}},
    {"functionskey", {kAzureKey}},
    {"xamzsignature", {kSignedUrl}},
    {"xamzcredential", {kSignedUrl}},
    {"xamzsecuritytoken", {kSignedUrl}},
    {"xgoogsignature", {kSignedUrl}},
    {"xgoogcredential", {kSignedUrl}},
    {"authorization", {kAuthorization, false, true}},
    {"cookie", {kCookie, false, true}},
    {"password", {kPassword}},
    {"passwordconfirmation", {kPassword}},
    {"passwordconfirm", {kPassword}},
    {"passwordhash", {kPassword}},
    {"passwd", {kPassword}},
    {"passphrase", {kPassword}},
    {"passcode", {kPassword}},
    {"pwd", {kPassword}, true},
    {"pass", {kPassword, true}, true},
    {"secret", {kSecret}},
    {"apikey", {kSecret}},
    {"secretkey", {kSecret}},
    {"accesskey", {kSecret}},
    {"privatekey", {kSecret}},
    {"signingkey", {kSecret}},
    {"encryptionkey", {kSecret}},
    {"masterkey", {kSecret}},
    {"authkey", {kSecret}},
    {"sharedkey", {kSecret}},
    {"servicekey", {kSecret}},
    {"rolekey", {kSecret}},
    {"sessionkey", {kSecret}},
    {"webhookkey", {kSecret}},
    {"credential", {kSecret, true}},
    {"token", {kSecret, true}},
    {"jwt", {kSecret}, true},
    {"cvv", {kSecret}, true},
    {"cvc", {kSecret}, true},
    {"ssn", {kSecret}, true},
    {"otp", {kSecret}, true},
    {"routingnumber", {kBankAccount, false, false, true}},
    {"accountnumber", {kBankAccount, false, false, true}},
    {"accountno", {kBankAccount, false, false, true}},
    {"bankaccount", {kBankAccount, false, false, true}},
    {"sortcode", {kBankAccount, false, false, true}},
};

// Tokens that are places in a list, words of a model's vocabulary, or parts of a protocol.
constexpr std::string_view kHarmlessTokens[] = {
    "page", "next", "continuation", "per",    "first",       "last",  "stop",   "eos",     "bos",  "pad",
    "unk",  "mask", "start",        "end",    "max",         "min",   "input",  "output",  "sync", "cancel",
    "sep",  "cls",  "cancellation", "cursor", "idempotency", "watch", "resume", "special", "text", "request",
};

// A bitmap over the last three letters of every ending: most keys end here.
constexpr std::uint32_t tail_hash(char a, char b, char c) {
  const std::uint32_t value = static_cast<std::uint32_t>(static_cast<unsigned char>(a)) << 16 |
                              static_cast<std::uint32_t>(static_cast<unsigned char>(b)) << 8 |
                              static_cast<std::uint32_t>(static_cast<unsigned char>(c));
  return (value * 0x9E3779B1U) >> 20;
}
constexpr std::array<std::uint64_t, 64> kTails = [] {
  std::array<std::uint64_t, 64> bits{};
  for (const Ending& ending : kEndings) {
    const std::string_view t = ending.text;
    const std::uint32_t h = tail_hash(t[t.size() - 3], t[t.size() - 2], t[t.size() - 1]);
    bits[h / 64] |= std::uint64_t{1} << (h % 64);
  }
  return bits;
}();

bool ends_caseless(std::string_view text, std::string_view lower) {
  return text.size() >= lower.size() && std::ranges::equal(text.substr(text.size() - lower.size()), lower,
                                                           [](char a, char b) { return to_lower(a) == b; });
}

// "access_tokens" holds some; "input_tokens" is how many.
bool is_list_of_tokens(std::string_view before) {
  if (!before.empty() && !is_alnum(before.back())) before.remove_suffix(1);
  constexpr std::string_view kWords[] = {"access", "refresh", "auth", "api", "bearer", "session", "secret"};
  return std::ranges::any_of(kWords, [&](std::string_view word) { return ends_caseless(before, word); });
}

bool has_known_tail(std::string_view text) {
  std::array<char, 3> last{};
  std::size_t missing = last.size();
  for (std::size_t i = text.size(); i > 0 && missing > 0 && text.size() - i < 8; --i) {
    if (is_alnum(text[i - 1])) last[--missing] = to_lower(text[i - 1]);
  }
  if (missing != 0) return false;
  const std::uint32_t h = tail_hash(last[0], last[1], last[2]);
  return (kTails[h / 64] >> (h % 64) & 1) != 0;
}

}  // namespace

namespace {

// "pw", "db_pw" and "dbPw", but no word that happens to end so.
bool is_pw(std::string_view key) {
  if (!ends_caseless(key, "pw")) return false;
  if (key.size() == 2 || !is_alnum(key[key.size() - 3])) return true;
  return key[key.size() - 2] == 'P' && is_lower(key[key.size() - 3]);
}

}  // namespace

std::optional<KeyMeaning> key_meaning(std::string_view key) {
  // "password2" and "password[]" are passwords; "cvc2" is a cvc.
  while (!key.empty() && !is_alnum(key.back())) key.remove_suffix(1);
  while (!key.empty() && is_digit(key.back())) key.remove_suffix(1);
  // The plural of a secret is a secret ("api_keys"), but "tokens" are counted: they are on every span of a model call.
  if (key.size() > 3 && to_lower(key.back()) == 's' && to_lower(key[key.size() - 2]) != 's') {
    key.remove_suffix(1);
    if (ends_caseless(key, "token") && !is_list_of_tokens(key.substr(0, key.size() - 5))) return std::nullopt;
  }
  if (is_pw(key)) return KeyMeaning{kPassword, true};
  if (!has_known_tail(key)) return std::nullopt;

  if (key.size() > kKeyBytesLooked) key.remove_prefix(key.size() - kKeyBytesLooked);
  std::array<char, kKeyBytesLooked> letters{};
  std::array<bool, kKeyBytesLooked> starts_word{};
  std::size_t size = 0;
  for (std::size_t i = 0; i < key.size(); ++i) {
    if (!is_alnum(key[i])) continue;
    letters[size] = to_lower(key[i]);
    starts_word[size] = i == 0 || !is_alnum(key[i - 1]) || (is_upper(key[i]) && !is_upper(key[i - 1]));
    ++size;
  }
  const std::string_view text(letters.data(), size);
  for (const Ending& ending : kEndings) {
    if (!text.ends_with(ending.text)) continue;
    if (ending.whole_word && !starts_word[size - ending.text.size()]) continue;
    if (ending.text == "token") {
      const std::string_view before = text.substr(0, size - ending.text.size());
      if (std::ranges::any_of(kHarmlessTokens, [&](std::string_view word) { return before.ends_with(word); })) {
        return std::nullopt;
      }
    }
    return ending.meaning;
  }
  return std::nullopt;
}

bool is_secret_key(std::string_view key) { return key_meaning(key).has_value(); }

bool is_placeholder(std::string_view value) {
  if (value.empty()) return true;
  constexpr std::string_view kWords[] = {"null",       "nil",    "none",     "true",       "false",      "undefined",
                                         "yes",        "no",     "redacted", "[redacted]", "<redacted>", "filtered",
                                         "[filtered]", "masked", "hidden",   "<nil>",      "required",   "invalid"};
  for (const std::string_view word : kWords) {
    if (value.size() == word.size() &&
        std::ranges::equal(value, word, [](char a, char b) { return to_lower(a) == b; })) {
      return true;
    }
  }
  // ***, •••, xxxx: another masker was here.
  if (value.size() >= 3 && value.find_first_not_of(value[0]) == std::string_view::npos &&
      std::string_view("*xX.-").find(value[0]) != std::string_view::npos) {
    return true;
  }
  if (value == "?" || value == "%s" || value == "%d" || value == "%v" || value == "%q") return true;
  if ((value.starts_with("${") && value.find('}') == value.size() - 1) ||
      (value.starts_with("{{") && value.ends_with("}}")) || (value.starts_with("%(") && value.ends_with(")s"))) {
    return true;
  }
  // $1, :1, @p1: parameters of a statement.
  if ((value[0] == '$' || value[0] == ':' || value[0] == '@') && value.size() > 1 && value.size() <= 4) {
    const std::string_view digits = value.substr(value[1] == 'p' ? 2 : 1);
    return !digits.empty() && std::ranges::all_of(digits, is_digit);
  }
  return false;
}

bool looks_random(std::string_view value) {
  const bool digit = std::ranges::any_of(value, is_digit);
  const bool letter = std::ranges::any_of(value, [](char c) { return is_upper(c) || is_lower(c); });
  if (value.size() < 8) return value.size() >= 6 && digit && letter;
  bool mixed = false;
  for (std::size_t i = 1; i < value.size(); ++i) mixed |= is_upper(value[i]) && is_lower(value[i - 1]);
  return digit || mixed || value.size() >= 24;
}

}  // namespace fettle::redact
