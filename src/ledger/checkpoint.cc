#include "ledger/checkpoint.h"

#include <fmt/format.h>
#include <sodium.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "ledger/entry.h"

namespace fettle::ledger {
namespace {

constexpr std::size_t kSecretBytesMin = 32;
constexpr std::string_view kSigned = "fettle-audit-checkpoint-v1\n";
constexpr std::string_view kDerived("fettle-audit-signing-v1\0", 24);

template <std::size_t N>
std::string hex_of(const std::array<unsigned char, N>& bytes) {
  return fettle::to_hex({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

template <std::size_t N>
bool read_hex(std::string_view json, std::array<unsigned char, N>& out) {
  if (json.size() != 2 * N + 2 || json.front() != '"' || json.back() != '"') return false;
  const std::string_view hex = json.substr(1, 2 * N);
  const auto bytes = from_hex(hex);
  // One spelling only, so that a checkpoint has one text.
  if (!bytes || std::ranges::any_of(hex, [](char c) { return c >= 'A' && c <= 'F'; })) return false;
  std::memcpy(out.data(), bytes->data(), N);
  return true;
}

std::string text_of(const Checkpoint& checkpoint, bool with_signature) {
  std::string out = "{\"at\":";
  append_canonical_string(out, format_rfc3339(checkpoint.at));
  out += fmt::format(R"(,"hash":"{}","key":"{}","root":"{}")", hex_of(checkpoint.hash), hex_of(checkpoint.public_key),
                     hex_of(checkpoint.root));
  if (with_signature) out += fmt::format(R"(,"signature":"{}")", hex_of(checkpoint.signature));
  out += fmt::format(R"(,"size":{},"workspace":)", checkpoint.size);
  append_canonical_string(out, checkpoint.workspace.value);
  out += '}';
  return out;
}

std::string signed_bytes(const Checkpoint& checkpoint) { return std::string(kSigned) + text_of(checkpoint, false); }

bool is_ready() {
  static const bool ready = sodium_init() >= 0;
  return ready;
}

}  // namespace

std::string to_json(const Checkpoint& checkpoint) { return text_of(checkpoint, true); }

Result<Checkpoint> parse_checkpoint(std::string_view json) {
  Checkpoint checkpoint;
  const bool is_object = for_each_member(json, [&](std::string_view name, std::string_view value) {
    if (name == "hash") return read_hex(value, checkpoint.hash);
    if (name == "key") return read_hex(value, checkpoint.public_key);
    if (name == "root") return read_hex(value, checkpoint.root);
    if (name == "signature") return read_hex(value, checkpoint.signature);
    if (name == "size") {
      return std::from_chars(value.data(), value.data() + value.size(), checkpoint.size).ec == std::errc();
    }
    auto text = unquote(value);
    if (!text) return false;
    if (name == "workspace") checkpoint.workspace.value = std::move(*text);
    if (name == "at") {
      const auto at = parse_rfc3339(*text);
      if (!at) return false;
      checkpoint.at = *at;
    }
    return true;
  });
  // What does not come out as it went in has a member too many or too few, or another order.
  if (!is_object || to_json(checkpoint) != json) {
    return fail(ErrorCode::kInvalidArgument, "this is not an audit checkpoint");
  }
  return checkpoint;
}

bool is_signed(const Checkpoint& checkpoint) {
  const std::string bytes = signed_bytes(checkpoint);
  return is_ready() &&
         crypto_sign_verify_detached(checkpoint.signature.data(), reinterpret_cast<const unsigned char*>(bytes.data()),
                                     bytes.size(), checkpoint.public_key.data()) == 0;
}

Result<SigningKey> SigningKey::derive(const Secret& secret) {
  if (!is_ready()) return fail(ErrorCode::kInternal, "libsodium cannot be used");
  if (secret.reveal().size() < kSecretBytesMin) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("the secret for signing audit checkpoints has {} bytes, at least {} are needed",
                            secret.reveal().size(), kSecretBytesMin));
  }
  Digest seed = sha256({kDerived, secret.reveal()});
  std::string bytes(crypto_sign_SECRETKEYBYTES, '\0');
  SigningKey key;
  crypto_sign_seed_keypair(key.public_key_.data(), reinterpret_cast<unsigned char*>(bytes.data()), seed.data());
  sodium_memzero(seed.data(), seed.size());
  key.key_ = Secret(std::move(bytes));
  return key;
}

Checkpoint SigningKey::sign(Checkpoint checkpoint) const {
  checkpoint.public_key = public_key_;
  const std::string bytes = signed_bytes(checkpoint);
  crypto_sign_detached(checkpoint.signature.data(), nullptr, reinterpret_cast<const unsigned char*>(bytes.data()),
                       bytes.size(), reinterpret_cast<const unsigned char*>(key_.reveal().data()));
  return checkpoint;
}

}  // namespace fettle::ledger
