// Who is calling: a bearer token names a workspace and what its holder may do there.
//
//   auto tokens = access::ConfiguredTokens::make(config.tokens);
//   std::optional<access::Grant> grant = tokens->find(presented);
//   if (!grant || !grant->may(access::TokenScope::kIngest)) …
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "access/credential.h"
#include "access/grant.h"
#include "core/error.h"

namespace fettle::access {

// Thread-safe.
class Tokens {
 public:
  virtual ~Tokens() = default;
  // Takes the same time whether or not the token is known.
  virtual std::optional<Grant> find(std::string_view token) const = 0;
};

// A token as the configuration gives it: only its SHA-256 is kept.
struct TokenEntry {
  Digest sha256{};
  std::string name;  // for people and counts; empty: the first 8 hex digits of the hash
  WorkspaceId workspace;
  std::vector<ClientId> clients;  // empty: all
  std::vector<TokenScope> scopes;
  std::optional<bool> payloads = {};  // whether it sees payloads; none: as its scopes' role does (operate and admin)

  bool operator==(const TokenEntry&) const = default;
};

class ConfiguredTokens final : public Tokens {
 public:
  // kInvalidArgument when two entries have one token or a workspace name is malformed.
  static Result<ConfiguredTokens> make(std::span<const TokenEntry> entries);
  std::optional<Grant> find(std::string_view token) const override;
  // By the name under which audits know it ("config:NAME"). Of several of one name the one that may least.
  std::optional<Grant> grant_of(const WorkspaceId& workspace, std::string_view actor_id) const;

 private:
  struct Known {
    Digest sha256;
    Grant grant;
  };
  std::vector<Known> known_;
};

// Several sources of tokens as one, asked in turn. They outlive it.
class TokensOf final : public Tokens {
 public:
  explicit TokensOf(std::vector<const Tokens*> sources) : sources_(std::move(sources)) {}
  std::optional<Grant> find(std::string_view token) const override;

 private:
  std::vector<const Tokens*> sources_;
};

}  // namespace fettle::access
