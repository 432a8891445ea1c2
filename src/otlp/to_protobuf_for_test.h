// Requests back as protobuf, in one canonical form: equal requests give equal bytes. For tests and fuzzers.
#pragma once

#include <protozero/pbf_writer.hpp>
#include <string>

#include "otlp/model.h"

namespace fettle::otlp::testing {

// A message inside another one. protozero's own leaves out one that is empty, but an empty value in an array, an empty
// event or an empty array is not the same as none.
struct NestedBytes {
  std::string bytes;
};
class Nested : private NestedBytes, public protozero::pbf_writer {
 public:
  Nested(protozero::pbf_writer& parent, protozero::pbf_tag_type field)
      : protozero::pbf_writer(NestedBytes::bytes), parent_(parent), field_(field) {}
  Nested(const Nested&) = delete;
  Nested& operator=(const Nested&) = delete;
  ~Nested() { parent_.add_message(field_, NestedBytes::bytes); }

 private:
  protozero::pbf_writer& parent_;
  protozero::pbf_tag_type field_;
};

class ProtobufWriter {
 public:
  std::string write(const Traces& request) {
    return envelope(request, request.spans, [&](protozero::pbf_writer& items, const Span& span) {
      Nested out(items, 2);
      text(out, 1, span.trace_id);
      text(out, 2, span.span_id);
      text(out, 3, span.trace_state);
      text(out, 4, span.parent_span_id);
      text(out, 5, span.name);
      out.add_int32(6, span.kind);
      out.add_fixed64(7, unsigned_of(span.start));
      out.add_fixed64(8, unsigned_of(span.end));
      attributes(out, 9, request, span.attributes);
      out.add_uint32(10, span.dropped_attributes_count);
      for (std::uint32_t i = 0; i != span.events.count; ++i) {
        const Event& event = request.events[span.events.first + i];
        Nested child(out, 11);
        child.add_fixed64(1, unsigned_of(event.time));
        text(child, 2, event.name);
        attributes(child, 3, request, event.attributes);
        child.add_uint32(4, event.dropped_attributes_count);
      }
      out.add_uint32(12, span.dropped_events_count);
      for (std::uint32_t i = 0; i != span.links.count; ++i) {
        const Link& link = request.links[span.links.first + i];
        Nested child(out, 13);
        text(child, 1, link.trace_id);
        text(child, 2, link.span_id);
        text(child, 3, link.trace_state);
        attributes(child, 4, request, link.attributes);
        child.add_uint32(5, link.dropped_attributes_count);
        child.add_fixed32(6, link.flags);
      }
      out.add_uint32(14, span.dropped_links_count);
      {
        Nested status(out, 15);
        text(status, 2, span.status_message);
        status.add_int32(3, span.status_code);
      }
      out.add_fixed32(16, span.flags);
    });
  }

  std::string write(const Logs& request) {
    return envelope(request, request.records, [&](protozero::pbf_writer& items, const LogRecord& record) {
      Nested out(items, 2);
      out.add_fixed64(1, unsigned_of(record.time));
      out.add_int32(2, record.severity_number);
      text(out, 3, record.severity_text);
      any_value(out, 5, request, record.body);
      attributes(out, 6, request, record.attributes);
      out.add_uint32(7, record.dropped_attributes_count);
      out.add_fixed32(8, record.flags);
      text(out, 9, record.trace_id);
      text(out, 10, record.span_id);
      out.add_fixed64(11, unsigned_of(record.observed_time));
      text(out, 12, record.event_name);
    });
  }

