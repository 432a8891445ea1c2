#include "otlp/decode.h"
#include "otlp/protobuf_request.h"

namespace fettle::otlp {
namespace {

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

}  // namespace

Result<void> decode_protobuf(std::string_view body, const DecodeLimits& limits, Metrics& out) {
  return decode_protobuf_request<MetricReader>(body, limits, out);
}

}  // namespace fettle::otlp
