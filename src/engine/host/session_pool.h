// Sessions kept open between statements, each only ever used again for the same database and the same settings.
//
// A session is given to one lease at a time. It goes back to the pool only when the lease says that all went well;
// otherwise it is closed, because the engine puts what a failed statement left behind in front of the next result.
#pragma once

#include <cstddef>
#include <deque>
#include <map>
#include <memory>
#include <string>

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
    Lease(Lease&&) = default;
    Lease& operator=(Lease&&) = delete;

    Session& operator*() const { return *session_; }
    Session* operator->() const { return session_.get(); }
    // Everything succeeded and all output was taken: keep the session. Without this call it is closed.
    void give_back() { pool_->keep(std::move(spec_), std::move(session_)); }

   private:
    SessionPool* pool_;
    SessionSpec spec_;
    std::unique_ptr<Session> session_;
  };

  SessionPool(Engine& engine, std::size_t idle_max) : engine_(engine), idle_max_(idle_max) {}

  Outcome<Lease> take(const SessionSpec& spec);
  void close_idle();

 private:
  void keep(SessionSpec spec, std::unique_ptr<Session> session);

  Engine& engine_;
  const std::size_t idle_max_;

  Mutex mutex_;
  // Oldest first.
  std::deque<std::pair<SessionSpec, std::unique_ptr<Session>>> idle_ FETTLE_GUARDED_BY(mutex_);
};

}  // namespace fettle::engine_host
