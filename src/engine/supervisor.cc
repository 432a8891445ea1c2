#include "engine/supervisor.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <thread>
#include <utility>

#include "core/log.h"
#include "core/mutex.h"
#include "engine/child.h"
#include "engine/config.h"
#include "http/client.h"

namespace fettle::engine {
namespace {

using std::chrono::milliseconds;
using SteadyClock = std::chrono::steady_clock;

// An engine that has stayed up this long starts again at once when it goes.
constexpr milliseconds kSettledAfter{60'000};
constexpr milliseconds kRestartDrainTimeMax{2'000};
constexpr std::size_t kSocketPathBytesMax = 107;  // sun_path without its terminating zero
constexpr int kExitCannotLoad = 127;              // the dynamic loader's
constexpr int kHealthFailuresMax = 2;
// Above the budget by this much the child is restarted: its statements stop at two thirds, so only a leak gets here.
constexpr std::uint64_t kCeilingPercent = 130;
// The engine's allocator keeps freed pages for as long as nothing asks it: 180 MiB after an hour's worth of inserts.
constexpr std::uint64_t kPurgeAfterGrowth = std::uint64_t{48} * 1024 * 1024;

// Replaces the file in one step; nobody but us may read it.
Result<void> write_private(const std::filesystem::path& path, std::string_view text) {
  const std::string temporary = path.string() + ".new";
  const auto refuse = [&](std::string_view what) {
    return fail(ErrorCode::kUnavailable, fmt::format("cannot {} {}: {}", what, temporary, strerror(errno)));
  };
  {
    const Fd file(open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (file.get() < 0) return refuse("create");
    if (fchmod(file.get(), 0600) != 0) return refuse("protect");
    while (!text.empty()) {
      const ssize_t written = write(file.get(), text.data(), text.size());
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) return refuse("write");
      text.remove_prefix(static_cast<std::size_t>(written));
    }
  }
  if (rename(temporary.c_str(), path.c_str()) != 0) return refuse("rename");
  return {};
}

std::filesystem::path beside_this_program() {
  std::error_code error;
  return std::filesystem::read_symlink("/proc/self/exe", error).parent_path() / "fettle-engine";
}

// Adds what to do about it to the engine's own words.
std::string advise(std::string_view said, std::string_view ended, const std::filesystem::path& data) {
  if (said.empty() && ended == fmt::format("exit code {}", kExitCannotLoad)) {
    return "libchdb.so is missing or cannot be loaded: run ./dev setup, or install Fettle again";
  }
  if (said.empty()) return fmt::format("it ended with {} before it was ready", ended);
  if (said.find("Cannot lock file") != std::string_view::npos) {
    return fmt::format("another engine is using {}: stop the other Fettle first ({})", data.string(), said);
  }
  if (said.find("No space left") != std::string_view::npos) {
    return fmt::format("the disk that holds {} is full: free some space ({})", data.string(), said);
  }
  return std::string(said);
}

}  // namespace

std::string_view to_string(State state) {
  switch (state) {
    case State::kDown: return "down";
    case State::kStarting: return "starting";
    case State::kUp: return "up";
    case State::kRestarting: return "restarting";
  }
  return "down";
}

struct Supervisor::Impl {
  Impl(SupervisorOptions given, metrics::Registry& metrics);

  Result<void> write_files(const std::vector<std::string>& names);
  void run();
  // Starts a child and waits until it says that it is ready. Returns why not.
  Result<Child> launch();
  enum class Watch { kEnded, kRestart, kStop };
  Watch watch(Child& child);
  // What the looks at one child remember.
  struct Health {
    int failures = 0;
    std::uint64_t resident_after_purge = 0;
    std::chrono::steady_clock::time_point purged_at{};
  };
  std::string unwell(Child& child, Health& health, const std::stop_token& stop);
  void purge(http::Client& client, Child& child, Health& health, const std::stop_token& stop);
  void end(Child& child, milliseconds deadline);
  // Has the thread end the child and itself, wherever it is.
  void request_stop(milliseconds deadline);
  bool wait_woken(milliseconds time_max);
  void wake() const;
  void set_state(State next);

  SupervisorOptions options;
  const std::filesystem::path folder;
  const std::filesystem::path socket;
  const Fd woken;
  metrics::Gauge& up_gauge;
  metrics::Gauge& resident_gauge;
  metrics::Counter& restarts_counter;

  mutable Mutex mutex;
  Condition changed;
  Status status FETTLE_GUARDED_BY(mutex);
  std::vector<std::string> tables FETTLE_GUARDED_BY(mutex);
  std::string restart_reason FETTLE_GUARDED_BY(mutex);
  bool is_stopping FETTLE_GUARDED_BY(mutex) = false;
  std::stop_source stopping FETTLE_GUARDED_BY(mutex);  // the same, for requests to the child that does not answer
  milliseconds stop_time_max FETTLE_GUARDED_BY(mutex){};
  // The names that the running child's users file has, or that of the one being started.
  std::vector<std::string> tables_of_child FETTLE_GUARDED_BY(mutex);
  bool has_gone_for_good FETTLE_GUARDED_BY(mutex) = false;

  std::jthread thread;
};

Supervisor::Impl::Impl(SupervisorOptions given, metrics::Registry& metrics)
    : options(std::move(given)),
      folder((std::filesystem::absolute(options.data_dir) / "engine").lexically_normal()),
      socket(folder / "engine.sock"),
      woken(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      up_gauge(metrics.gauge("fettle_engine_up", "1 while the embedded engine answers.")),
      resident_gauge(metrics.gauge("fettle_engine_resident_bytes", "Resident memory of the embedded engine.")),
      restarts_counter(metrics.counter("fettle_engine_restarts_total", "Restarts of the embedded engine.")) {
  if (options.program.empty()) options.program = beside_this_program();
}

Result<void> Supervisor::Impl::write_files(const std::vector<std::string>& names) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (!error) std::filesystem::permissions(folder, std::filesystem::perms::owner_all, error);
  if (error) {
    return fail(ErrorCode::kUnavailable,
                fmt::format("cannot make the folder {}: {}", folder.string(), error.message()));
  }
  const Sizes sizes{.memory_bytes = options.memory_bytes,
                    .cores = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()))};
  auto users = users_config(sizes, names);
  if (!users) return std::unexpected(std::move(users).error());
  if (auto written = write_private(folder / "users.xml", *users); !written) return written;
  return write_private(folder / "config.xml",
                       server_config(sizes, (folder / "users.xml").string(), (folder / "backups").string()));
}

void Supervisor::Impl::wake() const {
  const std::uint64_t one = 1;
  if (write(woken.get(), &one, sizeof one) < 0) log::error("engine_supervisor_not_woken");
}

// Sleeps at most `time_max`; true when somebody called.
bool Supervisor::Impl::wait_woken(milliseconds time_max) {
  pollfd waited{.fd = woken.get(), .events = POLLIN, .revents = 0};
  poll(&waited, 1, static_cast<int>(time_max.count()));
  std::uint64_t count = 0;
  return read(woken.get(), &count, sizeof count) > 0;
}

void Supervisor::Impl::set_state(State next) {
  MutexLock lock(mutex);
  status.state = next;
  up_gauge.set(next == State::kUp ? 1 : 0);
  if (next != State::kUp) status.resident_bytes = 0;
  changed.notify_all();
}

Result<Child> Supervisor::Impl::launch() {
  std::vector<std::string> arguments = {"--data",   (folder / "data").string(),      "--socket", socket.string(),
                                        "--config", (folder / "config.xml").string()};
  if (!options.tcp.empty()) {
    for (const std::string& argument :
         {std::string("--tcp"), options.tcp, std::string("--tcp-tokens"), options.tcp_tokens}) {
      arguments.push_back(argument);
    }
  }
  {
    MutexLock lock(mutex);
    tables_of_child = tables;
    restart_reason.clear();  // a child that is new has done what was asked
  }
  std::error_code error;
  std::filesystem::remove(socket, error);  // left behind by a killed engine
  auto child = Child::start(options.program, std::move(arguments));
  if (!child) return child;
  {
    MutexLock lock(mutex);
    status.pid = child->pid();
  }
  std::string said;
  const auto deadline = SteadyClock::now() + options.start_time_max;
  while (true) {
    const auto left = std::chrono::duration_cast<milliseconds>(deadline - SteadyClock::now());
    pollfd waited[2] = {{.fd = child->ready_fd(), .events = POLLIN, .revents = 0},
                        {.fd = woken.get(), .events = POLLIN, .revents = 0}};
    const int count = left.count() > 0 ? poll(waited, 2, static_cast<int>(left.count())) : 0;
    if (count < 0 && errno == EINTR) continue;
    if ((waited[1].revents & POLLIN) != 0) {
      wait_woken(milliseconds(0));
      bool must_stop = false;
      {
        MutexLock lock(mutex);
        must_stop = is_stopping;
      }
      if (must_stop) {
        child->send(SIGKILL);
        child->reap();
        return fail(ErrorCode::kCancelled, "it was stopped while it started");
      }
    }
    if (count > 0 && waited[0].revents == 0) continue;
    if (count <= 0) {
      child->send(SIGKILL);
      child->reap();
      return fail(ErrorCode::kDeadlineExceeded,
                  fmt::format("it was not ready within {} ms", options.start_time_max.count()));
    }
    char buffer[4096];
    const ssize_t got = read(child->ready_fd(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got > 0) said.append(buffer, static_cast<std::size_t>(got));
    if (got <= 0) break;
  }
  if (said == "ready") return child;
  const std::string ended = child->reap();
  return fail(ErrorCode::kUnavailable, advise(said, ended, folder));
}

// Empty while all is well; otherwise why the child should be started again.
std::string Supervisor::Impl::unwell(Child& child, Health& health, const std::stop_token& stop) {
  http::Client client("unix:" + socket.string(), {.connect_time_max = options.health_time_max});
  purge(client, child, health, stop);
  const std::uint64_t resident = child.resident_bytes();
  resident_gauge.set(static_cast<double>(resident));
  {
    MutexLock lock(mutex);
    status.resident_bytes = resident;
  }
  if (resident > options.memory_bytes / 100 * kCeilingPercent) {
    return fmt::format("it is resident with {} MiB, above its ceiling", resident / (1024 * 1024));
  }
  auto answer = client.send({.target = "/health", .time_max = options.health_time_max, .stop = stop});
  if (answer && answer->status == 200) {
    health.failures = 0;
    return {};
  }
  if (stop.stop_requested()) return {};
  const std::string why = answer ? answer->body : answer.error().message();
  if (++health.failures < kHealthFailuresMax) {
    log::warning("engine_unwell", {{"error", why}});
    return {};
  }
  return "it is unwell: " + why;
}

// Has the engine give freed memory back once it has grown.
void Supervisor::Impl::purge(http::Client& client, Child& child, Health& health, const std::stop_token& stop) {
  const auto now = SteadyClock::now();
  if (health.resident_after_purge == 0) health.resident_after_purge = child.resident_bytes();
  if (now - health.purged_at < options.purge_interval ||
      child.resident_bytes() < health.resident_after_purge + kPurgeAfterGrowth) {
    return;
  }
  health.purged_at = now;
  const auto answer = client.send({.method = "POST",
                                   .target = "/",
                                   .body = {"SYSTEM JEMALLOC PURGE"},
                                   .time_max = options.health_time_max,
                                   .stop = stop});
  if (!answer) return;  // the look at its health that follows says more
  health.resident_after_purge = child.resident_bytes();
}

Supervisor::Impl::Watch Supervisor::Impl::watch(Child& child) {
  Health health;
  std::stop_token stop;
  {
    MutexLock lock(mutex);
    stop = stopping.get_token();
  }
  auto next_look = SteadyClock::now();
  while (true) {
    {
      MutexLock lock(mutex);
      if (is_stopping) return Watch::kStop;
      if (!restart_reason.empty()) {
        status.last_error = std::exchange(restart_reason, {});
        return Watch::kRestart;
      }
    }
    if (SteadyClock::now() >= next_look) {
      if (const std::string why = unwell(child, health, stop); !why.empty()) {
        MutexLock lock(mutex);
        if (is_stopping) return Watch::kStop;
        status.last_error = why;
        return Watch::kRestart;
      }
      next_look = SteadyClock::now() + options.health_interval;
    }
    const auto left = std::chrono::ceil<milliseconds>(next_look - SteadyClock::now());
    pollfd waited[2] = {{.fd = child.pid_fd(), .events = POLLIN, .revents = 0},
                        {.fd = woken.get(), .events = POLLIN, .revents = 0}};
    poll(waited, 2, static_cast<int>(std::max<milliseconds::rep>(left.count(), 0)));
    if ((waited[1].revents & POLLIN) != 0) wait_woken(milliseconds(0));
    if ((waited[0].revents & POLLIN) != 0) return Watch::kEnded;
  }
}

void Supervisor::Impl::end(Child& child, milliseconds deadline) {
  child.send(SIGTERM);
  pollfd waited{.fd = child.pid_fd(), .events = POLLIN, .revents = 0};
  if (poll(&waited, 1, static_cast<int>(deadline.count())) <= 0) {
    log::warning("engine_killed", {{"pid", child.pid()}, {"after_ms", deadline.count()}});
    child.send(SIGKILL);
  }
  child.reap();
}

void Supervisor::Impl::run() {
  milliseconds backoff{0};
  bool was_up = false;
  while (true) {
    {
      MutexLock lock(mutex);
      if (is_stopping) break;
    }
    const auto began = SteadyClock::now();
    auto child = launch();
    if (!child) {
      if (was_up) log::error("engine_not_started", {{"error", child.error().message()}});
      MutexLock lock(mutex);
      status.pid = 0;
      status.last_error = child.error().message();
      // What never ran will not run by being tried again at once: tell start(), whose caller decides and logs.
      if (!was_up) break;
    } else {
      const auto took = std::chrono::duration_cast<milliseconds>(SteadyClock::now() - began);
      log::info("engine_up", {{"pid", child->pid()}, {"took_ms", took.count()}});
      was_up = true;
      set_state(State::kUp);
      const Watch outcome = watch(*child);
      milliseconds deadline = kRestartDrainTimeMax;
      if (outcome == Watch::kStop) {
        MutexLock lock(mutex);
        deadline = stop_time_max;
      }
      set_state(outcome == Watch::kStop ? State::kDown : State::kRestarting);
      if (outcome == Watch::kEnded) {
        const std::string ended = child->reap();
        MutexLock lock(mutex);
        status.last_error = "it ended with " + ended;
      } else {
        end(*child, deadline);
      }
      MutexLock lock(mutex);
      status.pid = 0;
      if (outcome == Watch::kStop) break;
      log::warning("engine_restarting", {{"reason", status.last_error}});
      if (SteadyClock::now() - began > kSettledAfter || outcome == Watch::kRestart) backoff = milliseconds(0);
    }
    {
      MutexLock lock(mutex);
      ++status.restarts;
    }
    restarts_counter.add();
    if (backoff.count() > 0) wait_woken(backoff);
    backoff = std::clamp(backoff * 2, options.backoff_min, options.backoff_max);
  }
  MutexLock lock(mutex);
  status.state = State::kDown;
  up_gauge.set(0);
  has_gone_for_good = true;
  changed.notify_all();
}

Supervisor::Supervisor(SupervisorOptions options, metrics::Registry& metrics)
    : impl_(std::make_unique<Impl>(std::move(options), metrics)) {}

Supervisor::~Supervisor() { stop(kRestartDrainTimeMax); }

Result<void> Supervisor::check() const {
  if (!__builtin_cpu_supports("avx2")) {
    return fail(
        ErrorCode::kUnavailable,
        "the embedded engine needs a processor with AVX2, which this one (or its virtual machine) does not show: "
        "use a ClickHouse server instead, by telemetry.url");
  }
  if (impl_->socket.string().size() > kSocketPathBytesMax) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("the path {} is too long for a socket: use a data folder with a shorter one",
                            impl_->socket.string()));
  }
  if (std::error_code error; !std::filesystem::exists(impl_->options.program, error)) {
    return fail(ErrorCode::kUnavailable,
                fmt::format("the program {} is missing: install Fettle again", impl_->options.program.string()));
  }
  return {};
}

