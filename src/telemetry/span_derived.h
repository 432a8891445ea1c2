// What is derived from spans as they are appended: a row per trace and the 10-second roll-up.
//
// Both are folded here, before the store, because a row costs it microseconds and most spans share theirs with others;
// the store merges what several blocks say of one trace or bucket. Internal to the span block builder.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "core/clock.h"
#include "telemetry/block.h"
#include "telemetry/columns.h"
#include "telemetry/identifiers.h"
#include "telemetry/record_columns.h"

namespace fettle::telemetry {

// The bucket of a duration: two to an octave of microseconds. Bucket 0 is below 1 µs; bucket 2k-1 begins at 2^(k-1) µs
// and bucket 2k at 1.5 times that. Stored in `span_rollup.bucket`.
std::uint8_t duration_bucket(std::uint64_t duration_us);

class TraceRows {
 public:
  struct Span {
    std::uint32_t workspace = 0;
    std::string_view trace_id;  // 16 raw bytes
    UnixNanos start = 0;
    UnixNanos end = 0;
    bool is_error = false;
    bool is_kept = false;
    bool is_root = false;
    std::string_view name;
    std::string_view service;
    std::string_view client_id;
    std::string_view workflow;
  };
  void add(const Span& span);
  // Adds a block of table kTraces.
  void render(std::int32_t day, const OriginColumns& origin, std::vector<TableBlock>& out) const;
  void clear();

 private:
  struct Key {
    std::array<char, 16> trace_id;
    std::uint64_t workspace;
  };
  struct Row {
    UnixNanos first = 0;
    UnixNanos last = 0;
    std::uint64_t spans = 0;
    std::uint64_t errors = 0;
    bool is_kept = false;
    std::uint32_t name = 0, service = 0, client_id = 0, workflow = 0;  // in texts_
  };
  std::uint32_t number_of(std::string_view text);

  KeyTable<Key> keys_;
  std::vector<Row> rows_;
  StringTable texts_;
  std::uint32_t last_text_ = 0;
};

class RollupRows {
 public:
  explicit RollupRows(const IdentifierCatalogue& catalogue);
  // `ids` and `origin` hold the span as the row appended last.
  void add(const OriginColumns& origin, const IdentifierColumns& ids, UnixNanos start, std::uint64_t duration_ns,
           std::uint32_t name, std::int32_t kind_code, std::int32_t status_code);
  // Adds a block of table kSpanRollup. `names` holds what the numbers of add() stand for.
  void render(std::int32_t day, const OriginColumns& origin, const IdentifierColumns& ids,
              const LowCardinalityColumn& names, std::vector<TableBlock>& out) const;
  void clear();

 private:
  static constexpr std::size_t kDimensionsMax = 16;
  struct Key {
    std::uint32_t seconds;
    std::uint32_t workspace;
    std::uint32_t service;
    std::uint32_t name;
    std::int32_t kind_code;
    std::int32_t status_code;
    std::uint32_t bucket;
    std::uint32_t unused;
    std::array<std::uint32_t, kDimensionsMax> dimensions;
  };
  struct Row {
    std::uint64_t count = 0;
    std::uint64_t duration_us = 0;
  };
  std::vector<const IdentifierDefinition*> dimensions_;
  KeyTable<Key> keys_;
  std::vector<Row> rows_;
};

}  // namespace fettle::telemetry
