#include "api/log_tails.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <iterator>
#include <map>

#include "core/log.h"

namespace fettle::api {
namespace {

void append_event(std::string& out, const telemetry::TailRow& row) {
  // A JSON row has no line ends, so it is one data line.
  fmt::format_to(std::back_inserter(out), "id: {}\nevent: log\ndata: {}\n\n", row.position.value, row.row);
}

}  // namespace

LogTails::LogTails(telemetry::Reader& reader, Clock& clock, metrics::Registry& metrics, Limits limits)
    : reader_(reader),
      clock_(clock),
      limits_(limits),
      open_gauge_(metrics.gauge("fettle_api_tails_open", "Live log tails.")),
      dropped_counter_(metrics.counter("fettle_api_tail_dropped_total", "Log lines a slow tail did not get.")) {}

void LogTails::reap() {
  // A session that is over has nothing left to do but return, so joining it is quick.
  std::erase_if(sessions_, [](const Session& session) { return session.is_over; });
  open_gauge_.set(static_cast<double>(sessions_.size()));
}

bool LogTails::make_room(const std::string& workspace) {
  // One that has been told to stop has no room any more, whether or not its thread has noticed.
  std::map<std::string, std::size_t> open;
  std::size_t all = 0;
  for (const Session& session : sessions_) {
    if (session.stop.stop_requested()) continue;
    ++open[session.workspace];
    ++all;
  }
  if (all < limits_.tails_max) return true;
  const std::size_t share = (limits_.tails_max + 1) / 2;
  if (open[workspace] >= share) return false;
  const auto gives_way = std::ranges::find_if(sessions_, [&](const Session& session) {
    return !session.stop.stop_requested() && session.workspace != workspace && open[session.workspace] > share;
  });
  if (gives_way == sessions_.end()) return false;
  gives_way->stop.request_stop();
  return true;
}

void LogTails::run(Exchange exchange, telemetry::LogFilter filter, std::optional<telemetry::TailPosition> after) {
  MutexLock lock(mutex_);
  reap();
  if (stopping_ || !make_room(exchange.scope().workspace.value)) {
    return exchange.problem(
        Error(ErrorCode::kUnavailable,
              stopping_ ? "the server is stopping" : fmt::format("{} live tails are open already", limits_.tails_max))
            .with_retry_after(std::chrono::seconds(5)));
  }
  Session& session = sessions_.emplace_back();
  session.workspace = exchange.scope().workspace.value;
  open_gauge_.set(static_cast<double>(sessions_.size()));
  exchange.on_close([stop = session.stop]() mutable { stop.request_stop(); });
  // The thread waits for this lock before it can end, so `session.thread` is set before it is joined.
  session.thread = std::jthread([this, &session, held = std::make_unique<Exchange>(std::move(exchange)),
                                 filter = std::move(filter), after = std::move(after)]() mutable {
    try {
      tail(std::move(*held), filter, std::move(after), session.stop.get_token());
    } catch (const std::exception& error) {
      log::error("tail_threw", {{"error", error.what()}});
    }
    held.reset();
    MutexLock over(mutex_);
    session.is_over = true;
  });
}

void LogTails::tail(Exchange exchange, const telemetry::LogFilter& filter,
                    std::optional<telemetry::TailPosition> position, const std::stop_token& stop) {
  // The first look comes before the head, so that a bad position or filter is still a problem document.
  const telemetry::ReadOptions options{.stop = stop, .time_max = limits_.read_time_max};
  auto found = reader_.tail(exchange.scope(), filter, position, limits_.rows_max, options);
  if (!found) return exchange.problem(found.error());

  const Scope scope = exchange.scope();
  http::Response head;
  head.headers.set("Content-Type", "text/event-stream");
  head.headers.set("X-Accel-Buffering", "no");  // nginx would hold lines back
  const auto stream = exchange.stream(std::move(head));
  std::string out = fmt::format("retry: 2000\nid: {}\n: connected\n\n", found->position.value);
  auto last_write = clock_.monotonic();
  while (!stop.stop_requested()) {
    if (found) {
      if (found->skipped != 0) {
        dropped_counter_.add(static_cast<double>(found->skipped));
        fmt::format_to(std::back_inserter(out), "event: dropped\ndata: {{\"count\":{}}}\n\n", found->skipped);
      }
      for (const telemetry::TailRow& row : found->rows) append_event(out, row);
      position = found->position;
    } else if (found.error().code() == ErrorCode::kInvalidArgument) {
      break;
    }  // else the store is away for a moment: go on from the same position
    if (out.empty() && clock_.monotonic() - last_write >= limits_.heartbeat) {
      // An id without data moves the position on without an event.
      out = fmt::format("id: {}\n: heartbeat\n\n", position->value);
    }
    if (!out.empty()) {
      if (!stream->write(out)) return;
      out.clear();
      last_write = clock_.monotonic();
    }
    if (!clock_.wait_for(limits_.interval, stop)) break;
    found = reader_.tail(scope, filter, position, limits_.rows_max, options);
  }
  stream->finish();
}

void LogTails::stop() {
  std::list<Session> left;
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    for (Session& session : sessions_) session.stop.request_stop();
    left.swap(sessions_);
  }
}

}  // namespace fettle::api
