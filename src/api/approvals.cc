// Decisions of people: approvals, for which a run may wait at a step, and escalations.
#include "runs/approvals.h"
#include "api/filters.h"
#include "api/json_object.h"
#include "api/json_reader.h"
#include "api/pages.h"
#include "api/work.h"
#include "runs/run.h"

namespace fettle::api {
namespace {

using access::Action;

constexpr std::size_t kDetailsBytesMax = 64 * 1024;

std::string run_of(const std::optional<std::int64_t>& number) {
  return number ? runs::format_run_number(*number) : std::string();
}

// `details` are for those who may see payloads, and for those who are to decide.
void append_approval(std::string& out, const runs::Approval& approval, bool details) {
  ObjectText object(out);
  object.text("id", approval.id).text("state", to_string(approval.state));
  object.text_or_null("run_id", run_of(approval.run_number)).text_or_null("step", approval.step);
  object.text_or_null("client_id", approval.client).text("title", approval.title);
  object.json("details", !details || approval.details.empty() ? std::string_view("null") : approval.details);
  object.text("role", approval.role).time("requested_at", approval.requested_at);
  object.time("expires_at", approval.expires_at).time("decided_at", approval.decided_at);
  object.text_or_null("decided_by", approval.decided_by).text_or_null("note", approval.note);
  object.json("edited", !details || approval.edited.empty() ? std::string_view("null") : approval.edited).end();
}

// With run_id, fence and step the run gives its lease back and waits; without, whoever asked looks again.
void ask(Work& work, Exchange exchange) {
  auto document = JsonDocument::parse(exchange.body());
  if (!document) return exchange.problem(document.error());
  runs::ApprovalRequest request;
  runs::StepCall call;
  std::optional<UnixNanos> expires_at;
  const JsonPlace top;
  auto read = read_members(document->root(), top, [&](Member& member) {
    return member.text("title", request.title) || member.json("details", request.details, kDetailsBytesMax) ||
           member.text("role", request.role, 32) || member.text("client_id", request.client) ||
           member.time("expires_at", expires_at) || member.text("run_id", call.run.value) ||
           member.fence("fence", call.attempt) || member.text("step", call.step);
  });
  if (!read) return exchange.problem(read.error());
  if (!call.run.value.empty() && (call.attempt == 0 || call.step.empty())) {
    return exchange.problem(missing_member(top, call.step.empty() ? "step" : "fence", "it, beside run_id").error());
  }
  if (expires_at) request.expires_in = std::chrono::nanoseconds(*expires_at - work.clock.now());
  change(work, std::move(exchange), [request, call](runs::Unit& unit) -> Result<Answer> {
    Answer answer{.status = 201, .body = {}};
    if (call.run.value.empty()) {
      auto opened = runs::open_approval(unit, request);
      if (!opened) return std::unexpected(std::move(opened).error());
      append_approval(answer.body, *opened, true);
      return answer;
    }
    auto begun = runs::request_approval(unit, call, request);
    if (!begun) return std::unexpected(std::move(begun).error());
    if (begun->state == runs::StepAnswer::kUnknown) return runs::no_such_run(call.run);
    if (begun->state == runs::StepAnswer::kLate) return fail(ErrorCode::kConflict, "the lease is gone: drop the run");
    answer.status = 200;
    ObjectText object(answer.body);
    object.text("state", to_string(begun->state));
    object.json("result", begun->result.empty() ? std::string_view("null") : begun->result).end();
    return answer;
  });
}

void decide(Work& work, Exchange exchange) {
  auto document = JsonDocument::parse(exchange.body());
  if (!document) return exchange.problem(document.error());
  runs::ApprovalDecision decision;
  std::string word;
  const JsonPlace top;
  auto read = read_members(document->root(), top, [&](Member& member) {
    return member.text("decision", word, 16) || member.text("note", decision.note) ||
           member.json("edited", decision.edited, kDetailsBytesMax);
  });
  if (!read) return exchange.problem(read.error());
  if (word != "approve" && word != "reject") {
    return exchange.problem(Error(ErrorCode::kInvalidArgument, "decision: expected 'approve' or 'reject'"));
  }
  decision.approved = word == "approve";
  if (decision.edited == "null") decision.edited.clear();
  const std::string id = exchange.parameter("approval_id");
  change(work, std::move(exchange), [id, decision](runs::Unit& unit) -> Result<Answer> {
    auto decided = runs::decide_approval(unit, id, decision);
    if (!decided) return std::unexpected(std::move(decided).error());
    Answer answer;
    append_approval(answer.body, *decided, true);
    return answer;
  });
}

void append_escalation(std::string& out, const runs::Escalation& one, bool details) {
  ObjectText object(out);
  object.text("id", one.id).text("subject", one.subject).number("severity", one.severity);
  object.text_or_null("owner", one.owner).text_or_null("client_id", one.client);
  object.text_or_null("run_id", run_of(one.run_number));
  object.json("details", !details || one.details.empty() ? std::string_view("null") : one.details);
  object.time("opened_at", one.opened_at).number("age_ms", one.age_ns / kNanosPerMilli);
  object.time("resolved_at", one.closed_at);
  object.text_or_null("resolved_by", one.closed_by).text_or_null("note", one.note).end();
}

void escalate(Work& work, Exchange exchange) {
  auto document = JsonDocument::parse(exchange.body());
  if (!document) return exchange.problem(document.error());
  runs::EscalationRequest request;
  const JsonPlace top;
  auto read = read_members(document->root(), top, [&](Member& member) {
    return member.text("subject", request.subject) || member.json("details", request.details, kDetailsBytesMax) ||
           member.integer("severity", request.severity, 0, 3) || member.text("owner", request.owner) ||
           member.text("client_id", request.client) || member.text("run_id", request.run.value);
  });
  if (!read) return exchange.problem(read.error());
  change(work, std::move(exchange), [request](runs::Unit& unit) -> Result<Answer> {
    auto id = runs::open_escalation(unit, request);
    if (!id) return std::unexpected(std::move(id).error());
    Answer answer{.status = 201, .body = {}};
    ObjectText(answer.body).text("id", *id).end();
    return answer;
  });
}

void assign(Work& work, Exchange exchange) {
  auto document = JsonDocument::parse(exchange.body());
  if (!document) return exchange.problem(document.error());
  std::string owner;
  const JsonPlace top;
  auto read = read_members(document->root(), top, [&](Member& member) { return member.text("owner", owner); });
  if (!read) return exchange.problem(read.error());
  const std::string id = exchange.parameter("escalation_id");
  change(work, std::move(exchange), [id, owner](runs::Unit& unit) -> Result<Answer> {
    if (auto done = runs::assign_escalation(unit, id, owner); !done) return std::unexpected(std::move(done).error());
    Answer answer;
    ObjectText(answer.body).text("id", id).text("owner", owner).end();
    return answer;
  });
}

void resolve(Work& work, Exchange exchange) {
  auto document = JsonDocument::parse(exchange.body());
  if (!document) return exchange.problem(document.error());
  std::string note;
  const JsonPlace top;
  auto read = read_members(document->root(), top, [&](Member& member) { return member.text("note", note); });
  if (!read) return exchange.problem(read.error());
  const std::string id = exchange.parameter("escalation_id");
  change(work, std::move(exchange), [id, note](runs::Unit& unit) -> Result<Answer> {
    if (auto done = runs::close_escalation(unit, id, note); !done) return std::unexpected(std::move(done).error());
    Answer answer;
    ObjectText(answer.body).text("id", id).end();
    return answer;
  });
}

// Payloads that a person is asked about: for those who may see payloads, and for those who are to act on them.
bool reveals_details(const Exchange& exchange, Action action) {
  return reveals_payloads(exchange) || access::could(exchange.caller().grant, action);
}

template <auto List, auto Append, Action kAct>
void list(Work& work, Exchange exchange) {
  static constexpr std::string_view kOwn[] = {"all", "limit", "cursor"};
  const http::Query& query = exchange.request().query;
  if (auto known = only_parameters(query, kOwn); !known) return exchange.problem(known.error());
  auto page = page_of_list(query);
  if (!page) return exchange.problem(page.error());
  const bool open = query.get("all") != "true";
  const bool details = reveals_details(exchange, kAct);
  look(work, std::move(exchange), [open, details, page = std::move(*page)](runs::View& view) -> Result<std::string> {
    auto found = List(view, open, page);
    if (!found) return std::unexpected(std::move(found).error());
    return list_text(*found, [details](std::string& text, const auto& one) { Append(text, one, details); });
  });
}

void show(Work& work, Exchange exchange) {
  if (auto known = only_parameters(exchange.request().query, {}); !known) return exchange.problem(known.error());
  const std::string id = exchange.parameter("approval_id");
  const bool details = reveals_details(exchange, Action::kApprove);
  look(work, std::move(exchange), [id, details](runs::View& view) -> Result<std::string> {
    const auto found = runs::get_approval(view, id);
    if (!found) return fail(ErrorCode::kNotFound, "there is no such approval");
    std::string out;
    append_approval(out, *found, details);
    return out;
  });
}

}  // namespace

void add_approval_routes(Router& router, Work& work) {
  const auto post = [&](std::string_view path, Action right, void (*handle)(Work&, Exchange)) {
    add_post(router, path, right, kOneBytesMax,
             [&work, handle](Exchange exchange) { handle(work, std::move(exchange)); });
  };
  const auto get = [&](std::string_view path, void (*handle)(Work&, Exchange)) {
    add_get(router, path, Action::kSee, [&work, handle](Exchange exchange) { handle(work, std::move(exchange)); });
  };
  post("/api/v1/approvals", Action::kWork, ask);
  get("/api/v1/approvals", list<runs::list_approvals, append_approval, Action::kApprove>);
  get("/api/v1/approvals/{approval_id}", show);
  post("/api/v1/approvals/{approval_id}/decide", Action::kApprove, decide);
  post("/api/v1/escalations", Action::kWork, escalate);
  get("/api/v1/escalations", list<runs::list_escalations, append_escalation, Action::kAcknowledge>);
  post("/api/v1/escalations/{escalation_id}/assign", Action::kAssign, assign);
  post("/api/v1/escalations/{escalation_id}/resolve", Action::kAcknowledge, resolve);
}

}  // namespace fettle::api
