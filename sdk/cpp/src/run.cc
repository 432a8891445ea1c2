#include "fettle/sdk/run.h"

#include "fettle/sdk/step_log.h"
#include "problem.h"
#include "run_state.h"

namespace fettle::sdk {

namespace {

std::int64_t ms_between(Clock::Monotonic begin, Clock::Monotonic end) {
  return std::chrono::round<Milliseconds>(end - begin).count();
}

Json step_members(const StepScope& scope, std::int64_t duration_ms) {
  return Json::object({{"step", scope.step_id()},
                       {"name", scope.name()},
                       {"duration_ms", duration_ms},
                       {"tokens", scope.used().tokens},
                       {"cost_usd", scope.used().cost_usd}});
}

void fill_in(std::string& value, const std::string& from) {
  if (value.empty()) value = from;
}

std::string first_of(std::string a, std::string b, std::string c) { return !a.empty() ? a : !b.empty() ? b : c; }

// One step of one attempt, with its retries in place.
class StepCall {
 public:
  StepCall(Run::State& state, int step, std::string name, const RetryPolicy& policy)
      : state_(state),
        clock_(state.services.core.caller.clock()),
        step_(step),
        name_(std::move(name)),
        policy_(policy) {}

  Result<Json> run(const StepBody& body) {
    const auto began = clock_.now();
    for (int tries = 0;; ++tries) {
      if (const auto reason = state_.stop_reason()) return fail(*reason);
      StepScope scope(name_, step_);
      const auto begin = clock_.now();
      state_.tell("step_start", Json::object({{"step", step_}, {"name", name_}}));
      const Result<Json> result = guarded<Json>([&] { return body(scope); });
      const std::int64_t duration_ms = ms_between(begin, clock_.now());
      if (result) return completed(scope, duration_ms, *result);
      if (result.error().kind == ErrorKind::kSuspended) return result;
      const auto again = failed(scope, duration_ms, tries, result.error(), began);
      if (!again || state_.stop_reason()) return result;
      clock_.sleep(state_.stopping.get_token(), *again);
    }
  }

 private:
  Result<Json> completed(const StepScope& scope, std::int64_t duration_ms, const Json& result) {
    // The next step starts only when this one is on record: otherwise a crash would do it again.
    const Result<Json> answer = state_.ask("step_complete", step_members(scope, duration_ms).set("result", result));
    if (!answer && !answer.error().is_late()) return fail(answer.error());
    state_.heed(answer);
    if (answer && state_.services.step_log)
      state_.services.step_log(step_completed_line(line(duration_ms), scope.used()));
    if (const auto reason = state_.stop_reason()) return fail(*reason);
    return result;
  }

  // How long to wait before it is tried again in place: the server's policy goes before the step's own.
  std::optional<Milliseconds> failed(const StepScope& scope, std::int64_t duration_ms, int tries, const Error& error,
                                     Clock::Monotonic began) {
    std::optional<Milliseconds> wait;
    if (!state_.stop_reason() && error.retryable()) wait = wait_before_retry(clock_, policy_, tries, began, error);
    if (state_.services.step_log) {
      const int retry_count = static_cast<int>(state_.lease["retry_count"].as_int()) + tries;
      state_.services.step_log(step_failed_line(line(duration_ms), retry_count, error));
    }
    Json members = step_members(scope, duration_ms);
    members.set("error", error_object(error)).set("will_retry", wait.has_value());
    const Result<Json> answer = state_.ask("step_fail", members);
    state_.heed(answer);
    if (answer && (*answer)["will_retry"].as_bool()) return Milliseconds((*answer)["retry_after_ms"].as_int());
    return wait;
  }

  StepLine line(std::int64_t duration_ms) const {
    return {.request_id = state_.request_id,
            .run_id = state_.run_id,
            .step_id = step_,
            .step_name = name_,
            .duration_ms = duration_ms};
  }

