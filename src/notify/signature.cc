#include "notify/signature.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>

namespace fettle::notify {
namespace {

constexpr std::size_t kSecretBytes = 32;

std::string base64(std::string_view bytes) {
  std::string out((bytes.size() + 2) / 3 * 4 + 1, '\0');  // OpenSSL writes a zero behind it
  const int size =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                      reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  out.resize(static_cast<std::size_t>(size));
  return out;
}

}  // namespace

Secret make_webhook_secret(Rng& rng) { return Secret(rng.bytes(kSecretBytes)); }

std::string webhook_secret_text(const Secret& secret) { return "whsec_" + base64(secret.reveal()); }

std::string sign_webhook(std::span<const Secret> secrets, std::string_view id, std::int64_t unix_seconds,
                         std::string_view body) {
  std::string signed_bytes = fmt::format("{}.{}.", id, unix_seconds);
  signed_bytes += body;
  std::string out;
  for (const Secret& secret : secrets) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned size = 0;
    HMAC(EVP_sha256(), secret.reveal().data(), static_cast<int>(secret.reveal().size()),
         reinterpret_cast<const unsigned char*>(signed_bytes.data()), signed_bytes.size(), digest.data(), &size);
    if (!out.empty()) out += ' ';
    out += "v1," + base64({reinterpret_cast<const char*>(digest.data()), size});
  }
  return out;
}

}  // namespace fettle::notify