Result<void> Supervisor::start(const std::vector<std::string>& tables, const std::stop_token& stop) {
  if (auto possible = check(); !possible) return possible;
  if (auto written = impl_->write_files(tables); !written) return written;
  if (impl_->thread.joinable()) impl_->thread.join();
  {
    MutexLock lock(impl_->mutex);
    impl_->tables = tables;
    impl_->is_stopping = false;
    impl_->stopping = std::stop_source();
    impl_->has_gone_for_good = false;
    impl_->status.state = State::kStarting;
    impl_->restart_reason.clear();
    impl_->thread = std::jthread([impl = impl_.get()] { impl->run(); });
  }
  const std::stop_callback on_stop(stop, [impl = impl_.get()] { impl->request_stop(kRestartDrainTimeMax); });
  MutexLock lock(impl_->mutex);
  while (impl_->status.state == State::kStarting && !impl_->has_gone_for_good) impl_->changed.wait(lock);
  if (!impl_->has_gone_for_good) return {};
  return fail(ErrorCode::kUnavailable, "the engine did not start: " + impl_->status.last_error);
}

void Supervisor::restart(std::string_view reason) {
  MutexLock lock(impl_->mutex);
  if (impl_->status.state != State::kUp) return;
  impl_->restart_reason = reason.empty() ? "it was asked to" : reason;
  impl_->wake();
}

