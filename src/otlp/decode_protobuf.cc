#include <new>
#include <optional>
#include <string_view>
#include <vector>

#include "otlp/assemble.h"
#include "otlp/decode.h"
#include "otlp/wire.h"

namespace fettle::otlp {
namespace {

// Attributes and values. Lists must be contiguous in the flat model, so what a value nests is read only once the list
// it stands in is complete: until then the value holds the undecoded bytes (text()) of its array or map.
class ValueReader {
 public:
  ValueReader(Common& out, const DecodeLimits& limits) : assembler(out, limits), common(out) {}

  // One more attribute for the list that began at `first`.
  void attribute(Reader& list, std::size_t first, std::uint32_t& cut) {
    const std::string_view bytes = list.bytes();
    if (assembler.admits(first, cut)) key_value(bytes, common.attributes.emplace_back());
  }

  Range close(std::size_t first, std::uint32_t cut, std::uint32_t& dropped) {
    const Range range = assembler.close(first, cut, dropped);
    if (nested_) {
      nested_ = false;
      expand_attributes(range, 1);
    }
    return range;
  }

  // A value that stands in no list.
  void any_value_whole(std::string_view bytes, Value& value) {
    any_value(bytes, value);
    expand(value, 1);
  }

  // Joins the parts of a singular message that came in several: concatenated encodings are the merged message.
  void merge(std::string_view& whole, std::string_view part) {
    // No real sender splits messages; without a bound, a hostile one could make us copy without end.
    constexpr std::size_t kMergedBytesMax = 4UZ * 1024 * 1024;
    if (whole.empty()) {
      whole = part;
      return;
    }
    if (part.empty()) return;
    const bool grows = !common.arena.empty() && common.arena.back().data() == whole.data();
    merged_bytes_ += part.size() + (grows ? 0 : whole.size());
    if (merged_bytes_ > kMergedBytesMax) {
      throw DecodeError{ErrorCode::kTooLarge, "the request", "too much of it is in messages sent in parts"};
    }
    if (grows) {
      common.arena.back().append(part);
    } else {
      common.keep(std::string(whole).append(part));
    }
    whole = common.arena.back();
  }

  Assembler assembler;
  Common& common;

 private:
  void key_value(std::string_view bytes, Attribute& attribute) {
    Reader reader(bytes, "KeyValue");
    while (reader.next()) {
      switch (reader.tag()) {
        case tag(1, kLength): attribute.key = assembler.string(reader.bytes()); break;
        case tag(2, kLength): any_value(reader.bytes(), attribute.value); break;
        case tag(3, kVarint):
          reader.varint();
          warn_string_index();
          break;
        default: reader.skip();
      }
    }
  }

  // Into a value that may hold what an earlier part of the same message said.
  void any_value(std::string_view bytes, Value& value) {
    Reader reader(bytes, "AnyValue");
    while (reader.next()) {
      switch (reader.tag()) {
        case tag(1, kLength):
          value.type = ValueType::kString;
          value.set_text(assembler.string(reader.bytes()));
          break;
        case tag(2, kVarint):
          value = Value{.type = ValueType::kBool};
          value.boolean = reader.varint() != 0;
          break;
        case tag(3, kVarint):
          value = Value{.type = ValueType::kInt};
          value.integer = static_cast<std::int64_t>(reader.varint());
          break;
        case tag(4, kFixed64):
          value = Value{.type = ValueType::kDouble};
          value.number = reader.float64();
          break;
        case tag(5, kLength): nested(ValueType::kArray, reader.bytes(), value); break;
        case tag(6, kLength): nested(ValueType::kMap, reader.bytes(), value); break;
        case tag(7, kLength):
          value.type = ValueType::kBytes;
          value.set_text(assembler.raw(reader.bytes()));
          break;
        case tag(8, kVarint):
          reader.varint();
          warn_string_index();
          value = Value{};
          break;
        default: reader.skip();
      }
    }
  }

  void nested(ValueType type, std::string_view bytes, Value& value) {
    std::string_view whole = value.type == type ? value.text() : std::string_view{};
    merge(whole, bytes);
    value.type = type;
    value.set_text(whole);
    nested_ = true;
  }

