#include "access/accounts.h"

#include <fmt/format.h>

#include <memory>

#include "access/password_rules.h"
#include "access/stored_fields.h"

namespace fettle::access {
namespace {

Error wrong_password() { return Error(ErrorCode::kUnauthenticated, "the e-mail address or the password is wrong"); }

// Somebody who has not shown yet that they are who they say.
Grant stranger(const WorkspaceId& workspace) {
  return {.scope = {.workspace = workspace, .clients = {}}, .kind = ActorKind::kUser, .actor_id = "anonymous"};
}

Grant person_of(const WorkspaceId& workspace, const std::string& user_id) {
  return {.scope = {.workspace = workspace, .clients = {}},
          .sender = user_id,
          .kind = ActorKind::kUser,
          .actor_id = user_id};
}

// For a completion that captures what std::function could not.
template <class T>
db::Database::Done<T> when_done(std::move_only_function<void(Result<T>)> done) {
  return db::Database::Done<T>(std::move(done));
}

Result<void> set_password(db::Transaction& tx, const WorkspaceId& home, const std::string& user_id,
                          const std::string& hash) {
  auto version = next_version(tx);
  if (!version) return std::unexpected(std::move(version).error());
  auto done = tx.execute("UPDATE access_users SET password = $3, version = $4 WHERE workspace = $1 AND id = $2",
                         {home, user_id, hash, *version});
  if (!done) return std::unexpected(std::move(done).error());
  if (*done == 0) return fail(ErrorCode::kNotFound, "no such account");
  return {};
}

// True while the stored hash is the one that was verified: it may have changed while the hasher was busy.
Result<void> check_unchanged(db::Reader& reader, const std::string& user_id, const std::string& verified) {
  std::string password;
  std::optional<std::int64_t> disabled_at;
  auto found =
      reader.fetch("SELECT password, disabled_at FROM access_users WHERE id = $1", {user_id}, password, disabled_at);
  if (!found) return std::unexpected(std::move(found).error());
  if (!*found || password != verified || disabled_at) return std::unexpected(wrong_password());
  return {};
}

Result<void> insert_user(db::Transaction& tx, const Change& change, const WorkspaceId& home, const std::string& id,
                         const std::string& email, const std::string& name, const std::string& hash) {
  auto version = next_version(tx);
  if (!version) return std::unexpected(std::move(version).error());
  auto done = tx.execute(
      "INSERT INTO access_users (workspace, id, email, name, password, created_at, version) VALUES ($1, $2, $3, $4, "
      "$5, "
      "$6, $7) ON CONFLICT (email) DO NOTHING",
      {home, id, email, name, hash, change.now, *version});
  if (!done) return std::unexpected(std::move(done).error());
  if (*done == 0) return fail(ErrorCode::kConflict, "there is an account of that address: sign in and accept the link");
  return record(tx, change, home,
                {.action = "user.create", .target_type = "user", .target_id = id, .summary = fmt::format("{}", email)});
}

}  // namespace

Result<std::optional<Accounts::Account>> Accounts::account_of(db::Reader& reader, const std::string& email) {
  Account account;
  std::optional<std::int64_t> disabled_at;
  auto found = reader.fetch("SELECT workspace, id, email, password, disabled_at FROM access_users WHERE email = $1",
                            {email}, account.home, account.id, account.email, account.password, disabled_at);
  if (!found) return std::unexpected(std::move(found).error());
  if (!*found) return std::optional<Account>();
  account.is_disabled = disabled_at.has_value();
  return std::optional(std::move(account));
}

Change Accounts::change_by(Grant actor, const From& from) const {
  return {.auditor = services_.auditor,
          .actor = std::move(actor),
          .now = services_.clock.now(),
          .request_id = from.request_id,
          .correlation_id = from.correlation_id,
          .trace_id = from.trace_id,
          .address = from.address};
}

NewSession Accounts::new_session(const From& from) const {
  return {.id = make_identifier("ses_", services_.rng),
          .credential = make_credential(CredentialKind::kSession, services_.rng),
          .agent = from.agent};
}

Accounts::SignedIn Accounts::signed_in(const NewSession& session, const std::string& user_id) const {
  return {.credential = session.credential,
          .csrf_token = csrf_token_of(session.credential),
          .session_id = session.id,
          .user_id = user_id,
          .age_max = options_.sessions.age_max};
}

// Signing in: throttle → account → hash → session. Each step is answered on another thread.

void Accounts::log_in(std::string email, Secret password, From from, SignedInDone done) {
  auto address = normalised_email(email);
  // What is no address is nobody's; it is counted and answered as an unknown one.
  std::string account = address ? *std::move(address) : std::string("-");
  if (auto begun = services_.throttle.begin(account, from.address); !begun) {
    Error error = begun.error().error;
    return refuse(account, from, std::move(begun).error(),
                  [done = std::move(done), error](const Result<void>&) mutable { done(std::unexpected(error)); });
  }
  services_.database.read(
      [account](db::Reader& reader) { return account_of(reader, account); },
      when_done<std::optional<Account>>([this, account, password = std::move(password), from = std::move(from),
                                         done = std::move(done)](Result<std::optional<Account>> found) mutable {
        if (!found) return done(std::unexpected(std::move(found).error()));
        verify(*std::move(found), std::move(account), std::move(password), std::move(from), std::move(done));
      }));
}

void Accounts::refuse(const std::string& email, const From& from, LoginThrottle::Refusal refusal, Done done) {
  if (!refusal.is_first) return done({});
  const Change change = change_by(stranger(options_.home), from);
  const std::string reason = refusal.by_address ? "address_throttled" : "account_throttled";
  services_.database.write(
      [this, change, email, reason](db::Transaction& tx) -> Result<void> {
        auto account = account_of(tx, email);
        if (!account) return std::unexpected(std::move(account).error());
        return record(tx, change, *account ? (*account)->home : options_.home,
                      {.action = "session.throttle",
                       .target_type = "user",
                       .target_id = *account ? (*account)->id : "unknown",
                       .result = ledger::AuditResult::kBlocked,
                       .reason = reason,
                       .summary = fmt::format("for {}", email)});
      },
      when_done<void>(std::move(done)));
}

void Accounts::verify(std::optional<Account> account, std::string email, Secret password, From from,
                      SignedInDone done) {
  std::string stored = account ? account->password : std::string();
  // Kept for the new hash, should the old one be outdated.
  auto kept = std::make_shared<Secret>(password);
  services_.hasher.verify(
      std::move(password), std::move(stored),
      [this, account = std::move(account), email = std::move(email), kept, from = std::move(from),
       done = std::move(done)](Result<PasswordHasher::Verdict> verdict) mutable {
        if (!verdict) return done(std::unexpected(std::move(verdict).error()));
        if (!account || !verdict->matches || account->is_disabled) {
          return fail_log_in(account, email, std::move(from), std::move(done));
        }
        services_.throttle.succeeded(email, from.address);
        if (!verdict->is_outdated) return begin_session(*std::move(account), {}, std::move(from), std::move(done));
        services_.hasher.hash(std::move(*kept), [this, account = *std::move(account), from = std::move(from),
                                                 done = std::move(done)](Result<std::string> hash) mutable {
          // Without a new hash the old one does for another time.
          begin_session(std::move(account), hash ? *std::move(hash) : std::string(), std::move(from), std::move(done));
        });
      });
}

void Accounts::fail_log_in(const std::optional<Account>& account, const std::string& email, From from,
                           SignedInDone done) {
  const WorkspaceId home = account ? account->home : options_.home;
  const Change change = change_by(stranger(home), from);
  const std::string id = account ? account->id : "unknown";
  const std::string reason = !account ? "unknown_account" : account->is_disabled ? "disabled" : "wrong_password";
  services_.database.write(
      [change, home, id, reason, email](db::Transaction& tx) {
        return record(tx, change, home,
                      {.action = "session.begin",
                       .target_type = "user",
                       .target_id = id,
                       .result = ledger::AuditResult::kFail,
                       .reason = reason,
                       .summary = fmt::format("for {}", email)});
      },
      when_done<void>([done = std::move(done)](const Result<void>& recorded) mutable {
        // An attempt that could not be written down is not answered as if it had been.
        done(std::unexpected(recorded ? wrong_password() : recorded.error()));
      }));
}

void Accounts::begin_session(Account account, std::string new_hash, From from, SignedInDone done) {
  const Change change = change_by(person_of(account.home, account.id), from);
  const NewSession session = new_session(from);
  SignedIn outcome = signed_in(session, account.id);
  services_.directory.change(
      [this, change, session, account = std::move(account),
       new_hash = std::move(new_hash)](db::Transaction& tx) -> Result<void> {
        if (auto same = check_unchanged(tx, account.id, account.password); !same) return same;
        if (!new_hash.empty()) {
          if (auto set = set_password(tx, account.home, account.id, new_hash); !set) return set;
        }
        return insert_session(tx, change, account.home, session, options_.sessions);
      },
      when_done<void>([outcome = std::move(outcome), done = std::move(done)](Result<void> begun) mutable {
        if (!begun) return done(std::unexpected(std::move(begun).error()));
        done(std::move(outcome));
      }));
}

void Accounts::log_out(const Directory::Person& person, From from, Done done) {
  const Change change = change_by(person.grant, from);
  services_.directory.change([change, home = person.home, user = person.grant.actor_id, id = person.session_id](
                                 db::Transaction& tx) { return end_session(tx, change, home, user, id); },
                             when_done<void>(std::move(done)));
}

// Changing the password, step by step; what it needs travels along.

void Accounts::change_password(const Directory::Person& person, Secret current, Secret wanted, From from, Done done) {
  if (auto good = check_new_password(wanted.reveal(), person.email, person.name); !good) {
    return done(std::unexpected(std::move(good).error()));
  }
  // Whoever finds an open browser has no more guesses than at the door.
  if (auto begun = services_.throttle.begin(person.email, from.address); !begun) {
    Error error = begun.error().error;
    return refuse(person.email, from, std::move(begun).error(),
                  [done = std::move(done), error](const Result<void>&) mutable { done(std::unexpected(error)); });
  }
  auto asked = std::make_shared<PasswordChange>(PasswordChange{.person = person,
                                                               .account = {},
                                                               .current = std::move(current),
                                                               .wanted = std::move(wanted),
                                                               .from = std::move(from),
                                                               .done = std::move(done)});
  services_.database.read([email = person.email](db::Reader& reader) { return account_of(reader, email); },
                          when_done<std::optional<Account>>([this, asked](Result<std::optional<Account>> found) {
                            if (!found) return asked->done(std::unexpected(std::move(found).error()));
                            if (!*found) return asked->done(std::unexpected(wrong_password()));
                            asked->account = **std::move(found);
                            services_.hasher.verify(std::move(asked->current), asked->account.password,
                                                    [this, asked](Result<PasswordHasher::Verdict> verdict) {
                                                      password_verified(asked, std::move(verdict));
                                                    });
                          }));
}

void Accounts::password_verified(const std::shared_ptr<PasswordChange>& asked,
                                 Result<PasswordHasher::Verdict> verdict) {
  if (!verdict) return asked->done(std::unexpected(std::move(verdict).error()));
  const Change change = change_by(asked->person.grant, asked->from);
  if (!verdict->matches) {
    return services_.database.write(
        [change, home = asked->account.home, id = asked->account.id](db::Transaction& tx) {
          return record(tx, change, home,
                        {.action = "password.change",
                         .target_type = "user",
                         .target_id = id,
                         .result = ledger::AuditResult::kFail,
                         .reason = "wrong_password"});
        },
        when_done<void>([asked](const Result<void>& recorded) {
          asked->done(std::unexpected(recorded ? wrong_password() : recorded.error()));
        }));
  }
  services_.throttle.succeeded(asked->person.email, asked->from.address);
  services_.hasher.hash(std::move(asked->wanted), [this, asked, change](Result<std::string> hash) {
    if (!hash) return asked->done(std::unexpected(std::move(hash).error()));
    services_.directory.change(
        [change, account = asked->account, keep = asked->person.session_id,
         hash = *std::move(hash)](db::Transaction& tx) -> Result<void> {
          if (auto same = check_unchanged(tx, account.id, account.password); !same) return same;
          if (auto set = set_password(tx, account.home, account.id, hash); !set) return set;
          if (auto ended = end_sessions(tx, change, account.home, account.id, keep); !ended) {
            return std::unexpected(std::move(ended).error());
          }
          return record(tx, change, account.home,
                        {.action = "password.change", .target_type = "user", .target_id = account.id});
        },
        when_done<void>([asked](Result<void> result) { asked->done(std::move(result)); }));
  });
}

// Links: what is it for → hash → use it up, make the account, begin its first session.

void Accounts::redeem(std::string link, std::string email, std::string name, Secret password, From from,
                      SignedInDone done) {
  const UnixNanos now = services_.clock.now();
  auto asked = std::make_shared<Redemption>(Redemption{.credential = std::move(link),
                                                       .email = std::move(email),
                                                       .name = std::move(name),
                                                       .password = std::move(password),
                                                       .from = std::move(from),
                                                       .done = std::move(done)});
  services_.database.read([asked, now](db::Reader& reader) { return find_link(reader, asked->credential, now); },
                          when_done<Link>([this, asked](Result<Link> found) {
                            if (!found) return asked->done(std::unexpected(std::move(found).error()));
                            if (found->purpose != LinkPurpose::kFirstOwner) asked->email = found->email;
                            auto good = normalised_email(asked->email);
                            if (!good) return asked->done(std::unexpected(std::move(good).error()));
                            asked->email = *std::move(good);
                            if (found->purpose != LinkPurpose::kPasswordReset) {
                              if (auto named = check_name("your name", asked->name); !named) {
                                return asked->done(std::unexpected(std::move(named).error()));
                              }
                            }
                            if (auto fit = check_new_password(asked->password.reveal(), asked->email, asked->name);
                                !fit) {
                              return asked->done(std::unexpected(std::move(fit).error()));
                            }
                            services_.hasher.hash(std::move(asked->password), [this, asked](Result<std::string> hash) {
                              if (!hash) return asked->done(std::unexpected(std::move(hash).error()));
                              use_link(asked, *std::move(hash));
                            });
                          }));
}

void Accounts::use_link(const std::shared_ptr<Redemption>& asked, std::string hash) {
  const std::string new_id = make_identifier("usr_", services_.rng);
  const NewSession session = new_session(asked->from);
  const Change stranger_change = change_by(stranger(options_.home), asked->from);
  services_.directory.change(
      [this, asked, new_id, session, change = stranger_change,
       hash = std::move(hash)](db::Transaction& tx) mutable -> Result<std::string> {
        auto link = take_link(tx, asked->credential, change.now);
        if (!link) return std::unexpected(std::move(link).error());
        if (auto good = check_maker(tx, *link, change.now, services_.grant_outside); !good) {
          return std::unexpected(std::move(good).error());
        }
        const bool is_reset = link->purpose == LinkPurpose::kPasswordReset;
        WorkspaceId home = link->workspace;
        const std::string user_id = is_reset ? link->user_id : new_id;
        if (is_reset) {
          auto account = account_of(tx, link->email);
          if (!account) return std::unexpected(std::move(account).error());
          // Closed, or renamed, since the link was made.
          if (!*account || (*account)->id != user_id || (*account)->is_disabled) {
            return fail(ErrorCode::kNotFound, "the link was used, has expired or never was one");
          }
          home = (*account)->home;
        }
        change.actor = person_of(home, user_id);
        if (auto used = record(tx, change, link->workspace,
                               {.action = "link.use",
                                .target_type = "link",
                                .target_id = link->id,
                                .reason = to_string(link->purpose)});
            !used) {
          return std::unexpected(std::move(used).error());
        }
        Result<void> made;
        if (is_reset) {
          made = set_password(tx, home, user_id, hash);
          if (made) {
            if (auto ended = end_sessions(tx, change, home, user_id, {}); !ended) {
              return std::unexpected(std::move(ended).error());
            }
            made = record(tx, change, home, {.action = "password.reset", .target_type = "user", .target_id = user_id});
          }
        } else {
          made = insert_user(tx, change, home, user_id, asked->email, asked->name, hash);
          if (made) made = insert_member(tx, change, home, user_id, link->membership);
        }
        if (!made) return std::unexpected(std::move(made).error());
        if (auto begun = insert_session(tx, change, home, session, options_.sessions); !begun) {
          return std::unexpected(std::move(begun).error());
        }
        return user_id;
      },
      when_done<std::string>([this, asked, session](Result<std::string> user_id) {
        if (!user_id) return asked->done(std::unexpected(std::move(user_id).error()));
        asked->done(signed_in(session, *user_id));
      }));
}

void Accounts::accept(const Directory::Person& person, std::string link, From from, Done done) {
  services_.directory.change([this, change = change_by(person.grant, from), person,
                              link = std::move(link)](db::Transaction& tx) { return accept(tx, change, person, link); },
                             when_done<void>(std::move(done)));
}

Result<void> Accounts::accept(db::Transaction& tx, const Change& change, const Directory::Person& person,
                              std::string_view link) const {
  auto taken = take_link(tx, link, change.now);
  if (!taken) return std::unexpected(std::move(taken).error());
  if (auto good = check_maker(tx, *taken, change.now, services_.grant_outside); !good) return good;
  if (taken->purpose != LinkPurpose::kInvitation || taken->email != person.email) {
    return fail(ErrorCode::kNotFound, "the link was used, has expired or never was one");
  }
  if (auto used = record(
          tx, change, taken->workspace,
          {.action = "link.use", .target_type = "link", .target_id = taken->id, .reason = to_string(taken->purpose)});
      !used) {
    return used;
  }
  // An invitation lets somebody in; it takes nothing from whoever is in already.
  if (auto member = find_member(tx, {.workspace = taken->workspace, .clients = {}}, person.grant.actor_id); member) {
    return fail(ErrorCode::kConflict, "you belong to the workspace already");
  } else if (member.error().code() != ErrorCode::kNotFound) {
    return std::unexpected(std::move(member).error());
  }
  return insert_member(tx, change, taken->workspace, person.grant.actor_id, taken->membership);
}

Result<std::string> first_owner_link(db::Database& database, const ledger::Auditor& auditor, Clock& clock, Rng& rng,
                                     const WorkspaceId& workspace, std::chrono::seconds lifetime) {
  const NewLink made{.id = make_identifier("lnk_", rng),
                     .credential = make_credential(CredentialKind::kLink, rng),
                     .lifetime = lifetime};
  const Change change{.auditor = auditor, .actor = system_actor(workspace), .now = clock.now()};
  auto written = database.write_and_wait([=](db::Transaction& tx) -> Result<void> {
    auto there = ensure_workspace(tx, change, workspace);
    if (!there) return std::unexpected(std::move(there).error());
    return make_first_owner_link(tx, change, made);
  });
  if (written) return made.credential;
  if (written.error().code() == ErrorCode::kConflict) return std::string();
  return std::unexpected(std::move(written).error().within("making the first owner's link"));
}

Result<std::int64_t> purge_ended(db::Transaction& tx, UnixNanos before, std::int32_t rows_max) {
  std::int64_t removed = 0;
  for (const db::Sql& statement : {
           db::Sql("DELETE FROM access_sessions WHERE id IN (SELECT id FROM access_sessions WHERE ended_at < $1 OR "
                   "expires_at < $1 LIMIT $2)"),
           db::Sql("DELETE FROM access_links WHERE id IN (SELECT id FROM access_links WHERE used_at < $1 OR expires_at "
                   "< $1 LIMIT $2)"),
           db::Sql("DELETE FROM access_tokens WHERE id IN (SELECT id FROM access_tokens WHERE revoked_at < $1 OR "
                   "expires_at < $1 LIMIT $2)"),
       }) {
    auto done = tx.execute(statement, {before, rows_max});
    if (!done) return done;
    removed += *done;
  }
  return removed;
}

}  // namespace fettle::access
