#include "telemetry/log_block.h"

#include <string>

#include "telemetry/attribute_text.h"
#include "telemetry/attributes_column.h"
#include "telemetry/columns.h"
#include "telemetry/day_blocks.h"
#include "telemetry/record_columns.h"
#include "telemetry/schema.h"

namespace fettle::telemetry {
namespace {

struct LogBlock {
  LogBlock(const IdentifierCatalogue& catalogue) : ids(catalogue), attrs(&catalogue) {}

  std::size_t rows = 0;
  OriginColumns origin;
  FixedColumn<std::int64_t> ts, observed_ts;
  StringColumn trace_id, span_id;
  FixedColumn<std::int32_t> severity_number;
  LowCardinalityColumn severity_text, event_name;
  StringColumn body;
  FixedColumn<std::uint8_t> body_type;
  IdentifierColumns ids;
  FixedColumn<std::uint64_t> promoted;
  AttributesColumn attrs;
  FixedColumn<std::uint32_t> flags, dropped_attributes;

  std::size_t byte_count() const {
    return origin.byte_count() + ids.byte_count() + attrs.byte_count() + ts.byte_count() + observed_ts.byte_count() +
           trace_id.byte_count() + span_id.byte_count() + body.byte_count() + rows * 16;
  }

  void render(std::int32_t, ByteBuffer& out, std::uint32_t& columns) {
    origin.render(rows, out, columns);
    render_column("ts", "DateTime64(9, 'UTC')", ts, rows, out, columns);
    render_column("observed_ts", "DateTime64(9, 'UTC')", observed_ts, rows, out, columns);
    render_column("trace_id", "String", trace_id, rows, out, columns);
    render_column("span_id", "String", span_id, rows, out, columns);
    render_column("severity_number", "Int32", severity_number, rows, out, columns);
    render_column("severity_text", "LowCardinality(String)", severity_text, rows, out, columns);
    render_column("event_name", "LowCardinality(String)", event_name, rows, out, columns);
    render_column("body", "String", body, rows, out, columns);
    render_column("body_type", "UInt8", body_type, rows, out, columns);
    ids.render(rows, out, columns);
    render_column("promoted", "UInt64", promoted, rows, out, columns);
    render_column("attrs", kAttributesType, attrs, rows, out, columns);
    render_column("flags", "UInt32", flags, rows, out, columns);
    render_column("dropped_attributes_count", "UInt32", dropped_attributes, rows, out, columns);
  }

  void clear() {
    rows = 0;
    origin.clear();
    ts.clear();
    observed_ts.clear();
    trace_id.clear();
    span_id.clear();
    severity_number.clear();
    severity_text.clear();
    event_name.clear();
    body.clear();
    body_type.clear();
    ids.clear();
    promoted.clear();
    attrs.clear();
    flags.clear();
    dropped_attributes.clear();
  }
};

}  // namespace

struct LogBlockBuilder::Impl {
  explicit Impl(const IdentifierCatalogue& identifiers) : catalogue(identifiers), blocks(Table::kLogs) {}

  const IdentifierCatalogue& catalogue;
  DayBlocks<LogBlock> blocks;
  RequestTexts texts;
  const otlp::Logs* request = nullptr;
  std::string scratch;

  void append(const otlp::LogRecord& record, const ResolvedIds& ids) {
    const UnixNanos ts = record.time != 0            ? record.time
                         : record.observed_time != 0 ? record.observed_time
                                                     : texts.received_at();
    LogBlock& block = blocks.of_day(day_of(ts), [&] { return std::make_unique<LogBlock>(catalogue); });
    const std::size_t row = block.rows++;
    block.origin.append(row, texts, record.resource, record.scope);
    block.ts.set(row, ts);
    if (record.time != 0) block.observed_ts.set_if(row, record.observed_time);
    if (record.trace_id.empty()) {
      block.trace_id.set_if(row, record.foreign_trace_id);
    } else {
      set_hex(block.trace_id, row, record.trace_id);
    }
    set_hex(block.span_id, row, record.span_id);
    block.severity_number.set_if(row, record.severity_number);
    block.severity_text.set_if(row, record.severity_text);
    block.event_name.set_if(row, record.event_name);
    if (record.body.type == otlp::ValueType::kString) {
      block.body.set_if(row, record.body.text());
    } else if (record.body.type != otlp::ValueType::kEmpty) {
      scratch.clear();
      append_value_json(scratch, *request, record.body);
      block.body.set(row, scratch);
    }
    block.body_type.set_if(row, static_cast<std::uint8_t>(record.body.type));
    block.ids.append(row, ids);
    block.promoted.set_if(row, block.attrs.append(row, *request, record.attributes, &ids));
    block.flags.set_if(row, record.flags);
    block.dropped_attributes.set_if(row, record.dropped_attributes_count);
    if (block.attrs.is_crowded(block.rows)) blocks.close_current();
  }
};

LogBlockBuilder::LogBlockBuilder(const IdentifierCatalogue& catalogue) : impl_(std::make_unique<Impl>(catalogue)) {}
LogBlockBuilder::~LogBlockBuilder() = default;
LogBlockBuilder::LogBlockBuilder(LogBlockBuilder&&) noexcept = default;
LogBlockBuilder& LogBlockBuilder::operator=(LogBlockBuilder&&) noexcept = default;

void LogBlockBuilder::begin(std::string_view workspace, const otlp::Logs& request, UnixNanos received_at) {
  impl_->request = &request;
  impl_->texts.begin(workspace, request, received_at);
}
void LogBlockBuilder::append(const otlp::LogRecord& record, const ResolvedIds& ids) { impl_->append(record, ids); }
std::size_t LogBlockBuilder::rows() const { return impl_->blocks.rows(); }
std::size_t LogBlockBuilder::bytes() const { return impl_->blocks.bytes(); }
std::vector<TableBlock> LogBlockBuilder::take() { return impl_->blocks.take(); }

}  // namespace fettle::telemetry