  void expand_attributes(Range range, std::uint32_t depth) {
    for (std::uint32_t i = range.first; i != range.first + range.count; ++i) {
      Value value = common.attributes[i].value;
      if (value.type != ValueType::kArray && value.type != ValueType::kMap) continue;
      expand(value, depth);
      common.attributes[i].value = value;
    }
  }

  // `value` must not be in one of the vectors that grow meanwhile. `depth` is its own.
  void expand(Value& value, std::uint32_t depth) {
    if (value.type == ValueType::kArray) {
      expand_array(value, depth);
    } else if (value.type == ValueType::kMap) {
      expand_map(value, depth);
    }
  }

  void expand_array(Value& value, std::uint32_t depth) {
    const std::size_t first = common.values.size();
    Reader reader(value.text(), "ArrayValue");
    while (reader.next()) {
      if (reader.tag() != tag(1, kLength)) {
        reader.skip();
        continue;
      }
      assembler.check_depth(depth + 1);
      assembler.check_size();
      any_value(reader.bytes(), common.values.emplace_back());
    }
    const std::size_t end = common.values.size();
    for (std::size_t i = first; i != end; ++i) {
      Value child = common.values[i];
      if (child.type != ValueType::kArray && child.type != ValueType::kMap) continue;
      expand(child, depth + 1);
      common.values[i] = child;
    }
    value.size = static_cast<std::uint32_t>(end - first);
    value.first = static_cast<std::uint32_t>(first);
  }

  void expand_map(Value& value, std::uint32_t depth) {
    const std::size_t first = common.attributes.size();
    Reader reader(value.text(), "KeyValueList");
    while (reader.next()) {
      if (reader.tag() != tag(1, kLength)) {
        reader.skip();
        continue;
      }
      assembler.check_depth(depth + 1);
      assembler.check_size();
      key_value(reader.bytes(), common.attributes.emplace_back());
    }
    const Range range = assembler.close_map(first);
    expand_attributes(range, depth + 1);
    value.size = range.count;
    value.first = range.first;
  }

  bool nested_ = false;  // a list that is not closed yet holds arrays or maps
  std::size_t merged_bytes_ = 0;
};

// The envelope that all signals share: resources, scopes in them, items in those. `Items` reads one item and knows how
// many were kept. Resources and scopes get their place before their items and their content after them, because on
// the wire it may come in any order.
template <class Items>
class Envelope {
 public:
  Envelope(ValueReader& values, Items& items) : values_(values), common_(values.common), items_(items) {}

  void request(std::string_view body) {
    Reader reader(body, "the request");
    while (reader.next()) {
      if (reader.tag() == tag(1, kLength)) {
        resource_items(reader.bytes());
      } else {
        reader.skip();
      }
    }
  }

 private:
  void resource_items(std::string_view bytes) {
    const Assembler::Mark mark = values_.assembler.mark();
    const std::size_t kept = items_.size();
    const std::size_t scopes = common_.scopes.size();
    const std::size_t index = common_.resources.size();
    common_.resources.emplace_back();
    std::string_view resource;
    Reader reader(bytes, "a resource's items");
    while (reader.next()) {
      switch (reader.tag()) {
        case tag(1, kLength): values_.merge(resource, reader.bytes()); break;
        case tag(2, kLength): scope_items(reader.bytes(), static_cast<std::uint32_t>(index)); break;
        case tag(3, kLength): common_.resources[index].schema_url = values_.assembler.string(reader.bytes()); break;
        default: reader.skip();
      }
    }
    read_resource(resource, common_.resources[index]);
    if (items_.size() == kept) {
      common_.scopes.resize(scopes);
      common_.resources.pop_back();
      values_.assembler.rewind(mark);
    }
  }

