#include "telemetry/native.h"

#include <cstring>

#include "telemetry/columns.h"

namespace fettle::telemetry {

bool has_ingest_id(Table table) {
  switch (table) {
    case Table::kIdentifiers:
    case Table::kSeries:
    case Table::kTraces:
    case Table::kSpanRollup: return false;
    default: return true;
  }
}

NativeFrame::NativeFrame(const TableBlock& block, std::uint64_t ingest_id) : block_(&block) {
  const bool has_id = has_ingest_id(block.table);
  ByteBuffer header;
  header.append_varint(block.columns + (has_id ? 1u : 0u));
  header.append_varint(block.rows);
  header_.assign(header.view());
  if (!has_id) return;
  ByteBuffer tail;
  tail.append_string("ingest_id");
  tail.append_string("UInt64");
  char* at = tail.extend(block.rows * sizeof ingest_id);
  for (std::uint32_t row = 0; row < block.rows; ++row, at += sizeof ingest_id) {
    std::memcpy(at, &ingest_id, sizeof ingest_id);
  }
  tail_.assign(tail.view());
}

}  // namespace fettle::telemetry
