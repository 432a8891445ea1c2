#include "engine/host/session_pool.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <vector>

#include "engine/host/http_error.h"
#include "engine/host/statement.h"

namespace fettle::engine_host {
namespace {

std::string quote_name(std::string_view name) {
  std::string out = "`";
  for (const char c : name) {
    if (c == '`' || c == '\\') out += '\\';
    out += c;
  }
  out += '`';
  return out;
}

bool is_setting_name(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
  });
}

constexpr std::size_t kNamedMax = 32;

Outcome<void> prepare(Session& session, const SessionSpec& spec) {
  const auto run = [&](const std::string& sql) -> Outcome<void> {
    auto done = session.run({.sql = sql, .format = "Null", .params = {}});
    if (!done) return std::unexpected(std::move(done).error());
    return {};
  };
  if (!spec.database.empty()) {
    if (auto used = run("USE " + quote_name(spec.database)); !used) return used;
  }
  std::string assignments;
  for (const auto& [name, value] : spec.settings) {
    if (!is_setting_name(name)) {
      return std::unexpected(
          Failure{kUnknownSetting,
                  fmt::format("Code: {}. DB::Exception: Unknown setting. (UNKNOWN_SETTING)", kUnknownSetting)});
    }
    if (!assignments.empty()) assignments += ", ";
    assignments += fmt::format("{} = {}", name, quote(value));
  }
  if (!assignments.empty()) {
    if (auto set = run("SET " + assignments); !set) return set;
  }
  // Last, because nothing can be set after it.
  if (spec.is_read_only) return run("SET readonly = 1");
  return {};
}

}  // namespace

Outcome<SessionPool::Lease> SessionPool::take(const SessionSpec& spec) {
  {
    MutexLock lock(mutex_);
    const auto found = std::find_if(idle_.begin(), idle_.end(), [&](const auto& idle) { return idle.first == spec; });
    if (found != idle_.end()) {
      std::unique_ptr<Session> session = std::move(found->second);
      idle_.erase(found);
      return Lease(*this, spec, std::move(session));
    }
  }
  auto session = engine_.connect();
  if (!session) return std::unexpected(std::move(session).error());
  if (auto prepared = prepare(**session, spec); !prepared) return std::unexpected(std::move(prepared).error());
  return Lease(*this, spec, std::move(*session));
}

Outcome<SessionPool::Lease> SessionPool::take_named(const std::string& name, const SessionSpec& spec,
                                                    std::chrono::nanoseconds kept_for) {
  std::unique_ptr<Session> session;
  std::vector<std::unique_ptr<Session>> forgotten;  // closed outside of the lock
  {
    MutexLock lock(mutex_);
    for (auto it = named_.begin(); it != named_.end();) {
      const bool is_over = it->second.session && it->second.forgotten_at <= clock_.monotonic();
      if (is_over) forgotten.push_back(std::move(it->second.session));
      it = is_over ? named_.erase(it) : std::next(it);
    }
    const auto found = named_.find(name);
    if (found != named_.end() && !found->second.session) {
      return std::unexpected(host_failure(kSessionIsLocked, "SESSION_IS_LOCKED", "the session is in use"));
    }
    if (found == named_.end() && named_.size() >= kNamedMax) {
      return std::unexpected(
          host_failure(kTooManySimultaneousQueries, "TOO_MANY_SIMULTANEOUS_QUERIES", "too many named sessions"));
    }
    session = std::move(named_[name].session);
  }
  Lease lease(*this, spec, std::move(session));
  lease.name_ = name;
  lease.kept_for_ = kept_for;
  if (!lease.session_) {
    auto opened = engine_.connect();
    if (!opened) return std::unexpected(std::move(opened).error());
    lease.session_ = std::move(*opened);
  }
  if (auto prepared = prepare(*lease.session_, spec); !prepared) return std::unexpected(std::move(prepared).error());
  return lease;
}

void SessionPool::Lease::give_back() {
  if (name_.empty()) return pool_->keep(std::move(spec_), std::move(session_));
  pool_->free_name(name_, std::move(session_), kept_for_);
  name_.clear();
}

// Without a session the name is free for a new one.
void SessionPool::free_name(const std::string& name, std::unique_ptr<Session> session,
                            std::chrono::nanoseconds kept_for) {
  MutexLock lock(mutex_);
  if (!session) {
    named_.erase(name);
    return;
  }
  named_[name] = {.session = std::move(session), .forgotten_at = clock_.monotonic() + kept_for};
}

void SessionPool::keep(SessionSpec spec, std::unique_ptr<Session> session) {
  if (spec.is_read_only) return;
  std::unique_ptr<Session> evicted;  // closed outside of the lock
  MutexLock lock(mutex_);
  idle_.emplace_back(std::move(spec), std::move(session));
  if (idle_.size() > idle_max_) {
    evicted = std::move(idle_.front().second);
    idle_.pop_front();
  }
}

void SessionPool::close_idle() {
  MutexLock lock(mutex_);
  idle_.clear();
  named_.clear();
}

}  // namespace fettle::engine_host
