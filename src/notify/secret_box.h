// Keeps secrets that the server must use again, such as those it signs webhooks with, unreadable in the ledger.
//
//   SecretBox box = SecretBox::derive(secret_of_server).value();
//   std::string sealed = box.seal(secret, "acme/whk_1", rng);
//   Result<Secret> again = box.open(sealed, "acme/whk_1");
//
// A hash would do for what others show us; what we sign with has to come back. Sealed by a key made of the server's
// secret file, which is in no backup and in no database: whoever gets hold of the ledger alone cannot sign in our name.
// The price: replicas need the same file, and without it a secret has to be made anew. open() notices that; a secret
// derived from the file alone would silently be another one.
#pragma once

#include <string>
#include <string_view>

#include "core/error.h"
#include "core/rng.h"
#include "core/secret.h"

namespace fettle::notify {

// Thread-safe once made.
class SecretBox {
 public:
  // From the server's secret (at least 32 bytes, of which this key is only one use). kInvalidArgument for a shorter
  // one.
  static Result<SecretBox> derive(const Secret& secret);

  // XChaCha20-Poly1305 with a random nonce in front. `place` says where it is kept: elsewhere it does not open.
  std::string seal(const Secret& secret, std::string_view place, Rng& rng) const;
  // kDataLoss when it was sealed by another key, for another place, or was changed.
  Result<Secret> open(std::string_view sealed, std::string_view place) const;

 private:
  SecretBox() = default;
  Secret key_;
};

}  // namespace fettle::notify
