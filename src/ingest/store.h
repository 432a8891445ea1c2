// Where the writer sends its blocks: the little it asks of the telemetry store, so that it can be tested without one.
#pragma once

#include <cstdint>
#include <span>
#include <stop_token>
#include <string_view>

#include "core/error.h"
#include "telemetry/block.h"

namespace fettle::ingest {

// Called by several threads at once.
class Store {
 public:
  virtual ~Store() = default;

  // One INSERT into `table` of Native blocks: the concatenation of `pieces`, all rows of one day. Durable on success.
  // The same token twice lands once. kInvalidArgument and kTooLarge: refused for good as it is. Anything else: nobody
  // knows, send it again; kInternal: the fault is the store's own and says nothing against the rows. A stop ends the
  // call early (kCancelled).
  virtual Result<void> insert(telemetry::Table table, std::span<const std::string_view> pieces, std::string_view token,
                              const std::stop_token& stop) = 0;

  // Are there rows of this ingest_id in the day's partition?
  virtual Result<bool> has_ingest_id(telemetry::Table table, std::int32_t day, std::uint64_t ingest_id,
                                     const std::stop_token& stop) = 0;
};

}  // namespace fettle::ingest
