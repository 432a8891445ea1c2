// Answers that do not end by themselves, one thread each: log tails and the live stream of events.
//
//   sessions.run(std::move(exchange), [&](Exchange& held, const std::stop_token& stop) { …write until stop… });
//
// At most `sessions_max` at a time. A workspace may have them all while nobody else asks; what it has above half
// (rounded up) gives way, oldest first, to another workspace's. Thread-safe.
#pragma once

#include <cstddef>
#include <functional>
#include <list>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>

#include "access/authenticator.h"
#include "api/exchange.h"
#include "core/metrics.h"
#include "core/mutex.h"

namespace fettle::api {

class LiveSessions {
 public:
  using Body = std::move_only_function<void(Exchange&, const std::stop_token&)>;

  // `what` names them in refusals: "live tails". The references outlive this.
  LiveSessions(std::string_view what, std::size_t sessions_max, access::Authenticator& authenticator,
               metrics::Gauge& open);
  ~LiveSessions() { stop(); }

  // Answers 503 at the limit, when nobody has to give way. The token ends with the client, with stop(), and when the
  // session has to give way.
  void run(Exchange exchange, Body body);
  // Whether who opened it would still be let in: a token may have been revoked and a session ended since. For every
  // heartbeat.
  bool admits(const Exchange& exchange) const;
  // Ends every session and joins. Idempotent.
  void stop();

 private:
  struct Session {
    std::stop_source stop;
    std::string workspace;
    bool is_over = false;
    std::jthread thread;
  };
  void reap() FETTLE_REQUIRES(mutex_);
  // Whether `workspace` may open one more; ends another's where that makes the room.
  bool make_room(const std::string& workspace) FETTLE_REQUIRES(mutex_);

  const std::string what_;
  const std::size_t sessions_max_;
  access::Authenticator& authenticator_;
  metrics::Gauge& open_gauge_;

  Mutex mutex_;
  bool stopping_ FETTLE_GUARDED_BY(mutex_) = false;
  std::list<Session> sessions_ FETTLE_GUARDED_BY(mutex_);
};

}  // namespace fettle::api
