// Properties of the decoders over random requests. RapidCheck has a file of its own because it is slow to compile.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <string>
#include <vector>

#include "otlp/decode.h"
#include "otlp/strings.h"
#include "otlp/to_protobuf_for_test.h"

namespace fettle::otlp {
namespace {

using testing::to_protobuf;

// Builds random requests in the flat model, as a decoder would lay them out.
class RandomRequest {
 public:
  Traces traces() {
    Traces out;
    envelope(out, [&](std::uint32_t resource, std::uint32_t scope) {
      Span span;
      span.resource = resource;
      span.scope = scope;
      span.trace_id = out.keep("t" + bytes(15));
      span.span_id = out.keep("s" + bytes(7));
      if (flip()) span.parent_span_id = out.keep("p" + bytes(7));
      span.trace_state = text(out);
      span.name = text(out);
      span.kind = small();
      span.start = time();
      span.end = time();
      span.attributes = attributes(out);
      span.dropped_attributes_count = count();
      span.dropped_events_count = count();
      span.dropped_links_count = count();
      span.status_code = small();
      span.status_message = text(out);
      span.flags = count();
      span.events.first = static_cast<std::uint32_t>(out.events.size());
      span.links.first = static_cast<std::uint32_t>(out.links.size());
      for (; flip(); ++span.events.count) {
        out.events.push_back(
            {.time = time(), .name = text(out), .attributes = attributes(out), .dropped_attributes_count = count()});
      }
      for (; flip(); ++span.links.count) {
        out.links.push_back({.trace_id = out.keep(flip() ? "t" + bytes(15) : ""),
                             .span_id = out.keep(flip() ? "s" + bytes(7) : ""),
                             .trace_state = text(out),
                             .attributes = attributes(out),
                             .dropped_attributes_count = count(),
                             .flags = count()});
      }
      out.spans.push_back(span);
    });
    return out;
  }

  Logs logs() {
    Logs out;
    envelope(out, [&](std::uint32_t resource, std::uint32_t scope) {
      LogRecord record;
      record.resource = resource;
      record.scope = scope;
      record.time = time();
      record.observed_time = time();
      record.severity_number = small();
      record.severity_text = text(out);
      record.body = value(out, 3);
      record.attributes = attributes(out);
      record.dropped_attributes_count = count();
      record.flags = count() & 0xFF;
      if (flip()) record.trace_id = out.keep("t" + bytes(15));
      if (flip()) record.span_id = out.keep("s" + bytes(7));
      record.event_name = text(out);
      out.records.push_back(record);
    });
    return out;
  }

  Metrics metrics() {
    Metrics out;
    envelope(out, [&](std::uint32_t resource, std::uint32_t scope) {
      const auto index = static_cast<std::uint32_t>(out.metrics.size());
      Metric metric;
      metric.resource = resource;
      metric.scope = scope;
      metric.name = text(out);
      metric.description = text(out);
      metric.unit = text(out);
      metric.type = static_cast<MetricType>(*rc::gen::inRange(1, 6));
      const bool plain = metric.type == MetricType::kGauge || metric.type == MetricType::kSummary;
      metric.temporality = static_cast<Temporality>(plain ? 0 : *rc::gen::inRange(1, 3));
      metric.is_monotonic = metric.type == MetricType::kSum && flip();
      metric.metadata = attributes(out);
      out.metrics.push_back(metric);
      do {
        point(out, index);
      } while (flip());
    });
    return out;
  }

 private:
  void point(Metrics& out, std::uint32_t index) {
    switch (out.metrics[index].type) {
      case MetricType::kGauge:
      case MetricType::kSum: {
        NumberPoint point = common<NumberPoint>(out, index);
        point.is_int = flip();
        if (point.is_int) {
          point.integer = *rc::gen::arbitrary<std::int64_t>();
        } else {
          point.number = *rc::gen::arbitrary<double>();
        }
        out.number_points.push_back(point);
        return;
      }
      case MetricType::kHistogram: {
        HistogramPoint point = common<HistogramPoint>(out, index);
        statistics(point);
        const auto bounds = static_cast<std::uint32_t>(*rc::gen::inRange(0, 5));
        point.bounds = {static_cast<std::uint32_t>(out.doubles.size()), bounds};
        for (std::uint32_t i = 0; i < bounds; ++i) out.doubles.push_back(i * 2.5 - 3);
        point.bucket_counts = counts(out, bounds + 1, point.count);
        out.histogram_points.push_back(point);
        return;
      }
      case MetricType::kExponentialHistogram: {
        ExponentialHistogramPoint point = common<ExponentialHistogramPoint>(out, index);
        statistics(point);
        point.scale = *rc::gen::inRange(-3, 20);
        point.zero_count = count();
        point.zero_threshold = *rc::gen::arbitrary<double>();
        point.count = point.zero_count;
        point.positive_offset = *rc::gen::inRange(-50, 50);
        point.negative_offset = *rc::gen::inRange(-50, 50);
        point.positive_counts = counts(out, static_cast<std::uint32_t>(*rc::gen::inRange(0, 5)), point.count);
        point.negative_counts = counts(out, static_cast<std::uint32_t>(*rc::gen::inRange(0, 5)), point.count);
        out.exponential_histogram_points.push_back(point);
        return;
      }
      case MetricType::kSummary: {
        SummaryPoint point = common<SummaryPoint>(out, index);
        point.count = count();
        point.sum = *rc::gen::arbitrary<double>();
        point.quantiles.first = static_cast<std::uint32_t>(out.doubles.size());
        for (double quantile = 0; quantile <= 1 && flip(); quantile += 0.25, point.quantiles.count += 2) {
          out.doubles.push_back(quantile);
          out.doubles.push_back(*rc::gen::arbitrary<double>());
        }
        out.summary_points.push_back(point);
        return;
      }
    }
  }

