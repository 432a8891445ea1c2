// What the Directory reads from the store and keeps. Internal to the room.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "access/directory.h"

namespace fettle::access {

constexpr std::int64_t kEverything = -1;  // as the number of the change to read from

using AiRoles = std::shared_ptr<std::atomic<std::uint8_t>>;  // a bit for each Role that may run agents

constexpr std::uint8_t ai_bit(Role role) { return static_cast<std::uint8_t>(1U << static_cast<unsigned>(role)); }

// Constant but for the time of its last use.
struct Directory::Token {
  Digest digest{};
  std::string id;
  Grant grant;  // without runs_ai, which follows the workspace
  AiRoles ai_roles;
  std::optional<UnixNanos> expires_at;
  mutable std::atomic<UnixNanos> last_used{0};
  mutable std::atomic<bool> is_to_be_noted{false};
};

struct Directory::Session {
  Digest digest{};
  std::string id;
  WorkspaceId home;
  std::string user_id;
  UnixNanos expires_at = 0;
  mutable std::atomic<UnixNanos> last_used{0};
  mutable std::atomic<bool> is_to_be_noted{false};
};

struct Directory::User {
  std::string id;
  WorkspaceId home;
  std::string email;
  std::string name;
  bool is_disabled = false;
  struct Membership {
    Role role = Role::kViewer;
    std::vector<ClientId> clients;
    std::optional<bool> payloads;
  };
  std::map<std::string, Membership> memberships = {};  // by workspace
};

struct Directory::Place {
  Plan plan;
  std::shared_ptr<const Plan> limits;  // the plan, when it limits something; shared with those who are looking at it
  AiRoles ai_roles = std::make_shared<std::atomic<std::uint8_t>>(0);
  bool is_deleted = false;
};

struct Directory::Changes {
  struct WorkspaceRow {
    std::string id;
    Plan plan;
    std::uint8_t ai_roles = 0;
    bool is_deleted = false;
  };
  struct MemberRow {
    std::string workspace;
    std::string user_id;
    User::Membership membership;
    bool is_removed = false;
  };
  struct TokenRow {
    std::shared_ptr<Token> token;
    bool is_revoked = false;
  };
  struct SessionRow {
    std::shared_ptr<Session> session;
    bool is_ended = false;
  };

  std::int64_t version = 0;
  bool is_everything = false;
  std::vector<WorkspaceRow> workspaces;
  std::vector<User> users;
  std::vector<MemberRow> members;
  std::vector<TokenRow> tokens;
  std::vector<SessionRow> sessions;
};

struct Directory::TokenShard {
  mutable Mutex mutex;
  std::unordered_map<Digest, std::shared_ptr<const Token>, DigestHash> tokens FETTLE_GUARDED_BY(mutex);
};

struct Directory::People {
  mutable Mutex mutex;
  std::unordered_map<std::string, Place> workspaces FETTLE_GUARDED_BY(mutex);
  std::unordered_map<std::string, User> users FETTLE_GUARDED_BY(mutex);
  std::unordered_map<Digest, std::shared_ptr<const Session>, DigestHash> sessions FETTLE_GUARDED_BY(mutex);
  std::unordered_map<std::string, Digest> token_ids FETTLE_GUARDED_BY(mutex);
};

struct Directory::Rounds {
  mutable Mutex mutex;
  Condition ended;
  bool is_running FETTLE_GUARDED_BY(mutex) = false;
  bool is_stopped FETTLE_GUARDED_BY(mutex) = false;
  bool wants_everything FETTLE_GUARDED_BY(mutex) = true;
  std::int64_t loaded FETTLE_GUARDED_BY(mutex) = kEverything;
  std::chrono::nanoseconds as_of FETTLE_GUARDED_BY(mutex){0};
  std::vector<std::move_only_function<void(Result<void>)>> current FETTLE_GUARDED_BY(mutex);
  std::vector<std::move_only_function<void(Result<void>)>> next FETTLE_GUARDED_BY(mutex);
};

}  // namespace fettle::access
