#include "telemetry/span_block.h"

#include <algorithm>
#include <chrono>
#include <string>

#include "core/ids.h"
#include "core/json.h"
#include "telemetry/attribute_text.h"
#include "telemetry/attributes_column.h"
#include "telemetry/columns.h"
#include "telemetry/day_blocks.h"
#include "telemetry/record_columns.h"
#include "telemetry/row_sql.h"
#include "telemetry/schema.h"
#include "telemetry/span_derived.h"

namespace fettle::telemetry {
namespace {

constexpr std::string_view kLow = "LowCardinality(String)";
constexpr std::int32_t kStatusError = 2;

void append_count_member(std::string& out, std::string_view name, std::uint32_t count) {
  if (count == 0) return;
  out.append(",\"").append(name).append("\":").append(std::to_string(count));
}

// Written even when there are none: events and links are shown as they are stored.
void append_attributes_member(std::string& out, const otlp::Common& request, otlp::Range attributes) {
  if (attributes.count == 0) {
    out.append(",\"attrs\":{}");
    return;
  }
  out.append(",\"attrs\":");
  append_attributes_json(out, request, attributes);
}

// `value` in decimal with leading zeros; the last digit comes before `end`.
void put_digits(char* end, std::uint64_t value, int count) {
  for (; count > 0; --count, value /= 10) *--end = static_cast<char>('0' + value % 10);
}

// RFC 3339 in UTC with nine decimals, as the store writes its own times. Without the C library's calendar: events are
// on the way of every span.
void append_time(std::string& out, UnixNanos t) {
  const std::int32_t days = day_of(t);
  const auto in_day = static_cast<std::uint64_t>(t - days * kNanosPerDay);
  const std::chrono::year_month_day date{std::chrono::sys_days(std::chrono::days(days))};
  const std::uint64_t seconds = in_day / kNanosPerSecond;
  char text[] = "0000-00-00T00:00:00.000000000Z";
  put_digits(text + 4, static_cast<std::uint64_t>(std::max(0, static_cast<int>(date.year()))), 4);
  put_digits(text + 7, static_cast<unsigned>(date.month()), 2);
  put_digits(text + 10, static_cast<unsigned>(date.day()), 2);
  put_digits(text + 13, seconds / 3'600, 2);
  put_digits(text + 16, seconds / 60 % 60, 2);
  put_digits(text + 19, seconds % 60, 2);
  put_digits(text + 29, in_day % kNanosPerSecond, 9);
  out.append(text, sizeof text - 1);
}

struct SpanBlock {
  explicit SpanBlock(const IdentifierCatalogue& catalogue) : ids(catalogue), attrs(&catalogue), rollup(catalogue) {}

  std::size_t rows = 0;
  OriginColumns origin;
  FixedColumn<std::int64_t> ts;
  StringColumn trace_id, span_id, parent_span_id;
  LowCardinalityColumn name;
  FixedColumn<std::int32_t> kind_code, status_code;
  StringColumn status_message;
  FixedColumn<std::uint64_t> duration_ns;
  IdentifierColumns ids;
  FixedColumn<std::uint64_t> promoted;
  AttributesColumn attrs;
  StringColumn events, links, trace_state;
  FixedColumn<std::uint8_t> keep;
  FixedColumn<std::uint32_t> flags, dropped_attributes, dropped_events, dropped_links;
  TraceRows traces;
  RollupRows rollup;

  std::size_t byte_count() const {
    return origin.byte_count() + ids.byte_count() + attrs.byte_count() + ts.byte_count() + trace_id.byte_count() +
           span_id.byte_count() + parent_span_id.byte_count() + name.byte_count() + status_message.byte_count() +
           duration_ns.byte_count() + events.byte_count() + links.byte_count() + rows * 24;
  }

  void render_derived(std::int32_t day, std::vector<TableBlock>& out) const {
    traces.render(day, origin, out);
    rollup.render(day, origin, ids, name, out);
  }

  void render(std::int32_t, ByteBuffer& out, std::uint32_t& columns) {
    origin.render(rows, out, columns);
    render_column("ts", "DateTime64(9, 'UTC')", ts, rows, out, columns);
    render_column("trace_id", "String", trace_id, rows, out, columns);
    render_column("span_id", "String", span_id, rows, out, columns);
    render_column("parent_span_id", "String", parent_span_id, rows, out, columns);
    render_column("name", kLow, name, rows, out, columns);
    render_column("kind_code", "Int32", kind_code, rows, out, columns);
    render_column("status_code", "Int32", status_code, rows, out, columns);
    render_column("status_message", "String", status_message, rows, out, columns);
    render_column("duration_ns", "UInt64", duration_ns, rows, out, columns);
    ids.render(rows, out, columns);
    render_column("promoted", "UInt64", promoted, rows, out, columns);
    render_column("attrs", kAttributesType, attrs, rows, out, columns);
    render_column("events", "String", events, rows, out, columns);
    render_column("links", "String", links, rows, out, columns);
    render_column("trace_state", "String", trace_state, rows, out, columns);
    render_column("keep", "UInt8", keep, rows, out, columns);
    render_column("flags", "UInt32", flags, rows, out, columns);
    render_column("dropped_attributes_count", "UInt32", dropped_attributes, rows, out, columns);
    render_column("dropped_events_count", "UInt32", dropped_events, rows, out, columns);
    render_column("dropped_links_count", "UInt32", dropped_links, rows, out, columns);
  }

  void clear() {
    rows = 0;
    origin.clear();
    ts.clear();
    trace_id.clear();
    span_id.clear();
    parent_span_id.clear();
    name.clear();
    kind_code.clear();
    status_code.clear();
    status_message.clear();
    duration_ns.clear();
    ids.clear();
    promoted.clear();
    attrs.clear();
    events.clear();
    links.clear();
    trace_state.clear();
    keep.clear();
    flags.clear();
    dropped_attributes.clear();
    dropped_events.clear();
    dropped_links.clear();
    traces.clear();
    rollup.clear();
  }
};

}  // namespace

struct SpanBlockBuilder::Impl {
  explicit Impl(const IdentifierCatalogue& identifiers) : catalogue(identifiers), blocks(Table::kSpans) {
    const auto column_of = [&](std::string_view name) {
      const IdentifierDefinition* definition = catalogue.by_name(name);
      return definition == nullptr ? IdentifierKind{kIdentifierMax - 1} : definition->kind;
    };
    client_kind = column_of("client_id");
    workflow_kind = column_of("workflow");
  }

