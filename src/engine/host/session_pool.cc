#include "engine/host/session_pool.h"

#include <fmt/format.h>

#include <algorithm>

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

constexpr int kUnknownSetting = 115;

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
}

}  // namespace fettle::engine_host
