// Observed runs: the work runs where it always ran, and reports its start, its steps and its end.
#pragma once

#include <memory>
#include <string>

#include "fettle/sdk/run.h"

namespace fettle::sdk {

// Client::start_run() makes it. Threads may call any member. One that is destroyed without an end has failed.
class ObservedRun {
 public:
  struct Impl;
  explicit ObservedRun(std::shared_ptr<Impl> impl);
  ~ObservedRun();
  ObservedRun(ObservedRun&&) noexcept;
  ObservedRun& operator=(ObservedRun&&) = delete;

  const std::string& run_id() const;

  // Runs `body` as a step: reported at its start and at its end. The report does not hold the work up; the run's end
  // waits for it.
  Result<Json> step(std::string_view name, const StepBody& body);
  // What was used outside of a step.
  void use(Usage usage);

  // With the first failure to deliver a step, if there was one, once the end itself is delivered.
  Result<void> succeed(Json result = {});
  Result<void> fail(const Error& error);

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace fettle::sdk