  const IdentifierCatalogue& catalogue;
  DayBlocks<SpanBlock> blocks;
  RequestTexts texts;
  const otlp::Traces* request = nullptr;
  std::string scratch;
  IdentifierKind client_kind = 0, workflow_kind = 0;  // shown in the list of traces

  std::string_view events_json(const otlp::Span& span, bool& is_kept) {
    scratch.clear();
    for (std::uint32_t i = 0; i < span.events.count; ++i) {
      const otlp::Event& event = request->events[span.events.first + i];
      is_kept = is_kept || catalogue.is_keep_name(event.name);
      scratch.append(i == 0 ? "[{\"ts\":\"" : ",{\"ts\":\"");
      append_time(scratch, event.time);
      scratch.append("\",\"name\":");
      append_json_string(scratch, event.name);
      append_attributes_member(scratch, *request, event.attributes);
      append_count_member(scratch, "dropped_attributes_count", event.dropped_attributes_count);
      scratch.push_back('}');
    }
    scratch.push_back(']');
    return scratch;
  }

  std::string_view links_json(const otlp::Span& span) {
    scratch.clear();
    for (std::uint32_t i = 0; i < span.links.count; ++i) {
      const otlp::Link& link = request->links[span.links.first + i];
      scratch.append(i == 0 ? "[{\"trace_id\":\"" : ",{\"trace_id\":\"");
      append_hex(scratch, link.trace_id);
      scratch.append("\",\"span_id\":\"");
      append_hex(scratch, link.span_id);
      scratch.append("\",\"trace_state\":");
      append_json_string(scratch, link.trace_state);
      append_attributes_member(scratch, *request, link.attributes);
      append_count_member(scratch, "dropped_attributes_count", link.dropped_attributes_count);
      append_count_member(scratch, "flags", link.flags);
      scratch.push_back('}');
    }
    scratch.push_back(']');
    return scratch;
  }

