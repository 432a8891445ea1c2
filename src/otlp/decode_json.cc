#include <simdjson.h>

#include <charconv>
#include <cmath>
#include <limits>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "otlp/assemble.h"
#include "otlp/base64.h"
#include "otlp/decode.h"

namespace fettle::otlp {
namespace {

namespace dom = simdjson::dom;

// What a sender may write that is JSON, or as good as, but that the parser does not take:
//  - half a surrogate pair ("\ud83d"), which JavaScript writes when it cut a string between the two: becomes U+FFFD;
//  - whole numbers beyond 64 bits (1e20 is 100000000000000000000 in JavaScript): get an exponent, so that they are
//    read as doubles.
// Returns nothing when there is neither.
std::optional<std::string> repaired_json(std::string_view json) {
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  const auto escape_at = [&](std::size_t at) -> std::optional<std::uint32_t> {
    std::uint32_t unit = 0;
    if (json.size() - at < 6 || json[at] != '\\' || json[at + 1] != 'u') return std::nullopt;
    const char* const begin = json.data() + at + 2;
    const auto [end, error] = std::from_chars(begin, begin + 4, unit, 16);
    if (error != std::errc() || end != begin + 4) return std::nullopt;
    return unit;
  };
  const auto is_high = [](std::uint32_t unit) { return unit >= 0xD800 && unit <= 0xDBFF; };
  const auto is_low = [](std::uint32_t unit) { return unit >= 0xDC00 && unit <= 0xDFFF; };

  std::string repaired;
  std::size_t copied = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < json.size();) {
    const char c = json[i];
    if (c == '"') {
      in_string = !in_string;
      ++i;
    } else if (in_string && c == '\\') {
      const std::optional<std::uint32_t> unit = escape_at(i);
      if (!unit) {
        i += 2;
        continue;
      }
      if (is_high(*unit)) {
        const std::optional<std::uint32_t> next = json.size() - i >= 12 ? escape_at(i + 6) : std::nullopt;
        if (next && is_low(*next)) {
          i += 12;
          continue;
        }
      }
      if (is_high(*unit) || is_low(*unit)) {
        repaired.append(json, copied, i - copied).append("\\ufffd");
        copied = i + 6;
      }
      i += 6;
    } else if (!in_string && (is_digit(c) || c == '-')) {
      std::size_t end = i + 1;
      while (end < json.size() && is_digit(json[end])) ++end;
      const bool whole = end == json.size() || (json[end] != '.' && json[end] != 'e' && json[end] != 'E');
      std::int64_t negative = 0;
      std::uint64_t positive = 0;
      const char* const first = json.data() + i;
      const char* const last = json.data() + end;
      const std::errc error =
          c == '-' ? std::from_chars(first, last, negative).ec : std::from_chars(first, last, positive).ec;
      if (whole && error == std::errc::result_out_of_range) {
        repaired.append(json, copied, end - copied).append("e0");
        copied = end;
      }
      // Over the rest of the number, whose digits must not be taken for another one.
      while (end < json.size() && (is_digit(json[end]) || std::string_view(".eE+-").contains(json[end]))) ++end;
      i = end;
    } else {
      ++i;
    }
  }
  if (copied == 0) return std::nullopt;
  repaired.append(json, copied);
  return repaired;
}

// Reads JSON into the flat model. Lists must be contiguous there, so what a value nests is read only once the list it
// stands in is complete: until then it waits in `pending_`. Strings are copied into one arena string, because the
// parser's own buffer is needed for the next request.
class JsonReader {
 public:
  JsonReader(Common& out, const DecodeLimits& limits, std::size_t body_bytes)
      : assembler(out, limits), common(out), text_(out.arena.emplace_back()) {
    // No string is longer unescaped than it was in the body, so this is never outgrown and views into it stay good.
    text_.reserve(body_bytes);
  }

  Assembler assembler;
  Common& common;

  // Calls `field(value)` for every member that is set; `is(name)` inside tells which one it is.
  template <class Field>
  void members(dom::element element, const char* message, Field field) {
    where_ = message;
    field_ = nullptr;
    dom::object object;
    if (element.get(object) != simdjson::SUCCESS) fault("expected an object");
    for (const auto [name, value] : object) {
      if (value.is_null()) continue;
      name_ = name;
      where_ = message;
      field_ = nullptr;
      field(value);
    }
  }
  bool is(const char* name) {
    if (name_ != name) return false;
    field_ = name;
    return true;
  }

  using List = std::optional<dom::array>;
  List list(dom::element element) {
    dom::array array;
    if (element.get(array) != simdjson::SUCCESS) fault("expected an array");
    return array;
  }
  // A member of a oneof: at most one may be set.
  void only(bool& seen) {
    if (seen) fault("another member of the same choice is set as well");
    seen = true;
  }

  std::string_view string(dom::element element) { return store(assembler.string(text_of(element))); }

