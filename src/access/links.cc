#include "access/links.h"

#include <fmt/format.h>

#include "access/rights.h"
#include "access/stored_fields.h"
#include "access/workspaces.h"

namespace fettle::access {
namespace {

struct Invitee {
  LinkPurpose purpose;
  std::string email;
  std::string user_id;
  Membership membership;
};

Result<void> insert(db::Transaction& tx, const Change& change, const NewLink& made, const Invitee& whom) {
  const WorkspaceId& workspace = change.actor.scope.workspace;
  if (auto found = find_workspace(tx, change.actor.scope); !found) return std::unexpected(std::move(found).error());
  std::int64_t open = 0;
  if (auto counted =
          tx.fetch("SELECT COUNT(*) FROM access_links WHERE workspace = $1 AND used_at IS NULL AND expires_at > $2",
                   {workspace, change.now}, open);
      !counted) {
    return std::unexpected(std::move(counted).error());
  }
  if (open >= kOpenLinksMax) {
    return fail(ErrorCode::kResourceExhausted, fmt::format("{} links are open: revoke some", kOpenLinksMax));
  }
  const Digest digest = sha256_of(made.credential);
  const Membership& given = whom.membership;
  const std::optional<std::int64_t> payloads =
      given.payloads ? std::optional<std::int64_t>(*given.payloads ? 1 : 0) : std::nullopt;
  auto done = tx.execute(
      "INSERT INTO access_links (workspace, id, digest, purpose, email, user_id, role, clients, payloads, created_by, "
      "created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
      {workspace, made.id, db::BlobView{bytes_of(digest)}, static_cast<std::int64_t>(whom.purpose), whom.email,
       whom.user_id, static_cast<std::int64_t>(given.role), clients_json(given.clients), payloads,
       change.actor.actor_id, change.now, change.now + std::chrono::nanoseconds(made.lifetime).count()});
  if (!done) return std::unexpected(std::move(done).error());
  return record(tx, change, workspace,
                {.action = "link.create",
                 .target_type = "link",
                 .target_id = made.id,
                 .reason = to_string(whom.purpose),
                 .summary = whom.email.empty() ? "" : fmt::format("for {}", whom.email),
                 .after = membership_json(given.role, given.clients, given.payloads)});
}

Result<Link> link_from(const db::Row& row) {
  Link link;
  std::int64_t purpose = 0;
  std::int64_t role = 0;
  std::optional<std::string> clients;
  if (auto read = row.into(link.workspace, link.id, purpose, link.email, link.user_id, role, clients,
                           link.membership.payloads, link.created_by, link.created_at, link.expires_at);
      !read) {
    return std::unexpected(std::move(read).error());
  }
  if (purpose < 1 || purpose > 3) return fail(ErrorCode::kDataLoss, "a stored link is for nothing known");
  link.purpose = static_cast<LinkPurpose>(purpose);
  auto known = role_from(role);
  if (!known) return std::unexpected(std::move(known).error());
  link.membership.role = *known;
  auto limit = clients_from(clients);
  if (!limit) return std::unexpected(std::move(limit).error());
  link.membership.clients = *std::move(limit);
  return link;
}

Result<Link> one_link(Result<db::Rows> rows) {
  if (!rows) return std::unexpected(std::move(rows).error());
  if (rows->empty()) return fail(ErrorCode::kNotFound, "the link was used, has expired or never was one");
  return link_from((*rows)[0]);
}

Result<bool> has_owner(db::Reader& reader, const WorkspaceId& workspace) {
  std::int64_t owners = 0;
  auto counted = reader.fetch(
      "SELECT COUNT(*) FROM access_members m JOIN access_users u ON u.id = m.user_id WHERE m.workspace = $1 AND m.role "
      "= $2 AND m.removed_at IS NULL AND u.disabled_at IS NULL",
      {workspace, static_cast<std::int64_t>(Role::kOwner)}, owners);
  if (!counted) return std::unexpected(std::move(counted).error());
  return owners > 0;
}

}  // namespace

std::string_view to_string(LinkPurpose purpose) {
  switch (purpose) {
    case LinkPurpose::kFirstOwner: return "first_owner";
    case LinkPurpose::kInvitation: return "invitation";
    case LinkPurpose::kPasswordReset: return "password_reset";
  }
  return "unknown";
}

Result<void> make_first_owner_link(db::Transaction& tx, const Change& change, const NewLink& made) {
  if (change.actor.kind != ActorKind::kSystem) {
    return fail(ErrorCode::kPermissionDenied, "the first owner's link is made on the server's own machine");
  }
  const WorkspaceId& workspace = change.actor.scope.workspace;
  auto owned = has_owner(tx, workspace);
  if (!owned) return std::unexpected(std::move(owned).error());
  if (*owned) return fail(ErrorCode::kConflict, "the workspace has an owner");
  auto replaced =
      tx.execute("UPDATE access_links SET used_at = $3 WHERE workspace = $1 AND purpose = $2 AND used_at IS NULL",
                 {workspace, static_cast<std::int64_t>(LinkPurpose::kFirstOwner), change.now});
  if (!replaced) return std::unexpected(std::move(replaced).error());
  return insert(
      tx, change, made,
      {.purpose = LinkPurpose::kFirstOwner, .email = "", .user_id = "", .membership = {.role = Role::kOwner}});
}

Result<void> invite(db::Transaction& tx, const Change& change, const NewLink& made, const std::string& email,
                    const Membership& membership) {
  if (auto allowed = check_may_give(change.actor, membership); !allowed) return allowed;
  auto address = normalised_email(email);
  if (!address) return std::unexpected(std::move(address).error());
  return insert(tx, change, made,
                {.purpose = LinkPurpose::kInvitation, .email = *address, .user_id = "", .membership = membership});
}

Result<void> make_password_reset(db::Transaction& tx, const Change& change, const NewLink& made,
                                 const std::string& user_id) {
  if (auto allowed = check(change.actor, Action::kManagePeople); !allowed) return allowed;
  auto member = find_member(tx, change.actor.scope, user_id);
  if (!member) return std::unexpected(std::move(member).error());
  if (change.actor.kind != ActorKind::kSystem) {
    std::int64_t elsewhere = 0;
    auto counted = tx.fetch(
        "SELECT (SELECT COUNT(*) FROM access_members WHERE user_id = $1 AND workspace <> $2 AND removed_at IS NULL) + "
        "(SELECT COUNT(*) FROM access_users WHERE id = $1 AND workspace <> $2)",
        {user_id, change.actor.scope.workspace}, elsewhere);
    if (!counted) return std::unexpected(std::move(counted).error());
    if (elsewhere != 0 || member->role > role_of(change.actor)) {
      return fail(ErrorCode::kPermissionDenied,
                  "this account's password can be set anew on the server's own machine only");
    }
  }
  return insert(tx, change, made,
                {.purpose = LinkPurpose::kPasswordReset,
                 .email = member->email,
                 .user_id = user_id,
                 .membership = {.role = member->role}});
}

Result<std::vector<Link>> list_links(db::Reader& reader, const Scope& scope, UnixNanos now) {
  auto rows = reader.query(
      "SELECT workspace, id, purpose, email, user_id, role, clients, payloads, created_by, created_at, expires_at FROM "
      "access_links WHERE workspace = $1 AND used_at IS NULL AND expires_at > $2 ORDER BY created_at DESC, id",
      {scope.workspace, now});
  if (!rows) return std::unexpected(std::move(rows).error());
  std::vector<Link> links;
  for (const db::Row row : *rows) {
    auto link = link_from(row);
    if (!link) return std::unexpected(std::move(link).error());
    links.push_back(*std::move(link));
  }
  return links;
}

Result<void> revoke_link(db::Transaction& tx, const Change& change, const std::string& id) {
  if (auto allowed = check(change.actor, Action::kManagePeople); !allowed) return allowed;
  auto done = tx.execute("UPDATE access_links SET used_at = $3 WHERE workspace = $1 AND id = $2 AND used_at IS NULL",
                         {change.actor.scope.workspace, id, change.now});
  if (!done) return std::unexpected(std::move(done).error());
  if (*done == 0) return fail(ErrorCode::kNotFound, "no such link");
  return record(tx, change, change.actor.scope.workspace,
                {.action = "link.revoke", .target_type = "link", .target_id = id});
}

Result<Link> find_link(db::Reader& reader, std::string_view credential, UnixNanos now) {
  const Digest digest = sha256_of(credential);
  return one_link(reader.query(
      "SELECT workspace, id, purpose, email, user_id, role, clients, payloads, created_by, created_at, expires_at FROM "
      "access_links WHERE digest = $1 AND used_at IS NULL AND expires_at > $2",
      {db::BlobView{bytes_of(digest)}, now}));
}

Result<Link> take_link(db::Transaction& tx, std::string_view credential, UnixNanos now) {
  const Digest digest = sha256_of(credential);
  return one_link(tx.query(
      "UPDATE access_links SET used_at = $2 WHERE digest = $1 AND used_at IS NULL AND expires_at > $2 RETURNING "
      "workspace, id, purpose, email, user_id, role, clients, payloads, created_by, created_at, expires_at",
      {db::BlobView{bytes_of(digest)}, now}));
}

std::string link_path(std::string_view credential) { return fmt::format("/welcome#{}", credential); }

}  // namespace fettle::access
