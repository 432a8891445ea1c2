// The way into Fettle for a C++ program. One per process is enough; threads may call any member.
//
//   fettle::sdk::Client client;  // FETTLE_URL, FETTLE_TOKEN
//   auto made = client.enqueue({.workflow = "lead", .payload = Json::object({{"email", email}}), .client_id = "acme"});
#pragma once

#include <future>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "fettle/sdk/new_run.h"
#include "fettle/sdk/observed_run.h"
#include "fettle/sdk/records.h"
#include "fettle/sdk/transport.h"
#include "fettle/sdk/worker.h"

namespace fettle::sdk {

struct ClientOptions {
  std::string url;    // FETTLE_URL, or http://127.0.0.1:7070, without
  std::string token;  // FETTLE_TOKEN without. It names the workspace. A server started with --dev needs none.
  // For every call except leasing, which goes on for as long as the worker does.
  RetryPolicy retry = kCallRetry;
  Milliseconds timeout{10'000};
  // Few: what is sent often is sent in batches, and a request more is a commit more for the server.
  int connections_max = 8;
  std::size_t queue_items_max = 10'000;  // runs that may wait to be sent; past that, kQueueFull
  // For tests, and for programs with an HTTP client of their own.
  std::shared_ptr<Clock> clock;
  std::shared_ptr<Transport> transport;
};

class Client {
 public:
  explicit Client(const ClientOptions& options = {});
  ~Client();  // flushes
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Returns when the run is durable. Calls of several threads travel in one request.
  Result<EnqueuedRun> enqueue(const NewRun& run);
  // The same without waiting: what one thread submits in a row travels together, too.
  std::future<Result<EnqueuedRun>> submit(const NewRun& run);
  // One result per run, in their order. The runs travel in several requests, which may fail apart; they may begin in
  // another order.
  std::vector<Result<EnqueuedRun>> enqueue_many(std::span<const NewRun> runs);

  // Wakes the runs that wait for it.
  Result<void> post_event(std::string_view name, std::string_view key = {}, const Json& payload = {});

  // An observed run: the work runs here, Fettle is told.
  Result<ObservedRun> start_run(const NewRun& run);

  Worker worker(WorkerOptions options);

  // At most once, also outside of a run; `run_id` ties it to an observed one.
  Result<SideEffectResult> side_effect(const SideEffect& effect, const Perform& perform, const Verify& verify = nullptr,
                                       std::string_view run_id = {});
  // Does not fail for an absent server; fails when the question itself is refused (401, 403, 400).
  Result<Verdict> may_i(const Question& question, const MayIOptions& options = {});

  // The record's id, once it is durable. Nobody needs to wait for it; flush() waits for all.
  std::future<Result<std::string>> log_agent_failure(const AgentLog& log);
  std::future<Result<std::string>> log_workflow_failure(const WorkflowFailure& failure);
  std::future<Result<std::string>> log_audit_event(const AuditEvent& event);
  // Any record, under the server's own names: agent_runs, agent_logs, workflow_triggers, workflow_failures, audit_logs,
  // webhook_events.
  std::future<Result<std::string>> record(std::string_view collection, const Json& record);

  // Any other endpoint, with keys, retry and problems as everywhere else.
  Result<Json> get(std::string_view path);
  Result<Json> post(std::string_view path, const Json& body, std::string_view idempotency_key = {});

  // Returns when everything handed over so far has been answered.
  void flush();

  struct Core;

 private:
  std::shared_ptr<Core> core_;
};

}  // namespace fettle::sdk
