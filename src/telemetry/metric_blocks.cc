#include "telemetry/metric_blocks.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <unordered_map>
#include <utility>

#include "telemetry/attribute_text.h"
#include "telemetry/columns.h"
#include "telemetry/day_blocks.h"
#include "telemetry/record_columns.h"

namespace fettle::telemetry {
namespace {

constexpr std::string_view kLow = "LowCardinality(String)";
constexpr UnixNanos kAnnounceEvery = 3'600 * kNanosPerSecond;

// Which of sum, min and max a histogram point has; stored in `histogram_points.has`.
constexpr std::uint8_t kHasSum = 1;
constexpr std::uint8_t kHasMin = 2;
constexpr std::uint8_t kHasMax = 4;

std::int64_t to_millis(UnixNanos t) { return t / kNanosPerMilli - (t % kNanosPerMilli < 0 ? 1 : 0); }

// Array(T) of fixed-width items.
template <class T>
class ArrayColumn {
 public:
  void set(std::size_t row, const T* items, std::size_t count, std::size_t stride = 1) {
    if (count == 0) return;
    pad(row);
    for (std::size_t i = 0; i < count; ++i) items_.append_value(items[i * stride]);
    ends_.append_value(std::uint64_t{items_.size() / sizeof(T)});
    ++rows_;
  }
  bool is_empty() const { return rows_ == 0; }
  void render(std::size_t rows, ByteBuffer& out) {
    pad(rows);
    out.append(ends_.view());
    out.append(items_.view());
  }
  void clear() {
    ends_.clear();
    items_.clear();
    rows_ = 0;
  }

 private:
  void pad(std::size_t row) {
    for (; rows_ < row; ++rows_) ends_.append_value(std::uint64_t{items_.size() / sizeof(T)});
  }
  ByteBuffer ends_, items_;
  std::size_t rows_ = 0;
};

// Map(String, String); a row is closed by end_row().
class LabelsColumn {
 public:
  void add(std::string_view key, std::string_view value) {
    keys_.append_string(key);
    values_.append_string(value);
    ++count_;
  }
  void end_row() { ends_.append_value(count_); }
  bool is_empty() const { return ends_.size() == 0; }
  void render(std::size_t, ByteBuffer& out) {
    out.append(ends_.view());
    out.append(keys_.view());
    out.append(values_.view());
  }
  void clear() {
    ends_.clear();
    keys_.clear();
    values_.clear();
    count_ = 0;
  }

 private:
  ByteBuffer ends_, keys_, values_;
  std::uint64_t count_ = 0;
};

struct PointHead {
  std::string_view workspace;
  std::string_view name;
  std::uint64_t series_id = 0;
  UnixNanos ts = 0;
  UnixNanos start = 0;
  std::uint32_t flags = 0;
  UnixNanos received_at = 0;
};

// What all points have.
struct HeadColumns {
  LowCardinalityColumn workspace, name;
  FixedColumn<std::uint64_t> series_id;
  FixedColumn<std::int64_t> ts, start_ts;
  FixedColumn<std::uint32_t> flags, received_at;

  void append(std::size_t row, const PointHead& head) {
    workspace.set(row, head.workspace);
    name.set(row, head.name);
    series_id.set(row, head.series_id);
    ts.set(row, to_millis(head.ts));
    start_ts.set_if(row, to_millis(head.start));
    flags.set_if(row, head.flags);
    received_at.set(row, to_seconds(head.received_at));
  }
  void render(std::size_t rows, ByteBuffer& out, std::uint32_t& columns) {
    render_column("workspace", kLow, workspace, rows, out, columns);
    render_column("name", kLow, name, rows, out, columns);
    render_column("series_id", "UInt64", series_id, rows, out, columns);
    render_column("ts", "DateTime64(3, 'UTC')", ts, rows, out, columns);
    render_column("start_ts", "DateTime64(3, 'UTC')", start_ts, rows, out, columns);
    render_column("flags", "UInt32", flags, rows, out, columns);
    render_column("received_at", "DateTime", received_at, rows, out, columns);
  }
  void clear() {
    workspace.clear();
    name.clear();
    series_id.clear();
    ts.clear();
    start_ts.clear();
    flags.clear();
    received_at.clear();
  }
};

struct NumberBlock {
  std::size_t rows = 0;
  HeadColumns head;
  FixedColumn<double> value;
  FixedColumn<std::uint8_t> is_int;
  FixedColumn<std::int64_t> int_value;