Result<void> Supervisor::set_tables(const std::vector<std::string>& tables) {
  {
    MutexLock lock(impl_->mutex);
    if (impl_->tables == tables) return {};
  }
  if (auto written = impl_->write_files(tables); !written) return written;
  MutexLock lock(impl_->mutex);
  impl_->tables = tables;
  if (impl_->status.state == State::kDown) return {};
  impl_->restart_reason = "the row filters are new";
  impl_->wake();
  while (!impl_->has_gone_for_good && (impl_->status.state != State::kUp || impl_->tables_of_child != tables)) {
    impl_->changed.wait(lock);
  }
  if (impl_->has_gone_for_good) return fail(ErrorCode::kUnavailable, "the engine is down: " + impl_->status.last_error);
  return {};
}

void Supervisor::Impl::request_stop(milliseconds deadline) {
  std::stop_source requests;
  {
    MutexLock lock(mutex);
    is_stopping = true;
    stop_time_max = deadline;
    requests = stopping;
    wake();
  }
  requests.request_stop();
}

void Supervisor::stop(milliseconds deadline) {
  impl_->request_stop(deadline);
  if (impl_->thread.joinable()) impl_->thread.join();
}

Status Supervisor::status() const {
  MutexLock lock(impl_->mutex);
  return impl_->status;
}

std::string Supervisor::base_url() const { return "unix:" + impl_->socket.string(); }

}  // namespace fettle::engine
