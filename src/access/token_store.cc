#include "access/token_store.h"

#include <fmt/format.h>

#include <boost/json.hpp>

#include "access/links.h"
#include "access/rights.h"
#include "access/stored_fields.h"
#include "access/workspaces.h"

namespace fettle::access {
namespace {

namespace json = boost::json;

constexpr std::size_t kHintChars = 4;
constexpr TokenScopes kEveryScope = [] {
  TokenScopes all = 0;
  for (const TokenScope scope : kTokenScopes) all |= bit(scope);
  return all;
}();

Result<void> check_request(const Change& change, const NewToken& made) {
  if (auto allowed = check(change.actor, Action::kManageTokens); !allowed) return allowed;
  if (auto good = check_name("the name of a token", made.name); !good) return good;
  if (auto good = check_clients(made.clients); !good) return good;
  if (made.scopes == 0 || (made.scopes & ~kEveryScope) != 0) {
    return fail(ErrorCode::kInvalidArgument, "a token needs some of the scopes ingest, read, work, operate and admin");
  }
  if (made.expires_at && *made.expires_at <= change.now) {
    return fail(ErrorCode::kInvalidArgument, "a token expires in the future");
  }
  if (kind_of(made.credential) != CredentialKind::kToken) {
    return fail(ErrorCode::kInternal, "a token was made that is none");
  }
  const bool sees = made.payloads.value_or((made.scopes & (bit(TokenScope::kOperate) | bit(TokenScope::kAdmin))) != 0);
  if (sees && !can(change.actor, Action::kReveal).allowed) {
    return fail(ErrorCode::kPermissionDenied, "who may not see payloads cannot make a token that does");
  }
  return {};
}

Result<void> check_room(db::Reader& reader, const Change& change) {
  if (auto workspace = find_workspace(reader, change.actor.scope); !workspace) {
    return std::unexpected(std::move(workspace).error());
  }
  const auto alive = [&](const db::Sql& sql, db::Params params, std::int64_t most,
                         std::string_view where) -> Result<void> {
    std::int64_t count = 0;
    if (auto counted = reader.fetch(sql, params, count); !counted) return std::unexpected(std::move(counted).error());
    if (count < most) return {};
    return fail(ErrorCode::kResourceExhausted, fmt::format("{} has {} tokens: revoke some", where, most));
  };
  if (auto room = alive(
          "SELECT COUNT(*) FROM access_tokens WHERE workspace = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR "
          "expires_at > $2)",
          {change.actor.scope.workspace, change.now}, kTokensPerWorkspaceMax, "the workspace");
      !room) {
    return room;
  }
  return alive(
      "SELECT COUNT(*) FROM access_tokens WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $1)",
      {change.now}, kTokensMax, "the installation");
}

std::string token_json(const NewToken& made) {
  const auto clients = clients_json(made.clients);
  return json::serialize(
      json::object{{"name", made.name},
                   {"scopes", json::parse(scopes_json(made.scopes))},
                   {"clients", clients ? json::parse(*clients) : json::value(nullptr)},
                   {"payloads", made.payloads ? json::value(*made.payloads) : json::value(nullptr)},
                   {"expires_at", made.expires_at ? json::value(format_rfc3339(*made.expires_at)) : nullptr}});
}

}  // namespace

Result<void> create_token(db::Transaction& tx, const Change& change, const NewToken& made) {
  if (auto good = check_request(change, made); !good) return good;
  if (auto room = check_room(tx, change); !room) return room;
  auto version = next_version(tx);
  if (!version) return std::unexpected(std::move(version).error());
  const Digest digest = sha256_of(made.credential);
  const std::optional<std::int64_t> payloads =
      made.payloads ? std::optional<std::int64_t>(*made.payloads ? 1 : 0) : std::nullopt;
  auto done = tx.execute(
      "INSERT INTO access_tokens (workspace, id, digest, name, hint, scopes, clients, payloads, created_by, "
      "created_at, "
      "expires_at, version) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
      {change.actor.scope.workspace, made.id, db::BlobView{bytes_of(digest)}, made.name,
       std::string_view(made.credential).substr(made.credential.size() - kHintChars), std::int64_t{made.scopes},
       clients_json(made.clients), payloads, change.actor.actor_id, change.now, made.expires_at, *version});
  if (!done) return std::unexpected(std::move(done).error());
  return record(tx, change, change.actor.scope.workspace,
                {.action = "token.create", .target_type = "token", .target_id = made.id, .after = token_json(made)});
}

Result<void> revoke_token(db::Transaction& tx, const Change& change, const std::string& id) {
  if (auto allowed = check(change.actor, Action::kManageTokens); !allowed) return allowed;
  auto version = next_version(tx);
  if (!version) return std::unexpected(std::move(version).error());
  std::string name;
  std::int64_t scopes = 0;
  auto found = tx.fetch(
      "UPDATE access_tokens SET revoked_at = $3, version = $4 WHERE workspace = $1 AND id = $2 AND revoked_at IS NULL "
      "RETURNING name, scopes",
      {change.actor.scope.workspace, id, change.now, *version}, name, scopes);
  if (!found) return std::unexpected(std::move(found).error());
  if (!*found) return fail(ErrorCode::kNotFound, "no such token");
  if (auto ended = revoke_links_made_by(tx, change, id, "maker_revoked"); !ended) return ended;
  return record(tx, change, change.actor.scope.workspace,
                {.action = "token.revoke",
                 .target_type = "token",
                 .target_id = id,
                 .before = json::serialize(json::object{
                     {"name", name}, {"scopes", json::parse(scopes_json(static_cast<TokenScopes>(scopes)))}})});
}

Result<std::vector<StoredToken>> list_tokens(db::Reader& reader, const Scope& scope, std::int32_t rows_max) {
  auto rows = reader.query(
      "SELECT id, name, hint, scopes, clients, payloads, created_by, created_at, expires_at, revoked_at, last_used_at "
      "FROM access_tokens WHERE workspace = $1 ORDER BY created_at DESC, id LIMIT $2",
      {scope.workspace, rows_max});
  if (!rows) return std::unexpected(std::move(rows).error());
  std::vector<StoredToken> tokens;
  for (const db::Row row : *rows) {
    StoredToken& token = tokens.emplace_back();
    std::optional<std::string> clients;
    if (auto read = row.into(token.id, token.name, token.hint, token.scopes, clients, token.payloads, token.created_by,
                             token.created_at, token.expires_at, token.revoked_at, token.last_used_at);
        !read) {
      return std::unexpected(std::move(read).error());
    }
    auto limit = clients_from(clients);
    if (!limit) return std::unexpected(std::move(limit).error());
    token.clients = *std::move(limit);
  }
  return tokens;
}

}  // namespace fettle::access
