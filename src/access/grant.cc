#include "access/grant.h"

namespace fettle::access {

std::string_view to_string(TokenScope scope) {
  switch (scope) {
    case TokenScope::kIngest: return "ingest";
    case TokenScope::kRead: return "read";
    case TokenScope::kWork: return "work";
    case TokenScope::kOperate: return "operate";
    case TokenScope::kAdmin: return "admin";
  }
  return "unknown";
}

std::optional<TokenScope> token_scope_named(std::string_view name) {
  for (const TokenScope scope : kTokenScopes) {
    if (to_string(scope) == name) return scope;
  }
  return std::nullopt;
}

std::string_view to_string(Role role) {
  switch (role) {
    case Role::kViewer: return "viewer";
    case Role::kOperator: return "operator";
    case Role::kManager: return "manager";
    case Role::kAdmin: return "admin";
    case Role::kOwner: return "owner";
  }
  return "unknown";
}

std::optional<Role> role_named(std::string_view name) {
  for (const Role role : kRoles) {
    if (to_string(role) == name) return role;
  }
  return std::nullopt;
}

std::string_view to_string(ActorKind kind) {
  switch (kind) {
    case ActorKind::kToken: return "token";
    case ActorKind::kUser: return "user";
    case ActorKind::kDevelopment: return "development";
    case ActorKind::kSystem: return "system";
  }
  return "unknown";
}

bool Grant::may(TokenScope wanted) const {
  TokenScopes enough = bit(wanted) | bit(TokenScope::kAdmin);
  if (wanted == TokenScope::kRead) enough |= bit(TokenScope::kOperate);
  return (scopes & enough) != 0;
}

TokenScopes scopes_of(Role role) {
  if (role >= Role::kAdmin) return bit(TokenScope::kAdmin);
  if (role >= Role::kOperator) return bit(TokenScope::kOperate);
  return bit(TokenScope::kRead);
}

std::optional<Role> role_of(const Grant& grant) {
  if (grant.role) return grant.role;
  if (grant.scopes & bit(TokenScope::kAdmin)) return Role::kAdmin;
  if (grant.scopes & bit(TokenScope::kOperate)) return Role::kManager;
  if (grant.scopes & bit(TokenScope::kRead)) return Role::kViewer;
  return std::nullopt;
}

}  // namespace fettle::access