  void scope_items(std::string_view bytes, std::uint32_t resource) {
    const Assembler::Mark mark = values_.assembler.mark();
    const std::size_t kept = items_.size();
    const std::size_t index = common_.scopes.size();
    common_.scopes.emplace_back();
    std::string_view scope;
    Reader reader(bytes, "a scope's items");
    while (reader.next()) {
      switch (reader.tag()) {
        case tag(1, kLength): values_.merge(scope, reader.bytes()); break;
        case tag(2, kLength): items_.read(reader.bytes(), resource, static_cast<std::uint32_t>(index)); break;
        case tag(3, kLength): common_.scopes[index].schema_url = values_.assembler.string(reader.bytes()); break;
        default: reader.skip();
      }
    }
    read_scope(scope, common_.scopes[index]);
    if (items_.size() == kept) {
      common_.scopes.pop_back();
      values_.assembler.rewind(mark);
    }
  }

  void read_resource(std::string_view bytes, Resource& resource) {
    const std::size_t first = common_.attributes.size();
    const std::size_t first_ref = common_.entity_refs.size();
    std::uint32_t cut = 0;
    Reader reader(bytes, "Resource");
    while (reader.next()) {
      switch (reader.tag()) {
        case tag(1, kLength): values_.attribute(reader, first, cut); break;
        case tag(2, kVarint): resource.dropped_attributes_count = static_cast<std::uint32_t>(reader.varint()); break;
        case tag(3, kLength): read_entity(reader.bytes()); break;
        default: reader.skip();
      }
    }
    resource.attributes = values_.close(first, cut, resource.dropped_attributes_count);
    resource.entity_refs = since(common_.entity_refs, first_ref);
  }

  void read_entity(std::string_view bytes) {
    values_.assembler.count_part();
    EntityRef& entity = common_.entity_refs.emplace_back();
    Reader reader(bytes, "EntityRef");
    while (reader.next()) {
      switch (reader.tag()) {
        case tag(1, kLength): entity.schema_url = values_.assembler.string(reader.bytes()); break;
        case tag(2, kLength): entity.type = values_.assembler.string(reader.bytes()); break;
        default: reader.skip();
      }
    }
    entity.id_keys = read_entity_keys(bytes, tag(3, kLength));
    entity.description_keys = read_entity_keys(bytes, tag(4, kLength));
  }

  // A pass of its own, because both lists are parts of one vector and may come mixed.
  Range read_entity_keys(std::string_view bytes, std::uint32_t wanted) {
    const std::size_t first = common_.values.size();
    Reader reader(bytes, "EntityRef");
    while (reader.next()) {
      if (reader.tag() != wanted) {
        reader.skip();
        continue;
      }
      values_.assembler.check_size();
      common_.values.push_back(Value::of_string(values_.assembler.string(reader.bytes())));
    }
    return since(common_.values, first);
  }

  void read_scope(std::string_view bytes, Scope& scope) {
    const std::size_t first = common_.attributes.size();
    std::uint32_t cut = 0;
    Reader reader(bytes, "InstrumentationScope");
    while (reader.next()) {
      switch (reader.tag()) {
        case tag(1, kLength): scope.name = values_.assembler.string(reader.bytes()); break;
        case tag(2, kLength): scope.version = values_.assembler.string(reader.bytes()); break;
        case tag(3, kLength): values_.attribute(reader, first, cut); break;
        case tag(4, kVarint): scope.dropped_attributes_count = static_cast<std::uint32_t>(reader.varint()); break;
        default: reader.skip();
      }
    }
    scope.attributes = values_.close(first, cut, scope.dropped_attributes_count);
  }

  ValueReader& values_;
  Common& common_;
  Items& items_;
};

class SpanReader {
 public:
  SpanReader(ValueReader& values, Traces& out) : values_(values), out_(out) {}

  std::size_t size() const { return out_.spans.size(); }

