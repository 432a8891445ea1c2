#include "api/live_sessions.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <map>
#include <memory>

#include "access/rights.h"
#include "core/log.h"

namespace fettle::api {

LiveSessions::LiveSessions(std::string_view what, std::size_t sessions_max, access::Authenticator& authenticator,
                           metrics::Gauge& open)
    : what_(what), sessions_max_(sessions_max), authenticator_(authenticator), open_gauge_(open) {}

void LiveSessions::reap() {
  // A session that is over has nothing left to do but return, so joining it is quick.
  std::erase_if(sessions_, [](const Session& session) { return session.is_over; });
  open_gauge_.set(static_cast<double>(sessions_.size()));
}

bool LiveSessions::make_room(const std::string& workspace) {
  // One that has been told to stop has no room any more, whether or not its thread has noticed.
  std::map<std::string, std::size_t> open;
  std::size_t all = 0;
  for (const Session& session : sessions_) {
    if (session.stop.stop_requested()) continue;
    ++open[session.workspace];
    ++all;
  }
  if (all < sessions_max_) return true;
  const std::size_t share = (sessions_max_ + 1) / 2;
  if (open[workspace] >= share) return false;
  const auto gives_way = std::ranges::find_if(sessions_, [&](const Session& session) {
    return !session.stop.stop_requested() && session.workspace != workspace && open[session.workspace] > share;
  });
  if (gives_way == sessions_.end()) return false;
  gives_way->stop.request_stop();
  return true;
}

void LiveSessions::run(Exchange exchange, Body body) {
  MutexLock lock(mutex_);
  reap();
  if (stopping_ || !make_room(exchange.scope().workspace.value)) {
    return exchange.problem(
        Error(ErrorCode::kUnavailable,
              stopping_ ? "the server is stopping" : fmt::format("{} {} are open already", sessions_max_, what_))
            .with_retry_after(std::chrono::seconds(5)));
  }
  Session& session = sessions_.emplace_back();
  session.workspace = exchange.scope().workspace.value;
  open_gauge_.set(static_cast<double>(sessions_.size()));
  exchange.on_close([stop = session.stop]() mutable { stop.request_stop(); });
  // The thread waits for this lock before it can end, so `session.thread` is set before it is joined.
  session.thread = std::jthread(
      [this, &session, held = std::make_unique<Exchange>(std::move(exchange)), body = std::move(body)]() mutable {
        try {
          body(*held, session.stop.get_token());
        } catch (const std::exception& error) {
          log::error("live_session_threw", {{"error", error.what()}});
        }
        held.reset();
        MutexLock over(mutex_);
        session.is_over = true;
      });
}

bool LiveSessions::admits(const Exchange& exchange) const {
  const auto grant = authenticator_.authenticate(exchange.request());
  if (!grant || !access::could(*grant, access::Action::kSee)) return false;
  const Scope& opened = exchange.scope();
  return grant->scope.workspace == opened.workspace && grant->scope.clients == opened.clients;
}

void LiveSessions::stop() {
  std::list<Session> left;
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    for (Session& session : sessions_) session.stop.request_stop();
    left.swap(sessions_);
  }
}

}  // namespace fettle::api