  Run::State& state_;
  Clock& clock_;
  const int step_;
  const std::string name_;
  const RetryPolicy policy_;
};

}  // namespace

Run::State::State(Json lease_, Clock::Monotonic deadline_, const Services& services_)
    : lease(std::move(lease_)),
      services(services_),
      run_id(text("run_id")),
      workflow(text("workflow")),
      client_id(text("client_id")),
      platform(text("platform")),
      lane(text("lane")),
      agent(text("agent")),
      job_id(text("job_id")),
      correlation_id(text("correlation_id")),
      request_id(first_of(text("request_id"), correlation_id, run_id)),
      deadline(deadline_) {
  for (const Json& step : lease["steps"].items()) {
    const std::string_view status = step["status"].as_string();
    if (status == "completed" || status == "succeeded") {
      memo.emplace(std::string(step["name"].as_string()), step["result"]);
    }
  }
}

void Run::State::stop(Error why) {
  {
    const std::lock_guard lock(mutex);
    if (reason) return;
    reason = std::move(why);
  }
  stopping.request_stop();
}

std::optional<Error> Run::State::stop_reason() {
  const std::lock_guard lock(mutex);
  return reason;
}

void Run::State::report(std::string_view op, const Json& members, Batcher::Done done) {
  services.reporter.report(op, run_id, lease["fence"], members, std::move(done));
}

void Run::State::tell(std::string_view op, const Json& members) {
  report(op, members, [self = shared_from_this()](const Result<Json>& answer) { self->heed(answer); });
}

Result<Json> Run::State::ask(std::string_view op, const Json& members) {
  std::promise<Result<Json>> promise;
  auto future = promise.get_future();
  report(op, members, [&promise](Result<Json> answer) { promise.set_value(std::move(answer)); });
  return future.get();
}

void Run::State::heed(const Result<Json>& answer) {
  if (!answer) {
    report_failed(answer.error());
  } else if ((*answer)["stop"].is_object()) {
    stop(stopped((*answer)["stop"]));
  } else if ((*answer)["cancel"].as_bool()) {
    stop(stop_error(ErrorKind::kCancelled));
  }
}

// A lost lease stops the run; any other failure is told, since the heartbeats will find out whether the server is away.
void Run::State::report_failed(const Error& error) {
  if (!error.is_late()) {
    if (services.on_error) services.on_error(error);
    return;
  }
  {
    const std::lock_guard lock(mutex);
    late = true;
  }
  stop(error);
}

void Run::State::add_spent(Json& members) {
  const std::lock_guard lock(mutex);
  if (used.tokens == 0 && used.cost_usd == 0) return;
  members.set("tokens", used.tokens).set("cost_usd", used.cost_usd);
}

// The same name again within a run is another step: "fetch", "fetch#2", in the order of the calls.
std::string Run::State::unique_name(std::string_view name) {
  const int count = ++names[std::string(name)];
  return count == 1 ? std::string(name) : std::string(name) + "#" + std::to_string(count);
}

void Run::State::fill(Identifiers& ids) const {
  fill_in(ids.run_id, run_id);
  fill_in(ids.client_id, client_id);
  fill_in(ids.request_id, request_id);
  fill_in(ids.correlation_id, correlation_id);
}

const std::string& Run::run_id() const { return state_.run_id; }
const std::string& Run::workflow() const { return state_.workflow; }
const Json& Run::payload() const { return state_.lease["payload"]; }
int Run::attempt() const { return static_cast<int>(state_.lease["attempt"].as_int()); }
int Run::retry_count() const { return static_cast<int>(state_.lease["retry_count"].as_int()); }
const std::string& Run::client_id() const { return state_.client_id; }
const std::string& Run::platform() const { return state_.platform; }
const std::string& Run::lane() const { return state_.lane; }
const std::string& Run::agent() const { return state_.agent; }
const std::string& Run::job_id() const { return state_.job_id; }
const std::string& Run::correlation_id() const { return state_.correlation_id; }
const std::string& Run::request_id() const { return state_.request_id; }
std::stop_token Run::stop_token() const { return state_.stopping.get_token(); }
std::optional<Error> Run::stop_reason() const { return state_.stop_reason(); }

Result<Json> Run::step(std::string_view name, const StepBody& body, const RetryPolicy& retry) {
  if (const auto reason = stop_reason()) return fail(*reason);
  const int step = ++state_.step_count;
  const std::string unique = state_.unique_name(name);
  if (const auto done = state_.memo.find(unique); done != state_.memo.end()) return done->second;
  return StepCall(state_, step, unique, retry).run(body);
}

Result<void> Run::sleep(Milliseconds duration, std::string_view name) {
  return sleep_until(state_.services.core.caller.clock().wall() + duration, name);
}

Result<void> Run::sleep_until(Clock::Wall until, std::string_view name) {
  if (const auto reason = stop_reason()) return fail(*reason);
  const int step = ++state_.step_count;
  const std::string unique = state_.unique_name("sleep:" + std::string(name));
  if (state_.memo.contains(unique)) return {};
  state_.suspension = {"sleep", Json::object({{"step", step}, {"name", unique}, {"until", rfc3339(until)}})};
  return fail(suspended());
}

Result<Json> Run::wait_for(std::string_view event, const WaitOptions& options) {
  if (const auto reason = stop_reason()) return fail(*reason);
  const int step = ++state_.step_count;
  const std::string unique = state_.unique_name(options.name.empty() ? "wait:" + std::string(event) : options.name);
  if (const auto known = state_.memo.find(unique); known != state_.memo.end()) {
    if (!known->second["expired"].as_bool()) return known->second["payload"];
    return fail({.kind = ErrorKind::kTimedOut, .code = "timed_out", .message = std::string(event) + " did not come"});
  }
  Json members = Json::object({{"step", step}, {"name", unique}, {"event", event}});
  members.set_if("key", options.key);
  if (options.timeout) {
    members.set("expires_at", rfc3339(state_.services.core.caller.clock().wall() + *options.timeout));
  }
  state_.suspension = {"wait", std::move(members)};
  return fail(suspended());
}

void Run::log(std::string_view level, std::string_view message, Json payload) {
  Json members = Json::object({{"level", level}, {"message", message}});
  if (!payload.is_null()) members.set("payload", std::move(payload));
  state_.tell("log", members);
}

void Run::progress(const Progress& progress) {
  Json made = Json::object();
  if (progress.done) made.set("done", *progress.done);
  if (progress.total) made.set("total", *progress.total);
  made.set_if("note", progress.note);
  const std::lock_guard lock(state_.mutex);
  state_.progressed = std::move(made);
}

void Run::use(Usage usage) {
  const std::lock_guard lock(state_.mutex);
  state_.used.tokens += usage.tokens;
  state_.used.cost_usd += usage.cost_usd;
}

Result<SideEffectResult> Run::side_effect(SideEffect effect, const Perform& perform, const Verify& verify) {
  if (const auto reason = stop_reason()) return fail(*reason);
  fill_in(effect.client_id, client_id());
  fill_in(effect.platform, platform());
  fill_in(effect.agent, agent());
  const EffectOwner owner{
      .run_id = run_id(), .fence = state_.lease["fence"], .stop = stop_token(), .stop_reason = [this] {
        return stop_reason();
      }};
  Result<SideEffectResult> result = state_.services.core.side_effects.run(effect, perform, verify, owner);
  if (!result && result.error().is_late()) state_.report_failed(result.error());  // reserved under a lost lease
  return result;
}

Result<Verdict> Run::may_i(Question question, const MayIOptions& options) {
  fill_in(question.client_id, client_id());
  fill_in(question.platform, platform());
  fill_in(question.lane, lane());
  fill_in(question.workflow, workflow());
  fill_in(question.agent, agent());
  return state_.services.core.may_i.ask(question, options);
}

std::future<Result<std::string>> Run::log_agent_failure(AgentLog log) {
  state_.fill(log.ids);
  fill_in(log.agent, agent());
  return state_.services.core.recorder.agent_log(log);
}

std::future<Result<std::string>> Run::log_workflow_failure(WorkflowFailure failure) {
  state_.fill(failure.ids);
  fill_in(failure.workflow, workflow());
  if (!failure.retry_attempt) failure.retry_attempt = retry_count();
  return state_.services.core.recorder.workflow_failure(failure);
}

std::future<Result<std::string>> Run::log_audit_event(AuditEvent event) {
  state_.fill(event.ids);
  fill_in(event.platform, platform());
  fill_in(event.lane, lane());
  return state_.services.core.recorder.audit_event(event);
}

}  // namespace fettle::sdk