  void read(std::string_view bytes, std::uint32_t resource, std::uint32_t scope) {
    values_.assembler.count_item();
    const Assembler::Mark mark = values_.assembler.mark();
    const std::size_t first_event = out_.events.size();
    const std::size_t first_link = out_.links.size();
    const std::size_t first = out_.attributes.size();
    std::uint32_t cut = 0;
    // Events and links have attributes of their own: they wait until the span's are complete.
    events_.clear();
    links_.clear();
    Span& span = out_.spans.emplace_back();
    span.resource = resource;
    span.scope = scope;
    Reader reader(bytes, "Span");
    while (reader.next()) {
      switch (reader.tag()) {
        case tag(1, kLength): span.trace_id = reader.bytes(); break;
        case tag(2, kLength): span.span_id = reader.bytes(); break;
        case tag(3, kLength): span.trace_state = values_.assembler.string(reader.bytes()); break;
        case tag(4, kLength): span.parent_span_id = reader.bytes(); break;
        case tag(5, kLength): span.name = values_.assembler.string(reader.bytes()); break;
        case tag(6, kVarint): span.kind = static_cast<std::int32_t>(reader.varint()); break;
        case tag(7, kFixed64): span.start = to_nanos(reader.fixed64()); break;
        case tag(8, kFixed64): span.end = to_nanos(reader.fixed64()); break;
        case tag(9, kLength): values_.attribute(reader, first, cut); break;
        case tag(10, kVarint): span.dropped_attributes_count = static_cast<std::uint32_t>(reader.varint()); break;
        case tag(11, kLength): events_.push_back(reader.bytes()); break;
        case tag(12, kVarint): span.dropped_events_count = static_cast<std::uint32_t>(reader.varint()); break;
        case tag(13, kLength): links_.push_back(reader.bytes()); break;
        case tag(14, kVarint): span.dropped_links_count = static_cast<std::uint32_t>(reader.varint()); break;
        case tag(15, kLength): read_status(reader.bytes(), span); break;
        case tag(16, kFixed32): span.flags = reader.fixed32(); break;
        default: reader.skip();
      }
    }
    span.attributes = values_.close(first, cut, span.dropped_attributes_count);
    for (const std::string_view event : events_) read_event(event);
    for (const std::string_view link : links_) read_link(link);
    span.events = since(out_.events, first_event);
    span.links = since(out_.links, first_link);
    if (const char* reason = judge(span)) {
      out_.rejections.add(reason);
      out_.spans.pop_back();
      out_.events.resize(first_event);
      out_.links.resize(first_link);
      values_.assembler.rewind(mark);
    }
  }

 private:
  void read_status(std::string_view bytes, Span& span) {
    Reader reader(bytes, "Status");
    while (reader.next()) {
      switch (reader.tag()) {
        case tag(2, kLength): span.status_message = values_.assembler.string(reader.bytes()); break;
        case tag(3, kVarint): span.status_code = static_cast<std::int32_t>(reader.varint()); break;
        default: reader.skip();
      }
    }
  }

  void read_event(std::string_view bytes) {
    values_.assembler.count_part();
    const std::size_t first = out_.attributes.size();
    std::uint32_t cut = 0;
    Event& event = out_.events.emplace_back();
    Reader reader(bytes, "Event");
    while (reader.next()) {
      switch (reader.tag()) {
        case tag(1, kFixed64): event.time = to_nanos(reader.fixed64()); break;
        case tag(2, kLength): event.name = values_.assembler.string(reader.bytes()); break;
        case tag(3, kLength): values_.attribute(reader, first, cut); break;
        case tag(4, kVarint): event.dropped_attributes_count = static_cast<std::uint32_t>(reader.varint()); break;
        default: reader.skip();
      }
    }
    event.attributes = values_.close(first, cut, event.dropped_attributes_count);
  }

  void read_link(std::string_view bytes) {
    values_.assembler.count_part();
    const std::size_t first = out_.attributes.size();
    std::uint32_t cut = 0;
    Link& link = out_.links.emplace_back();
    Reader reader(bytes, "Link");
    while (reader.next()) {
      switch (reader.tag()) {
        case tag(1, kLength): link.trace_id = reader.bytes(); break;
        case tag(2, kLength): link.span_id = reader.bytes(); break;
        case tag(3, kLength): link.trace_state = values_.assembler.string(reader.bytes()); break;
        case tag(4, kLength): values_.attribute(reader, first, cut); break;
        case tag(5, kVarint): link.dropped_attributes_count = static_cast<std::uint32_t>(reader.varint()); break;
        case tag(6, kFixed32): link.flags = reader.fixed32(); break;
        default: reader.skip();
      }
    }
    link.attributes = values_.close(first, cut, link.dropped_attributes_count);
    settle(link);
  }

  ValueReader& values_;
  Traces& out_;
  std::vector<std::string_view> events_;
  std::vector<std::string_view> links_;
};

class LogReader {
 public:
  LogReader(ValueReader& values, Logs& out) : values_(values), out_(out) {}