  // Hexadecimal in either case; empty when not set. Whether the length is right is judged with the item.
  std::string_view id(dom::element element) {
    const std::string_view hex = text_of(element);
    if (hex.size() % 2 != 0) fault("expected hexadecimal digits");
    const std::size_t begin = text_.size();
    reserve(hex.size() / 2);
    for (std::size_t i = 0; i < hex.size(); i += 2) {
      const int high = hex_digit(hex[i]);
      const int low = hex_digit(hex[i + 1]);
      if (high < 0 || low < 0) fault("expected hexadecimal digits");
      text_.push_back(static_cast<char>(high << 4 | low));
    }
    return std::string_view(text_).substr(begin);
  }

  bool boolean(dom::element element) {
    bool value = false;
    if (element.get(value) != simdjson::SUCCESS) fault("expected true or false");
    return value;
  }

  template <class Int>
  Int integer(dom::element element) {
    std::int64_t small = 0;
    std::uint64_t large = 0;
    if (element.is_string()) return integer_text<Int>(text_of(element));
    if (element.is<std::int64_t>() && element.get(small) == simdjson::SUCCESS) return narrow<Int>(small);
    if (element.is<std::uint64_t>() && element.get(large) == simdjson::SUCCESS) return narrow<Int>(large);
    double number = 0;
    if (!element.is_double() || element.get(number) != simdjson::SUCCESS) fault("expected a whole number");
    return integral<Int>(number);
  }
  std::int32_t enumerator(dom::element element) {
    if (element.is_string()) fault("expected the number of an enumerator, not a name");
    return integer<std::int32_t>(element);
  }
  UnixNanos time(dom::element element) { return to_nanos(integer<std::uint64_t>(element)); }

  double number(dom::element element) {
    double value = 0;
    if (!element.is_string()) {
      if (element.get(value) != simdjson::SUCCESS) fault("expected a number");
      return value;
    }
    const std::string_view text = text_of(element);
    if (text == "NaN") return std::numeric_limits<double>::quiet_NaN();
    if (text == "Infinity") return std::numeric_limits<double>::infinity();
    if (text == "-Infinity") return -std::numeric_limits<double>::infinity();
    // from_chars would take "inf" and "nan" too.
    const bool digits = text.find_first_not_of("0123456789.eE+-") == std::string_view::npos;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (!digits || error != std::errc() || end != text.data() + text.size()) fault("expected a number");
    return value;
  }

  // The attributes of an item, which start a new list.
  Range attributes(const List& list, std::uint32_t& dropped) {
    const std::size_t first = common.attributes.size();
    const std::size_t pending = pending_.size();
    std::uint32_t cut = 0;
    if (list) {
      for (const dom::element element : *list) {
        if (assembler.admits(first, cut)) key_value(element);
      }
    }
    const Range range = assembler.close(first, cut, dropped);
    expand_attributes(range, pending, 1);
    return range;
  }

  void any_value_whole(dom::element element, Value& value) {
    const std::size_t pending = pending_.size();
    any_value(element, value);
    expand(value, 1);
    pending_.erase(pending_.begin() + static_cast<std::ptrdiff_t>(pending), pending_.end());
  }

  [[noreturn, gnu::cold, gnu::noinline]] void fault(const char* what) const {
    throw DecodeError{.code = ErrorCode::kInvalidArgument, .where = where_, .what = what, .field = field_};
  }

 private:
  static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  }

  std::string_view text_of(dom::element element) const {
    std::string_view text;
    if (element.get(text) != simdjson::SUCCESS) fault("expected a string");
    return text;
  }

  // Views into text_ must stay good: if the arithmetic at its reserve() were ever wrong, this stops us.
  void reserve(std::size_t more) const {
    if (text_.capacity() - text_.size() < more) {
      throw DecodeError{ErrorCode::kInternal, "the request", "its strings are longer than the request"};
    }
  }
  std::string_view store(std::string_view text) {
    if (text.empty()) return {};
    reserve(text.size());
    const std::size_t begin = text_.size();
    text_.append(text);
    return std::string_view(text_).substr(begin);
  }

