// For secrets of every kind, planted anywhere in anything: the secret is gone, the text around it is not, and a second
// look changes nothing.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"
#include "core/rng.h"
#include "redact/numbers.h"
#include "redact/redactor.h"

namespace fettle::redact {
namespace {

const Redactor& redactor() {
  static const auto built_in = Redactor::compile().value();
  return *built_in;
}

constexpr std::string_view kAlnum = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
constexpr std::string_view kWord = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
constexpr std::string_view kHex = "0123456789abcdef";
constexpr std::string_view kUpper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
constexpr std::string_view kDigits = "0123456789";
constexpr std::string_view kBase64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
// What people put in passwords, as far as it can stand unquoted in a line of text.
constexpr std::string_view kPassword = "abcdefghijkmnpqrstuvwyzABCDEFGHJKLMNPQRSTUVWYZ0123456789!#$^*_+-.~";

class Maker {
 public:
  explicit Maker(std::uint64_t seed) : random_(seed) {}

  std::uint64_t below(std::uint64_t limit) { return random_.next() % limit; }
  std::string of(std::string_view alphabet, std::size_t size) {
    std::string text;
    while (text.size() < size) text += alphabet[below(alphabet.size())];
    return text;
  }
  template <class T>
  const T& pick(const std::vector<T>& from) {
    return from[below(from.size())];
  }

 private:
  SeededRng random_;
};

struct Planted {
  std::string text;
  std::string secret;
};

std::string card(Maker& make) {
  const std::vector<std::string> heads = {"4", "51", "55", "2221", "6011", "62", "3528"};
  std::string digits = make.pick(heads);
  digits += make.of(kDigits, 15 - digits.size());
  for (char check = '0'; check <= '9'; ++check) {
    if (is_card_digits(digits + check)) return digits + check;
  }
  return "4111111111111111";
}

std::string in_groups(std::string_view digits, std::string_view separator) {
  std::string text;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i != 0 && i % 4 == 0) text += separator;
    text += digits[i];
  }
  return text;
}

std::string iban(Maker& make) {
  const std::string account = make.of(kDigits, 18);
  for (int check = 2; check < 99; ++check) {
    std::string text = "DE" + std::string(check < 10 ? "0" : "") + std::to_string(check) + account;
    if (iban_length(text) == text.size()) return text;
  }
  return "DE89370400440532013000";
}

using Kind = std::function<Planted(Maker&)>;

Kind token(std::string prefix, std::string_view alphabet, std::size_t size) {
  return [=](Maker& make) {
    // Ends in letters and a digit: some formats ask for a digit, none ends in punctuation.
    const std::string body = make.of(alphabet, size - 4) + make.of(kHex.substr(10), 3) + "7";
    return Planted{prefix + body, body};
  };
}
// An alphabet without lower case.
Kind upper_token(std::string prefix, std::size_t size) {
  return [=](Maker& make) {
    const std::string body = make.of(kUpper, size);
    return Planted{prefix + body, body};
  };
}
Kind value(std::string before, std::string after = "") {
  return [=](Maker& make) {
    const std::string secret = "P" + make.of(kPassword, 8 + make.below(16)) + "7z";
    return Planted{before + secret + after, secret};
  };
}

