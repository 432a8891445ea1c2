// A ledger of either kind with two workspaces, for the tests of this room.
#pragma once

#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <string>
#include <vector>

#include "access/accounts.h"
#include "access/directory.h"
#include "access/members.h"
#include "access/rights.h"
#include "access/schema.h"
#include "access/token_store.h"
#include "db/testing.h"
#include "ledger/pending.h"
#include "ledger/schema.h"
#include "redact/redactor.h"

namespace fettle::access {

// Of an expected failure: asking a success for its error reads what is not there.
template <class T>
std::optional<ErrorCode> code_of(const Result<T>& result) {
  return result ? std::nullopt : std::optional(result.error().code());
}

class AccessTest : public db::StoreTest {
 protected:
  template <class Body>
  auto write(Body body) {
    return database->write_and_wait(std::move(body));
  }

  static constexpr UnixNanos kStart = 1'795'305'600 * kNanosPerSecond;  // 2026-11-22 00:00 UTC

  AccessTest() {
    auto ready = db::migrate(*database, {&ledger::migrations(), &migrations()});
    EXPECT_TRUE(ready) << (ready ? "" : ready.error().message());
    for (const char* name : {"acme", "globex"}) {
      auto made = write([&](db::Transaction& tx) { return create_workspace(tx, system(name), {name}, name); });
      EXPECT_TRUE(made) << (made ? "" : made.error().message());
    }
  }

  ~AccessTest() override {
    directory.stop();
    hasher.stop();
  }

  // In this order: time, identifiers and secrets are made outside of transactions.
  Change by(Grant actor) {
    return {.auditor = auditor,
            .actor = std::move(actor),
            .now = clock.now(),
            .request_id = "req-1",
            .address = "10.1.1.1"};
  }
  Change system(std::string workspace) { return by(system_actor({std::move(workspace)})); }

  Grant grant(Role role, std::string workspace = "acme", std::string user = "usr_x") {
    return {.scope = {.workspace = {std::move(workspace)}, .clients = {}},
            .scopes = scopes_of(role),
            .kind = ActorKind::kUser,
            .actor_id = std::move(user),
            .role = role,
            .payloads = {},
            .runs_ai = true};
  }

  // An account with the password kPassword, and its id.
  static constexpr const char* kPassword = "correct horse battery";
  std::string add_person(const std::string& email, Membership membership, const std::string& workspace = "acme") {
    const std::string link = make_credential(CredentialKind::kLink, rng);
    const NewLink made{.id = make_identifier("lnk_", rng), .credential = link};
    auto invited = write([&](db::Transaction& tx) { return invite(tx, system(workspace), made, email, membership); });
    EXPECT_TRUE(invited) << (invited ? "" : invited.error().message());
    auto signed_in = redeem(link, "", "Somebody", kPassword);
    EXPECT_TRUE(signed_in) << (signed_in ? "" : signed_in.error().message());
    return signed_in ? signed_in->user_id : "";
  }

  template <class T, class Call>
  static Result<T> wait(Call call) {
    std::promise<Result<T>> promise;
    call([&](Result<T> result) { promise.set_value(std::move(result)); });
    return promise.get_future().get();
  }
  Result<Accounts::SignedIn> log_in(std::string email, std::string password, std::string address = "10.1.1.1:99") {
    return wait<Accounts::SignedIn>([&](auto done) {
      accounts.log_in(std::move(email), Secret(std::move(password)),
                      {.address = std::move(address), .agent = "Browser", .request_id = "req-2"}, std::move(done));
    });
  }
  Result<Accounts::SignedIn> redeem(std::string link, std::string email, std::string name, std::string password) {
    return wait<Accounts::SignedIn>([&](auto done) {
      accounts.redeem(std::move(link), std::move(email), std::move(name), Secret(std::move(password)),
                      {.address = "10.1.1.1:99"}, std::move(done));
    });
  }

  // A token that is stored, in memory, and its text.
  struct MadeToken {
    std::string id;
    std::string text;
  };
  MadeToken add_token(TokenScopes scopes, const std::string& workspace = "acme", NewToken made = {}) {
    made.id = make_identifier("tok_", rng);
    made.credential = make_credential(CredentialKind::kToken, rng);
    if (made.name.empty()) made.name = "web";
    made.scopes = scopes;
    auto stored =
        directory.change_and_wait([&](db::Transaction& tx) { return create_token(tx, system(workspace), made); });
    EXPECT_TRUE(stored) << (stored ? "" : stored.error().message());
    return {made.id, made.credential};
  }

  // Every audit record so far, oldest first.
  std::vector<ledger::AuditRecord> audits() {
    std::vector<ledger::AuditRecord> all;
    auto rows = database->read_and_wait(
        [](db::Reader& reader) { return reader.query("SELECT records FROM audit_pending ORDER BY id"); });
    for (const db::Row row : *rows) {
      auto records = ledger::unpack_records(row.get<db::BlobView>(0)->bytes);
      all.insert(all.end(), records->begin(), records->end());
    }
    return all;
  }
  std::vector<ledger::AuditRecord> audits(std::string_view action) {
    auto all = audits();
    std::erase_if(all, [&](const ledger::AuditRecord& record) { return record.action != action; });
    return all;
  }

  ManualClock clock{kStart};
  SystemRng rng;
  metrics::Registry registry;
  std::unique_ptr<db::Database> database = open();
  ledger::Auditor auditor{*redact::Redactor::compile({}), clock, registry};
  Directory directory{*database, clock, registry, {}};
  PasswordHasher hasher{{.threads = 2, .queue_max = 64, .memory_bytes = 1 << 20, .passes = 1}, registry};
  LoginThrottle throttle{{}, clock};
  Accounts accounts{{*database, directory, hasher, throttle, auditor, clock, rng}, {.home = {"acme"}}};
};

}  // namespace fettle::access
