// Rows on their way to one table of the store: the columns of a ClickHouse Native block without its header, so that
// a column can still be added when the block is sent.
#pragma once

#include <cstdint>
#include <string>

namespace fettle::telemetry {

// The tables that ingest writes. The numbers are in spool files: append, never renumber.
enum class Table : std::uint8_t {
  kSpans = 1,
  kLogs = 2,
  kIdentifiers = 3,
  kLlmCalls = 4,
  kSeries = 5,
  kNumberPoints = 6,
  kHistogramPoints = 7,
  kExemplars = 8,
  kTraces = 9,
  kSpanRollup = 10,
  kEvents = 11,  // of the ledger's outbox, not of the spool
};

struct TableBlock {
  Table table = Table::kSpans;
  std::int32_t day = 0;  // days since 1970-01-01 UTC; every row of the block is of this day's partition
  std::uint32_t rows = 0;
  std::uint32_t columns = 0;  // how many columns `bytes` holds
  std::string bytes;          // per column: name, type, (serialisation kind,) data, as in FORMAT Native
};

}  // namespace fettle::telemetry
