#include "ledger/events.h"

#include <fmt/format.h>

#include <algorithm>

#include "db/transaction.h"
#include "ledger/cleaning.h"
#include "ledger/event_packing.h"
#include "ledger/packing.h"

namespace fettle::ledger {
namespace {

constexpr std::uint64_t kFormat = 1;  // on disk: a change of the layout is another number
constexpr std::size_t kTypeBytesMax = 64;

bool is_name(std::string_view name, std::size_t size_max, bool dots) {
  if (name.empty() || name.size() > size_max) return false;
  return std::ranges::all_of(
      name, [&](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || (dots && c == '.'); });
}

Result<void> check(const EventView& event) {
  if (!is_name(event.type, kTypeBytesMax, true)) return fail(ErrorCode::kInvalidArgument, "event: malformed type");
  if (event.at <= 0) return fail(ErrorCode::kInvalidArgument, "event: at is not a time since 1970");
  if (event.body.size() > kEventBodyBytesMax) {
    return fail(ErrorCode::kTooLarge, fmt::format("event {}: a body of {} bytes, at most {}", event.type,
                                                  event.body.size(), kEventBodyBytesMax));
  }
  if (event.identifiers.size() > kIdentifiersMax) {
    return fail(ErrorCode::kTooLarge, fmt::format("event {}: {} identifiers, at most {}", event.type,
                                                  event.identifiers.size(), kIdentifiersMax));
  }
  for (const Identifier& identifier : event.identifiers) {
    if (!is_name(identifier.name, kIdentifierNameBytesMax, false)) {
      return fail(ErrorCode::kInvalidArgument, fmt::format("event {}: an identifier's name is malformed", event.type));
    }
    if (identifier.value.size() > kIdentifierValueBytesMax) {
      return fail(ErrorCode::kTooLarge,
                  fmt::format("event {}: {} has {} bytes, at most {}", event.type, identifier.name,
                              identifier.value.size(), kIdentifierValueBytesMax));
    }
  }
  return {};
}

}  // namespace

std::string pack_events(std::span<const EventView> events) {
  std::string out;
  std::size_t bytes = 16;
  for (const EventView& event : events) {
    bytes += event.type.size() + event.body.size() + 16;
    for (const Identifier& identifier : event.identifiers)
      bytes += identifier.name.size() + identifier.value.size() + 4;
  }
  out.reserve(bytes);
  pack_number(out, kFormat);
  pack_number(out, events.size());
  for (const EventView& event : events) {
    pack_text(out, event.type);
    pack_number(out, static_cast<std::uint64_t>(event.at));
    pack_number(out, event.identifiers.size());
    for (const Identifier& identifier : event.identifiers) {
      pack_text(out, identifier.name);
      pack_text(out, identifier.value);
    }
    pack_text(out, event.body);
  }
  return out;
}

Result<std::vector<Event>> unpack_events(std::string_view bytes) {
  Unpacker in(bytes);
  std::vector<Event> events;
  if (in.number() != kFormat) return fail(ErrorCode::kDataLoss, "an outbox row is of an unknown format");
  events.resize(in.count());
  for (Event& event : events) {
    event.type = in.text();
    event.at = static_cast<UnixNanos>(in.number());
    event.identifiers.resize(in.count());
    for (Identifier& identifier : event.identifiers) {
      identifier.name = in.text();
      identifier.value = in.text();
    }
    event.body = in.text();
    if (!in.good()) break;
  }
  if (!in.good() || !in.at_end()) return fail(ErrorCode::kDataLoss, "an outbox row is damaged");
  return events;
}

Result<void> publish(db::Transaction& tx, const Scope& scope, std::span<const EventView> events) {
  if (events.empty()) return {};
  if (events.size() > kEventsMax) {
    return fail(ErrorCode::kTooLarge, fmt::format("{} events, at most {} at once", events.size(), kEventsMax));
  }
  for (const EventView& event : events) {
    if (auto fits = check(event); !fits) return fits;
  }
  const std::string packed = pack_events(events);
  if (packed.size() > kEventsBytesMax) {
    return fail(ErrorCode::kTooLarge,
                fmt::format("events of {} bytes, at most {} at once", packed.size(), kEventsBytesMax));
  }
  const db::Value values[] = {scope.workspace, static_cast<std::int64_t>(events.size()), db::BlobView{packed}};
  auto written = tx.post("INSERT INTO outbox (workspace, event_count, events) VALUES ($1, $2, $3)", 3, values);
  if (!written) return std::unexpected(std::move(written).error().within("publishing events"));
  return {};
}

namespace {

// An event that may hold a secret, with nothing left of it.
Result<Event> cleaned(const EventView& event, const redact::Redactor& redactor) {
  Event out{.type = std::string(event.type),
            .at = event.at,
            .identifiers = {event.identifiers.begin(), event.identifiers.end()},
            .body = std::string(event.body)};
  for (Identifier& identifier : out.identifiers) {
    identifier.value = redactor.redact(identifier.value, identifier.name);
  }
  if (out.body.empty()) return out;
  if (auto done = redact_json(out.body, event.type, redactor); !done) return std::unexpected(std::move(done).error());
  return out;
}

void append_text(std::string& out, const EventView& event) {
  for (const Identifier& identifier : event.identifiers) (out += identifier.value) += '\n';
  (out += event.body) += '\n';
}

}  // namespace

Result<void> publish(db::Transaction& tx, const Scope& scope, std::span<const EventView> events,
                     const redact::Redactor& redactor) {
  thread_local redact::Scratch scratch;
  thread_local std::string text;
  text.clear();
  bool is_escaped = false;
  for (const EventView& event : events) {
    append_text(text, event);
    // An escape hides where a word begins.
    is_escaped = is_escaped || event.body.contains('\\');
  }
  const redact::Redactor::Subject all{.text = text, .key = {}};
  std::vector<redact::Finding> findings;
  redact::RuleCounts counts;
  redactor.scan({&all, 1}, scratch, findings, counts);
  if (findings.empty() && !is_escaped) return publish(tx, scope, events);
  std::vector<Event> clean;
  clean.reserve(events.size());
  for (const EventView& event : events) {
    auto one = cleaned(event, redactor);
    if (!one) return std::unexpected(std::move(one).error());
    clean.push_back(*std::move(one));
  }
  return publish(tx, scope, clean);
}

Result<void> publish(db::Transaction& tx, const Scope& scope, std::span<const Event> events) {
  std::vector<EventView> views;
  views.reserve(events.size());
  for (const Event& event : events) views.push_back({event.type, event.at, event.identifiers, event.body});
  return publish(tx, scope, views);
}

Result<void> publish(db::Transaction& tx, const Scope& scope, const Event& event) {
  return publish(tx, scope, std::span(&event, 1));
}

}  // namespace fettle::ledger