  std::string write(const Metrics& request) {
    return envelope(request, request.metrics, [&](protozero::pbf_writer& items, const Metric& metric) {
      const auto index = static_cast<std::uint32_t>(&metric - request.metrics.data());
      Nested out(items, 2);
      text(out, 1, metric.name);
      text(out, 2, metric.description);
      text(out, 3, metric.unit);
      {
        Nested data(out, data_field(metric.type));
        switch (metric.type) {
          case MetricType::kGauge:
          case MetricType::kSum:
            for (const NumberPoint& point : request.number_points) {
              if (point.metric == index) number_point(data, request, point);
            }
            break;
          case MetricType::kHistogram:
            for (const HistogramPoint& point : request.histogram_points) {
              if (point.metric == index) histogram_point(data, request, point);
            }
            break;
          case MetricType::kExponentialHistogram:
            for (const ExponentialHistogramPoint& point : request.exponential_histogram_points) {
              if (point.metric == index) exponential_point(data, request, point);
            }
            break;
          case MetricType::kSummary:
            for (const SummaryPoint& point : request.summary_points) {
              if (point.metric == index) summary_point(data, request, point);
            }
            break;
        }
        data.add_int32(2, static_cast<std::int32_t>(metric.temporality));
        data.add_bool(3, metric.is_monotonic);
      }
      attributes(out, 12, request, metric.metadata);
    });
  }

 private:
  using Writer = protozero::pbf_writer;
  using Field = protozero::pbf_tag_type;

  template <class Item, class WriteItem>
  static std::string envelope(const Common& request, const std::vector<Item>& items, WriteItem write_item) {
    std::string bytes;
    Writer out(bytes);
    for (std::size_t i = 0; i < items.size();) {
      const std::uint32_t resource = items[i].resource;
      Nested resource_items(out, 1);
      {
        const Resource& content = request.resources[resource];
        Nested child(resource_items, 1);
        attributes(child, 1, request, content.attributes);
        child.add_uint32(2, content.dropped_attributes_count);
        for (std::uint32_t k = 0; k != content.entity_refs.count; ++k) {
          entity_ref(child, request, request.entity_refs[content.entity_refs.first + k]);
        }
      }
      text(resource_items, 3, request.resources[resource].schema_url);
      while (i < items.size() && items[i].resource == resource) {
        const std::uint32_t scope = items[i].scope;
        Nested scope_items(resource_items, 2);
        {
          const Scope& content = request.scopes[scope];
          Nested child(scope_items, 1);
          text(child, 1, content.name);
          text(child, 2, content.version);
          attributes(child, 3, request, content.attributes);
          child.add_uint32(4, content.dropped_attributes_count);
        }
        text(scope_items, 3, request.scopes[scope].schema_url);
        for (; i < items.size() && items[i].resource == resource && items[i].scope == scope; ++i) {
          write_item(scope_items, items[i]);
        }
      }
    }
    return bytes;
  }

  static void entity_ref(Writer& out, const Common& request, const EntityRef& entity) {
    Nested child(out, 3);
    text(child, 1, entity.schema_url);
    text(child, 2, entity.type);
    for (std::uint32_t i = 0; i != entity.id_keys.count; ++i) {
      text(child, 3, request.values[entity.id_keys.first + i].text());
    }
    for (std::uint32_t i = 0; i != entity.description_keys.count; ++i) {
      text(child, 4, request.values[entity.description_keys.first + i].text());
    }
  }

  static void number_point(Writer& data, const Metrics& request, const NumberPoint& point) {
    Nested out(data, 1);
    common(out, request, point, 7, 8);
    if ((point.flags & kFlagNoRecordedValue) == 0) {
      if (point.is_int) {
        out.add_sfixed64(6, point.integer);
      } else {
        out.add_double(4, point.number);
      }
    }
    exemplars(out, 5, request, point.exemplars);
  }

  static void histogram_point(Writer& data, const Metrics& request, const HistogramPoint& point) {
    Nested out(data, 1);
    common(out, request, point, 9, 10);
    out.add_fixed64(4, point.count);
    statistics(out, point, 11, 12);
    const auto counts = request.integers.begin() + point.bucket_counts.first;
    out.add_packed_fixed64(6, counts, counts + point.bucket_counts.count);
    const auto bounds = request.doubles.begin() + point.bounds.first;
    out.add_packed_double(7, bounds, bounds + point.bounds.count);
    exemplars(out, 8, request, point.exemplars);
  }

  static void exponential_point(Writer& data, const Metrics& request, const ExponentialHistogramPoint& point) {
    Nested out(data, 1);
    common(out, request, point, 1, 10);
    out.add_fixed64(4, point.count);
    statistics(out, point, 12, 13);
    out.add_sint32(6, point.scale);
    out.add_fixed64(7, point.zero_count);
    buckets(out, 8, request, point.positive_offset, point.positive_counts);
    buckets(out, 9, request, point.negative_offset, point.negative_counts);
    exemplars(out, 11, request, point.exemplars);
    out.add_double(14, point.zero_threshold);
  }