  std::size_t byte_count() const { return rows * 48; }
  void render(std::int32_t, ByteBuffer& out, std::uint32_t& columns) {
    head.render(rows, out, columns);
    render_column("value", "Float64", value, rows, out, columns);
    render_column("is_int", "UInt8", is_int, rows, out, columns);
    render_column("int_value", "Int64", int_value, rows, out, columns);
  }
  void clear() {
    rows = 0;
    head.clear();
    value.clear();
    is_int.clear();
    int_value.clear();
  }
};

struct HistogramBlock {
  std::size_t rows = 0;
  std::size_t items = 0;
  HeadColumns head;
  FixedColumn<std::uint64_t> count, zero_count;
  FixedColumn<std::uint8_t> has;
  FixedColumn<double> sum, min, max, zero_threshold;
  ArrayColumn<double> bounds, quantiles, quantile_values;
  ArrayColumn<std::uint64_t> bucket_counts, positive_counts, negative_counts;
  FixedColumn<std::int32_t> scale, positive_offset, negative_offset;

  std::size_t byte_count() const { return rows * 96 + items * 8; }

  template <class Point>
  void append_summary(std::size_t row, const Point& point) {
    count.set_if(row, point.count);
    has.set_if(row, static_cast<std::uint8_t>((point.has_sum ? kHasSum : 0) | (point.has_min ? kHasMin : 0) |
                                              (point.has_max ? kHasMax : 0)));
    if (point.has_sum) sum.set(row, point.sum);
    if (point.has_min) min.set(row, point.min);
    if (point.has_max) max.set(row, point.max);
  }

  void render(std::int32_t, ByteBuffer& out, std::uint32_t& columns) {
    head.render(rows, out, columns);
    render_column("count", "UInt64", count, rows, out, columns);
    render_column("has", "UInt8", has, rows, out, columns);
    render_column("sum", "Float64", sum, rows, out, columns);
    render_column("min", "Float64", min, rows, out, columns);
    render_column("max", "Float64", max, rows, out, columns);
    render_column("bounds", "Array(Float64)", bounds, rows, out, columns);
    render_column("bucket_counts", "Array(UInt64)", bucket_counts, rows, out, columns);
    render_column("scale", "Int32", scale, rows, out, columns);
    render_column("zero_count", "UInt64", zero_count, rows, out, columns);
    render_column("zero_threshold", "Float64", zero_threshold, rows, out, columns);
    render_column("positive_offset", "Int32", positive_offset, rows, out, columns);
    render_column("positive_counts", "Array(UInt64)", positive_counts, rows, out, columns);
    render_column("negative_offset", "Int32", negative_offset, rows, out, columns);
    render_column("negative_counts", "Array(UInt64)", negative_counts, rows, out, columns);
    render_column("quantiles", "Array(Float64)", quantiles, rows, out, columns);
    render_column("quantile_values", "Array(Float64)", quantile_values, rows, out, columns);
  }
  void clear() {
    rows = items = 0;
    head.clear();
    count.clear();
    zero_count.clear();
    has.clear();
    for (FixedColumn<double>* column : {&sum, &min, &max, &zero_threshold}) column->clear();
    for (ArrayColumn<double>* column : {&bounds, &quantiles, &quantile_values}) column->clear();
    for (ArrayColumn<std::uint64_t>* column : {&bucket_counts, &positive_counts, &negative_counts}) column->clear();
    for (FixedColumn<std::int32_t>* column : {&scale, &positive_offset, &negative_offset}) column->clear();
  }
};

struct ExemplarBlock {
  std::size_t rows = 0;
  HeadColumns head;
  FixedColumn<double> value;
  StringColumn trace_id, span_id, attrs;

  std::size_t byte_count() const { return rows * 96 + attrs.byte_count(); }
  void render(std::int32_t, ByteBuffer& out, std::uint32_t& columns) {
    head.render(rows, out, columns);
    render_column("value", "Float64", value, rows, out, columns);
    render_column("trace_id", "String", trace_id, rows, out, columns);
    render_column("span_id", "String", span_id, rows, out, columns);
    render_column("attrs", "String", attrs, rows, out, columns);
  }
  void clear() {
    rows = 0;
    head.clear();
    value.clear();
    trace_id.clear();
    span_id.clear();
    attrs.clear();
  }
};

struct SeriesBlock {
  std::size_t rows = 0;
  std::size_t label_bytes = 0;
  LowCardinalityColumn workspace, name, unit, service_name, resource, scope_name, scope_version, envelope;
  FixedColumn<std::uint64_t> series_id;
  FixedColumn<std::int32_t> type, temporality;
  FixedColumn<std::uint8_t> is_monotonic;
  StringColumn description;
  LabelsColumn labels;
  FixedColumn<std::uint32_t> first_ts, last_ts;

