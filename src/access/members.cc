#include "access/members.h"

#include <fmt/format.h>

#include "access/links.h"
#include "access/rights.h"
#include "access/sessions.h"
#include "access/stored_fields.h"

namespace fettle::access {
namespace {

std::optional<std::int64_t> stored(std::optional<bool> payloads) {
  if (!payloads) return std::nullopt;
  return *payloads ? 1 : 0;
}

Result<Member> member_from(const db::Row& row) {
  Member member;
  std::int64_t role = 0;
  std::optional<std::string> clients;
  std::optional<std::int64_t> disabled_at;
  if (auto read = row.into(member.workspace, member.user_id, member.email, member.name, role, clients, member.payloads,
                           member.created_at, disabled_at);
      !read) {
    return std::unexpected(std::move(read).error());
  }
  auto known = role_from(role);
  if (!known) return std::unexpected(std::move(known).error());
  member.role = *known;
  auto limit = clients_from(clients);
  if (!limit) return std::unexpected(std::move(limit).error());
  member.clients = *std::move(limit);
  member.is_disabled = disabled_at.has_value();
  return member;
}

// A workspace without an owner could never be given one again. Called after the change, inside its transaction.
Result<void> check_has_owner(db::Reader& reader, const WorkspaceId& workspace) {
  std::int64_t owners = 0;
  auto counted = reader.fetch(
      "SELECT COUNT(*) FROM access_members m JOIN access_users u ON u.id = m.user_id WHERE m.workspace = $1 AND m.role "
      "= $2 AND m.clients IS NULL AND m.removed_at IS NULL AND u.disabled_at IS NULL",
      {workspace, static_cast<std::int64_t>(Role::kOwner)}, owners);
  if (!counted) return std::unexpected(std::move(counted).error());
  if (owners == 0) return fail(ErrorCode::kInvalidArgument, "a workspace needs an owner: transfer it first");
  return {};
}

// Whether somebody may do less, or for fewer, than before.
bool is_narrower(const Member& before, const Membership& after) {
  const auto sees = [](Role role, std::optional<bool> payloads) { return payloads.value_or(role >= Role::kManager); };
  if (after.role < before.role) return true;
  if (sees(before.role, before.payloads) && !sees(after.role, after.payloads)) return true;
  return !after.clients.empty() && after.clients != before.clients;
}

// The member to be changed, when the actor may touch somebody of that role.
Result<Member> member_to_change(db::Transaction& tx, const Change& change, const std::string& user_id) {
  if (auto allowed = check(change.actor, Action::kManagePeople); !allowed) {
    return std::unexpected(std::move(allowed).error());
  }
  auto member = find_member(tx, change.actor.scope, user_id);
  if (!member) return member;
  if (member->role > role_of(change.actor)) {
    return fail(ErrorCode::kPermissionDenied, fmt::format("only an owner can change an {}", to_string(member->role)));
  }
  return member;
}

}  // namespace

Result<void> check_may_give(const Grant& actor, const Membership& membership) {
  if (auto allowed = check(actor, Action::kManagePeople); !allowed) return allowed;
  if (membership.role > role_of(actor)) {
    return fail(ErrorCode::kPermissionDenied, fmt::format("only an {0} can make an {0}", to_string(membership.role)));
  }
  const bool gives_payloads = membership.payloads.value_or(membership.role >= Role::kManager);
  if (gives_payloads && !can(actor, Action::kReveal).allowed) {
    return fail(ErrorCode::kPermissionDenied, "who may not see payloads cannot let others see them");
  }
  return check_clients(membership.clients);
}

Result<std::vector<Member>> list_members(db::Reader& reader, const Scope& scope, const std::string& after,
                                         std::int32_t rows_max) {
  std::vector<Member> members;
  auto rows = reader.query(
      "SELECT m.workspace, m.user_id, u.email, u.name, m.role, m.clients, m.payloads, m.created_at, u.disabled_at FROM "
      "access_members m JOIN access_users u ON u.id = m.user_id WHERE m.workspace = $1 AND m.removed_at IS NULL AND "
      "u.email > $2 ORDER BY u.email LIMIT $3",
      {scope.workspace, after, rows_max});
  if (!rows) return std::unexpected(std::move(rows).error());
  for (const db::Row row : *rows) {
    auto member = member_from(row);
    if (!member) return std::unexpected(std::move(member).error());
    members.push_back(*std::move(member));
  }
  return members;
}

Result<Member> find_member(db::Reader& reader, const Scope& scope, const std::string& user_id) {
  auto rows = reader.query(
      "SELECT m.workspace, m.user_id, u.email, u.name, m.role, m.clients, m.payloads, m.created_at, u.disabled_at FROM "
      "access_members m JOIN access_users u ON u.id = m.user_id WHERE m.workspace = $1 AND m.user_id = $2 AND "
      "m.removed_at IS NULL",
      {scope.workspace, user_id});
  if (!rows) return std::unexpected(std::move(rows).error());
  if (rows->empty()) return fail(ErrorCode::kNotFound, "no such member");
  return member_from((*rows)[0]);
}

Result<void> insert_member(db::Transaction& tx, const Change& change, const WorkspaceId& workspace,
                           const std::string& user_id, const Membership& membership) {
  auto version = next_version(tx);
  if (!version) return std::unexpected(std::move(version).error());
  auto done = tx.execute(
      "INSERT INTO access_members (workspace, user_id, role, clients, payloads, created_at, version) VALUES ($1, $2, "
      "$3, $4, $5, $6, $7) ON CONFLICT (workspace, user_id) DO UPDATE SET role = excluded.role, clients = "
      "excluded.clients, payloads = excluded.payloads, created_at = excluded.created_at, removed_at = NULL, version = "
      "excluded.version",
      {workspace, user_id, static_cast<std::int64_t>(membership.role), clients_json(membership.clients),
       stored(membership.payloads), change.now, *version});
  if (!done) return std::unexpected(std::move(done).error());
  return record(tx, change, workspace,
                {.action = "member.add",
                 .target_type = "user",
                 .target_id = user_id,
                 .after = membership_json(membership.role, membership.clients, membership.payloads)});
}

Result<void> change_member(db::Transaction& tx, const Change& change, const std::string& user_id,
                           const Membership& membership) {
  auto before = member_to_change(tx, change, user_id);
  if (!before) return std::unexpected(std::move(before).error());
  if (auto allowed = check_may_give(change.actor, membership); !allowed) return allowed;
  auto version = next_version(tx);
  if (!version) return std::unexpected(std::move(version).error());
  auto done = tx.execute(
      "UPDATE access_members SET role = $3, clients = $4, payloads = $5, version = $6 WHERE workspace = $1 AND user_id "
      "= $2",
      {before->workspace, user_id, static_cast<std::int64_t>(membership.role), clients_json(membership.clients),
       stored(membership.payloads), *version});
  if (!done) return std::unexpected(std::move(done).error());
  if (before->role == Role::kOwner) {
    if (auto kept = check_has_owner(tx, before->workspace); !kept) return kept;
  }
  if (is_narrower(*before, membership)) {
    if (auto ended = revoke_links_made_by(tx, change, user_id, "maker_demoted"); !ended) return ended;
  }
  return record(tx, change, before->workspace,
                {.action = "member.change",
                 .target_type = "user",
                 .target_id = user_id,
                 .before = membership_json(before->role, before->clients, before->payloads),
                 .after = membership_json(membership.role, membership.clients, membership.payloads)});
}

Result<void> remove_member(db::Transaction& tx, const Change& change, const std::string& user_id) {
  auto before = member_to_change(tx, change, user_id);
  if (!before) return std::unexpected(std::move(before).error());
  auto version = next_version(tx);
  if (!version) return std::unexpected(std::move(version).error());
  auto done =
      tx.execute("UPDATE access_members SET removed_at = $3, version = $4 WHERE workspace = $1 AND user_id = $2",
                 {before->workspace, user_id, change.now, *version});
  if (!done) return std::unexpected(std::move(done).error());
  if (before->role == Role::kOwner) {
    if (auto kept = check_has_owner(tx, before->workspace); !kept) return kept;
  }
  if (auto ended = revoke_links_made_by(tx, change, user_id, "maker_removed"); !ended) return ended;
  if (auto ended = revoke_links_made_for(tx, change, user_id, before->email, "member_removed"); !ended) return ended;
  return record(tx, change, before->workspace,
                {.action = "member.remove",
                 .target_type = "user",
                 .target_id = user_id,
                 .before = membership_json(before->role, before->clients, before->payloads)});
}

Result<void> set_disabled(db::Transaction& tx, const Change& change, const std::string& user_id, bool disabled) {
  auto member = member_to_change(tx, change, user_id);
  if (!member) return std::unexpected(std::move(member).error());
  if (member->is_disabled == disabled) return {};
  auto version = next_version(tx);
  if (!version) return std::unexpected(std::move(version).error());
  auto done = tx.execute("UPDATE access_users SET disabled_at = $3, version = $4 WHERE workspace = $1 AND id = $2",
                         {member->workspace, user_id, disabled ? std::optional(change.now) : std::nullopt, *version});
  if (!done) return std::unexpected(std::move(done).error());
  if (*done == 0)
    return fail(ErrorCode::kPermissionDenied, "the account belongs to another workspace; remove the member");
  if (disabled) {
    if (member->role == Role::kOwner) {
      if (auto kept = check_has_owner(tx, member->workspace); !kept) return kept;
    }
    if (auto ended = end_sessions(tx, change, member->workspace, user_id, {}); !ended) {
      return std::unexpected(std::move(ended).error());
    }
    if (auto ended = revoke_links_of_account(tx, change, user_id, member->email, "account_disabled"); !ended) {
      return ended;
    }
  }
  return record(tx, change, member->workspace,
                {.action = disabled ? "user.disable" : "user.enable", .target_type = "user", .target_id = user_id});
}

}  // namespace fettle::access