  template <class Int, class From>
  Int narrow(From value) const {
    if (!std::in_range<Int>(value)) fault("the number is out of range");
    return static_cast<Int>(value);
  }
  template <class Int>
  Int integral(double number) const {
    // 2^64 and -2^63 are doubles; the largest integers are not.
    if (number != std::trunc(number) || !(number >= -0x1p63 && number < 0x1p64)) fault("expected a whole number");
    if (number < 0) return narrow<Int>(static_cast<std::int64_t>(number));
    return narrow<Int>(static_cast<std::uint64_t>(number));
  }
  template <class Int>
  Int integer_text(std::string_view text) const {
    Int value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) fault("expected a whole number");
    return value;
  }

  void key_value(dom::element element) {
    Attribute& attribute = common.attributes.emplace_back();
    std::optional<dom::element> value;
    members(element, "KeyValue", [&](dom::element member) {
      if (is("key")) {
        attribute.key = string(member);
      } else if (is("value")) {
        value = member;
      } else if (is("keyStrindex")) {
        warn_string_index();
      }
    });
    if (value) any_value(*value, attribute.value);
  }

  void any_value(dom::element element, Value& value) {
    value = Value{};
    if (element.is_null()) return;
    bool seen = false;
    members(element, "AnyValue", [&](dom::element member) {
      if (is("stringValue")) {
        only(seen);
        value = Value::of_string(string(member));
      } else if (is("boolValue")) {
        only(seen);
        value.type = ValueType::kBool;
        value.boolean = boolean(member);
      } else if (is("intValue")) {
        only(seen);
        value.type = ValueType::kInt;
        value.integer = integer<std::int64_t>(member);
      } else if (is("doubleValue")) {
        only(seen);
        value.type = ValueType::kDouble;
        value.number = number(member);
      } else if (is("arrayValue")) {
        only(seen);
        wait(ValueType::kArray, member, value);
      } else if (is("kvlistValue")) {
        only(seen);
        wait(ValueType::kMap, member, value);
      } else if (is("bytesValue")) {
        only(seen);
        value.type = ValueType::kBytes;
        value.set_text(base64(member));
      } else if (is("stringValueStrindex")) {
        only(seen);
        warn_string_index();
      }
    });
  }

  std::string_view base64(dom::element element) {
    const std::string_view encoded = text_of(element);
    const std::size_t begin = text_.size();
    reserve(encoded.size());
    if (!append_base64_decoded(text_, encoded)) fault("expected base64");
    return assembler.raw(std::string_view(text_).substr(begin));
  }

  void wait(ValueType type, dom::element element, Value& value) {
    value.type = type;
    value.integer = static_cast<std::int64_t>(pending_.size());
    pending_.push_back(element);
  }

  // Of the elements from `pending` on, those that duplicates and cuts left unused are forgotten as well.
  void expand_attributes(Range range, std::size_t pending, std::uint32_t depth) {
    if (pending_.size() == pending) return;
    for (std::uint32_t i = range.first; i != range.first + range.count; ++i) {
      Value value = common.attributes[i].value;
      if (value.type != ValueType::kArray && value.type != ValueType::kMap) continue;
      expand(value, depth);
      common.attributes[i].value = value;
    }
    pending_.erase(pending_.begin() + static_cast<std::ptrdiff_t>(pending), pending_.end());
  }

  // `value` must not be in one of the vectors that grow meanwhile. `depth` is its own.
  void expand(Value& value, std::uint32_t depth) {
    if (value.type != ValueType::kArray && value.type != ValueType::kMap) return;
    List values;
    members(pending_[static_cast<std::size_t>(value.integer)],
            value.type == ValueType::kArray ? "ArrayValue" : "KeyValueList", [&](dom::element member) {
              if (is("values")) values = list(member);
            });
    const std::size_t pending = pending_.size();
    Range range;
    if (value.type == ValueType::kArray) {
      const std::size_t first = common.values.size();
      if (values) {
        for (const dom::element element : *values) {
          admit_child(depth + 1);
          Value child;
          any_value(element, child);
          common.values.push_back(child);
        }
      }
      range = since(common.values, first);
      for (std::uint32_t i = range.first; pending_.size() != pending && i != range.first + range.count; ++i) {
        Value child = common.values[i];
        expand(child, depth + 1);
        common.values[i] = child;
      }
      pending_.erase(pending_.begin() + static_cast<std::ptrdiff_t>(pending), pending_.end());
    } else {
      const std::size_t first = common.attributes.size();
      if (values) {
        for (const dom::element element : *values) {
          admit_child(depth + 1);
          key_value(element);
        }
      }
      range = assembler.close_map(first);
      expand_attributes(range, pending, depth + 1);
    }
    value.size = range.count;
    value.first = range.first;
  }

  void admit_child(std::uint32_t depth) const {
    assembler.check_depth(depth);
    assembler.check_size();
  }

  std::string& text_;
  std::vector<dom::element> pending_;
  std::string_view name_;  // of the member at hand
  const char* where_ = "the request";
  const char* field_ = nullptr;
};

class SpanReader {
 public:
  static constexpr const char* kResources = "resourceSpans";
  static constexpr const char* kScopes = "scopeSpans";
  static constexpr const char* kItems = "spans";

  SpanReader(JsonReader& json, Traces& out) : json_(json), out_(out) {}

  std::size_t size() const { return out_.spans.size(); }

