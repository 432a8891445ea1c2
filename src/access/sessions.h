// What a browser holds after signing in: stored hashed, ended by time, by the person or by an admin.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "access/change.h"
#include "access/credential.h"

namespace fettle::access {

struct SessionLimits {
  std::chrono::seconds idle_max = std::chrono::hours(12);      // without a request
  std::chrono::seconds age_max = std::chrono::hours(24 * 14);  // whatever happens
  std::size_t per_user_max = 20;                               // the one that was used longest ago ends
};

struct NewSession {
  std::string id;          // make_identifier("ses_", …)
  std::string credential;  // make_credential(kSession, …)
  std::string agent;       // the browser's own description, cut to 200 bytes
};

struct StoredSession {
  std::string id;
  std::string user_id;
  std::string address;
  std::string agent;
  UnixNanos created_at = 0;
  UnixNanos expires_at = 0;
  UnixNanos last_used_at = 0;
};

// For accounts.h: `change.actor` is the person. `home` is the workspace that their account belongs to.
Result<void> insert_session(db::Transaction& tx, const Change& change, const WorkspaceId& home, const NewSession& made,
                            const SessionLimits& limits);
// One's own, or with the right to manage people anybody's whose account belongs to the workspace. kNotFound.
Result<void> end_session(db::Transaction& tx, const Change& change, const WorkspaceId& home, const std::string& user_id,
                         const std::string& session_id);
// All of a person's but `keep`. Returns how many ended. The caller has checked the right.
Result<std::int64_t> end_sessions(db::Transaction& tx, const Change& change, const WorkspaceId& home,
                                  const std::string& user_id, const std::string& keep);
// Those that are alive, newest first.
Result<std::vector<StoredSession>> sessions_of(db::Reader& reader, const WorkspaceId& home, const std::string& user_id,
                                               UnixNanos now);

// What a page must send back with every request that changes something (header X-Fettle-Csrf): derived from the
// session's credential, so that whoever can read the cookie alone can make it, and nobody else.
std::string csrf_token_of(std::string_view session_credential);
// In constant time.
bool is_csrf_token(std::string_view session_credential, std::string_view presented);

constexpr std::string_view kSessionCookie = "fettle_session";
constexpr std::string_view kSecureSessionCookie = "__Host-fettle_session";  // over TLS
constexpr std::string_view kCsrfHeader = "X-Fettle-Csrf";
constexpr std::string_view kWorkspaceHeader = "X-Fettle-Workspace";

// Values for Set-Cookie: HttpOnly, SameSite=Strict, Path=/; `secure` where the client came over TLS.
std::string session_cookie(std::string_view credential, std::chrono::seconds age_max, bool secure);
std::string ended_session_cookie(bool secure);
// The credential in a Cookie header; empty when there is none, or more than one of a name.
std::string session_in_cookies(std::string_view cookie_header);

}  // namespace fettle::access
