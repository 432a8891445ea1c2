// Leases runs, runs their handlers, and tells the server how they went.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "fettle/sdk/run.h"

namespace fettle::sdk {

// The result of the run, or why it failed. May throw; that is a failure as well.
using Handler = std::function<Result<Json>(Run&)>;

struct WorkerOptions {
  std::map<std::string, Handler, std::less<>> workflows;
  std::string pool;
  int concurrency = 10;  // handlers that run at once, each on a thread
  // Leases held beyond that, at most. The worker takes only as many as it expects to begin within a tenth of a second.
  int prefetch_max = 1'000;
  std::string runner_id;  // made up when empty
  std::string name;
  std::string version;
  // Gets the two lines of each step, each without its line break; see step_log.h. Called by many threads at once.
  std::function<void(std::string_view line)> step_log;
  // What goes wrong beside the runs themselves: the server away, a report refused. The worker goes on.
  std::function<void(const Error&)> on_error;
  Milliseconds wait{20'000};  // of a long poll
};

inline constexpr Milliseconds kGrace{30'000};

// Client::worker() makes it. Threads may call any member. The destructor stops it.
class Worker {
 public:
  struct Impl;
  explicit Worker(std::shared_ptr<Impl> impl);
  ~Worker();
  Worker(Worker&&) noexcept;
  Worker& operator=(Worker&&) = delete;

  const std::string& runner_id() const;
  int running() const;  // handlers that run now

  // Registers and begins to take work. Fails when the server refuses (a token without the right, say).
  Result<void> start();

  // Takes no more work, gives back what it has not begun, and lets what runs finish for `grace`; then stops it with
  // kShutdown and gives it back: completed steps stay, so another worker resumes there. Returns when all is reported. A
  // handler that does not heed its stop for two more seconds is left behind on its thread.
  void stop(Milliseconds grace = kGrace);

  // Works until SIGTERM or SIGINT, then stops gracefully. One at a time in a process.
  Result<void> run(Milliseconds grace = kGrace);

  // Returns when everything that handlers have reported until now has been answered.
  void settle();

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace fettle::sdk
