// Records on their way to the server, in the order of their writing by kind.
#pragma once

#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "batcher.h"
#include "caller.h"
#include "fettle/sdk/records.h"

namespace fettle::sdk {

using Recorded = std::future<Result<std::string>>;

// Used by many threads at once.
class Recorder {
 public:
  explicit Recorder(Caller& caller) : caller_(caller) {}

  Recorded record(std::string_view collection, const Json& record);
  Recorded agent_log(const AgentLog& log);
  Recorded workflow_failure(const WorkflowFailure& failure);
  Recorded audit_event(const AuditEvent& event);
  void drain();

 private:
  Batcher& batcher(std::string_view collection);

  Caller& caller_;
  std::mutex mutex_;
  std::map<std::string, std::unique_ptr<Batcher>, std::less<>> batchers_;  // guarded by mutex_; entries stay
};

}  // namespace fettle::sdk
