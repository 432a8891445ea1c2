#include "access/directory.h"

#include <algorithm>

#include "access/directory_rows.h"
#include "core/log.h"

namespace fettle::access {
namespace {

constexpr UnixNanos kUseGrain = kNanosPerSecond;  // finer times of last use are not kept

// On the hot path: an atomic that everybody writes to is a cache line that everybody waits for.
template <class Thing>
void note(const Thing& thing, UnixNanos now) {
  if (now - thing.last_used.load(std::memory_order_relaxed) < kUseGrain) return;
  thing.last_used.store(now, std::memory_order_relaxed);
  thing.is_to_be_noted.store(true, std::memory_order_relaxed);
}

template <class Thing>
void keep_use(const Thing& before, const Thing& now) {
  if (before.last_used > now.last_used) {
    now.last_used = before.last_used.load();
    now.is_to_be_noted = before.is_to_be_noted.load();
  }
}

}  // namespace

Directory::Directory(db::Database& database, Clock& clock, metrics::Registry& registry, Options options)
    : database_(database),
      clock_(clock),
      options_(options),
      stale_seconds_(registry.gauge("fettle_access_stale_seconds",
                                    "How long ago what is known of tokens and people was last as new as the ledger.")),
      tokens_known_(registry.gauge("fettle_access_tokens", "Tokens of the ledger that are alive.")),
      shards_(std::make_unique<std::array<TokenShard, kShards>>()),
      people_(std::make_unique<People>()),
      rounds_(std::make_unique<Rounds>()) {}

Directory::~Directory() { stop(); }

Result<void> Directory::start() {
  std::promise<Result<void>> loaded;
  refresh([&](Result<void> result) { loaded.set_value(std::move(result)); });
  if (auto result = loaded.get_future().get(); !result) {
    return std::unexpected(std::move(result).error().within("reading who may come in"));
  }
  thread_ = std::jthread([this](const std::stop_token& stop) { follow(stop); });
  return {};
}

void Directory::stop() {
  if (thread_.joinable()) {
    thread_.request_stop();
    thread_.join();
    note_use(true);
  }
  MutexLock lock(rounds_->mutex);
  rounds_->is_stopped = true;
  while (rounds_->is_running) rounds_->ended.wait(lock);
}

std::optional<Grant> Directory::find(std::string_view token) const {
  // A text of the wrong form is no token of ours, whoever sends it however often.
  if (kind_of(token) != CredentialKind::kToken) return std::nullopt;
  const std::shared_ptr<const Token> found = live_token(sha256_of(token));
  if (!found) return std::nullopt;
  note(*found, clock_.now());
  Grant grant = found->grant;
  // A token that only works counts as an operator.
  const Role role = role_of(grant).value_or(Role::kOperator);
  grant.runs_ai = (found->ai_roles->load(std::memory_order_relaxed) & ai_bit(role)) != 0;
  return grant;
}

Directory::TokenShard& Directory::shard_of(const Digest& digest) const { return (*shards_)[digest[31] % kShards]; }

std::shared_ptr<const Directory::Token> Directory::live_token(const Digest& digest) const {
  const TokenShard& shard = shard_of(digest);
  std::shared_ptr<const Token> token;
  {
    MutexLock lock(shard.mutex);
    if (const auto found = shard.tokens.find(digest); found != shard.tokens.end()) token = found->second;
  }
  if (token && token->expires_at && *token->expires_at <= clock_.now()) return nullptr;
  return token;
}

std::optional<Grant> Directory::grant_in(const People& people, const User& user, const WorkspaceId& workspace)
    FETTLE_REQUIRES(people.mutex) {
  const auto place = people.workspaces.find(workspace.value);
  const auto member = user.memberships.find(workspace.value);
  if (user.is_disabled || member == user.memberships.end() || place == people.workspaces.end() ||
      place->second.is_deleted) {
    return std::nullopt;
  }
  const User::Membership& membership = member->second;
  return Grant{.scope = {.workspace = workspace, .clients = membership.clients},
               .scopes = scopes_of(membership.role),
               .sender = user.id,
               .kind = ActorKind::kUser,
               .actor_id = user.id,
               .role = membership.role,
               .payloads = membership.payloads,
               .runs_ai = (place->second.ai_roles->load(std::memory_order_relaxed) & ai_bit(membership.role)) != 0};
}

Result<Directory::Person> Directory::person(std::string_view session_credential, const WorkspaceId& wanted) const {
  const auto nobody = [] { return fail(ErrorCode::kUnauthenticated, "sign in: the session has ended"); };
  if (kind_of(session_credential) != CredentialKind::kSession) return nobody();
  const Digest digest = sha256_of(session_credential);
  const UnixNanos now = clock_.now();
  MutexLock lock(people_->mutex);
  const auto found = people_->sessions.find(digest);
  if (found == people_->sessions.end()) return nobody();
  const Session& session = *found->second;
  const UnixNanos idle_max = std::chrono::nanoseconds(options_.session_idle_max).count();
  if (session.expires_at <= now || session.last_used.load() + idle_max <= now) return nobody();
  const auto known = people_->users.find(session.user_id);
  if (known == people_->users.end() || known->second.is_disabled) return nobody();
  const User& user = known->second;

  std::optional<Grant> grant;
  if (!wanted.value.empty()) {
    grant = grant_in(*people_, user, wanted);
    if (!grant) return fail(ErrorCode::kNotFound, "no such workspace");
  } else {
    grant = grant_in(*people_, user, user.home);
    for (auto member = user.memberships.begin(); !grant && member != user.memberships.end(); ++member) {
      grant = grant_in(*people_, user, {member->first});
    }
    if (!grant) return fail(ErrorCode::kNotFound, "you belong to no workspace any more");
  }
  note(session, now);
  return Person{
      .grant = *std::move(grant), .session_id = session.id, .home = user.home, .email = user.email, .name = user.name};
}

std::optional<Grant> Directory::grant_of(const WorkspaceId& workspace, std::string_view actor_id) const {
  std::optional<Digest> digest;
  {
    MutexLock lock(people_->mutex);
    if (const auto user = people_->users.find(std::string(actor_id)); user != people_->users.end()) {
      return grant_in(*people_, user->second, workspace);
    }
    if (const auto token = people_->token_ids.find(std::string(actor_id)); token != people_->token_ids.end()) {
      digest = token->second;
    }
  }
  const auto token = digest ? live_token(*digest) : nullptr;
  if (!token || token->grant.scope.workspace != workspace) return std::nullopt;
  Grant grant = token->grant;
  grant.runs_ai = (token->ai_roles->load() & ai_bit(role_of(grant).value_or(Role::kOperator))) != 0;
  return grant;
}

std::optional<Plan> Directory::plan_of(const WorkspaceId& workspace) const {
  MutexLock lock(people_->mutex);
  const auto place = people_->workspaces.find(workspace.value);
  if (place == people_->workspaces.end() || place->second.is_deleted) return std::nullopt;
  return place->second.plan;
}

std::shared_ptr<const Plan> Directory::limits_of(const WorkspaceId& workspace) const {
  MutexLock lock(people_->mutex);
  const auto place = people_->workspaces.find(workspace.value);
  return place == people_->workspaces.end() ? nullptr : place->second.limits;
}

bool Directory::runs_ai(const WorkspaceId& workspace, Role role) const {
  MutexLock lock(people_->mutex);
  const auto place = people_->workspaces.find(workspace.value);
  return place != people_->workspaces.end() && !place->second.is_deleted &&
         (place->second.ai_roles->load() & ai_bit(role)) != 0;
}

// Reading what changed. At most one round is under way; whoever asks meanwhile shares the next one, because the one
// under way may have taken its snapshot already.

void Directory::refresh(std::move_only_function<void(Result<void>)> done) {
  {
    MutexLock lock(rounds_->mutex);
    if (!rounds_->is_stopped) {
      rounds_->next.push_back(std::move(done));
      if (rounds_->is_running) return;
      rounds_->is_running = true;
      rounds_->current.swap(rounds_->next);
    }
  }
  if (done) return done(fail(ErrorCode::kCancelled, "the server is stopping"));
  begin_round();
}

void Directory::begin_round() {
  std::int64_t after = kEverything;
  {
    MutexLock lock(rounds_->mutex);
    if (!rounds_->wants_everything) after = rounds_->loaded;
  }
  const auto begun = clock_.monotonic();
  database_.read(
      [after](db::Reader& reader) { return read_changes(reader, after); },
      db::Database::Done<Changes>([this, begun](Result<Changes> changes) { end_round(std::move(changes), begun); }));
}

void Directory::end_round(Result<Changes> changes, std::chrono::nanoseconds begun) {
  Result<void> outcome;
  if (changes) {
    const std::int64_t version = changes->version;
    const bool is_everything = changes->is_everything;
    apply(*std::move(changes));
    MutexLock lock(rounds_->mutex);
    rounds_->loaded = version;
    rounds_->as_of = begun;
    if (is_everything) rounds_->wants_everything = false;
  } else {
    outcome = std::unexpected(std::move(changes).error());
  }
  std::vector<std::move_only_function<void(Result<void>)>> told;
  {
    MutexLock lock(rounds_->mutex);
    told.swap(rounds_->current);
  }
  for (auto& done : told) done(outcome);
  {
    MutexLock lock(rounds_->mutex);
    if (rounds_->next.empty()) {
      rounds_->is_running = false;
      rounds_->ended.notify_all();
      return;
    }
    rounds_->current.swap(rounds_->next);
  }
  begin_round();
}

void Directory::apply(Changes changes) {
  apply_people(changes);
  apply_tokens(changes);
}

void Directory::apply_people(Changes& changes) {
  const UnixNanos now = clock_.now();
  MutexLock lock(people_->mutex);
  People& people = *people_;
  if (changes.is_everything) {
    // Rows are hidden and not removed while anybody could still hold them; what is gone now was purged long ago.
    for (auto& [id, user] : people.users) user.memberships.clear();
  }
  for (auto& row : changes.workspaces) {
    Place& place = people.workspaces[row.id];
    place.limits = limits_anything(row.plan) ? std::make_shared<const Plan>(row.plan) : nullptr;
    place.plan = std::move(row.plan);
    place.ai_roles->store(row.is_deleted ? 0 : row.ai_roles);
    place.is_deleted = row.is_deleted;
  }
  for (User& row : changes.users) {
    User& user = people.users[row.id];
    row.memberships = std::move(user.memberships);
    user = std::move(row);
  }
  for (auto& row : changes.members) {
    auto& memberships = people.users[row.user_id].memberships;
    if (row.is_removed) {
      memberships.erase(row.workspace);
    } else {
      memberships[row.workspace] = std::move(row.membership);
    }
  }
  std::unordered_map<Digest, std::shared_ptr<const Session>, DigestHash> before;
  if (changes.is_everything) before.swap(people.sessions);
  for (auto& row : changes.sessions) {
    auto& known = changes.is_everything ? before : people.sessions;
    const auto found = known.find(row.session->digest);
    if (found != known.end()) keep_use(*found->second, *row.session);
    if (row.is_ended || row.session->expires_at <= now) {
      people.sessions.erase(row.session->digest);
    } else {
      people.sessions[row.session->digest] = row.session;
    }
  }
  if (changes.is_everything) people.token_ids.clear();
  for (auto& row : changes.tokens) {
    row.token->ai_roles = people.workspaces[row.token->grant.scope.workspace.value].ai_roles;
    if (row.is_revoked || (row.token->expires_at && *row.token->expires_at <= now)) {
      row.is_revoked = true;
      people.token_ids.erase(row.token->id);
    } else {
      people.token_ids[row.token->id] = row.token->digest;
    }
  }
  tokens_known_.set(static_cast<double>(people.token_ids.size()));
}

void Directory::apply_tokens(Changes& changes) {
  std::array<std::vector<Changes::TokenRow*>, kShards> rows;
  for (auto& row : changes.tokens) rows[row.token->digest[31] % kShards].push_back(&row);
  for (std::size_t i = 0; i < kShards; ++i) {
    if (rows[i].empty() && !changes.is_everything) continue;
    TokenShard& shard = (*shards_)[i];
    MutexLock lock(shard.mutex);
    decltype(shard.tokens) before;
    if (changes.is_everything) before.swap(shard.tokens);
    for (const Changes::TokenRow* row : rows[i]) {
      auto& known = changes.is_everything ? before : shard.tokens;
      const auto found = known.find(row->token->digest);
      if (found != known.end()) keep_use(*found->second, *row->token);
      if (row->is_revoked) {
        shard.tokens.erase(row->token->digest);
      } else {
        shard.tokens[row->token->digest] = row->token;
      }
    }
  }
}

std::chrono::nanoseconds Directory::staleness() const {
  MutexLock lock(rounds_->mutex);
  return clock_.monotonic() - rounds_->as_of;
}

void Directory::follow(const std::stop_token& stop) {
  auto noted = clock_.monotonic();
  auto reloaded = noted;
  bool is_failing = false;
  while (clock_.wait_for(options_.poll_every, stop)) {
    const auto now = clock_.monotonic();
    if (now - reloaded >= options_.reload_every) {
      MutexLock lock(rounds_->mutex);
      rounds_->wants_everything = true;
      reloaded = now;
    }
    std::promise<Result<void>> round;
    refresh([&](Result<void> result) { round.set_value(std::move(result)); });
    const Result<void> result = round.get_future().get();
    if (!result && !is_failing) log::warning("access_not_followed", {{"error", result.error().message()}});
    if (result && is_failing) log::info("access_followed_again");
    is_failing = !result;
    stale_seconds_.set(std::chrono::duration<double>(staleness()).count());
    if (now - noted >= options_.note_use_every) {
      note_use(false);
      noted = now;
    }
  }
}

void Directory::note_use(bool wait) {
  // Shared with the body, which may run more than once.
  struct Used {
    WorkspaceId workspace;
    std::string id;
    UnixNanos at = 0;
  };
  auto tokens = std::make_shared<std::vector<Used>>();
  auto sessions = std::make_shared<std::vector<Used>>();
  for (const TokenShard& shard : *shards_) {
    MutexLock lock(shard.mutex);
    for (const auto& [digest, token] : shard.tokens) {
      if (token->is_to_be_noted.exchange(false)) {
        tokens->push_back({token->grant.scope.workspace, token->id, token->last_used});
      }
    }
  }
  {
    MutexLock lock(people_->mutex);
    for (const auto& [digest, session] : people_->sessions) {
      if (session->is_to_be_noted.exchange(false))
        sessions->push_back({session->home, session->id, session->last_used});
    }
  }
  if (tokens->empty() && sessions->empty()) return;
  const auto body = [tokens, sessions](db::Transaction& tx) -> Result<void> {
    const auto write = [&](const db::Sql& sql, const std::vector<Used>& used) {
      std::vector<db::Value> values;
      for (const Used& one : used) values.insert(values.end(), {one.workspace, one.id, one.at});
      return tx.execute_many(sql, 3, values);
    };
    if (auto done = write("UPDATE access_tokens SET last_used_at = $3 WHERE workspace = $1 AND id = $2 AND "
                          "COALESCE(last_used_at, 0) < "
                          "$3",
                          *tokens);
        !done) {
      return std::unexpected(std::move(done).error());
    }
    if (auto done =
            write("UPDATE access_sessions SET last_used_at = $3 WHERE workspace = $1 AND id = $2 AND last_used_at < $3",
                  *sessions);
        !done) {
      return std::unexpected(std::move(done).error());
    }
    return {};
  };
  const auto report = [](const Result<void>& result) {
    // The times are lost, and the next use writes newer ones.
    if (!result) log::warning("last_use_not_written", {{"error", result.error().message()}});
  };
  if (wait) {
    report(database_.write_and_wait(body));
  } else {
    database_.write(body, db::Database::Done<void>(report));
  }
}

}  // namespace fettle::access
