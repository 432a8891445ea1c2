// People: signing in and out, passwords, and the links by which accounts begin.
//
//   Accounts accounts({database, directory, hasher, throttle, auditor, clock, rng}, {});
//   accounts.log_in({.email = …, .password = …, .from = request}, [](Result<Accounts::SignedIn> signed_in) { … });
//
// Every call is answered later, on a thread of the store or of the hasher; callbacks must be quick. No answer tells
// whether an account exists: an unknown address takes as long, fails with the same words and waits as long. What
// happens to an account is audited in the workspace that it belongs to; attempts on unknown ones in `Options::home`.
// Thread-safe.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "access/change.h"
#include "access/directory.h"
#include "access/links.h"
#include "access/login_throttle.h"
#include "access/password_hasher.h"
#include "access/sessions.h"
#include "core/rng.h"
#include "core/secret.h"

namespace fettle::access {

class Accounts {
 public:
  // All of it outlives the Accounts and every callback. `rng` is fit for secrets and thread-safe.
  struct Services {
    db::Database& database;
    Directory& directory;
    PasswordHasher& hasher;
    LoginThrottle& throttle;
    const ledger::Auditor& auditor;
    Clock& clock;
    Rng& rng;
    // For links that were made with tokens of the configuration; thread-safe.
    GrantOutside grant_outside = {};
  };
  struct Options {
    SessionLimits sessions;
    WorkspaceId home{"default"};
  };

  Accounts(Services services, Options options) : services_(services), options_(std::move(options)) {}

  // The request that asks.
  struct From {
    std::string address;
    std::string agent;  // User-Agent
    std::string request_id;
    std::string correlation_id;
    std::string trace_id;
  };

  struct SignedIn {
    std::string credential;  // for the cookie; never shown again
    std::string csrf_token;
    std::string session_id;
    std::string user_id;
    std::chrono::seconds age_max{0};
  };
  using SignedInDone = std::move_only_function<void(Result<SignedIn>)>;
  using Done = std::move_only_function<void(Result<void>)>;

  // The installation's own workspace.
  const WorkspaceId& home() const { return options_.home; }

  // kUnauthenticated when address or password are wrong or the account is disabled; kResourceExhausted with retry_after
  // while the account or the caller's address has to wait, or too many sign in at once.
  void log_in(std::string email, Secret password, From from, SignedInDone done);
  void log_out(const Directory::Person& person, From from, Done done);
  // Ends every other session of the person. kUnauthenticated for a wrong current password (throttled like a sign-in),
  // kInvalidArgument for a new one that will not do.
  void change_password(const Directory::Person& person, Secret current, Secret wanted, From from, Done done);

  // A link works while who made it could still make it (check_maker in links.h): that is asked again when it is used.
  //
  // Uses a link: makes the account and signs in (first owner, invitation), or sets a new password and ends the
  // account's sessions (reset). `email` counts for the first owner alone, `name` for new accounts. kNotFound for a link
  // that does not work any more; kConflict for an invitation of somebody who has an account: they sign in and accept().
  void redeem(std::string link, std::string email, std::string name, Secret password, From from, SignedInDone done);
  // An invitation, by the person it was made for: they become a member of its workspace. kNotFound for anybody else.
  void accept(const Directory::Person& person, std::string link, From from, Done done);
  // The same as part of a change that the caller makes.
  Result<void> accept(db::Transaction& tx, const Change& change, const Directory::Person& person,
                      std::string_view link) const;

 private:
  struct Account {
    WorkspaceId home;
    std::string id;
    std::string email;
    std::string password;  // hash
    bool is_disabled = false;
  };
  struct PasswordChange {
    Directory::Person person;
    Account account;
    Secret current;
    Secret wanted;
    From from;
    Done done;
  };
  struct Redemption {
    std::string credential;
    std::string email;
    std::string name;
    Secret password;
    From from;
    SignedInDone done;
  };
  static Result<std::optional<Account>> account_of(db::Reader& reader, const std::string& email);

  Change change_by(Grant actor, const From& from) const;
  NewSession new_session(const From& from) const;
  SignedIn signed_in(const NewSession& session, const std::string& user_id) const;
  void refuse(const std::string& email, const From& from, LoginThrottle::Refusal refusal, Done done);
  void verify(std::optional<Account> account, std::string email, Secret password, From from, SignedInDone done);
  void fail_log_in(const std::optional<Account>& account, const std::string& email, From from, SignedInDone done);
  void begin_session(Account account, std::string new_hash, From from, SignedInDone done);
  void password_verified(const std::shared_ptr<PasswordChange>& asked, Result<PasswordHasher::Verdict> verdict);
  void use_link(const std::shared_ptr<Redemption>& asked, std::string hash);

  const Services services_;
  const Options options_;
};

// A link for the first owner of a workspace, which is made when there is none: for the start of a server without an
// owner, and for the command line when the link was lost. Earlier links stop working. Empty when there is an owner.
// Blocks.
Result<std::string> first_owner_link(db::Database& database, const ledger::Auditor& auditor, Clock& clock, Rng& rng,
                                     const WorkspaceId& workspace,
                                     std::chrono::seconds lifetime = std::chrono::hours(24));

// Removes at most `rows_max` rows of each kind that ended before `before`: sessions, links, tokens. Their audit records
// stay. For the leader, now and then.
Result<std::int64_t> purge_ended(db::Transaction& tx, UnixNanos before, std::int32_t rows_max = 1000);

}  // namespace fettle::access
