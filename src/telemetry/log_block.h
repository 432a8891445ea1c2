// Log records on their way into `logs_hot`: see span_block.h, which this mirrors.
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

class LogBlockBuilder {
 public:
  explicit LogBlockBuilder(const IdentifierCatalogue& catalogue);
  ~LogBlockBuilder();
  LogBlockBuilder(LogBlockBuilder&&) noexcept;
  LogBlockBuilder& operator=(LogBlockBuilder&&) noexcept;

  void begin(std::string_view workspace, const otlp::Logs& request, UnixNanos received_at);
  // The time of a record is `time`, else `observed_time`, else the time of receipt. A body that is not text is stored
  // as compact JSON.
  void append(const otlp::LogRecord& record, const ResolvedIds& ids);

  std::size_t rows() const;
  std::size_t bytes() const;
  std::vector<TableBlock> take();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fettle::telemetry