  void read(dom::element element, std::uint32_t resource, std::uint32_t scope) {
    json_.assembler.count_item();
    const Assembler::Mark mark = json_.assembler.mark();
    const std::size_t first_event = out_.events.size();
    const std::size_t first_link = out_.links.size();
    JsonReader::List attributes;
    JsonReader::List events;
    JsonReader::List links;
    std::optional<dom::element> status;
    Span span;
    span.resource = resource;
    span.scope = scope;
    json_.members(element, "Span", [&](dom::element value) {
      if (json_.is("traceId")) {
        span.trace_id = json_.id(value);
      } else if (json_.is("spanId")) {
        span.span_id = json_.id(value);
      } else if (json_.is("parentSpanId")) {
        span.parent_span_id = json_.id(value);
      } else if (json_.is("traceState")) {
        span.trace_state = json_.string(value);
      } else if (json_.is("name")) {
        span.name = json_.string(value);
      } else if (json_.is("kind")) {
        span.kind = json_.enumerator(value);
      } else if (json_.is("startTimeUnixNano")) {
        span.start = json_.time(value);
      } else if (json_.is("endTimeUnixNano")) {
        span.end = json_.time(value);
      } else if (json_.is("attributes")) {
        attributes = json_.list(value);
      } else if (json_.is("droppedAttributesCount")) {
        span.dropped_attributes_count = json_.integer<std::uint32_t>(value);
      } else if (json_.is("events")) {
        events = json_.list(value);
      } else if (json_.is("droppedEventsCount")) {
        span.dropped_events_count = json_.integer<std::uint32_t>(value);
      } else if (json_.is("links")) {
        links = json_.list(value);
      } else if (json_.is("droppedLinksCount")) {
        span.dropped_links_count = json_.integer<std::uint32_t>(value);
      } else if (json_.is("status")) {
        status = value;
      } else if (json_.is("flags")) {
        span.flags = json_.integer<std::uint32_t>(value);
      }
    });
    if (status) {
      json_.members(*status, "Status", [&](dom::element value) {
        if (json_.is("message")) {
          span.status_message = json_.string(value);
        } else if (json_.is("code")) {
          span.status_code = json_.enumerator(value);
        }
      });
    }
    span.attributes = json_.attributes(attributes, span.dropped_attributes_count);
    if (events) {
      for (const dom::element event : *events) read_event(event);
    }
    if (links) {
      for (const dom::element link : *links) read_link(link);
    }
    span.events = since(out_.events, first_event);
    span.links = since(out_.links, first_link);
    if (const char* reason = judge(span)) {
      out_.rejections.add(reason);
      out_.events.resize(first_event);
      out_.links.resize(first_link);
      json_.assembler.rewind(mark);
    } else {
      out_.spans.push_back(span);
    }
  }

 private:
  void read_event(dom::element element) {
    json_.assembler.count_part();
    JsonReader::List attributes;
    Event event;
    json_.members(element, "Event", [&](dom::element value) {
      if (json_.is("timeUnixNano")) {
        event.time = json_.time(value);
      } else if (json_.is("name")) {
        event.name = json_.string(value);
      } else if (json_.is("attributes")) {
        attributes = json_.list(value);
      } else if (json_.is("droppedAttributesCount")) {
        event.dropped_attributes_count = json_.integer<std::uint32_t>(value);
      }
    });
    event.attributes = json_.attributes(attributes, event.dropped_attributes_count);
    out_.events.push_back(event);
  }

  void read_link(dom::element element) {
    json_.assembler.count_part();
    JsonReader::List attributes;
    Link link;
    json_.members(element, "Link", [&](dom::element value) {
      if (json_.is("traceId")) {
        link.trace_id = json_.id(value);
      } else if (json_.is("spanId")) {
        link.span_id = json_.id(value);
      } else if (json_.is("traceState")) {
        link.trace_state = json_.string(value);
      } else if (json_.is("attributes")) {
        attributes = json_.list(value);
      } else if (json_.is("droppedAttributesCount")) {
        link.dropped_attributes_count = json_.integer<std::uint32_t>(value);
      } else if (json_.is("flags")) {
        link.flags = json_.integer<std::uint32_t>(value);
      }
    });
    link.attributes = json_.attributes(attributes, link.dropped_attributes_count);
    settle(link);
    out_.links.push_back(link);
  }

  JsonReader& json_;
  Traces& out_;
};

class LogReader {
 public:
  static constexpr const char* kResources = "resourceLogs";
  static constexpr const char* kScopes = "scopeLogs";
  static constexpr const char* kItems = "logRecords";

  LogReader(JsonReader& json, Logs& out) : json_(json), out_(out) {}

  std::size_t size() const { return out_.records.size(); }

  void read(dom::element element, std::uint32_t resource, std::uint32_t scope) {
    json_.assembler.count_item();
    JsonReader::List attributes;
    std::optional<dom::element> body;
    LogRecord record;
    record.resource = resource;
    record.scope = scope;
    json_.members(element, "LogRecord", [&](dom::element value) {
      if (json_.is("timeUnixNano")) {
        record.time = json_.time(value);
      } else if (json_.is("observedTimeUnixNano")) {
        record.observed_time = json_.time(value);
      } else if (json_.is("severityNumber")) {
        record.severity_number = json_.enumerator(value);
      } else if (json_.is("severityText")) {
        record.severity_text = json_.string(value);
      } else if (json_.is("body")) {
        body = value;
      } else if (json_.is("attributes")) {
        attributes = json_.list(value);
      } else if (json_.is("droppedAttributesCount")) {
        record.dropped_attributes_count = json_.integer<std::uint32_t>(value);
      } else if (json_.is("flags")) {
        record.flags = json_.integer<std::uint32_t>(value);
      } else if (json_.is("traceId")) {
        record.trace_id = json_.id(value);
      } else if (json_.is("spanId")) {
        record.span_id = json_.id(value);
      } else if (json_.is("eventName")) {
        record.event_name = json_.string(value);
      }
    });
    record.attributes = json_.attributes(attributes, record.dropped_attributes_count);
    if (body) json_.any_value_whole(*body, record.body);
    settle(record);
    out_.records.push_back(record);
  }

