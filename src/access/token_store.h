// Tokens of programs that are made at run time, beside those that the configuration lists.
//
//   NewToken made{.id = make_identifier("tok_", rng), .credential = make_credential(CredentialKind::kToken, rng),
//                 .name = "web", .scopes = bit(TokenScope::kIngest)};
//   create_token(tx, change, made);            // `made.credential` is shown to the person once and then forgotten
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "access/change.h"
#include "access/credential.h"

namespace fettle::access {

constexpr std::int64_t kTokensPerWorkspaceMax = 1000;  // that are alive
constexpr std::int64_t kTokensMax = 100'000;           // of the installation: they are all kept in memory

struct NewToken {
  std::string id;
  std::string credential;
  std::string name;
  TokenScopes scopes = 0;
  std::vector<ClientId> clients = {};  // empty: all
  std::optional<bool> payloads = {};   // empty: as the role that its scopes amount to
  std::optional<UnixNanos> expires_at = {};
};

struct StoredToken {
  std::string id;
  std::string name;
  std::string hint;  // the last four characters, to tell tokens apart by
  TokenScopes scopes = 0;
  std::vector<ClientId> clients;
  std::optional<bool> payloads;
  std::string created_by;
  UnixNanos created_at = 0;
  std::optional<UnixNanos> expires_at;
  std::optional<UnixNanos> revoked_at;
  std::optional<UnixNanos> last_used_at;  // to a minute
};

// In the actor's workspace. kPermissionDenied for more than the actor may do, kInvalidArgument for a malformed request,
// kResourceExhausted over a limit.
Result<void> create_token(db::Transaction& tx, const Change& change, const NewToken& made);
// kNotFound when there is none of that id, or it was revoked already.
Result<void> revoke_token(db::Transaction& tx, const Change& change, const std::string& id);
// Newest first, revoked and expired ones included.
Result<std::vector<StoredToken>> list_tokens(db::Reader& reader, const Scope& scope, std::int32_t rows_max = 1000);

}  // namespace fettle::access