  std::size_t size() const { return out_.records.size(); }

  void read(std::string_view bytes, std::uint32_t resource, std::uint32_t scope) {
    values_.assembler.count_item();
    const std::size_t first = out_.attributes.size();
    std::uint32_t cut = 0;
    std::string_view body;
    LogRecord& record = out_.records.emplace_back();
    record.resource = resource;
    record.scope = scope;
    Reader reader(bytes, "LogRecord");
    while (reader.next()) {
      switch (reader.tag()) {
        case tag(1, kFixed64): record.time = to_nanos(reader.fixed64()); break;
        case tag(2, kVarint): record.severity_number = static_cast<std::int32_t>(reader.varint()); break;
        case tag(3, kLength): record.severity_text = values_.assembler.string(reader.bytes()); break;
        case tag(5, kLength): values_.merge(body, reader.bytes()); break;
        case tag(6, kLength): values_.attribute(reader, first, cut); break;
        case tag(7, kVarint): record.dropped_attributes_count = static_cast<std::uint32_t>(reader.varint()); break;
        case tag(8, kFixed32): record.flags = reader.fixed32(); break;
        case tag(9, kLength): record.trace_id = reader.bytes(); break;
        case tag(10, kLength): record.span_id = reader.bytes(); break;
        case tag(11, kFixed64): record.observed_time = to_nanos(reader.fixed64()); break;
        case tag(12, kLength): record.event_name = values_.assembler.string(reader.bytes()); break;
        default: reader.skip();
      }
    }
    record.attributes = values_.close(first, cut, record.dropped_attributes_count);
    values_.any_value_whole(body, record.body);
    settle(record);
  }

 private:
  ValueReader& values_;
  Logs& out_;
};

class MetricReader {
 public:
  MetricReader(ValueReader& values, Metrics& out) : values_(values), out_(out), points_(values.assembler, out) {}

  std::size_t size() const { return out_.metrics.size(); }

  void read(std::string_view bytes, std::uint32_t resource, std::uint32_t scope) {
    const Assembler::Mark mark = values_.assembler.mark();
    const std::size_t first = out_.attributes.size();
    std::uint32_t cut = 0;
    index_ = static_cast<std::uint32_t>(out_.metrics.size());
    Metric& metric = out_.metrics.emplace_back();
    metric.resource = resource;
    metric.scope = scope;
    std::uint32_t member = 0;  // of the oneof
    std::string_view data;
    Reader reader(bytes, "Metric");
    while (reader.next()) {
      switch (reader.tag()) {
        case tag(1, kLength): metric.name = values_.assembler.string(reader.bytes()); break;
        case tag(2, kLength): metric.description = values_.assembler.string(reader.bytes()); break;
        case tag(3, kLength): metric.unit = values_.assembler.string(reader.bytes()); break;
        case tag(5, kLength):
        case tag(7, kLength):
        case tag(9, kLength):
        case tag(10, kLength):
        case tag(11, kLength):
          if (member != reader.tag()) data = {};
          member = reader.tag();
          values_.merge(data, reader.bytes());
          break;
        case tag(12, kLength): values_.attribute(reader, first, cut); break;
        default: reader.skip();
      }
    }
    std::uint32_t dropped = 0;
    metric.metadata = values_.close(first, cut, dropped);
    const std::size_t kept = points_.kept();
    switch (member) {
      case tag(5, kLength): read_data(data, metric, MetricType::kGauge); break;
      case tag(7, kLength): read_data(data, metric, MetricType::kSum); break;
      case tag(9, kLength): read_data(data, metric, MetricType::kHistogram); break;
      case tag(10, kLength): read_data(data, metric, MetricType::kExponentialHistogram); break;
      case tag(11, kLength): read_data(data, metric, MetricType::kSummary); break;
      default: break;
    }
    if (points_.kept() == kept) {
      out_.metrics.pop_back();
      values_.assembler.rewind(mark);
    }
  }

 private:
  // An attribute list while it is read.
  struct List {
    std::size_t first;
    std::uint32_t cut = 0;
    std::uint32_t dropped = 0;  // points and exemplars have no field for it
  };

