#include "access/tokens.h"

#include <fmt/format.h>
#include <openssl/crypto.h>

namespace fettle::access {

Result<ConfiguredTokens> ConfiguredTokens::make(std::span<const TokenEntry> entries) {
  ConfiguredTokens tokens;
  for (const TokenEntry& entry : entries) {
    if (!is_workspace_name(entry.workspace.value)) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("'{}' is not a workspace name: 1 to 64 of a-z, 0-9, '-' and '_', beginning with a letter "
                              "or digit",
                              entry.workspace.value));
    }
    const std::string fingerprint = to_hex(bytes_of(entry.sha256).substr(0, 4));
    for (const Known& known : tokens.known_) {
      if (known.sha256 == entry.sha256) {
        return fail(ErrorCode::kInvalidArgument, fmt::format("one token is listed twice (SHA-256 {}…)", fingerprint));
      }
    }
    Known known{.sha256 = entry.sha256, .grant = {}};
    known.grant.scope = {.workspace = entry.workspace, .clients = entry.clients};
    known.grant.sender = entry.name.empty() ? fingerprint : entry.name;
    known.grant.actor_id = "config:" + known.grant.sender;
    for (const TokenScope scope : entry.scopes) known.grant.scopes |= bit(scope);
    known.grant.payloads = entry.payloads;
    // Packs grant nothing to the tokens of the server's own file.
    known.grant.runs_ai = true;
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

std::optional<Grant> ConfiguredTokens::grant_of(const WorkspaceId& workspace, std::string_view actor_id) const {
  std::optional<Grant> least;
  for (const Known& known : known_) {
    if (known.grant.scope.workspace != workspace || known.grant.actor_id != actor_id) continue;
    if (!least || role_of(known.grant) < role_of(*least)) least = known.grant;
  }
  return least;
}

std::optional<Grant> TokensOf::find(std::string_view token) const {
  for (const Tokens* source : sources_) {
    if (auto grant = source->find(token)) return grant;
  }
  return std::nullopt;
}

}  // namespace fettle::access
