// The rights, row by row as the brief lists them, written out here a second time on purpose.
#include "access/rights.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace fettle::access {
namespace {

using std::chrono::hours;
using enum Action;

Grant person(Role role, std::vector<ClientId> clients = {}) {
  return {.scope = {.workspace = {"acme"}, .clients = std::move(clients)},
          .scopes = scopes_of(role),
          .sender = "",
          .kind = ActorKind::kUser,
          .actor_id = "usr_1",
          .role = role,
          .payloads = {},
          .runs_ai = true};
}

Grant token(TokenScopes scopes) {
  return {.scope = {.workspace = {"acme"}, .clients = {}}, .scopes = scopes, .sender = "t", .actor_id = "tok_1"};
}

const std::vector<ClientId> kOne = {{"c-1"}};
const std::vector<ClientId> kOther = {{"c-2"}};

struct Row {
  const char* what;
  Action action;
  Object object;
  const char* allowed;  // viewer operator manager admin owner
};

const Row kRows[] = {
    {"see", kSee, {}, "12345"},
    {"reveal payloads", kReveal, {}, "  345"},
    {"acknowledge", kAcknowledge, {}, " 2345"},
    {"note", kNote, {}, " 2345"},
    {"assign", kAssign, {}, " 2345"},
    {"run a check-in", kCheckIn, {}, " 2345"},
    {"run a runbook", kRunRunbook, {}, " 2345"},
    {"approve or send back", kApprove, {}, " 2345"},
    {"retry 20", kRetry, {.count = 20}, " 2345"},
    {"retry 21", kRetry, {.count = 21}, "  345"},
    {"start a run", kEnqueue, {}, " 2345"},
    {"discard one", kDiscard, {.count = 1}, " 2345"},
    {"discard two", kDiscard, {.count = 2}, "  345"},
    {"silence for 4 h", kSilence, {.duration = hours(4)}, " 2345"},
    {"silence for longer", kSilence, {.duration = hours(4) + std::chrono::seconds(1)}, "  345"},
    {"stop a client", kStop, {.clients = kOne}, " 2345"},
    {"stop the workspace", kStop, {}, "  345"},
    {"resume a client", kResume, {.clients = kOne}, "  345"},
    {"resume the workspace", kResume, {}, "   45"},
    {"edit budgets", kEditBudgets, {}, "  345"},
    {"edit rules", kEditRules, {}, "  345"},
    {"edit runbooks", kEditRunbooks, {}, "  345"},
    {"people", kManagePeople, {}, "   45"},
    {"keys", kManageTokens, {}, "   45"},
    {"channels", kManageChannels, {}, "   45"},
    {"redaction", kManageRedaction, {}, "   45"},
    {"retention", kManageRetention, {}, "   45"},
    {"plan", kManagePlan, {}, "    5"},
    {"transfer the workspace", kTransferWorkspace, {}, "    5"},
    {"delete the workspace", kDeleteWorkspace, {}, "    5"},
    {"make another workspace", kMakeWorkspace, {}, "    5"},
    {"send telemetry", kSend, {}, "     "},
    {"work", kWork, {}, "     "},
    {"run agents", kRunAi, {}, "12345"},
    {"own account", kOwnAccount, {}, "12345"},
};

TEST(Rights, EveryRoleMayWhatTheTableOfTheBriefGivesItAndNothingElse) {
  std::set<Action> seen;
  for (const Row& row : kRows) {
    seen.insert(row.action);
    for (std::size_t i = 0; i < kRoles.size(); ++i) {
      const Decision decision = can(person(kRoles[i]), row.action, row.object);
      EXPECT_EQ(decision.allowed, row.allowed[i] != ' ') << row.what << " by " << to_string(kRoles[i]);
      EXPECT_EQ(decision.reason.empty(), decision.allowed);
    }
  }
  EXPECT_EQ(seen.size(), rights().size()) << "a right without a row here";
}

TEST(Rights, NamesAreUniqueAndLeadBack) {
  std::set<std::string_view> names;
  for (const Right& right : rights()) {
    EXPECT_TRUE(names.insert(right.name).second) << right.name;
    EXPECT_EQ(action_named(right.name), right.action);
  }
  EXPECT_FALSE(action_named("fly"));
}

TEST(Rights, ADenialSaysWhoCould) {
  const Decision decision = can(person(Role::kOperator), kResume, {.clients = kOne});
  EXPECT_EQ(decision.denial, Decision::Denial::kRole);
  EXPECT_EQ(decision.needs, Role::kManager);
  EXPECT_EQ(can(person(Role::kManager), kResume).needs, Role::kAdmin);
  EXPECT_EQ(check(person(Role::kViewer), kNote).error().code(), ErrorCode::kPermissionDenied);
}

TEST(Rights, AnotherWorkspaceDoesNotExist) {
  const auto owner = person(Role::kOwner);
  EXPECT_EQ(check(owner, kSee, {.workspace = {"globex"}}).error().code(), ErrorCode::kNotFound);
  EXPECT_TRUE(check(owner, kSee, {.workspace = {"acme"}}));
}

TEST(Rights, AnotherClientDoesNotExistForWhoeverIsLimited) {
  const auto limited = person(Role::kManager, kOne);
  EXPECT_TRUE(can(limited, kStop, {.clients = kOne}).allowed);
  EXPECT_EQ(check(limited, kStop, {.clients = kOther}).error().code(), ErrorCode::kNotFound);
  const std::vector<ClientId> both = {{"c-1"}, {"c-2"}};
  EXPECT_EQ(check(limited, kRetry, {.clients = both}).error().code(), ErrorCode::kNotFound);
}

TEST(Rights, WhoeverIsLimitedActsOnNoWholeWorkspace) {
  const auto limited = person(Role::kOwner, kOne);
  for (const Right& right : rights()) {
    if (!right.least) continue;
    EXPECT_EQ(can(limited, right.action).allowed, right.narrows) << right.name;
  }
}

TEST(Rights, PayloadsAreGrantedAndWithheldBesideTheRole) {
  auto viewer = person(Role::kViewer);
  viewer.payloads = true;
  EXPECT_TRUE(can(viewer, kReveal).allowed);
  auto owner = person(Role::kOwner);
  owner.payloads = false;
  EXPECT_EQ(can(owner, kReveal).denial, Decision::Denial::kWithheld);
  // Given to a token that may not even read it means nothing.
  auto sender = token(bit(TokenScope::kIngest));
  sender.payloads = true;
  EXPECT_FALSE(can(sender, kReveal).allowed);
}

TEST(Rights, RunningAgentsTakesTheRightWhateverTheRole) {
  auto owner = person(Role::kOwner);
  owner.runs_ai = false;
  EXPECT_EQ(can(owner, kRunAi).denial, Decision::Denial::kWithheld);
  auto worker = token(bit(TokenScope::kWork));
  EXPECT_FALSE(can(worker, kRunAi).allowed);
  worker.runs_ai = true;
  EXPECT_TRUE(can(worker, kRunAi).allowed);
}

TEST(Rights, ATokenMayWhatItsScopesAreFor) {
  const std::pair<TokenScope, std::vector<Action>> expected[] = {
      {TokenScope::kIngest, {kSend}},
      {TokenScope::kRead, {kSee, kOwnAccount}},
      {TokenScope::kWork, {kEnqueue, kWork}},
  };
  for (const auto& [scope, actions] : expected) {
    for (const Right& right : rights()) {
      const bool listed = std::ranges::find(actions, right.action) != actions.end();
      EXPECT_EQ(can(token(bit(scope)), right.action).allowed, listed) << to_string(scope) << " " << right.name;
    }
  }
  for (const Row& row : kRows) {
    if (row.action == kSend || row.action == kWork || row.action == kRunAi) continue;
    EXPECT_EQ(can(token(bit(TokenScope::kOperate)), row.action, row.object).allowed, row.allowed[2] != ' ') << row.what;
    EXPECT_EQ(can(token(bit(TokenScope::kAdmin)), row.action, row.object).allowed, row.allowed[3] != ' ') << row.what;
  }
  EXPECT_TRUE(can(token(bit(TokenScope::kAdmin)), kSend).allowed);
  EXPECT_TRUE(can(token(bit(TokenScope::kAdmin)), kWork).allowed);
  for (const Right& right : rights()) EXPECT_FALSE(can(token(0), right.action).allowed) << right.name;
}

TEST(Rights, WhatCouldBeDoneToSomethingPassesTheGate) {
  EXPECT_TRUE(could(person(Role::kOperator), kStop));
  EXPECT_FALSE(can(person(Role::kOperator), kStop).allowed) << "of the whole workspace";
  EXPECT_TRUE(could(person(Role::kOperator, kOne), kNote));
  EXPECT_FALSE(could(person(Role::kViewer), kNote));
  EXPECT_FALSE(could(person(Role::kOperator), kResume));
}

TEST(Rights, APersonsSessionSendsNoTelemetry) { EXPECT_FALSE(can(person(Role::kOwner), kSend).allowed); }

}  // namespace
}  // namespace fettle::access
