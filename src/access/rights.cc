#include "access/rights.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

namespace fettle::access {
namespace {

constexpr std::int64_t kSilenceShortSeconds = 4 * 3600;
constexpr std::int64_t kRetryFew = 20;

constexpr TokenScopes kIngestScope = bit(TokenScope::kIngest) | bit(TokenScope::kAdmin);
constexpr TokenScopes kWorkScope = bit(TokenScope::kWork) | bit(TokenScope::kAdmin);

using enum Action;
using enum Role;

// In the order of Action.
constexpr auto kRights = std::to_array<Right>({
    {.action = kSee, .name = "see", .least = kViewer, .narrows = true},
    {.action = kReveal, .name = "reveal", .least = kManager, .narrows = true},
    {.action = kAcknowledge, .name = "acknowledge", .least = kOperator},
    {.action = kNote, .name = "note", .least = kOperator},
    {.action = kAssign, .name = "assign", .least = kOperator},
    {.action = kCheckIn, .name = "check_in", .least = kOperator, .narrows = true},
    {.action = kRunRunbook, .name = "run_runbook", .least = kOperator},
    {.action = kApprove, .name = "approve", .least = kOperator},
    {.action = kRetry,
     .name = "retry",
     .least = kOperator,
     .measure = Measure::kCount,
     .most = kRetryFew,
     .beyond = kManager},
    {.action = kEnqueue, .name = "enqueue", .least = kOperator, .scopes = kWorkScope},
    {.action = kDiscard,
     .name = "discard",
     .least = kOperator,
     .measure = Measure::kCount,
     .most = 1,
     .beyond = kManager},
    {.action = kRunAi, .name = "run_ai", .least = kViewer, .scopes = kWorkScope, .narrows = true},
    {.action = kSilence,
     .name = "silence",
     .least = kOperator,
     .measure = Measure::kDuration,
     .most = kSilenceShortSeconds,
     .beyond = kManager},
    {.action = kStop, .name = "stop", .least = kOperator, .measure = Measure::kBreadth, .beyond = kManager},
    {.action = kResume, .name = "resume", .least = kManager, .measure = Measure::kBreadth, .beyond = kAdmin},
    {.action = kEditBudgets, .name = "edit_budgets", .least = kManager},
    {.action = kEditRules, .name = "edit_rules", .least = kManager},
    {.action = kEditRunbooks, .name = "edit_runbooks", .least = kManager},
    {.action = kManagePeople, .name = "manage_people", .least = kAdmin},
    {.action = kManageTokens, .name = "manage_tokens", .least = kAdmin},
    {.action = kManageChannels, .name = "manage_channels", .least = kAdmin},
    {.action = kManageRedaction, .name = "manage_redaction", .least = kAdmin},
    {.action = kManageRetention, .name = "manage_retention", .least = kAdmin},
    {.action = kManagePlan, .name = "manage_plan", .least = kOwner},
    {.action = kTransferWorkspace, .name = "transfer_workspace", .least = kOwner},
    {.action = kDeleteWorkspace, .name = "delete_workspace", .least = kOwner},
    {.action = kMakeWorkspace, .name = "make_workspace", .least = kOwner},
    {.action = kSend, .name = "send", .least = std::nullopt, .scopes = kIngestScope, .narrows = true},
    {.action = kWork, .name = "work", .least = std::nullopt, .scopes = kWorkScope, .narrows = true},
    {.action = kOwnAccount, .name = "own_account", .least = kViewer, .narrows = true},
});

consteval bool is_in_order() {
  for (std::size_t i = 0; i < kRights.size(); ++i) {
    if (static_cast<std::size_t>(kRights[i].action) != i) return false;
  }
  return true;
}
static_assert(is_in_order());

std::string_view plural(Role role) {
  switch (role) {
    case kViewer: return "viewers";
    case kOperator: return "operators";
    case kManager: return "managers";
    case kAdmin: return "admins";
    case kOwner: return "owners";
  }
  return "nobody";
}

bool is_larger(const Right& right, const Object& object) {
  switch (right.measure) {
    case Measure::kNone: return false;
    case Measure::kCount: return std::cmp_greater(object.count, right.most);
    case Measure::kDuration: return object.duration.count() > right.most;
    case Measure::kBreadth: return object.clients.empty();
  }
  return true;
}

// The same act in words, with what made it large.
std::string act(const Right& right, bool larger) {
  std::string name(right.name);
  std::ranges::replace(name, '_', ' ');
  if (!larger) return name;
  switch (right.measure) {
    case Measure::kCount: return fmt::format("{} more than {} at once", name, right.most);
    case Measure::kDuration: return fmt::format("{} for more than {} h", name, right.most / 3600);
    case Measure::kBreadth: return fmt::format("{} the whole workspace", name);
    case Measure::kNone: break;
  }
  return name;
}

Decision deny(Decision::Denial denial, std::string reason, std::optional<Role> needs = std::nullopt) {
  return {.allowed = false, .denial = denial, .needs = needs, .reason = std::move(reason)};
}

// What a token would need, for its refusal.
std::string lacking(const Right& right, std::optional<Role> least) {
  if (right.scopes & bit(TokenScope::kIngest)) return "this token lacks the scope 'ingest'";
  if (right.scopes & bit(TokenScope::kWork)) return "this token lacks the scope 'work'";
  if (!least || *least == kOwner) return fmt::format("no token can {}", act(right, false));
  for (const TokenScope scope : {TokenScope::kRead, TokenScope::kOperate, TokenScope::kAdmin}) {
    if (*role_of({.scopes = bit(scope)}) < *least) continue;
    return fmt::format("this token lacks the scope '{}'", to_string(scope));
  }
  return "this token lacks a scope";
}

bool is_within(const std::vector<ClientId>& own, std::span<const ClientId> asked) {
  return std::ranges::all_of(asked,
                             [&](const ClientId& client) { return std::ranges::find(own, client) != own.end(); });
}

// A right that is given or taken person by person, on top of the table.
std::optional<bool> granted_beside(const Grant& actor, Action action) {
  if (action == kReveal) return actor.payloads;
  if (action == kRunAi) return actor.runs_ai;
  return std::nullopt;
}

}  // namespace

std::span<const Right> rights() { return kRights; }

const Right& right_of(Action action) { return kRights[static_cast<std::size_t>(action)]; }

std::optional<Action> action_named(std::string_view name) {
  for (const Right& right : kRights) {
    if (right.name == name) return right.action;
  }
  return std::nullopt;
}

Decision can(const Grant& actor, Action action, const Object& object) {
  using Denial = Decision::Denial;
  const Right& right = right_of(action);
  if (!object.workspace.value.empty() && object.workspace != actor.scope.workspace) {
    return deny(Denial::kElsewhere, "no such workspace");
  }
  const bool is_limited = !actor.scope.clients.empty();
  if (is_limited && !is_within(actor.scope.clients, object.clients)) {
    return deny(Denial::kElsewhere, "no such client");
  }
  const std::optional<Role> role = role_of(actor);
  const bool by_scope = actor.kind == ActorKind::kToken && (actor.scopes & right.scopes) != 0;
  if (!by_scope) {
    const bool larger = is_larger(right, object);
    const std::optional<Role> least = larger ? right.beyond : right.least;
    // A development server takes telemetry and work from whoever reaches it.
    const bool by_mode = actor.kind == ActorKind::kDevelopment || actor.kind == ActorKind::kSystem;
    if (!least && !by_mode) {
      return deny(Denial::kScope, actor.kind == ActorKind::kToken
                                      ? lacking(right, least)
                                      : fmt::format("only a token made for it can {}", act(right, false)));
    }
    const bool was_given = action == kReveal && actor.payloads == true && role;
    if (least && !was_given && (!role || *role < *least)) {
      return deny(role || actor.kind == ActorKind::kUser ? Denial::kRole : Denial::kScope,
                  actor.kind == ActorKind::kToken ? lacking(right, least)
                                                  : fmt::format("{} can {}", plural(*least), act(right, larger)),
                  least);
    }
  }
  if (is_limited && object.clients.empty() && !right.narrows) {
    return deny(Denial::kWithheld, "name a client: you may act for some clients only");
  }
  if (const auto beside = granted_beside(actor, action); beside == false) {
    return deny(Denial::kWithheld, action == kRunAi ? "your role was not given the right to run agents here"
                                                    : "seeing payloads was not given to you");
  }
  return {.allowed = true};
}

bool could(const Grant& actor, Action action) {
  // The smallest object there is: one thing, of a client that is the caller's own.
  static const std::vector<ClientId> kAnyClient = {{"any"}};
  const std::span<const ClientId> own = actor.scope.clients.empty() ? kAnyClient : actor.scope.clients;
  return can(actor, action, {.clients = own.first(1)}).allowed;
}

Result<void> check(const Grant& actor, Action action, const Object& object) {
  const Decision decision = can(actor, action, object);
  if (decision.allowed) return {};
  return fail(decision.denial == Decision::Denial::kElsewhere ? ErrorCode::kNotFound : ErrorCode::kPermissionDenied,
              decision.reason);
}

}  // namespace fettle::access
