// Domain events on their way into `events`: see span_block.h, which this mirrors.
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

#include "core/clock.h"
#include "telemetry/block.h"
#include "telemetry/identifiers.h"

namespace fettle::telemetry {

// What happened in the ledger. Views: they must outlive the call they are given to.
struct EventRow {
  UnixNanos ts = 0;
  std::string_view event_id;  // unique for ever: by it a repeated delivery is recognised
  std::string_view type;      // run.dead_lettered
  std::string_view trace_id;  // lower-case hexadecimal, or whatever the sender calls a trace
  std::string_view data;      // a JSON object, or empty
};

class EventBlockBuilder {
 public:
  explicit EventBlockBuilder(const IdentifierCatalogue& catalogue);
  ~EventBlockBuilder();
  EventBlockBuilder(EventBlockBuilder&&) noexcept;
  EventBlockBuilder& operator=(EventBlockBuilder&&) noexcept;

  void append(std::string_view workspace, const EventRow& event, const ResolvedIds& ids, UnixNanos received_at);

  std::size_t rows() const;
  std::size_t bytes() const;
  std::vector<TableBlock> take();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fettle::telemetry