  std::size_t byte_count() const { return rows * 64 + label_bytes; }
  void render(std::int32_t day, ByteBuffer& out, std::uint32_t& columns) {
    FixedColumn<std::uint16_t> date;
    for (std::size_t i = 0; i < rows; ++i) date.set(i, static_cast<std::uint16_t>(std::clamp(day, 0, 0xffff)));
    render_column("day", "Date", date, rows, out, columns);
    render_column("workspace", kLow, workspace, rows, out, columns);
    render_column("name", kLow, name, rows, out, columns);
    render_column("series_id", "UInt64", series_id, rows, out, columns);
    render_column("type", "Int32", type, rows, out, columns);
    render_column("temporality", "Int32", temporality, rows, out, columns);
    render_column("is_monotonic", "UInt8", is_monotonic, rows, out, columns);
    render_column("unit", kLow, unit, rows, out, columns);
    render_column("description", "String", description, rows, out, columns);
    render_column("labels", "Map(String, String)", labels, rows, out, columns);
    render_column("service_name", kLow, service_name, rows, out, columns);
    render_column("resource", kLow, resource, rows, out, columns);
    render_column("scope_name", kLow, scope_name, rows, out, columns);
    render_column("scope_version", kLow, scope_version, rows, out, columns);
    render_column("envelope", kLow, envelope, rows, out, columns);
    render_column("first_ts", "DateTime", first_ts, rows, out, columns);
    render_column("last_ts", "DateTime", last_ts, rows, out, columns);
  }
  void clear() {
    rows = label_bytes = 0;
    for (LowCardinalityColumn* column :
         {&workspace, &name, &unit, &service_name, &resource, &scope_name, &scope_version, &envelope}) {
      column->clear();
    }
    series_id.clear();
    type.clear();
    temporality.clear();
    is_monotonic.clear();
    description.clear();
    labels.clear();
    first_ts.clear();
    last_ts.clear();
  }
};

// The hash must be the same in every process and for ever, so it has no seed: FNV-1a with a finish, over the parts of a
// stream's identity, each with its length.
class IdentityHash {
 public:
  void add(std::string_view text) {
    add(std::uint64_t{text.size()});
    for (const char c : text) step(static_cast<unsigned char>(c));
  }
  void add(std::uint64_t number) {
    for (int i = 0; i < 8; ++i) step(static_cast<unsigned char>(number >> (8 * i)));
  }
  std::uint64_t value() const {
    std::uint64_t mixed = hash_;
    mixed = (mixed ^ (mixed >> 33)) * 0xff51afd7ed558ccd;
    mixed = (mixed ^ (mixed >> 33)) * 0xc4ceb9fe1a85ec53;
    return mixed ^ (mixed >> 33);
  }

 private:
  void step(unsigned char byte) { hash_ = (hash_ ^ byte) * 0x100000001b3; }
  std::uint64_t hash_ = 0xcbf29ce484222325;
};

}  // namespace

struct MetricBlocksBuilder::Impl {
  explicit Impl(std::size_t series_max) : series_remembered_max(series_max) {}

  std::size_t series_remembered_max;
  RequestTexts texts;
  const otlp::Metrics* request = nullptr;
  DayBlocks<SeriesBlock> series{Table::kSeries};
  DayBlocks<NumberBlock> numbers{Table::kNumberPoints};
  DayBlocks<HistogramBlock> histograms{Table::kHistogramPoints};
  DayBlocks<ExemplarBlock> exemplars{Table::kExemplars};
  // By series: the newest time of a point for which it was announced.
  std::unordered_map<std::uint64_t, UnixNanos> announced;
  std::vector<std::pair<std::string_view, std::string>> labels;
  std::string scratch;

