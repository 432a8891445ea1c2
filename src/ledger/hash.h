// SHA-256, as the chain and the tree use it.
#pragma once

#include <array>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

namespace fettle::ledger {

using Digest = std::array<unsigned char, 32>;

// Of the parts, one behind the other. Thread-safe.
Digest sha256(std::initializer_list<std::string_view> parts);
inline Digest sha256(std::string_view bytes) { return sha256({bytes}); }

inline std::string_view bytes_of(const Digest& digest) {
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}
std::string to_hex(const Digest& digest);
// Nothing unless there are exactly 32 bytes, or 64 hexadecimal digits in lower case.
std::optional<Digest> digest_of_bytes(std::string_view bytes);
std::optional<Digest> digest_of_hex(std::string_view hex);

}  // namespace fettle::ledger
