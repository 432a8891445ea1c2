// Everybody who may come in, in memory: authentication asks the store nothing and never blocks.
//
//   Directory directory(database, clock, registry, {});
//   if (auto loaded = directory.start(); !loaded) …
//   std::optional<Grant> grant = directory.find(token);              // hundreds of thousands a second
//   Result<Directory::Person> person = directory.person(session, workspace);
//   directory.change([=](db::Transaction& tx) { return revoke_token(tx, change, id); }, done);
//
// Memory follows the store by the number of the last change: it reads what is newer, after each change() of this
// process (before `done` hears of it: a token that was revoked is refused from then on) and every `poll_every` for
// those of others. While the store does not answer, memory goes on as it last was: fettle_access_stale_seconds says for
// how long.
//
// A miss needs no memory of its own: every live token is here, and what has a wrong check sum is no token. A credential
// that another replica has made a moment ago may be unknown for `poll_every`; whoever cares calls refresh() and asks
// again. Thread-safe; stop() before anything it was given goes.
#pragma once

#include <array>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "access/sessions.h"
#include "access/tokens.h"
#include "access/workspaces.h"
#include "core/clock.h"
#include "core/metrics.h"
#include "core/mutex.h"
#include "db/database.h"

namespace fettle::access {

class Directory final : public Tokens {
 public:
  struct Options {
    std::chrono::milliseconds poll_every{500};
    std::chrono::milliseconds note_use_every{60'000};  // when last-used times are written
    std::chrono::milliseconds reload_every{300'000};   // everything, so that nothing can be wrong for long
    std::chrono::seconds session_idle_max = SessionLimits{}.idle_max;
  };

  Directory(db::Database& database, Clock& clock, metrics::Registry& registry, Options options);
  ~Directory() override;
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;

  // Reads everything, then follows changes on a thread of its own. Blocks.
  Result<void> start();
  // Writes the last-used times that are still to be written. Blocks. Idempotent.
  void stop();

  // Of a live token; from memory.
  std::optional<Grant> find(std::string_view token) const override;

  struct Person {
    Grant grant;
    std::string session_id;
    WorkspaceId home;  // the workspace that their account belongs to
    std::string email;
    std::string name;
  };
  // Of a live session, in the workspace asked for; without one in their home, or else the first that they belong to.
  // kUnauthenticated without a live session; kNotFound for a workspace that they do not belong to. From memory.
  Result<Person> person(std::string_view session_credential, const WorkspaceId& wanted = {}) const;

  // The rights that somebody has now: for work that was asked for earlier (is the person still a member, may they still
  // run agents?). None for people who left, tokens that ended, and tokens of the configuration. From memory.
  std::optional<Grant> grant_of(const WorkspaceId& workspace, std::string_view actor_id) const;

  // None for a workspace that is unknown or deleted. From memory.
  std::optional<Plan> plan_of(const WorkspaceId& workspace) const;
  // The same without a copy; null where nothing is limited. For every lease.
  std::shared_ptr<const Plan> limits_of(const WorkspaceId& workspace) const;
  bool runs_ai(const WorkspaceId& workspace, Role role) const;

  // Calls `done` once memory is at least as new as the store was when this was called, or with the store's error. Many
  // at once share one read.
  void refresh(std::move_only_function<void(Result<void>)> done);

  // Database::write, then refresh, then `done`. A refresh that fails is made up for by the next poll.
  template <class Body, class T = db::internal::BodyValue<Body, db::Transaction>>
  void change(Body body, db::Database::Done<T> done) {
    database_.write(std::move(body), db::Database::Done<T>([this, done = std::move(done)](Result<T> result) mutable {
                      if (!result) return done(std::move(result));
                      refresh([done = std::move(done), result = std::move(result)](const Result<void>&) mutable {
                        done(std::move(result));
                      });
                    }));
  }
  template <class Body, class T = db::internal::BodyValue<Body, db::Transaction>>
  Result<T> change_and_wait(Body body) {
    std::promise<Result<T>> promise;
    change(std::move(body), db::Database::Done<T>([&](Result<T> result) { promise.set_value(std::move(result)); }));
    return promise.get_future().get();
  }

  // Since memory was last known to be as new as the store.
  std::chrono::nanoseconds staleness() const;

 private:
  struct Token;
  struct Session;
  struct User;
  struct Place;    // a workspace
  struct Changes;  // what a read brings
  struct People;   // users, sessions and workspaces, under one lock
  struct TokenShard;
  struct Rounds;  // of refreshing

  static Result<Changes> read_changes(db::Reader& reader, std::int64_t after);
  void begin_round();
  void end_round(Result<Changes> changes, std::chrono::nanoseconds begun);
  void apply(Changes changes);
  void apply_tokens(Changes& changes);
  void apply_people(Changes& changes);
  void follow(const std::stop_token& stop);
  void note_use(bool wait);
  TokenShard& shard_of(const Digest& digest) const;
  std::shared_ptr<const Token> live_token(const Digest& digest) const;
  static std::optional<Grant> grant_in(const People& people, const User& user, const WorkspaceId& workspace);

  db::Database& database_;
  Clock& clock_;
  const Options options_;
  metrics::Gauge& stale_seconds_;
  metrics::Gauge& tokens_known_;

  static constexpr std::size_t kShards = 32;
  std::unique_ptr<std::array<TokenShard, kShards>> shards_;
  std::unique_ptr<People> people_;
  std::unique_ptr<Rounds> rounds_;

  std::jthread thread_;  // last: it uses everything above
};

}  // namespace fettle::access
