// Workspaces: making and giving up one, its plan, and which roles may run agents in it.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "access/change.h"
#include "access/plan.h"

namespace fettle::access {

struct Workspace {
  WorkspaceId id;
  std::string name;
  Plan plan;
  // What each pack granted: the roles that may start, retry and resume the work of agents.
  std::map<std::string, std::vector<Role>> run_ai;
  UnixNanos created_at = 0;
};

constexpr std::int64_t kWorkspacesMax = 10'000;  // of an installation, deleted ones included

// Whether a role may run agents: one of the packs grants it, or, where no pack says anything, from operator on.
bool runs_ai(const std::map<std::string, std::vector<Role>>& granted, Role role);

// By the system alone. kConflict when there is one of that id, even a deleted one: its chain goes on.
Result<void> create_workspace(db::Transaction& tx, const Change& change, const WorkspaceId& id,
                              const std::string& name);
// By a person who owns `home`, the installation's own workspace: they own the new one too. Owners of other workspaces
// make none: they could otherwise find out by trial which names are taken.
Result<void> found_workspace(db::Transaction& tx, const Change& change, const WorkspaceId& home, const WorkspaceId& id,
                             const std::string& name);
// Makes sure that there is a workspace; true when it was made now. For the ones that the configuration names.
Result<bool> ensure_workspace(db::Transaction& tx, const Change& change, const WorkspaceId& id);
// Nobody gets in any more: tokens are revoked, members and links go. Its data is the other rooms' to erase.
Result<void> delete_workspace(db::Transaction& tx, const Change& change);
// Makes `to_user`, a member, the owner, and the one who gives it away an admin.
Result<void> transfer_workspace(db::Transaction& tx, const Change& change, const std::string& to_user);

Result<void> set_plan(db::Transaction& tx, const Change& change, const Plan& plan);
// An empty list takes away what the pack granted. By whoever manages people, or by the system when it installs a pack.
Result<void> grant_run_ai(db::Transaction& tx, const Change& change, const std::string& pack,
                          const std::vector<Role>& roles);

// The one of the scope. kNotFound when there is none.
Result<Workspace> find_workspace(db::Reader& reader, const Scope& scope);
// Those in which somebody is a member.
Result<std::vector<Workspace>> workspaces_of(db::Reader& reader, const std::string& user_id);

// As stored; kDataLoss when it is malformed.
Result<std::map<std::string, std::vector<Role>>> run_ai_from_json(std::string_view text);
std::string run_ai_json(const std::map<std::string, std::vector<Role>>& granted);

}  // namespace fettle::access