const std::vector<std::pair<std::string, Kind>>& kinds() {
  static const std::vector<std::pair<std::string, Kind>> all = {
      {"anthropic", token("sk-ant-api03-", kWord, 90)},
      {"openai", token("sk-", kAlnum, 48)},
      {"openai project", token("sk-proj-", kWord, 80)},
      {"google", token("AIza", kWord, 35)},
      {"google oauth", token("ya29.", kWord, 60)},
      {"aws id", upper_token("AKIA", 16)},
      {"github", token("ghp_", kAlnum, 36)},
      {"github fine", token("github_pat_", kAlnum, 60)},
      {"gitlab", token("glpat-", kWord, 20)},
      {"slack", token("xoxb-", kAlnum, 40)},
      {"slack hook", token("https://hooks.slack.com/services/T0000/B0000/", kAlnum, 24)},
      {"stripe", token("sk_live_", kAlnum, 24)},
      {"twilio", token("SK", kHex, 32)},
      {"sendgrid", token("SG.abcdefghijklmnopqrstuv.", kWord, 43)},
      {"mailgun", token("key-", kHex, 32)},
      {"npm", token("npm_", kAlnum, 36)},
      {"hugging face", token("hf_", kAlnum, 34)},
      {"groq", token("gsk_", kAlnum, 52)},
      {"shopify", token("shpat_", kHex, 32)},
      {"databricks", token("dapi", kHex, 32)},
      {"vault", token("hvs.", kWord, 90)},
      {"meta", token("EAA", kAlnum, 120)},
      {"telegram", token("110201543:AA", kWord, 33)},
      {"jwt", token("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.", kWord, 43)},
      {"bearer", token("Bearer ", kAlnum, 24)},
      {"authorization", token("Authorization: Bearer ", kAlnum, 24)},
      {"password text", value("password=")},
      {"password prose", value("Password: ")},
      {"password json", value("{\"user\":\"bob\",\"password\":\"", "\",\"x\":1}")},
      {"password deep json", value("{\"b\":\"{\\\"password\\\":\\\"", "\\\"}\"}")},
      {"password query", value("https://x.example/login?user=bob&password=", "&x=1")},
      {"password form", value("user[password]=", "&commit=1")},
      {"password xml", value("<password>", "</password>")},
      {"password flag", value("--password ")},
      {"environment", value("STRIPE_WEBHOOK_SECRET=")},
      {"api key header", value("X-Api-Key: ")},
      {"client secret", value("client_id=a&client_secret=", "&grant_type=client_credentials")},
      {"access token", value("{\"access_token\":\"", "\",\"token_type\":\"bearer\"}")},
      {"azure", value("AccountName=a;AccountKey=", ";EndpointSuffix=core.windows.net")},
      {"aws secret", token("aws_secret_access_key=", kBase64, 40)},
      {"url password", value("postgres://app:", "@db.internal:5432/app")},
      {"signed url", token("https://b.s3.amazonaws.com/k?X-Amz-Date=1&X-Amz-Signature=", kHex, 64)},
      {"private key",
       [](Maker& make) {
         std::string body = make.of(kBase64, 64) + "\n" + make.of(kBase64, 64);
         return Planted{"-----BEGIN RSA PRIVATE KEY-----\n" + body + "\n-----END RSA PRIVATE KEY-----",
                        body.substr(0, 64)};
       }},
      {"cut private key",
       [](Maker& make) {
         std::string body = make.of(kBase64, 64);
         return Planted{"-----BEGIN PRIVATE KEY-----\n" + body, body};
       }},
      {"card",
       [](Maker& make) {
         std::string digits = card(make);
         return Planted{digits, digits};
       }},
      {"card in groups",
       [](Maker& make) {
         const std::vector<std::string> separators = {" ", "-"};
         std::string digits = in_groups(card(make), make.pick(separators));
         return Planted{digits, digits};
       }},
      {"iban",
       [](Maker& make) {
         std::string text = iban(make);
         return Planted{text, text};
       }},
      {"iban in groups",
       [](Maker& make) {
         std::string text = in_groups(iban(make), " ");
         return Planted{text, text};
       }},
      {"email",
       [](Maker& make) {
         const std::string local = make.of(kAlnum, 6 + make.below(10));
         const std::vector<std::string> domains = {"example.com", "mail.example.co.uk", "x-y.io"};
         return Planted{local + "@" + make.pick(domains), local};
       }},
  };
  return all;
}

// Ordinary text around the secret, several lines of it at times. Never ends in a letter or digit on the secret's side.
std::string surroundings(Maker& make, bool before) {
  static const std::vector<std::string> pieces = {
      "GET /api/v1/episodes/42",
      "TypeError: Cannot read properties of undefined (reading 'id')\n    at publish (/app/dist/publish.js:12:34)",
      "4bf92f3577b34da6a3ce929d0e0e4736",
      "2026-11-21T09:14:32.123Z",
      "SELECT id FROM runs WHERE id = $1",
      "Grüße aus München",
      "550e8400-e29b-41d4-a716-446655440000",
      "retry 3/5",
      "tokens 12, cost 0.4",
      "",
  };
  static const std::vector<std::string> borders = {" ", "\n", "\t", " | ", ", ", " (", "\n    at ", " <", " \"", " '"};
  static const std::vector<std::string> closings = {" ", "\n", "\t", " | ", ", ", ") ", "; ", "\n    at ", "\" ", "' "};
  if (make.below(8) == 0) return "";  // the secret begins or ends the text
  return before ? make.pick(pieces) + make.pick(borders) : make.pick(closings) + make.pick(pieces);
}

std::string percent_encoded(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (kAlnum.contains(c) || std::string_view("-_.~!*'()").contains(c)) {
      out += c;
    } else {
      constexpr std::string_view digits = "0123456789ABCDEF";
      const auto byte = static_cast<unsigned char>(c);
      out += '%';
      out += digits[byte >> 4];
      out += digits[byte & 15];
    }
  }
  return out;
}

std::string json_escaped(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out.substr(1, out.size() - 2);
}

// What must be gone: of an e-mail address the first character may stay.
std::string_view hidden_part(const std::string& kind, const std::string& secret) {
  return kind == "email" ? std::string_view(secret).substr(1) : std::string_view(secret);
}

void check(const std::string& kind, const std::string& text, std::string_view hidden) {
  const std::string once = redactor().redact(text);
  if (once.contains(hidden)) RC_FAIL(kind + " survives in: " + text + "\n as: " + once);
  const std::string twice = redactor().redact(once);
  if (twice != once) RC_FAIL(kind + " changes again: " + once + "\n to: " + twice);
}

