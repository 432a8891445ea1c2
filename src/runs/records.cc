#include "runs/records.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <limits>

#include "runs/json.h"
#include "runs/listing.h"
#include "runs/run.h"

namespace fettle::runs {
namespace {

namespace json = boost::json;

constexpr std::array<std::string_view, 4> kNames = {"agent_runs", "agent_logs", "workflow_triggers",
                                                    "workflow_failures"};
constexpr std::array<std::string_view, 4> kPrefixes = {"ar_", "al_", "wt_", "wf_"};

std::string_view prefix_of(Collection collection) { return kPrefixes.at(static_cast<std::size_t>(collection)); }

Result<json::object> object_of(std::string_view text) {
  boost::system::error_code error;
  json::value parsed = json::parse(json::string_view(text.data(), text.size()), error);
  if (error || !parsed.is_object()) return fail(ErrorCode::kInvalidArgument, "the fields are not a JSON object");
  return std::move(parsed.get_object());
}

std::string text_in(const json::object& fields, std::initializer_list<std::string_view> names) {
  for (const std::string_view name : names) {
    if (const auto* value = fields.if_contains(json::string_view(name.data(), name.size()))) {
      if (value->is_string()) return std::string(value->get_string());
      if (value->is_int64()) return fmt::format("{}", value->get_int64());
    }
  }
  return {};
}

std::string ref_in(Collection collection, const json::object& fields) {
  switch (collection) {
    case Collection::kAgentRuns: return text_in(fields, {"correlationId", "correlation_id"});
    case Collection::kWorkflowTriggers: return text_in(fields, {"eventKey", "event_key"});
    case Collection::kAgentLogs:
    case Collection::kWorkflowFailures: return text_in(fields, {"runId", "run_id"});
  }
  return {};
}

// By which the event of a record is found beside its own reference.
void add_trace(Identifiers& out, const json::object& fields) {
  constexpr std::pair<std::string_view, std::string_view> kTraced[] = {
      {"trace_id", "traceId"}, {"span_id", "spanId"}, {"request_id", "requestId"}, {"correlation_id", "correlationId"},
      {"step_id", "stepId"},   {"agent", "agent"}};
  for (const auto& [name, camel] : kTraced) {
    if (std::ranges::find(out, name, &Identifier::name) != out.end()) continue;
    std::string value = text_in(fields, {name, camel});
    // A record is worth more than an identifier too long to be one.
    if (value.empty() || value.size() > ledger::kIdentifierValueBytesMax) continue;
    out.push_back({std::string(name), std::move(value)});
  }
}

// ---- workflow_failures: a table with columns, which the engine writes as well --------------------------------------

#define FETTLE_FAILURE_COLUMNS \
  "id, run_ref, client, workflow, step, kind, message, retry_attempt, status, created_at, resolved_at, extra"

Record failure_from(View& view, const db::Row& row) {
  std::int64_t number = 0;
  std::int32_t retry_attempt = 0;
  std::string workflow, step, kind, message, extra;
  std::optional<UnixNanos> resolved_at;
  Record out;
  view.read(row, number, out.ref, out.client, workflow, step, kind, message, retry_attempt, out.status, out.created_at,
            resolved_at, extra);
  out.id = format_number(prefix_of(Collection::kWorkflowFailures), number);
  out.updated_at = resolved_at.value_or(out.created_at);
  json::object fields;
  if (auto own = object_of(extra)) fields = std::move(*own);
  fields["id"] = out.id;
  fields["runId"] = out.ref;
  if (!step.empty() || !fields.contains("stepId")) fields["stepId"] = step;
  fields["message"] = message;
  fields["retryAttempt"] = retry_attempt;
  fields["status"] = out.status;
  fields["kind"] = kind;
  if (!workflow.empty()) fields["workflow"] = workflow;
  fields["createdAt"] = format_rfc3339(out.created_at);
  if (resolved_at) fields["resolvedAt"] = format_rfc3339(*resolved_at);
  out.fields = json::serialize(fields);
  return out;
}

Result<Record> write_failure(Unit& unit, std::string_view id, json::object fields) {
  const auto given = parse_number(prefix_of(Collection::kWorkflowFailures), id);
  if (!id.empty()) {
    const std::optional<Record> before = get_record(unit, Collection::kWorkflowFailures, id);
    if (!before) return fail(ErrorCode::kNotFound, fmt::format("there is no workflow failure {}", id));
    auto merged = object_of(before->fields);
    if (!merged) return std::unexpected(merged.error());
    for (auto& member : fields) (*merged)[member.key()] = member.value();
    fields = std::move(*merged);
  }
  const std::string run_ref = text_in(fields, {"runId", "run_id"});
  std::string client = text_in(fields, {"clientId", "client_id"});
  std::string workflow = text_in(fields, {"workflow", "workflowId"});
  std::string status = text_in(fields, {"status"});
  if (status.empty()) status = "open";
  const std::string step = text_in(fields, {"stepId", "step_id"});
  std::string kind = text_in(fields, {"kind"});
  if (kind.empty()) kind = "error";
  const std::string message = text_in(fields, {"message"});
  std::int64_t retry_attempt = 0;
  for (const char* name : {"retryAttempt", "retry_attempt"}) {
    if (const auto* value = fields.if_contains(name); value != nullptr && value->is_int64()) {
      retry_attempt = std::clamp<std::int64_t>(value->get_int64(), 0, std::numeric_limits<std::int32_t>::max());
    }
  }
  std::optional<Run> run;
  if (!run_ref.empty()) run = load_run(unit, RunId{run_ref});
  if (run) {
    if (client.empty()) client = run->client;
    if (workflow.empty()) workflow = run->workflow;
  }
  if (!unit.scope().clients.empty() && !unit.allows(client)) {
    return fail(ErrorCode::kPermissionDenied, "this client is outside of what you may see");
  }
  for (const auto& [field, value] : {std::pair{"runId", &run_ref},
                                     {"clientId", &client},
                                     {"workflow", &workflow},
                                     {"status", &status},
                                     {"stepId", &step},
                                     {"kind", &kind}}) {
    if (auto good = check_size(field, *value, unit.limits().name_bytes_max); !good)
      return std::unexpected(good.error());
  }
  if (auto good = check_size("message", message, unit.limits().message_bytes_max); !good) {
    return std::unexpected(good.error());
  }
  const std::string extra = json::serialize(fields);
  const bool open = status == "open";
  const std::int64_t number = given.value_or(0) != 0 ? *given : unit.next_number();
  unit.execute(
      "INSERT INTO workflow_failures (workspace, id, run, run_ref, client, workflow, step, kind, message, "
      "retry_attempt,"
      " status, created_at, resolved_at, extra) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"
      " ON CONFLICT (workspace, id) DO UPDATE SET step = excluded.step, kind = excluded.kind,"
      " message = excluded.message, retry_attempt = excluded.retry_attempt, status = excluded.status,"
      " resolved_at = excluded.resolved_at, extra = excluded.extra",
      {unit.workspace(), number, run ? db::Value(run->number) : db::Value(), run_ref, client, workflow, step, kind,
       message, retry_attempt, status, unit.now(), open ? db::Value() : db::Value(unit.now()), extra});
  if (run && id.empty() && open && !is_terminal(run->state)) {
    // So that the run's success resolves it.
    unit.execute("UPDATE runs SET open_failures = open_failures + 1 WHERE workspace = $1 AND id = $2",
                 {unit.workspace(), run->number});
  }
  JsonObject body;
  body.add("status", status).add("message", message);
  Identifiers identifiers = {{"run_id", run_ref}, {"step_id", step}, {"client_id", client}};
  add_trace(identifiers, fields);
  unit.event("workflow_failure.recorded", std::move(identifiers), std::move(body).text());
  Record out;
  out.id = format_number(prefix_of(Collection::kWorkflowFailures), number);
  if (auto written = get_record(unit, Collection::kWorkflowFailures, out.id)) out = std::move(*written);
  return out;
}

// ---- the others: fields as they came -------------------------------------------------------------------------------

#define FETTLE_RECORD_COLUMNS "id, client, ref, status, fields, created_at, updated_at"

Record record_from(View& view, const db::Row& row) {
  Record out;
  view.read(row, out.id, out.client, out.ref, out.status, out.fields, out.created_at, out.updated_at);
  return out;
}

}  // namespace

std::string_view to_string(Collection collection) { return kNames.at(static_cast<std::size_t>(collection)); }

Result<Record> write_record(Unit& unit, Collection collection, std::string_view id, std::string_view fields) {
  if (auto good = check_size("fields", fields, unit.limits().payload_bytes_max); !good) {
    return std::unexpected(good.error());
  }
  if (!id.empty()) {
    if (auto good = check_name("id", id, unit.limits()); !good) return std::unexpected(good.error());
  }
  auto object = object_of(fields);
  if (!object) return std::unexpected(object.error());
  if (collection == Collection::kWorkflowFailures) return write_failure(unit, id, std::move(*object));
  std::int64_t number = unit.next_number();
  Record out;
  out.id = id.empty() ? format_number(prefix_of(collection), number) : std::string(id);
  out.created_at = unit.now();
  const std::optional<Record> before = id.empty() ? std::nullopt : get_record(unit, collection, id);
  if (before) {
    auto merged = object_of(before->fields);
    if (!merged) return std::unexpected(merged.error());
    for (auto& member : *object) (*merged)[member.key()] = member.value();
    *object = std::move(*merged);
    out.created_at = before->created_at;
  }
  (*object)["id"] = out.id;
  out.client = text_in(*object, {"clientId", "client_id"});
  out.ref = ref_in(collection, *object);
  out.status = text_in(*object, {"status"});
  out.updated_at = unit.now();
  for (const auto& [field, value] :
       {std::pair{"clientId", &out.client}, {"reference", &out.ref}, {"status", &out.status}}) {
    if (auto good = check_size(field, *value, unit.limits().name_bytes_max); !good)
      return std::unexpected(good.error());
  }
  if (!unit.scope().clients.empty() && !unit.allows(out.client)) {
    return fail(ErrorCode::kPermissionDenied, "this client is outside of what you may see");
  }
  out.fields = json::serialize(*object);
  if (auto good = check_size("fields", out.fields, unit.limits().payload_bytes_max); !good) {
    return std::unexpected(good.error());
  }
  const std::int64_t written = unit.execute(
      "INSERT INTO records (workspace, collection, id, number, client, ref, status, fields, created_at, updated_at)"
      " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9) ON CONFLICT (workspace, collection, id) DO UPDATE SET"
      " client = excluded.client, ref = excluded.ref, status = excluded.status, fields = excluded.fields,"
      " updated_at = excluded.updated_at WHERE records.client = $10",
      {unit.workspace(), to_string(collection), out.id, number, out.client, out.ref, out.status, out.fields, unit.now(),
       before ? before->client : out.client});
  if (written == 0 && !unit.failure()) {
    return fail(ErrorCode::kPermissionDenied, "a record of this id is outside of what you may see");
  }
  JsonObject body;
  body.add("id", out.id).add_text("status", out.status);
  const std::string_view ref_name = collection == Collection::kAgentLogs   ? "run_id"
                                    : collection == Collection::kAgentRuns ? "correlation_id"
                                                                           : "event_key";
  Identifiers identifiers = {{"client_id", out.client}, {std::string(ref_name), out.ref}};
  add_trace(identifiers, *object);
  unit.event(fmt::format("{}.{}", to_string(collection), before ? "updated" : "created"), std::move(identifiers),
             std::move(body).text());
  return out;
}

Result<PageOf<Record>> list_records(View& view, Collection collection, const RecordFilter& filter,
                                    const PageRequest& page) {
  Where where(view);
  where.add_scope(view);
  where.add_if("client = {}", filter.client);
  if (collection == Collection::kWorkflowFailures) {
    where.add_if("run_ref = {}", filter.ref);
    // As a literal, so that the partial index of open ones is seen to fit.
    if (filter.status == "open") where.add_literal("status = 'open'");
    if (filter.status != "open") where.add_if("status = {}", filter.status);
    return page_of<Record>(view, FETTLE_FAILURE_COLUMNS, "workflow_failures", where, {.unique = "id"}, page,
                           failure_from);
  }
  where.add("collection = {}", to_string(collection));
  // The conditions that the partial indexes hold, too.
  if (!filter.ref.empty()) where.add_literal("ref <> ''");
  where.add_if("ref = {}", filter.ref);
  if (!filter.status.empty()) where.add_literal("status <> ''");
  where.add_if("status = {}", filter.status);
  return page_of<Record>(view, FETTLE_RECORD_COLUMNS, "records", where, {.unique = "number"}, page, record_from);
}

std::optional<Record> get_record(View& view, Collection collection, std::string_view id) {
  std::optional<Record> out;
  if (collection == Collection::kWorkflowFailures) {
    const auto number = parse_number(prefix_of(collection), id);
    if (!number) return std::nullopt;
    const db::Rows rows =
        view.rows("SELECT " FETTLE_FAILURE_COLUMNS " FROM workflow_failures WHERE workspace = $1 AND id = $2",
                  {view.workspace(), *number});
    if (!rows.empty()) out = failure_from(view, rows[0]);
  } else {
    const db::Rows rows =
        view.rows("SELECT " FETTLE_RECORD_COLUMNS " FROM records WHERE workspace = $1 AND collection = $2 AND id = $3",
                  {view.workspace(), to_string(collection), id});
    if (!rows.empty()) out = record_from(view, rows[0]);
  }
  if (out && !view.allows(out->client)) return std::nullopt;
  return out;
}

}  // namespace fettle::runs
