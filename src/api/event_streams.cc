#include "api/event_streams.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "api/filters.h"
#include "api/json_object.h"
#include "api/times.h"

namespace fettle::api {
namespace {

// The frames of one row that this watcher may see and wants. The place is told with the last of them: a connection that
// breaks between two events of one change gets them all again.
void append_row(std::string& out, const ledger::OutboxRow& row, const EventFilter& filter, const Scope& scope) {
  const std::string place = ledger::to_string(row.cursor);
  std::size_t last = std::string::npos;
  for (std::size_t i = 0; i < row.events.size(); ++i) {
    const ledger::Event& event = row.events[i];
    if (!ledger::is_visible(row.workspace, event, scope) || !matches(filter, event)) continue;
    last = out.size();
    fmt::format_to(std::back_inserter(out), "event: {}\ndata: ", event.type);
    ObjectText object(out);
    object.text("id", fmt::format("{}.{}", place, i)).text("type", event.type).time("at", event.at);
    ObjectText identifiers(object.key("identifiers"));
    for (const ledger::Identifier& identifier : event.identifiers) identifiers.text(identifier.name, identifier.value);
    identifiers.end();
    object.json("data", event.body.empty() ? "{}" : event.body).end();
    out += "\n\n";
  }
  if (last != std::string::npos) out.insert(last, fmt::format("id: {}\n", place));
}

}  // namespace

bool matches(const EventFilter& filter, const ledger::Event& event) {
  const auto is_topic = [&](const std::string& topic) {
    return event.type.starts_with(topic) && (event.type.size() == topic.size() || event.type[topic.size()] == '.');
  };
  if (!filter.topics.empty() && std::ranges::none_of(filter.topics, is_topic)) return false;
  return std::ranges::all_of(filter.identifiers, [&](const auto& wanted) {
    return std::ranges::any_of(event.identifiers, [&](const ledger::Identifier& identifier) {
      return identifier.name == wanted.first && identifier.value == wanted.second;
    });
  });
}

EventStreams::EventStreams(ledger::Outbox& outbox, access::Authenticator& authenticator, Clock& clock,
                           metrics::Registry& metrics, Limits limits)
    : clock_(clock),
      limits_(limits),
      resets_(metrics.counter("fettle_api_stream_resets_total", "Live streams that had missed events.")),
      ring_(outbox, clock, limits.ring),
      sessions_("live streams", limits.streams_max, authenticator,
                metrics.gauge("fettle_api_streams_open", "Live streams of events.")) {}

void EventStreams::run(Exchange exchange, EventFilter filter, std::optional<ledger::OutboxCursor> place) {
  sessions_.run(std::move(exchange),
                [this, filter = std::move(filter), place](Exchange& held, const std::stop_token& stop) {
                  follow(held, filter, place, stop);
                });
}

void EventStreams::follow(Exchange& exchange, const EventFilter& filter, std::optional<ledger::OutboxCursor> place,
                          const std::stop_token& stop) {
  // The first look comes before the head, so that a ledger that does not answer is a problem document.
  auto found = ring_.after(place);
  if (!found) return exchange.problem(found.error());
  http::Response head;
  head.headers.set("Content-Type", "text/event-stream");
  head.headers.set("X-Accel-Buffering", "no");  // nginx would hold events back
  const auto stream = exchange.stream(std::move(head));
  stream->stop_waiting_on(stop);
  std::string out = "retry: 2000\n: connected\n\n";
  if (!place) out = fmt::format("retry: 2000\nid: {}\n: connected\n\n", ledger::to_string(found->end));
  auto last_write = clock_.monotonic();
  auto last_admitted = last_write;
  while (!stop.stop_requested()) {
    if (found) {
      place = found->end;
      if (found->is_gap) {
        resets_.add();
        fmt::format_to(std::back_inserter(out), "id: {}\nevent: reset\ndata: {{}}\n\n", ledger::to_string(*place));
      }
      for (const EventRing::Row& row : found->rows) append_row(out, *row, filter, exchange.scope());
    }  // else the ledger is away for a moment: go on from the same place
    if (clock_.monotonic() - last_admitted >= limits_.heartbeat) {
      if (!sessions_.admits(exchange)) break;
      last_admitted = clock_.monotonic();
    }
    if (out.empty() && clock_.monotonic() - last_write >= limits_.heartbeat) {
      // An id without data moves the place on without an event.
      out = fmt::format("id: {}\n: heartbeat\n\n", ledger::to_string(*place));
    }
    if (!out.empty()) {
      if (!stream->write(out)) return;
      out.clear();
      last_write = clock_.monotonic();
    }
    if (!clock_.wait_for(limits_.interval, stop)) break;
    found = ring_.after(place);
  }
  stream->finish();
}

}  // namespace fettle::api