  void read_data(std::string_view data, Metric& metric, MetricType type) {
    metric.type = type;
    const char* refused = nullptr;
    if (type == MetricType::kSum || type == MetricType::kHistogram || type == MetricType::kExponentialHistogram) {
      // The temporality usually comes after the points that it decides on.
      std::int32_t temporality = 0;
      Reader reader(data, "metric data");
      while (reader.next()) {
        if (reader.tag() == tag(2, kVarint)) {
          temporality = static_cast<std::int32_t>(reader.varint());
        } else if (reader.tag() == tag(3, kVarint) && type == MetricType::kSum) {
          metric.is_monotonic = reader.varint() != 0;
        } else {
          reader.skip();
        }
      }
      refused = judge_temporality(temporality);
      metric.temporality = static_cast<Temporality>(temporality);
    }
    points_.begin_metric(index_, refused);
    Reader reader(data, "metric data");
    while (reader.next()) {
      if (reader.tag() != tag(1, kLength)) {
        reader.skip();
        continue;
      }
      switch (type) {
        case MetricType::kGauge:
        case MetricType::kSum: read_number(reader.bytes()); break;
        case MetricType::kHistogram: read_histogram(reader.bytes()); break;
        case MetricType::kExponentialHistogram: read_exponential(reader.bytes()); break;
        case MetricType::kSummary: read_summary(reader.bytes()); break;
      }
    }
  }

  template <class Point>
  void close_lists(Point& point, List& attributes) {
    point.attributes = values_.close(attributes.first, attributes.cut, attributes.dropped);
    if constexpr (requires { point.exemplars; }) {
      const std::size_t first = out_.exemplars.size();
      for (const std::string_view exemplar : exemplars_) read_exemplar(exemplar);
      exemplars_.clear();
      point.exemplars = since(out_.exemplars, first);
    }
  }

  void read_number(std::string_view bytes) {
    const PointAssembler::Mark mark = points_.begin();
    List attributes{out_.attributes.size()};
    bool has_value = false;
    NumberPoint& point = out_.number_points.emplace_back();
    Reader reader(bytes, "NumberDataPoint");
    while (reader.next()) {
      switch (reader.tag()) {
        case tag(2, kFixed64): point.start = to_nanos(reader.fixed64()); break;
        case tag(3, kFixed64): point.time = to_nanos(reader.fixed64()); break;
        case tag(4, kFixed64):
          point.number = reader.float64();
          point.integer = 0;
          point.is_int = false;
          has_value = true;
          break;
        case tag(5, kLength): exemplars_.push_back(reader.bytes()); break;
        case tag(6, kFixed64):
          point.integer = static_cast<std::int64_t>(reader.fixed64());
          point.number = 0;
          point.is_int = true;
          has_value = true;
          break;
        case tag(7, kLength): values_.attribute(reader, attributes.first, attributes.cut); break;
        case tag(8, kVarint): point.flags = static_cast<std::uint32_t>(reader.varint()); break;
        default: reader.skip();
      }
    }
    close_lists(point, attributes);
    points_.end(out_.number_points, mark, judge(point, has_value));
  }

  void read_histogram(std::string_view bytes) {
    const PointAssembler::Mark mark = points_.begin();
    List attributes{out_.attributes.size()};
    HistogramPoint& point = out_.histogram_points.emplace_back();
    Reader reader(bytes, "HistogramDataPoint");
    while (reader.next()) {
      switch (reader.tag()) {
        case tag(2, kFixed64): point.start = to_nanos(reader.fixed64()); break;
        case tag(3, kFixed64): point.time = to_nanos(reader.fixed64()); break;
        case tag(4, kFixed64): point.count = reader.fixed64(); break;
        case tag(5, kFixed64): point.sum = reader.float64(), point.has_sum = true; break;
        case tag(6, kFixed64): points_.add(out_.integers, reader.fixed64()); break;
        case tag(6, kLength): add_packed_fixed(out_.integers, reader); break;
        case tag(7, kFixed64): points_.add(out_.doubles, reader.float64()); break;
        case tag(7, kLength): add_packed_fixed(out_.doubles, reader); break;
        case tag(8, kLength): exemplars_.push_back(reader.bytes()); break;
        case tag(9, kLength): values_.attribute(reader, attributes.first, attributes.cut); break;
        case tag(10, kVarint): point.flags = static_cast<std::uint32_t>(reader.varint()); break;
        case tag(11, kFixed64): point.min = reader.float64(), point.has_min = true; break;
        case tag(12, kFixed64): point.max = reader.float64(), point.has_max = true; break;
        default: reader.skip();
      }
    }
    point.bucket_counts = since(out_.integers, mark.integers);
    point.bounds = since(out_.doubles, mark.doubles);
    close_lists(point, attributes);
    points_.end(out_.histogram_points, mark, judge(out_, point));
  }

