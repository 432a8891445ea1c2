#include "ledger/chain.h"

#include <algorithm>
#include <array>

namespace fettle::ledger {

Digest first_link(const WorkspaceId& workspace) { return sha256({"fettle-audit-v1", workspace.value}); }

Digest next_link(const Digest& before, std::uint64_t position, const Digest& entry_digest) {
  // In one piece: hashing pieces costs more than copying 73 bytes.
  std::array<char, 1 + 32 + 8 + 32> bytes;
  char* out = bytes.data();
  *out++ = '\x02';
  out = std::copy(before.begin(), before.end(), out);
  for (int shift = 56; shift >= 0; shift -= 8) *out++ = static_cast<char>(position >> shift);
  std::copy(entry_digest.begin(), entry_digest.end(), out);
  return sha256(std::string_view(bytes.data(), bytes.size()));
}

std::optional<Digest> Chain::append(std::string_view entry) {
  hash_ = next_link(hash_, tree_.size() + 1, sha256(entry));
  return tree_.append(leaf_hash(entry), kSegmentLevel);
}

}  // namespace fettle::ledger
