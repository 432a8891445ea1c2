#include "fettle/sdk/client.h"

#include <cstdlib>

#include "core.h"
#include "observed_impl.h"
#include "problem.h"
#include "worker_impl.h"

namespace fettle::sdk {

namespace {

constexpr const char* kUrlDefault = "http://127.0.0.1:7070";

std::string or_environment(const std::string& value, const char* name, const char* otherwise) {
  if (!value.empty()) return value;
  const char* found = std::getenv(name);
  return found != nullptr && *found != '\0' ? found : otherwise;
}

// Where there is no transport every call says why: a client is always made.
class NoTransport final : public Transport {
 public:
  explicit NoTransport(Error error) : error_(std::move(error)) {}
  Result<HttpAnswer> send(const HttpRequest&) override { return fail(error_); }

 private:
  const Error error_;
};

std::shared_ptr<Transport> transport_of(const ClientOptions& options) {
  if (options.transport) return options.transport;
  auto made = http_transport(or_environment(options.url, "FETTLE_URL", kUrlDefault),
                             or_environment(options.token, "FETTLE_TOKEN", ""), options.connections_max);
  return made ? *made : std::make_shared<NoTransport>(made.error());
}

}  // namespace

Client::Client(const ClientOptions& options)
    : core_(std::make_shared<Core>(transport_of(options),
                                   options.clock ? options.clock : std::make_shared<SystemClock>(), options)) {}

Client::~Client() { flush(); }

Result<EnqueuedRun> Client::enqueue(const NewRun& run) { return submit(run).get(); }
std::future<Result<EnqueuedRun>> Client::submit(const NewRun& run) { return core_->enqueuer.submit(run); }
std::vector<Result<EnqueuedRun>> Client::enqueue_many(std::span<const NewRun> runs) {
  return core_->enqueuer.enqueue_many(runs);
}

Result<void> Client::post_event(std::string_view name, std::string_view key, const Json& payload) {
  Json body = Json::object({{"name", name}});
  body.set_if("key", key);
  if (!payload.is_null()) body.set("payload", payload);
  const Result<Json> answer = core_->caller.post("/api/v1/events", body.text());
  if (!answer) return fail(answer.error());
  return {};
}

Result<ObservedRun> Client::start_run(const NewRun& run) {
  Result<Json> body = run_members(run);
  if (!body) return fail(body.error());
  body->set("observed", true).set("status", "running");
  const Result<Json> made = core_->caller.post("/api/v1/runs", body->text());
  if (!made) return fail(made.error());
  return ObservedRun(std::make_shared<ObservedRun::Impl>(core_, std::string((*made)["run_id"].as_string())));
}

Worker Client::worker(WorkerOptions options) {
  return Worker(std::make_shared<Worker::Impl>(core_, std::move(options)));
}

Result<SideEffectResult> Client::side_effect(const SideEffect& effect, const Perform& perform, const Verify& verify,
                                             std::string_view run_id) {
  return core_->side_effects.run(effect, perform, verify, {.run_id = std::string(run_id), .fence = {}});
}

Result<Verdict> Client::may_i(const Question& question, const MayIOptions& options) {
  return core_->may_i.ask(question, options);
}

std::future<Result<std::string>> Client::log_agent_failure(const AgentLog& log) {
  return core_->recorder.agent_log(log);
}
std::future<Result<std::string>> Client::log_workflow_failure(const WorkflowFailure& failure) {
  return core_->recorder.workflow_failure(failure);
}
std::future<Result<std::string>> Client::log_audit_event(const AuditEvent& event) {
  return core_->recorder.audit_event(event);
}
std::future<Result<std::string>> Client::record(std::string_view collection, const Json& record) {
  return core_->recorder.record(collection, record);
}

Result<Json> Client::get(std::string_view path) { return core_->caller.get(path); }
Result<Json> Client::post(std::string_view path, const Json& body, std::string_view idempotency_key) {
  return core_->caller.post(path, body.text(), {.idempotency_key = idempotency_key});
}

void Client::flush() {
  core_->enqueuer.drain();
  core_->recorder.drain();
}

}  // namespace fettle::sdk
