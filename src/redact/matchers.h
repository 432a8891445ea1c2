// The exact matchers: given one string that the prefilter pointed at, which bytes are masked by which rule. Internal.
//
// Pure functions over bytes; each is linear in the text but for bounded looks to the side. None looks at what another
// found: overlapping spans are merged by the caller.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "redact/rules.h"

namespace fettle::redact {

// Bytes [begin, end) of the text become `replacement`.
struct MaskSpan {
  std::size_t begin;
  std::size_t end;
  std::uint16_t rule;
  std::string_view replacement;
};

// Ranges of the text that already are masks, in order; they are neither keys nor secrets.
struct MaskRange {
  std::size_t begin;
  std::size_t end;
};

struct Text {
  std::string_view bytes;
  const std::vector<MaskRange>& masks;

  // The end of the mask that begins at `at`, or 0.
  std::size_t mask_end(std::size_t at) const;
  // True when [begin, end) lies in one mask.
  bool masked(std::size_t begin, std::size_t end) const;
};

// One matcher each; `match` below chooses.
void match_token_format(const TokenFormat& format, std::string_view text, std::vector<MaskSpan>& spans);
void match_jwt(std::string_view text, std::vector<MaskSpan>& spans);
void match_telegram(std::string_view text, std::vector<MaskSpan>& spans);
void match_discord(std::string_view text, std::vector<MaskSpan>& spans);
void match_twilio_pair(std::string_view text, std::vector<MaskSpan>& spans);
void match_aws_secret(std::string_view text, std::vector<MaskSpan>& spans);
void match_azure_client_secret(std::string_view text, std::vector<MaskSpan>& spans);
void match_private_key(std::string_view text, std::vector<MaskSpan>& spans);
void match_bearer(std::string_view text, std::vector<MaskSpan>& spans);
void match_basic(std::string_view text, std::vector<MaskSpan>& spans);
void match_statement(const Text& text, std::vector<MaskSpan>& spans);  // IDENTIFIED BY '…', PASSWORD '…'
void match_curl(const Text& text, std::vector<MaskSpan>& spans);       // curl -u user:password
void match_mysql(const Text& text, std::vector<MaskSpan>& spans);      // mysql -ppassword
void match_form(const Text& text, std::vector<MaskSpan>& spans);       // parts of multipart/form-data
void match_at(const Text& text, std::vector<MaskSpan>& spans);         // e-mail addresses, passwords in URLs
void match_card(std::string_view text, std::vector<MaskSpan>& spans);
void match_iban(std::string_view text, std::vector<MaskSpan>& spans);
void match_key_value(const Text& text, std::vector<MaskSpan>& spans);

// Runs the matcher of `detector` (or of a token format, from kFirstTokenFormat on).
void match(std::uint16_t detector, const Text& text, std::vector<MaskSpan>& spans);

// True when nothing at `at` continues a word: start of text, a separator, or the end of a percent or backslash escape.
bool at_boundary(std::string_view text, std::size_t at);

}  // namespace fettle::redact
