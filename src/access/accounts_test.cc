#include "access/accounts.h"

#include <fmt/format.h>

#include "access/fixture_for_test.h"

namespace fettle::access {
namespace {

using std::chrono::hours;
using std::chrono::seconds;

class AccountsTest : public AccessTest {
 protected:
  Directory::Person person_of(const Accounts::SignedIn& session) {
    return directory.person(session.credential).value();
  }
  Result<void> change_password(const Accounts::SignedIn& session, std::string current, std::string wanted) {
    return wait<void>([&](auto done) {
      accounts.change_password(person_of(session), Secret(std::move(current)), Secret(std::move(wanted)),
                               {.address = "10.1.1.1"}, std::move(done));
    });
  }
  std::string link_for(const std::string& email, Membership membership, std::string workspace = "acme") {
    const NewLink made{.id = make_identifier("lnk_", rng), .credential = make_credential(CredentialKind::kLink, rng)};
    auto invited = write([&](db::Transaction& tx) { return invite(tx, system(workspace), made, email, membership); });
    EXPECT_TRUE(invited) << (invited ? "" : invited.error().message());
    return made.credential;
  }
};
FETTLE_FOR_BOTH_STORES(AccountsTest);

TEST_P(AccountsTest, TheRightPasswordBeginsASession) {
  const std::string id = add_person("Mara@Acme.example", {.role = Role::kOperator});
  const auto session = log_in("  mara@acme.EXAMPLE ", kPassword);
  ASSERT_TRUE(session) << session.error().message();
  EXPECT_EQ(session->user_id, id);
  EXPECT_EQ(kind_of(session->credential), CredentialKind::kSession);
  EXPECT_TRUE(is_csrf_token(session->credential, session->csrf_token));
  EXPECT_TRUE(directory.person(session->credential));
}

TEST_P(AccountsTest, NothingInTheAnswerTellsWhetherAnAccountExists) {
  add_person("mara@acme.example", {.role = Role::kOperator});
  const auto wrong = log_in("mara@acme.example", "not the password", "10.0.0.1");
  const auto unknown = log_in("nobody@acme.example", "not the password", "10.0.0.2");
  const auto nonsense = log_in("no address at all", "not the password", "10.0.0.3");
  for (const auto* failed : {&wrong, &unknown, &nonsense}) {
    ASSERT_FALSE(*failed);
    EXPECT_EQ(failed->error().code(), ErrorCode::kUnauthenticated);
    EXPECT_EQ(failed->error().message(), wrong.error().message());
  }
}

TEST_P(AccountsTest, FailuresAndThrottlingAreAuditedWithoutPasswordAddressInTheClearOrSession) {
  const std::string id = add_person("mara@acme.example", {.role = Role::kOperator});
  int refused = 0;
  for (int i = 0; i < 12; ++i) {
    const auto failed = log_in("mara@acme.example", "wr0ng-guess-" + std::to_string(i));
    refused += failed.error().code() == ErrorCode::kResourceExhausted ? 1 : 0;
  }
  EXPECT_EQ(refused, 6);
  const auto unknown = log_in("nobody@acme.example", "wr0ng-guess-x", "10.0.0.2");
  auto begun = audits("session.begin");
  std::erase_if(begun, [](const auto& audit) { return audit.result == ledger::AuditResult::kSuccess; });
  ASSERT_EQ(begun.size(), 7U);
  EXPECT_EQ(begun[0].target_id, id);
  EXPECT_EQ(begun[0].reason, "wrong_password");
  EXPECT_EQ(begun[0].request_id, "req-2");
  EXPECT_EQ(begun[6].target_id, "unknown");
  EXPECT_EQ(begun[6].reason, "unknown_account");
  const auto throttled = audits("session.throttle");
  ASSERT_EQ(throttled.size(), 1U) << "one for each wait";
  EXPECT_EQ(throttled[0].result, ledger::AuditResult::kBlocked);
  EXPECT_EQ(throttled[0].reason, "account_throttled");
  for (const auto& audit : audits()) {
    const std::string all = audit.target_id + audit.reason + audit.payload_summary + audit.before + audit.after;
    EXPECT_FALSE(all.contains("wr0ng-guess"));
    EXPECT_FALSE(all.contains(kPassword));
    EXPECT_FALSE(all.contains("fettle_"));
  }
}

TEST_P(AccountsTest, EvenTheRightPasswordWaitsWhileTheAccountDoes) {
  add_person("mara@acme.example", {.role = Role::kOperator});
  for (int i = 0; i < 6; ++i) (void)log_in("mara@acme.example", "wrong");
  const auto refused = log_in("mara@acme.example", kPassword, "10.9.9.9");
  ASSERT_FALSE(refused);
  EXPECT_EQ(code_of(refused), ErrorCode::kResourceExhausted);
  ASSERT_TRUE(refused.error().retry_after());
  clock.advance(*refused.error().retry_after());
  EXPECT_TRUE(log_in("mara@acme.example", kPassword, "10.9.9.9"));
}

TEST_P(AccountsTest, SigningOutEndsTheSessionEverywhere) {
  add_person("mara@acme.example", {.role = Role::kViewer});
  const auto session = log_in("mara@acme.example", kPassword);
  const auto other = log_in("mara@acme.example", kPassword);
  ASSERT_TRUE(wait<void>([&](auto done) { accounts.log_out(person_of(*session), {}, std::move(done)); }));
  EXPECT_FALSE(directory.person(session->credential));
  EXPECT_TRUE(directory.person(other->credential));
  EXPECT_EQ(audits("session.end").size(), 1U);
}

TEST_P(AccountsTest, ANewPasswordEndsTheOtherSessionsAndTheOldPassword) {
  add_person("mara@acme.example", {.role = Role::kViewer});
  const auto session = log_in("mara@acme.example", kPassword);
  const auto other = log_in("mara@acme.example", kPassword);
  EXPECT_EQ(code_of(change_password(*session, "wrong", "tepid gravel onion")), ErrorCode::kUnauthenticated);
  EXPECT_EQ(code_of(change_password(*session, kPassword, "short")), ErrorCode::kInvalidArgument);
  EXPECT_TRUE(log_in("mara@acme.example", kPassword)) << "unchanged";
  ASSERT_TRUE(change_password(*session, kPassword, "tepid gravel onion"));
  EXPECT_TRUE(directory.person(session->credential));
  EXPECT_FALSE(directory.person(other->credential));
  EXPECT_FALSE(log_in("mara@acme.example", kPassword));
  EXPECT_TRUE(log_in("mara@acme.example", "tepid gravel onion"));
  EXPECT_EQ(audits("password.change").size(), 2U);
}

TEST_P(AccountsTest, ASignInRenewsAHashOfOtherParameters) {
  add_person("mara@acme.example", {.role = Role::kViewer});
  const auto hash = [&] {
    return *database->read_and_wait([](db::Reader& reader) -> Result<std::string> {
      std::string stored;
      auto found = reader.fetch("SELECT password FROM access_users", {}, stored);
      if (!found) return std::unexpected(found.error());
      return stored;
    });
  };
  EXPECT_TRUE(hash().contains("m=1024,t=1")) << hash();
  PasswordHasher stronger({.threads = 1, .queue_max = 8, .memory_bytes = 2 << 20, .passes = 2}, registry);
  Accounts renewing({*database, directory, stronger, throttle, auditor, clock, rng}, {.home = {"acme"}});
  ASSERT_TRUE(wait<Accounts::SignedIn>(
      [&](auto done) { renewing.log_in("mara@acme.example", Secret(kPassword), {.address = "x"}, std::move(done)); }));
  EXPECT_TRUE(hash().contains("m=2048,t=2")) << hash();
  EXPECT_TRUE(log_in("mara@acme.example", kPassword));
  stronger.stop();
}

TEST_P(AccountsTest, TheFirstOwnerComesByALinkThatWorksOnce) {
  auto link = first_owner_link(*database, auditor, clock, rng, {"new"});
  ASSERT_TRUE(link) << link.error().message();
  EXPECT_EQ(kind_of(*link), CredentialKind::kLink);
  EXPECT_EQ(code_of(redeem(*link, "sam@new.example", "Sam", "short")), ErrorCode::kInvalidArgument);
  const auto session = redeem(*link, "sam@new.example", "Sam", kPassword);
  ASSERT_TRUE(session) << session.error().message();
  const auto person = person_of(*session);
  EXPECT_EQ(person.grant.role, Role::kOwner);
  EXPECT_EQ(person.grant.scope.workspace.value, "new");
  EXPECT_EQ(code_of(redeem(*link, "eve@new.example", "Eve", kPassword)), ErrorCode::kNotFound);
  EXPECT_EQ(first_owner_link(*database, auditor, clock, rng, {"new"}).value(), "") << "there is an owner";
  EXPECT_TRUE(log_in("sam@new.example", kPassword));
}

TEST_P(AccountsTest, ANewFirstOwnersLinkReplacesTheLostOne) {
  const auto lost = first_owner_link(*database, auditor, clock, rng, {"acme"});
  const auto found = first_owner_link(*database, auditor, clock, rng, {"acme"});
  EXPECT_EQ(code_of(redeem(*lost, "eve@acme.example", "Eve", kPassword)), ErrorCode::kNotFound);
  EXPECT_TRUE(redeem(*found, "sam@acme.example", "Sam", kPassword));
}

TEST_P(AccountsTest, LinksExpire) {
  const auto link = first_owner_link(*database, auditor, clock, rng, {"acme"});
  clock.advance(hours(24));
  EXPECT_EQ(code_of(redeem(*link, "sam@acme.example", "Sam", kPassword)), ErrorCode::kNotFound);
}

TEST_P(AccountsTest, OfManyWhoUseALinkAtOnceOneGetsIn) {
  const auto link = first_owner_link(*database, auditor, clock, rng, {"acme"});
  std::vector<std::promise<bool>> outcomes(6);
  for (std::size_t i = 0; i < outcomes.size(); ++i) {
    accounts.redeem(*link, fmt::format("sam{}@acme.example", i), "Sam", Secret(kPassword), {},
                    [&outcomes, i](const Result<Accounts::SignedIn>& in) { outcomes[i].set_value(in.has_value()); });
  }
  int in = 0;
  for (auto& outcome : outcomes) in += outcome.get_future().get() ? 1 : 0;
  EXPECT_EQ(in, 1);
}

TEST_P(AccountsTest, AnInvitationGivesWhatItSaysToTheAddressItNames) {
  const auto link = link_for("Jon@acme.example", {.role = Role::kManager, .clients = {{"c-1"}, {"c-2"}}});
  const auto session = redeem(link, "eve@evil.example", "Jon", kPassword);
  ASSERT_TRUE(session);
  const auto person = person_of(*session);
  EXPECT_EQ(person.email, "jon@acme.example");
  EXPECT_EQ(person.grant.role, Role::kManager);
  EXPECT_EQ(person.grant.scope.clients.size(), 2U);
}

TEST_P(AccountsTest, AnInvitationNeverTouchesAnAccountThatExists) {
  const std::string id = add_person("mara@acme.example", {.role = Role::kViewer});
  const auto session = log_in("mara@acme.example", kPassword);
  const auto link = link_for("mara@acme.example", {.role = Role::kAdmin}, "globex");
  EXPECT_EQ(code_of(redeem(link, "", "Eve", "tepid gravel onion")), ErrorCode::kConflict);
  EXPECT_TRUE(log_in("mara@acme.example", kPassword)) << "the password is hers still";

  add_person("jon@acme.example", {.role = Role::kViewer});
  const auto jon = log_in("jon@acme.example", kPassword);
  const auto accept = [&](const Accounts::SignedIn& by) {
    return wait<void>([&](auto done) { accounts.accept(person_of(by), link, {}, std::move(done)); });
  };
  EXPECT_EQ(code_of(accept(*jon)), ErrorCode::kNotFound) << "it is not for him";
  ASSERT_TRUE(accept(*session));
  EXPECT_EQ(directory.person(session->credential, {"globex"})->grant.role, Role::kAdmin);
  EXPECT_EQ(directory.person(session->credential, {"acme"})->grant.role, Role::kViewer);
  EXPECT_EQ(code_of(accept(*session)), ErrorCode::kNotFound) << "used";
  EXPECT_EQ(directory.grant_of({"globex"}, id)->role, Role::kAdmin);
}

TEST_P(AccountsTest, AResetSetsAPasswordAndEndsEverySession) {
  const std::string admin = add_person("jon@acme.example", {.role = Role::kAdmin});
  const std::string id = add_person("mara@acme.example", {.role = Role::kOperator});
  const auto session = log_in("mara@acme.example", kPassword);
  const NewLink made{.id = "lnk_1", .credential = make_credential(CredentialKind::kLink, rng)};
  ASSERT_TRUE(write(
      [&](db::Transaction& tx) { return make_password_reset(tx, by(grant(Role::kAdmin, "acme", admin)), made, id); }));
  const auto again = redeem(made.credential, "", "", "tepid gravel onion");
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_EQ(again->user_id, id);
  EXPECT_FALSE(directory.person(session->credential));
  EXPECT_FALSE(log_in("mara@acme.example", kPassword));
  EXPECT_TRUE(log_in("mara@acme.example", "tepid gravel onion"));
}

TEST_P(AccountsTest, AnAdminResetsNobodyAboveThemAndNobodyWhoIsMoreElsewhere) {
  const std::string owner = add_person("sam@acme.example", {.role = Role::kOwner});
  const std::string guest = add_person("ines@globex.example", {.role = Role::kOwner}, "globex");
  const auto session = log_in("ines@globex.example", kPassword);
  const auto link = link_for("ines@globex.example", {.role = Role::kViewer});
  ASSERT_TRUE(wait<void>([&](auto done) { accounts.accept(person_of(*session), link, {}, std::move(done)); }));
  for (const std::string& user : {owner, guest}) {
    const NewLink made{.id = "lnk_1", .credential = make_credential(CredentialKind::kLink, rng)};
    EXPECT_EQ(code_of(write(
                  [&](db::Transaction& tx) { return make_password_reset(tx, by(grant(Role::kAdmin)), made, user); })),
              ErrorCode::kPermissionDenied);
  }
  // Whoever has the data folder can help either.
  const NewLink made{.id = "lnk_2", .credential = make_credential(CredentialKind::kLink, rng)};
  EXPECT_TRUE(write([&](db::Transaction& tx) { return make_password_reset(tx, system("acme"), made, owner); }));
}

// A link is as good as the rights of who made it, on the day that it is used.
TEST_P(AccountsTest, ALinkEndsWithTheRightsItWasMadeUnder) {
  add_person("sam@acme.example", {.role = Role::kOwner});
  struct Case {
    const char* what;
    Role maker;
    Membership given;  // by an invitation; a reset is of a viewer
    std::function<Result<void>(db::Transaction&, const Change&, const std::string& maker)> end;
    const char* reason;
  };
  const Case cases[] = {
      {"removed",
       Role::kAdmin,
       {.role = Role::kViewer},
       [](auto& tx, const auto& change, const auto& maker) { return remove_member(tx, change, maker); },
       "maker_removed"},
      {"disabled",
       Role::kAdmin,
       {.role = Role::kViewer},
       [](auto& tx, const auto& change, const auto& maker) { return set_disabled(tx, change, maker, true); },
       "account_disabled"},
      {"demoted",
       Role::kAdmin,
       {.role = Role::kViewer},
       [](auto& tx, const auto& change, const auto& maker) {
         return change_member(tx, change, maker, {.role = Role::kManager});
       },
       "maker_demoted"},
      {"kept from payloads",
       Role::kAdmin,
       {.role = Role::kManager},
       [](auto& tx, const auto& change, const auto& maker) {
         return change_member(tx, change, maker, {.role = Role::kAdmin, .payloads = false});
       },
       "maker_demoted"},
      {"limited to clients",
       Role::kOwner,
       {.role = Role::kViewer},
       [](auto& tx, const auto& change, const auto& maker) {
         return change_member(tx, change, maker, {.role = Role::kOwner, .clients = {{"c-1"}}});
       },
       "maker_demoted"},
  };
  int n = 0;
  for (const Case& one : cases) {
    ++n;
    const std::string maker = add_person(fmt::format("maker{}@acme.example", n), {.role = one.maker});
    const std::string viewer = add_person(fmt::format("viewer{}@acme.example", n), {.role = Role::kViewer});
    const Change by_maker = by(grant(one.maker, "acme", maker));
    const auto fresh = [&] {
      return NewLink{.id = make_identifier("lnk_", rng), .credential = make_credential(CredentialKind::kLink, rng)};
    };
    const NewLink invitation = fresh(), reset = fresh();
    const std::string guest = fmt::format("guest{}@acme.example", n);
    ASSERT_TRUE(write([&](auto& tx) { return invite(tx, by_maker, invitation, guest, one.given); })) << one.what;
    ASSERT_TRUE(write([&](auto& tx) { return make_password_reset(tx, by_maker, reset, viewer); })) << one.what;
    const auto before = audits("link.revoke").size();
    ASSERT_TRUE(write([&](auto& tx) { return one.end(tx, system("acme"), maker); })) << one.what;
    const auto revoked = audits("link.revoke");
    ASSERT_EQ(revoked.size(), before + 2) << one.what;
    EXPECT_EQ(revoked.back().reason, one.reason) << one.what;
    EXPECT_EQ(code_of(redeem(invitation.credential, "", "Guest", kPassword)), ErrorCode::kNotFound) << one.what;
    EXPECT_EQ(code_of(redeem(reset.credential, "", "", "tepid gravel onion")), ErrorCode::kNotFound) << one.what;
  }
}

TEST_P(AccountsTest, WhatWasMadeForSomebodyEndsWhenTheyLeave) {
  add_person("sam@acme.example", {.role = Role::kOwner});
  const std::string id = add_person("mara@acme.example", {.role = Role::kViewer});
  const NewLink reset{.id = "lnk_1", .credential = make_credential(CredentialKind::kLink, rng)};
  ASSERT_TRUE(write([&](auto& tx) { return make_password_reset(tx, system("acme"), reset, id); }));
  const std::string again = link_for("mara@acme.example", {.role = Role::kAdmin});
  const std::string elsewhere = link_for("mara@acme.example", {.role = Role::kAdmin}, "globex");
  const auto session = log_in("mara@acme.example", kPassword);
  ASSERT_TRUE(write([&](auto& tx) { return remove_member(tx, system("acme"), id); }));
  EXPECT_EQ(code_of(redeem(reset.credential, "", "", "tepid gravel onion")), ErrorCode::kNotFound);
  EXPECT_EQ(audits("link.revoke").size(), 2U) << "another workspace's invitation is its own affair";
  const auto revoked =
      database->read_and_wait([&](db::Reader& reader) { return find_link(reader, again, clock.now()); });
  EXPECT_EQ(code_of(revoked), ErrorCode::kNotFound);
  const auto open =
      database->read_and_wait([&](db::Reader& reader) { return find_link(reader, elsewhere, clock.now()); });
  EXPECT_TRUE(open);
}

// Where the ledger was told of it too late to revoke anything: the check at the door does not depend on that.
TEST_P(AccountsTest, TheMakersRightsAreAskedForAgainWhenTheLinkIsUsed) {
  const std::string owner = add_person("sam@acme.example", {.role = Role::kOwner});
  const std::string admin = add_person("jon@acme.example", {.role = Role::kAdmin});
  const std::string mara = add_person("mara@acme.example", {.role = Role::kViewer});
  const auto made_by = [&](Grant maker, auto make) {
    const NewLink made{.id = make_identifier("lnk_", rng), .credential = make_credential(CredentialKind::kLink, rng)};
    const auto done = write([&](db::Transaction& tx) { return make(tx, by(std::move(maker)), made); });
    EXPECT_TRUE(done) << (done ? "" : done.error().message());
    return made.credential;
  };
  // The viewer of yesterday is an owner by now, whom an admin does not reset.
  const auto reset = made_by(grant(Role::kAdmin, "acme", admin), [&](auto& tx, const auto& change, const auto& made) {
    return make_password_reset(tx, change, made, mara);
  });
  ASSERT_TRUE(write([&](auto& tx) { return change_member(tx, system("acme"), mara, {.role = Role::kOwner}); }));
  EXPECT_EQ(code_of(redeem(reset, "", "", "tepid gravel onion")), ErrorCode::kNotFound);

  // Somebody who has joined another workspace since: the account is not this one's alone any more.
  const std::string ben = add_person("ben@acme.example", {.role = Role::kViewer});
  const auto too_late = made_by(
      grant(Role::kAdmin, "acme", admin),
      [&](auto& tx, const auto& change, const auto& made) { return make_password_reset(tx, change, made, ben); });
  ASSERT_TRUE(
      write([&](auto& tx) { return insert_member(tx, system("globex"), {"globex"}, ben, {.role = Role::kOwner}); }));
  EXPECT_EQ(code_of(redeem(too_late, "", "", "tepid gravel onion")), ErrorCode::kNotFound);

  // A token that ran out, and a name that nobody bears.
  const auto invite_as = [&](Grant maker, const char* email) {
    return made_by(std::move(maker), [&](auto& tx, const auto& change, const auto& made) {
      return invite(tx, change, made, email, {.role = Role::kViewer});
    });
  };
  const auto token = add_token(bit(TokenScope::kAdmin), "acme", {.expires_at = clock.now() + kNanosPerSecond});
  const auto by_token = invite_as(*directory.find(token.text), "a@acme.example");
  clock.advance(seconds(2));
  EXPECT_EQ(code_of(redeem(by_token, "", "A", kPassword)), ErrorCode::kNotFound);
  Grant configured{.scope = {.workspace = {"acme"}, .clients = {}},
                   .scopes = bit(TokenScope::kAdmin),
                   .actor_id = "config:ops",
                   .payloads = true};
  EXPECT_EQ(code_of(redeem(invite_as(configured, "b@acme.example"), "", "B", kPassword)), ErrorCode::kNotFound);
  // With the configuration at hand it is known, and the link works.
  Accounts knowing{{*database, directory, hasher, throttle, auditor, clock, rng,
                    [&](const WorkspaceId&, std::string_view actor) {
                      return actor == configured.actor_id ? std::optional(configured) : std::nullopt;
                    }},
                   {.home = {"acme"}}};
  const auto link = invite_as(configured, "c@acme.example");
  EXPECT_TRUE(wait<Accounts::SignedIn>(
      [&](auto done) { knowing.redeem(link, "", "C", Secret(kPassword), {.address = "x"}, std::move(done)); }));

  // Accepting is using as well.
  ASSERT_TRUE(write([&](auto& tx) -> Result<void> {
    auto done = tx.execute("UPDATE access_members SET role = 3 WHERE user_id = $1", {admin});
    return done ? Result<void>() : std::unexpected(done.error());
  }));
  add_person("ines@globex.example", {.role = Role::kViewer}, "globex");
  const auto stale = invite_as(grant(Role::kAdmin, "acme", admin), "ines@globex.example");
  const auto ines = log_in("ines@globex.example", kPassword);
  EXPECT_EQ(code_of(wait<void>([&](auto done) { accounts.accept(person_of(*ines), stale, {}, std::move(done)); })),
            ErrorCode::kNotFound);
}

TEST_P(AccountsTest, WhoMayNotSeePayloadsTakesOverNobodyWhoDoes) {
  const std::string manager = add_person("mara@acme.example", {.role = Role::kManager});
  Grant blind = grant(Role::kAdmin);
  blind.payloads = false;
  const NewLink made{.id = "lnk_1", .credential = make_credential(CredentialKind::kLink, rng)};
  EXPECT_EQ(code_of(write([&](auto& tx) { return make_password_reset(tx, by(blind), made, manager); })),
            ErrorCode::kPermissionDenied);
}

TEST_P(AccountsTest, TheFirstOwnersLinkEndsWithTheFirstOwner) {
  const auto link = first_owner_link(*database, auditor, clock, rng, {"acme"});
  add_person("sam@acme.example", {.role = Role::kOwner});
  EXPECT_EQ(code_of(redeem(*link, "eve@acme.example", "Eve", kPassword)), ErrorCode::kNotFound);
}

TEST_P(AccountsTest, APersonHasSoManySessionsAndTheLeastUsedOneMakesRoom) {
  add_person("mara@acme.example", {.role = Role::kViewer});
  std::vector<std::string> sessions;
  for (int i = 0; i < 22; ++i) {
    clock.advance(seconds(1));
    sessions.push_back(log_in("mara@acme.example", kPassword)->credential);
  }
  int alive = 0;
  for (const std::string& session : sessions) alive += directory.person(session).has_value() ? 1 : 0;
  EXPECT_EQ(alive, 20);
  EXPECT_FALSE(directory.person(sessions[0]));
  EXPECT_TRUE(directory.person(sessions[21]));
}

TEST_P(AccountsTest, NothingThatOpensADoorIsStoredAsItIs) {
  add_person("mara@acme.example", {.role = Role::kOperator});
  const auto session = log_in("mara@acme.example", kPassword);
  const auto token = add_token(bit(TokenScope::kIngest));
  const auto link = link_for("jon@acme.example", {.role = Role::kViewer});
  std::string all;
  for (const db::Sql& table : {db::Sql("SELECT * FROM access_users"), db::Sql("SELECT * FROM access_sessions"),
                               db::Sql("SELECT * FROM access_tokens"), db::Sql("SELECT * FROM access_links"),
                               db::Sql("SELECT * FROM audit_pending")}) {
    auto rows = database->read_and_wait([&](db::Reader& reader) { return reader.query(table); });
    for (const db::Row row : *rows) {
      for (std::size_t i = 0; i < row.size(); ++i) {
        if (const auto* text = std::get_if<std::string_view>(&row[i].get())) all += *text;
        if (const auto* blob = std::get_if<db::BlobView>(&row[i].get())) all += blob->bytes;
      }
    }
  }
  ASSERT_TRUE(all.contains("mara@acme.example"));
  for (const std::string& secret : {session->credential, token.text, link, std::string(kPassword)}) {
    EXPECT_FALSE(all.contains(secret));
    EXPECT_FALSE(all.contains(secret.substr(10, 20)));
  }
}

TEST_P(AccountsTest, EndedThingsArePurged) {
  add_person("mara@acme.example", {.role = Role::kOperator});
  (void)log_in("mara@acme.example", kPassword);
  clock.advance(hours(24 * 60));
  const auto purged = write([&](db::Transaction& tx) { return purge_ended(tx, clock.now()); });
  EXPECT_EQ(*purged, 3) << "the link and two sessions";
}

}  // namespace
}  // namespace fettle::access