  static void buckets(Writer& out, Field field, const Metrics& request, std::int32_t offset, Range counts) {
    Nested child(out, field);
    child.add_sint32(1, offset);
    const auto first = request.integers.begin() + counts.first;
    child.add_packed_uint64(2, first, first + counts.count);
  }

  static void summary_point(Writer& data, const Metrics& request, const SummaryPoint& point) {
    Nested out(data, 1);
    common(out, request, point, 7, 8);
    out.add_fixed64(4, point.count);
    out.add_double(5, point.sum);
    for (std::uint32_t i = 0; i != point.quantiles.count; i += 2) {
      Nested pair(out, 6);
      pair.add_double(1, request.doubles[point.quantiles.first + i]);
      pair.add_double(2, request.doubles[point.quantiles.first + i + 1]);
    }
  }

  template <class Point>
  static void common(Writer& out, const Metrics& request, const Point& point, Field list, Field flags) {
    attributes(out, list, request, point.attributes);
    out.add_fixed64(2, unsigned_of(point.start));
    out.add_fixed64(3, unsigned_of(point.time));
    out.add_uint32(flags, point.flags);
  }

  template <class Point>
  static void statistics(Writer& out, const Point& point, Field min, Field max) {
    if (point.has_sum) out.add_double(5, point.sum);
    if (point.has_min) out.add_double(min, point.min);
    if (point.has_max) out.add_double(max, point.max);
  }

  static void exemplars(Writer& out, Field field, const Metrics& request, Range range) {
    for (std::uint32_t i = 0; i != range.count; ++i) {
      const Exemplar& exemplar = request.exemplars[range.first + i];
      Nested child(out, field);
      child.add_fixed64(2, unsigned_of(exemplar.time));
      child.add_double(3, exemplar.value);
      text(child, 4, exemplar.span_id);
      text(child, 5, exemplar.trace_id);
      attributes(child, 7, request, exemplar.filtered_attributes);
    }
  }

  static void attributes(Writer& out, Field field, const Common& request, Range range) {
    for (std::uint32_t i = 0; i != range.count; ++i) {
      const Attribute& attribute = request.attributes[range.first + i];
      Nested pair(out, field);
      text(pair, 1, attribute.key);
      any_value(pair, 2, request, attribute.value);
    }
  }

  static void any_value(Writer& out, Field field, const Common& request, const Value& value) {
    Nested any(out, field);
    switch (value.type) {
      case ValueType::kEmpty: break;
      case ValueType::kString: any.add_string(1, value.data, value.size); break;
      case ValueType::kBool: any.add_bool(2, value.boolean); break;
      case ValueType::kInt: any.add_int64(3, value.integer); break;
      case ValueType::kDouble: any.add_double(4, value.number); break;
      case ValueType::kBytes: any.add_bytes(7, value.data, value.size); break;
      case ValueType::kArray: {
        Nested list(any, 5);
        for (std::uint32_t i = 0; i != value.size; ++i) {
          any_value(list, 1, request, request.values[value.children().first + i]);
        }
        break;
      }
      case ValueType::kMap: {
        Nested list(any, 6);
        attributes(list, 1, request, value.children());
        break;
      }
    }
  }

  static void text(Writer& out, Field field, std::string_view content) {
    if (!content.empty()) out.add_string(field, content.data(), content.size());
  }
  static std::uint64_t unsigned_of(UnixNanos time) { return static_cast<std::uint64_t>(time); }
  static Field data_field(MetricType type) {
    switch (type) {
      case MetricType::kGauge: return 5;
      case MetricType::kSum: return 7;
      case MetricType::kHistogram: return 9;
      case MetricType::kExponentialHistogram: return 10;
      case MetricType::kSummary: return 11;
    }
    return 5;
  }
};

template <class Request>
std::string to_protobuf(const Request& request) {
  return ProtobufWriter().write(request);
}

}  // namespace fettle::otlp::testing