  // The identity of the point's stream, announced if that is due.
  PointHead head_of(std::uint32_t metric_index, otlp::Range attributes, UnixNanos time, UnixNanos start,
                    std::uint32_t flags) {
    const otlp::Metric& metric = request->metrics[metric_index];
    labels.clear();
    for (std::uint32_t i = 0; i < attributes.count; ++i) {
      const otlp::Attribute& attribute = request->attributes[attributes.first + i];
      auto& label = labels.emplace_back(attribute.key, std::string());
      append_value_text(label.second, *request, attribute.value);
    }
    // Of equal keys the last one counts.
    std::stable_sort(labels.begin(), labels.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    std::size_t kept = 0;
    for (std::size_t i = 0; i < labels.size(); ++i) {
      if (i + 1 < labels.size() && labels[i + 1].first == labels[i].first) continue;
      if (kept != i) labels[kept] = std::move(labels[i]);
      ++kept;
    }
    labels.resize(kept);

    const RequestTexts::ResourceText& resource = texts.resource(metric.resource);
    const std::string envelope = texts.envelope(metric.resource, metric.scope);
    const bool has_scope = metric.scope < request->scopes.size();
    IdentityHash hash;
    hash.add(texts.workspace());
    hash.add(resource.json);
    hash.add(envelope);
    hash.add(has_scope ? request->scopes[metric.scope].name : std::string_view{});
    hash.add(has_scope ? request->scopes[metric.scope].version : std::string_view{});
    hash.add(metric.name);
    hash.add(metric.unit);
    hash.add(static_cast<std::uint64_t>(metric.type));
    hash.add(static_cast<std::uint64_t>(metric.temporality));
    hash.add(std::uint64_t{metric.is_monotonic});
    for (const auto& [key, value] : labels) {
      hash.add(key);
      hash.add(value);
    }
    const PointHead head{.workspace = texts.workspace(),
                         .name = metric.name,
                         .series_id = hash.value(),
                         .ts = time,
                         .start = start,
                         .flags = flags,
                         .received_at = texts.received_at()};
    announce(head, metric, resource, envelope);
    return head;
  }

  void announce(const PointHead& head, const otlp::Metric& metric, const RequestTexts::ResourceText& resource,
                const std::string& envelope) {
    if (announced.size() >= series_remembered_max && !announced.contains(head.series_id)) announced.clear();
    const auto [known, is_new] = announced.try_emplace(head.series_id, head.ts);
    if (!is_new) {
      const bool is_due = head.ts - known->second >= kAnnounceEvery || known->second - head.ts >= kAnnounceEvery ||
                          day_of(head.ts) != day_of(known->second);
      if (!is_due) return;
      known->second = head.ts;
    }
    SeriesBlock& block = series.of_day(day_of(head.ts), [] { return std::make_unique<SeriesBlock>(); });
    const std::size_t row = block.rows++;
    const bool has_scope = metric.scope < request->scopes.size();
    block.workspace.set(row, head.workspace);
    block.name.set(row, head.name);
    block.series_id.set(row, head.series_id);
    block.type.set(row, static_cast<std::int32_t>(metric.type));
    block.temporality.set_if(row, static_cast<std::int32_t>(metric.temporality));
    block.is_monotonic.set_if(row, metric.is_monotonic ? 1 : 0);
    block.unit.set_if(row, metric.unit);
    block.description.set_if(row, metric.description);
    for (const auto& [key, value] : labels) {
      block.labels.add(key, value);
      block.label_bytes += key.size() + value.size() + 2;
    }
    block.labels.end_row();
    block.service_name.set_if(row, resource.service_name);
    block.resource.set_if(row, resource.json);
    block.scope_name.set_if(row, has_scope ? request->scopes[metric.scope].name : std::string_view{});
    block.scope_version.set_if(row, has_scope ? request->scopes[metric.scope].version : std::string_view{});
    block.envelope.set_if(row, envelope);
    block.first_ts.set(row, to_seconds(head.ts));
    block.last_ts.set(row, to_seconds(head.ts));
  }

  void append_exemplars(const PointHead& head, otlp::Range range) {
    for (std::uint32_t i = 0; i < range.count; ++i) {
      const otlp::Exemplar& exemplar = request->exemplars[range.first + i];
      PointHead at = head;
      if (exemplar.time != 0) at.ts = exemplar.time;
      at.start = 0;
      at.flags = 0;
      ExemplarBlock& block = exemplars.of_day(day_of(at.ts), [] { return std::make_unique<ExemplarBlock>(); });
      const std::size_t row = block.rows++;
      block.head.append(row, at);
      block.value.set(row, exemplar.value);
      set_hex(block.trace_id, row, exemplar.trace_id);
      set_hex(block.span_id, row, exemplar.span_id);
      if (exemplar.filtered_attributes.count == 0) continue;
      scratch.clear();
      append_attributes_json(scratch, *request, exemplar.filtered_attributes);
      block.attrs.set(row, scratch);
    }
  }

  HistogramBlock& histogram_of(const PointHead& head) {
    HistogramBlock& block = histograms.of_day(day_of(head.ts), [] { return std::make_unique<HistogramBlock>(); });
    block.head.append(block.rows++, head);
    return block;
  }
};

MetricBlocksBuilder::MetricBlocksBuilder(std::size_t series_remembered_max)
    : impl_(std::make_unique<Impl>(series_remembered_max)) {}
MetricBlocksBuilder::~MetricBlocksBuilder() = default;
MetricBlocksBuilder::MetricBlocksBuilder(MetricBlocksBuilder&&) noexcept = default;
MetricBlocksBuilder& MetricBlocksBuilder::operator=(MetricBlocksBuilder&&) noexcept = default;

void MetricBlocksBuilder::begin(std::string_view workspace, const otlp::Metrics& request, UnixNanos received_at) {
  impl_->request = &request;
  impl_->texts.begin(workspace, request, received_at);
}

void MetricBlocksBuilder::append(const otlp::NumberPoint& point) {
  const PointHead head = impl_->head_of(point.metric, point.attributes, point.time, point.start, point.flags);
  NumberBlock& block = impl_->numbers.of_day(day_of(head.ts), [] { return std::make_unique<NumberBlock>(); });
  const std::size_t row = block.rows++;
  block.head.append(row, head);
  block.value.set(row, point.is_int ? static_cast<double>(point.integer) : point.number);
  block.is_int.set_if(row, point.is_int ? 1 : 0);
  // A double holds every integer up to 2^53; only beyond is the integer itself needed.
  constexpr std::int64_t kExact = std::int64_t{1} << 53;
  if (point.is_int && (point.integer > kExact || point.integer < -kExact)) block.int_value.set(row, point.integer);
  impl_->append_exemplars(head, point.exemplars);
}

void MetricBlocksBuilder::append(const otlp::HistogramPoint& point) {
  const PointHead head = impl_->head_of(point.metric, point.attributes, point.time, point.start, point.flags);
  HistogramBlock& block = impl_->histogram_of(head);
  const std::size_t row = block.rows - 1;
  block.append_summary(row, point);
  block.bounds.set(row, impl_->request->doubles.data() + point.bounds.first, point.bounds.count);
  block.bucket_counts.set(row, impl_->request->integers.data() + point.bucket_counts.first, point.bucket_counts.count);
  block.items += point.bounds.count + point.bucket_counts.count;
  impl_->append_exemplars(head, point.exemplars);
}

void MetricBlocksBuilder::append(const otlp::ExponentialHistogramPoint& point) {
  const PointHead head = impl_->head_of(point.metric, point.attributes, point.time, point.start, point.flags);
  HistogramBlock& block = impl_->histogram_of(head);
  const std::size_t row = block.rows - 1;
  block.append_summary(row, point);
  block.scale.set_if(row, point.scale);
  block.zero_count.set_if(row, point.zero_count);
  block.zero_threshold.set_if(row, point.zero_threshold);
  block.positive_offset.set_if(row, point.positive_offset);
  block.negative_offset.set_if(row, point.negative_offset);
  const std::uint64_t* integers = impl_->request->integers.data();
  block.positive_counts.set(row, integers + point.positive_counts.first, point.positive_counts.count);
  block.negative_counts.set(row, integers + point.negative_counts.first, point.negative_counts.count);
  block.items += point.positive_counts.count + point.negative_counts.count;
  impl_->append_exemplars(head, point.exemplars);
}

void MetricBlocksBuilder::append(const otlp::SummaryPoint& point) {
  const PointHead head = impl_->head_of(point.metric, point.attributes, point.time, point.start, point.flags);
  HistogramBlock& block = impl_->histogram_of(head);
  const std::size_t row = block.rows - 1;
  block.count.set_if(row, point.count);
  block.has.set(row, kHasSum);
  block.sum.set(row, point.sum);
  if (point.quantiles.count < 2) return;
  const double* pairs = impl_->request->doubles.data() + point.quantiles.first;
  block.quantiles.set(row, pairs, point.quantiles.count / 2, 2);
  block.quantile_values.set(row, pairs + 1, point.quantiles.count / 2, 2);
  block.items += point.quantiles.count;
}

std::size_t MetricBlocksBuilder::rows() const {
  return impl_->series.rows() + impl_->numbers.rows() + impl_->histograms.rows() + impl_->exemplars.rows();
}
std::size_t MetricBlocksBuilder::bytes() const {
  return impl_->series.bytes() + impl_->numbers.bytes() + impl_->histograms.bytes() + impl_->exemplars.bytes();
}
std::vector<TableBlock> MetricBlocksBuilder::take() {
  std::vector<TableBlock> taken = impl_->series.take();
  const auto add = [&](std::vector<TableBlock> more) {
    taken.insert(taken.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
  };
  add(impl_->numbers.take());
  add(impl_->histograms.take());
  add(impl_->exemplars.take());
  return taken;
}
void MetricBlocksBuilder::forget() { impl_->announced.clear(); }

}  // namespace fettle::telemetry