void passes(const char* what, const std::function<void(Maker&)>& property) {
  EXPECT_TRUE(rc::check(what, [&](std::uint64_t seed) {
    Maker make(seed);
    property(make);
  }));
}

TEST(PlantedSecret, IsGoneFromPlainText) {
  passes("plain", [](Maker& make) {
    for (const auto& [kind, plant] : kinds()) {
      const Planted planted = plant(make);
      check(kind, surroundings(make, true) + planted.text + surroundings(make, false),
            hidden_part(kind, planted.secret));
    }
  });
}

TEST(PlantedSecret, IsGoneFromJsonText) {
  passes("json", [](Maker& make) {
    for (const auto& [kind, plant] : kinds()) {
      const Planted planted = plant(make);
      const std::string inner = surroundings(make, true) + planted.text + surroundings(make, false);
      std::string hidden = json_escaped(planted.secret);
      check(kind, "{\"level\":30,\"msg\":\"" + json_escaped(inner) + "\",\"pid\":1}", hidden_part(kind, hidden));
      hidden = json_escaped(hidden);
      check(kind, "{\"log\":\"{\\\"msg\\\":\\\"" + json_escaped(json_escaped(inner)) + "\\\"}\\n\"}",
            hidden_part(kind, hidden));
    }
  });
}

TEST(PlantedSecret, IsGoneFromAPercentEncodedQuery) {
  passes("query", [](Maker& make) {
    for (const auto& [kind, plant] : kinds()) {
      const Planted planted = plant(make);
      const std::string hidden = percent_encoded(planted.secret);
      check(kind, "https://x.example/cb?a=1&q=" + percent_encoded(planted.text) + "&z=2", hidden_part(kind, hidden));
      check(kind, "/cb?q=" + percent_encoded("say " + planted.text + " now"), hidden_part(kind, hidden));
    }
  });
}

TEST(PlantedSecret, IsGoneBesideAnother) {
  passes("two", [](Maker& make) {
    const auto& [first_kind, first_plant] = make.pick(kinds());
    const auto& [second_kind, second_plant] = make.pick(kinds());
    const Planted first = first_plant(make);
    const Planted second = second_plant(make);
    static const std::vector<std::string> between = {" ", "\n", ", ", "; ", " \"", "\n\t"};
    const std::string text = first.text + make.pick(between) + second.text;
    check(first_kind + " then " + second_kind, text, hidden_part(first_kind, first.secret));
    check(first_kind + " before " + second_kind, text, hidden_part(second_kind, second.secret));
  });
}

TEST(RandomBytes, AreRedactedTheSameAloneAndInCompany) {
  Scratch scratch;
  passes("batch", [&](Maker& make) {
    // Fragments of what the rules look for, in any order, with bytes of every kind between.
    static const std::vector<std::string> fragments = {"password",
                                                       "=",
                                                       ":",
                                                       "\"",
                                                       "\\",
                                                       "%3D",
                                                       "%40",
                                                       "@",
                                                       "a.bc",
                                                       "Bearer ",
                                                       "4111111111111111",
                                                       "4111 ",
                                                       "1111",
                                                       "eyJhbGciOiJIUzI1NiJ9",
                                                       ".",
                                                       "-----BEGIN PRIVATE KEY-----",
                                                       "-----END",
                                                       "AKIAIOSFODNN7EXAMPLE",
                                                       "://",
                                                       "x",
                                                       "[redacted:password]",
                                                       "[redacted:",
                                                       "]",
                                                       "&",
                                                       "token",
                                                       " ",
                                                       "\n",
                                                       std::string(1, '\0'),
                                                       "\xC3\xA9",
                                                       "***",
                                                       "<",
                                                       ">",
                                                       "sk-ant-0123456789abcdef",
                                                       "DE89 3704 0044 0532 0130 00",
                                                       "code",
                                                       "?",
                                                       "cookie",
                                                       "Basic dXNlcjpodW50ZXIy",
                                                       "'"};
    std::vector<std::string> texts(1 + make.below(20));
    for (std::string& text : texts) {
      for (std::uint64_t n = make.below(12); n > 0; --n) text += make.pick(fragments);
    }
    std::vector<Redactor::Subject> subjects;
    for (const std::string& text : texts) subjects.push_back({text, make.below(8) == 0 ? "password" : "message"});
    std::vector<Finding> findings;
    RuleCounts counts;
    redactor().scan(subjects, scratch, findings, counts);
    std::vector<std::string> together(texts);
    for (Finding& finding : findings) together[finding.index] = std::move(finding.replacement);
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const std::string alone = redactor().redact(texts[i], subjects[i].key);
      RC_ASSERT(alone == together[i]);
      RC_ASSERT(redactor().redact(alone, subjects[i].key) == alone);
    }
  });
}

}  // namespace
}  // namespace fettle::redact
