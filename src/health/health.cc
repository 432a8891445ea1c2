#include "health/health.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>

#include "core/json.h"
#include "core/log.h"

namespace fettle::health {
namespace {

CheckOutcome run(const Check& check, const Clock& clock, const std::stop_token& stop) {
  CheckOutcome outcome{.name = check.name, .is_critical = check.is_critical, .result = {}, .latency = {}};
  const auto begun = clock.monotonic();
  try {
    outcome.result = check.run(stop);
  } catch (const std::exception& error) {
    log::error("health_check_threw", {{"check", check.name}, {"error", error.what()}});
    outcome.result = {.status = CheckStatus::kDown, .message = "the check itself failed", .fields = {}};
  }
  outcome.latency = clock.monotonic() - begun;
  return outcome;
}

Status roll_up(const std::vector<CheckOutcome>& checks) {
  Status status = Status::kHealthy;
  for (const CheckOutcome& check : checks) {
    if (check.result.status == CheckStatus::kUp) continue;
    if (check.is_critical && check.result.status == CheckStatus::kDown) return Status::kUnhealthy;
    status = Status::kDegraded;
  }
  return status;
}

}  // namespace

std::string_view to_string(CheckStatus status) {
  switch (status) {
    case CheckStatus::kUp: return "up";
    case CheckStatus::kDegraded: return "degraded";
    case CheckStatus::kDown: return "down";
  }
  return "unknown";
}

std::string_view to_string(Status status) {
  switch (status) {
    case Status::kHealthy: return "healthy";
    case Status::kDegraded: return "degraded";
    case Status::kUnhealthy: return "unhealthy";
  }
  return "unknown";
}

std::string Report::bare_json() const { return fmt::format(R"({{"status":"{}"}})", to_string(status)); }

std::string Report::detailed_json() const {
  std::string out = fmt::format(R"({{"status":"{}","version":)", to_string(status));
  append_json_string(out, version);
  fmt::format_to(std::back_inserter(out), R"(,"uptime_seconds":{},"checks":{{)", uptime.count());
  for (std::size_t i = 0; i < checks.size(); ++i) {
    const CheckOutcome& check = checks[i];
    if (i != 0) out += ',';
    append_json_string(out, check.name);
    fmt::format_to(std::back_inserter(out), R"(:{{"status":"{}","critical":{},"latency_ms":{:.3f})",
                   to_string(check.result.status), check.is_critical,
                   std::chrono::duration<double, std::milli>(check.latency).count());
    if (!check.result.message.empty()) {
      out += R"(,"message":)";
      append_json_string(out, check.result.message);
    }
    for (const auto& [key, json] : check.result.fields) {
      out += ',';
      append_json_string(out, key);
      out += ':';
      out += json;
    }
    out += '}';
  }
  out += "}}";
  return out;
}

Health::Health(Clock& clock, std::string version, std::chrono::nanoseconds fresh_for)
    : clock_(clock), version_(std::move(version)), fresh_for_(fresh_for), started_(clock.monotonic()) {}

Report Health::report(const std::stop_token& stop) {
  {
    MutexLock lock(mutex_);
    bool shared = false;
    while (running_) {
      finished_.wait(lock);
      shared = true;
    }
    if (taken_ && (shared || clock_.monotonic() - *taken_ < fresh_for_)) return latest_;
    running_ = true;
  }
  Report report;
  report.version = version_;
  report.uptime = std::chrono::duration_cast<std::chrono::seconds>(clock_.monotonic() - started_);
  for (const Check& check : checks_) report.checks.push_back(run(check, clock_, stop));
  report.status = roll_up(report.checks);
  MutexLock lock(mutex_);
  running_ = false;
  taken_ = clock_.monotonic();
  latest_ = report;
  finished_.notify_all();
  return report;
}

void Health::set_serving(bool serving) {
  MutexLock lock(mutex_);
  serving_ = serving;
}

bool Health::is_serving() const {
  MutexLock lock(mutex_);
  return serving_;
}

void Health::set_obstacle(std::string_view what, std::string_view cause) {
  MutexLock lock(mutex_);
  obstacle_ = {.what = std::string(what), .cause = std::string(cause)};
}

Health::Obstacle Health::obstacle() const {
  MutexLock lock(mutex_);
  return obstacle_;
}

}  // namespace fettle::health
