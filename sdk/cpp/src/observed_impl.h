// What an observed run knows of itself.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "batcher.h"
#include "core.h"
#include "fettle/sdk/observed_run.h"

namespace fettle::sdk {

struct ObservedRun::Impl {
  Impl(std::shared_ptr<Client::Core> core, std::string run_id);

  void report(const StepScope& scope, Json members);
  // With the first failure to deliver a step, if there was one.
  Result<void> end(Json outcome);

  // Constant after construction.
  const std::shared_ptr<Client::Core> core;
  const std::string run_id;
  const std::string path;

  std::atomic<int> step_count = 0;
  std::atomic<bool> ended = false;
  std::mutex mutex;
  std::optional<Error> undelivered;  // guarded by mutex
  Usage used;                        // outside of steps; guarded by mutex
  Batcher steps;                     // has a thread that uses what is above
};

}  // namespace fettle::sdk