  void read_exponential(std::string_view bytes) {
    const PointAssembler::Mark mark = points_.begin();
    List attributes{out_.attributes.size()};
    std::string_view positive;
    std::string_view negative;
    ExponentialHistogramPoint& point = out_.exponential_histogram_points.emplace_back();
    Reader reader(bytes, "ExponentialHistogramDataPoint");
    while (reader.next()) {
      switch (reader.tag()) {
        case tag(1, kLength): values_.attribute(reader, attributes.first, attributes.cut); break;
        case tag(2, kFixed64): point.start = to_nanos(reader.fixed64()); break;
        case tag(3, kFixed64): point.time = to_nanos(reader.fixed64()); break;
        case tag(4, kFixed64): point.count = reader.fixed64(); break;
        case tag(5, kFixed64): point.sum = reader.float64(), point.has_sum = true; break;
        case tag(6, kVarint): point.scale = reader.zigzag32(); break;
        case tag(7, kFixed64): point.zero_count = reader.fixed64(); break;
        case tag(8, kLength): values_.merge(positive, reader.bytes()); break;
        case tag(9, kLength): values_.merge(negative, reader.bytes()); break;
        case tag(10, kVarint): point.flags = static_cast<std::uint32_t>(reader.varint()); break;
        case tag(11, kLength): exemplars_.push_back(reader.bytes()); break;
        case tag(12, kFixed64): point.min = reader.float64(), point.has_min = true; break;
        case tag(13, kFixed64): point.max = reader.float64(), point.has_max = true; break;
        case tag(14, kFixed64): point.zero_threshold = reader.float64(); break;
        default: reader.skip();
      }
    }
    point.positive_counts = read_buckets(positive, point.positive_offset);
    point.negative_counts = read_buckets(negative, point.negative_offset);
    close_lists(point, attributes);
    points_.end(out_.exponential_histogram_points, mark, judge(out_, point));
  }

  Range read_buckets(std::string_view bytes, std::int32_t& offset) {
    const std::size_t first = out_.integers.size();
    Reader reader(bytes, "Buckets");
    while (reader.next()) {
      switch (reader.tag()) {
        case tag(1, kVarint): offset = reader.zigzag32(); break;
        case tag(2, kVarint): points_.add(out_.integers, reader.varint()); break;
        case tag(2, kLength): {
          Reader packed(reader.bytes(), "Buckets");
          while (!packed.at_end()) points_.add(out_.integers, packed.varint());
          break;
        }
        default: reader.skip();
      }
    }
    return since(out_.integers, first);
  }

  void read_summary(std::string_view bytes) {
    const PointAssembler::Mark mark = points_.begin();
    List attributes{out_.attributes.size()};
    SummaryPoint& point = out_.summary_points.emplace_back();
    Reader reader(bytes, "SummaryDataPoint");
    while (reader.next()) {
      switch (reader.tag()) {
        case tag(2, kFixed64): point.start = to_nanos(reader.fixed64()); break;
        case tag(3, kFixed64): point.time = to_nanos(reader.fixed64()); break;
        case tag(4, kFixed64): point.count = reader.fixed64(); break;
        case tag(5, kFixed64): point.sum = reader.float64(); break;
        case tag(6, kLength): read_quantile(reader.bytes()); break;
        case tag(7, kLength): values_.attribute(reader, attributes.first, attributes.cut); break;
        case tag(8, kVarint): point.flags = static_cast<std::uint32_t>(reader.varint()); break;
        default: reader.skip();
      }
    }
    point.quantiles = since(out_.doubles, mark.doubles);
    close_lists(point, attributes);
    points_.end(out_.summary_points, mark, judge(out_, point));
  }

