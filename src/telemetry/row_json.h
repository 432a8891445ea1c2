// Rows of spans, logs and events: which columns a statement asks for, and the JSON object of docs/openapi.yaml made of
// each row that comes back. The engine could write the objects itself, but analysing such a statement took it longer
// than running it. Internal to the reader.
//
//   SELECT {writer.columns()} FROM … FORMAT JSONCompactEachRow
//   writer.append(out, line)
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.h"
#include "core/error.h"
#include "telemetry/identifiers.h"

namespace fettle::telemetry {

// "2026-11-21T09:14:32.123456789Z"
std::string json_time(UnixNanos t);
// "server" for 2; a number that has no name is shown as it is.
std::string span_kind_name(std::int64_t code);
std::string span_status_name(std::int64_t code);

// Constant after construction: any thread may use it.
class RowWriter {
 public:
  static RowWriter of_spans(const IdentifierCatalogue& catalogue);
  static RowWriter of_logs(const IdentifierCatalogue& catalogue);
  static RowWriter of_events(const IdentifierCatalogue& catalogue);

  // What follows SELECT. The first column is the time in nanoseconds: see time_of().
  const std::string& columns() const { return sql_; }
  // The time of a row, read without the rest of it.
  static UnixNanos time_of(std::string_view line);
  // Appends the object of one line; with a `type`, it begins with "type":"…". kInternal when the line is not a row of
  // these columns; `out` then ends in the middle of an object.
  Result<void> append(std::string& out, std::string_view line, std::string_view type = {}) const;

  // How a column becomes a member.
  enum class Render : std::uint8_t {
    kCopy,          // as the engine wrote it
    kObservedTime,  // nanoseconds; 0 is the row's own time
    kSpanKind,      // numbers by their names
    kSpanStatus,
    kLevel,
    kMillis,      // of nanoseconds
    kJsonObject,  // text that is JSON; {} where there is none
    kJsonArray,   // likewise []
    kBody,        // text, or JSON, as body_type says
    kAttributes,  // with those that live in identifier columns put back, and then the identifiers as "ids"
    kIds,         // the identifiers alone; the column is not looked at
  };
  struct Column {
    std::string_view sql;
    std::string_view member;
    Render render = Render::kCopy;
  };

 private:
  // What a row has beside its members.
  enum class Has : std::uint8_t { kNothing, kPromoted, kPromotedAndBodyType };
  RowWriter(const IdentifierCatalogue& catalogue, std::vector<Column> columns, Has has);

  struct Identifier {
    std::string member;  // "name":
    IdentifierKind kind;
  };
  std::vector<Identifier> identifiers_;
  std::vector<Column> columns_;
  Has has_;
  std::string sql_;
};

}  // namespace fettle::telemetry
