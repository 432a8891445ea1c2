// Runs on their way to the server.
#pragma once

#include <future>
#include <span>
#include <vector>

#include "batcher.h"
#include "caller.h"
#include "fettle/sdk/new_run.h"

namespace fettle::sdk {

// The caller's run as the wire knows it, with the caller's trace context.
Result<Json> run_members(const NewRun& run);

// Used by many threads at once.
class Enqueuer {
 public:
  Enqueuer(Caller& caller, std::size_t queue_items_max);

  std::future<Result<EnqueuedRun>> submit(const NewRun& run);
  std::vector<Result<EnqueuedRun>> enqueue_many(std::span<const NewRun> runs);
  void drain() { batcher_.drain(); }

 private:
  Batcher batcher_;
};

}  // namespace fettle::sdk