  template <class Point>
  Point common(Metrics& out, std::uint32_t index) {
    Point point;
    point.metric = index;
    point.attributes = attributes(out);
    point.start = time();
    point.time = 1 + time() / 2;
    point.flags = count() & ~kFlagNoRecordedValue;
    if constexpr (requires { point.exemplars; }) {
      point.exemplars.first = static_cast<std::uint32_t>(out.exemplars.size());
      for (; flip(); ++point.exemplars.count) {
        out.exemplars.push_back({.time = time(),
                                 .value = *rc::gen::arbitrary<double>(),
                                 .trace_id = out.keep(flip() ? "t" + bytes(15) : ""),
                                 .span_id = out.keep(flip() ? "s" + bytes(7) : ""),
                                 .filtered_attributes = attributes(out)});
      }
    }
    return point;
  }

  template <class Point>
  void statistics(Point& point) {
    point.has_sum = flip();
    point.has_min = flip();
    point.has_max = flip();
    if (point.has_sum) point.sum = *rc::gen::arbitrary<double>();
    if (point.has_min) point.min = *rc::gen::arbitrary<double>();
    if (point.has_max) point.max = *rc::gen::arbitrary<double>();
  }

  Range counts(Metrics& out, std::uint32_t size, std::uint64_t& total) {
    const auto first = static_cast<std::uint32_t>(out.integers.size());
    for (std::uint32_t i = 0; i < size; ++i) {
      out.integers.push_back(count());
      total += out.integers.back();
    }
    return {first, size};
  }

  template <class Item>
  void envelope(Common& out, Item item) {
    do {
      const auto resource = static_cast<std::uint32_t>(out.resources.size());
      Resource content{.attributes = attributes(out), .dropped_attributes_count = count(), .schema_url = text(out)};
      content.entity_refs.first = static_cast<std::uint32_t>(out.entity_refs.size());
      for (; flip(); ++content.entity_refs.count) {
        out.entity_refs.push_back({.schema_url = text(out), .type = text(out), .id_keys = {}, .description_keys = {}});
      }
      out.resources.push_back(content);
      do {
        const auto scope = static_cast<std::uint32_t>(out.scopes.size());
        out.scopes.push_back({.name = text(out),
                              .version = text(out),
                              .attributes = attributes(out),
                              .dropped_attributes_count = count(),
                              .schema_url = text(out)});
        do {
          item(resource, scope);
        } while (flip());
      } while (flip());
    } while (flip());
  }

  Range attributes(Common& out) {
    std::vector<Attribute> list;
    while (flip()) {
      // Numbered, because decoders make keys unique.
      list.push_back({out.keep(std::to_string(list.size()) + std::string(text(out))), value(out, 3)});
    }
    const auto first = static_cast<std::uint32_t>(out.attributes.size());
    out.attributes.insert(out.attributes.end(), list.begin(), list.end());
    return {first, static_cast<std::uint32_t>(list.size())};
  }

  Value value(Common& out, int depth) {
    Value value;
    value.type = static_cast<ValueType>(*rc::gen::inRange(0, depth > 0 ? 8 : 6));
    switch (value.type) {
      case ValueType::kEmpty: break;
      case ValueType::kString:
      case ValueType::kBytes: value.set_text(out.keep(*rc::gen::arbitrary<std::string>())); break;
      case ValueType::kBool: value.boolean = flip(); break;
      case ValueType::kInt: value.integer = *rc::gen::arbitrary<std::int64_t>(); break;
      case ValueType::kDouble: value.number = *rc::gen::arbitrary<double>(); break;
      case ValueType::kArray: {
        std::vector<Value> children;
        while (flip()) children.push_back(this->value(out, depth - 1));
        value.size = static_cast<std::uint32_t>(children.size());
        value.first = static_cast<std::uint32_t>(out.values.size());
        out.values.insert(out.values.end(), children.begin(), children.end());
        break;
      }
      case ValueType::kMap: {
        const Range children = attributes(out);
        value.size = children.count;
        value.first = children.first;
        break;
      }
    }
    return value;
  }

