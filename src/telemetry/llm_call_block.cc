#include "telemetry/llm_call_block.h"

#include <algorithm>

#include "telemetry/columns.h"
#include "telemetry/day_blocks.h"
#include "telemetry/record_columns.h"

namespace fettle::telemetry {
namespace {

constexpr std::string_view kLow = "LowCardinality(String)";

struct LlmCallBlock {
  explicit LlmCallBlock(const IdentifierCatalogue& catalogue) : ids(catalogue) {}

  std::size_t rows = 0;
  LowCardinalityColumn workspace, service_name, operation, task_class, price_row, key_owner;
  FixedColumn<std::int64_t> ts, cost_nano_usd;
  StringColumn trace_id, span_id;
  FixedColumn<std::int32_t> status_code;
  FixedColumn<std::uint64_t> duration_ns, fresh, cache_read, cache_write, output, reasoning, images;
  FixedColumn<double> video_seconds;
  FixedColumn<std::uint8_t> is_priced;
  FixedColumn<std::uint32_t> received_at;
  IdentifierColumns ids;

  std::size_t byte_count() const { return rows * 160 + ids.byte_count(); }

  void render(std::int32_t, ByteBuffer& out, std::uint32_t& columns) {
    render_column("workspace", kLow, workspace, rows, out, columns);
    render_column("ts", "DateTime64(9, 'UTC')", ts, rows, out, columns);
    render_column("trace_id", "String", trace_id, rows, out, columns);
    render_column("span_id", "String", span_id, rows, out, columns);
    render_column("duration_ns", "UInt64", duration_ns, rows, out, columns);
    render_column("status_code", "Int32", status_code, rows, out, columns);
    render_column("service_name", kLow, service_name, rows, out, columns);
    render_column("operation", kLow, operation, rows, out, columns);
    render_column("task_class", kLow, task_class, rows, out, columns);
    ids.render(rows, out, columns);
    render_column("tokens_fresh", "UInt64", fresh, rows, out, columns);
    render_column("tokens_cache_read", "UInt64", cache_read, rows, out, columns);
    render_column("tokens_cache_write", "UInt64", cache_write, rows, out, columns);
    render_column("tokens_output", "UInt64", output, rows, out, columns);
    render_column("tokens_reasoning", "UInt64", reasoning, rows, out, columns);
    render_column("images", "UInt64", images, rows, out, columns);
    render_column("video_seconds", "Float64", video_seconds, rows, out, columns);
    render_column("is_priced", "UInt8", is_priced, rows, out, columns);
    render_column("cost_nano_usd", "Int64", cost_nano_usd, rows, out, columns);
    render_column("price_row", kLow, price_row, rows, out, columns);
    render_column("key_owner", kLow, key_owner, rows, out, columns);
    render_column("received_at", "DateTime", received_at, rows, out, columns);
  }

  void clear() {
    rows = 0;
    for (LowCardinalityColumn* column : {&workspace, &service_name, &operation, &task_class, &price_row, &key_owner}) {
      column->clear();
    }
    for (FixedColumn<std::uint64_t>* column :
         {&duration_ns, &fresh, &cache_read, &cache_write, &output, &reasoning, &images}) {
      column->clear();
    }
    ts.clear();
    cost_nano_usd.clear();
    trace_id.clear();
    span_id.clear();
    status_code.clear();
    video_seconds.clear();
    is_priced.clear();
    received_at.clear();
    ids.clear();
  }
};

}  // namespace

struct LlmCallBlockBuilder::Impl {
  explicit Impl(const IdentifierCatalogue& identifiers) : catalogue(identifiers), blocks(Table::kLlmCalls) {
    if (const auto* definition = catalogue.by_name("provider")) provider_kind = definition->kind;
    if (const auto* definition = catalogue.by_name("model")) model_kind = definition->kind;
  }

  const IdentifierCatalogue& catalogue;
  DayBlocks<LlmCallBlock> blocks;
  IdentifierKind provider_kind = kIdentifierMax - 1;
  IdentifierKind model_kind = kIdentifierMax - 1;
};

LlmCallBlockBuilder::LlmCallBlockBuilder(const IdentifierCatalogue& catalogue)
    : impl_(std::make_unique<Impl>(catalogue)) {}
LlmCallBlockBuilder::~LlmCallBlockBuilder() = default;
LlmCallBlockBuilder::LlmCallBlockBuilder(LlmCallBlockBuilder&&) noexcept = default;
LlmCallBlockBuilder& LlmCallBlockBuilder::operator=(LlmCallBlockBuilder&&) noexcept = default;

void LlmCallBlockBuilder::append(std::string_view workspace, const LlmCall& call, const ResolvedIds& ids,
                                 UnixNanos received_at) {
  LlmCallBlock& block =
      impl_->blocks.of_day(day_of(call.ts), [&] { return std::make_unique<LlmCallBlock>(impl_->catalogue); });
  const std::size_t row = block.rows++;
  block.workspace.set(row, workspace);
  block.ts.set(row, call.ts);
  set_hex(block.trace_id, row, call.trace_id);
  set_hex(block.span_id, row, call.span_id);
  block.duration_ns.set(row, static_cast<std::uint64_t>(std::max<std::int64_t>(call.duration, 0)));
  block.status_code.set_if(row, call.status_code);
  block.service_name.set_if(row, call.service_name);
  block.operation.set_if(row, call.operation);
  block.task_class.set_if(row, call.task_class);
  // What was priced is what the columns say, whatever the span called it.
  ResolvedIds priced = ids;
  priced.set(impl_->provider_kind, call.provider);
  priced.set(impl_->model_kind, call.model);
  block.ids.append(row, priced);
  block.fresh.set_if(row, call.tokens_fresh);
  block.cache_read.set_if(row, call.tokens_cache_read);
  block.cache_write.set_if(row, call.tokens_cache_write);
  block.output.set_if(row, call.tokens_output);
  block.reasoning.set_if(row, call.tokens_reasoning);
  block.images.set_if(row, call.images);
  block.video_seconds.set_if(row, call.video_seconds);
  block.is_priced.set_if(row, call.cost_nano_usd.has_value() ? 1 : 0);
  block.cost_nano_usd.set_if(row, call.cost_nano_usd.value_or(0));
  block.price_row.set_if(row, call.price_row);
  block.key_owner.set_if(row, call.key_owner);
  block.received_at.set(row, to_seconds(received_at));
}

std::size_t LlmCallBlockBuilder::rows() const { return impl_->blocks.rows(); }
std::size_t LlmCallBlockBuilder::bytes() const { return impl_->blocks.bytes(); }
std::vector<TableBlock> LlmCallBlockBuilder::take() { return impl_->blocks.take(); }

}  // namespace fettle::telemetry
