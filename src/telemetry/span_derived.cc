#include "telemetry/span_derived.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "core/ids.h"

namespace fettle::telemetry {
namespace {

constexpr std::string_view kLow = "LowCardinality(String)";
constexpr std::int64_t kRollupSeconds = 10;

void finish(std::vector<TableBlock>& out, Table table, std::int32_t day, std::size_t rows, const ByteBuffer& bytes,
            std::uint32_t columns) {
  TableBlock& block = out.emplace_back();
  block.table = table;
  block.day = day;
  block.rows = static_cast<std::uint32_t>(rows);
  block.columns = columns;
  block.bytes.assign(bytes.view());
}

}  // namespace

std::uint8_t duration_bucket(std::uint64_t duration_us) {
  if (duration_us == 0) return 0;
  const int width = std::bit_width(duration_us);
  const int half = width >= 2 ? static_cast<int>(duration_us >> (width - 2) & 1) : 0;
  return static_cast<std::uint8_t>(2 * width - 1 + half);
}

std::uint32_t TraceRows::number_of(std::string_view text) {
  if (texts_.count() == 0) texts_.intern("");
  if (text.empty()) return 0;
  if (texts_.at(last_text_) != text) last_text_ = texts_.intern(text);
  return last_text_;
}

void TraceRows::add(const Span& span) {
  Key key{};
  std::memcpy(key.trace_id.data(), span.trace_id.data(), std::min(span.trace_id.size(), key.trace_id.size()));
  key.workspace = span.workspace;
  const std::uint32_t index = keys_.find_or_add(key);
  if (index == rows_.size()) {
    Row& added = rows_.emplace_back();
    added.first = span.start;
    added.last = span.end;
  }
  Row& row = rows_[index];
  row.first = std::min(row.first, span.start);
  row.last = std::max(row.last, span.end);
  ++row.spans;
  row.errors += span.is_error;
  row.is_kept = row.is_kept || span.is_kept;
  if (span.is_root) {
    row.name = number_of(span.name);
    row.service = number_of(span.service);
  }
  if (row.client_id == 0) row.client_id = number_of(span.client_id);
  if (row.workflow == 0) row.workflow = number_of(span.workflow);
}

void TraceRows::render(std::int32_t day, const OriginColumns& origin, std::vector<TableBlock>& out) const {
  FixedColumn<std::uint16_t> date;
  LowCardinalityColumn workspace, name, service, client_id, workflow;
  StringColumn trace_id;
  FixedColumn<std::int64_t> first, last;
  FixedColumn<std::uint64_t> spans, errors;
  FixedColumn<std::uint8_t> keep;
  for (std::size_t i = 0; i < rows_.size(); ++i) {
    const Row& row = rows_[i];
    const Key& key = keys_.keys()[i];
    date.set(i, static_cast<std::uint16_t>(std::clamp(day, 0, 0xffff)));
    workspace.set(i, origin.workspace(static_cast<std::uint32_t>(key.workspace)));
    set_hex(trace_id, i, {key.trace_id.data(), key.trace_id.size()});
    // Milliseconds that enclose the trace: the range is used to bound look-ups.
    first.set(i, row.first / kNanosPerMilli - (row.first % kNanosPerMilli < 0 ? 1 : 0));
    last.set(i, row.last / kNanosPerMilli + (row.last % kNanosPerMilli > 0 ? 1 : 0));
    spans.set(i, row.spans);
    errors.set_if(i, row.errors);
    keep.set_if(i, row.is_kept ? 1 : 0);
    name.set_if(i, texts_.at(row.name));
    service.set_if(i, texts_.at(row.service));
    client_id.set_if(i, texts_.at(row.client_id));
    workflow.set_if(i, texts_.at(row.workflow));
  }
  ByteBuffer bytes;
  std::uint32_t columns = 0;
  const std::size_t rows = rows_.size();
  render_column("day", "Date", date, rows, bytes, columns);
  render_column("workspace", kLow, workspace, rows, bytes, columns);
  render_column("trace_id", "String", trace_id, rows, bytes, columns);
  render_column("first_ts", "DateTime64(3, 'UTC')", first, rows, bytes, columns);
  render_column("last_ts", "DateTime64(3, 'UTC')", last, rows, bytes, columns);
  render_column("spans", "UInt64", spans, rows, bytes, columns);
  render_column("errors", "UInt64", errors, rows, bytes, columns);
  render_column("keep", "UInt8", keep, rows, bytes, columns);
  render_column("root_name", kLow, name, rows, bytes, columns);
  render_column("root_service", kLow, service, rows, bytes, columns);
  render_column("client_id", kLow, client_id, rows, bytes, columns);
  render_column("workflow", kLow, workflow, rows, bytes, columns);
  finish(out, Table::kTraces, day, rows, bytes, columns);
}

void TraceRows::clear() {
  keys_.clear();
  rows_.clear();
  texts_.clear();
  last_text_ = 0;
}

RollupRows::RollupRows(const IdentifierCatalogue& catalogue) {
  for (const IdentifierDefinition& definition : catalogue.all()) {
    if (definition.is_rollup_dimension && dimensions_.size() < kDimensionsMax) dimensions_.push_back(&definition);
  }
}

void RollupRows::add(const OriginColumns& origin, const IdentifierColumns& ids, UnixNanos start,
                     std::uint64_t duration_ns, std::uint32_t name, std::int32_t kind_code, std::int32_t status_code) {
  const std::uint64_t duration_us = duration_ns / 1'000;
  Key key{};
  key.seconds = to_seconds(start) / kRollupSeconds * kRollupSeconds;
  key.workspace = origin.workspace_number();
  key.service = origin.service_number();
  key.name = name;
  key.kind_code = kind_code;
  key.status_code = status_code;
  key.bucket = duration_bucket(duration_us);
  for (std::size_t i = 0; i < dimensions_.size(); ++i) key.dimensions[i] = ids.number(dimensions_[i]->kind);
  const std::uint32_t index = keys_.find_or_add(key);
  if (index == rows_.size()) rows_.emplace_back();
  ++rows_[index].count;
  rows_[index].duration_us += duration_us;
}

void RollupRows::render(std::int32_t day, const OriginColumns& origin, const IdentifierColumns& ids,
                        const LowCardinalityColumn& names, std::vector<TableBlock>& out) const {
  FixedColumn<std::uint32_t> time;
  LowCardinalityColumn workspace, service, name;
  FixedColumn<std::int32_t> kind_code, status_code;
  FixedColumn<std::uint8_t> bucket;
  std::vector<LowCardinalityColumn> dimensions(dimensions_.size());
  FixedColumn<std::uint64_t> count, duration_us;
  for (std::size_t i = 0; i < rows_.size(); ++i) {
    const Key& key = keys_.keys()[i];
    time.set(i, key.seconds);
    workspace.set(i, origin.workspace(key.workspace));
    service.set_if(i, origin.service(key.service));
    name.set_if(i, names.value(key.name));
    kind_code.set_if(i, key.kind_code);
    status_code.set_if(i, key.status_code);
    bucket.set_if(i, static_cast<std::uint8_t>(key.bucket));
    for (std::size_t d = 0; d < dimensions_.size(); ++d) {
      dimensions[d].set_if(i, ids.value(dimensions_[d]->kind, key.dimensions[d]));
    }
    count.set(i, rows_[i].count);
    duration_us.set_if(i, rows_[i].duration_us);
  }
  ByteBuffer bytes;
  std::uint32_t columns = 0;
  const std::size_t rows = rows_.size();
  render_column("ts", "DateTime('UTC')", time, rows, bytes, columns);
  render_column("workspace", kLow, workspace, rows, bytes, columns);
  render_column("service_name", kLow, service, rows, bytes, columns);
  render_column("name", kLow, name, rows, bytes, columns);
  render_column("kind_code", "Int32", kind_code, rows, bytes, columns);
  render_column("status_code", "Int32", status_code, rows, bytes, columns);
  render_column("bucket", "UInt8", bucket, rows, bytes, columns);
  for (std::size_t d = 0; d < dimensions_.size(); ++d) {
    render_column(dimensions_[d]->name, kLow, dimensions[d], rows, bytes, columns);
  }
  render_column("count", "UInt64", count, rows, bytes, columns);
  render_column("duration_us", "UInt64", duration_us, rows, bytes, columns);
  finish(out, Table::kSpanRollup, day, rows, bytes, columns);
}

void RollupRows::clear() {
  keys_.clear();
  rows_.clear();
}

}  // namespace fettle::telemetry
