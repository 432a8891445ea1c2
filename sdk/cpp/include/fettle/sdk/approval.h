// A person's decision, for which a run waits: what is asked, and what came of it.
#pragma once

#include <optional>
#include <string>

#include "fettle/sdk/clock.h"
#include "fettle/sdk/json.h"

namespace fettle::sdk {

// Empty is absent.
struct ApprovalOptions {
  std::string title;  // one line for whoever decides
  std::string role;   // the least that may decide: viewer, operator (without), manager, admin, owner
  Json details;       // an object: what is to be approved, or where it can be seen
  std::string note;   // what else whoever decides should know: becomes the details' member `note`
  // When the question expires, at least a second ahead: at a time, or so long after it was asked. Never without.
  std::optional<Clock::Wall> expires_at;
  std::optional<Milliseconds> timeout;
};

struct ApprovalDecision {
  std::string decision;    // approved, rejected, expired
  std::string decided_by;  // empty when it has expired
  std::string note;
  Json edited;  // approved with these changes; null without
};

}  // namespace fettle::sdk
