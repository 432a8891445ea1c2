#include "server/event_feed.h"

#include <fmt/format.h>
#include <pthread.h>

#include <algorithm>
#include <iterator>
#include <limits>
#include <utility>
#include <vector>

#include "core/ids.h"
#include "core/log.h"
#include "telemetry/native.h"

namespace fettle::server {
namespace {

constexpr std::string_view kConsumer = "telemetry";

// 16 bytes, or none for what is no W3C trace id.
std::string raw_trace_id(std::string_view trace_id) {
  constexpr std::size_t kHexDigits = 32;
  if (trace_id.size() != kHexDigits) return {};
  return from_hex(trace_id).value_or(std::string());
}

std::string id_of(const ledger::OutboxRow& row, std::size_t index) {
  return fmt::format("{}.{}", ledger::to_string(row.cursor), index);
}

// The events are at fault, not the store: sending them again as they are will not help.
bool is_refused(const Error& error) {
  return error.code() == ErrorCode::kInvalidArgument || error.code() == ErrorCode::kTooLarge;
}

}  // namespace

EventFeed::EventFeed(ledger::Outbox& outbox, telemetry::Client& client, const telemetry::IdentifierCatalogue& catalogue,
                     std::function<bool()> is_leader, Clock& clock, metrics::Registry& metrics, Options options)
    : outbox_(outbox),
      client_(client),
      catalogue_(catalogue),
      is_leader_(std::move(is_leader)),
      clock_(clock),
      options_(options),
      brought_(metrics.counter("fettle_events_stored_total", "Domain events that reached the telemetry store.")),
      failures_(metrics.counter("fettle_events_failures_total", "Batches of domain events that are sent again.")),
      refused_(metrics.counter("fettle_events_refused_total",
                               "Domain events that the telemetry store will not take and that are not in it.")),
      builder_(catalogue),
      identifiers_(catalogue),
      thread_([this](const std::stop_token& stop) {
        ::pthread_setname_np(::pthread_self(), "event-feed");
        work(stop);
      }) {}

void EventFeed::stop() {
  thread_.request_stop();
  if (thread_.joinable()) thread_.join();
}

void EventFeed::work(const std::stop_token& stop) {
  bool has_place = false;
  std::chrono::nanoseconds wait{0};
  while (clock_.wait_for(wait, stop)) {
    wait = options_.every;
    if (!is_leader_()) {
      is_known_ = false;  // another replica may bring some meanwhile
      continue;
    }
    if (const std::int64_t epoch = options_.epoch ? options_.epoch() : 0; epoch != epoch_) {
      epoch_ = epoch;
      is_known_ = false;
    }
    Result<bool> brought = false;
    if (!has_place) {
      if (auto added = outbox_.add_consumer(kConsumer); !added) brought = std::unexpected(std::move(added).error());
      has_place = brought.has_value();
    }
    if (has_place) brought = bring(stop);
    if (!brought) {
      is_known_ = false;
      wait = options_.again_after;
      if (stop.stop_requested()) return;
      failures_.add();
      log::warning("events_not_stored", {{"error", brought.error().message()}});
    } else if (*brought) {
      wait = std::chrono::nanoseconds(0);
    }
  }
}

Result<bool> EventFeed::bring(const std::stop_token& stop) {
  auto batch = outbox_.next(kConsumer);
  if (!batch) return std::unexpected(std::move(batch).error());
  if (batch->rows.empty()) return false;
  std::set<std::string> stored;
  if (!is_known_) {
    auto found = stored_of(*batch, stop);
    if (!found) return std::unexpected(std::move(found).error());
    stored = std::move(*found);
  }
  const std::vector<Item> items = items_of(*batch, stored);
  const std::string token =
      fmt::format("events-{}-{}", ledger::to_string(batch->rows.front().cursor), ledger::to_string(batch->end));
  const bool whole = refusals_ < options_.refusals_max;
  auto inserted = whole ? insert(*batch, items, token, stop) : insert_in_parts(*batch, items, stop);
  if (!inserted) {
    refusals_ = is_refused(inserted.error()) ? refusals_ + 1 : refusals_;
    return std::unexpected(std::move(inserted).error());
  }
  if (auto advanced = outbox_.advance(kConsumer, batch->end, options_.fence); !advanced) {
    return std::unexpected(std::move(advanced).error());
  }
  is_known_ = true;
  refusals_ = 0;
  return batch->is_full;
}

std::vector<EventFeed::Item> EventFeed::items_of(const ledger::OutboxBatch& batch,
                                                 const std::set<std::string>& stored) {
  std::vector<Item> items;
  for (const ledger::OutboxRow& row : batch.rows) {
    for (std::size_t i = 0; i < row.events.size(); ++i) {
      std::string id = id_of(row, i);
      if (!stored.contains(id)) items.push_back({.row = &row, .index = i, .id = std::move(id)});
    }
  }
  return items;
}

Result<void> EventFeed::insert(const ledger::OutboxBatch& batch, std::span<const Item> items, const std::string& token,
                               const std::stop_token& stop) {
  const UnixNanos now = clock_.now();
  telemetry::ResolvedIds ids;
  for (const Item& item : items) {
    const ledger::Event& event = item.row->events[item.index];
    telemetry::EventRow out{
        .ts = event.at, .event_id = item.id, .type = event.type, .trace_id = {}, .data = event.body};
    ids.clear();
    for (const ledger::Identifier& identifier : event.identifiers) {
      if (identifier.name == "trace_id") {
        out.trace_id = identifier.value;
      } else if (const auto* definition = catalogue_.by_name(identifier.name)) {
        ids.set(definition->kind, identifier.value);
      }
    }
    builder_.append(item.row->workspace.value, out, ids, now);
    identifiers_.append(item.row->workspace.value, ids, raw_trace_id(out.trace_id), event.at,
                        telemetry::Signal::kEvent);
  }
  // The ingest_id of a row is no less than the number of the row of the outbox that it comes from: see stored_of().
  std::int64_t newest = 0;
  for (const ledger::OutboxRow& row : batch.rows) newest = std::max(newest, row.cursor.id);
  // Tokens of their own for each day: a repeated batch is recognised whatever part of it was stored.
  telemetry::StatementOptions options;
  options.stop = stop;
  // The index first: an event that is there is skipped by a later delivery, so what leads to it must be there too.
  std::vector<telemetry::TableBlock> blocks = identifiers_.take();
  std::ranges::move(builder_.take(), std::back_inserter(blocks));
  for (const telemetry::TableBlock& block : blocks) {
    const telemetry::NativeFrame frame(block, static_cast<std::uint64_t>(newest));
    const auto pieces = frame.pieces();
    if (auto done = client_.insert(block.table, pieces, fmt::format("{}-{}", token, block.day), options); !done) {
      return done;
    }
  }
  brought_.add(static_cast<double>(items.size()));
  return {};
}

Result<void> EventFeed::insert_in_parts(const ledger::OutboxBatch& batch, std::span<const Item> items,
                                        const std::stop_token& stop) {
  if (items.empty()) return {};
  auto whole = insert(batch, items, fmt::format("events-part-{}-{}", items.front().id, items.back().id), stop);
  if (whole || !is_refused(whole.error())) return whole;
  if (items.size() == 1) {
    refused_.add();
    log::error("event_refused", {{"event_id", items.front().id},
                                 {"workspace", items.front().row->workspace.value},
                                 {"event_type", items.front().row->events[items.front().index].type},
                                 {"error", whole.error().message()}});
    return {};
  }
  // A refused insert may have stored the events of some of its days.
  auto stored = stored_of(batch, stop);
  if (!stored) return std::unexpected(std::move(stored).error());
  std::vector<Item> left;
  for (const Item& item : items) {
    if (!stored->contains(item.id)) left.push_back(item);
  }
  const std::size_t half = (left.size() + 1) / 2;
  if (auto first = insert_in_parts(batch, std::span(left).first(half), stop); !first) return first;
  return insert_in_parts(batch, std::span(left).subspan(half), stop);
}

// Which of these events the store has, from an earlier delivery of which nobody knows how it ended.
Result<std::set<std::string>> EventFeed::stored_of(const ledger::OutboxBatch& batch, const std::stop_token& stop) {
  UnixNanos from = std::numeric_limits<UnixNanos>::max();
  UnixNanos to = 0;
  std::int64_t oldest = batch.rows.front().cursor.id;
  for (const ledger::OutboxRow& row : batch.rows) {
    oldest = std::min(oldest, row.cursor.id);
    for (const ledger::Event& event : row.events) {
      from = std::min(from, event.at);
      to = std::max(to, event.at);
    }
  }
  telemetry::StatementOptions options;
  options.stop = stop;
  options.parameters = {{"from", std::to_string(from)}, {"to", std::to_string(to)}, {"oldest", std::to_string(oldest)}};
  auto found = client_.query(fmt::format("SELECT event_id FROM {}.events WHERE ingest_id >= {{oldest:UInt64}} AND "
                                         "ts >= fromUnixTimestamp64Nano({{from:Int64}}, 'UTC') AND "
                                         "ts <= fromUnixTimestamp64Nano({{to:Int64}}, 'UTC')",
                                         client_.database()),
                             options);
  if (!found) return std::unexpected(std::move(found).error());
  std::set<std::string> stored;
  for (std::vector<std::string>& row : *found) stored.insert(std::move(row.front()));
  return stored;
}

}  // namespace fettle::server
