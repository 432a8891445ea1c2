#include "access/tokens.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>

namespace fettle::access {

std::string_view to_string(Role role) {
  switch (role) {
    case Role::kIngest: return "ingest";
    case Role::kRead: return "read";
    case Role::kAdmin: return "admin";
  }
  return "unknown";
}

std::optional<Role> role_named(std::string_view name) {
  for (const Role role : {Role::kIngest, Role::kRead, Role::kAdmin}) {
    if (to_string(role) == name) return role;
  }
  return std::nullopt;
}

std::array<unsigned char, 32> sha256_of(std::string_view token) {
  std::array<unsigned char, 32> digest{};
  SHA256(reinterpret_cast<const unsigned char*>(token.data()), token.size(), digest.data());
  return digest;
}

Result<ConfiguredTokens> ConfiguredTokens::make(std::span<const TokenEntry> entries) {
  ConfiguredTokens tokens;
  for (const TokenEntry& entry : entries) {
    if (!is_workspace_name(entry.workspace.value)) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("'{}' is not a workspace name: 1 to 64 of a-z, 0-9, '-' and '_', beginning with a letter "
                              "or digit",
                              entry.workspace.value));
    }
    const std::string_view bytes(reinterpret_cast<const char*>(entry.sha256.data()), entry.sha256.size());
    const std::string fingerprint = to_hex(bytes.substr(0, 4));
    for (const Known& known : tokens.known_) {
      if (known.sha256 == entry.sha256) {
        return fail(ErrorCode::kInvalidArgument, fmt::format("one token is listed twice (SHA-256 {}…)", fingerprint));
      }
    }
    Known known{.sha256 = entry.sha256, .grant = {}};
    known.grant.scope = {.workspace = entry.workspace, .clients = entry.clients};
    known.grant.sender = entry.name.empty() ? fingerprint : entry.name;
    for (const Role role : entry.roles) known.grant.roles |= static_cast<std::uint8_t>(role);
    tokens.known_.push_back(std::move(known));
  }
  return tokens;
}

std::optional<Grant> ConfiguredTokens::find(std::string_view token) const {
  const auto digest = sha256_of(token);
  const Known* found = nullptr;
  // No early end: the time must not tell which token, or whether any, was met.
  for (const Known& known : known_) {
    if (CRYPTO_memcmp(known.sha256.data(), digest.data(), digest.size()) == 0) found = &known;
  }
  if (found == nullptr) return std::nullopt;
  return found->grant;
}

}  // namespace fettle::access
