#include "api/log_tails.h"

#include <fmt/format.h>

#include <iterator>

namespace fettle::api {
namespace {

void append_event(std::string& out, const telemetry::TailRow& row) {
  // A JSON row has no line ends, so it is one data line.
  fmt::format_to(std::back_inserter(out), "id: {}\nevent: log\ndata: {}\n\n", row.position.value, row.row);
}

}  // namespace

LogTails::LogTails(telemetry::Reader& reader, access::Authenticator& authenticator, Clock& clock,
                   metrics::Registry& metrics, Limits limits)
    : reader_(reader),
      clock_(clock),
      limits_(limits),
      dropped_counter_(metrics.counter("fettle_api_tail_dropped_total", "Log lines a slow tail did not get.")),
      sessions_("live tails", limits.tails_max, authenticator,
                metrics.gauge("fettle_api_tails_open", "Live log tails.")) {}

void LogTails::run(Exchange exchange, telemetry::LogFilter filter, std::optional<telemetry::TailPosition> after) {
  sessions_.run(std::move(exchange),
                [this, filter = std::move(filter), after = std::move(after)](
                    Exchange& held, const std::stop_token& stop) { tail(held, filter, after, stop); });
}

void LogTails::tail(Exchange& exchange, const telemetry::LogFilter& filter,
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
  stream->stop_waiting_on(stop);
  std::string out = fmt::format("retry: 2000\nid: {}\n: connected\n\n", found->position.value);
  auto last_write = clock_.monotonic();
  auto last_admitted = last_write;
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
    if (clock_.monotonic() - last_admitted >= limits_.heartbeat) {
      if (!sessions_.admits(exchange)) break;
      last_admitted = clock_.monotonic();
    }
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

}  // namespace fettle::api
