// Numbers of money that prove themselves by a check digit: payment cards, IBANs, US routing numbers. Internal.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace fettle::redact {

// `digits` holds digits alone. 13 to 19 of them, of a known issuer's range and length, with a valid check digit.
//
// Lengths are those that are issued, not all that the ranges allow: numbers of 17 to 19 digits are what platforms use
// as ids, and one in ten passes the check digit.
bool is_card_digits(std::string_view digits);
// Reads a card at the start of `text`: digits together or in groups (4-4-4-4, 4-6-5, 4-6-4, 4-4-4-4-3) with
// one kind of separator (space, '-', '+', '%20') throughout. Returns its length in bytes or 0. Does not look at what
// stands before.
std::size_t card_length(std::string_view text);
// Reads an IBAN at the start of `text`: country and length known, mod 97 = 1, together or in groups of four.
std::size_t iban_length(std::string_view text);
// Digits with single spaces or dashes: 6 to 17 of them.
bool is_bank_account_text(std::string_view text);

}  // namespace fettle::redact
