// One answer to "how is it?" from many checks: healthy, degraded (a check that is not critical fails) or unhealthy
// (a critical one does), with the document that /health shows.
//
//   health::Health health(clock, "0.1.0");
//   health.add({.name = "store", .is_critical = true, .run = [&](const std::stop_token& stop) { return ping(stop); }});
//   health.report().detailed_json();
//
// Checks run on the thread that asks, one after the other, at most once per `fresh_for`; whoever asks meanwhile waits
// for that run and shares its result. Add every check before the first report. Thread-safe after that.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/clock.h"
#include "core/mutex.h"

namespace fettle::health {

enum class CheckStatus : std::uint8_t { kUp, kDegraded, kDown };
enum class Status : std::uint8_t { kHealthy, kDegraded, kUnhealthy };

std::string_view to_string(CheckStatus status);
std::string_view to_string(Status status);

// What a check found. kDegraded: works, but worse than it should; it never makes the whole unhealthy.
struct CheckResult {
  CheckStatus status = CheckStatus::kUp;
  std::string message;  // for people; what to do when it is not up
  // Further members of the check's object, values already rendered as JSON.
  std::vector<std::pair<std::string, std::string>> fields;
};

struct Check {
  std::string name;
  bool is_critical = false;
  // Bounded in time by itself; an exception counts as down.
  std::function<CheckResult(const std::stop_token& stop)> run;
};

struct CheckOutcome {
  std::string name;
  bool is_critical = false;
  CheckResult result;
  std::chrono::nanoseconds latency{0};
};

struct Report {
  Status status = Status::kHealthy;
  std::string version;
  std::chrono::seconds uptime{0};
  std::vector<CheckOutcome> checks;

  // {"status":"healthy"}: for whoever has no token.
  std::string bare_json() const;
  // {"status","version","uptime_seconds","checks":{"store":{"status":"up","latency_ms":0.8,…}}}
  std::string detailed_json() const;
};

class Health {
 public:
  // `clock` outlives this. Uptime counts from here.
  Health(Clock& clock, std::string version, std::chrono::nanoseconds fresh_for = std::chrono::seconds(1));

  void add(Check check) { checks_.push_back(std::move(check)); }

  // Blocks while the checks run.
  Report report(const std::stop_token& stop = {});

  // Not ready until told so, and not any more while draining; checks have no say in it.
  void set_serving(bool serving);
  bool is_serving() const;
  // What keeps the server from serving, for as long as it does not: `what` for everybody, `cause` for those who may
  // read.
  struct Obstacle {
    std::string what;
    std::string cause;  // empty: none is known
  };
  void set_obstacle(std::string_view what, std::string_view cause);
  Obstacle obstacle() const;

 private:
  // Constant after the first report.
  Clock& clock_;
  const std::string version_;
  const std::chrono::nanoseconds fresh_for_;
  const std::chrono::nanoseconds started_;
  std::vector<Check> checks_;

  mutable Mutex mutex_;
  bool serving_ FETTLE_GUARDED_BY(mutex_) = false;
  Obstacle obstacle_ FETTLE_GUARDED_BY(mutex_){.what = "the server is starting", .cause = {}};
  bool running_ FETTLE_GUARDED_BY(mutex_) = false;
  Condition finished_;
  std::optional<std::chrono::nanoseconds> taken_ FETTLE_GUARDED_BY(mutex_);
  Report latest_ FETTLE_GUARDED_BY(mutex_);
};

}  // namespace fettle::health
