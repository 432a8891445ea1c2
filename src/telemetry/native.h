// A TableBlock as it goes over the wire: its header, its bytes, and one more column for where it came from.
//
//   NativeFrame frame(block, ingest_id);
//   for (std::string_view piece : frame.pieces()) body.push_back(piece);   // no copy of the block
//
// The frame refers to the block: THE BLOCK MUST OUTLIVE THE FRAME. Blocks of one table may follow each other in one
// INSERT whatever columns they have; a column that a block lacks is filled with defaults.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "telemetry/block.h"

namespace fettle::telemetry {

// False for tables whose rows are merged: their blocks go with the spans, logs or points they were made from and are
// sent again when those are. A repeated row of `identifiers` or `series` changes nothing; one of `traces` or
// `span_rollup` counts twice, unless the deduplication token is still known.
bool has_ingest_id(Table table);

class NativeFrame {
 public:
  NativeFrame(const TableBlock& block, std::uint64_t ingest_id);
  // Header, columns, ingest_id column (empty for tables without one).
  std::array<std::string_view, 3> pieces() const { return {header_, block_->bytes, tail_}; }

 private:
  const TableBlock* block_;
  std::string header_;
  std::string tail_;
};

}  // namespace fettle::telemetry