  void append(const otlp::Span& span, const ResolvedIds& ids) {
    SpanBlock& block = blocks.of_day(day_of(span.start), [&] { return std::make_unique<SpanBlock>(catalogue); });
    const std::size_t row = block.rows++;
    block.origin.append(row, texts, span.resource, span.scope);
    block.ts.set(row, span.start);
    set_hex(block.trace_id, row, span.trace_id);
    set_hex(block.span_id, row, span.span_id);
    set_hex(block.parent_span_id, row, span.parent_span_id);
    const std::uint32_t name_number = block.name.set_if(row, span.name);
    block.kind_code.set_if(row, span.kind);
    block.status_code.set_if(row, span.status_code);
    block.status_message.set_if(row, span.status_message);
    const auto duration_ns = static_cast<std::uint64_t>(std::max<std::int64_t>(span.end - span.start, 0));
    block.duration_ns.set(row, duration_ns);
    block.ids.append(row, ids);
    block.promoted.set_if(row, block.attrs.append(row, *request, span.attributes, &ids));
    bool is_kept = catalogue.is_keep_name(span.name);
    if (span.events.count != 0) block.events.set(row, events_json(span, is_kept));
    if (span.links.count != 0) block.links.set(row, links_json(span));
    block.trace_state.set_if(row, span.trace_state);
    block.keep.set_if(row, is_kept ? 1 : 0);
    block.flags.set_if(row, span.flags);
    block.dropped_attributes.set_if(row, span.dropped_attributes_count);
    block.dropped_events.set_if(row, span.dropped_events_count);
    block.dropped_links.set_if(row, span.dropped_links_count);
    block.traces.add({.workspace = block.origin.workspace_number(),
                      .trace_id = span.trace_id,
                      .start = span.start,
                      .end = std::max(span.start, span.end),
                      .is_error = span.status_code == kStatusError,
                      .is_kept = is_kept,
                      .is_root = span.parent_span_id.empty(),
                      .name = span.name,
                      .service = texts.resource(span.resource).service_name,
                      .client_id = ids.get(client_kind),
                      .workflow = ids.get(workflow_kind)});
    block.rollup.add(block.origin, block.ids, span.start, duration_ns, name_number, span.kind, span.status_code);
    if (block.attrs.is_crowded(block.rows)) blocks.close_current();
  }
};

SpanBlockBuilder::SpanBlockBuilder(const IdentifierCatalogue& catalogue) : impl_(std::make_unique<Impl>(catalogue)) {}
SpanBlockBuilder::~SpanBlockBuilder() = default;
SpanBlockBuilder::SpanBlockBuilder(SpanBlockBuilder&&) noexcept = default;
SpanBlockBuilder& SpanBlockBuilder::operator=(SpanBlockBuilder&&) noexcept = default;

void SpanBlockBuilder::begin(std::string_view workspace, const otlp::Traces& request, UnixNanos received_at) {
  impl_->request = &request;
  impl_->texts.begin(workspace, request, received_at);
}
void SpanBlockBuilder::append(const otlp::Span& span, const ResolvedIds& ids) { impl_->append(span, ids); }
std::size_t SpanBlockBuilder::rows() const { return impl_->blocks.rows(); }
std::size_t SpanBlockBuilder::bytes() const { return impl_->blocks.bytes(); }
std::vector<TableBlock> SpanBlockBuilder::take() { return impl_->blocks.take(); }
std::vector<TableBlock> SpanBlockBuilder::take_derived() { return impl_->blocks.take_derived(); }

}  // namespace fettle::telemetry
