// Verdicts as long as the server lets them be kept, and the rules for when it is away.
#pragma once

#include <map>
#include <mutex>
#include <string>

#include "caller.h"
#include "fettle/sdk/may_i.h"

namespace fettle::sdk {

// Used by many threads at once.
class MayICache {
 public:
  explicit MayICache(Caller& caller) : caller_(caller) {}
  Result<Verdict> ask(const Question& question, const MayIOptions& options);

 private:
  struct Known {
    Json answer;
    Clock::Monotonic until;
  };

  Caller& caller_;
  std::mutex mutex_;
  std::map<std::string, Known> known_;          // by query; guarded by mutex_
  std::map<std::string, OnUnreachable> rules_;  // by action class; guarded by mutex_
};

}  // namespace fettle::sdk
