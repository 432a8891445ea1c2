#include "engine/host/watch.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/log.h"
#include "engine/host/statement.h"

namespace fettle::engine_host {
namespace {

using std::chrono::nanoseconds;

constexpr std::size_t kNameBytesMax = 96;
constexpr nanoseconds kNever = std::chrono::hours(24 * 365 * 10);
// A killed statement normally ends within milliseconds; it is told again, ever more rarely.
constexpr nanoseconds kAgainFirst = std::chrono::seconds(1);
constexpr int kDoublingsMax = 5;
constexpr nanoseconds kStuckAfter = std::chrono::seconds(10);

std::string clean(std::string_view name) {
  std::string out(name.substr(0, kNameBytesMax));
  for (char& c : out) {
    const bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                          c == '_' || c == '.' || c == ':';
    if (!is_plain) c = '_';
  }
  return out;
}

}  // namespace

Watch::Watch(Engine& engine, Clock& clock, metrics::Registry& metrics)
    : engine_(engine),
      clock_(clock),
      left_(
          metrics.counter("fettle_engine_killed_total", "Statements killed, by reason.", {{"reason", "client_left"}})),
      late_(metrics.counter("fettle_engine_killed_total", "Statements killed, by reason.", {{"reason", "time_up"}})),
      thread_([this](const std::stop_token& stop) { run(stop); }) {}

std::shared_ptr<Watched> Watch::begin(std::string_view name, nanoseconds time_max) {
  MutexLock lock(mutex_);
  auto statement = std::make_shared<Watched>(fmt::format("/*{} #{}*/ ", clean(name), next_number_++));
  statement->act_at_ = time_max == nanoseconds::zero() ? nanoseconds::max() : clock_.monotonic() + time_max;
  if (is_stopping_) statement->killed_ = KillReason::kStopping;
  running_.push_back(statement);
  if (statement->act_at_ < asleep_until_) wake();
  return statement;
}

void Watch::end(const std::shared_ptr<Watched>& statement) {
  MutexLock lock(mutex_);
  std::erase(running_, statement);
}

void Watch::kill(const std::shared_ptr<Watched>& statement, KillReason reason) {
  MutexLock lock(mutex_);
  if (statement->killed_ != KillReason::kNone ||
      std::find(running_.begin(), running_.end(), statement) == running_.end()) {
    return;
  }
  statement->killed_ = reason;
  statement->killed_since_ = statement->act_at_ = clock_.monotonic();
  if (reason == KillReason::kClientLeft) left_.add();
  wake();
}

void Watch::kill_all() {
  MutexLock lock(mutex_);
  is_stopping_ = true;
  for (const auto& statement : running_) {
    if (statement->killed_ != KillReason::kNone) continue;
    statement->killed_ = KillReason::kStopping;
    statement->killed_since_ = statement->act_at_ = clock_.monotonic();
  }
  wake();
}

int Watch::stuck() const {
  MutexLock lock(mutex_);
  return static_cast<int>(std::count_if(running_.begin(), running_.end(), [&](const auto& statement) {
    return statement->killed_ != KillReason::kNone && clock_.monotonic() - statement->killed_since_ > kStuckAfter;
  }));
}

void Watch::stop() {
  thread_.request_stop();
  {
    MutexLock lock(mutex_);
    wake();
  }
  if (thread_.joinable()) thread_.join();
}

void Watch::run(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    std::vector<std::string> due;
    nanoseconds next = kNever;
    std::stop_token woken;
    {
      MutexLock lock(mutex_);
      wake_ = std::stop_source();
      woken = wake_.get_token();
      const nanoseconds now = clock_.monotonic();
      for (const auto& statement : running_) {
        if (statement->act_at_ <= now) {
          if (statement->killed_ == KillReason::kNone) {
            statement->killed_ = KillReason::kTimeUp;
            statement->killed_since_ = now;
            late_.add();
          }
          due.push_back(statement->tag());
          statement->act_at_ = now + kAgainFirst * (1 << std::min(statement->attempts_++, kDoublingsMax));
        }
        if (statement->act_at_ != nanoseconds::max()) next = std::min(next, statement->act_at_ - now);
      }
      asleep_until_ = now + next;
    }
    for (const std::string& tag : due) send_kill(tag);
    if (due.empty() && !stop.stop_requested()) clock_.wait_for(next, woken);
  }
}

void Watch::send_kill(const std::string& tag) {
  auto session = engine_.connect();
  if (!session) {
    log::error("kill_failed", {{"statement", tag}, {"error", session.error().message}});
    return;
  }
  // The row filter on system.processes shows other statements to Fettle's own work alone.
  auto done = (*session)->run({.sql = "SET log_comment = '*'", .format = "Null", .params = {}});
  if (done) {
    // ASYNC, because SYNC waits for ever for a statement that has failed but whose session is still open.
    const std::string sql = fmt::format("KILL QUERY WHERE startsWith(query, {}) ASYNC FORMAT Null", quote(tag));
    done = (*session)->run({.sql = sql, .format = "Null", .params = {}});
  }
  if (!done) log::error("kill_failed", {{"statement", tag}, {"error", done.error().message}});
}

}  // namespace fettle::engine_host
