// Who may do what: one table of rights and the one function that decides by it.
//
//   const Decision decision = can(grant, Action::kSilence, {.duration = 8h});
//   if (!decision.allowed) … decision.reason, decision.needs …
//
// The table is data (rights()); roles are cumulative, so a row names the least role. Where a larger act asks for more
// (many runs at once, a long silence, the whole workspace), the row says beyond what and who then. Pure; any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "access/grant.h"
#include "core/error.h"

namespace fettle::access {

enum class Action : std::uint8_t {
  kSee,     // dashboards, runs, audits of one's own scope
  kReveal,  // payloads that redaction may have to hide
  kAcknowledge,
  kNote,
  kAssign,
  kCheckIn,
  kRunRunbook,
  kApprove,  // approve or send back
  kRetry,
  kEnqueue,  // start a run
  kDiscard,
  kRunAi,  // start, retry or resume the work of agents; beside the right to do so at all
  kSilence,
  kStop,    // switch on
  kResume,  // switch off
  kEditBudgets,
  kEditRules,  // alert rules, objectives, retry policies
  kEditRunbooks,
  kManagePeople,
  kManageTokens,
  kManageChannels,
  kManageRedaction,
  kManageRetention,
  kManagePlan,
  kTransferWorkspace,
  kDeleteWorkspace,
  kMakeWorkspace,  // another one, of which whoever makes it is the first owner
  kSend,           // telemetry
  kWork,           // lease and report runs, reserve side effects, ask may-I
  kOwnAccount,     // one's own password, sessions and memberships
};

// What makes a larger act of an action.
enum class Measure : std::uint8_t { kNone, kCount, kDuration, kBreadth };

struct Right {
  Action action;
  std::string_view name;             // "resume": as the API's description writes it
  std::optional<Role> least;         // none: no role gives it
  TokenScopes scopes = 0;            // of these each gives it to a token, whatever its role
  Measure measure = Measure::kNone;  // when the object is larger than `most`, …
  std::int64_t most = 0;             // things, seconds, or 0 = anything that is not the whole workspace
  std::optional<Role> beyond = {};   // … this role is needed
  // Whether a caller limited to some clients may do it without naming one: the answer is narrowed to their clients.
  bool narrows = false;
};

std::span<const Right> rights();
const Right& right_of(Action action);
std::optional<Action> action_named(std::string_view name);

// What is acted on. Empty clients mean the workspace as a whole.
struct Object {
  WorkspaceId workspace = {};  // empty: the caller's own
  std::span<const ClientId> clients = {};
  std::size_t count = 1;             // how many things at once
  std::chrono::seconds duration{0};  // of a silence
};

struct Decision {
  enum class Denial : std::uint8_t {
    kNone,
    kElsewhere,  // another workspace or client: for this caller it does not exist
    kRole,       // `needs` could
    kScope,      // a token without the scope
    kWithheld,   // the role would do, but the right was taken from, or never given to, this caller
  };
  bool allowed = false;
  Denial denial = Denial::kNone;
  std::optional<Role> needs = {};
  std::string reason = {};  // a sentence for people: "managers can resume"; empty when allowed
};

Decision can(const Grant& actor, Action action, const Object& object = {});

// Whether the caller can do it to anything at all: the gate in front of a route, before it is known to what.
bool could(const Grant& actor, Action action);

// The same as a Result: kNotFound for what lies elsewhere, else kPermissionDenied with the reason.
Result<void> check(const Grant& actor, Action action, const Object& object = {});

}  // namespace fettle::access
