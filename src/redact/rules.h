// The built-in rules as data: names, the formats that are told by a fixed prefix, and the prefilter expressions.
//
// Internal to the room. A format told by its prefix is one row of kTokenFormats, from which both the prefilter
// expression and the exact matcher come, so that the two cannot drift apart.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace fettle::redact {

// The order is the order of rule_names(); counters are reported by name, so rows may move.
enum RuleId : std::uint16_t {
  kPrivateKey,
  kJwt,
  kBearerToken,
  kBasicAuth,
  kAuthorization,
  kCookie,
  kPassword,
  kUrlPassword,
  kOAuthToken,
  kOAuthCode,
  kSecret,
  kSignedUrl,
  kPaymentCard,
  kIban,
  kBankAccount,
  kEmail,
  kAnthropicKey,
  kOpenAiKey,
  kGoogleApiKey,
  kGoogleOAuth,
  kAwsAccessKeyId,
  kAwsSecretKey,
  kAzureKey,
  kGitHubToken,
  kGitLabToken,
  kSlackToken,
  kWebhookUrl,
  kStripeKey,
  kTwilioKey,
  kSendGridKey,
  kMailgunKey,
  kNpmToken,
  kPyPiToken,
  kHuggingFaceToken,
  kGroqKey,
  kXaiKey,
  kTelegramToken,
  kDiscordToken,
  kShopifyToken,
  kDigitalOceanToken,
  kHerokuKey,
  kDatabricksToken,
  kVaultToken,
  kMetaToken,
  kServiceToken,
  kFettleToken,
  kUnstable,
  kBuiltInRuleCount,
};

std::string_view rule_name(RuleId rule);
// "[redacted:<name>]", or "***" for e-mail addresses, whose first character and domain stay.
std::string_view mask_of(RuleId rule);

// Which characters follow a format's prefix.
enum class Alphabet : std::uint8_t { kAlnum, kWord, kWordDots, kHexLower, kHex, kUpperDigits, kPath };

struct TokenFormat {
  RuleId rule;
  std::string_view prefix;
  Alphabet alphabet;
  std::uint16_t length_min;  // of what follows the prefix
  bool exact = false;        // exactly length_min, and no more of the alphabet behind it
  bool boundary = false;     // the prefix is short: it must not continue a word
  bool digit = false;        // must hold a digit, or it is prose with dashes
  bool keep_prefix = false;  // mask only what follows (addresses of webhooks)
};
std::span<const TokenFormat> token_formats();
bool in_alphabet(Alphabet alphabet, char c);

// Which exact matcher a prefilter hit asks for. Token formats follow from kFirstTokenFormat on.
enum Detector : std::uint16_t {
  kDetectKeyValue,
  kDetectBearer,
  kDetectBasic,
  kDetectJwt,
  kDetectPrivateKey,
  kDetectAt,  // e-mail addresses and passwords in URLs
  kDetectTelegram,
  kDetectTwilioPair,
  kDetectAwsSecret,
  kDetectAzureClientSecret,
  kDetectCard,
  kDetectIban,
  kDetectDiscord,
  kDetectStatement,
  kDetectCurl,
  kDetectMysql,
  kDetectForm,
  kFirstTokenFormat,
};

struct Prefilter {
  Detector detector;
  std::string_view expression;  // Vectorscan syntax; must not be able to match a zero byte
  bool caseless = false;
};
std::span<const Prefilter> prefilters();

}  // namespace fettle::redact
