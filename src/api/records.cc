// The records that agents and workflow runners write under their own names: agent_runs, agent_logs, workflow_triggers,
// workflow_failures, webhook_events and audit_logs. POST one, or {"records":[…]}; GET lists them.
#include <fmt/format.h>

#include <boost/json.hpp>

#include <memory>
#include <vector>

#include "api/filters.h"
#include "api/json_object.h"
#include "api/json_reader.h"
#include "api/pages.h"
#include "api/times.h"
#include "api/work.h"
#include "ledger/audit.h"
#include "ledger/audit_log.h"
#include "ledger/cleaning.h"
#include "ledger/webhook_events.h"
#include "runs/records.h"

namespace fettle::api {
namespace {

using access::Action;

constexpr std::size_t kRecordBytesMax = 64 * 1024;

// Writes one record and says its id.
using Writer = std::move_only_function<Result<std::string>(runs::Unit&)>;
using Reader = Result<Writer> (*)(Work& work, const Exchange& exchange, simdjson::dom::element, const JsonPlace&);

struct Batch {
  std::size_t count = 0;
  std::vector<std::pair<std::size_t, Writer>> writers;
  std::vector<std::pair<std::size_t, Error>> refused;
};

void write(Work& work, Exchange exchange, Reader reader) {
  auto document = JsonDocument::parse(exchange.body());
  if (!document) return exchange.problem(document.error());
  auto batch = std::make_unique<Batch>();
  const JsonPlace top;
  simdjson::dom::element list;
  if (document->root()["records"].get(list) != simdjson::SUCCESS) {
    auto one = reader(work, exchange, document->root(), top);
    if (!one) return exchange.problem(one.error());
    change(work, std::move(exchange), [one = std::move(*one)](runs::Unit& unit) mutable -> Result<Answer> {
      auto id = one(unit);
      if (!id) return std::unexpected(std::move(id).error());
      Answer answer{.status = 201, .body = {}};
      ObjectText(answer.body).text("id", *id).end();
      return answer;
    });
    return;
  }
  auto read = read_members(document->root(), top, [&](Member& member) {
    return member.array("records", kBatchItemsMax, [&](simdjson::dom::element item, const JsonPlace& place) {
      auto one = reader(work, exchange, item, place);
      if (one) {
        batch->writers.emplace_back(batch->count++, std::move(*one));
      } else {
        batch->refused.emplace_back(batch->count++, std::move(one).error());
      }
      return Result<void>();
    });
  });
  if (!read) return exchange.problem(read.error());
  change(work, std::move(exchange), [batch = std::move(batch)](runs::Unit& unit) -> Result<Answer> {
    std::vector<std::string> answers(batch->count);
    for (const auto& [place, error] : batch->refused) append_refusal(answers[place], error);
    for (auto& [place, writer] : batch->writers) {
      if (auto id = writer(unit)) {
        ObjectText(answers[place]).boolean("ok", true).text("id", *id).end();
      } else {
        append_refusal(answers[place], id.error());
      }
    }
    Answer answer;
    answer.body = R"({"results":)";
    append_array(answer.body, answers, [](std::string& out, const std::string& one) { out += one; });
    answer.body += '}';
    return answer;
  });
}

// ---- those with fields of their own

template <runs::Collection kCollection>
Result<Writer> read_record(Work& work, const Exchange&, simdjson::dom::element element, const JsonPlace& place) {
  if (!element.is_object()) return not_an_object(place);
  std::string fields = simdjson::minify(element);
  if (fields.size() > kRecordBytesMax) {
    return fail(ErrorCode::kTooLarge,
                fmt::format("{} has {} bytes, at most {} fit", place.text(), fields.size(), kRecordBytesMax));
  }
  std::string_view named;
  if (element["id"].get(named) != simdjson::SUCCESS) named = {};
  std::string id = work.redactor.redact(named, "id");
  if (auto done = ledger::redact_json(fields, place.text(), work.redactor); !done) return std::unexpected(done.error());
  return Writer([fields = std::move(fields), id = std::move(id)](runs::Unit& unit) -> Result<std::string> {
    auto record = runs::write_record(unit, kCollection, id, fields);
    if (!record) return std::unexpected(std::move(record).error());
    return std::move(record->id);
  });
}

// For those who may not see payloads.
std::string without_payload(const std::string& fields) {
  boost::json::error_code error;
  boost::json::value record = boost::json::parse(fields, error);
  if (error || !record.is_object()) return "{}";
  record.get_object().erase("payload");
  return boost::json::serialize(record);
}

template <runs::Collection kCollection>
void list_records(Work& work, Exchange exchange) {
  static constexpr std::string_view kOwn[] = {"client_id", "ref", "status", "limit", "cursor"};
  const http::Query& query = exchange.request().query;
  if (auto known = only_parameters(query, kOwn); !known) return exchange.problem(known.error());
  auto page = page_of_list(query, 100);
  if (!page) return exchange.problem(page.error());
  runs::RecordFilter filter{.client = std::string(query.get("client_id")),
                            .ref = std::string(query.get("ref")),
                            .status = std::string(query.get("status"))};
  const bool reveals = reveals_payloads(exchange);
  look(work, std::move(exchange),
       [filter = std::move(filter), reveals, page = std::move(*page)](runs::View& view) -> Result<std::string> {
         auto found = runs::list_records(view, kCollection, filter, page);
         if (!found) return std::unexpected(std::move(found).error());
         return list_text(*found, [reveals](std::string& text, const runs::Record& record) {
           text += reveals ? record.fields : without_payload(record.fields);
         });
       });
}

// ---- webhook_events

Result<Writer> read_webhook_event(Work& work, const Exchange&, simdjson::dom::element element, const JsonPlace& place) {
  ledger::WebhookEvent event;
  event.received_at = work.clock.now();
  auto read = read_members(element, place, [&](Member& member) {
    return member.text("id", event.id) || member.text("client_id", event.client_id) ||
           member.text("trace_id", event.trace_id) || member.text("model", event.model) ||
           member.text("event_type", event.event_type) || member.time("received_at", event.received_at) ||
           member.time("processed_at", event.processed_at) || member.text("status", event.status);
  });
  if (!read) return std::unexpected(std::move(read).error());
  return Writer([event = std::move(event)](runs::Unit& unit) mutable -> Result<std::string> {
    ledger::WebhookEvent one = event;
    if (one.id.empty()) one.id = runs::format_number("whe_", unit.next_number());
    if (auto done = ledger::save_webhook_event(unit.tx(), unit.scope(), one); !done) {
      return std::unexpected(std::move(done).error());
    }
    return one.id;
  });
}

void list_webhook_events(Work& work, Exchange exchange) {
  static constexpr std::string_view kOwn[] = {"trace_id", "model", "event_type", "status",
                                              "from",     "to",    "limit",      "cursor"};
  const http::Query& query = exchange.request().query;
  if (auto known = only_parameters(query, kOwn); !known) return exchange.problem(known.error());
  auto limit = number_parameter(query, "limit", 1, kPageRowsMax, 100);
  if (!limit) return exchange.problem(limit.error());
  ledger::WebhookEventFilter filter;
  filter.trace_id = query.get("trace_id");
  filter.model = query.get("model");
  filter.event_type = query.get("event_type");
  filter.status = query.get("status");
  filter.cursor = query.get("cursor");
  filter.rows_max = static_cast<std::int32_t>(*limit);
  for (const auto& [name, target] : {std::pair{"from", &filter.from}, {"to", &filter.to}}) {
    if (const std::string* text = query.find(name)) {
      auto time = parse_time(*text, work.clock.now());
      if (!time) return exchange.problem(time.error());
      *target = *time;
    }
  }
  look(work, std::move(exchange), [filter](runs::View& view) -> Result<std::string> {
    auto page = ledger::find_webhook_events(view.reader(), view.scope(), filter);
    if (!page) return std::unexpected(std::move(page).error());
    std::string out;
    ObjectText object(out);
    append_array(object.key("items"), page->events, [](std::string& text, const ledger::WebhookEvent& event) {
      ObjectText one(text);
      one.text("id", event.id).text_or_null("client_id", event.client_id).text_or_null("trace_id", event.trace_id);
      one.text_or_null("model", event.model).text("event_type", event.event_type);
      one.time("received_at", event.received_at).time("processed_at", event.processed_at);
      one.text_or_null("status", event.status).end();
    });
    object.text_or_null("next_cursor", page->next).end();
    return out;
  });
}

// ---- audit_logs

// A program may report what somebody else did, as an executor does for its agents. Who said so is then part of the
// record, and of what is hashed: nobody is made to have done something without a witness.
void name_actor(ledger::AuditRecord& record, const access::Grant& caller) {
  const std::string_view kind = access::to_string(caller.kind);
  if (record.actor_id.empty()) {
    record.actor_type = kind;
    record.actor_id = caller.actor_id;
  }
  const auto role = access::role_of(caller);
  const bool is_own_role = record.role.empty() || (role && record.role == access::to_string(*role));
  if (record.actor_id == caller.actor_id && record.actor_type == kind && is_own_role) return;
  record.identifiers.push_back({"reported_by", caller.actor_id});
}

constexpr int kNameTriesMax = 8;

// The sender's name for the record, or a new one. A name is given once: whoever looks a record up by it must not find
// another. Records that are named the same in one call are the same mistake.
Result<void> take_name(runs::Unit& unit, std::string& audit_id) {
  if (audit_id.size() > ledger::kIdentifierValueBytesMax) {
    return fail(ErrorCode::kTooLarge,
                fmt::format("audit_id has {} bytes, at most {}", audit_id.size(), ledger::kIdentifierValueBytesMax));
  }
  for (int i = 0; i < kNameTriesMax; ++i) {
    const bool is_given = !audit_id.empty();
    std::string name = is_given ? audit_id : runs::format_number("aud_", unit.next_number());
    auto taken = ledger::take_audit_name(unit.tx(), unit.workspace(), name, unit.now());
    if (!taken) return std::unexpected(std::move(taken).error());
    if (*taken) {
      audit_id = std::move(name);
      return {};
    }
    if (is_given) {
      return fail(ErrorCode::kConflict,
                  fmt::format("there is an audit record '{}' already: records are never changed", audit_id));
    }
  }
  return fail(ErrorCode::kConflict, "no free name was found for the audit record");
}

Result<Writer> read_audit(Work& work, const Exchange& exchange, simdjson::dom::element element,
                          const JsonPlace& place) {
  if (work.rooms.auditor == nullptr) return fail(ErrorCode::kUnavailable, "the audit trail is not open");
  ledger::AuditRecord record;
  record.at = work.clock.now();
  std::string result = "success", run_id, step_id, job_id, ticket_id, agent_id, tool_name;
  auto read = read_members(element, place, [&](Member& member) {
    return member.text("id", record.audit_id) || member.text("audit_id", record.audit_id) ||
           member.text("action", record.action) || member.text("action_type", record.action) ||
           member.text("job_id", job_id) || member.text("ticket_id", ticket_id) || member.text("agent_id", agent_id) ||
           member.text("tool_name", tool_name) || member.time("created_at", record.at) ||
           member.text("actor_type", record.actor_type) || member.text("actor_id", record.actor_id) ||
           member.text("role", record.role) || member.text("target_type", record.target_type) ||
           member.text("target_id", record.target_id) || member.text("platform", record.platform) ||
           member.text("surface", record.surface) || member.text("lane", record.lane) ||
           member.text("client_id", record.client_id) || member.text("request_id", record.request_id) ||
           member.text("correlation_id", record.correlation_id) || member.text("trace_id", record.trace_id) ||
           member.text("span_id", record.span_id) || member.text("run_id", run_id) || member.text("step_id", step_id) ||
           member.text("policy_snapshot_id", record.policy_snapshot_id) ||
           member.text("payload_hash", record.payload_hash) || member.text("payload_summary", record.payload_summary) ||
           member.text("result", result, 16) || member.text("reason", record.reason) ||
           member.json("before", record.before, ledger::kAuditDetailsBytesMax) ||
           member.json("after", record.after, ledger::kAuditDetailsBytesMax) ||
           member.json("payload", record.payload, ledger::kAuditDetailsBytesMax) ||
           member.texts("proof", record.proof, ledger::kAuditReferencesMax) ||
           member.texts("evidence", record.evidence, ledger::kAuditReferencesMax) || member.time("at", record.at);
  });
  if (!read) return std::unexpected(std::move(read).error());
  const auto named = ledger::audit_result_named(result);
  if (!named) {
    return fail(ErrorCode::kInvalidArgument, place.text_of("result") + ": expected success, fail or blocked");
  }
  record.result = *named;
  record.audit_id = work.redactor.redact(record.audit_id);
  record.identifiers = {{"run_id", run_id},       {"step_id", step_id},   {"job_id", job_id},
                        {"ticket_id", ticket_id}, {"agent_id", agent_id}, {"tool_name", tool_name}};
  name_actor(record, exchange.caller().grant);
  return Writer([&auditor = *work.rooms.auditor, record](runs::Unit& unit) mutable -> Result<std::string> {
    ledger::AuditRecord one = record;
    if (auto taken = take_name(unit, one.audit_id); !taken) return std::unexpected(std::move(taken).error());
    if (auto done = auditor.record(unit.tx(), unit.scope(), one, ledger::Tell::kYes); !done)
      return std::unexpected(std::move(done).error());
    return one.audit_id;
  });
}

}  // namespace

void add_record_routes(Router& router, Work& work) {
  const auto add = [&](std::string_view path, Reader reader, void (*list)(Work&, Exchange)) {
    add_post(router, path, Action::kWork, kBatchBytesMax,
             [&work, reader](Exchange exchange) { write(work, std::move(exchange), reader); });
    add_get(router, path, Action::kSee, [&work, list](Exchange exchange) { list(work, std::move(exchange)); });
  };
  using runs::Collection;
  add("/api/v1/agent_runs", read_record<Collection::kAgentRuns>, list_records<Collection::kAgentRuns>);
  add("/api/v1/agent_logs", read_record<Collection::kAgentLogs>, list_records<Collection::kAgentLogs>);
  add("/api/v1/workflow_triggers", read_record<Collection::kWorkflowTriggers>,
      list_records<Collection::kWorkflowTriggers>);
  add("/api/v1/workflow_failures", read_record<Collection::kWorkflowFailures>,
      list_records<Collection::kWorkflowFailures>);
  add("/api/v1/webhook_events", read_webhook_event, list_webhook_events);
  add("/api/v1/audit_logs", read_audit,
      [](Work& of, Exchange exchange) { list_audits(of, std::move(exchange), AuditForm::kLog); });
}

}  // namespace fettle::api
