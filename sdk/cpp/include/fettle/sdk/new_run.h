// A run on its way to the server.
#pragma once

#include <optional>
#include <string>

#include "fettle/sdk/clock.h"
#include "fettle/sdk/json.h"

namespace fettle::sdk {

struct RunRetry {
  std::optional<Milliseconds> base;
  std::optional<double> factor;
  std::optional<Milliseconds> cap;
  std::optional<Milliseconds> elapsed_max;
};

struct Trigger {
  std::string source;
  std::string event_key;
};

// Empty is absent.
struct NewRun {
  std::string workflow;
  Json payload;
  std::string client_id;
  std::string platform;
  std::string lane;
  std::string agent;
  std::string model;
  std::string pool;
  std::optional<int> priority;  // 0 is first, 9 is last, 5 without
  std::optional<Clock::Wall> run_at;
  std::optional<int> max_retries;
  RunRetry retry;
  std::optional<Milliseconds> timeout;
  std::string concurrency_key;
  // The same key and payload give the first run's id with `created` false; another payload is refused (422).
  std::string idempotency_key;
  std::string correlation_id;  // of the caller's context without
  std::string job_id;
  std::string request_id;
  Trigger trigger;
};

struct EnqueuedRun {
  std::string run_id;
  std::string state;
  bool created = true;  // false when the idempotency key had already made this run
};

}  // namespace fettle::sdk
