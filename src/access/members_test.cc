// Members, tokens, links, plans and workspaces: who may change them, and what is written down.
#include "access/members.h"

#include <boost/json.hpp>

#include "access/fixture_for_test.h"
#include "access/rights.h"

namespace fettle::access {
namespace {

class MembersTest : public AccessTest {
 protected:
  Scope acme{.workspace = {"acme"}, .clients = {}};
  Result<Member> member(const std::string& id, const Scope& scope) {
    return database->read_and_wait([&](db::Reader& reader) { return find_member(reader, scope, id); });
  }
};
FETTLE_FOR_BOTH_STORES(MembersTest);

TEST_P(MembersTest, AChangeIsAuditedWithBeforeAndAfterInItsTransaction) {
  const std::string id = add_person("mara@acme.example", {.role = Role::kViewer});
  const Membership wanted{.role = Role::kManager, .clients = {{"c-1"}}, .payloads = false};
  ASSERT_TRUE(write([&](db::Transaction& tx) { return change_member(tx, by(grant(Role::kAdmin)), id, wanted); }));
  const auto changed = audits("member.change");
  ASSERT_EQ(changed.size(), 1U);
  EXPECT_EQ(changed[0].actor_id, "usr_x");
  EXPECT_EQ(changed[0].role, "admin");
  EXPECT_EQ(changed[0].target_id, id);
  EXPECT_EQ(changed[0].at, clock.now());
  EXPECT_EQ(boost::json::parse(changed[0].before),
            boost::json::parse(R"({"role":"viewer","clients":null,"payloads":null})"));
  EXPECT_EQ(boost::json::parse(changed[0].after),
            boost::json::parse(R"({"role":"manager","clients":["c-1"],"payloads":false})"));

  // What is refused afterwards leaves neither the change nor its record.
  const auto failed = write([&](db::Transaction& tx) -> Result<void> {
    auto done = change_member(tx, by(grant(Role::kAdmin)), id, {.role = Role::kViewer});
    EXPECT_TRUE(done);
    return fail(ErrorCode::kConflict, "changed my mind");
  });
  EXPECT_FALSE(failed);
  EXPECT_EQ(audits("member.change").size(), 1U);
  EXPECT_EQ(member(id, acme)->role, Role::kManager);
}

// Every change, by every role: what the table of rights says, and nothing else, gets through.
TEST_P(MembersTest, NobodyWithoutTheRightChangesAnything) {
  add_person("sam@acme.example", {.role = Role::kOwner});
  struct Attempt {
    const char* what;
    Action needed;
    std::function<Result<void>(db::Transaction&, const Change&)> act;
  };
  const std::string victim = add_person("mara@acme.example", {.role = Role::kViewer});
  const auto new_token = [&] {
    return NewToken{.id = make_identifier("tok_", rng),
                    .credential = make_credential(CredentialKind::kToken, rng),
                    .name = "x",
                    .scopes = bit(TokenScope::kIngest)};
  };
  const auto new_link = [&] {
    return NewLink{.id = make_identifier("lnk_", rng), .credential = make_credential(CredentialKind::kLink, rng)};
  };
  const Attempt attempts[] = {
      {"change_member", Action::kManagePeople,
       [&](auto& tx, const auto& change) { return change_member(tx, change, victim, {.role = Role::kOperator}); }},
      {"disable", Action::kManagePeople,
       [&](auto& tx, const auto& change) { return set_disabled(tx, change, victim, true); }},
      {"enable", Action::kManagePeople,
       [&](auto& tx, const auto& change) { return set_disabled(tx, change, victim, false); }},
      {"invite", Action::kManagePeople,
       [&](auto& tx, const auto& change) { return invite(tx, change, new_link(), "a@b.example", {}); }},
      {"reset", Action::kManagePeople,
       [&](auto& tx, const auto& change) { return make_password_reset(tx, change, new_link(), victim); }},
      {"create_token", Action::kManageTokens,
       [&](auto& tx, const auto& change) { return create_token(tx, change, new_token()); }},
      {"set_plan", Action::kManagePlan, [&](auto& tx, const auto& change) { return set_plan(tx, change, {}); }},
      {"grant_run_ai", Action::kManagePeople,
       [&](auto& tx, const auto& change) { return grant_run_ai(tx, change, "p", {Role::kViewer}); }},
  };
  for (const Attempt& attempt : attempts) {
    for (const Role role : kRoles) {
      const auto done = write([&](db::Transaction& tx) { return attempt.act(tx, by(grant(role))); });
      EXPECT_EQ(done.has_value(), can(grant(role), attempt.needed).allowed)
          << attempt.what << " by " << to_string(role) << ": " << (done ? "" : done.error().message());
      EXPECT_TRUE(done || done.error().code() == ErrorCode::kPermissionDenied) << attempt.what;

      // The owner of another workspace finds nothing to change here.
      const auto elsewhere =
          write([&](db::Transaction& tx) { return attempt.act(tx, by(grant(Role::kOwner, "nowhere"))); });
      ASSERT_FALSE(elsewhere) << attempt.what;
      EXPECT_EQ(code_of(elsewhere), ErrorCode::kNotFound) << attempt.what;

      Grant limited = grant(Role::kOwner);
      limited.scope.clients = {{"c-1"}};
      EXPECT_FALSE(write([&](db::Transaction& tx) { return attempt.act(tx, by(limited)); })) << attempt.what;
    }
  }
  for (const Role role : kRoles) {
    const auto made = write([&](db::Transaction& tx) { return create_workspace(tx, by(grant(role)), {"mine"}, "x"); });
    EXPECT_EQ(code_of(made), ErrorCode::kPermissionDenied);
    const auto first =
        write([&](db::Transaction& tx) { return make_first_owner_link(tx, by(grant(role)), new_link()); });
    EXPECT_EQ(code_of(first), ErrorCode::kPermissionDenied);
    if (role == Role::kOwner) continue;
    EXPECT_FALSE(write([&](db::Transaction& tx) { return delete_workspace(tx, by(grant(role))); }));
    EXPECT_FALSE(write([&](db::Transaction& tx) { return transfer_workspace(tx, by(grant(role)), victim); }));
  }
}

TEST_P(MembersTest, NobodyGivesMoreThanTheyHave) {
  const std::string owner = add_person("sam@acme.example", {.role = Role::kOwner});
  const std::string id = add_person("mara@acme.example", {.role = Role::kViewer});
  const auto admin = [&] { return by(grant(Role::kAdmin)); };
  const auto denied = [](const Result<void>& done) {
    return !done && done.error().code() == ErrorCode::kPermissionDenied;
  };
  EXPECT_TRUE(denied(write([&](auto& tx) { return change_member(tx, admin(), id, {.role = Role::kOwner}); })));
  EXPECT_TRUE(denied(write([&](auto& tx) { return change_member(tx, admin(), owner, {.role = Role::kViewer}); })));
  EXPECT_TRUE(denied(write([&](auto& tx) { return remove_member(tx, admin(), owner); })));
  EXPECT_TRUE(denied(write([&](auto& tx) { return set_disabled(tx, admin(), owner, true); })));
  const NewLink link{.id = "l", .credential = make_credential(CredentialKind::kLink, rng)};
  EXPECT_TRUE(
      denied(write([&](auto& tx) { return invite(tx, admin(), link, "a@b.example", {.role = Role::kOwner}); })));

  Grant blind = grant(Role::kAdmin);
  blind.payloads = false;
  EXPECT_TRUE(denied(write([&](auto& tx) { return change_member(tx, by(blind), id, {.role = Role::kManager}); })));
  EXPECT_TRUE(denied(
      write([&](auto& tx) { return change_member(tx, by(blind), id, {.role = Role::kViewer, .payloads = true}); })));
  const NewToken token{.id = "tok_1",
                       .credential = make_credential(CredentialKind::kToken, rng),
                       .name = "x",
                       .scopes = bit(TokenScope::kAdmin)};
  EXPECT_TRUE(denied(write([&](auto& tx) { return create_token(tx, by(blind), token); })));
}

TEST_P(MembersTest, AWorkspaceKeepsAnOwner) {
  const std::string sam = add_person("sam@acme.example", {.role = Role::kOwner});
  const auto owner = [&] { return by(grant(Role::kOwner, "acme", sam)); };
  for (const bool with_second : {false, true}) {
    std::string second;
    if (with_second) second = add_person("kim@acme.example", {.role = Role::kOwner});
    EXPECT_EQ(write([&](auto& tx) { return change_member(tx, owner(), sam, {.role = Role::kAdmin}); }).has_value(),
              with_second);
    if (with_second) {
      EXPECT_FALSE(write([&](auto& tx) { return remove_member(tx, system("acme"), second); }));
      EXPECT_FALSE(write([&](auto& tx) { return set_disabled(tx, system("acme"), second, true); }));
      EXPECT_FALSE(write([&](auto& tx) {
        return change_member(tx, system("acme"), second, {.role = Role::kOwner, .clients = {{"c-1"}}});
      })) << "an owner of some clients alone owns no workspace";
    }
  }
}

TEST_P(MembersTest, AWorkspaceIsHandedOver) {
  const std::string sam = add_person("sam@acme.example", {.role = Role::kOwner});
  const std::string kim = add_person("kim@acme.example", {.role = Role::kViewer, .clients = {{"c-1"}}});
  ASSERT_TRUE(write([&](auto& tx) { return transfer_workspace(tx, by(grant(Role::kOwner, "acme", sam)), kim); }));
  EXPECT_EQ(member(kim, acme)->role, Role::kOwner);
  EXPECT_TRUE(member(kim, acme)->clients.empty());
  EXPECT_EQ(member(sam, acme)->role, Role::kAdmin);
  EXPECT_EQ(audits("workspace.transfer").size(), 1U);
}

TEST_P(MembersTest, MembersOfAnotherWorkspaceDoNotExist) {
  const std::string id = add_person("mara@acme.example", {.role = Role::kViewer});
  const Scope globex{.workspace = {"globex"}, .clients = {}};
  EXPECT_EQ(code_of(member(id, globex)), ErrorCode::kNotFound);
  const auto listed = database->read_and_wait([&](db::Reader& reader) { return list_members(reader, globex); });
  EXPECT_TRUE(listed->empty());
  const auto removed = write([&](auto& tx) { return remove_member(tx, by(grant(Role::kOwner, "globex")), id); });
  EXPECT_EQ(code_of(removed), ErrorCode::kNotFound);
  const auto token = add_token(bit(TokenScope::kRead));
  EXPECT_EQ(code_of(write([&](auto& tx) { return revoke_token(tx, by(grant(Role::kOwner, "globex")), token.id); })),
            ErrorCode::kNotFound);
  EXPECT_TRUE(directory.find(token.text));
}

TEST_P(MembersTest, TokensAreListedByNameAndHintAndNeverByText) {
  const auto token = add_token(bit(TokenScope::kIngest) | bit(TokenScope::kRead), "acme",
                               {.name = "edge", .clients = {{"c-1"}}, .expires_at = kStart + kNanosPerDay});
  const auto listed = database->read_and_wait([&](db::Reader& reader) { return list_tokens(reader, acme); });
  ASSERT_EQ(listed->size(), 1U);
  const StoredToken& one = listed->front();
  EXPECT_EQ(one.name, "edge");
  EXPECT_EQ(one.hint, token.text.substr(token.text.size() - 4));
  EXPECT_EQ(one.scopes, bit(TokenScope::kIngest) | bit(TokenScope::kRead));
  EXPECT_EQ(one.clients, std::vector<ClientId>{{"c-1"}});
  EXPECT_EQ(one.expires_at, kStart + kNanosPerDay);
  EXPECT_EQ(one.created_by, "fettle");
  const auto made = audits("token.create");
  ASSERT_EQ(made.size(), 1U);
  EXPECT_FALSE(made[0].after.contains(token.text));
}

TEST_P(MembersTest, MalformedRequestsAreRefused) {
  const auto refused = [&](NewToken made) {
    made.id = "tok_x";
    if (made.credential.empty()) made.credential = make_credential(CredentialKind::kToken, rng);
    const auto done = write([&](auto& tx) { return create_token(tx, system("acme"), made); });
    return !done && done.error().code() == ErrorCode::kInvalidArgument;
  };
  EXPECT_TRUE(refused({.name = "", .scopes = 1}));
  EXPECT_TRUE(refused({.name = "x", .scopes = 0}));
  EXPECT_TRUE(refused({.name = "x", .scopes = 64}));
  EXPECT_TRUE(refused({.name = "line\nbreak", .scopes = 1}));
  EXPECT_TRUE(refused({.name = "x", .scopes = 1, .clients = {{""}}}));
  EXPECT_TRUE(refused({.name = "x", .scopes = 1, .clients = {{"a"}, {"a"}}}));
  EXPECT_TRUE(refused({.name = "x", .scopes = 1, .expires_at = kStart}));
  for (const char* email : {"", "x", "@b", "a@", "a@b@c", "a b@c"}) {
    const NewLink link{.id = "l", .credential = make_credential(CredentialKind::kLink, rng)};
    const auto done = write([&](auto& tx) { return invite(tx, system("acme"), link, email, {}); });
    EXPECT_EQ(code_of(done), ErrorCode::kInvalidArgument) << email;
  }
}

TEST_P(MembersTest, ADamagedLimitToClientsLetsNobodyInRatherThanEverywhere) {
  const auto token = add_token(bit(TokenScope::kRead), "acme", {.clients = {{"c-1"}}});
  for (const char* damaged : {"[]", "", "null", "[1]", "[\"\"]", "{}"}) {
    ASSERT_TRUE(
        write([&](db::Transaction& tx) { return tx.execute("UPDATE access_tokens SET clients = $1", {damaged}); }));
    Directory fresh(*database, clock, registry, {});
    EXPECT_FALSE(fresh.start()) << damaged;
    EXPECT_FALSE(fresh.find(token.text)) << damaged;
  }
}

}  // namespace
}  // namespace fettle::access