 private:
  JsonReader& json_;
  Logs& out_;
};

class MetricReader {
 public:
  static constexpr const char* kResources = "resourceMetrics";
  static constexpr const char* kScopes = "scopeMetrics";
  static constexpr const char* kItems = "metrics";

  MetricReader(JsonReader& json, Metrics& out) : json_(json), out_(out), points_(json.assembler, out) {}

  std::size_t size() const { return out_.metrics.size(); }

  void read(dom::element element, std::uint32_t resource, std::uint32_t scope) {
    const Assembler::Mark mark = json_.assembler.mark();
    JsonReader::List metadata;
    std::optional<dom::element> data;
    bool seen = false;
    Metric metric;
    metric.resource = resource;
    metric.scope = scope;
    const auto choose = [&](dom::element value, MetricType type) {
      json_.only(seen);
      metric.type = type;
      data = value;
    };
    json_.members(element, "Metric", [&](dom::element value) {
      if (json_.is("name")) {
        metric.name = json_.string(value);
      } else if (json_.is("description")) {
        metric.description = json_.string(value);
      } else if (json_.is("unit")) {
        metric.unit = json_.string(value);
      } else if (json_.is("gauge")) {
        choose(value, MetricType::kGauge);
      } else if (json_.is("sum")) {
        choose(value, MetricType::kSum);
      } else if (json_.is("histogram")) {
        choose(value, MetricType::kHistogram);
      } else if (json_.is("exponentialHistogram")) {
        choose(value, MetricType::kExponentialHistogram);
      } else if (json_.is("summary")) {
        choose(value, MetricType::kSummary);
      } else if (json_.is("metadata")) {
        metadata = json_.list(value);
      }
    });
    std::uint32_t dropped = 0;
    metric.metadata = json_.attributes(metadata, dropped);
    const std::size_t kept = points_.kept();
    if (data) read_data(*data, metric);
    if (points_.kept() == kept) {
      json_.assembler.rewind(mark);
    } else {
      out_.metrics.push_back(metric);
    }
  }

 private:
  void read_data(dom::element element, Metric& metric) {
    const bool has_temporality = metric.type == MetricType::kSum || metric.type == MetricType::kHistogram ||
                                 metric.type == MetricType::kExponentialHistogram;
    std::int32_t temporality = 0;
    JsonReader::List points;
    json_.members(element, "metric data", [&](dom::element value) {
      if (json_.is("dataPoints")) {
        points = json_.list(value);
      } else if (has_temporality && json_.is("aggregationTemporality")) {
        temporality = json_.enumerator(value);
      } else if (metric.type == MetricType::kSum && json_.is("isMonotonic")) {
        metric.is_monotonic = json_.boolean(value);
      }
    });
    metric.temporality = static_cast<Temporality>(temporality);
    points_.begin_metric(static_cast<std::uint32_t>(out_.metrics.size()),
                         has_temporality ? judge_temporality(temporality) : nullptr);
    if (!points) return;
    for (const dom::element point : *points) {
      switch (metric.type) {
        case MetricType::kGauge:
        case MetricType::kSum: read_number(point); break;
        case MetricType::kHistogram: read_histogram(point); break;
        case MetricType::kExponentialHistogram: read_exponential(point); break;
        case MetricType::kSummary: read_summary(point); break;
      }
    }
  }

  void read_number(dom::element element) {
    const PointAssembler::Mark mark = points_.begin();
    JsonReader::List attributes;
    JsonReader::List exemplars;
    bool has_value = false;
    NumberPoint point;
    json_.members(element, "NumberDataPoint", [&](dom::element value) {
      if (read_common(value, point, attributes)) return;
      if (json_.is("asDouble")) {
        json_.only(has_value);
        point.number = json_.number(value);
      } else if (json_.is("asInt")) {
        json_.only(has_value);
        point.integer = json_.integer<std::int64_t>(value);
        point.is_int = true;
      } else if (json_.is("exemplars")) {
        exemplars = json_.list(value);
      }
    });
    read_attributes(point, attributes);
    point.exemplars = read_exemplars(exemplars);
    out_.number_points.push_back(point);
    points_.end(out_.number_points, mark, judge(out_.number_points.back(), has_value));
  }

