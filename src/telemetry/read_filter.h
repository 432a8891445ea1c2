// The questions that can be asked of the store, as plain values: which spans, which logs, whose journey. They are
// filled from query parameters in api/ and turned into statements with bound parameters in the Reader; no text of a
// user ever becomes part of a statement.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.h"

namespace fettle::telemetry {

// Half open: from <= t < to. An absent end is open.
struct TimeRange {
  std::optional<UnixNanos> from;
  std::optional<UnixNanos> to;
};

enum class Order : std::uint8_t { kNewestFirst, kOldestFirst };

// Severity in the bands of the OpenTelemetry log model: 1-4 trace, 5-8 debug, 9-12 info, 13-16 warn, 17-20 error,
// 21-24 fatal, anything else unset.
enum class Level : std::uint8_t { kUnset, kTrace, kDebug, kInfo, kWarn, kError, kFatal };
constexpr std::size_t kLevelCount = 7;
constexpr std::array<std::string_view, kLevelCount> kLevelNames = {"unset", "trace", "debug", "info",
                                                                   "warn",  "error", "fatal"};
constexpr std::uint8_t lowest_severity_number(Level level) {
  return level == Level::kUnset ? 0 : static_cast<std::uint8_t>(4 * static_cast<int>(level) - 3);
}

// All of it must match, without regard to case. Words are whole words (letters and digits), phrases are words next to
// each other, parts may lie inside a word.
struct TextFilter {
  std::vector<std::string> words;
  std::vector<std::string> phrases;
  std::vector<std::string> parts;
  bool empty() const { return words.empty() && phrases.empty() && parts.empty(); }
};

struct IdentifierFilter {
  std::string kind;  // one of Reader::identifier_kinds()
  std::vector<std::string> any_of;
};

// An attribute of the span or log, or with `of_resource` of its resource, equals any of these. A value is compared as
// text with the attribute's text: "200" matches the number 200 and the string "200", "true" the boolean.
struct AttributeFilter {
  std::string key;
  std::vector<std::string> any_of;
  bool of_resource = false;
};

// Different members must all match; several values in one member are alternatives; an empty member says nothing.
struct SpanFilter {
  TimeRange time;
  std::string trace_id;  // hex in either case, or a foreign id as sent
  std::string span_id;
  std::vector<std::string> services;
  std::vector<std::string> names;
  std::vector<std::uint8_t> statuses;  // 0 unset, 1 ok, 2 error
  std::vector<std::uint8_t> kinds;     // 0 unspecified, 1 internal, 2 server, 3 client, 4 producer, 5 consumer
  std::optional<std::chrono::nanoseconds> duration_min;
  std::optional<std::chrono::nanoseconds> duration_max;
  TextFilter text;  // in name, status message and attribute values
  std::vector<IdentifierFilter> identifiers;
  std::vector<AttributeFilter> attributes;
  Order order = Order::kNewestFirst;
};

struct LogFilter {
  TimeRange time;
  std::string trace_id;
  std::string span_id;
  std::vector<std::string> services;
  std::optional<Level> level_min;  // this level and those above; kUnset is below all
  std::vector<std::string> event_names;
  TextFilter text;  // in the body
  std::vector<IdentifierFilter> identifiers;
  std::vector<AttributeFilter> attributes;
  Order order = Order::kNewestFirst;
};

struct JourneyFilter {
  std::string value;
  std::string kind;  // empty: whatever the value is
  TimeRange time;
  // Which rows are on the timeline; none of them set: all.
  bool spans = false, logs = false, events = false;
};

}  // namespace fettle::telemetry
