#include "fettle/sdk/approval.h"

#include "problem.h"
#include "run_state.h"

namespace fettle::sdk {

namespace {

ApprovalDecision decision_of(const Json& result) {
  return {.decision = std::string(result["decision"].as_string()),
          .decided_by = std::string(result["by"].as_string()),
          .note = std::string(result["note"].as_string()),
          .edited = result["edited"]};
}

Json question_of(const Json& lease, std::string_view step, const ApprovalOptions& options, Clock& clock) {
  Json made = Json::object({{"run_id", lease["run_id"]}, {"fence", lease["fence"]}, {"step", step}});
  made.set("title", options.title).set_if("role", options.role);
  Json details = options.details;
  details.set_if("note", options.note);
  if (!details.is_null()) made.set("details", std::move(details));
  if (options.expires_at) {
    made.set("expires_at", rfc3339(*options.expires_at));
  } else if (options.timeout) {
    made.set("expires_at", rfc3339(clock.wall() + *options.timeout));
  }
  return made;
}

// Reports, and fails with the reason to stop when the lease is gone or the answer asks for it.
Result<void> confirmed(Run::State& state, std::string_view op, const Json& members) {
  const Result<Json> answer = state.ask(op, members);
  if (!answer && !answer.error().is_late()) return fail(answer.error());
  state.heed(answer);
  if (const auto reason = state.stop_reason()) return fail(*reason);
  return {};
}

// Whatever was reported before has arrived when this has. A question carries no usage, so what was used outside of
// steps until now is told as a step of its own.
Result<void> before_asking(Run::State& state, const std::string& question) {
  Usage used;
  {
    const std::lock_guard lock(state.mutex);
    used = state.used;
  }
  if (used.tokens == 0 && used.cost_usd == 0) return confirmed(state, "heartbeat", Json::object());
  auto told =
      confirmed(state, "step_complete",
                Json::object({{"name", "before " + question}, {"tokens", used.tokens}, {"cost_usd", used.cost_usd}}));
  if (!told) return told;
  const std::lock_guard lock(state.mutex);
  state.used.tokens -= used.tokens;
  state.used.cost_usd -= used.cost_usd;
  return {};
}

}  // namespace

Result<ApprovalDecision> Run::approval(std::string_view name, const ApprovalOptions& options) {
  if (const auto reason = stop_reason()) return fail(*reason);
  ++state_.step_count;
  const std::string unique = state_.unique_name("approval:" + std::string(name));
  if (const auto known = state_.memo.find(unique); known != state_.memo.end()) return decision_of(known->second);
  Caller& caller = state_.services.core.caller;
  const auto asking = [this](bool value) {
    const std::lock_guard lock(state_.mutex);
    state_.asking = value;
  };
  asking(true);  // its answer ends the lease: no heartbeat may come behind it
  Result<void> told = before_asking(state_, unique);
  if (told) {
    const Json question = question_of(state_.lease, unique, options, caller.clock());
    const Result<Json> answer = caller.post("/api/v1/approvals", question.text());
    if (answer && (*answer)["state"].as_string() != "done") {
      state_.suspension = {"asked", {}};
      return fail(suspended());
    }
    asking(false);
    if (answer) return decision_of((*answer)["result"]);
    told = fail(answer.error());
    if (answer.error().status == 409) {
      // The lease may be gone: only a report is told why.
      if (auto still = confirmed(state_, "heartbeat", Json::object()); !still) told = std::move(still);
    }
  }
  asking(false);
  return fail(told.error());
}

}  // namespace fettle::sdk
