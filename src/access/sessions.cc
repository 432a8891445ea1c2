#include "access/sessions.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/hmac.h>

#include "access/rights.h"
#include "core/ids.h"
#include "core/json.h"

namespace fettle::access {
namespace {

constexpr std::size_t kAgentBytesMax = 200;

UnixNanos later(UnixNanos now, std::chrono::seconds by) { return now + std::chrono::nanoseconds(by).count(); }

}  // namespace

Result<void> insert_session(db::Transaction& tx, const Change& change, const WorkspaceId& home, const NewSession& made,
                            const SessionLimits& limits) {
  auto version = next_version(tx);
  if (!version) return std::unexpected(std::move(version).error());
  const std::string& user = change.actor.actor_id;
  auto crowded = tx.execute(
      "UPDATE access_sessions SET ended_at = $3, version = $4 WHERE workspace = $1 AND user_id = $2 AND ended_at IS "
      "NULL AND id NOT IN (SELECT id FROM access_sessions WHERE workspace = $1 AND user_id = $2 AND ended_at IS NULL "
      "AND expires_at > $3 ORDER BY last_used_at DESC, id LIMIT $5)",
      {home, user, change.now, *version, static_cast<std::int64_t>(limits.per_user_max) - 1});
  if (!crowded) return std::unexpected(std::move(crowded).error());
  const Digest digest = sha256_of(made.credential);
  const std::string agent = to_utf8(std::string_view(made.agent).substr(0, kAgentBytesMax));
  auto done = tx.execute(
      "INSERT INTO access_sessions (workspace, id, digest, user_id, address, agent, created_at, expires_at, "
      "last_used_at, version) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $7, $9)",
      {home, made.id, db::BlobView{bytes_of(digest)}, user, change.address, agent, change.now,
       later(change.now, limits.age_max), *version});
  if (!done) return std::unexpected(std::move(done).error());
  return record(tx, change, home, {.action = "session.begin", .target_type = "session", .target_id = made.id});
}

Result<void> end_session(db::Transaction& tx, const Change& change, const WorkspaceId& home, const std::string& user_id,
                         const std::string& session_id) {
  const bool own = change.actor.kind == ActorKind::kUser && change.actor.actor_id == user_id;
  if (!own) {
    if (auto allowed = check(change.actor, Action::kManagePeople, {.workspace = home}); !allowed) return allowed;
  }
  auto version = next_version(tx);
  if (!version) return std::unexpected(std::move(version).error());
  auto done = tx.execute(
      "UPDATE access_sessions SET ended_at = $4, version = $5 WHERE workspace = $1 AND user_id = $2 AND id = $3 AND "
      "ended_at IS NULL",
      {home, user_id, session_id, change.now, *version});
  if (!done) return std::unexpected(std::move(done).error());
  if (*done == 0) return fail(ErrorCode::kNotFound, "no such session");
  return record(tx, change, home, {.action = "session.end", .target_type = "session", .target_id = session_id});
}

Result<std::int64_t> end_sessions(db::Transaction& tx, const Change& change, const WorkspaceId& home,
                                  const std::string& user_id, const std::string& keep) {
  auto version = next_version(tx);
  if (!version) return std::unexpected(std::move(version).error());
  auto done = tx.execute(
      "UPDATE access_sessions SET ended_at = $4, version = $5 WHERE workspace = $1 AND user_id = $2 AND id <> $3 AND "
      "ended_at IS NULL",
      {home, user_id, keep, change.now, *version});
  if (!done || *done == 0) return done;
  if (auto written = record(tx, change, home,
                            {.action = "session.end_all",
                             .target_type = "user",
                             .target_id = user_id,
                             .after = fmt::format(R"({{"ended":{}}})", *done)});
      !written) {
    return std::unexpected(std::move(written).error());
  }
  return done;
}

Result<std::vector<StoredSession>> sessions_of(db::Reader& reader, const WorkspaceId& home, const std::string& user_id,
                                               UnixNanos now) {
  auto rows = reader.query(
      "SELECT id, user_id, address, agent, created_at, expires_at, last_used_at FROM access_sessions WHERE workspace = "
      "$1 AND user_id = $2 AND ended_at IS NULL AND expires_at > $3 ORDER BY created_at DESC, id",
      {home, user_id, now});
  if (!rows) return std::unexpected(std::move(rows).error());
  std::vector<StoredSession> sessions;
  for (const db::Row row : *rows) {
    StoredSession& one = sessions.emplace_back();
    if (auto read =
            row.into(one.id, one.user_id, one.address, one.agent, one.created_at, one.expires_at, one.last_used_at);
        !read) {
      return std::unexpected(std::move(read).error());
    }
  }
  return sessions;
}

std::string csrf_token_of(std::string_view session_credential) {
  constexpr std::string_view kPurpose = "fettle csrf v1";
  unsigned char mac[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  HMAC(EVP_sha256(), session_credential.data(), static_cast<int>(session_credential.size()),
       reinterpret_cast<const unsigned char*>(kPurpose.data()), kPurpose.size(), mac, &size);
  return to_hex({reinterpret_cast<const char*>(mac), size});
}

bool is_csrf_token(std::string_view session_credential, std::string_view presented) {
  const std::string expected = csrf_token_of(session_credential);
  return presented.size() == expected.size() && CRYPTO_memcmp(presented.data(), expected.data(), expected.size()) == 0;
}

std::string session_cookie(std::string_view credential, std::chrono::seconds age_max, bool secure) {
  return fmt::format("{}={}; Path=/; Max-Age={}; HttpOnly; SameSite=Strict{}",
                     secure ? kSecureSessionCookie : kSessionCookie, credential, age_max.count(),
                     secure ? "; Secure" : "");
}

std::string ended_session_cookie(bool secure) { return session_cookie("", std::chrono::seconds(0), secure); }

std::string session_in_cookies(std::string_view cookie_header) {
  std::string found[2];  // over TLS, and without
  bool twice[2] = {false, false};
  while (!cookie_header.empty()) {
    const std::size_t end = cookie_header.find(';');
    std::string_view pair = cookie_header.substr(0, end);
    cookie_header = end == std::string_view::npos ? std::string_view{} : cookie_header.substr(end + 1);
    while (!pair.empty() && (pair.front() == ' ' || pair.front() == '\t')) pair.remove_prefix(1);
    while (!pair.empty() && (pair.back() == ' ' || pair.back() == '\t')) pair.remove_suffix(1);
    const std::size_t equals = pair.find('=');
    if (equals == std::string_view::npos) continue;
    const std::string_view name = pair.substr(0, equals);
    if (name != kSecureSessionCookie && name != kSessionCookie) continue;
    const std::size_t which = name == kSessionCookie ? 1 : 0;
    twice[which] = twice[which] || !found[which].empty();
    found[which] = pair.substr(equals + 1);
  }
  // A second cookie of the name was planted by a neighbouring host or path: nobody can say which one is ours.
  if (twice[0] || twice[1]) return {};
  return found[0].empty() ? found[1] : found[0];
}

}  // namespace fettle::access
