#include "enqueuer.h"

#include <algorithm>
#include <deque>

#include "fettle/sdk/trace.h"
#include "problem.h"

namespace fettle::sdk {

namespace {

// Smaller than they could be, and two under way: the server stores one while the next is being written.
constexpr std::size_t kRunsPerRequestMax = 500;
constexpr std::size_t kRequestBytesMax = std::size_t{2} * 1024 * 1024;
constexpr std::size_t kRequestsInFlight = 2;
// Of enqueue_many(), which must not fill the queue for others.
constexpr std::size_t kRunsInFlight = 4 * kRunsPerRequestMax;

Result<EnqueuedRun> enqueued(const Result<Json>& answer) {
  if (!answer) return fail(answer.error());
  return EnqueuedRun{.run_id = std::string((*answer)["run_id"].as_string()),
                     .state = std::string((*answer)["state"].as_string()),
                     .created = (*answer)["created"].as_bool(true)};
}

}  // namespace

Result<Json> run_members(const NewRun& run) {
  if (run.workflow.empty()) return fail(invalid_value("a run needs a workflow"));
  const Carried& carried = carried_now();
  Json made = Json::object({{"workflow", run.workflow}});
  made.set_if("client_id", run.client_id);
  made.set_if("platform", run.platform);
  made.set_if("lane", run.lane);
  made.set_if("agent", run.agent);
  made.set_if("model", run.model);
  if (!run.payload.is_null()) made.set("payload", run.payload);
  if (run.priority) made.set("priority", *run.priority);
  if (run.run_at) made.set("run_at", rfc3339(*run.run_at));
  if (run.max_retries) made.set("max_retries", *run.max_retries);
  Json retry;
  if (run.retry.base) retry.set("base_ms", run.retry.base->count());
  if (run.retry.factor) retry.set("factor", *run.retry.factor);
  if (run.retry.cap) retry.set("cap_ms", run.retry.cap->count());
  if (run.retry.elapsed_max) retry.set("elapsed_max_ms", run.retry.elapsed_max->count());
  if (retry.is_object()) made.set("retry", std::move(retry));
  made.set_if("concurrency_key", run.concurrency_key);
  made.set_if("idempotency_key", run.idempotency_key);
  made.set_if("correlation_id", run.correlation_id.empty() ? carried.correlation_id : run.correlation_id);
  made.set_if("job_id", run.job_id);
  made.set_if("request_id", run.request_id);
  made.set_if("traceparent", carried.traceparent);
  made.set_if("tracestate", carried.tracestate);
  made.set_if("baggage", carried.baggage);
  if (!run.trigger.source.empty()) {
    made.set("trigger", Json::object({{"source", run.trigger.source}}).set_if("event_key", run.trigger.event_key));
  }
  if (run.timeout) made.set("timeout_ms", run.timeout->count());
  made.set_if("pool", run.pool);
  return made;
}

Enqueuer::Enqueuer(Caller& caller, std::size_t queue_items_max)
    : batcher_(
          "enqueue",
          {.items_max = kRunsPerRequestMax,
           .bytes_max = kRequestBytesMax,
           .queue_items_max = queue_items_max,
           .in_flight_max = kRequestsInFlight},
          [&caller](const std::string& items) { return caller.post("/api/v1/runs", "{\"runs\":[" + items + "]}"); }) {}

std::future<Result<EnqueuedRun>> Enqueuer::submit(const NewRun& run) {
  auto promise = std::make_shared<std::promise<Result<EnqueuedRun>>>();
  std::future<Result<EnqueuedRun>> future = promise->get_future();
  const Result<Json> members = run_members(run);
  if (!members) {
    promise->set_value(fail(members.error()));
  } else {
    batcher_.add(members->text(), [promise](const Result<Json>& answer) { promise->set_value(enqueued(answer)); });
  }
  return future;
}

std::vector<Result<EnqueuedRun>> Enqueuer::enqueue_many(std::span<const NewRun> runs) {
  std::vector<Result<EnqueuedRun>> results;
  results.reserve(runs.size());
  std::deque<std::future<Result<EnqueuedRun>>> under_way;
  for (const NewRun& run : runs) {
    under_way.push_back(submit(run));
    if (under_way.size() < kRunsInFlight) continue;
    results.push_back(under_way.front().get());
    under_way.pop_front();
  }
  for (auto& future : under_way) results.push_back(future.get());
  return results;
}

}  // namespace fettle::sdk
