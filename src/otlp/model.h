// What an OTLP request holds, flat: one vector a kind, joined by ranges, with no tree of messages in between.
//
// Strings are views into the request's bytes or into the request object's own arena. A DECODED REQUEST IS VALID ONLY
// WHILE THE BYTES IT WAS DECODED FROM LIVE. Field meanings: opentelemetry-proto, trace/logs/metrics/common v1.
// Not thread-safe; move it from thread to thread whole.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.h"

namespace fettle::otlp {

// Part of a vector of the same request: [first, first + count).
struct Range {
  std::uint32_t first = 0;
  std::uint32_t count = 0;
};

enum class ValueType : std::uint8_t { kEmpty, kString, kBool, kInt, kDouble, kBytes, kArray, kMap };

// An AnyValue. Arrays and maps name their children by range: `values` for an array, `attributes` for a map.
struct Value {
  ValueType type = ValueType::kEmpty;
  std::uint32_t size = 0;  // bytes of a string or bytes value, children of an array or map
  union {
    std::int64_t integer = 0;
    bool boolean;
    double number;
    const char* data;
    std::uint32_t first;
  };

  static Value of_string(std::string_view text) {
    Value value;
    value.type = ValueType::kString;
    value.set_text(text);
    return value;
  }
  std::string_view text() const { return {data, size}; }  // kString and kBytes
  void set_text(std::string_view text) {
    data = text.data();
    size = static_cast<std::uint32_t>(text.size());
  }
  Range children() const { return {first, size}; }  // kArray and kMap
};

struct Attribute {
  std::string_view key;
  Value value;
};

// In development upstream: kept, and nothing depends on it. The keys name attributes of the resource that holds it.
struct EntityRef {
  std::string_view schema_url;
  std::string_view type;
  Range id_keys;           // of `values`, strings
  Range description_keys;  // of `values`, strings
};

struct Resource {
  Range attributes;
  std::uint32_t dropped_attributes_count = 0;
  std::string_view schema_url;
  Range entity_refs;
};

struct Scope {
  std::string_view name;
  std::string_view version;
  Range attributes;
  std::uint32_t dropped_attributes_count = 0;
  std::string_view schema_url;
};

struct Event {
  UnixNanos time = 0;
  std::string_view name;
  Range attributes;
  std::uint32_t dropped_attributes_count = 0;
};

struct Link {
  std::string_view trace_id;  // 16 raw bytes, or empty: an invalid id only loses the association
  std::string_view span_id;   // 8 raw bytes, or empty
  std::string_view trace_state;
  Range attributes;
  std::uint32_t dropped_attributes_count = 0;
  std::uint32_t flags = 0;
};

struct Span {
  std::uint32_t resource = 0;       // index into resources
  std::uint32_t scope = 0;          // index into scopes
  std::string_view trace_id;        // 16 raw bytes
  std::string_view span_id;         // 8 raw bytes
  std::string_view parent_span_id;  // 8 raw bytes or empty
  std::string_view trace_state;
  std::string_view name;
  std::int32_t kind = 0;
  UnixNanos start = 0;
  UnixNanos end = 0;
  Range attributes;
  Range events;
  Range links;
  std::uint32_t dropped_attributes_count = 0;
  std::uint32_t dropped_events_count = 0;
  std::uint32_t dropped_links_count = 0;
  std::int32_t status_code = 0;
  std::string_view status_message;
  std::uint32_t flags = 0;
};

struct LogRecord {
  std::uint32_t resource = 0;
  std::uint32_t scope = 0;
  UnixNanos time = 0;           // 0: unknown
  UnixNanos observed_time = 0;  // 0: unknown
  std::int32_t severity_number = 0;
  std::string_view severity_text;
  Value body;
  Range attributes;
  std::uint32_t dropped_attributes_count = 0;
  std::uint32_t flags = 0;
  // 16 and 8 raw bytes, or empty: an invalid id only loses the association.
  std::string_view trace_id;
  std::string_view span_id;
  std::string_view event_name;
  // An id that is not 16 bytes ("abc-123"), kept as sent; only sources other than OTLP fill it.
  std::string_view foreign_trace_id;
};

enum class MetricType : std::uint8_t { kGauge = 1, kSum = 2, kHistogram = 3, kExponentialHistogram = 4, kSummary = 5 };
enum class Temporality : std::uint8_t { kUnspecified = 0, kDelta = 1, kCumulative = 2 };

struct Metric {
  std::uint32_t resource = 0;
  std::uint32_t scope = 0;
  std::string_view name;
  std::string_view description;
  std::string_view unit;
  MetricType type = MetricType::kGauge;
  Temporality temporality = Temporality::kUnspecified;
  bool is_monotonic = false;
  Range metadata;
};

constexpr std::uint32_t kFlagNoRecordedValue = 1;

struct Exemplar {
  UnixNanos time = 0;
  double value = 0;
  std::string_view trace_id;  // raw bytes or empty
  std::string_view span_id;
  Range filtered_attributes;
};

struct NumberPoint {
  std::uint32_t metric = 0;  // index into metrics
  Range attributes;
  UnixNanos start = 0;
  UnixNanos time = 0;
  bool is_int = false;
  double number = 0;
  std::int64_t integer = 0;
  Range exemplars;
  std::uint32_t flags = 0;
};

// Explicit buckets; `bucket_counts` and `bounds` are ranges of `integers` and `doubles`.
struct HistogramPoint {
  std::uint32_t metric = 0;
  Range attributes;
  UnixNanos start = 0;
  UnixNanos time = 0;
  std::uint64_t count = 0;
  bool has_sum = false, has_min = false, has_max = false;
  double sum = 0, min = 0, max = 0;
  Range bucket_counts;
  Range bounds;
  Range exemplars;
  std::uint32_t flags = 0;
};

struct ExponentialHistogramPoint {
  std::uint32_t metric = 0;
  Range attributes;
  UnixNanos start = 0;
  UnixNanos time = 0;
  std::uint64_t count = 0;
  bool has_sum = false, has_min = false, has_max = false;
  double sum = 0, min = 0, max = 0;
  std::int32_t scale = 0;
  std::uint64_t zero_count = 0;
  double zero_threshold = 0;
  std::int32_t positive_offset = 0;
  Range positive_counts;  // of `integers`
  std::int32_t negative_offset = 0;
  Range negative_counts;  // of `integers`
  Range exemplars;
  std::uint32_t flags = 0;
};

struct SummaryPoint {
  std::uint32_t metric = 0;
  Range attributes;
  UnixNanos start = 0;
  UnixNanos time = 0;
  std::uint64_t count = 0;
  double sum = 0;
  Range quantiles;  // of `doubles`: quantile, value, quantile, value, …
  std::uint32_t flags = 0;
};

// Items that were refused one by one while the rest of the request was accepted.
struct Rejections {
  std::int64_t count = 0;
  std::string first_reason;  // one short English sentence; never holds payload

