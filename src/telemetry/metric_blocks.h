// Metric points on their way to the store: series, number points, histogram points and exemplars.
//
// A series (what is measured, with which labels) is announced when it is first seen and again once an hour; its points
// name it by a 64-bit hash of everything that identifies the stream. One thread at a time; keep the builder, for it
// remembers which series were announced.
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

#include "core/clock.h"
#include "otlp/model.h"
#include "telemetry/block.h"

namespace fettle::telemetry {

class MetricBlocksBuilder {
 public:
  // How many series are remembered as announced; beyond it the memory starts afresh.
  explicit MetricBlocksBuilder(std::size_t series_remembered_max = 1'000'000);
  ~MetricBlocksBuilder();
  MetricBlocksBuilder(MetricBlocksBuilder&&) noexcept;
  MetricBlocksBuilder& operator=(MetricBlocksBuilder&&) noexcept;

  void begin(std::string_view workspace, const otlp::Metrics& request, UnixNanos received_at);
  void append(const otlp::NumberPoint& point);
  void append(const otlp::HistogramPoint& point);
  void append(const otlp::ExponentialHistogramPoint& point);
  void append(const otlp::SummaryPoint& point);

  std::size_t rows() const;
  std::size_t bytes() const;
  // Blocks of several tables; series first, so that no point is readable before what it belongs to.
  std::vector<TableBlock> take();
  // Announce every series again: after a block of series was refused or thrown away.
  void forget();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fettle::telemetry
