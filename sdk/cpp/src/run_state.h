// A leased run between its handler and its worker.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>

#include "core.h"
#include "fettle/sdk/run.h"
#include "reporter.h"

namespace fettle::sdk {

// Shared by the worker and by the answers that are still to come.
struct Run::State : std::enable_shared_from_this<Run::State> {
  struct Services {
    Client::Core& core;
    Reporter& reporter;
    const std::function<void(std::string_view)>& step_log;
    const std::function<void(const Error&)>& on_error;
  };
  struct Suspension {
    std::string op;  // sleep or wait, or asked, which has been reported by asking
    Json members;
  };

  State(Json lease_, Clock::Monotonic deadline_, const Services& services_);

  // The first reason stays.
  void stop(Error reason);
  std::optional<Error> stop_reason();

  void report(std::string_view op, const Json& members, Batcher::Done done);
  // A report that nobody waits for.
  void tell(std::string_view op, const Json& members);
  // A report whose answer is waited for.
  Result<Json> ask(std::string_view op, const Json& members);
  // What the answer to a report asks of the run.
  void heed(const Result<Json>& answer);
  void report_failed(const Error& error);

  // Puts what was used outside of steps, if anything was, into the last report.
  void add_spent(Json& members);

  std::string unique_name(std::string_view name);
  void fill(Identifiers& ids) const;
  std::string text(std::string_view member) const { return std::string(lease[member].as_string()); }

  // Constant after construction.
  const Json lease;
  const Services services;
  const std::string run_id, workflow, client_id, platform, lane, agent, job_id, correlation_id, request_id;
  std::stop_source stopping;

  // Of the handler's thread.
  std::map<std::string, Json, std::less<>> memo;
  std::map<std::string, int, std::less<>> names;
  int step_count = 0;
  std::optional<Suspension> suspension;  // how to report once the handler has returned

  std::mutex mutex;
  // Guarded by mutex.
  std::optional<Error> reason;
  std::optional<Json> progressed;  // since the last heartbeat
  Usage used;                      // outside of steps; theirs travels with them
  Clock::Monotonic deadline;       // when the lease ends if no heartbeat gets through
  bool beating = false;            // a heartbeat is on its way
  bool late = false;               // the server has said that the lease is gone
  bool asking = false;             // a question that ends the lease is on its way, or was taken
  bool finished = false;           // the last report has been made
};

}  // namespace fettle::sdk