  void add(std::string_view reason, std::int64_t items = 1) {
    if (count == 0) first_reason = reason;
    count += items;
  }
};

// What all three signals share.
struct Common {
  std::vector<Resource> resources;
  std::vector<Scope> scopes;
  std::vector<Attribute> attributes;
  std::vector<Value> values;
  std::vector<EntityRef> entity_refs;
  // Strings that are not in the request's bytes: unescaped, repaired or masked ones. A deque keeps their addresses.
  std::deque<std::string> arena;
  Rejections rejections;
  std::int64_t duplicate_attributes = 0;  // keys that came twice in one list; the last won
  std::int64_t truncated_attributes = 0;  // attributes cut at a limit; also in the item's dropped count
  std::int64_t truncated_strings = 0;     // strings and bytes values cut at a limit

  std::string_view keep(std::string text) { return arena.emplace_back(std::move(text)); }
};

struct Traces : Common {
  std::vector<Span> spans;
  std::vector<Event> events;
  std::vector<Link> links;
};

struct Logs : Common {
  std::vector<LogRecord> records;
};

struct Metrics : Common {
  std::vector<Metric> metrics;
  std::vector<NumberPoint> number_points;
  std::vector<HistogramPoint> histogram_points;
  std::vector<ExponentialHistogramPoint> exponential_histogram_points;
  std::vector<SummaryPoint> summary_points;
  std::vector<Exemplar> exemplars;
  std::vector<std::uint64_t> integers;
  std::vector<double> doubles;
};

}  // namespace fettle::otlp
