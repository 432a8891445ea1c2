#include "fettle/sdk/worker.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "fettle/sdk/trace.h"
#include "problem.h"
#include "worker_impl.h"

namespace fettle::sdk {

namespace {

constexpr int kLeasesPerRequestMax = 500;
// How long after the promised time the server may take to answer a long-poll.
constexpr Milliseconds kWaitGrace{10'000};
// While more reports than this wait, no new work is taken: the server does not keep up.
constexpr std::size_t kReportsPendingMax = 5'000;
// The lease ends here a little before it ends at the server.
constexpr Milliseconds kLeaseMargin{500};
constexpr RetryPolicy kDrainRetry{.retries_max = 2, .elapsed_max = Milliseconds(3'000)};
// After its stop, a handler has so long to come to an end before its run is given back without it.
constexpr Milliseconds kAbortGrace{2'000};

std::string made_up_runner_id() {
  char host[256] = "";
  gethostname(host, sizeof host - 1);
  return std::string(host) + "-" + std::to_string(getpid()) + "-" + random_uuid().substr(0, 8);
}

WorkerOptions completed(WorkerOptions options) {
  if (options.runner_id.empty()) options.runner_id = made_up_runner_id();
  options.concurrency = std::max(1, options.concurrency);
  return options;
}

Json workflow_names(const WorkerOptions& options) {
  Json::Array names;
  for (const auto& [name, handler] : options.workflows) names.emplace_back(name);
  return names;
}

}  // namespace

Worker::Impl::Impl(std::shared_ptr<Client::Core> core, WorkerOptions options)
    : core_(std::move(core)),
      options_(completed(std::move(options))),
      clock_(core_->caller.clock()),
      prefetch_(options_.concurrency, options_.prefetch_max),
      reporter_(core_->caller, options_.runner_id) {}

int Worker::Impl::running() const {
  const std::lock_guard lock(mutex_);
  return running_;
}

// ---- the beginning and the end

Result<void> Worker::Impl::start() {
  {
    const std::lock_guard lock(mutex_);
    if (phase_ != Phase::kNew) return fail(fatal_error("the worker was started before", "worker_state"));
  }
  if (auto registered = register_worker(); !registered) return registered;
  const std::lock_guard lock(mutex_);
  phase_ = Phase::kRunning;
  // Each holds what it works on: a handler that is left behind finds it whole.
  auto self = shared_from_this();
  threads_.emplace_back([self] { self->lease_loop(); });
  threads_.emplace_back([self] { self->heartbeat_loop(); });
  for (int i = 0; i < options_.concurrency; ++i) threads_.emplace_back([self] { self->handler_loop(); });
  return {};
}

Result<void> Worker::Impl::register_worker() {
  Json body = Json::object({{"runner_id", runner_id()}});
  body.set_if("pool", options_.pool);
  body.set("capacity", options_.concurrency).set("workflows", workflow_names(options_));
  body.set_if("name", options_.name).set_if("version", options_.version);
  const Result<Json> terms = core_->caller.post("/api/v1/workers", body.text());
  if (!terms) return fail(terms.error());
  lease_ms_ = (*terms)["lease_ms"].as_int(lease_ms_);
  heartbeat_ms_ = (*terms)["heartbeat_ms"].as_int(heartbeat_ms_);
  return {};
}

void Worker::Impl::stop(Milliseconds grace) {
  std::vector<RunState> not_begun;
  std::vector<std::jthread> threads;
  {
    std::unique_lock lock(mutex_);
    if (phase_ != Phase::kRunning) {
      if (phase_ == Phase::kNew) phase_ = Phase::kStopped;
      idle_.wait(lock, [this] { return phase_ == Phase::kStopped; });
      return;
    }
    phase_ = Phase::kDraining;
    not_begun.assign(buffer_.begin(), buffer_.end());
    buffer_.clear();
    threads.swap(threads_);
    work_.notify_all();
    room_made_.notify_all();
  }
  draining_.request_stop();
  give_back(not_begun);
  // From here the server leases nothing to us and ends the long-poll that waits.
  const std::string path = "/api/v1/workers/" + url_encoded(runner_id()) + "/drain";
  const Result<Json> drained = core_->caller.post(path, "{}", {.retry = kDrainRetry});
  if (!drained) tell(drained.error());
  const auto wait = [this](Milliseconds duration, auto reached) {
    std::unique_lock lock(mutex_);
    return idle_.wait_for(lock, duration, reached);
  };
  wait(kAbortGrace, [this] { return !leasing_; });
  cut_.request_stop();
  bool idle = wait(grace, [this] { return running_ == 0; });
  if (!idle) {
    for (const RunState& run : held()) run->stop(stop_error(ErrorKind::kShutdown));
    idle = wait(kAbortGrace, [this] { return running_ == 0; });
    if (!idle) give_back(held());
  }
  reporter_.drain();
  // Whoever ends well is not to be counted as lost. Nothing hangs on it: the server forgets us in time.
  (void)core_->caller.remove("/api/v1/workers/" + url_encoded(runner_id()), {.retry = kDrainRetry});
  ended_.request_stop();
  for (std::jthread& thread : threads) {
    if (!idle) thread.detach();
  }
  threads.clear();
  const std::lock_guard lock(mutex_);
  phase_ = Phase::kStopped;
  idle_.notify_all();
}

// Ready again at once for another worker, without counting as a retry.
void Worker::Impl::give_back(const std::vector<RunState>& runs) {
  for (const RunState& run : runs) finish(run, "release", Json::object({{"reason", "shutdown"}}));
}

std::vector<Worker::Impl::RunState> Worker::Impl::held() {
  const std::lock_guard lock(mutex_);
  std::vector<RunState> all;
  for (const auto& [id, run] : held_) all.push_back(run);
  return all;
}

// ---- leasing

void Worker::Impl::lease_loop() {
  while (true) {
    int count = 0;
    {
      std::unique_lock lock(mutex_);
      leasing_ = false;
      idle_.notify_all();
      room_made_.wait(lock, [this] { return phase_ != Phase::kRunning || room() >= least_request(); });
      if (phase_ != Phase::kRunning) return;
      leasing_ = true;
      count = std::min(room(), kLeasesPerRequestMax);
    }
    if (const auto leased = lease(count)) {
      failures_ = 0;
    } else if (!draining_.stop_requested()) {
      tell(leased.error());
      after_lease_failure(leased.error());
    }
  }
}

int Worker::Impl::room() const {
  if (reporter_.pending() > kReportsPendingMax) return 0;
  return prefetch_.limit() - running_ - static_cast<int>(buffer_.size());
}

int Worker::Impl::least_request() const { return prefetch_.least_request(running_ + static_cast<int>(buffer_.size())); }

Result<void> Worker::Impl::lease(int count) {
  Json body = Json::object({{"runner_id", runner_id()}});
  body.set_if("pool", options_.pool);
  body.set("workflows", workflow_names(options_)).set("max", count);
  body.set("wait_ms", options_.wait.count()).set("payloads", true);
  const Result<Json> answer = core_->caller.post(
      "/api/v1/work/lease", body.text(),
      {.timeout = options_.wait + kWaitGrace, .retry = kNoRetry, .stop = cut_.get_token(), .long_poll = true});
  if (!answer) return fail(answer.error());
  // A long-poll says nothing of when, while it waited, the lease began; the answer's way here is within the margin, and
  // the first heartbeat sets an exact bound.
  const auto deadline = clock_.now() + Milliseconds(lease_ms_) - kLeaseMargin;
  const Run::State::Services services{*core_, reporter_, options_.step_log, options_.on_error};
  std::vector<RunState> runs;
  for (const Json& lease : (*answer)["leases"].items()) {
    runs.push_back(std::make_shared<Run::State>(lease, deadline, services));
  }
  bool working = false;
  {
    const std::lock_guard lock(mutex_);
    working = phase_ == Phase::kRunning;
    for (const RunState& run : runs) {
      RunState& held = held_[run->run_id];
      if (held) held->stop(stop_error(ErrorKind::kLeaseLost));  // leased to us anew: the older fence is gone
      held = run;
      if (!working) continue;
      buffer_.push_back(run);
      work_.notify_one();
    }
  }
  if (!working) give_back(runs);
  return {};
}

void Worker::Impl::after_lease_failure(const Error& error) {
  const Milliseconds wait =
      std::max(error.retry_after.value_or(Milliseconds(0)), full_jitter(kCallRetry, failures_++, clock_.random()));
  if (!clock_.sleep(draining_.get_token(), wait)) return;
  // A server that was restarted without its memory of us, or that has called us lost.
  if (error.status == 404 || error.status == 409) {
    if (const auto again = register_worker(); !again) tell(again.error());
  }
}

// ---- running

void Worker::Impl::handler_loop() {
  while (true) {
    RunState run;
    {
      std::unique_lock lock(mutex_);
      work_.wait(lock, [this] { return !buffer_.empty() || phase_ != Phase::kRunning; });
      if (buffer_.empty()) return;
      run = std::move(buffer_.front());
      buffer_.pop_front();
      ++running_;
    }
    const auto begin = clock_.now();
    if (const auto reason = run->stop_reason()) {
      conclude(run, *reason);
    } else {
      execute(run);
    }
    const std::lock_guard lock(mutex_);
    --running_;
    prefetch_.ran(clock_.now() - begin);
    room_made_.notify_one();
    if (running_ == 0) idle_.notify_all();
  }
}

void Worker::Impl::execute(const RunState& run) {
  const Result<Json> result = handle(*run);
  if (result) {
    finish(run, "complete", Json::object({{"result", *result}}));
  } else if (result.error().kind == ErrorKind::kSuspended && run->suspension) {
    finish(run, run->suspension->op, run->suspension->members);
  } else {
    conclude(run, result.error());
  }
}

Result<Json> Worker::Impl::handle(Run::State& run) {
  const auto handler = options_.workflows.find(run.workflow);
  if (handler == options_.workflows.end()) {
    return fail(fatal_error("this worker has no workflow " + run.workflow, "unknown_workflow"));
  }
  const Carrying carrying({run.text("traceparent"), run.text("tracestate"), run.text("baggage"), run.correlation_id});
  Run view(run);
  return guarded<Json>([&] { return handler->second(view); });
}

// The handler has failed.
void Worker::Impl::conclude(const RunState& run, const Error& error) {
  const auto reason = run->stop_reason();
  if (reason && (reason->kind == ErrorKind::kShutdown || reason->kind == ErrorKind::kStopped)) {
    finish(run, "release", Json::object({{"reason", reason->code}}));
  } else {
    finish(run, "fail", Json::object({{"error", error_object(reason.value_or(error))}}));
  }
}

void Worker::Impl::finish(const RunState& run, std::string_view op, Json members) {
  {
    const std::lock_guard lock(run->mutex);
    if (run->finished) return;  // given back while its handler did not heed the stop
    run->finished = true;
  }
  {
    const std::lock_guard lock(mutex_);
    const auto held = held_.find(run->run_id);
    if (held != held_.end() && held->second == run) held_.erase(held);
  }
  if (op == "asked") return;  // the lease has ended with the question
  run->add_spent(members);
  run->report(op, members, [this, run](const Result<Json>& answer) {
    if (!answer && !answer.error().is_late()) tell(answer.error());
    const std::lock_guard lock(mutex_);
    room_made_.notify_one();
  });
}

// ---- heartbeats

void Worker::Impl::heartbeat_loop() {
  auto next_beat = clock_.now() + Milliseconds(heartbeat_ms_);
  auto next_expiry = next_beat;
  while (true) {
    const auto wait = std::chrono::ceil<Milliseconds>(std::min(next_beat, next_expiry) - clock_.now());
    if (!clock_.sleep(ended_.get_token(), wait)) return;
    if (clock_.now() >= next_beat) {
      beat();
      next_beat = clock_.now() + Milliseconds(heartbeat_ms_);
    }
    next_expiry = expire();
  }
}

void Worker::Impl::beat() {
  // Counted from before it is sent.
  const auto deadline = clock_.now() + Milliseconds(lease_ms_) - kLeaseMargin;
  for (const RunState& run : held()) {
    std::optional<Json> progress;
    {
      const std::lock_guard lock(run->mutex);
      if (run->beating || run->late || run->asking) continue;  // one is on its way, or in vain
      run->beating = true;
      progress.swap(run->progressed);
    }
    Json members = Json::object();
    if (progress) members.set("progress", *progress);
    run->report("heartbeat", members, [run, progress, deadline](const Result<Json>& answer) {
      {
        const std::lock_guard lock(run->mutex);
        run->beating = false;
        if (answer) run->deadline = deadline;
        if (!answer && !run->progressed) run->progressed = progress;
      }
      run->heed(answer);
    });
  }
}

// Stops the runs whose lease has ended for want of heartbeats.
Clock::Monotonic Worker::Impl::expire() {
  const auto now = clock_.now();
  auto next = Clock::Monotonic::max();
  for (const RunState& run : held()) {
    Clock::Monotonic deadline;
    {
      const std::lock_guard lock(run->mutex);
      if (run->reason) continue;
      deadline = run->deadline;
    }
    if (now < deadline) {
      next = std::min(next, deadline);
      continue;
    }
    Error error = stop_error(ErrorKind::kLeaseLost);
    error.message = "no heartbeat reached the server in time: the lease counts as lost";
    run->stop(std::move(error));
  }
  return next;
}

// ---- the public face

Worker::Worker(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
Worker::Worker(Worker&&) noexcept = default;
Worker::~Worker() {
  if (impl_) impl_->stop(kGrace);
}

const std::string& Worker::runner_id() const { return impl_->runner_id(); }
int Worker::running() const { return impl_->running(); }
Result<void> Worker::start() { return impl_->start(); }
void Worker::stop(Milliseconds grace) { impl_->stop(grace); }
void Worker::settle() { impl_->settle(); }

namespace {

int signal_pipe[2] = {-1, -1};

// Only what may be done in a signal handler: one byte says that it came.
void on_signal(int) {
  const int before = errno;
  const char byte = 0;
  [[maybe_unused]] const auto written = write(signal_pipe[1], &byte, 1);
  errno = before;
}

}  // namespace

Result<void> Worker::run(Milliseconds grace) {
  if (pipe(signal_pipe) != 0) return fail(fatal_error("no pipe for signals", "no_pipe"));
  struct sigaction action{};
  struct sigaction before_term{};
  struct sigaction before_int{};
  action.sa_handler = on_signal;
  sigaction(SIGTERM, &action, &before_term);
  sigaction(SIGINT, &action, &before_int);
  const Result<void> started = start();
  if (started) {
    char byte = 0;
    while (read(signal_pipe[0], &byte, 1) < 0 && errno == EINTR) {
    }
    stop(grace);
  }
  sigaction(SIGTERM, &before_term, nullptr);
  sigaction(SIGINT, &before_int, nullptr);
  for (int& end : signal_pipe) close(std::exchange(end, -1));
  return started;
}

}  // namespace fettle::sdk
