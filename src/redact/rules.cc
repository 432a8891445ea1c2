#include "redact/rules.h"

#include <array>
#include <string>

namespace fettle::redact {
namespace {

constexpr std::array<std::string_view, kBuiltInRuleCount> kNames = {
    "private-key",    "jwt",
    "bearer-token",   "basic-auth",
    "authorization",  "cookie",
    "password",       "url-password",
    "oauth-token",    "oauth-code",
    "secret",         "signed-url",
    "payment-card",   "iban",
    "bank-account",   "email",
    "anthropic-key",  "openai-key",
    "google-api-key", "google-oauth",
    "aws-access-key", "aws-secret-key",
    "azure-key",      "github-token",
    "gitlab-token",   "slack-token",
    "webhook-url",    "stripe-key",
    "twilio-key",     "sendgrid-key",
    "mailgun-key",    "npm-token",
    "pypi-token",     "huggingface-token",
    "groq-key",       "xai-key",
    "telegram-token", "discord-token",
    "shopify-token",  "digitalocean-token",
    "heroku-key",     "databricks-token",
    "vault-token",    "meta-token",
    "service-token",  "fettle-token",
    "unstable",
};

using enum Alphabet;

// Ordered by rule, longer prefixes of one family first only for the reader: overlaps are merged later.
constexpr TokenFormat kTokenFormats[] = {
    {kAnthropicKey, "sk-ant-", kWord, 16},
    {kOpenAiKey, "sk-proj-", kWord, 20},
    {kOpenAiKey, "sk-svcacct-", kWord, 20},
    {kOpenAiKey, "sk-admin-", kWord, 20},
    // Also DeepSeek and others that copied the format. Without dashes, or every "task-…" of prose were one.
    {kOpenAiKey, "sk-", kAlnum, 20, false, true, true},
    {kGoogleApiKey, "AIza", kWord, 30},
    {kGoogleOAuth, "ya29.", kWordDots, 20},
    {kGoogleOAuth, "GOCSPX-", kWord, 20},
    {kGoogleOAuth, "1//0", kWord, 30, false, true},
    {kAwsAccessKeyId, "AKIA", kUpperDigits, 16, true, true},
    {kAwsAccessKeyId, "ASIA", kUpperDigits, 16, true, true},
    {kAwsAccessKeyId, "ABSK", kAlnum, 60, false, true},
    {kGitHubToken, "ghp_", kAlnum, 30},
    {kGitHubToken, "gho_", kAlnum, 30},
    {kGitHubToken, "ghu_", kAlnum, 30},
    {kGitHubToken, "ghs_", kAlnum, 30},
    {kGitHubToken, "ghr_", kAlnum, 30},
    {kGitHubToken, "github_pat_", kWord, 22},
    {kGitLabToken, "glpat-", kWord, 20},
    {kGitLabToken, "gldt-", kWord, 20},
    {kGitLabToken, "glrt-", kWord, 20},
    {kGitLabToken, "glcbt-", kWord, 20},
    {kGitLabToken, "glptt-", kWord, 20},
    {kGitLabToken, "gloas-", kWord, 20},
    {kSlackToken, "xoxa-", kWord, 10, false, false, true},
    {kSlackToken, "xoxb-", kWord, 10, false, false, true},
    {kSlackToken, "xoxp-", kWord, 10, false, false, true},
    {kSlackToken, "xoxr-", kWord, 10, false, false, true},
    {kSlackToken, "xoxs-", kWord, 10, false, false, true},
    {kSlackToken, "xoxe-", kWord, 10, false, false, true},
    {kSlackToken, "xoxe.", kWordDots, 20, false, false, true},
    {kSlackToken, "xapp-", kWord, 20, false, false, true},
    {kWebhookUrl, "hooks.slack.com/services/", kPath, 16, false, false, false, true},
    {kWebhookUrl, "hooks.slack.com%2Fservices%2F", kPath, 16, false, false, false, true},
    {kWebhookUrl, "hooks.slack.com/workflows/", kPath, 16, false, false, false, true},
    {kWebhookUrl, "hooks.slack.com/triggers/", kPath, 16, false, false, false, true},
    {kWebhookUrl, "discord.com/api/webhooks/", kPath, 16, false, false, false, true},
    {kWebhookUrl, "discordapp.com/api/webhooks/", kPath, 16, false, false, false, true},
    {kWebhookUrl, "webhook.office.com/webhookb2/", kPath, 16, false, false, false, true},
    {kStripeKey, "sk_live_", kAlnum, 10},
    {kStripeKey, "sk_test_", kAlnum, 10},
    {kStripeKey, "rk_live_", kAlnum, 10},
    {kStripeKey, "rk_test_", kAlnum, 10},
    {kStripeKey, "whsec_", kAlnum, 20},
    {kTwilioKey, "SK", kHexLower, 32, true, true},
    {kSendGridKey, "SG.", kWordDots, 40, false, true},
    {kMailgunKey, "key-", kHexLower, 32, true, true},
    {kNpmToken, "npm_", kAlnum, 30, false, true},
    {kPyPiToken, "pypi-", kWord, 50, false, true},
    {kHuggingFaceToken, "hf_", kAlnum, 30, false, true},
    {kGroqKey, "gsk_", kAlnum, 30, false, true},
    {kXaiKey, "xai-", kAlnum, 40, false, true},
    {kShopifyToken, "shpat_", kHex, 32},
    {kShopifyToken, "shpca_", kHex, 32},
    {kShopifyToken, "shppa_", kHex, 32},
    {kShopifyToken, "shpss_", kHex, 32},
    {kDigitalOceanToken, "dop_v1_", kHexLower, 40},
    {kDigitalOceanToken, "doo_v1_", kHexLower, 40},
    {kDigitalOceanToken, "dor_v1_", kHexLower, 40},
    {kHerokuKey, "HRKU-", kWord, 30},
    {kDatabricksToken, "dapi", kHexLower, 32, false, true},
    {kVaultToken, "hvs.", kWord, 20, false, true},
    {kVaultToken, "hvb.", kWord, 20, false, true},
    {kVaultToken, "hvr.", kWord, 20, false, true},
    {kMetaToken, "EAA", kAlnum, 40, false, true, true},
    {kMetaToken, "IGQ", kWord, 60, false, true, true},
    {kServiceToken, "sk-or-v1-", kHexLower, 40},
    {kServiceToken, "pplx-", kAlnum, 40},
    {kServiceToken, "r8_", kAlnum, 36, false, true},
    {kServiceToken, "lin_api_", kAlnum, 32},
    {kServiceToken, "ntn_", kAlnum, 40, false, true},
    {kServiceToken, "secret_", kAlnum, 43, true, true},
    {kServiceToken, "figd_", kWord, 30, false, true},
    {kServiceToken, "glsa_", kWord, 32, false, true},
    {kServiceToken, "sntrys_", kWord, 40},
    {kServiceToken, "NRAK-", kUpperDigits, 27},
    {kServiceToken, "PMAK-", kWord, 50},
    {kServiceToken, "sq0atp-", kWord, 22},
    {kServiceToken, "sq0csp-", kWord, 40},
    {kServiceToken, "dckr_pat_", kWord, 20},
    {kServiceToken, "sbp_", kHexLower, 40, false, true},
    {kServiceToken, "sb_secret_", kWord, 20},
    {kServiceToken, "dp.pt.", kAlnum, 40, false, true},
    {kServiceToken, "ATATT3", kWord, 50, false, true},
    {kServiceToken, "AGE-SECRET-KEY-1", kUpperDigits, 50},
    // Our own: tokens, sessions and one-time links, as src/access makes them.
    {kFettleToken, "fettle_t_", kAlnum, 40},
    {kFettleToken, "fettle_s_", kAlnum, 40},
    {kFettleToken, "fettle_l_", kAlnum, 40},
};

// A key's end, what may close it (quotes at any depth of escaping, brackets, both also percent-encoded), and the sign
// that gives it a value. keys.cc decides what is a secret key; every ending it knows must be here.
#define FETTLE_KEY_TAIL                                                                \
  "[0-9]{0,2}(?:[\\\\\"'`\\])]|%(?:25)*(?:22|27|5[cd])|&(?:quot|apos|#3[49]);){0,8}[ " \
  "\\t]{0,8}(?:[:=>,{]|%(?:25)*3[ade])"

constexpr Prefilter kPrefilters[] = {
    {kDetectKeyValue,
     "(?:pass|pass[_. -]?(?:word(?:[_. "
     "-]?(?:confirm|confirmation|hash))?|wd|phrase|code)s?|pwd|secrets?|tokens?|authorization|cookies?|credentials?|"
     "(?:api|secret|access|private|signing|encryption|master|account|auth|shared|subscription|functions|storage|"
     "service|role|session|ssh|webhook)[_. -]?keys?|jwt|pw|cvv2?|cvc2?|ssn|otp|assertion|saml[_. -]?response|"
     "(?:routing|account|bank|card)[_. -]?(?:number|no|account)|sort[_. -]?code)" FETTLE_KEY_TAIL,
     true},
    // A letter of a key written as an escape, which no encoder does for itself.
    {kDetectKeyValue, "\\\\u00(?:[46][1-9a-f]|[57][0-9a])", true},
    {kDetectForm, "form-data;", true},
    // Names that mean a secret only in a query string.
    {kDetectKeyValue, "(?:[?&;]|%(?:25)*(?:26|3f)|u0026)(?:sig|signature|code)(?:=|%(?:25)*3d)", true},
    {kDetectKeyValue, "x-(?:amz|goog)-signature(?:=|%(?:25)*3d)", true},
    {kDetectKeyValue, "authorization_code", true},
    {kDetectKeyValue, "--[a-z0-9-]{0,32}(?:password|passwd|token|secret|key)(?: |%(?:25)*20)", true},
    {kDetectStatement, "identified[ ]{1,4}by[ ]{1,4}", true},
    {kDetectStatement, "password[ ]{1,4}\\\\{0,3}'", true},
    {kDetectStatement, "password[ ]{1,4}for[ ]", true},
    {kDetectCurl, "curl [^\\x00]{0,256}(?:-u|-U|--user|--proxy-user)[ =]"},
    {kDetectMysql, "(?:mysql|mariadb)(?:dump|admin|import|check|slap)?[ ]"},
    {kDetectBearer, "bearer(?:[ \\t:+]|%(?:25)*(?:20|3a))", true},
    {kDetectBasic, "basic(?:[ \\t:+]|%(?:25)*(?:20|3a))", true},
    {kDetectJwt, "eyJ[A-Za-z0-9_-]{8}[A-Za-z0-9_-]*\\.[A-Za-z0-9_-]{8}"},
    {kDetectPrivateKey, "-----BEGIN[A-Z0-9 +%]{0,48}PRIVATE"},
    {kDetectPrivateKey, "Private-Lines:"},
    {kDetectPrivateKey, "LS0tLS1CRUdJTi"},  // -----BEGIN in base64
    {kDetectAt, "%(?:25)*40"},
    {kDetectAt, "&(?:#64|#x40|commat);", true},
    {kDetectAt, "\\xef\\xbc\\xa0"},  // the at sign of full width
    {kDetectAt, "\\\\u0040"},
    {kDetectTelegram, "[0-9](?::|%(?:25)*3[aA])AA[A-Za-z0-9_-]{16}"},
    {kDetectTwilioPair, "AC[0-9a-f]{32}[^0-9a-zA-Z\\x00]"},
    {kDetectAwsSecret, "(?:AKIA|ASIA)[A-Z0-9]{16}"},
    {kDetectAwsSecret, "aws[a-z0-9_. -]{0,16}secret", true},
    {kDetectAzureClientSecret, "[0-9]Q~[A-Za-z0-9_.~-]{16}"},
    {kDetectIban, "[A-Za-z]{2}[0-9]{2}%20[A-Za-z0-9]{4}%20[A-Za-z0-9]{4}"},
    {kDetectCard, "%20[2-6][0-9]{3}(?:[ +-]|%20)?[0-9]{4}"},
    // No-break and thin blanks and dashes between groups.
    {kDetectCard,
     "[2-6][0-9]{3}(?:\\xc2\\xa0|\\xe2\\x80[\\x89\\x91\\x93\\xaf])[0-9]{4,6}(?:\\xc2\\xa0|\\xe2\\x80["
     "\\x89\\x91\\x93\\xaf])[0-9]{"
     "4}"},
    {kDetectCard, "[2-6][0-9]{3}%20[0-9]{4,6}%20[0-9]{4}"},
};

constexpr bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
constexpr bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

std::string_view rule_name(RuleId rule) { return kNames[rule]; }

std::string_view mask_of(RuleId rule) {
  static const std::array<std::string, kBuiltInRuleCount> masks = [] {
    std::array<std::string, kBuiltInRuleCount> all;
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = "[redacted:" + std::string(kNames[i]) + "]";
    all[kEmail] = "***";
    return all;
  }();
  return masks[rule];
}

std::span<const TokenFormat> token_formats() { return kTokenFormats; }
std::span<const Prefilter> prefilters() { return kPrefilters; }

bool in_alphabet(Alphabet alphabet, char c) {
  const bool alnum = is_lower(c) || is_upper(c) || is_digit(c);
  switch (alphabet) {
    case kAlnum: return alnum;
    case kWord: return alnum || c == '_' || c == '-';
    case kWordDots: return alnum || c == '_' || c == '-' || c == '.';
    case kHexLower: return is_digit(c) || (c >= 'a' && c <= 'f');
    case kHex: return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
    case kUpperDigits: return is_upper(c) || is_digit(c);
    case kPath: return alnum || c == '_' || c == '-' || c == '/' || c == '%' || c == '@' || c == '.';
  }
  return false;
}

}  // namespace fettle::redact
