// Kill switches and pauses: one control with reach. A switch matches work when each part of its reach that is set
// equals the work's own; one without any part stops the workspace.
//
//   auto thrown = throw_switch(unit, {.mode = SwitchMode::kKill, .reach = {.client = "acme", .platform = "tiktok"},
//                                     .reason = "posting to the wrong account"});
//   lift_switch(unit, thrown->id, "account corrected");
//
// Read inside each lease's own transaction, so nothing is leased after a switch has committed. The switch is a
// transaction of its own, however much runs; what a kill takes away follows at once in pieces (revoke_switched), and
// after a crash goes on where it was. Until then a worker may still end its run well. What was taken goes on, as
// another attempt, once the switch is lifted. A run has no tool: a switch with one stops side effects and `may_i`, not
// leases. Every change is audited and needs a reason.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runs/page.h"
#include "runs/unit.h"

namespace fettle::runs {

class Admission;
struct Run;

enum class SwitchMode : std::uint8_t {
  kPause = 0,  // what runs may end; nothing new starts
  kKill = 1,   // and what runs is taken away
};
std::string_view to_string(SwitchMode mode);

// What work is, or what a switch reaches. An empty part of a switch matches everything, one of the work only that.
struct Reach {
  std::string client, platform, lane, workflow, tool, agent;
  bool operator==(const Reach&) const = default;
};
bool reaches(const Reach& reach, const Reach& work);

struct SwitchRequest {
  SwitchMode mode = SwitchMode::kKill;
  Reach reach;
  std::string reason;
};

struct Switch {
  std::string id;  // "sw_…"
  SwitchMode mode = SwitchMode::kKill;
  Reach reach;
  std::string reason;
  std::string thrown_by;
  UnixNanos thrown_at = 0;
  std::int32_t revoked = 0;  // leases that it took away so far
  bool is_revoking = false;  // a kill that has not taken all of them yet
  // Leases in its reach that run still, where it is on and somebody counted.
  std::optional<std::int32_t> in_flight;
  std::optional<std::string> lifted_by;
  std::optional<UnixNanos> lifted_at;
  std::string lift_reason;
};

// kInvalidArgument without a reason; kPermissionDenied for a scope of some clients that reaches beyond them.
Result<Switch> throw_switch(Unit& unit, const SwitchRequest& request);
// kNotFound when it is not there or lifted already. What it held becomes ready here and by upkeep, 1,000 at a time.
Result<Switch> lift_switch(Unit& unit, std::string_view id, std::string_view reason);
// Those that are on, or all of them; newest first. Of a scope of some clients: those that stop them, with what is
// counted of them alone.
Result<PageOf<Switch>> list_switches(View& view, bool only_on = true, const PageRequest& page = {});
std::optional<Switch> get_switch(View& view, std::string_view id);

// Managed and observed runs that run now and are in reach, oldest lease first: what a kill would take, or took and has
// not ended yet.
struct InFlight {
  RunId run;
  std::string workflow, client, worker;
  std::optional<UnixNanos> leased_at, progress_at;
};
Result<PageOf<InFlight>> list_in_flight(View& view, const Reach& reach, const PageRequest& page = {});

// How outside executors are answered for a class of actions, and what they do when nobody answers them.
struct ActionClass {
  std::string name = "default";
  std::chrono::nanoseconds cache = std::chrono::seconds(5);  // an answer holds so long
  bool fail_open = false;
};
// Audited with before and after.
Result<void> set_action_class(Unit& unit, const ActionClass& action_class);
// Back to the default. kNotFound when it was not set.
Result<void> remove_action_class(Unit& unit, std::string_view name);
std::vector<ActionClass> list_action_classes(View& view);

struct MayI {
  bool allowed = true;
  std::string reason;     // of the switch, or what the plan leaves out
  std::string switch_id;  // empty when allowed, or when it is the plan that refuses
  ActionClass action_class;
};
// Asked before each side effect by executors that Fettle does not lease to. A switch takes hold after at most `cache`.
// An action class that is not set is answered as the default: five seconds, closed. The workspace's plan is asked as
// well: what runs elsewhere is recorded whatever it allows, so this is where an executor learns of it.
Result<MayI> may_i(View& view, const Reach& work, std::string_view action_class, const Admission* admission = nullptr);

// ---- inside the room -----------------------------------------------------------------------------------------------

// The switches that are on, for one call.
class ActiveSwitches {
 public:
  explicit ActiveSwitches(View& view);
  // The hold key of the first that reaches the run, kills before pauses; nothing when it may go on.
  std::optional<std::string> stops(const Run& run) const;
  const Switch* stops(const Reach& work) const;
  bool any() const { return !switches_.empty(); }
  // Those that stop whoever looks, without the names of others' clients.
  std::vector<Switch> seen_by(const View& view) const;

 private:
  std::vector<Switch> switches_;
};

Reach reach_of(const Run& run);
std::string hold_key_of_switch(std::string_view id);
// True while the switch with this hold key is on.
bool holds(View& view, std::string_view hold_key);
// The switch that is on under this hold key.
std::optional<Switch> switch_of_hold(View& view, std::string_view hold_key);

// Takes away at most `items_max` of the leases that kills of the workspace have not taken yet, oldest kill first.
struct RevokedPiece {
  std::int64_t leases = 0;
  bool more = false;
};
RevokedPiece revoke_switched(Unit& unit, std::int32_t items_max);

}  // namespace fettle::runs
