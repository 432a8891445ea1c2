#include "access/directory.h"

#include <atomic>
#include <thread>

#include "access/fixture_for_test.h"

namespace fettle::access {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

class DirectoryTest : public AccessTest {
 protected:
  // Moves time until the thread of `directory` has seen what the store holds.
  template <class Condition>
  bool comes_true(Condition condition) {
    const auto give_up = std::chrono::steady_clock::now() + seconds(20);
    while (std::chrono::steady_clock::now() < give_up) {
      if (condition()) return true;
      clock.advance(std::chrono::milliseconds(100));
      std::this_thread::yield();
    }
    return false;
  }
};
FETTLE_FOR_BOTH_STORES(DirectoryTest);

TEST_P(DirectoryTest, ATokenComesInFromItsCreationToItsRevocation) {
  const auto token = add_token(bit(TokenScope::kIngest), "acme", {.clients = {{"c-1"}}});
  const auto found = directory.find(token.text);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->scope.workspace.value, "acme");
  EXPECT_EQ(found->scope.clients, std::vector<ClientId>{{"c-1"}});
  EXPECT_EQ(found->actor_id, token.id);
  EXPECT_EQ(found->sender, "web");
  EXPECT_TRUE(found->may(TokenScope::kIngest));
  EXPECT_FALSE(found->may(TokenScope::kRead));

  auto revoked =
      directory.change_and_wait([&](db::Transaction& tx) { return revoke_token(tx, system("acme"), token.id); });
  ASSERT_TRUE(revoked);
  EXPECT_FALSE(directory.find(token.text)) << "at once";
}

TEST_P(DirectoryTest, AnExpiredTokenIsRefusedToTheNanosecond) {
  const auto token = add_token(bit(TokenScope::kRead), "acme", {.expires_at = kStart + kNanosPerSecond});
  clock.advance(seconds(1) - std::chrono::nanoseconds(1));
  EXPECT_TRUE(directory.find(token.text));
  clock.advance(std::chrono::nanoseconds(1));
  EXPECT_FALSE(directory.find(token.text));
}

TEST_P(DirectoryTest, UnknownTextsAreNobody) {
  const auto token = add_token(bit(TokenScope::kRead));
  ASSERT_TRUE(directory.find(token.text));
  for (std::string_view wrong : {std::string_view(""), std::string_view("fettle_t_"),
                                 std::string_view(token.text).substr(0, token.text.size() - 1)}) {
    EXPECT_FALSE(directory.find(wrong));
  }
  EXPECT_FALSE(directory.find(make_credential(CredentialKind::kToken, rng)));
  EXPECT_FALSE(directory.find(make_credential(CredentialKind::kSession, rng)));
}

TEST_P(DirectoryTest, AnotherReplicaLearnsOfNewAndRevokedTokensByItself) {
  auto elsewhere = open();
  Directory other(*elsewhere, clock, registry, {});
  ASSERT_TRUE(other.start());
  const auto token = add_token(bit(TokenScope::kIngest));
  EXPECT_TRUE(comes_true([&] { return other.find(token.text).has_value(); }));
  ASSERT_TRUE(
      directory.change_and_wait([&](db::Transaction& tx) { return revoke_token(tx, system("acme"), token.id); }));
  EXPECT_TRUE(comes_true([&] { return !other.find(token.text).has_value(); }));
  other.stop();
}

TEST_P(DirectoryTest, AskedToItIsAsNewAsTheStoreAtOnce) {
  auto elsewhere = open();
  Directory other(*elsewhere, clock, registry, {});
  const auto token = add_token(bit(TokenScope::kIngest));
  EXPECT_TRUE(wait<void>([&](auto done) { other.refresh(std::move(done)); }));
  EXPECT_TRUE(other.find(token.text));
  const auto second = add_token(bit(TokenScope::kIngest));
  EXPECT_FALSE(other.find(second.text));
  EXPECT_TRUE(wait<void>([&](auto done) { other.refresh(std::move(done)); }));
  EXPECT_TRUE(other.find(second.text));
  other.stop();
}

TEST_P(DirectoryTest, WhoComesInIsKnownAfterARestart) {
  const auto token = add_token(bit(TokenScope::kIngest));
  const auto revoked = add_token(bit(TokenScope::kIngest));
  ASSERT_TRUE(
      directory.change_and_wait([&](db::Transaction& tx) { return revoke_token(tx, system("acme"), revoked.id); }));
  Directory again(*database, clock, registry, {});
  ASSERT_TRUE(again.start());
  EXPECT_TRUE(again.find(token.text));
  EXPECT_FALSE(again.find(revoked.text));
  again.stop();
}

