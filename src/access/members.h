// Who belongs to a workspace, as what, and for which clients.
//
// Nobody gives more than they have: a role above one's own can be neither given nor taken, and a workspace always keeps
// an owner whose account works.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "access/change.h"

namespace fettle::access {

struct Membership {
  Role role = Role::kViewer;
  std::vector<ClientId> clients = {};  // empty: all
  std::optional<bool> payloads = {};   // empty: the role decides
};

struct Member {
  WorkspaceId workspace;
  std::string user_id;
  std::string email;
  std::string name;
  Role role = Role::kViewer;
  std::vector<ClientId> clients;
  std::optional<bool> payloads;
  UnixNanos created_at = 0;
  bool is_disabled = false;  // their account, everywhere
};

// By the workspace, sorted by address; at most `rows_max`, after the address `after`.
Result<std::vector<Member>> list_members(db::Reader& reader, const Scope& scope, const std::string& after = {},
                                         std::int32_t rows_max = 1000);
// kNotFound.
Result<Member> find_member(db::Reader& reader, const Scope& scope, const std::string& user_id);

Result<void> change_member(db::Transaction& tx, const Change& change, const std::string& user_id,
                           const Membership& membership);
// Their sessions go on in their other workspaces.
Result<void> remove_member(db::Transaction& tx, const Change& change, const std::string& user_id);

// Closes or opens an account and, when closing, ends its sessions. By those who manage people in the workspace that the
// account belongs to.
Result<void> set_disabled(db::Transaction& tx, const Change& change, const std::string& user_id, bool disabled);

// What kManagePeople allows the actor to hand out. kPermissionDenied above their own role, or payloads they may not
// see.
Result<void> check_may_give(const Grant& actor, const Membership& membership);

// For accounts.h: a new member, or one that was removed and comes again.
Result<void> insert_member(db::Transaction& tx, const Change& change, const WorkspaceId& workspace,
                           const std::string& user_id, const Membership& membership);

}  // namespace fettle::access
