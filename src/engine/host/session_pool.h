// Sessions kept open between statements, each only ever used again for the same database and the same settings.
//
// A session is given to one lease at a time. It goes back to the pool only when the lease says that all went well;
// otherwise it is closed, because the engine puts what a failed statement left behind in front of the next result.
#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "core/clock.h"
#include "core/mutex.h"
#include "engine/host/engine.h"

namespace fettle::engine_host {

struct SessionSpec {
  std::string database;                         // empty: the engine's default
  std::map<std::string, std::string> settings;  // readonly is not among them
  // Set after everything else. Such a session is closed after use.
  bool is_read_only = false;

  bool operator==(const SessionSpec&) const = default;
};

class SessionPool {
 public:
  class Lease {
   public:
    Lease(SessionPool& pool, SessionSpec spec, std::unique_ptr<Session> session)
        : pool_(&pool), spec_(std::move(spec)), session_(std::move(session)) {}
    Lease(Lease&& other) noexcept
        : pool_(std::exchange(other.pool_, nullptr)),
          spec_(std::move(other.spec_)),
          session_(std::move(other.session_)),
          name_(std::move(other.name_)),
          kept_for_(other.kept_for_) {}
    Lease& operator=(Lease&&) = delete;

    Session& operator*() const { return *session_; }
    Session* operator->() const { return session_.get(); }
    ~Lease() {
      if (pool_ != nullptr && !name_.empty()) pool_->free_name(name_, nullptr, {});
    }
    // Everything succeeded and all output was taken: keep the session. Without this call it is closed.
    void give_back();

   private:
    friend class SessionPool;
    SessionPool* pool_;
    SessionSpec spec_;
    std::unique_ptr<Session> session_;
    std::string name_;  // of a named session
    std::chrono::nanoseconds kept_for_{};
  };

  SessionPool(Engine& engine, Clock& clock, std::size_t idle_max)
      : engine_(engine), clock_(clock), idle_max_(idle_max) {}

  Outcome<Lease> take(const SessionSpec& spec);
  // The session of that name, with its temporary tables and settings; a new one if there is none. Settings of `spec`
  // are set in it and stay. It is forgotten when unused for `kept_for`, and when a statement in it fails. Code 373
  // while another statement runs in it.
  Outcome<Lease> take_named(const std::string& name, const SessionSpec& spec, std::chrono::nanoseconds kept_for);
  void close_idle();

 private:
  struct Named {
    std::unique_ptr<Session> session;  // null while a lease has it
    std::chrono::nanoseconds forgotten_at{};
  };

  void keep(SessionSpec spec, std::unique_ptr<Session> session);
  void free_name(const std::string& name, std::unique_ptr<Session> session, std::chrono::nanoseconds kept_for);

  Engine& engine_;
  Clock& clock_;
  const std::size_t idle_max_;

  Mutex mutex_;
  // Oldest first.
  std::deque<std::pair<SessionSpec, std::unique_ptr<Session>>> idle_ FETTLE_GUARDED_BY(mutex_);
  std::map<std::string, Named> named_ FETTLE_GUARDED_BY(mutex_);
};

}  // namespace fettle::engine_host
