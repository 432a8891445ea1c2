// The identifier index on its way to the store: which values occur in which traces, and when.
//
// A value is stored as its 64-bit hash, sipHash64() of the engine: look-ups are by exact value alone, and the text
// would be most of the table. Each (value, kind, trace) is one row per block however often it occurs, so append() every
// record. The table merges rows by minimum and maximum: writing one twice changes nothing. One thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "core/clock.h"
#include "telemetry/block.h"
#include "telemetry/identifiers.h"

namespace fettle::telemetry {

// Where a value was seen; a set, stored in `identifiers.signals`: never renumber.
enum class Signal : std::uint8_t { kSpan = 1, kLog = 2, kEvent = 4 };

// What `identifiers.value_hash` holds of a value.
std::uint64_t identifier_hash(std::string_view value);

class IdentifierBlockBuilder {
 public:
  explicit IdentifierBlockBuilder(const IdentifierCatalogue& catalogue);
  ~IdentifierBlockBuilder();
  IdentifierBlockBuilder(IdentifierBlockBuilder&&) noexcept;
  IdentifierBlockBuilder& operator=(IdentifierBlockBuilder&&) noexcept;

  // `trace_id` is 16 raw bytes, or empty for a record without a trace.
  void append(std::string_view workspace, const ResolvedIds& ids, std::string_view trace_id, UnixNanos ts,
              Signal signal);

  std::size_t rows() const;
  std::size_t bytes() const;
  std::vector<TableBlock> take();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fettle::telemetry
