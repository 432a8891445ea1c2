#include "fettle/sdk/observed_run.h"

#include <atomic>
#include <mutex>

#include "batcher.h"
#include "core.h"
#include "observed_impl.h"
#include "problem.h"

namespace fettle::sdk {

ObservedRun::Impl::Impl(std::shared_ptr<Client::Core> core_, std::string run_id_)
    : core(std::move(core_)),
      run_id(std::move(run_id_)),
      path("/api/v1/runs/" + url_encoded(run_id)),
      // One request at a time: a step's start comes before its end.
      steps("steps of " + run_id, {.queue_bytes_max = std::size_t{16} * 1024 * 1024}, [this](const std::string& items) {
        return core->caller.post(path + "/steps", "{\"steps\":[" + items + "]}");
      }) {}

void ObservedRun::Impl::report(const StepScope& scope, Json members) {
  members.set("step", scope.step_id()).set("name", scope.name());
  steps.add(members.text(), [this](const Result<Json>& answer) {
    if (answer) return;
    const std::lock_guard lock(mutex);
    if (!undelivered) undelivered = answer.error();
  });
}

Result<void> ObservedRun::Impl::end(Json outcome) {
  {
    const std::lock_guard lock(mutex);
    ended = true;
    outcome.set("tokens", used.tokens).set("cost_usd", used.cost_usd);
  }
  steps.drain();
  const Result<Json> answer = core->caller.post(path + "/end", outcome.text());
  if (!answer) return sdk::fail(answer.error());
  const std::lock_guard lock(mutex);
  if (undelivered) return sdk::fail(*undelivered);
  return {};
}

ObservedRun::ObservedRun(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
ObservedRun::ObservedRun(ObservedRun&&) noexcept = default;
ObservedRun::~ObservedRun() {
  if (impl_ && !impl_->ended) (void)fail(fatal_error("the run was left without an end", "abandoned"));
}

const std::string& ObservedRun::run_id() const { return impl_->run_id; }

Result<Json> ObservedRun::step(std::string_view name, const StepBody& body) {
  Clock& clock = impl_->core->caller.clock();
  StepScope scope(std::string(name), ++impl_->step_count);
  const auto began = clock.now();
  impl_->report(scope, Json::object({{"status", "running"}, {"started_at", rfc3339(clock.wall())}}));
  const Result<Json> result = guarded<Json>([&] { return body(scope); });
  Json members = Json::object({{"status", result ? "succeeded" : "failed"}});
  members.set("duration_ms", std::chrono::round<Milliseconds>(clock.now() - began).count());
  members.set("finished_at", rfc3339(clock.wall()));
  members.set("tokens", scope.used().tokens).set("cost_usd", scope.used().cost_usd);
  if (!result) members.set("error", error_object(result.error()));
  impl_->report(scope, std::move(members));
  return result;
}

void ObservedRun::use(Usage usage) {
  const std::lock_guard lock(impl_->mutex);
  impl_->used.tokens += usage.tokens;
  impl_->used.cost_usd += usage.cost_usd;
}

Result<void> ObservedRun::succeed(Json result) {
  return impl_->end(Json::object({{"status", "succeeded"}, {"result", std::move(result)}}));
}

Result<void> ObservedRun::fail(const Error& error) {
  return impl_->end(Json::object({{"status", "failed"}, {"error", error_object(error)}}));
}

}  // namespace fettle::sdk