  void read_histogram(dom::element element) {
    const PointAssembler::Mark mark = points_.begin();
    JsonReader::List attributes;
    JsonReader::List exemplars;
    JsonReader::List counts;
    JsonReader::List bounds;
    HistogramPoint point;
    json_.members(element, "HistogramDataPoint", [&](dom::element value) {
      if (read_common(value, point, attributes) || read_statistics(value, point)) return;
      if (json_.is("bucketCounts")) {
        counts = json_.list(value);
      } else if (json_.is("explicitBounds")) {
        bounds = json_.list(value);
      } else if (json_.is("exemplars")) {
        exemplars = json_.list(value);
      }
    });
    point.bucket_counts = read_counts(counts);
    const std::size_t first = out_.doubles.size();
    if (bounds) {
      for (const dom::element bound : *bounds) points_.add(out_.doubles, json_.number(bound));
    }
    point.bounds = since(out_.doubles, first);
    read_attributes(point, attributes);
    point.exemplars = read_exemplars(exemplars);
    out_.histogram_points.push_back(point);
    points_.end(out_.histogram_points, mark, judge(out_, out_.histogram_points.back()));
  }

  void read_exponential(dom::element element) {
    const PointAssembler::Mark mark = points_.begin();
    JsonReader::List attributes;
    JsonReader::List exemplars;
    std::optional<dom::element> positive;
    std::optional<dom::element> negative;
    ExponentialHistogramPoint point;
    json_.members(element, "ExponentialHistogramDataPoint", [&](dom::element value) {
      if (read_common(value, point, attributes) || read_statistics(value, point)) return;
      if (json_.is("scale")) {
        point.scale = json_.integer<std::int32_t>(value);
      } else if (json_.is("zeroCount")) {
        point.zero_count = json_.integer<std::uint64_t>(value);
      } else if (json_.is("positive")) {
        positive = value;
      } else if (json_.is("negative")) {
        negative = value;
      } else if (json_.is("zeroThreshold")) {
        point.zero_threshold = json_.number(value);
      } else if (json_.is("exemplars")) {
        exemplars = json_.list(value);
      }
    });
    if (positive) point.positive_counts = read_buckets(*positive, point.positive_offset);
    if (negative) point.negative_counts = read_buckets(*negative, point.negative_offset);
    read_attributes(point, attributes);
    point.exemplars = read_exemplars(exemplars);
    out_.exponential_histogram_points.push_back(point);
    points_.end(out_.exponential_histogram_points, mark, judge(out_, out_.exponential_histogram_points.back()));
  }

  void read_summary(dom::element element) {
    const PointAssembler::Mark mark = points_.begin();
    JsonReader::List attributes;
    JsonReader::List quantiles;
    SummaryPoint point;
    json_.members(element, "SummaryDataPoint", [&](dom::element value) {
      if (read_common(value, point, attributes)) return;
      if (json_.is("count")) {
        point.count = json_.integer<std::uint64_t>(value);
      } else if (json_.is("sum")) {
        point.sum = json_.number(value);
      } else if (json_.is("quantileValues")) {
        quantiles = json_.list(value);
      }
    });
    const std::size_t first = out_.doubles.size();
    if (quantiles) {
      for (const dom::element pair : *quantiles) {
        double quantile = 0;
        double at = 0;
        json_.members(pair, "ValueAtQuantile", [&](dom::element value) {
          if (json_.is("quantile")) {
            quantile = json_.number(value);
          } else if (json_.is("value")) {
            at = json_.number(value);
          }
        });
        points_.add(out_.doubles, quantile);
        points_.add(out_.doubles, at);
      }
    }
    point.quantiles = since(out_.doubles, first);
    read_attributes(point, attributes);
    out_.summary_points.push_back(point);
    points_.end(out_.summary_points, mark, judge(out_, out_.summary_points.back()));
  }

  // The members of every kind of point. True when it was one of them.
  template <class Point>
  bool read_common(dom::element value, Point& point, JsonReader::List& attributes) {
    if (json_.is("attributes")) {
      attributes = json_.list(value);
    } else if (json_.is("startTimeUnixNano")) {
      point.start = json_.time(value);
    } else if (json_.is("timeUnixNano")) {
      point.time = json_.time(value);
    } else if (json_.is("flags")) {
      point.flags = json_.integer<std::uint32_t>(value);
    } else {
      return false;
    }
    return true;
  }

  // The members of both kinds of histogram.
  template <class Point>
  bool read_statistics(dom::element value, Point& point) {
    if (json_.is("count")) {
      point.count = json_.integer<std::uint64_t>(value);
    } else if (json_.is("sum")) {
      point.sum = json_.number(value);
      point.has_sum = true;
    } else if (json_.is("min")) {
      point.min = json_.number(value);
      point.has_min = true;
    } else if (json_.is("max")) {
      point.max = json_.number(value);
      point.has_max = true;
    } else {
      return false;
    }
    return true;
  }