  std::string_view text(Common& out) { return out.keep(flip() ? *rc::gen::arbitrary<std::string>() : std::string()); }
  static std::string bytes(int size) {
    return *rc::gen::container<std::string>(static_cast<std::size_t>(size), rc::gen::arbitrary<char>());
  }
  // True once in three times. At full size always: RapidCheck narrows ranges for its first, small cases, where this
  // would be true for ever.
  static bool flip() { return *rc::gen::resize(rc::kNominalSize, rc::gen::inRange(0, 3)) == 0; }
  static std::int32_t small() { return *rc::gen::arbitrary<std::int32_t>(); }
  static std::uint32_t count() { return *rc::gen::arbitrary<std::uint32_t>(); }
  static UnixNanos time() { return *rc::gen::inRange<UnixNanos>(0, std::numeric_limits<UnixNanos>::max()); }
};

template <class Request>
std::size_t items_of(const Request& request) {
  if constexpr (requires { request.spans; }) {
    return request.spans.size();
  } else if constexpr (requires { request.records; }) {
    return request.records.size();
  } else {
    return request.number_points.size() + request.histogram_points.size() +
           request.exponential_histogram_points.size() + request.summary_points.size();
  }
}

template <class Request>
void decodes_to_itself(const Request& request) {
  const std::string bytes = to_protobuf(request);
  Request decoded;
  const auto result = decode_protobuf(bytes, {}, decoded);
  if (!result) RC_FAIL(result.error().message());
  RC_ASSERT(decoded.rejections.first_reason == "");
  RC_ASSERT(decoded.duplicate_attributes == 0);
  RC_ASSERT(items_of(decoded) == items_of(request));
  RC_ASSERT(decoded.attributes.size() == request.attributes.size());
  RC_ASSERT(decoded.values.size() == request.values.size());
  RC_ASSERT(decoded.entity_refs.size() == request.entity_refs.size());
  RC_ASSERT(to_protobuf(decoded) == bytes);
}

// Cut anywhere, a request is refused, or is the beginning of itself: at most as many items, and every one complete
// enough to be written again.
template <class Request>
void survives_truncation(const Request& request) {
  const std::string bytes = to_protobuf(request);
  Request decoded;
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    // A copy of its own, so that a sanitizer sees a read past the end.
    const std::vector<char> cut(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
    if (!decode_protobuf({cut.data(), cut.size()}, {}, decoded)) continue;
    RC_ASSERT(items_of(decoded) <= items_of(request));
    RC_ASSERT(to_protobuf(decoded).size() <= bytes.size());
  }
}

// Any byte changed: an answer, never a crash, and whatever was accepted can be walked and written.
template <class Request>
void survives_damage(const Request& request) {
  std::string bytes = to_protobuf(request);
  if (bytes.empty()) return;
  for (int i = 0; i < 20; ++i) {
    bytes[*rc::gen::inRange<std::size_t>(0, bytes.size())] = *rc::gen::arbitrary<char>();
    Request decoded;
    if (!decode_protobuf(bytes, {}, decoded)) continue;
    (void)repair_utf8(decoded);
    const std::string again = to_protobuf(decoded);
    Request twice;
    RC_ASSERT(decode_protobuf(again, {}, twice).has_value());
    RC_ASSERT(to_protobuf(twice) == again);
  }
}

RC_GTEST_PROP(OtlpProperty, TracesDecodeToThemselves, ()) { decodes_to_itself(RandomRequest().traces()); }
RC_GTEST_PROP(OtlpProperty, LogsDecodeToThemselves, ()) { decodes_to_itself(RandomRequest().logs()); }
RC_GTEST_PROP(OtlpProperty, MetricsDecodeToThemselves, ()) { decodes_to_itself(RandomRequest().metrics()); }

RC_GTEST_PROP(OtlpProperty, TruncatedTracesAreRefusedOrAPrefix, ()) { survives_truncation(RandomRequest().traces()); }
RC_GTEST_PROP(OtlpProperty, TruncatedLogsAreRefusedOrAPrefix, ()) { survives_truncation(RandomRequest().logs()); }
RC_GTEST_PROP(OtlpProperty, TruncatedMetricsAreRefusedOrAPrefix, ()) { survives_truncation(RandomRequest().metrics()); }

RC_GTEST_PROP(OtlpProperty, DamagedTracesAreAnswered, ()) { survives_damage(RandomRequest().traces()); }
RC_GTEST_PROP(OtlpProperty, DamagedLogsAreAnswered, ()) { survives_damage(RandomRequest().logs()); }
RC_GTEST_PROP(OtlpProperty, DamagedMetricsAreAnswered, ()) { survives_damage(RandomRequest().metrics()); }

}  // namespace
}  // namespace fettle::otlp
