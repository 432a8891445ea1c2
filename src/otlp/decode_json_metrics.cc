#include "otlp/decode.h"
#include "otlp/json_request.h"

namespace fettle::otlp {
namespace {

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

}  // namespace

Result<void> decode_json(std::string_view body, const DecodeLimits& limits, Metrics& out) {
  return decode_json_request<MetricReader>(body, limits, out);
}

}  // namespace fettle::otlp