  void read_quantile(std::string_view bytes) {
    double quantile = 0;
    double value = 0;
    Reader reader(bytes, "ValueAtQuantile");
    while (reader.next()) {
      switch (reader.tag()) {
        case tag(1, kFixed64): quantile = reader.float64(); break;
        case tag(2, kFixed64): value = reader.float64(); break;
        default: reader.skip();
      }
    }
    points_.add(out_.doubles, quantile);
    points_.add(out_.doubles, value);
  }

  void read_exemplar(std::string_view bytes) {
    values_.assembler.count_part();
    const Assembler::Mark mark = values_.assembler.mark();
    const std::size_t first = out_.attributes.size();
    std::uint32_t cut = 0;
    std::uint32_t dropped = 0;
    bool has_value = false;
    Exemplar& exemplar = out_.exemplars.emplace_back();
    Reader reader(bytes, "Exemplar");
    while (reader.next()) {
      switch (reader.tag()) {
        case tag(2, kFixed64): exemplar.time = to_nanos(reader.fixed64()); break;
        case tag(3, kFixed64): exemplar.value = reader.float64(), has_value = true; break;
        case tag(4, kLength): exemplar.span_id = reader.bytes(); break;
        case tag(5, kLength): exemplar.trace_id = reader.bytes(); break;
        case tag(6, kFixed64):
          exemplar.value = static_cast<double>(static_cast<std::int64_t>(reader.fixed64()));
          has_value = true;
          break;
        case tag(7, kLength): values_.attribute(reader, first, cut); break;
        default: reader.skip();
      }
    }
    exemplar.filtered_attributes = values_.close(first, cut, dropped);
    settle(exemplar);
    if (!has_value) {
      // An exemplar only illustrates its point: the point stays.
      out_.exemplars.pop_back();
      values_.assembler.rewind(mark);
    }
  }

  template <class T>
  void add_packed_fixed(std::vector<T>& numbers, Reader& reader) {
    const std::string_view bytes = reader.bytes();
    if (bytes.size() % sizeof(T) != 0) reader.fault("packed numbers do not fill their field");
    const std::size_t size = numbers.size();
    values_.assembler.check_numbers(size + bytes.size() / sizeof(T));
    if (bytes.empty()) return;
    numbers.resize(size + bytes.size() / sizeof(T));
    std::memcpy(numbers.data() + size, bytes.data(), bytes.size());
  }

  ValueReader& values_;
  Metrics& out_;
  PointAssembler points_;
  std::uint32_t index_ = 0;  // of the metric whose points are read
  std::vector<std::string_view> exemplars_;
};

template <class Items, class Request>
Result<void> decode(std::string_view body, const DecodeLimits& limits, Request& out) {
  // Sizes and offsets of the model are 32 bits.
  constexpr std::size_t kBodyBytesMax = 0xFFFFFFFF;
  clear(out);
  if (body.size() > kBodyBytesMax) return fail(ErrorCode::kTooLarge, "a request of more than 4 GiB");
  std::optional<Error> error;
  try {
    ValueReader values(out, limits);
    Items items(values, out);
    Envelope<Items>(values, items).request(body);
  } catch (const DecodeError& thrown) {
    error = error_of(thrown, body);
  } catch (const std::bad_alloc&) {
    error = Error(ErrorCode::kResourceExhausted, "no memory left to decode a request");
  }
  if (!error) return {};
  clear(out);
  return std::unexpected(*std::move(error));
}

}  // namespace

Result<void> decode_protobuf(std::string_view body, const DecodeLimits& limits, Traces& out) {
  return decode<SpanReader>(body, limits, out);
}

Result<void> decode_protobuf(std::string_view body, const DecodeLimits& limits, Logs& out) {
  return decode<LogReader>(body, limits, out);
}

Result<void> decode_protobuf(std::string_view body, const DecodeLimits& limits, Metrics& out) {
  return decode<MetricReader>(body, limits, out);
}

}  // namespace fettle::otlp
