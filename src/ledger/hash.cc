#include "ledger/hash.h"

// The interface of before OpenSSL 3, which its headers otherwise call old: a context on the stack and no provider in
// between. A record is four hashes of 65 to 600 bytes, and for the short ones the other way costs half as much again.
#define OPENSSL_API_COMPAT 0x10100000L
#include <openssl/sha.h>

#include <cstring>

#include "core/ids.h"

namespace fettle::ledger {

Digest sha256(std::initializer_list<std::string_view> parts) {
  SHA256_CTX context;
  Digest digest{};
  // None of these can fail on memory that is there.
  SHA256_Init(&context);
  for (const std::string_view part : parts) SHA256_Update(&context, part.data(), part.size());
  SHA256_Final(digest.data(), &context);
  return digest;
}

std::string to_hex(const Digest& digest) { return fettle::to_hex(bytes_of(digest)); }

std::optional<Digest> digest_of_bytes(std::string_view bytes) {
  Digest digest{};
  if (bytes.size() != digest.size()) return std::nullopt;
  std::memcpy(digest.data(), bytes.data(), digest.size());
  return digest;
}

std::optional<Digest> digest_of_hex(std::string_view hex) {
  Digest digest{};
  if (hex.size() != 2 * digest.size()) return std::nullopt;
  const auto value = [](char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; };
  for (std::size_t i = 0; i < digest.size(); ++i) {
    const int high = value(hex[2 * i]);
    const int low = value(hex[2 * i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    digest[i] = static_cast<unsigned char>(high << 4 | low);
  }
  return digest;
}

}  // namespace fettle::ledger
