#include "redact/redactor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <ctime>
#include <string>
#include <thread>
#include <vector>

#include "redact/numbers.h"

namespace fettle::redact {
namespace {

const Redactor& built_in() {
  static const auto redactor = Redactor::compile().value();
  return *redactor;
}

std::string redact_with(std::vector<Rule> rules, std::string_view text) {
  const auto redactor = Redactor::compile(rules);
  return redactor ? (*redactor)->redact(text) : redactor.error().message();
}

TEST(SecretKey, IsToldByHowTheKeyEnds) {
  for (const char* key : {"password",
                          "Password",
                          "db.password",
                          "user_password",
                          "dbPassword",
                          "PGPASSWORD",
                          "passwd",
                          "pwd",
                          "db_pwd",
                          "smtp.pass",
                          "passphrase",
                          "Authorization",
                          "http.request.header.authorization",
                          "proxy-authorization",
                          "cookie",
                          "set-cookie",
                          "http.request.header.cookie",
                          "api_key",
                          "apiKey",
                          "x-api-key",
                          "X-Goog-Api-Key",
                          "client_secret",
                          "clientSecret",
                          "app.client-secret",
                          "aws_secret_access_key",
                          "secretAccessKey",
                          "AccountKey",
                          "access_token",
                          "refreshToken",
                          "id_token",
                          "token",
                          "x-csrf-token",
                          "private_key",
                          "signing-key",
                          "encryption_key",
                          "credentials",
                          "secrets",
                          "api_keys",
                          "jwt",
                          "card.cvv",
                          "cvc2",
                          "ssn",
                          "password2",
                          "user[password]",
                          "ocp-apim-subscription-key",
                          "supabase.service_role_key",
                          "webhook_secret",
                          "access_tokens",
                          "pw",
                          "db_pw",
                          "dbPw",
                          "password_confirmation"}) {
    EXPECT_TRUE(is_secret_key(key)) << key;
  }
}

TEST(SecretKey, IsNotWhatOnlySoundsSo) {
  for (const char* key : {"",
                          "a",
                          "token_count",
                          "gen_ai.usage.input_tokens",
                          "gen_ai.usage.output_tokens",
                          "gen_ai.request.max_tokens",
                          "token_type",
                          "author",
                          "authority",
                          "auth.method",
                          "next_page_token",
                          "pageToken",
                          "continuation_token",
                          "time_to_first_token",
                          "eos_token",
                          "tokens",
                          "tokenizer",
                          "secretary",
                          "password_reset_requested",
                          "password.length",
                          "cookie_consent",
                          "key",
                          "primary_key",
                          "idempotency_key",
                          "messaging.kafka.message.key",
                          "routing_key",
                          "partition_key",
                          "cache.key",
                          "public_key",
                          "aws_access_key_id",
                          "bypass",
                          "compass",
                          "topwd",
                          "http.status_code",
                          "session.id",
                          "gen_ai.conversation.id",
                          "error.signature",
                          "code",
                          "user.id",
                          "pin",
                          "client_id",
                          "correlation_id",
                          "episode_id",
                          "account_id",
                          "keyboard",
                          "monkey",
                          "httpw",
                          "kpw",
                          "passenger"}) {
    EXPECT_FALSE(is_secret_key(key)) << key;
  }
}

TEST(SecretKey, MasksItsWholeValueWhateverItLooksLike) {
  EXPECT_EQ(built_in().redact("correct horse battery", "db.password"), "[redacted:password]");
  EXPECT_EQ(built_in().redact("Bearer x", "http.request.header.authorization"), "[redacted:authorization]");
  EXPECT_EQ(built_in().redact("a=1; b=2", "cookie"), "[redacted:cookie]");
  EXPECT_EQ(built_in().redact("x", "x-api-key"), "[redacted:secret]");
  EXPECT_EQ(built_in().redact("12345678", "bank.account_number"), "[redacted:bank-account]");
  EXPECT_EQ(built_in().redact("ACME-12", "crm.account_number"), "ACME-12");
  EXPECT_EQ(built_in().redact("", "password"), "");
  EXPECT_EQ(built_in().redact("null", "password"), "null");
  EXPECT_EQ(built_in().redact("[redacted:password]", "password"), "[redacted:password]");
  EXPECT_EQ(built_in().redact("[redacted:email]", "password"), "[redacted:email]");
  EXPECT_EQ(built_in().redact("[redacted:hunter2]", "password"), "[redacted:password]");
}

TEST(PaymentCard, IsKnownByIssuerLengthAndCheckDigit) {
  for (const std::uint64_t number : {4111111111111111ULL, 5555555555554444ULL, 2223003122003222ULL, 378282246310005ULL,
                                     6011111111111117ULL, 3530111333300000ULL, 6200000000000005ULL, 4222222222222ULL}) {
    EXPECT_TRUE(is_payment_card(number)) << number;
  }
  for (const std::uint64_t number :
       {0ULL, 4111111111111112ULL, 1763765032123ULL, 1763765032123456789ULL, 9999999999999995ULL, 4000000000000000ULL,
        411111111111ULL, 18446744073709551615ULL, 7301234567890123456ULL}) {
    EXPECT_FALSE(is_payment_card(number)) << number;
  }
}

TEST(PaymentCard, NoMomentOfThisCenturyIsOne) {
  // Epoch milliseconds, microseconds and nanoseconds begin with digits that no issuer has at these lengths.
  std::uint64_t seconds = 1'000'000'000;
  for (int i = 0; i < 200'000; ++i, seconds += 5'477) {
    ASSERT_FALSE(is_payment_card(seconds * 1'000 + static_cast<std::uint64_t>(i % 1'000)));
    ASSERT_FALSE(is_payment_card(seconds * 1'000'000 + static_cast<std::uint64_t>(i)));
    ASSERT_FALSE(is_payment_card(seconds * 1'000'000'000 + static_cast<std::uint64_t>(i)));
  }
}

TEST(Iban, IsKnownByCountryLengthAndRemainder) {
  for (const char* iban : {"DE89370400440532013000", "GB82 WEST 1234 5698 7654 32", "NO9386011117947",
                           "MT84MALT011000012345MTLCAST001S", "fr1420041010050500013m02606"}) {
    EXPECT_EQ(iban_length(iban), std::string_view(iban).size()) << iban;
  }
  for (const char* text : {"DE89370400440532013001", "XX89370400440532013000", "DE8937040044053201300", "DE89",
                           "DE893704004405320130000", "GB82 WEST 12345698 7654 32"}) {
    EXPECT_EQ(iban_length(text), 0U) << text;
  }
}

TEST(CustomRule, MasksWithItsNameUnlessToldOtherwise) {
  EXPECT_EQ(redact_with({{"badge", "B-[0-9]{4}", ""}}, "by B-1234."), "by [redacted:badge].");
  EXPECT_EQ(redact_with({{"badge", "(B-)[0-9]{4}", "\\1####"}}, "by B-1234."), "by B-####.");
  EXPECT_EQ(redact_with({{"badge", "^[0-9]{3}$", "n"}}, "123"), "n");
  EXPECT_EQ(redact_with({{"badge", "^[0-9]{3}$", "n"}}, "1234"), "1234");
}

TEST(CustomRule, MatchesWhereThereIsNoWordToSearchFor) {
  EXPECT_EQ(redact_with({{"two", "[a-f][0-9]", "_"}}, "a1"), "_");
  EXPECT_EQ(redact_with({{"umlaut", "[äöü]+", "~"}}, "schön"), "sch~n");
  EXPECT_EQ(redact_with({{"any-case", "(?i)geheim", "~"}}, "ein GeHeIm hier"), "ein ~ hier");
  EXPECT_EQ(redact_with({{"either", "foo|barbaz|[0-9]z", "~"}}, "9z foo barbaz"), "~ ~ ~");
}

TEST(CustomRule, IsRefusedWithItsName) {
  const auto refused = [](std::vector<Rule> rules) {
    const auto redactor = Redactor::compile(rules);
    return !redactor && redactor.error().code() == ErrorCode::kInvalidArgument &&
           (rules.front().name.empty() || redactor.error().message().contains(rules.back().name));
  };
  EXPECT_TRUE(refused({{"open", "a(b", ""}}));
  EXPECT_TRUE(refused({{"empty", "", ""}}));
  EXPECT_TRUE(refused({{"nothing", "a*", ""}}));
  EXPECT_TRUE(refused({{"group", "a(b)", "\\2"}}));
  EXPECT_TRUE(refused({{"email", "abc", ""}})) << "the name of a built-in rule";
  EXPECT_TRUE(refused({{"twice", "abc", ""}, {"twice", "abd", ""}}));
  EXPECT_TRUE(refused({{"Bad Name", "abc", ""}}));
  EXPECT_TRUE(refused({{"grows", "ab", "abab"}}));
  EXPECT_TRUE(refused({{"long", std::string(kPatternBytesMax + 1, 'a'), ""}}));
  EXPECT_FALSE(Redactor::compile(std::vector<Rule>(kCustomRulesMax + 1, Rule{"a", "b", ""})));
  const auto redactor = Redactor::compile(std::vector<Rule>{{"open", "ab[c", ""}});
  EXPECT_TRUE(redactor.error().message().contains("position 2")) << redactor.error().message();
}

TEST(CustomRule, ThatFeedsOnItsOutputEndsInAWholeMask) {
  EXPECT_EQ(redact_with({{"feeds", "(x+)y", "\\1\\1y"}}, "axyb"), "[redacted:unstable]");
}

TEST(CustomRule, HasABoundedReplacementAndABoundedPattern) {
  EXPECT_TRUE(Redactor::compile(std::vector<Rule>{{"fits", "a", std::string(256, 'b')}}));
  const auto long_one = Redactor::compile(std::vector<Rule>{{"long", "a", std::string(257, 'b')}});
  ASSERT_FALSE(long_one);
  EXPECT_TRUE(long_one.error().message().contains("256 bytes")) << long_one.error().message();
  const auto large = Redactor::compile(std::vector<Rule>{{"large", "(\\p{L}{1,100}){1,10}", ""}});
  ASSERT_FALSE(large);
  EXPECT_TRUE(large.error().message().contains("too large")) << large.error().message();
  EXPECT_EQ(Redactor::compile(std::vector<Rule>{{"fits", "a", ""}}, [] { return true; }).error().code(),
            ErrorCode::kDeadlineExceeded);
  EXPECT_TRUE(Redactor::compile(std::vector<Rule>{{"names", "(?i)\\b(\\p{Lu}\\p{L}{2,30}) (von|van|de) \\p{L}+", ""}}));
}

TEST(CustomRule, ThatMultipliesTheTextEndsInAWholeMask) {
  const std::string text(20'000, 'a');
  EXPECT_EQ(redact_with({{"grows", "a", std::string(200, 'b')}}, text), "[redacted:unstable]");
  EXPECT_EQ(redact_with({{"echo", "(?s)b.*", "\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0"}}, "b" + text), "[redacted:unstable]");
  EXPECT_EQ(redact_with({{"longer", "a", "bbbb"}}, text), std::string(80'000, 'b')) << "within the bound";
}

TEST(Scan, StopsWhenItIsToldTo) {
  const auto redactor = Redactor::compile(std::vector<Rule>{{"letter", "[a-z]", "_"}}).value();
  Scratch scratch;
  std::vector<Finding> findings;
  RuleCounts counts;
  const std::string text(1'000, 'a');
  const Redactor::Subject subject{text, ""};
  int asked = 0;
  EXPECT_FALSE(redactor->try_scan({&subject, 1}, scratch, findings, counts, [&] { return ++asked == 100; }));
  EXPECT_EQ(asked, 100);
  // The scratch is as good as new.
  findings.clear();
  EXPECT_TRUE(redactor->try_scan({&subject, 1}, scratch, findings, counts, [] { return false; }));
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].replacement, std::string(1'000, '_'));
}

TEST(Scan, ReportsEachChangedStringOnceInOrder) {
  Scratch scratch;
  std::vector<Finding> findings;
  RuleCounts counts;
  const std::vector<Redactor::Subject> subjects = {{"clean", ""},
                                                   {"jane@example.com and bob@example.com", ""},
                                                   {"", ""},
                                                   {"hunter2", "password"},
                                                   {"/api/v1/x", "http.route"},
                                                   {"password=a jane@example.com", ""}};
  built_in().scan(subjects, scratch, findings, counts);
  ASSERT_EQ(findings.size(), 3U);
  EXPECT_EQ(findings[0].index, 1U);
  EXPECT_EQ(findings[0].replacement, "j***@example.com and b***@example.com");
  EXPECT_EQ(findings[1].index, 3U);
  EXPECT_EQ(findings[1].replacement, "[redacted:password]");
  EXPECT_EQ(findings[2].index, 5U);
  EXPECT_EQ(findings[2].replacement, "password=[redacted:password] j***@example.com");
  const auto count_of = [&](std::string_view rule) {
    const auto names = built_in().rule_names();
    return counts[static_cast<std::size_t>(std::ranges::find(names, rule) - names.begin())];
  };
  EXPECT_EQ(count_of("email"), 3U);
  EXPECT_EQ(count_of("password"), 2U);
  EXPECT_EQ(count_of("jwt"), 0U);
}

TEST(Scan, FindsNothingAcrossTheBorderOfTwoStrings) {
  Scratch scratch;
  std::vector<Finding> findings;
  RuleCounts counts;
  const std::vector<Redactor::Subject> subjects = {
      {"password", ""}, {"=hunter2", ""},        {"jane", ""}, {"@example.com", ""},
      {"41111111", ""}, {"11111111", ""},        {"AKIA", ""}, {"IOSFODNN7EXAMPLE", ""},
      {"Bearer ", ""},  {"abcdef0123456789", ""}};
  built_in().scan(subjects, scratch, findings, counts);
  EXPECT_TRUE(findings.empty()) << findings.front().replacement;
}

TEST(Scan, FindsSecretsOnBothSidesOfEveryBatchBorder) {
  Scratch scratch;
  std::vector<Finding> findings;
  RuleCounts counts;
  // Lengths that put the strings at every offset of a batch and of a 64-byte block.
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < 6'000; ++i)
    texts.push_back(std::string(i % 131, '.') + " 4111111111111111 jane@example.com");
  std::vector<Redactor::Subject> subjects;
  for (const std::string& text : texts) subjects.push_back({text, ""});
  built_in().scan(subjects, scratch, findings, counts);
  ASSERT_EQ(findings.size(), texts.size());
  for (std::size_t i = 0; i < texts.size(); ++i) {
    ASSERT_EQ(findings[i].replacement, std::string(i % 131, '.') + " [redacted:payment-card] j***@example.com");
  }
}

TEST(Scan, HandlesAStringLargerThanABatch) {
  const std::string padding(300'000, 'x');
  EXPECT_EQ(built_in().redact(padding + " password=hunter2 " + padding),
            padding + " password=[redacted:password] " + padding);
}

TEST(Scan, OneScratchServesManyRedactors) {
  Scratch scratch;
  for (const char* pattern : {"abc[0-9]", "[0-9]+x"}) {
    const auto redactor = Redactor::compile(std::vector<Rule>{{"own", pattern, "~"}}).value();
    std::vector<Finding> findings;
    RuleCounts counts;
    const Redactor::Subject subject{"abc1 22x", ""};
    redactor->scan({&subject, 1}, scratch, findings, counts);
    ASSERT_EQ(findings.size(), 1U);
  }
}

TEST(Scan, MayRunOnManyThreadsAtOnce) {
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([] {
      Scratch scratch;
      for (int i = 0; i < 200; ++i) {
        std::vector<Finding> findings;
        RuleCounts counts;
        const Redactor::Subject subjects[] = {{"token=abcdef", ""}, {"jane@example.com", ""}};
        built_in().scan(subjects, scratch, findings, counts);
        ASSERT_EQ(findings.size(), 2U);
      }
    });
  }
}

// What the tables of cases, one line each, cannot hold.
TEST(Text, OfSeveralLinesIsMaskedTheSame) {
  EXPECT_EQ(built_in().redact("card:\n4111\n1111\n1111\n1111\nend"), "card:\n[redacted:payment-card]\nend");
  const std::string_view column = "4111\n1111\n1111\n1111\n1111\n";
  EXPECT_EQ(built_in().redact(column), column);
  EXPECT_EQ(built_in().redact("Content-Disposition: form-data; name=\"password\"\r\n\r\nhunter2\r\n--b--"),
            "Content-Disposition: form-data; name=\"password\"\r\n\r\n[redacted:password]\r\n--b--");
  EXPECT_EQ(built_in().redact("{\n  \"password\": {\n    \"v\": \"hunter2\"\n  }\n}"),
            "{\n  \"password\": {\n    \"v\": \"[redacted:password]\"\n  }\n}");
  EXPECT_EQ(built_in().redact("Private-Lines: 14\nAAAAgQDk\nb3Blbg==\nPrivate-MAC: 0a1b"),
            "Private-Lines: 14\n[redacted:private-key]Private-MAC: 0a1b");
}

TEST(Text, HostileRepetitionTakesLinearTime) {
  // Each of these makes a matcher that looks back or ahead without bound take minutes.
  for (const char* piece : {"a@",
                            "://a:b@",
                            "password=",
                            "password=\"",
                            "-----BEGIN PRIVATE KEY-----",
                            "eyJ",
                            "Bearer ",
                            "4111 ",
                            "token=[redacted:secret]",
                            "%25",
                            "\\\\\\\"",
                            "cookie: ",
                            "AKIA",
                            "a@b.",
                            "<token>",
                            "password:{",
                            "password {a:",
                            "secret:[1,",
                            "\"a\"@",
                            "form-data;name=pwd",
                            "mysql -p",
                            "Private-Lines:",
                            "LS0tLS1CRUdJTi",
                            "\\u0070pw=",
                            "&#64;",
                            "pw&quot;:&quot;",
                            "\"pwd\",\"value\":",
                            "password=a,",
                            "AC0123456789abcdef0123456789abcdef:"}) {
    std::string text;
    while (text.size() < 200'000) text += piece;
    // Processor time, so that a busy machine does not fail it; what is not linear takes tens of seconds.
    const std::clock_t start = std::clock();
    const std::string once = built_in().redact(text);
    EXPECT_LT(static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC, 5.0) << piece;
    ASSERT_EQ(built_in().redact(once), once) << piece;
  }
}

}  // namespace
}  // namespace fettle::redact
