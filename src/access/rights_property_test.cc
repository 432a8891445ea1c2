// No caller gets through without a role, a scope or a grant that says so, whatever the combination.
#include <rapidcheck.h>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>

#include "access/rights.h"

namespace fettle::access {
namespace {

std::vector<ClientId> some_clients() {
  std::vector<ClientId> clients;
  for (const char* name : {"c-1", "c-2", "c-3"}) {
    if (*rc::gen::arbitrary<bool>()) clients.push_back({name});
  }
  return clients;
}

template <class T>
std::optional<T> maybe(T value) {
  return *rc::gen::arbitrary<bool>() ? std::optional<T>(value) : std::nullopt;
}

struct Case {
  Grant actor;
  Action action{};
  std::vector<ClientId> clients;
  Object object;
};

void fill(Case& one) {
  one.actor.scope = {.workspace = {"acme"}, .clients = some_clients()};
  one.actor.scopes = *rc::gen::inRange<std::uint8_t>(0, 32);
  one.actor.kind = *rc::gen::element(ActorKind::kToken, ActorKind::kUser);
  if (one.actor.kind == ActorKind::kUser) {
    one.actor.role = *rc::gen::elementOf(std::vector<Role>(kRoles.begin(), kRoles.end()));
    one.actor.scopes = scopes_of(*one.actor.role);
  }
  one.actor.payloads = maybe(*rc::gen::arbitrary<bool>());
  one.actor.runs_ai = *rc::gen::arbitrary<bool>();
  one.action = static_cast<Action>(*rc::gen::inRange<std::size_t>(0, rights().size()));
  one.clients = some_clients();
  one.object = {.workspace = {*rc::gen::element<std::string>("", "acme", "globex")},
                .clients = one.clients,
                .count = *rc::gen::inRange<std::size_t>(0, 40),
                .duration = std::chrono::seconds(*rc::gen::inRange(0, 8 * 3600))};
}

RC_GTEST_PROP(Rights, WhoeverGetsThroughHasTheRightByTheTable, ()) {
  Case one;
  fill(one);
  const Right& right = right_of(one.action);
  const Decision decision = can(one.actor, one.action, one.object);
  RC_TAG(decision.allowed);
  RC_ASSERT(decision.allowed == (decision.denial == Decision::Denial::kNone));
  if (!decision.allowed) return;

  RC_ASSERT(one.object.workspace.value.empty() || one.object.workspace == one.actor.scope.workspace);
  if (!one.actor.scope.clients.empty()) {
    for (const ClientId& client : one.clients) {
      RC_ASSERT(std::ranges::find(one.actor.scope.clients, client) != one.actor.scope.clients.end());
    }
    RC_ASSERT(!one.clients.empty() || right.narrows);
  }
  const bool by_scope = one.actor.kind == ActorKind::kToken && (one.actor.scopes & right.scopes) != 0;
  const bool by_grant = one.action == Action::kReveal && one.actor.payloads == true && role_of(one.actor);
  RC_ASSERT(by_scope || by_grant || (right.least && role_of(one.actor) >= right.least));
  RC_ASSERT(one.action != Action::kRunAi || one.actor.runs_ai);
  RC_ASSERT(one.action != Action::kReveal || one.actor.payloads != false);
}

RC_GTEST_PROP(Rights, AHigherRoleNeverLosesARight, ()) {
  Case one;
  fill(one);
  one.actor.kind = ActorKind::kUser;
  bool was_allowed = false;
  for (const Role role : kRoles) {
    one.actor.role = role;
    one.actor.scopes = scopes_of(role);
    const bool allowed = can(one.actor, one.action, one.object).allowed;
    RC_ASSERT(allowed || !was_allowed);
    was_allowed = allowed;
  }
}

RC_GTEST_PROP(Rights, ALimitToClientsNeverGivesARight, ()) {
  Case one;
  fill(one);
  const bool limited = can(one.actor, one.action, one.object).allowed;
  one.actor.scope.clients.clear();
  RC_ASSERT(!limited || can(one.actor, one.action, one.object).allowed);
}

}  // namespace
}  // namespace fettle::access