  template <class Point>
  void read_attributes(Point& point, const JsonReader::List& attributes) {
    std::uint32_t dropped = 0;  // points have no field for it
    point.attributes = json_.attributes(attributes, dropped);
  }

  Range read_counts(const JsonReader::List& counts) {
    const std::size_t first = out_.integers.size();
    if (counts) {
      for (const dom::element count : *counts) points_.add(out_.integers, json_.integer<std::uint64_t>(count));
    }
    return since(out_.integers, first);
  }

  Range read_buckets(dom::element element, std::int32_t& offset) {
    JsonReader::List counts;
    json_.members(element, "Buckets", [&](dom::element value) {
      if (json_.is("offset")) {
        offset = json_.integer<std::int32_t>(value);
      } else if (json_.is("bucketCounts")) {
        counts = json_.list(value);
      }
    });
    return read_counts(counts);
  }

  Range read_exemplars(const JsonReader::List& exemplars) {
    const std::size_t first = out_.exemplars.size();
    if (exemplars) {
      for (const dom::element exemplar : *exemplars) read_exemplar(exemplar);
    }
    return since(out_.exemplars, first);
  }

  void read_exemplar(dom::element element) {
    json_.assembler.count_part();
    JsonReader::List attributes;
    bool has_value = false;
    Exemplar exemplar;
    json_.members(element, "Exemplar", [&](dom::element value) {
      if (json_.is("timeUnixNano")) {
        exemplar.time = json_.time(value);
      } else if (json_.is("asDouble")) {
        json_.only(has_value);
        exemplar.value = json_.number(value);
      } else if (json_.is("asInt")) {
        json_.only(has_value);
        exemplar.value = static_cast<double>(json_.integer<std::int64_t>(value));
      } else if (json_.is("traceId")) {
        exemplar.trace_id = json_.id(value);
      } else if (json_.is("spanId")) {
        exemplar.span_id = json_.id(value);
      } else if (json_.is("filteredAttributes")) {
        attributes = json_.list(value);
      }
    });
    // One without a value illustrates nothing; its point stays.
    if (!has_value) return;
    std::uint32_t dropped = 0;
    exemplar.filtered_attributes = json_.attributes(attributes, dropped);
    settle(exemplar);
    out_.exemplars.push_back(exemplar);
  }

  JsonReader& json_;
  Metrics& out_;
  PointAssembler points_;
};

// The envelope that all signals share: resources, scopes in them, items in those.
template <class Items>
class Envelope {
 public:
  Envelope(JsonReader& json, Items& items) : json_(json), common_(json.common), items_(items) {}

  void request(dom::element element) {
    JsonReader::List resources;
    json_.members(element, "the request", [&](dom::element value) {
      if (json_.is(Items::kResources)) resources = json_.list(value);
    });
    if (!resources) return;
    for (const dom::element resource : *resources) resource_items(resource);
  }

 private:
  void resource_items(dom::element element) {
    const Assembler::Mark mark = json_.assembler.mark();
    const std::size_t kept = items_.size();
    const std::size_t scopes_before = common_.scopes.size();
    std::optional<dom::element> content;
    JsonReader::List scopes;
    Resource resource;
    json_.members(element, Items::kResources, [&](dom::element value) {
      if (json_.is("resource")) {
        content = value;
      } else if (json_.is(Items::kScopes)) {
        scopes = json_.list(value);
      } else if (json_.is("schemaUrl")) {
        resource.schema_url = json_.string(value);
      }
    });
    if (content) read_resource(*content, resource);
    const auto index = static_cast<std::uint32_t>(common_.resources.size());
    common_.resources.push_back(resource);
    if (scopes) {
      for (const dom::element scope : *scopes) scope_items(scope, index);
    }
    if (items_.size() == kept) {
      common_.scopes.resize(scopes_before);
      common_.resources.pop_back();
      json_.assembler.rewind(mark);
    }
  }

  void scope_items(dom::element element, std::uint32_t resource) {
    const Assembler::Mark mark = json_.assembler.mark();
    const std::size_t kept = items_.size();
    std::optional<dom::element> content;
    JsonReader::List items;
    Scope scope;
    json_.members(element, Items::kScopes, [&](dom::element value) {
      if (json_.is("scope")) {
        content = value;
      } else if (json_.is(Items::kItems)) {
        items = json_.list(value);
      } else if (json_.is("schemaUrl")) {
        scope.schema_url = json_.string(value);
      }
    });
    if (content) read_scope(*content, scope);
    const auto index = static_cast<std::uint32_t>(common_.scopes.size());
    common_.scopes.push_back(scope);
    if (items) {
      for (const dom::element item : *items) items_.read(item, resource, index);
    }
    if (items_.size() == kept) {
      common_.scopes.pop_back();
      json_.assembler.rewind(mark);
    }
  }

