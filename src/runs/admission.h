// Whether work may be asked for, and may start: the plan of the workspace, and the right to run agents.
//
//   Gate gate(unit);
//   if (auto good = gate.check(workflow, agent); !good) …             // enqueue, retry, resume: refused
//   if (auto key = gate.holds(workflow, agent, asked_by)) …           // lease: held under a key until it is allowed
//
// The work of an agent is a run with an agent. What is refused when it is asked for is refused with the reason; what
// was asked for while it was allowed waits, held, and starts when the plan, the month or the person's rights allow it
// again. Reports of work that others execute (observed.h) are facts: they are recorded and counted whatever the plan
// says, and it is may_i (switches.h) that tells the executor to stop.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "access/plan.h"
#include "core/error.h"
#include "core/ids.h"
#include "runs/unit.h"

namespace fettle::access {
class Directory;
}

namespace fettle::runs {

// What is known of workspaces and people. Answers from memory; thread-safe; outlives every Unit.
class Admission {
 public:
  virtual ~Admission() = default;
  // Null for a workspace without limits.
  virtual std::shared_ptr<const access::Plan> plan_of(const WorkspaceId& workspace) const = 0;
  // Whether `actor_id`, who asked for the work of an agent, still may. A token that has ended says nothing against what
  // it asked for while it was good: tokens are renewed. A person who left, or lost the right, does.
  virtual bool may_run_agents(const WorkspaceId& workspace, std::string_view actor_id) const = 0;
};

class DirectoryAdmission final : public Admission {
 public:
  explicit DirectoryAdmission(const access::Directory& directory) : directory_(directory) {}
  std::shared_ptr<const access::Plan> plan_of(const WorkspaceId& workspace) const override;
  bool may_run_agents(const WorkspaceId& workspace, std::string_view actor_id) const override;

 private:
  const access::Directory& directory_;
};

// The decisions of one transaction. Usage is read once, when a plan asks for it.
class Gate {
 public:
  explicit Gate(Unit& unit);

  // For whoever acts: kPermissionDenied for what the plan or their right leaves out, kResourceExhausted with
  // retry_after, the begin of the next month, for a month that is used up. How many run at once is no reason to refuse:
  // the rest waits.
  Result<void> check(std::string_view workflow, std::string_view agent);
  // The same for work that `asked_by` asked for earlier and that acts by itself now (schedules, bulk jobs).
  Result<void> check_for(std::string_view workflow, std::string_view agent, std::string_view asked_by);
  // The key under which a run that may not start is held; nothing when it may.
  std::optional<std::string> holds(std::string_view workflow, std::string_view agent, std::string_view asked_by);
  // Whether nothing holds under such a key any more.
  bool frees(std::string_view hold_key);
  // False when holds() answers nothing whatever it is asked.
  bool is_open() const { return admission_ == nullptr; }

 private:
  access::PlanDecision decide(std::string_view workflow, std::string_view agent);
  const access::PlanUsage& usage();

  Unit& unit_;
  const Admission* const admission_;
  const std::shared_ptr<const access::Plan> plan_;
  std::optional<access::PlanUsage> usage_;
};

// What the plan leaves out, for whoever executes elsewhere and asks before it acts: a sentence, or nothing when it may.
// The right of a person to run agents is not asked: nobody knows who asked the executor.
std::optional<std::string> why_plan_refuses(View& view, const Admission* admission, std::string_view workflow,
                                            std::string_view agent);

// Of a hold key that is one of Gate's.
bool is_gate_hold(std::string_view hold_key);
// A sentence for people: why a run is held under it.
std::string why_held_by_gate(std::string_view hold_key);

// Takes the leases of running agent work away that its plan, or the right of whoever asked for it, does not allow any
// more. How many.
std::int64_t revoke_refused(Unit& unit, std::int32_t items_max);
// Whether revoke_refused would find something.
bool has_refused(View& view, const Admission& admission);

}  // namespace fettle::runs
