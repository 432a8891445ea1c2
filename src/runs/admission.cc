#include "runs/admission.h"

#include <fmt/format.h>

#include "access/directory.h"
#include "runs/run.h"
#include "runs/usage.h"

namespace fettle::runs {
namespace {

using Verdict = access::PlanDecision::Verdict;

constexpr std::string_view kAgents = "plan:agents";
constexpr std::string_view kMonth = "plan:month";
constexpr std::string_view kWorkflow = "plan:workflow:";
constexpr std::string_view kPerson = "right:run_ai:";

// Running work of agents, and who asked for it.
constexpr db::Sql kRunningAgents(
    "SELECT r.id, r.workflow, d.asked_by FROM runs r INDEXED BY runs_leased CROSS JOIN run_data d ON d.workspace = "
    "r.workspace AND d.id = r.id"
    " WHERE r.lease_until IS NOT NULL AND r.workspace = $1 AND r.agent <> '' LIMIT $2",
    "SELECT r.id, r.workflow, d.asked_by FROM runs r JOIN run_data d ON d.workspace = r.workspace AND d.id = r.id"
    " WHERE r.lease_until IS NOT NULL AND r.workspace = $1 AND r.agent <> '' LIMIT $2");
constexpr std::int64_t kRunningMax = 10'000;

// What may not even go on: a month that is used up lets running work end.
std::optional<std::string> refuses(const Admission& admission, const WorkspaceId& workspace, const access::Plan* plan,
                                   std::string_view workflow, std::string_view agent, std::string_view asked_by) {
  if (plan != nullptr) {
    if (!agent.empty() && !plan->agents) return std::string(kAgents);
    access::Plan names;
    names.workflows = plan->workflows;
    if (access::allows(names, {}, {.workflow = workflow}, 0).verdict != Verdict::kAllow) {
      return fmt::format("{}{}", kWorkflow, workflow);
    }
  }
  if (!agent.empty() && !asked_by.empty() && !admission.may_run_agents(workspace, asked_by)) {
    return fmt::format("{}{}", kPerson, asked_by);
  }
  return std::nullopt;
}

template <class Each>
void each_refused(View& view, const Admission& admission, Each each) {
  const auto plan = admission.plan_of(view.workspace());
  for (const db::Row row : view.rows(kRunningAgents, {view.workspace(), kRunningMax})) {
    std::int64_t number = 0;
    std::string workflow;
    std::optional<std::string> asked_by;
    if (!view.read(row, number, workflow, asked_by)) return;
    auto key = refuses(admission, view.workspace(), plan.get(), workflow, "agent", asked_by.value_or(""));
    if (key && !each(number, std::move(*key))) return;
  }
}

}  // namespace

std::shared_ptr<const access::Plan> DirectoryAdmission::plan_of(const WorkspaceId& workspace) const {
  return directory_.limits_of(workspace);
}

bool DirectoryAdmission::may_run_agents(const WorkspaceId& workspace, std::string_view actor_id) const {
  if (const auto grant = directory_.grant_of(workspace, actor_id)) return grant->runs_ai;
  return !actor_id.starts_with("usr_");
}

Gate::Gate(Unit& unit)
    : unit_(unit),
      admission_(unit.admission()),
      plan_(admission_ == nullptr ? nullptr : admission_->plan_of(unit.workspace())) {}

const access::PlanUsage& Gate::usage() {
  if (!usage_) {
    const Usage used = usage_of(unit_);
    usage_ = access::PlanUsage{
        .running = used.running, .month_tokens = used.month_tokens, .month_micro_usd = used.month_micro_usd};
  }
  return *usage_;
}

access::PlanDecision Gate::decide(std::string_view workflow, std::string_view agent) {
  if (plan_ == nullptr) return {};
  const bool counts = plan_->month_tokens_max || plan_->month_micro_usd_max || plan_->concurrent_runs_max;
  return access::allows(*plan_, counts ? usage() : access::PlanUsage{},
                        {.workflow = workflow, .is_agent = !agent.empty()}, unit_.now());
}

Result<void> Gate::check(std::string_view workflow, std::string_view agent) {
  if (!agent.empty() && !unit_.actor().runs_ai) {
    return fail(ErrorCode::kPermissionDenied, "your role was not given the right to run agents here");
  }
  auto decision = decide(workflow, agent);
  if (decision.verdict == Verdict::kRefuse) return std::unexpected(*std::move(decision.error));
  return {};
}

Result<void> Gate::check_for(std::string_view workflow, std::string_view agent, std::string_view asked_by) {
  if (!agent.empty() && !asked_by.empty() && admission_ != nullptr &&
      !admission_->may_run_agents(unit_.workspace(), asked_by)) {
    return fail(ErrorCode::kPermissionDenied, fmt::format("{} asked for it and may not run agents any more", asked_by));
  }
  return check(workflow, agent);
}

std::optional<std::string> Gate::holds(std::string_view workflow, std::string_view agent, std::string_view asked_by) {
  if (admission_ == nullptr) return std::nullopt;
  if (auto key = refuses(*admission_, unit_.workspace(), plan_.get(), workflow, agent, asked_by)) return key;
  if (decide(workflow, agent).verdict == Verdict::kRefuse) return std::string(kMonth);
  return std::nullopt;
}

bool Gate::frees(std::string_view hold_key) {
  if (admission_ == nullptr) return true;
  if (hold_key.starts_with(kPerson)) {
    return admission_->may_run_agents(unit_.workspace(), hold_key.substr(kPerson.size()));
  }
  if (plan_ == nullptr) return true;
  if (hold_key == kAgents) return plan_->agents;
  access::Plan part;
  std::string_view workflow;
  if (hold_key == kMonth) {
    part.month_tokens_max = plan_->month_tokens_max;
    part.month_micro_usd_max = plan_->month_micro_usd_max;
  } else {
    part.workflows = plan_->workflows;
    workflow = hold_key.substr(kWorkflow.size());
  }
  return access::allows(part, usage(), {.workflow = workflow}, unit_.now()).verdict != Verdict::kRefuse;
}

std::optional<std::string> why_plan_refuses(View& view, const Admission* admission, std::string_view workflow,
                                            std::string_view agent) {
  const auto plan = admission == nullptr ? nullptr : admission->plan_of(view.workspace());
  if (plan == nullptr) return std::nullopt;
  // How many run at once is no reason: what runs elsewhere is running already.
  access::Plan asked = *plan;
  asked.concurrent_runs_max.reset();
  access::PlanUsage used;
  if (asked.month_tokens_max || asked.month_micro_usd_max) {
    const Usage usage = usage_of(view);
    used = {.running = 0, .month_tokens = usage.month_tokens, .month_micro_usd = usage.month_micro_usd};
  }
  // A caller that names no workflow asks about none.
  if (workflow.empty()) asked.workflows.clear();
  const auto decision = access::allows(asked, used, {.workflow = workflow, .is_agent = !agent.empty()}, view.now());
  if (decision.verdict != Verdict::kRefuse) return std::nullopt;
  return decision.error->message();
}

bool is_gate_hold(std::string_view hold_key) { return hold_key.starts_with("plan:") || hold_key.starts_with(kPerson); }

std::string why_held_by_gate(std::string_view hold_key) {
  if (hold_key == kAgents) return "the workspace's plan does not include the work of agents any more";
  if (hold_key == kMonth) return "what the workspace's plan has for this month is used up";
  if (hold_key.starts_with(kWorkflow)) return "the workspace's plan does not include this workflow any more";
  return fmt::format("{} asked for it and may not run agents any more", hold_key.substr(kPerson.size()));
}

std::int64_t revoke_refused(Unit& unit, std::int32_t items_max) {
  if (unit.admission() == nullptr) return 0;
  std::vector<std::pair<std::int64_t, std::string>> refused;
  each_refused(unit, *unit.admission(), [&](std::int64_t number, std::string key) {
    refused.emplace_back(number, std::move(key));
    return refused.size() < static_cast<std::size_t>(items_max);
  });
  for (auto& [number, key] : refused) {
    std::optional<Run> run = load_run(unit, number);
    if (!run || run->state != RunState::kRunning) continue;
    const std::string why = why_held_by_gate(key);
    end_lease(unit, *run, AttemptEnd::kRevoked, "refused", why);
    ++run->revoked;
    Audit audit;
    audit.action = "run.revoke";
    audit.target_type = "run";
    audit.target_id = run->shown_id();
    audit.result = "blocked";
    audit.reason = key;
    audit.identifiers = identifiers_of(*run);
    audit.summary = why;
    unit.audit(std::move(audit));
    unit.event("run.revoked", identifiers_of(*run));
    make_held(unit, *run, std::move(key));
  }
  return static_cast<std::int64_t>(refused.size());
}

bool has_refused(View& view, const Admission& admission) {
  bool found = false;
  each_refused(view, admission, [&](std::int64_t, const std::string&) {
    found = true;
    return false;
  });
  return found;
}

}  // namespace fettle::runs
