// A leased run as its handler sees it: payload, steps, the reason to stop, and everything it can say while it runs.
#pragma once

#include <functional>
#include <future>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "fettle/sdk/approval.h"
#include "fettle/sdk/may_i.h"
#include "fettle/sdk/records.h"
#include "fettle/sdk/retry.h"
#include "fettle/sdk/side_effect.h"
#include "fettle/sdk/step.h"

namespace fettle::sdk {

using StepBody = std::function<Result<Json>(StepScope&)>;

struct WaitOptions {
  std::string key;
  std::optional<Milliseconds> timeout;
  std::string name;  // tells several waits for the same event apart
};

struct Progress {
  std::optional<double> done;
  std::optional<double> total;
  std::string note;
};

// Valid until the handler has returned. Steps, sleeps, waits and questions belong to the handler's thread; anything
// else may be called from any thread. A handler may run several times: after a failure, after sleep(), wait_for() and
// approval(), and after its worker died. What it does outside of step() it does each time.
class Run {
 public:
  struct State;
  explicit Run(State& state) : state_(state) {}

  const std::string& run_id() const;
  const std::string& workflow() const;
  const Json& payload() const;  // as it was enqueued
  int attempt() const;          // from 1
  int retry_count() const;
  // Empty when the run has none.
  const std::string& client_id() const;
  const std::string& platform() const;
  const std::string& lane() const;
  const std::string& agent() const;
  const std::string& job_id() const;
  const std::string& correlation_id() const;
  const std::string& request_id() const;  // else the correlation id, else the run's

  // Stops with kLeaseLost, kCancelled, kStopped (kill switch) or kShutdown as its reason. Give it to whatever takes a
  // token; after it, nothing that the handler does is applied.
  std::stop_token stop_token() const;
  std::optional<Error> stop_reason() const;

  // Runs `body` once in the life of the run: after that, its result is remembered, and a retry gets it without running
  // it again. Names tell steps apart and must come in the same order each time. `retry` are retries within this attempt
  // of errors that may pass, beside those of the server's policy for this step; with neither, the run is retried as a
  // whole and resumes here.
  Result<Json> step(std::string_view name, const StepBody& body, const RetryPolicy& retry = kNoRetry);

  // Ends this attempt with kSuspended, to be returned as it came, and the worker is free; when the time has come the
  // handler runs again from the start, and this succeeds at once. `name` tells several sleeps of a run apart.
  Result<void> sleep(Milliseconds duration, std::string_view name = "sleep");
  Result<void> sleep_until(Clock::Wall until, std::string_view name = "sleep");
  // Likewise, until somebody posts the event: its payload, or kTimedOut when it never came.
  Result<Json> wait_for(std::string_view event, const WaitOptions& options = {});

  // Likewise, until a person has decided or the question has expired. Asked once: every later attempt gets the same
  // decision. Questions of the same name in one run are told apart by the order of the calls.
  Result<ApprovalDecision> approval(std::string_view name, const ApprovalOptions& options);

  // A line on the run's record.
  void log(std::string_view level, std::string_view message, Json payload = {});
  // That the work moves on. Travels with the next heartbeat; a run that says nothing for long counts as stalled.
  void progress(const Progress& progress);
  // What was used outside of a step.
  void use(Usage usage);

  // The run's client, platform and agent are filled in; `verify` looks whether it is visible.
  Result<SideEffectResult> side_effect(SideEffect effect, const Perform& perform, const Verify& verify = nullptr);
  // The run's client, platform, lane, workflow and agent are filled in.
  Result<Verdict> may_i(Question question = {}, const MayIOptions& options = {});

  // As on the client, with the run's identifiers filled in.
  std::future<Result<std::string>> log_agent_failure(AgentLog log);
  std::future<Result<std::string>> log_workflow_failure(WorkflowFailure failure);
  std::future<Result<std::string>> log_audit_event(AuditEvent event);

 private:
  State& state_;
};

}  // namespace fettle::sdk
