// The retry policies that are set: of everything, of a workflow, of a step of one, and what a run brought with it.
//
//   set_policy(unit, "publish", "", {.max_retries = 5});           // runs of a workflow
//   set_policy(unit, "publish", "createPost", {.base = 2s});       // that step, retried in place by its worker
//
// The narrowest decides; without any it is RetryPolicy's own. `workflow` "" means every workflow, `step` "" the run.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runs/retry_policy.h"
#include "runs/unit.h"

namespace fettle::runs {

struct SetPolicy {
  std::string workflow, step;
  RetryPolicy policy;
};

// The policy that enqueue takes max_retries from and failures obey. Audited, with what was before.
Result<void> set_policy(Unit& unit, std::string_view workflow, std::string_view step, const RetryPolicy& policy);
// Back to the next wider one. kNotFound when none is set. Audited.
Result<void> remove_policy(Unit& unit, std::string_view workflow, std::string_view step);
// By workflow and step.
std::vector<SetPolicy> list_policies(View& view);

// ---- inside the room -----------------------------------------------------------------------------------------------

// The policy for a step of a workflow ('' for the run itself): the narrowest that is set, else the default.
RetryPolicy policy_for(View& view, std::string_view workflow, std::string_view step);
// The one that is set for this very step, if any.
std::optional<RetryPolicy> step_policy(View& view, std::string_view workflow, std::string_view step);
// A run's own part, as it is kept beside it; empty text for none.
std::string override_text(const RetryOverride& own);
RetryOverride override_from(std::string_view text);
// The policy of a run: its workflow's with its own part over it.
RetryPolicy policy_of_run(View& view, std::int64_t number, std::string_view workflow);

}  // namespace fettle::runs
