// A signed statement of how far a workspace's audit log had come: whoever holds an earlier one detects any later
// change.
//
//   SigningKey key = SigningKey::derive(secret).value();
//   Checkpoint checkpoint = key.sign({.workspace = w, .size = chain.size(), .at = now, .hash = …, .root = …});
//   std::string line = to_json(checkpoint);
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/clock.h"
#include "core/error.h"
#include "core/ids.h"
#include "core/secret.h"
#include "ledger/hash.h"

namespace fettle::ledger {

using PublicKey = std::array<unsigned char, 32>;
using Signature = std::array<unsigned char, 64>;

struct Checkpoint {
  WorkspaceId workspace;
  std::uint64_t size = 0;
  UnixNanos at = 0;
  Digest hash{};  // h[size]
  Digest root{};  // of the tree over the first `size` records
  PublicKey public_key{};
  Signature signature{};
  bool operator==(const Checkpoint&) const = default;
};

// One canonical JSON object (RFC 8785): {"at","hash","key","root","signature","size","workspace"}, bytes in
// hexadecimal. The signature is Ed25519 over "fettle-audit-checkpoint-v1\n" and the same object without its signature.
std::string to_json(const Checkpoint& checkpoint);
// kInvalidArgument for anything else. Does not check the signature.
Result<Checkpoint> parse_checkpoint(std::string_view json);
// That the key it names signed it. Whether that key is the right one is for the caller to compare.
bool is_signed(const Checkpoint& checkpoint);

// Ed25519. Thread-safe once made.
class SigningKey {
 public:
  // From the server's secret (at least 32 bytes, of which this key is only one use); always the same key for the same
  // secret. kInvalidArgument for a shorter one.
  static Result<SigningKey> derive(const Secret& secret);

  const PublicKey& public_key() const { return public_key_; }
  // With key and signature filled in.
  Checkpoint sign(Checkpoint checkpoint) const;

 private:
  SigningKey() = default;
  Secret key_;  // libsodium's 64 bytes
  PublicKey public_key_{};
};

}  // namespace fettle::ledger
