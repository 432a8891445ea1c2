// Starts, watches, bounds and restarts the embedded engine.
//
//   engine::Supervisor supervisor({.data_dir = dir}, metrics);
//   auto started = supervisor.start(telemetry::table_names());      // returns once the engine answers
//   telemetry::Client client(supervisor.base_url());
//   …
//   supervisor.stop(std::chrono::seconds(5));
//
// The child is started from a thread that lives as long as the Supervisor, because the kernel's parent-death signal
// follows the thread, and that thread sleeps until the child ends, somebody calls, or the next look at its health is
// due. Any doubt is a reason to restart: an answer that does not come, a statement that cannot be killed, memory over
// its ceiling. A restart takes well under a second, and callers see it as a connection that breaks.
//
//   kStarting ──ready──▶ kUp ──ended, unwell, restart()──▶ kRestarting ──ready──▶ kUp
//       │ failed           └──stop()──▶ kDown                   │ failed: again after the back-off
//       └──▶ kDown                                              └──stop()──▶ kDown
//
// Thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/metrics.h"

namespace fettle::engine {

enum class State : std::uint8_t { kDown, kStarting, kUp, kRestarting };
std::string_view to_string(State state);

struct SupervisorOptions {
  std::filesystem::path data_dir;  // the server's own; the engine's files are in data_dir/engine
  std::filesystem::path program;   // empty: fettle-engine beside the running program
  // What the child may be resident with. Its statements get 65 % of it; at 130 % it is restarted.
  std::uint64_t memory_bytes = std::uint64_t{1} << 30;
  std::string tcp;         // "127.0.0.1:8123" for the user's own tools; empty: none
  std::string tcp_tokens;  // the token file that goes with it
  std::chrono::milliseconds start_time_max{20'000};
  std::chrono::milliseconds health_interval{5'000};
  std::chrono::milliseconds health_time_max{5'000};
  std::chrono::milliseconds purge_interval{30'000};  // at most this often is freed memory given back to the system
  std::chrono::milliseconds backoff_min{100};
  std::chrono::milliseconds backoff_max{10'000};
};

struct Status {
  State state = State::kDown;
  int restarts = 0;
  int pid = 0;  // 0 when there is no child
  std::uint64_t resident_bytes = 0;
  std::string last_error;  // why it last went down; empty if it never did
};

class Supervisor {
 public:
  Supervisor(SupervisorOptions options, metrics::Registry& metrics);
  ~Supervisor();
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  // Fails for what no waiting mends: kUnavailable when the program is missing or the processor lacks AVX2,
  // kInvalidArgument when the data folder's path is too long.
  Result<void> check() const;
  // Writes the configuration with a row filter for each of `tables` and waits until the engine answers or a stop is
  // requested. kUnavailable with what to do: see check(), or libchdb is missing, the data folder is locked by another
  // engine, the disk is full. May be called again after a failure or after stop().
  Result<void> start(const std::vector<std::string>& tables, const std::stop_token& stop = {});
  // Ends the child and starts it again; returns at once.
  void restart(std::string_view reason);
  // Renews the row filters. The engine reads them when it starts, so it is restarted if the names are new to it;
  // returns once it answers again.
  Result<void> set_tables(const std::vector<std::string>& tables);
  // SIGTERM, then SIGKILL after `deadline`, also to a child that does not answer. Idempotent.
  void stop(std::chrono::milliseconds deadline);

  Status status() const;
  // "unix:/…/engine.sock"; valid before start() too.
  std::string base_url() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fettle::engine
