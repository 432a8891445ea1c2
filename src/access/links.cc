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

std::unexpected<Error> no_such_link() {
  return fail(ErrorCode::kNotFound, "the link was used, has expired or never was one");
}

Result<Link> one_link(Result<db::Rows> rows) {
  if (!rows) return std::unexpected(std::move(rows).error());
  if (rows->empty()) return no_such_link();
  return link_from((*rows)[0]);
}

// What ended, as (workspace, id).
Result<void> record_revoked(db::Transaction& tx, const Change& change, Result<db::Rows> ended,
                            std::string_view reason) {
  if (!ended) return std::unexpected(std::move(ended).error());
  for (const db::Row row : *ended) {
    WorkspaceId workspace;
    std::string id;
    if (auto read = row.into(workspace, id); !read) return read;
    if (auto written = record(tx, change, workspace,
                              {.action = "link.revoke", .target_type = "link", .target_id = id, .reason = reason});
        !written) {
      return written;
    }
  }
  return {};
}

// A person's rights in the workspace, as the ledger has them now.
Result<std::optional<Grant>> grant_of_person(db::Reader& reader, const WorkspaceId& workspace,
                                             const std::string& user_id) {
  auto member = find_member(reader, {.workspace = workspace, .clients = {}}, user_id);
  if (!member && member.error().code() == ErrorCode::kNotFound) return std::optional<Grant>();
  if (!member) return std::unexpected(std::move(member).error());
  if (member->is_disabled) return std::optional<Grant>();
  return std::optional(Grant{.scope = {.workspace = workspace, .clients = std::move(member->clients)},
                             .scopes = scopes_of(member->role),
                             .sender = user_id,
                             .kind = ActorKind::kUser,
                             .actor_id = user_id,
                             .role = member->role,
                             .payloads = member->payloads});
}

Result<std::optional<Grant>> grant_of_token(db::Reader& reader, const WorkspaceId& workspace,
                                            const std::string& token_id, UnixNanos now) {
  Grant grant{.scope = {.workspace = workspace, .clients = {}}, .sender = token_id, .actor_id = token_id};
  std::optional<std::string> clients;
  auto found = reader.fetch(
      "SELECT scopes, clients, payloads FROM access_tokens WHERE workspace = $1 AND id = $2 AND revoked_at IS NULL AND "
      "(expires_at IS NULL OR expires_at > $3)",
      {workspace, token_id, now}, grant.scopes, clients, grant.payloads);
  if (!found) return std::unexpected(std::move(found).error());
  if (!*found) return std::optional<Grant>();
  auto limit = clients_from(clients);
  if (!limit) return std::unexpected(std::move(limit).error());
  grant.scope.clients = *std::move(limit);
  return std::optional(std::move(grant));
}

Result<std::optional<Grant>> grant_now(db::Reader& reader, const Link& link, UnixNanos now,
                                       const GrantOutside& outside) {
  const Grant system = system_actor(link.workspace);
  if (link.created_by == system.actor_id) return std::optional(system);
  if (link.created_by.starts_with("usr_")) return grant_of_person(reader, link.workspace, link.created_by);
  if (link.created_by.starts_with("tok_")) return grant_of_token(reader, link.workspace, link.created_by, now);
  return outside ? outside(link.workspace, link.created_by) : std::optional<Grant>();
}

// Whoever sets a password has the account wherever it belongs: nobody gives away what is another workspace's.
Result<void> check_may_reset(db::Reader& reader, const Grant& actor, const std::string& user_id) {
  if (actor.kind == ActorKind::kSystem) return {};
  std::int64_t elsewhere = 0;
  auto counted = reader.fetch(
      "SELECT (SELECT COUNT(*) FROM access_members WHERE user_id = $1 AND workspace <> $2 AND removed_at IS NULL) + "
      "(SELECT COUNT(*) FROM access_users WHERE id = $1 AND workspace <> $2)",
      {user_id, actor.scope.workspace}, elsewhere);
  if (!counted) return std::unexpected(std::move(counted).error());
  if (elsewhere == 0) return {};
  return fail(ErrorCode::kPermissionDenied, "this account's password can be set anew on the server's own machine only");
}

Membership membership_of(const Member& member) {
  return {.role = member.role, .clients = member.clients, .payloads = member.payloads};
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
  if (auto allowed = check_may_give(change.actor, membership_of(*member)); !allowed) return allowed;
  if (auto allowed = check_may_reset(tx, change.actor, user_id); !allowed) return allowed;
  return insert(tx, change, made,
                {.purpose = LinkPurpose::kPasswordReset,
                 .email = member->email,
                 .user_id = user_id,
                 .membership = membership_of(*member)});
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

Result<void> revoke_links_made_by(db::Transaction& tx, const Change& change, const std::string& actor_id,
                                  std::string_view reason) {
  return record_revoked(tx, change,
                        tx.query("UPDATE access_links SET used_at = $3 WHERE workspace = $1 AND created_by = $2 AND "
                                 "used_at IS NULL RETURNING workspace, id",
                                 {change.actor.scope.workspace, actor_id, change.now}),
                        reason);
}

Result<void> revoke_links_made_for(db::Transaction& tx, const Change& change, const std::string& user_id,
                                   const std::string& email, std::string_view reason) {
  return record_revoked(tx, change,
                        tx.query("UPDATE access_links SET used_at = $4 WHERE workspace = $1 AND (user_id = $2 OR email "
                                 "= $3) AND used_at IS NULL RETURNING workspace, id",
                                 {change.actor.scope.workspace, user_id, email, change.now}),
                        reason);
}

Result<void> revoke_links_of_account(db::Transaction& tx, const Change& change, const std::string& user_id,
                                     const std::string& email, std::string_view reason) {
  return record_revoked(tx, change,
                        tx.query("UPDATE access_links SET used_at = $3 WHERE (created_by = $1 OR user_id = $1 OR email "
                                 "= $2) AND used_at IS NULL RETURNING workspace, id",
                                 {user_id, email, change.now}),
                        reason);
}

Result<void> check_maker(db::Reader& reader, const Link& link, UnixNanos now, const GrantOutside& outside) {
  if (link.purpose == LinkPurpose::kFirstOwner) {
    auto owned = has_owner(reader, link.workspace);
    if (!owned) return std::unexpected(std::move(owned).error());
    if (*owned) return no_such_link();
    return {};
  }
  auto maker = grant_now(reader, link, now, outside);
  if (!maker) return std::unexpected(std::move(maker).error());
  if (!*maker) return no_such_link();
  Membership given = link.membership;
  if (link.purpose == LinkPurpose::kPasswordReset) {
    auto member = find_member(reader, {.workspace = link.workspace, .clients = {}}, link.user_id);
    if (!member) return no_such_link();
    given = membership_of(*member);
  }
  if (!check_may_give(**maker, given)) return no_such_link();
  if (link.purpose == LinkPurpose::kPasswordReset && !check_may_reset(reader, **maker, link.user_id)) {
    return no_such_link();
  }
  return {};
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
