// Who is asking and what they were given: the outcome of every authentication, and the actor of every decision.
//
//   if (!grant.may(TokenScope::kIngest)) …           // the coarse gate in front of a route
//   if (auto allowed = check(grant, Action::kResume, {.client = id}); !allowed) …   // rights.h decides
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/scope.h"

namespace fettle::access {

// What a token is for; a set of them is stored as the sum of their bits. kAdmin includes the others, kOperate includes
// kRead.
enum class TokenScope : std::uint8_t { kIngest = 1, kRead = 2, kWork = 4, kOperate = 8, kAdmin = 16 };  // stored
using TokenScopes = std::uint8_t;

inline constexpr std::array kTokenScopes = {TokenScope::kIngest, TokenScope::kRead, TokenScope::kWork,
                                            TokenScope::kOperate, TokenScope::kAdmin};
constexpr TokenScopes bit(TokenScope scope) { return static_cast<TokenScopes>(scope); }
std::string_view to_string(TokenScope scope);
std::optional<TokenScope> token_scope_named(std::string_view name);

// What a person is in a workspace. Each may do what the one before it may, and more.
enum class Role : std::uint8_t { kViewer = 1, kOperator = 2, kManager = 3, kAdmin = 4, kOwner = 5 };  // stored

inline constexpr std::array kRoles = {Role::kViewer, Role::kOperator, Role::kManager, Role::kAdmin, Role::kOwner};
std::string_view to_string(Role role);
std::optional<Role> role_named(std::string_view name);

enum class ActorKind : std::uint8_t {
  kToken,        // a program
  kUser,         // a person with a session
  kDevelopment,  // whoever reaches a development server
  kSystem,       // Fettle itself, or whoever has its data folder: the command line on the server's own machine
};
std::string_view to_string(ActorKind kind);

struct Grant {
  Scope scope;
  TokenScopes scopes = 0;
  // Tells callers apart in counts and in the sender's own replay memory, without saying anything about their bytes.
  std::string sender;

  ActorKind kind = ActorKind::kToken;
  std::string actor_id;      // "usr_…", "tok_…", "config:NAME", "development": for audits and for looking up again
  std::optional<Role> role;  // of people; a token's role follows from its scopes
  // Set where the right to see payloads was granted or withheld beside the role.
  std::optional<bool> payloads;
  // The right to start, retry and resume the work of agents; packs grant it by role.
  bool runs_ai = false;

  bool may(TokenScope wanted) const;
};

// The scopes with which a person of that role passes the routes' gates.
TokenScopes scopes_of(Role role);

// The role whose rights a caller has: a person's own; admin for scope admin, manager for operate, viewer for read. None
// for tokens that only send or work.
std::optional<Role> role_of(const Grant& grant);

}  // namespace fettle::access
