#include "access/workspaces.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

#include "access/links.h"
#include "access/members.h"
#include "access/rights.h"
#include "access/stored_fields.h"

namespace fettle::access {
namespace {

namespace json = boost::json;

Result<Workspace> workspace_from(const db::Row& row) {
  Workspace workspace;
  std::string plan;
  std::string run_ai;
  if (auto read = row.into(workspace.id, workspace.name, plan, run_ai, workspace.created_at); !read) {
    return std::unexpected(std::move(read).error());
  }
  auto parsed = plan_from_json(plan);
  if (!parsed) return std::unexpected(std::move(parsed).error());
  workspace.plan = *std::move(parsed);
  auto granted = run_ai_from_json(run_ai);
  if (!granted) return std::unexpected(std::move(granted).error());
  workspace.run_ai = *std::move(granted);
  return workspace;
}

Result<void> insert(db::Transaction& tx, const Change& change, const WorkspaceId& id, const std::string& name) {
  auto version = next_version(tx);
  if (!version) return std::unexpected(std::move(version).error());
  auto done = tx.execute(
      "INSERT INTO access_workspaces (workspace, name, plan, run_ai, created_at, version) VALUES ($1, $2, $3, $4, $5, "
      "$6)",
      {id, name, to_json(Plan{}), "{}", change.now, *version});
  if (!done) return std::unexpected(std::move(done).error());
  return record(tx, change, id,
                {.action = "workspace.create",
                 .target_type = "workspace",
                 .target_id = id.value,
                 .after = json::serialize(json::object{{"name", name}})});
}

Result<void> check_new(const WorkspaceId& id, const std::string& name) {
  if (!is_workspace_name(id.value)) {
    return fail(ErrorCode::kInvalidArgument,
                "a workspace is named with 1 to 64 of a-z, 0-9, '-' and '_', beginning with a letter or digit");
  }
  return check_name("the name of a workspace", name);
}

// The row whether or not it was deleted.
Result<bool> exists(db::Reader& reader, const WorkspaceId& id) {
  std::string found;
  return reader.fetch("SELECT workspace FROM access_workspaces WHERE workspace = $1", {id}, found);
}

}  // namespace

bool runs_ai(const std::map<std::string, std::vector<Role>>& granted, Role role) {
  if (granted.empty()) return role >= Role::kOperator;
  return std::ranges::any_of(
      granted, [&](const auto& pack) { return std::ranges::find(pack.second, role) != pack.second.end(); });
}

std::string run_ai_json(const std::map<std::string, std::vector<Role>>& granted) {
  json::object object;
  for (const auto& [pack, roles] : granted) {
    json::array array;
    for (const Role role : roles) array.emplace_back(to_string(role));
    object.emplace(pack, std::move(array));
  }
  return json::serialize(object);
}

Result<std::map<std::string, std::vector<Role>>> run_ai_from_json(std::string_view text) {
  const auto broken = [] { return fail(ErrorCode::kDataLoss, "the stored right to run agents is malformed"); };
  boost::system::error_code error;
  const json::value value = json::parse(text, error);
  if (error || !value.is_object()) return broken();
  std::map<std::string, std::vector<Role>> granted;
  for (const auto& [pack, roles] : value.get_object()) {
    if (!roles.is_array()) return broken();
    std::vector<Role>& list = granted[std::string(pack)];
    for (const json::value& role : roles.get_array()) {
      const auto known = role.is_string() ? role_named(role.get_string()) : std::nullopt;
      if (!known) return broken();
      list.push_back(*known);
    }
  }
  return granted;
}

Result<void> create_workspace(db::Transaction& tx, const Change& change, const WorkspaceId& id,
                              const std::string& name) {
  if (change.actor.kind != ActorKind::kSystem) {
    return fail(ErrorCode::kPermissionDenied, "workspaces are made on the server's own machine");
  }
  if (auto good = check_new(id, name); !good) return good;
  auto found = exists(tx, id);
  if (!found) return std::unexpected(std::move(found).error());
  if (*found) return fail(ErrorCode::kConflict, "there is, or was, a workspace of that name");
  return insert(tx, change, id, name);
}

Result<void> found_workspace(db::Transaction& tx, const Change& change, const WorkspaceId& home, const WorkspaceId& id,
                             const std::string& name) {
  if (auto allowed = check(change.actor, Action::kMakeWorkspace); !allowed) return allowed;
  if (change.actor.scope.workspace != home) {
    return fail(ErrorCode::kPermissionDenied,
                fmt::format("workspaces are made by owners of the workspace '{}'", home.value));
  }
  if (change.actor.kind != ActorKind::kUser) {
    return fail(ErrorCode::kPermissionDenied, "sign in: whoever makes a workspace is its first owner");
  }
  if (auto good = check_new(id, name); !good) return good;
  auto found = exists(tx, id);
  if (!found) return std::unexpected(std::move(found).error());
  if (*found) return fail(ErrorCode::kConflict, "there is, or was, a workspace of that name");
  std::int64_t count = 0;
  if (auto counted = tx.fetch("SELECT COUNT(*) FROM access_workspaces", {}, count); !counted) {
    return std::unexpected(std::move(counted).error());
  }
  if (count >= kWorkspacesMax) {
    return fail(ErrorCode::kResourceExhausted, fmt::format("there are {} workspaces", kWorkspacesMax));
  }
  if (auto made = insert(tx, change, id, name); !made) return made;
  return insert_member(tx, change, id, change.actor.actor_id, {.role = Role::kOwner});
}

Result<bool> ensure_workspace(db::Transaction& tx, const Change& change, const WorkspaceId& id) {
  if (change.actor.kind != ActorKind::kSystem) {
    return fail(ErrorCode::kPermissionDenied, "workspaces are made on the server's own machine");
  }
  if (auto good = check_new(id, id.value); !good) return std::unexpected(std::move(good).error());
  auto found = exists(tx, id);
  if (!found || *found) return found ? Result<bool>(false) : found;
  if (auto made = insert(tx, change, id, id.value); !made) return std::unexpected(std::move(made).error());
  return true;
}

Result<void> delete_workspace(db::Transaction& tx, const Change& change) {
  if (auto allowed = check(change.actor, Action::kDeleteWorkspace); !allowed) return allowed;
  const WorkspaceId& id = change.actor.scope.workspace;
  auto found = find_workspace(tx, change.actor.scope);
  if (!found) return std::unexpected(std::move(found).error());
  auto version = next_version(tx);
  if (!version) return std::unexpected(std::move(version).error());
  for (const db::Sql& statement : {
           db::Sql("UPDATE access_workspaces SET deleted_at = $2, version = $3 WHERE workspace = $1"),
           db::Sql("UPDATE access_tokens SET revoked_at = COALESCE(revoked_at, $2), version = $3 WHERE workspace = $1"),
           db::Sql(
               "UPDATE access_members SET removed_at = COALESCE(removed_at, $2), version = $3 WHERE workspace = $1"),
       }) {
    if (auto done = tx.execute(statement, {id, change.now, *version}); !done) {
      return std::unexpected(std::move(done).error());
    }
  }
  if (auto done =
          tx.execute("UPDATE access_links SET used_at = COALESCE(used_at, $2) WHERE workspace = $1", {id, change.now});
      !done) {
    return std::unexpected(std::move(done).error());
  }
  return record(tx, change, id,
                {.action = "workspace.delete",
                 .target_type = "workspace",
                 .target_id = id.value,
                 .before = json::serialize(json::object{{"name", found->name}})});
}

Result<void> transfer_workspace(db::Transaction& tx, const Change& change, const std::string& to_user) {
  if (auto allowed = check(change.actor, Action::kTransferWorkspace); !allowed) return allowed;
  const Scope& scope = change.actor.scope;
  auto heir = find_member(tx, scope, to_user);
  if (!heir) return std::unexpected(std::move(heir).error());
  if (heir->is_disabled) return fail(ErrorCode::kInvalidArgument, "that account is disabled");
  auto version = next_version(tx);
  if (!version) return std::unexpected(std::move(version).error());
  const auto set_role = [&](const std::string& user, Role role) {
    return tx.execute(
        "UPDATE access_members SET role = $3, clients = NULL, version = $4 WHERE workspace = $1 AND user_id = $2 AND "
        "removed_at IS NULL",
        {scope.workspace, user, static_cast<std::int64_t>(role), *version});
  };
  if (auto done = set_role(to_user, Role::kOwner); !done) return std::unexpected(std::move(done).error());
  if (change.actor.kind == ActorKind::kUser && change.actor.actor_id != to_user) {
    if (auto done = set_role(change.actor.actor_id, Role::kAdmin); !done) {
      return std::unexpected(std::move(done).error());
    }
    if (auto ended = revoke_links_made_by(tx, change, change.actor.actor_id, "maker_demoted"); !ended) return ended;
  }
  return record(tx, change, scope.workspace,
                {.action = "workspace.transfer",
                 .target_type = "user",
                 .target_id = to_user,
                 .before = membership_json(heir->role, heir->clients, heir->payloads),
                 .after = membership_json(Role::kOwner, {}, heir->payloads)});
}

Result<void> set_plan(db::Transaction& tx, const Change& change, const Plan& plan) {
  if (auto allowed = check(change.actor, Action::kManagePlan); !allowed) return allowed;
  if (auto good = check_plan(plan); !good) return good;
  auto before = find_workspace(tx, change.actor.scope);
  if (!before) return std::unexpected(std::move(before).error());
  auto version = next_version(tx);
  if (!version) return std::unexpected(std::move(version).error());
  const std::string after = to_json(plan);
  if (auto done = tx.execute("UPDATE access_workspaces SET plan = $2, version = $3 WHERE workspace = $1",
                             {before->id, after, *version});
      !done) {
    return std::unexpected(std::move(done).error());
  }
  return record(tx, change, before->id,
                {.action = "plan.change",
                 .target_type = "workspace",
                 .target_id = before->id.value,
                 .before = to_json(before->plan),
                 .after = after});
}

Result<void> grant_run_ai(db::Transaction& tx, const Change& change, const std::string& pack,
                          const std::vector<Role>& roles) {
  if (auto allowed = check(change.actor, Action::kManagePeople); !allowed) return allowed;
  if (auto good = check_name("the name of a pack", pack); !good) return good;
  auto workspace = find_workspace(tx, change.actor.scope);
  if (!workspace) return std::unexpected(std::move(workspace).error());
  auto granted = workspace->run_ai;
  if (roles.empty()) {
    granted.erase(pack);
  } else {
    granted[pack] = roles;
  }
  auto version = next_version(tx);
  if (!version) return std::unexpected(std::move(version).error());
  const std::string after = run_ai_json(granted);
  if (auto done = tx.execute("UPDATE access_workspaces SET run_ai = $2, version = $3 WHERE workspace = $1",
                             {workspace->id, after, *version});
      !done) {
    return std::unexpected(std::move(done).error());
  }
  return record(tx, change, workspace->id,
                {.action = "run_ai.grant",
                 .target_type = "pack",
                 .target_id = pack,
                 .before = run_ai_json(workspace->run_ai),
                 .after = after});
}

Result<Workspace> find_workspace(db::Reader& reader, const Scope& scope) {
  auto rows = reader.query(
      "SELECT workspace, name, plan, run_ai, created_at FROM access_workspaces WHERE workspace = $1 AND deleted_at IS "
      "NULL",
      {scope.workspace});
  if (!rows) return std::unexpected(std::move(rows).error());
  if (rows->empty()) return fail(ErrorCode::kNotFound, "no such workspace");
  return workspace_from((*rows)[0]);
}

Result<std::vector<Workspace>> workspaces_of(db::Reader& reader, const std::string& user_id) {
  auto rows = reader.query(
      "SELECT w.workspace, w.name, w.plan, w.run_ai, w.created_at FROM access_workspaces w JOIN access_members m ON "
      "m.workspace = w.workspace WHERE m.user_id = $1 AND m.removed_at IS NULL AND w.deleted_at IS NULL ORDER BY "
      "w.workspace",
      {user_id});
  if (!rows) return std::unexpected(std::move(rows).error());
  std::vector<Workspace> found;
  for (const db::Row row : *rows) {
    auto workspace = workspace_from(row);
    if (!workspace) return std::unexpected(std::move(workspace).error());
    found.push_back(*std::move(workspace));
  }
  return found;
}

}  // namespace fettle::access
