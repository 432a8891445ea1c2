// Private parts of the StoreReader that more than one of its sources uses.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "telemetry/row_sql.h"
#include "telemetry/store_reader.h"

namespace fettle::telemetry {

struct StoreReader::Slice {
  std::string_view table;
  TimeRange time;
};

// One list of rows of a signal, wherever they lie.
struct StoreReader::RowQuery {
  Signal signal = Signal::kSpan;
  TimeRange time;
  Order order = Order::kOldestFirst;  // by time, then trace, then span or event
  std::string columns;
  std::string_view format = "JSONCompactEachRow";
  std::function<void(Condition&)> add_filter;  // beside time and scope
  std::function<std::uint64_t()> rows_wanted;  // asked anew for each table that is read
  std::uint64_t response_bytes_max = 0;
};

}  // namespace fettle::telemetry
