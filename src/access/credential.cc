#include "access/credential.h"

#include <openssl/sha.h>
#include <zlib.h>

#include <algorithm>
#include <cstring>

namespace fettle::access {
namespace {

constexpr std::string_view kAlphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
constexpr std::size_t kRandomChars = 43;  // 62^43 > 2^256
constexpr std::size_t kCheckChars = 6;    // 62^6 > 2^32
constexpr std::size_t kIdentifierChars = 20;

struct Prefix {
  CredentialKind kind;
  std::string_view text;
};
constexpr Prefix kPrefixes[] = {{CredentialKind::kToken, "fettle_t_"},
                                {CredentialKind::kSession, "fettle_s_"},
                                {CredentialKind::kLink, "fettle_l_"}};

// Each character equally likely: bytes past the last whole multiple of 62 are drawn again.
std::string random_chars(std::size_t count, Rng& rng) {
  constexpr unsigned kUsable = 256 / 62 * 62;
  std::string out;
  while (out.size() < count) {
    for (const char byte : rng.bytes(64)) {
      const auto value = static_cast<unsigned char>(byte);
      if (value < kUsable && out.size() < count) out += kAlphabet[value % kAlphabet.size()];
    }
  }
  return out;
}

std::string check_of(std::string_view text) {
  std::uint64_t sum = crc32(0, reinterpret_cast<const Bytef*>(text.data()), static_cast<uInt>(text.size()));
  std::string out(kCheckChars, '0');
  for (auto c = out.rbegin(); c != out.rend(); ++c, sum /= kAlphabet.size()) *c = kAlphabet[sum % kAlphabet.size()];
  return out;
}

}  // namespace

std::string make_credential(CredentialKind kind, Rng& rng) {
  std::string out(std::ranges::find(kPrefixes, kind, &Prefix::kind)->text);
  out += random_chars(kRandomChars, rng);
  return out + check_of(out);
}

std::optional<CredentialKind> kind_of(std::string_view credential) {
  for (const Prefix& prefix : kPrefixes) {
    if (!credential.starts_with(prefix.text)) continue;
    if (credential.size() != prefix.text.size() + kRandomChars + kCheckChars) return std::nullopt;
    const std::string_view checked = credential.substr(0, credential.size() - kCheckChars);
    if (credential.substr(checked.size()) != check_of(checked)) return std::nullopt;
    return prefix.kind;
  }
  return std::nullopt;
}

Digest sha256_of(std::string_view text) {
  Digest digest{};
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  return digest;
}

std::string_view bytes_of(const Digest& digest) {
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

std::string make_identifier(std::string_view prefix, Rng& rng) {
  return std::string(prefix) + random_chars(kIdentifierChars, rng);
}

std::size_t DigestHash::operator()(const Digest& digest) const noexcept {
  std::size_t word = 0;
  std::memcpy(&word, digest.data(), sizeof word);
  return word;
}

}  // namespace fettle::access
