// GET /api/v1/stream: the live stream of domain events.
#include <algorithm>

#include "api/api.h"
#include "api/filters.h"

namespace fettle::api {
namespace {

constexpr std::size_t kTopicsMax = 32;
constexpr std::size_t kTopicBytesMax = 64;

bool is_topic(std::string_view text) {
  return !text.empty() && text.size() <= kTopicBytesMax && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
  });
}

// "run,approval"
Result<std::vector<std::string>> topics_of(std::string_view text) {
  std::vector<std::string> topics;
  while (!text.empty()) {
    const std::size_t comma = std::min(text.find(','), text.size());
    const std::string_view topic = text.substr(0, comma);
    if (!is_topic(topic) || topics.size() == kTopicsMax) {
      return fail(ErrorCode::kInvalidArgument,
                  "parameter 'topics': expected at most 32 beginnings of event types, such as run,approval");
    }
    topics.emplace_back(topic);
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return topics;
}

Result<EventFilter> event_filter(const http::Query& query, std::span<const std::string> kinds) {
  EventFilter filter;
  for (const auto& [name, value] : query) {
    if (name == "workspace" || name == "last_event_id") continue;
    if (name == "topics") {
      auto topics = topics_of(value);
      if (!topics) return std::unexpected(std::move(topics).error());
      filter.topics = std::move(*topics);
      continue;
    }
    if (std::ranges::find(kinds, name) == kinds.end()) {
      return fail(ErrorCode::kInvalidArgument, "parameter '" + std::string(name) + "' is not known here");
    }
    if (value.empty() || value.size() > ledger::kIdentifierValueBytesMax) {
      return fail(ErrorCode::kInvalidArgument, "parameter '" + std::string(name) + "': expected 1 to 256 bytes");
    }
    filter.identifiers.emplace_back(name, value);
  }
  return filter;
}

}  // namespace

void Api::stream_events(Exchange exchange) {
  if (!streams_) return exchange.problem(Error(ErrorCode::kUnavailable, "the ledger is not open"));
  const http::Request& request = exchange.request();
  auto filter = event_filter(request.query, services_.reader.identifier_kinds());
  if (!filter) return exchange.problem(filter.error());
  std::string_view given = request.headers.get("Last-Event-ID");
  if (given.empty()) given = request.query.get("last_event_id");
  std::optional<ledger::OutboxCursor> place;
  if (!given.empty()) {
    place = ledger::outbox_cursor_of(given);
    if (!place)
      return exchange.problem(Error(ErrorCode::kInvalidArgument, "Last-Event-ID is not one that a stream gave"));
  }
  streams_->run(std::move(exchange), std::move(*filter), place);
}

}  // namespace fettle::api
