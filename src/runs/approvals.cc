#include "runs/approvals.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "access/grant.h"
#include "runs/json.h"
#include "runs/listing.h"
#include "runs/run.h"

namespace fettle::runs {
namespace {

constexpr std::string_view kPrefix = "appr_";
constexpr std::string_view kEscalationPrefix = "esc_";
constexpr std::array<std::string_view, 5> kStates = {"open", "approved", "rejected", "expired", "withdrawn"};

#define FETTLE_APPROVAL_COLUMNS \
  "id, run, step, client, title, details, role, state, requested_at, expires_at, decided_by, decided_at, note, edited"

Approval approval_from(View& view, const db::Row& row) {
  Approval out;
  std::int64_t number = 0;
  std::uint8_t state = 0;
  std::optional<std::string> by, note, edited;
  view.read(row, number, out.run_number, out.step, out.client, out.title, out.details, out.role, state,
            out.requested_at, out.expires_at, by, out.decided_at, note, edited);
  out.id = format_number(kPrefix, number);
  out.state = static_cast<ApprovalState>(state);
  out.decided_by = by.value_or("");
  out.note = note.value_or("");
  out.edited = edited.value_or("");
  return out;
}

Identifiers identifiers_of(const Approval& approval) {
  Identifiers out;
  if (!approval.client.empty()) out.push_back({"client_id", approval.client});
  if (approval.run_number) out.push_back({"run_id", format_run_number(*approval.run_number)});
  if (!approval.step.empty()) out.push_back({"step_id", approval.step});
  return out;
}

void tell(Unit& unit, const Approval& approval, std::string_view action) {
  JsonObject after;
  after.add("approval_id", approval.id).add("state", to_string(approval.state)).add("title", approval.title);
  after.add("role", approval.role).add_text("by", approval.decided_by);
  const std::string text = std::move(after).text();
  unit.event(action, identifiers_of(approval), text);
  Audit audit;
  audit.action = action;
  audit.target_type = "approval";
  audit.target_id = approval.id;
  audit.identifiers = identifiers_of(approval);
  audit.summary = approval.note;
  audit.after = text;
  unit.audit(std::move(audit));
}

Result<void> check_request(Unit& unit, const ApprovalRequest& request) {
  if (request.title.empty()) return fail(ErrorCode::kInvalidArgument, "title is missing");
  if (auto good = check_size("title", request.title, unit.limits().message_bytes_max); !good) return good;
  if (auto good = check_size("details", request.details, unit.limits().payload_bytes_max); !good) return good;
  if (!access::role_named(request.role)) {
    return fail(ErrorCode::kInvalidArgument, "role must be viewer, operator, manager, admin or owner");
  }
  if (!request.client.empty()) {
    if (auto good = check_name("client", request.client, unit.limits()); !good) return good;
  }
  if (request.expires_in && *request.expires_in < std::chrono::seconds(1)) {
    return fail(ErrorCode::kInvalidArgument, "an approval is open for at least 1 s");
  }
  return {};
}

Approval insert(Unit& unit, const ApprovalRequest& request, std::optional<std::int64_t> run, std::string_view step,
                std::string_view client) {
  Approval out;
  const std::int64_t number = unit.next_number();
  out.id = format_number(kPrefix, number);
  out.run_number = run;
  out.step = step;
  out.client = client;
  out.title = request.title;
  out.details = request.details;
  out.role = request.role;
  out.requested_at = unit.now();
  if (request.expires_in) out.expires_at = unit.now() + request.expires_in->count();
  unit.execute(
      "INSERT INTO approvals (workspace, id, run, step, client, title, details, role, state, requested_at, expires_at)"
      " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9, $10)",
      {unit.workspace(), number, run, step, client, out.title, out.details, out.role, out.requested_at,
       out.expires_at});
  tell(unit, out, "approval.requested");
  return out;
}

std::string decision_json(const Approval& approval) {
  JsonObject out;
  out.add("decision", to_string(approval.state)).add_text("by", approval.decided_by).add_text("note", approval.note);
  if (!approval.edited.empty()) out.add_json("edited", approval.edited);
  return std::move(out).text();
}

void settle(Unit& unit, Approval& approval, ApprovalState state, std::string_view action) {
  approval.state = state;
  approval.decided_at = unit.now();
  unit.execute(
      "UPDATE approvals SET state = $3, decided_by = $4, decided_at = $5, note = $6, edited = $7"
      " WHERE workspace = $1 AND id = $2",
      {unit.workspace(), *parse_number(kPrefix, approval.id), static_cast<int>(state), approval.decided_by,
       approval.decided_at, approval.note, approval.edited});
  if (approval.run_number) end_wait(unit, *approval.run_number, approval.step, decision_json(approval));
  tell(unit, approval, action);
}

// Of the role that the approval asks for; the server itself may always.
Result<void> may_decide(const Actor& actor, const Approval& approval) {
  if (actor.type == "system") return {};
  const auto least = access::role_named(approval.role).value_or(access::Role::kOwner);
  const auto role = access::role_named(actor.role);
  if (role && *role >= least) return {};
  return fail(ErrorCode::kPermissionDenied,
              fmt::format("approval {} is for whoever is {} or above", approval.id, access::to_string(least)));
}

}  // namespace

std::string_view to_string(ApprovalState state) { return kStates.at(static_cast<std::size_t>(state)); }

Result<StepBegun> request_approval(Unit& unit, const StepCall& call, const ApprovalRequest& request) {
  if (auto good = check_request(unit, request); !good) return std::unexpected(good.error());
  if (auto good = check_name("step", call.step, unit.limits()); !good) return std::unexpected(good.error());
  std::optional<Run> run = load_run(unit, call.run);
  if (!run) return StepBegun{.state = StepAnswer::kUnknown};
  if (!is_live(*run, call.attempt)) return StepBegun{.state = StepAnswer::kLate};
  // Without a time of its own: the approval has one, and upkeep ends the wait through it.
  auto parked = park_step(unit, *run, call.step, WaitKind::kApproval, std::nullopt);
  if (!parked || parked->state != StepAnswer::kParked) return parked;
  std::int64_t open = 0;
  if (!unit.first("SELECT 1 FROM approvals WHERE workspace = $1 AND run = $2 AND step = $3 AND state = 0",
                  {unit.workspace(), run->number, call.step}, open)) {
    insert(unit, request, run->number, call.step, run->client);
  }
  return parked;
}

Result<Approval> open_approval(Unit& unit, const ApprovalRequest& request) {
  if (auto good = check_request(unit, request); !good) return std::unexpected(good.error());
  if (!unit.scope().clients.empty() && !unit.allows(request.client)) {
    return fail(ErrorCode::kPermissionDenied, "this client is outside of what you may see");
  }
  return insert(unit, request, std::nullopt, "", request.client);
}

Result<Approval> decide_approval(Unit& unit, std::string_view id, const ApprovalDecision& decision) {
  if (auto good = check_size("note", decision.note, unit.limits().message_bytes_max); !good) {
    return std::unexpected(good.error());
  }
  if (auto good = check_size("edited", decision.edited, unit.limits().payload_bytes_max); !good) {
    return std::unexpected(good.error());
  }
  std::optional<Approval> approval = get_approval(unit, id);
  if (!approval) return fail(ErrorCode::kNotFound, fmt::format("there is no approval {}", id));
  if (auto may = may_decide(unit.actor(), *approval); !may) return std::unexpected(std::move(may).error());
  if (approval->state != ApprovalState::kOpen || (approval->expires_at && *approval->expires_at <= unit.now())) {
    const std::string_view state =
        approval->state == ApprovalState::kOpen ? to_string(ApprovalState::kExpired) : to_string(approval->state);
    return fail(ErrorCode::kConflict, fmt::format("approval {} is {}", id, state));
  }
  approval->decided_by = unit.actor().id;
  approval->note = decision.note;
  approval->edited = decision.edited;
  settle(unit, *approval, decision.approved ? ApprovalState::kApproved : ApprovalState::kRejected,
         decision.approved ? "approval.approved" : "approval.rejected");
  return *approval;
}

std::optional<Approval> get_approval(View& view, std::string_view id) {
  const auto number = parse_number(kPrefix, id);
  if (!number) return std::nullopt;
  const db::Rows rows = view.rows("SELECT " FETTLE_APPROVAL_COLUMNS " FROM approvals WHERE workspace = $1 AND id = $2",
                                  {view.workspace(), *number});
  if (rows.empty()) return std::nullopt;
  Approval out = approval_from(view, rows[0]);
  if (!view.allows(out.client)) return std::nullopt;
  return out;
}

Result<PageOf<Approval>> list_approvals(View& view, bool only_open, const PageRequest& page) {
  Where where(view);
  where.add_scope(view);
  Keyset order{.unique = "id"};
  if (only_open) {
    where.add_literal("state = 0");
    order = {.first = "COALESCE(expires_at, 9223372036854775807)", .unique = "id", .newest_first = false};
  }
  return page_of<Approval>(view, FETTLE_APPROVAL_COLUMNS, "approvals", where, order, page, approval_from);
}

std::int64_t expire_approvals(Unit& unit, std::int32_t items_max) {
  const db::Rows rows = unit.rows("SELECT " FETTLE_APPROVAL_COLUMNS
                                  " FROM approvals WHERE expires_at <= $2 AND state = 0 AND workspace = $1"
                                  " ORDER BY expires_at LIMIT $3",
                                  {unit.workspace(), unit.now(), items_max});
  for (const db::Row row : rows) {
    Approval one = approval_from(unit, row);
    settle(unit, one, ApprovalState::kExpired, "approval.expired");
  }
  return static_cast<std::int64_t>(rows.size());
}

// ---- escalations ---------------------------------------------------------------------------------------------------

namespace {

Result<std::string> client_of_open(Unit& unit, std::string_view id) {
  const auto number = parse_number(kEscalationPrefix, id);
  std::string client;
  if (number &&
      unit.first("SELECT client FROM escalations WHERE workspace = $1 AND id = $2 AND closed_at IS NULL",
                 {unit.workspace(), *number}, client) &&
      unit.allows(client)) {
    return client;
  }
  return fail(ErrorCode::kNotFound, fmt::format("there is no open escalation {}", id));
}

void tell_escalation(Unit& unit, std::string_view id, std::string_view action, const std::string& client,
                     std::string_view note, std::string_view owner) {
  JsonObject after;
  after.add("escalation_id", id).add_text("owner", owner);
  const std::string text = std::move(after).text();
  unit.event(action, {{"client_id", client}}, text);
  Audit audit;
  audit.action = action;
  audit.target_type = "escalation";
  audit.target_id = id;
  audit.identifiers = {{"client_id", client}};
  audit.summary = note;
  audit.after = text;
  unit.audit(std::move(audit));
}

}  // namespace

Result<std::string> open_escalation(Unit& unit, const EscalationRequest& request) {
  if (request.subject.empty()) return fail(ErrorCode::kInvalidArgument, "subject is missing");
  for (const auto& [field, value] : {std::pair{"subject", &request.subject}, {"details", &request.details}}) {
    if (auto good = check_size(field, *value, unit.limits().message_bytes_max); !good) {
      return std::unexpected(good.error());
    }
  }
  for (const std::string* part : {&request.owner, &request.client}) {
    if (part->empty()) continue;
    if (auto good = check_name("identifier", *part, unit.limits()); !good) return std::unexpected(good.error());
  }
  if (request.severity < 0 || request.severity > 3) return fail(ErrorCode::kInvalidArgument, "severity is 0 to 3");
  std::string client = request.client;
  std::optional<std::int64_t> number_of_run;
  if (!request.run.value.empty()) {
    const std::optional<Run> run = load_run(unit, request.run);
    if (!run) return no_such_run(request.run);
    number_of_run = run->number;
    if (client.empty()) client = run->client;
  }
  if (!unit.scope().clients.empty() && !unit.allows(client)) {
    return fail(ErrorCode::kPermissionDenied, "this client is outside of what you may see");
  }
  const std::int64_t number = unit.next_number();
  unit.execute(
      "INSERT INTO escalations (workspace, id, run, client, subject, details, severity, owner, opened_at)"
      " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
      {unit.workspace(), number, number_of_run, client, request.subject, request.details, request.severity,
       request.owner, unit.now()});
  std::string id = format_number(kEscalationPrefix, number);
  tell_escalation(unit, id, "escalation.opened", client, request.subject, request.owner);
  return id;
}

Result<void> assign_escalation(Unit& unit, std::string_view id, std::string_view owner) {
  if (auto good = check_name("owner", owner, unit.limits()); !good) return good;
  auto client = client_of_open(unit, id);
  if (!client) return std::unexpected(client.error());
  unit.execute("UPDATE escalations SET owner = $3 WHERE workspace = $1 AND id = $2",
               {unit.workspace(), *parse_number(kEscalationPrefix, id), owner});
  tell_escalation(unit, id, "escalation.assigned", *client, {}, owner);
  return {};
}

Result<void> close_escalation(Unit& unit, std::string_view id, std::string_view note) {
  if (auto good = check_size("note", note, unit.limits().message_bytes_max); !good) return good;
  auto client = client_of_open(unit, id);
  if (!client) return std::unexpected(client.error());
  unit.execute("UPDATE escalations SET closed_at = $3, closed_by = $4, note = $5 WHERE workspace = $1 AND id = $2",
               {unit.workspace(), *parse_number(kEscalationPrefix, id), unit.now(), unit.actor().id, note});
  tell_escalation(unit, id, "escalation.closed", *client, note, {});
  return {};
}

#define FETTLE_ESCALATION_COLUMNS \
  "id, run, client, subject, details, severity, owner, opened_at, closed_at, closed_by, note"

namespace {

Escalation escalation_from(View& view, const db::Row& row) {
  Escalation one;
  std::int64_t number = 0;
  std::optional<std::string> by, note;
  view.read(row, number, one.run_number, one.client, one.subject, one.details, one.severity, one.owner, one.opened_at,
            one.closed_at, by, note);
  one.id = format_number(kEscalationPrefix, number);
  one.age_ns = std::max<std::int64_t>(0, one.closed_at.value_or(view.now()) - one.opened_at);
  one.closed_by = by.value_or("");
  one.note = note.value_or("");
  return one;
}

}  // namespace

Result<PageOf<Escalation>> list_escalations(View& view, bool only_open, const PageRequest& page) {
  Where where(view);
  where.add_scope(view);
  Keyset order{.unique = "id"};
  if (only_open) {
    where.add_literal("closed_at IS NULL");
    order = {.first = "severity", .unique = "id", .newest_first = false};
  }
  return page_of<Escalation>(view, FETTLE_ESCALATION_COLUMNS, "escalations", where, order, page, escalation_from);
}

}  // namespace fettle::runs
