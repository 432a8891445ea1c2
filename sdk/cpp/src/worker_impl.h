// The worker's insides.
//
//   start() ─► register ─► lease (long-poll) ─► buffer ─► handler ─► report
//                             ▲                   │          │
//                             └── room again ◄────┴──────────┘          heartbeats for all that is held, meanwhile
//
// A run of this worker is in `buffer_` (leased, not begun) or running; `held_` is both, and all of it is heartbeated. A
// lease that could not be renewed in time is given up here before the server can give it to another worker.
//
// One thread leases, one sends heartbeats, one sends reports, and `concurrency` run handlers.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "core.h"
#include "fettle/sdk/worker.h"
#include "prefetch.h"
#include "reporter.h"
#include "run_state.h"

namespace fettle::sdk {

struct Worker::Impl : std::enable_shared_from_this<Worker::Impl> {
 public:
  Impl(std::shared_ptr<Client::Core> core, WorkerOptions options);

  Result<void> start();
  void stop(Milliseconds grace);
  void settle() { reporter_.drain(); }
  const std::string& runner_id() const { return options_.runner_id; }
  int running() const;

 private:
  using RunState = std::shared_ptr<Run::State>;
  enum class Phase : std::uint8_t { kNew, kRunning, kDraining, kStopped };

  // The threads.
  void lease_loop();
  void handler_loop();
  void heartbeat_loop();

  Result<void> register_worker();
  Result<void> lease(int count);
  void after_lease_failure(const Error& error);
  int room() const;           // with mutex_ held
  int least_request() const;  // with mutex_ held

  void execute(const RunState& run);
  Result<Json> handle(Run::State& run);
  void conclude(const RunState& run, const Error& error);
  // The last report of this attempt; from here on the run is no longer ours. Whatever became of the lease meanwhile,
  // the report is sent: the server knows by the fence whether it applies, and keeps what comes late.
  void finish(const RunState& run, std::string_view op, Json members);
  void give_back(const std::vector<RunState>& runs);

  void beat();
  Clock::Monotonic expire();  // when the next lease would end

  std::vector<RunState> held();
  void tell(const Error& error) const {
    if (options_.on_error) options_.on_error(error);
  }

  // Constant after construction.
  const std::shared_ptr<Client::Core> core_;
  const WorkerOptions options_;
  Clock& clock_;
  std::stop_source draining_;  // no lease is asked for any more
  std::stop_source cut_;       // nor is the answer of the last one waited for
  std::stop_source ended_;     // no heartbeat is sent any more

  // Of start() and the lease thread.
  std::atomic<std::int64_t> lease_ms_ = 10'000;
  std::atomic<std::int64_t> heartbeat_ms_ = 3'000;
  int failures_ = 0;

  mutable std::mutex mutex_;
  std::condition_variable work_;       // the buffer has gained a run, or the end has come
  std::condition_variable room_made_;  // for the lease thread
  std::condition_variable idle_;       // a handler or the lease thread has come to rest
  // Guarded by mutex_.
  Prefetch prefetch_;
  std::map<std::string, RunState> held_;
  std::deque<RunState> buffer_;
  int running_ = 0;
  bool leasing_ = false;
  Phase phase_ = Phase::kNew;

  Reporter reporter_;  // has a thread whose answers use what is above
  std::vector<std::jthread> threads_;
};

}  // namespace fettle::sdk
