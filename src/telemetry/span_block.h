// Spans on their way into `spans_hot`: rows appended one by one, taken as columns.
//
//   SpanBlockBuilder builder(catalogue);
//   builder.begin("acme", request, clock.now());
//   for (const otlp::Span& span : request.spans) builder.append(span, resolve(span));
//   for (TableBlock& block : builder.take()) spool.append(std::move(block));
//   for (TableBlock& block : builder.take_derived()) spool.append(std::move(block));
//
// A builder holds one open block per day of event time (usually one) and closes a block early when it holds too many
// attribute paths. Nothing of the request is referred to after append() returns. One thread at a time; reuse a builder:
// it keeps its memory.
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

#include "core/clock.h"
#include "otlp/model.h"
#include "telemetry/block.h"
#include "telemetry/identifiers.h"

namespace fettle::telemetry {

class SpanBlockBuilder {
 public:
  explicit SpanBlockBuilder(const IdentifierCatalogue& catalogue);
  ~SpanBlockBuilder();
  SpanBlockBuilder(SpanBlockBuilder&&) noexcept;
  SpanBlockBuilder& operator=(SpanBlockBuilder&&) noexcept;

  // The spans appended from here on are of this request: its resources and scopes are rendered once, on first use.
  // `request` must stay as it is until the last append().
  void begin(std::string_view workspace, const otlp::Traces& request, UnixNanos received_at);
  // Attributes whose key is the canonical name of a column and whose text equals the resolved value are stored in that
  // column alone; the reader puts them back.
  void append(const otlp::Span& span, const ResolvedIds& ids);

  // Spans since the last take(). Bytes are an estimate of the blocks' size.
  std::size_t rows() const;
  std::size_t bytes() const;
  // The blocks, in the order of their days; the builder is empty then.
  std::vector<TableBlock> take();
  // The blocks derived from the spans taken since the last call: tables kTraces and kSpanRollup. They belong to the
  // same batch; the engine has no view that would make them.
  std::vector<TableBlock> take_derived();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fettle::telemetry