  void read_resource(dom::element element, Resource& resource) {
    JsonReader::List attributes;
    JsonReader::List entities;
    json_.members(element, "Resource", [&](dom::element value) {
      if (json_.is("attributes")) {
        attributes = json_.list(value);
      } else if (json_.is("droppedAttributesCount")) {
        resource.dropped_attributes_count = json_.integer<std::uint32_t>(value);
      } else if (json_.is("entityRefs")) {
        entities = json_.list(value);
      }
    });
    resource.attributes = json_.attributes(attributes, resource.dropped_attributes_count);
    const std::size_t first = common_.entity_refs.size();
    if (entities) {
      for (const dom::element entity : *entities) read_entity(entity);
    }
    resource.entity_refs = since(common_.entity_refs, first);
  }

  void read_entity(dom::element element) {
    json_.assembler.count_part();
    JsonReader::List id_keys;
    JsonReader::List description_keys;
    EntityRef entity;
    json_.members(element, "EntityRef", [&](dom::element value) {
      if (json_.is("schemaUrl")) {
        entity.schema_url = json_.string(value);
      } else if (json_.is("type")) {
        entity.type = json_.string(value);
      } else if (json_.is("idKeys")) {
        id_keys = json_.list(value);
      } else if (json_.is("descriptionKeys")) {
        description_keys = json_.list(value);
      }
    });
    entity.id_keys = read_strings(id_keys);
    entity.description_keys = read_strings(description_keys);
    common_.entity_refs.push_back(entity);
  }

  Range read_strings(const JsonReader::List& strings) {
    const std::size_t first = common_.values.size();
    if (strings) {
      for (const dom::element text : *strings) {
        json_.assembler.check_size();
        common_.values.push_back(Value::of_string(json_.string(text)));
      }
    }
    return since(common_.values, first);
  }

  void read_scope(dom::element element, Scope& scope) {
    JsonReader::List attributes;
    json_.members(element, "InstrumentationScope", [&](dom::element value) {
      if (json_.is("name")) {
        scope.name = json_.string(value);
      } else if (json_.is("version")) {
        scope.version = json_.string(value);
      } else if (json_.is("attributes")) {
        attributes = json_.list(value);
      } else if (json_.is("droppedAttributesCount")) {
        scope.dropped_attributes_count = json_.integer<std::uint32_t>(value);
      }
    });
    scope.attributes = json_.attributes(attributes, scope.dropped_attributes_count);
  }

  JsonReader& json_;
  Common& common_;
  Items& items_;
};

// One parser a thread: it allocates about fifteen times the document, which is dear to do for each.
class ParserLease {
 public:
  ParserLease() = default;
  ParserLease(const ParserLease&) = delete;
  ParserLease& operator=(const ParserLease&) = delete;
  ~ParserLease() {
    constexpr std::size_t kKeptBytesMax = 2UZ * 1024 * 1024;
    if (parser_.capacity() > kKeptBytesMax) parser_ = dom::parser();
  }

  // The element lives until the next call on this thread.
  simdjson::simdjson_result<dom::element> parse(std::string_view json) {
    return parser_.parse(json.data(), json.size());
  }

 private:
  static thread_local dom::parser parser_;
};

thread_local dom::parser ParserLease::parser_;

template <class Items, class Request>
Result<void> decode(std::string_view body, const DecodeLimits& limits, Request& out) {
  clear(out);
  if (body.empty()) return fail(ErrorCode::kInvalidArgument, "in the request: expected JSON, found nothing");
  if (body.size() > simdjson::SIMDJSON_MAXSIZE_BYTES) return fail(ErrorCode::kTooLarge, "a request of 4 GiB or more");
  std::optional<Error> error;
  try {
    ParserLease parser;
    dom::element root;
    simdjson::error_code code = parser.parse(body).get(root);
    if (code == simdjson::STRING_ERROR || code == simdjson::NUMBER_ERROR || code == simdjson::TAPE_ERROR) {
      if (const std::optional<std::string> repaired = repaired_json(body)) code = parser.parse(*repaired).get(root);
    }
    if (code == simdjson::MEMALLOC) throw std::bad_alloc();
    if (code != simdjson::SUCCESS) {
      throw DecodeError{ErrorCode::kInvalidArgument, "the request", simdjson::error_message(code)};
    }
    JsonReader json(out, limits, body.size());
    Items items(json, out);
    Envelope<Items>(json, items).request(root);
  } catch (const DecodeError& thrown) {
    error = error_of(thrown, {});
  } catch (const std::bad_alloc&) {
    error = Error(ErrorCode::kResourceExhausted, "no memory left to decode a request");
  }
  if (!error) return {};
  clear(out);
  return std::unexpected(*std::move(error));
}

}  // namespace

Result<void> decode_json(std::string_view body, const DecodeLimits& limits, Traces& out) {
  return decode<SpanReader>(body, limits, out);
}

Result<void> decode_json(std::string_view body, const DecodeLimits& limits, Logs& out) {
  return decode<LogReader>(body, limits, out);
}

Result<void> decode_json(std::string_view body, const DecodeLimits& limits, Metrics& out) {
  return decode<MetricReader>(body, limits, out);
}

}  // namespace fettle::otlp