TEST_P(DirectoryTest, TheLastUseIsWrittenOnceAMinuteAndAtTheEnd) {
  const auto token = add_token(bit(TokenScope::kIngest));
  ASSERT_TRUE(directory.start());
  const auto last_used = [&] {
    return database
        ->read_and_wait([&](db::Reader& reader) { return list_tokens(reader, {.workspace = {"acme"}, .clients = {}}); })
        ->at(0)
        .last_used_at;
  };
  ASSERT_TRUE(directory.find(token.text));
  EXPECT_FALSE(last_used()) << "not on the way of a request";
  EXPECT_TRUE(comes_true([&] { return last_used().has_value(); }));
  EXPECT_EQ(last_used(), kStart);
  clock.advance(seconds(5));
  const UnixNanos now = clock.now();
  ASSERT_TRUE(directory.find(token.text));
  directory.stop();
  EXPECT_EQ(last_used(), now);
}

TEST_P(DirectoryTest, WhileTheStoreIsAwayMemoryGoesOn) {
  const auto token = add_token(bit(TokenScope::kIngest));
  database->close();
  EXPECT_FALSE(wait<void>([&](auto done) { directory.refresh(std::move(done)); }));
  EXPECT_TRUE(directory.find(token.text));
  clock.advance(seconds(90));
  EXPECT_GE(directory.staleness(), seconds(90));
}

TEST_P(DirectoryTest, ASessionIsAPersonInOneOfTheirWorkspaces) {
  const std::string id = add_person("mara@acme.example", {.role = Role::kOperator, .clients = {{"c-1"}}});
  const auto session = log_in("mara@acme.example", kPassword);
  ASSERT_TRUE(session) << session.error().message();
  const auto person = directory.person(session->credential);
  ASSERT_TRUE(person);
  EXPECT_EQ(person->grant.actor_id, id);
  EXPECT_EQ(person->grant.role, Role::kOperator);
  EXPECT_EQ(person->grant.scope.workspace.value, "acme");
  EXPECT_EQ(person->grant.scope.clients, std::vector<ClientId>{{"c-1"}});
  EXPECT_TRUE(person->grant.runs_ai);
  EXPECT_FALSE(can(person->grant, Action::kReveal, {.clients = person->grant.scope.clients}).allowed);
  EXPECT_EQ(person->email, "mara@acme.example");
  EXPECT_EQ(code_of(directory.person(session->credential, {"globex"})), ErrorCode::kNotFound);
  EXPECT_FALSE(directory.find(session->credential)) << "no session passes for a token";
}

TEST_P(DirectoryTest, SessionsEndByIdlenessAndByAge) {
  add_person("mara@acme.example", {.role = Role::kViewer});
  const auto idle = log_in("mara@acme.example", kPassword);
  const auto used = log_in("mara@acme.example", kPassword);
  const auto is_alive = [&](const auto& session) { return directory.person(session->credential).has_value(); };
  clock.advance(hours(11));
  EXPECT_TRUE(is_alive(used));
  clock.advance(hours(1));
  EXPECT_TRUE(is_alive(used));
  EXPECT_FALSE(is_alive(idle));
  for (int hour = 12; hour + 8 < 24 * 14; hour += 8) {
    clock.advance(hours(8));
    ASSERT_TRUE(is_alive(used)) << hour;
  }
  clock.advance(hours(8));
  EXPECT_FALSE(is_alive(used));
}

TEST_P(DirectoryTest, WhatIsTakenFromAPersonIsGoneAtOnce) {
  const std::string id = add_person("mara@acme.example", {.role = Role::kManager});
  const auto session = log_in("mara@acme.example", kPassword);
  const auto change = [&](auto body) {
    auto done = directory.change_and_wait(std::move(body));
    EXPECT_TRUE(done) << (done ? "" : done.error().message());
  };
  change([&](db::Transaction& tx) { return change_member(tx, system("acme"), id, {.role = Role::kViewer}); });
  EXPECT_EQ(directory.person(session->credential)->grant.role, Role::kViewer);
  EXPECT_EQ(directory.grant_of({"acme"}, id)->role, Role::kViewer);
  change([&](db::Transaction& tx) { return remove_member(tx, system("acme"), id); });
  EXPECT_EQ(code_of(directory.person(session->credential)), ErrorCode::kNotFound);
  EXPECT_FALSE(directory.grant_of({"acme"}, id));
}

