// Who is calling: a bearer token names a workspace and what its holder may do there.
//
//   auto tokens = access::ConfiguredTokens::make(config.tokens);
//   std::optional<access::Grant> grant = tokens->find(presented);
//   if (!grant || !grant->may(access::Role::kIngest)) …
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/scope.h"

namespace fettle::access {

// What a token allows; kAdmin includes the other two.
enum class Role : std::uint8_t { kIngest = 1, kRead = 2, kAdmin = 4 };

std::string_view to_string(Role role);
std::optional<Role> role_named(std::string_view name);

struct Grant {
  Scope scope;
  std::uint8_t roles = 0;
  // Tells tokens apart in counts and in the sender's own replay memory, without saying anything about their bytes.
  std::string sender;

  bool may(Role role) const {
    return (roles & (static_cast<std::uint8_t>(role) | static_cast<std::uint8_t>(Role::kAdmin))) != 0;
  }
};

// Thread-safe.
class Tokens {
 public:
  virtual ~Tokens() = default;
  // Takes the same time whether or not the token is known.
  virtual std::optional<Grant> find(std::string_view token) const = 0;
};

// A token as the configuration gives it: only its SHA-256 is kept.
struct TokenEntry {
  std::array<unsigned char, 32> sha256{};
  std::string name;  // for people and counts; empty: the first 8 hex digits of the hash
  WorkspaceId workspace;
  std::vector<ClientId> clients;  // empty: all
  std::vector<Role> roles;

  bool operator==(const TokenEntry&) const = default;
};

std::array<unsigned char, 32> sha256_of(std::string_view token);

class ConfiguredTokens final : public Tokens {
 public:
  // kInvalidArgument when two entries have one token or a workspace name is malformed.
  static Result<ConfiguredTokens> make(std::span<const TokenEntry> entries);
  std::optional<Grant> find(std::string_view token) const override;

 private:
  struct Known {
    std::array<unsigned char, 32> sha256;
    Grant grant;
  };
  std::vector<Known> known_;
};

}  // namespace fettle::access
