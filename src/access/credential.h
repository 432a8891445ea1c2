// What Fettle hands out to be shown again later: tokens of programs, sessions of browsers, one-time links.
//
//   const std::string token = make_credential(CredentialKind::kToken, rng);   // "fettle_t_" and 49 letters and digits
//   store(sha256_of(token));                                                  // never the token itself
//
// The prefix names it as Fettle's (redaction masks it wherever it turns up) and says what it is, so that one kind can
// never pass for another. 43 characters of base 62 carry 256 bits; six more are a check sum, which tells a credential
// that was cut, mistyped or made up from a real one without asking the store. It protects nothing.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "core/rng.h"

namespace fettle::access {

enum class CredentialKind : std::uint8_t { kToken, kSession, kLink };

// `rng` must be fit for secrets.
std::string make_credential(CredentialKind kind, Rng& rng);

// The kind of a well-formed credential; none for any other text.
std::optional<CredentialKind> kind_of(std::string_view credential);

// What is stored in a credential's place, and looked up by. Who can choose a credential cannot choose its digest, so
// the time that a look-up takes says nothing about the digests that are known.
using Digest = std::array<unsigned char, 32>;
Digest sha256_of(std::string_view text);
std::string_view bytes_of(const Digest& digest);

// "usr_" and 20 random letters and digits: the identifier of a thing, no secret.
std::string make_identifier(std::string_view prefix, Rng& rng);

struct DigestHash {
  std::size_t operator()(const Digest& digest) const noexcept;
};

}  // namespace fettle::access
