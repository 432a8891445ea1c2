#include "notify/secret_box.h"

#include <fmt/format.h>
#include <sodium.h>

namespace fettle::notify {
namespace {

constexpr std::size_t kSecretBytesMin = 32;
constexpr std::string_view kDerived = "fettle-sealed-secrets-v1";  // on disk: another text is another key
constexpr std::size_t kNonceBytes = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
constexpr std::size_t kTagBytes = crypto_aead_xchacha20poly1305_ietf_ABYTES;

bool is_ready() {
  static const bool ready = sodium_init() >= 0;
  return ready;
}

const unsigned char* bytes_of(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }

}  // namespace

Result<SecretBox> SecretBox::derive(const Secret& secret) {
  if (secret.reveal().size() < kSecretBytesMin) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("the server's secret has {} bytes, at least {} are needed",
                                                         secret.reveal().size(), kSecretBytesMin));
  }
  if (!is_ready()) return fail(ErrorCode::kInternal, "libsodium does not start");
  std::string key(crypto_aead_xchacha20poly1305_ietf_KEYBYTES, '\0');
  crypto_generichash(reinterpret_cast<unsigned char*>(key.data()), key.size(), bytes_of(kDerived), kDerived.size(),
                     bytes_of(secret.reveal()), kSecretBytesMin);
  SecretBox box;
  box.key_ = Secret(std::move(key));
  return box;
}

std::string SecretBox::seal(const Secret& secret, std::string_view place, Rng& rng) const {
  std::string out = rng.bytes(kNonceBytes);
  out.resize(kNonceBytes + secret.reveal().size() + kTagBytes);
  crypto_aead_xchacha20poly1305_ietf_encrypt(reinterpret_cast<unsigned char*>(out.data()) + kNonceBytes, nullptr,
                                             bytes_of(secret.reveal()), secret.reveal().size(), bytes_of(place),
                                             place.size(), nullptr, bytes_of(out), bytes_of(key_.reveal()));
  return out;
}

Result<Secret> SecretBox::open(std::string_view sealed, std::string_view place) const {
  const auto refuse = [] {
    return fail(ErrorCode::kDataLoss, "the secret cannot be opened with this server's secret.key");
  };
  if (sealed.size() < kNonceBytes + kTagBytes) return refuse();
  std::string out(sealed.size() - kNonceBytes - kTagBytes, '\0');
  if (crypto_aead_xchacha20poly1305_ietf_decrypt(
          reinterpret_cast<unsigned char*>(out.data()), nullptr, nullptr, bytes_of(sealed) + kNonceBytes,
          sealed.size() - kNonceBytes, bytes_of(place), place.size(), bytes_of(sealed), bytes_of(key_.reveal())) != 0) {
    return refuse();
  }
  return Secret(std::move(out));
}

}  // namespace fettle::notify
