#include "redact/matchers.h"

#include <algorithm>

#include "redact/bytes.h"

namespace fettle::redact {

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
    case kDetectStatement: return match_statement(text, spans);
    case kDetectCurl: return match_curl(text, spans);
    case kDetectMysql: return match_mysql(text, spans);
    case kDetectForm: return match_form(text, spans);
    case kDetectDiscord: return match_discord(text.bytes, spans);
    default: return match_token_format(token_formats()[detector - kFirstTokenFormat], text.bytes, spans);
  }
}

}  // namespace fettle::redact