TEST_P(DirectoryTest, ADisabledAccountIsNobody) {
  add_person("sam@acme.example", {.role = Role::kOwner});
  const std::string id = add_person("mara@acme.example", {.role = Role::kManager});
  const auto session = log_in("mara@acme.example", kPassword);
  const auto disable = [&](bool disabled) {
    return directory.change_and_wait(
        [&](db::Transaction& tx) { return set_disabled(tx, system("acme"), id, disabled); });
  };
  ASSERT_TRUE(disable(true));
  EXPECT_EQ(code_of(directory.person(session->credential)), ErrorCode::kUnauthenticated);
  EXPECT_FALSE(directory.grant_of({"acme"}, id));
  EXPECT_EQ(code_of(log_in("mara@acme.example", kPassword)), ErrorCode::kUnauthenticated);
  ASSERT_TRUE(disable(false));
  EXPECT_FALSE(directory.person(session->credential)) << "the session was ended, not suspended";
  EXPECT_TRUE(log_in("mara@acme.example", kPassword));
}

TEST_P(DirectoryTest, PacksGrantTheRightToRunAgentsByRole) {
  const auto worker = add_token(bit(TokenScope::kWork));
  const auto reader = add_token(bit(TokenScope::kRead));
  const auto runs = [&](const MadeToken& token) { return directory.find(token.text)->runs_ai; };
  EXPECT_TRUE(runs(worker));
  EXPECT_FALSE(runs(reader)) << "a viewer, and no pack says otherwise";
  const auto give = [&](std::vector<Role> roles) {
    ASSERT_TRUE(directory.change_and_wait(
        [&](db::Transaction& tx) { return grant_run_ai(tx, system("acme"), "agency", roles); }));
  };
  give({Role::kManager});
  EXPECT_FALSE(runs(worker));
  EXPECT_TRUE(directory.runs_ai({"acme"}, Role::kManager));
  EXPECT_FALSE(directory.runs_ai({"acme"}, Role::kOwner));
  EXPECT_TRUE(directory.runs_ai({"globex"}, Role::kOwner));
  give({});
  EXPECT_TRUE(runs(worker));
}

TEST_P(DirectoryTest, PlansAreReadFromMemory) {
  EXPECT_EQ(directory.plan_of({"acme"}), std::nullopt) << "nothing was read yet";
  const Plan plan{.name = "team", .concurrent_runs_max = 5};
  ASSERT_TRUE(directory.change_and_wait([&](db::Transaction& tx) { return set_plan(tx, system("acme"), plan); }));
  EXPECT_EQ(directory.plan_of({"acme"}), plan);
  EXPECT_EQ(directory.plan_of({"globex"}), Plan{});
  EXPECT_EQ(directory.plan_of({"nobody"}), std::nullopt);
}

TEST_P(DirectoryTest, ADeletedWorkspaceLetsNobodyIn) {
  const auto token = add_token(bit(TokenScope::kAdmin));
  const auto other = add_token(bit(TokenScope::kAdmin), "globex");
  const std::string id = add_person("mara@acme.example", {.role = Role::kOwner});
  ASSERT_TRUE(directory.change_and_wait(
      [&](db::Transaction& tx) { return delete_workspace(tx, by(grant(Role::kOwner, "acme", id))); }));
  EXPECT_FALSE(directory.find(token.text));
  EXPECT_FALSE(directory.grant_of({"acme"}, id));
  EXPECT_FALSE(directory.plan_of({"acme"}));
  EXPECT_TRUE(directory.find(other.text));
}

TEST_P(DirectoryTest, NoThreadFindsATokenAfterItsRevocationWasAnswered) {
  constexpr int kTokens = 24;
  std::vector<MadeToken> tokens;
  for (int i = 0; i < kTokens; ++i) tokens.push_back(add_token(bit(TokenScope::kIngest)));
  ASSERT_TRUE(directory.start());
  std::atomic<int> revoked = 0;  // tokens before this index
  std::atomic<bool> is_over = false;
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      while (!is_over) {
        for (int i = 0; i < kTokens; ++i) {
          const bool was_revoked = i < revoked;
          const bool is_known = directory.find(tokens[static_cast<std::size_t>(i)].text).has_value();
          if (was_revoked && is_known) ++wrong;
          if (i == kTokens - 1 && !is_known && !was_revoked && revoked < kTokens - 1) ++wrong;
        }
      }
    });
  }
  for (int i = 0; i < kTokens; ++i) {
    ASSERT_TRUE(directory.change_and_wait(
        [&](db::Transaction& tx) { return revoke_token(tx, system("acme"), tokens[static_cast<std::size_t>(i)].id); }));
    revoked = i + 1;
    clock.advance(seconds(1));
  }
  is_over = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace fettle::access
