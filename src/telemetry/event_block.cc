#include "telemetry/event_block.h"

#include <cstdint>

#include "telemetry/columns.h"
#include "telemetry/day_blocks.h"
#include "telemetry/record_columns.h"

namespace fettle::telemetry {
namespace {

struct EventBlock {
  explicit EventBlock(const IdentifierCatalogue& catalogue) : ids(catalogue) {}

  std::size_t rows = 0;
  LowCardinalityColumn workspace, type;
  FixedColumn<std::int64_t> ts;
  StringColumn event_id, trace_id, data;
  IdentifierColumns ids;
  FixedColumn<std::uint32_t> received_at;

  std::size_t byte_count() const {
    return ts.byte_count() + event_id.byte_count() + trace_id.byte_count() + data.byte_count() + ids.byte_count() +
           rows * 8;
  }

  void render(std::int32_t, ByteBuffer& out, std::uint32_t& columns) {
    render_column("workspace", "LowCardinality(String)", workspace, rows, out, columns);
    render_column("ts", "DateTime64(9, 'UTC')", ts, rows, out, columns);
    render_column("event_id", "String", event_id, rows, out, columns);
    render_column("type", "LowCardinality(String)", type, rows, out, columns);
    render_column("trace_id", "String", trace_id, rows, out, columns);
    ids.render(rows, out, columns);
    render_column("data", "String", data, rows, out, columns);
    render_column("received_at", "DateTime('UTC')", received_at, rows, out, columns);
  }

  void clear() {
    rows = 0;
    workspace.clear();
    type.clear();
    ts.clear();
    event_id.clear();
    trace_id.clear();
    data.clear();
    ids.clear();
    received_at.clear();
  }
};

}  // namespace

struct EventBlockBuilder::Impl {
  explicit Impl(const IdentifierCatalogue& identifiers) : catalogue(identifiers), blocks(Table::kEvents) {}

  const IdentifierCatalogue& catalogue;
  DayBlocks<EventBlock> blocks;
};

EventBlockBuilder::EventBlockBuilder(const IdentifierCatalogue& catalogue) : impl_(std::make_unique<Impl>(catalogue)) {}
EventBlockBuilder::~EventBlockBuilder() = default;
EventBlockBuilder::EventBlockBuilder(EventBlockBuilder&&) noexcept = default;
EventBlockBuilder& EventBlockBuilder::operator=(EventBlockBuilder&&) noexcept = default;

void EventBlockBuilder::append(std::string_view workspace, const EventRow& event, const ResolvedIds& ids,
                               UnixNanos received_at) {
  EventBlock& block =
      impl_->blocks.of_day(day_of(event.ts), [&] { return std::make_unique<EventBlock>(impl_->catalogue); });
  const std::size_t row = block.rows++;
  block.workspace.set(row, workspace);
  block.ts.set(row, event.ts);
  block.event_id.set(row, event.event_id);
  block.type.set(row, event.type);
  block.trace_id.set_if(row, event.trace_id);
  block.ids.append(row, ids);
  block.data.set_if(row, event.data);
  block.received_at.set(row, to_seconds(received_at));
}

std::size_t EventBlockBuilder::rows() const { return impl_->blocks.rows(); }
std::size_t EventBlockBuilder::bytes() const { return impl_->blocks.bytes(); }
std::vector<TableBlock> EventBlockBuilder::take() { return impl_->blocks.take(); }

}  // namespace fettle::telemetry
