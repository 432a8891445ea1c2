// ClickHouse's HTTP interface over an Engine: what a request means, who may ask it, on which lane it runs, and how its
// result or error is told.
//
//   Service service(engine, {}, clock, metrics);
//   server.listen("unix:/…/engine.sock", service.gate(Listener::kUnix), service.handler(Listener::kUnix));
//
// Callers on the Unix socket are trusted and name the workspace themselves, in the setting log_comment. Callers over
// TCP are known by a token: the workspace comes from it and from nothing else, and whatever the token's scopes the
// session is read-only, its settings come from a short list, and it closes after the statement. Who may write to the
// engine at all may write into every workspace: that stays with the server, on the socket.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "core/clock.h"
#include "core/metrics.h"
#include "engine/host/engine.h"
#include "engine/host/lane.h"
#include "engine/host/session_pool.h"
#include "engine/host/tokens.h"
#include "engine/host/watch.h"
#include "http/server.h"

namespace fettle::engine_host {

enum class Listener : std::uint8_t { kUnix, kTcp };

struct ServiceOptions {
  int read_threads = 4;  // twice the cores
  int insert_threads = 4;
  int other_threads = 2;
  std::size_t reads_waiting_max = 64;
  std::size_t inserts_waiting_max = 64;
  std::size_t others_waiting_max = 16;
  std::size_t sessions_idle_max = 16;
  std::size_t query_bytes_max = 16 * 1024 * 1024;
  std::size_t insert_bytes_max = 256 * 1024 * 1024;
  std::uint64_t bodies_bytes_max = 512 * 1024 * 1024;       // of all requests at hand together
  std::uint64_t whole_result_bytes_max = 64 * 1024 * 1024;  // of formats that cannot be streamed
  std::chrono::seconds read_time_max{30};                   // unless the request says otherwise
  std::chrono::seconds insert_time_max{120};
  std::chrono::seconds tcp_read_time_max{60};  // whatever the request says
  std::uint64_t tcp_memory_max = 200'000'000;
  std::chrono::milliseconds slow_after{1'000};
};

class Service {
 public:
  // `tokens` may be null when there is no TCP listener. All references outlive the service.
  Service(Engine& engine, ServiceOptions options, Tokens* tokens, Clock& clock, metrics::Registry& metrics);
  ~Service();
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  http::Gate gate(Listener listener);
  http::Handler handler(Listener listener);

  // Kills what runs, drops what waits, closes all sessions. Call it after the server has stopped.
  void stop();

 private:
  struct Job;
  struct Answer;

  void handle(Listener listener, http::Request request, http::Responder responder);
  Result<std::unique_ptr<Job>> prepare(const Caller& caller, http::Request& request);
  Result<void> restrict_statement(const Job& job) const;
  Result<void> restrict_settings(Job& job) const;
  void submit(std::unique_ptr<Job> job, http::Responder responder);
  void execute(Job& job, http::Responder responder);
  Outcome<void> run_whole(Job& job, SessionPool::Lease& lease, Answer& answer);
  Outcome<void> run_stream(Job& job, SessionPool::Lease& lease, Answer& answer);
  void answer_health(http::Responder responder);
  Lane& lane_of(const Job& job);
  void account(const Job& job, const Answer& answer, std::chrono::nanoseconds took);

  const ServiceOptions options_;
  Tokens* const tokens_;
  Clock& clock_;
  metrics::Registry& metrics_;

  std::atomic<std::uint64_t> bodies_bytes_ = 0;
  std::atomic<std::uint64_t> next_query_ = 1;
  SessionPool pool_;
  Watch watch_;
  Lane reads_;
  Lane tcp_reads_;  // of their own, so that the server's reads never wait for theirs
  Lane inserts_;
  Lane others_;
  Lane health_;
};

}  // namespace fettle::engine_host
