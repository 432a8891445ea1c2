// How the Directory's rows come out of the store.

#include "access/directory_rows.h"
#include "access/stored_fields.h"

namespace fettle::access {
namespace {

// A row that cannot be read lets nobody in: it is left out and reported, and does not keep the others from being read.
template <class Read>
Result<void> each(db::Reader& reader, const db::Sql& sql, std::int64_t after, Read read) {
  return reader.each(sql, {after}, [&](const db::Row& row) -> Result<void> { return read(row); });
}

Result<Digest> digest_from(std::string_view bytes) {
  Digest digest{};
  if (bytes.size() != digest.size()) return fail(ErrorCode::kDataLoss, "a stored digest has the wrong length");
  std::copy(bytes.begin(), bytes.end(), digest.begin());
  return digest;
}

}  // namespace

Result<Directory::Changes> Directory::read_changes(db::Reader& reader, std::int64_t after) {
  Changes changes;
  auto found = reader.fetch("SELECT version FROM access_version WHERE workspace = ''", {}, changes.version);
  if (!found) return std::unexpected(std::move(found).error());
  if (!*found) return fail(ErrorCode::kDataLoss, "the number of the last change of access is missing");
  changes.is_everything = after == kEverything;
  if (changes.version == after) return changes;

  auto workspaces = each(reader, "SELECT workspace, plan, run_ai, deleted_at FROM access_workspaces WHERE version > $1",
                         after, [&](const db::Row& row) -> Result<void> {
                           auto& one = changes.workspaces.emplace_back();
                           std::string plan;
                           std::string granted;
                           std::optional<std::int64_t> deleted_at;
                           if (auto read = row.into(one.id, plan, granted, deleted_at); !read) return read;
                           one.is_deleted = deleted_at.has_value();
                           auto parsed = plan_from_json(plan);
                           if (!parsed) return std::unexpected(std::move(parsed).error());
                           one.plan = *std::move(parsed);
                           auto packs = run_ai_from_json(granted);
                           if (!packs) return std::unexpected(std::move(packs).error());
                           for (const Role role : kRoles) {
                             if (access::runs_ai(*packs, role)) one.ai_roles |= ai_bit(role);
                           }
                           return {};
                         });
  if (!workspaces) return std::unexpected(std::move(workspaces).error());

  auto users = each(reader, "SELECT workspace, id, email, name, disabled_at FROM access_users WHERE version > $1",
                    after, [&](const db::Row& row) -> Result<void> {
                      User& one = changes.users.emplace_back();
                      std::optional<std::int64_t> disabled_at;
                      if (auto read = row.into(one.home, one.id, one.email, one.name, disabled_at); !read) return read;
                      one.is_disabled = disabled_at.has_value();
                      return {};
                    });
  if (!users) return std::unexpected(std::move(users).error());

  auto members = each(
      reader, "SELECT workspace, user_id, role, clients, payloads, removed_at FROM access_members WHERE version > $1",
      after, [&](const db::Row& row) -> Result<void> {
        auto& one = changes.members.emplace_back();
        std::int64_t role = 0;
        std::optional<std::string> clients;
        std::optional<std::int64_t> removed_at;
        if (auto read = row.into(one.workspace, one.user_id, role, clients, one.membership.payloads, removed_at);
            !read) {
          return read;
        }
        one.is_removed = removed_at.has_value();
        auto known = role_from(role);
        if (!known) return std::unexpected(std::move(known).error());
        one.membership.role = *known;
        auto limit = clients_from(clients);
        if (!limit) return std::unexpected(std::move(limit).error());
        one.membership.clients = *std::move(limit);
        return {};
      });
  if (!members) return std::unexpected(std::move(members).error());

  auto tokens =
      each(reader,
           "SELECT workspace, id, digest, name, scopes, clients, payloads, expires_at, revoked_at, last_used_at FROM "
           "access_tokens WHERE version > $1",
           after, [&](const db::Row& row) -> Result<void> {
             auto token = std::make_shared<Token>();
             db::BlobView digest;
             std::string name;
             std::optional<std::string> clients;
             std::optional<std::int64_t> revoked_at;
             std::optional<std::int64_t> last_used_at;
             if (auto read = row.into(token->grant.scope.workspace, token->id, digest, name, token->grant.scopes,
                                      clients, token->grant.payloads, token->expires_at, revoked_at, last_used_at);
                 !read) {
               return read;
             }
             auto known = digest_from(digest.bytes);
             if (!known) return std::unexpected(std::move(known).error());
             token->digest = *known;
             auto limit = clients_from(clients);
             if (!limit) return std::unexpected(std::move(limit).error());
             token->grant.scope.clients = *std::move(limit);
             token->grant.kind = ActorKind::kToken;
             token->grant.actor_id = token->id;
             token->grant.sender = std::move(name);
             token->last_used = last_used_at.value_or(0);
             changes.tokens.push_back({.token = std::move(token), .is_revoked = revoked_at.has_value()});
             return {};
           });
  if (!tokens) return std::unexpected(std::move(tokens).error());

  auto sessions = each(reader,
                       "SELECT workspace, id, digest, user_id, expires_at, last_used_at, ended_at FROM access_sessions "
                       "WHERE version > $1",
                       after, [&](const db::Row& row) -> Result<void> {
                         auto session = std::make_shared<Session>();
                         db::BlobView digest;
                         std::int64_t last_used_at = 0;
                         std::optional<std::int64_t> ended_at;
                         if (auto read = row.into(session->home, session->id, digest, session->user_id,
                                                  session->expires_at, last_used_at, ended_at);
                             !read) {
                           return read;
                         }
                         auto known = digest_from(digest.bytes);
                         if (!known) return std::unexpected(std::move(known).error());
                         session->digest = *known;
                         session->last_used = last_used_at;
                         changes.sessions.push_back({.session = std::move(session), .is_ended = ended_at.has_value()});
                         return {};
                       });
  if (!sessions) return std::unexpected(std::move(sessions).error());
  return changes;
}

}  // namespace fettle::access
