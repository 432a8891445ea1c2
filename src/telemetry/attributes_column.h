// The `attrs` column: attributes of many rows as ClickHouse's JSON type in flattened Native form.
//
// A path is an attribute key with its dots written %2E: `http` and `http.method` are two paths and live side by side,
// and a key is never mistaken for nesting. Each path has, per row, the number of its type there (or none) and the
// values of each type densely packed. What is stored:
//
//   text, bool, int64, double   String, Bool, Int64, Float64
//   bytes                       Array(UInt8)
//   array of one kind           Array(Nullable(String | Bool | Int64 | Float64)), empty items are NULL
//   map                         its entries, their keys joined to the map's by a dot
//   mixed or nested arrays, empty maps, empty values    Tuple(json String): the value as JSON text
//
// A key that comes twice in one row keeps its last value. Internal to the block builders.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "otlp/model.h"
#include "telemetry/columns.h"

namespace fettle::telemetry {

class IdentifierCatalogue;
class ResolvedIds;

class AttributesColumn {
 public:
  // With a catalogue, attributes that are columns are left out: see append().
  explicit AttributesColumn(const IdentifierCatalogue* catalogue) : catalogue_(catalogue) {}

  // Appends the attributes of row `row`. Returns the kinds whose attribute was left out because a column holds the very
  // same text, as a mask by number. Rows are given in rising order; rows not given have no attributes.
  std::uint64_t append(std::size_t row, const otlp::Common& request, otlp::Range attributes, const ResolvedIds* ids);

  bool is_empty() const { return !is_used_; }
  std::size_t byte_count() const { return byte_count_; }
  // Every path costs a byte a row: a block with more paths than this is better cut in two.
  bool is_crowded(std::size_t rows) const;
  void render(std::size_t rows, ByteBuffer& out);
  void clear();

 private:
  struct Path;
  enum Type : std::uint8_t {
    kString,
    kInt64,
    kFloat64,
    kBool,
    kBytes,
    kStrings,
    kInt64s,
    kFloat64s,
    kBools,
    kJson,
    kTypeCount
  };
  struct Values {
    Type type = kString;
    ByteBuffer bytes;                 // dense; of an array type: the items
    ByteBuffer nulls;                 // of a nullable array type: one byte an item
    std::vector<std::uint64_t> ends;  // of an array type: one a row that has it
    std::size_t last_bytes = 0;       // where the newest value began, to take it back
    std::size_t last_nulls = 0;
  };
  struct Path {
    std::uint8_t column = kNoColumn;  // the identifier whose canonical name this key is
    std::uint32_t next = 0;           // the path that followed this one last time
    std::size_t rows = 0;             // rows written into `types`
    ByteBuffer types;                 // 0: none, else 1 + index into `values`
    std::vector<Values> values;
    bool is_used = false;
  };
  static constexpr std::uint8_t kNoColumn = 0xff;

  std::uint32_t path_of(std::string_view key);
  void put(std::size_t row, const otlp::Common& request, std::uint32_t path, const otlp::Value& value);
  static void take_back(std::size_t row, Path& path);
  Values& open(std::size_t row, Path& path, Type type);
  void put_map(std::size_t row, const otlp::Common& request, std::string_view key, const otlp::Value& value, int depth);
  void put_array(std::size_t row, const otlp::Common& request, Path& path, const otlp::Value& value);
  void put_json(std::size_t row, const otlp::Common& request, Path& path, const otlp::Value& value);

  const IdentifierCatalogue* catalogue_;
  StringTable keys_;
  std::vector<Path> paths_;  // the first keys_.count() are in use; the rest keep their memory
  std::uint32_t predicted_ = 0;
  bool is_used_ = false;
  std::size_t byte_count_ = 0;
  std::string scratch_;
};

}  // namespace fettle::telemetry
