// A side effect, at most once: reserve → perform → verify → commit with proof.
//
//   reserve ─ go_on ────► perform ─ ok ──────────────► (verify) ─► commit
//      │                     ├ kNotPerformed ───────► release, that error
//      │                     └ any other error ─────► verify ─ visible ──► commit
//      │                                                 ├ not visible ─► release, that error
//      │                                                 └ cannot say ──► stays reserved, kEffectUnknown
//      ├ committed ────► the earlier result; nothing is performed
//      ├ unknown ──────► verify ─ visible ──► committed, the earlier try did it
//      │                    ├ not visible ─► reserve once more, go on
//      │                    └ cannot say, or no verify ──► kEffectUnknown
//      ├ in_progress ──► kRetryable: its owner is alive
//      └ refused ──────► kRefused
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "fettle/sdk/json.h"

namespace fettle::sdk {

// Empty is absent.
struct SideEffect {
  std::string action;
  std::string target;
  // What is published, sent or charged. Its hash tells a repetition from another effect; the payload stays here.
  Json payload;
  std::string payload_hash;  // instead of `payload`
  std::string client_id;
  std::string platform;
  std::string surface;
  std::string execution_lane;
  std::string tool;
  std::string agent;
  std::string summary;     // for people; no more of the payload than may be read by everybody
  std::string occurrence;  // tells apart what is meant to happen again with the same payload: a date, a number
  std::string policy_snapshot_id;
};

// What was done, and what proves it: an object with "url", "screenshot_sha256" and the like.
struct Performed {
  Json result;
  Json proof;
};

// Whether the effect can be seen from outside; nothing when that cannot be told now.
struct Seen {
  std::optional<bool> visible;
  Json proof;
  Json result;
};

struct SideEffectResult {
  std::string side_effect_id;
  Json result;
  bool earlier = false;     // an earlier try had already done it
  bool unverified = false;  // performed, but without the proof that the action needs; a person sees it listed
};

using Perform = std::function<Result<Performed>()>;
using Verify = std::function<Seen()>;

}  // namespace fettle::sdk
