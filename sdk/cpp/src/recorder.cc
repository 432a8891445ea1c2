#include "recorder.h"

#include "fettle/sdk/trace.h"

namespace fettle::sdk {

namespace {

Json members_of(const Identifiers& ids) {
  const Carried& carried = carried_now();
  const auto [trace_id, span_id] = trace_ids(carried.traceparent);
  Json made = Json::object();
  made.set_if("request_id", ids.request_id);
  made.set_if("correlation_id", ids.correlation_id.empty() ? carried.correlation_id : ids.correlation_id);
  made.set_if("trace_id", ids.trace_id.empty() ? trace_id : ids.trace_id);
  made.set_if("span_id", ids.span_id.empty() && ids.trace_id.empty() ? span_id : ids.span_id);
  made.set_if("client_id", ids.client_id);
  made.set_if("run_id", ids.run_id);
  made.set_if("step_id", ids.step_id);
  return made;
}

void set_list(Json& made, std::string_view name, const std::vector<std::string>& values) {
  if (values.empty()) return;
  made.set(name, Json(Json::Array(values.begin(), values.end())));
}

}  // namespace

Recorded Recorder::record(std::string_view collection, const Json& record) {
  auto promise = std::make_shared<std::promise<Result<std::string>>>();
  Recorded future = promise->get_future();
  batcher(collection).add(record.text(), [promise](const Result<Json>& answer) {
    if (answer) {
      promise->set_value(std::string((*answer)["id"].as_string()));
    } else {
      promise->set_value(fail(answer.error()));
    }
  });
  return future;
}

Recorded Recorder::agent_log(const AgentLog& log) {
  Json made = members_of(log.ids);
  made.set("level", log.level).set("message", log.message);
  made.set_if("step_name", log.step_name);
  made.set_if("agent", log.agent).set_if("model", log.model);
  if (log.tokens) made.set("tokens", *log.tokens);
  made.set_if("error", log.error);
  if (!log.payload.is_null()) made.set("payload", log.payload);
  return record("agent_logs", made);
}

Recorded Recorder::workflow_failure(const WorkflowFailure& failure) {
  Json made = members_of(failure.ids);
  made.set_if("workflow", failure.workflow).set("message", failure.message);
  made.set_if("step_name", failure.step_name);
  if (failure.retry_attempt) made.set("retry_attempt", *failure.retry_attempt);
  made.set_if("error", failure.error);
  if (!failure.payload.is_null()) made.set("payload", failure.payload);
  return record("workflow_failures", made);
}

Recorded Recorder::audit_event(const AuditEvent& event) {
  Json made = members_of(event.ids);
  made.set("action", event.action).set_if("id", event.id);
  made.set_if("actor_type", event.actor.type).set_if("actor_id", event.actor.id).set_if("role", event.actor.role);
  made.set_if("target_type", event.target.type).set_if("target_id", event.target.id);
  made.set_if("platform", event.platform).set_if("policy_snapshot_id", event.policy_snapshot_id);
  made.set_if("surface", event.surface).set_if("lane", event.lane);
  made.set_if("payload_hash", event.payload_hash).set_if("payload_summary", event.summary);
  made.set_if("result", event.result).set_if("reason", event.reason);
  if (!event.before.is_null()) made.set("before", event.before);
  if (!event.after.is_null()) made.set("after", event.after);
  if (!event.payload.is_null()) made.set("payload", event.payload);
  set_list(made, "proof", event.proof);
  set_list(made, "evidence", event.evidence);
  if (event.at) made.set("at", rfc3339(*event.at));
  return record("audit_logs", made);
}

void Recorder::drain() {
  std::vector<Batcher*> all;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [name, batcher] : batchers_) all.push_back(batcher.get());
  }
  for (Batcher* batcher : all) batcher->drain();
}

Batcher& Recorder::batcher(std::string_view collection) {
  const std::lock_guard lock(mutex_);
  auto found = batchers_.find(collection);
  if (found == batchers_.end()) {
    const std::string name(collection);
    auto send = [this, path = "/api/v1/" + name](const std::string& items) {
      return caller_.post(path, "{\"records\":[" + items + "]}");
    };
    // One request at a time, so that records of one kind keep the order in which they were written.
    found = batchers_.emplace(name, std::make_unique<Batcher>(name, Batcher::Limits{}, std::move(send))).first;
  }
  return *found->second;
}

}  // namespace fettle::sdk
