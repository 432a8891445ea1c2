// Decisions of people: approvals, for which a run waits durably at a step, and escalations, which have an owner and an
// age.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runs/page.h"
#include "runs/steps.h"
#include "runs/unit.h"

namespace fettle::runs {

enum class ApprovalState : std::uint8_t { kOpen = 0, kApproved = 1, kRejected = 2, kExpired = 3, kWithdrawn = 4 };
std::string_view to_string(ApprovalState state);

struct ApprovalRequest {
  std::string title;              // required
  std::string details = "null";   // JSON: what is to be approved, or where it can be seen
  std::string role = "operator";  // the least role (access/grant.h) that may decide
  std::string client;             // of an approval without a run
  std::optional<std::chrono::nanoseconds> expires_in;
};

struct Approval {
  std::string id;  // "appr_…"
  std::optional<std::int64_t> run_number;
  std::string step, client, title, details, role;
  ApprovalState state = ApprovalState::kOpen;
  UnixNanos requested_at = 0;
  std::optional<UnixNanos> expires_at, decided_at;
  std::string decided_by, note, edited;
};

// The step of a run: kParked until somebody decides or it expires, then kDone with
// {"decision":"approved"|"rejected"|"expired","by","note","edited"}. Asked again it is the same approval.
Result<StepBegun> request_approval(Unit& unit, const StepCall& call, const ApprovalRequest& request);
// Without a run: for executors that wait by asking get_approval.
Result<Approval> open_approval(Unit& unit, const ApprovalRequest& request);

struct ApprovalDecision {
  bool approved = false;
  std::string note;
  std::string edited;  // JSON or empty: approved with these changes
};
// kNotFound outside of scope, kPermissionDenied below the role that it asks for, kConflict when it is decided or
// expired. Audited.
Result<Approval> decide_approval(Unit& unit, std::string_view id, const ApprovalDecision& decision);
std::optional<Approval> get_approval(View& view, std::string_view id);
// Open ones first to expire; or all of the last ones.
Result<PageOf<Approval>> list_approvals(View& view, bool only_open = true, const PageRequest& page = {});

struct EscalationRequest {
  std::string subject;           // required
  std::string details = "null";  // JSON
  std::int32_t severity = 2;     // 0 the worst, 3 the least
  std::string owner, client;
  RunId run;  // may be empty
};
struct Escalation {
  std::string id;  // "esc_…"
  std::optional<std::int64_t> run_number;
  std::string client, subject, details, owner;
  std::int32_t severity = 2;
  UnixNanos opened_at = 0;
  std::int64_t age_ns = 0;  // until it was closed
  std::optional<UnixNanos> closed_at;
  std::string closed_by, note;
};
Result<std::string> open_escalation(Unit& unit, const EscalationRequest& request);
Result<void> assign_escalation(Unit& unit, std::string_view id, std::string_view owner);
Result<void> close_escalation(Unit& unit, std::string_view id, std::string_view note);
// Open ones by severity and age; or all of the last ones.
Result<PageOf<Escalation>> list_escalations(View& view, bool only_open = true, const PageRequest& page = {});

// ---- inside the room -----------------------------------------------------------------------------------------------

std::int64_t expire_approvals(Unit& unit, std::int32_t items_max);

}  // namespace fettle::runs
