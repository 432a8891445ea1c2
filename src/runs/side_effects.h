// What leaves the house happens at most once, and leaves evidence: reserve, perform, verify, commit with proof.
//
//   auto reserved = reserve(unit, {.client = "acme", .platform = "instagram", .action = "publish", .target = "feed",
//                                  .payload_hash = "sha256:…", .token = token, .run = run, .attempt = attempt});
//   switch (reserved->answer) {
//     case EffectAnswer::kGo:         …perform…; commit_effect(unit, reserved->id, token, {.proof = {{"url", url}}});
//     case EffectAnswer::kCommitted:  …use reserved->result, do nothing…
//     case EffectAnswer::kUnknown:    …look whether it is there…; verify_effect(unit, reserved->id, found);
//     case EffectAnswer::kInProgress: …ask again later…
//     case EffectAnswer::kBlocked:    …a switch or policy forbids it: reserved->reason…
//   }
//
// README.md has the truth table. The same client, platform, action, target, payload hash and occurrence are the same
// effect; `occurrence` tells apart what is meant to happen twice. Every change is audited.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runs/page.h"
#include "runs/unit.h"

namespace fettle::runs {

enum class EffectState : std::uint8_t {
  kReserved = 0,
  kCommitted = 1,
  kUnknown = 2,     // reserved by somebody who is gone: it may have happened
  kUnverified = 3,  // performed, they say, without the proof that the action needs
  kReleased = 4,    // known not to have happened
};
std::string_view to_string(EffectState state);
std::optional<EffectState> effect_state_named(std::string_view name);

// By kind: "url", "screenshot", "message_id", …
using Proof = std::map<std::string, std::string>;

struct EffectRequest {
  std::string client, platform, surface;
  std::string lane;                          // that carries it out: api, browser; proof rules ask for it
  std::string work_lane;                     // of the work, as switches name it; of the run when empty
  std::string action, target, payload_hash;  // required: action and payload_hash
  std::string payload_summary;               // for people
  std::string occurrence;
  std::string tool, agent;         // for switches
  std::string policy_snapshot_id;  // required where the workspace has stored one; must be known
  std::string token;  // required: made by the caller for this reservation; the same again is the same call again
  RunId run;          // empty: outside of any managed run
  std::int32_t attempt = 0;
  // Without a run: how long the caller may take. With one the reservation lasts as long as its attempt.
  std::chrono::nanoseconds hold = std::chrono::minutes(5);
};

enum class EffectAnswer : std::uint8_t {
  kGo = 0,
  kCommitted = 1,
  kUnknown = 2,
  kInProgress = 3,
  kBlocked = 4,
  kLate = 5
};
std::string_view to_string(EffectAnswer answer);

struct Reserved {
  EffectAnswer answer = EffectAnswer::kGo;
  std::string id;      // "fx_…"; empty when blocked or late
  std::string result;  // when committed
  Proof proof;         // when committed
  std::string reason;  // when blocked
};
// kInvalidArgument for what is missing or a policy snapshot that nobody stored; kNotFound for an unknown run.
Result<Reserved> reserve(Unit& unit, const EffectRequest& request);

struct EffectOutcome {
  Proof proof;
  std::string result;  // JSON or empty: what a later retry is told
  // False: performed, but looked for and not seen. Then no proof is enough.
  bool seen = true;
};
// kCommitted, or kUnverified with what is missing; saying so twice is the same. One that was taken for absent meanwhile
// becomes unknown.
struct Committed {
  EffectState state = EffectState::kReserved;
  std::vector<std::string> missing;  // kinds of proof
  // Another reservation took the place of this token's: nothing is changed, but it is audited, because the effect may
  // have happened twice.
  bool superseded = false;
};
Result<Committed> commit_effect(Unit& unit, std::string_view id, std::string_view token, const EffectOutcome& outcome);

// The caller knows that it did not happen (refused before it was sent): the next may go on.
Result<void> release_effect(Unit& unit, std::string_view id, std::string_view token, std::string_view reason);

enum class Found : std::uint8_t { kPresent = 0, kAbsent = 1, kCannotTell = 2 };
// What looking showed, for one that is unknown or unverified. Present commits (with enough proof; else it is
// unverified), absent releases, kCannotTell leaves it listed. kConflict for one that is settled or still being
// performed.
Result<EffectState> verify_effect(Unit& unit, std::string_view id, Found found, const EffectOutcome& outcome,
                                  std::string_view note = {});

struct SideEffect {
  std::string id;
  EffectState state = EffectState::kReserved;
  std::string client, platform, surface, lane, action, target, payload_hash, payload_summary, occurrence;
  std::string policy_snapshot_id;
  std::optional<std::int64_t> run_number;
  std::optional<std::int32_t> attempt;
  std::int32_t reservations = 0;
  UnixNanos reserved_at = 0;
  std::optional<UnixNanos> settled_at;
  Proof proof;
  std::string missing, result, note;
};
std::optional<SideEffect> get_effect(View& view, std::string_view id);
// Which to list; an empty part matches everything.
struct EffectFilter {
  std::optional<EffectState> state;
  bool to_check = false;  // unknown and unverified: somebody should look, oldest first
  RunId run;              // in the order of their reservations
};
// Newest first, but where the filter says otherwise. None of a run that is not in scope.
Result<PageOf<SideEffect>> list_effects(View& view, const EffectFilter& filter = {}, const PageRequest& page = {});

// Which proof an action needs, as data: kinds of Proof. `lane` empty: in every lane that has no rule of its own.
// "stored:screenshot" wants the reference of an attachment that is in the ledger (ledger/attachments.h); any other kind
// is there when it is not empty. Nobody has to set one for `publish`: it needs "url", and in the lane `browser`
// "stored:screenshot" as well. A rule of the workspace takes the place of that for its lane, one for every lane takes
// the place of both. Without a rule an action needs none.
struct ProofRule {
  std::string action, lane;
  std::vector<std::string> proofs;
  bool is_built_in = false;
};
Result<void> set_proof_rule(Unit& unit, const ProofRule& rule);
// With the built-in ones that hold.
std::vector<ProofRule> list_proof_rules(View& view);

// ---- inside the room -----------------------------------------------------------------------------------------------

// Reservations whose time is over become unknown. How many; what it looked at is taken from `left`.
std::int64_t expire_reservations(Unit& unit, std::int32_t& left);
// JSON object of strings.
std::string proof_json(const Proof& proof);
Proof proof_from_json(std::string_view json);

}  // namespace fettle::runs
