// Filters as conditions of a statement. Every value of a user is a bound parameter; names come from the catalogue
// alone. Internal to the reader.
#pragma once

#include <string>
#include <string_view>

#include "core/scope.h"
#include "telemetry/client.h"
#include "telemetry/identifiers.h"
#include "telemetry/read_filter.h"

namespace fettle::telemetry {

// A condition that grows by parts joined with AND, and the parameters it names.
class Condition {
 public:
  void add(std::string_view sql);
  // Names a parameter for `value` and returns it as SQL: "{p3:String}".
  std::string bind(std::string_view type, std::string value);
  std::string bind_list(const std::vector<std::string>& values);  // as an array of String
  // What follows WHERE; "1" when nothing was added.
  const std::string& sql() const { return sql_.empty() ? kEverything : sql_; }
  const NameValues& parameters() const { return parameters_; }

 private:
  inline static const std::string kEverything = "1";
  std::string sql_;
  NameValues parameters_;
};

void add_scope(Condition& condition, const Scope& scope);
void add_time(Condition& condition, const TimeRange& time);
// Everything of the filter but its time range.
void add_filter(Condition& condition, const SpanFilter& filter, const IdentifierCatalogue& catalogue);
void add_filter(Condition& condition, const LogFilter& filter, const IdentifierCatalogue& catalogue);

// "2026-11-21 09:14:32.123456789" for a DateTime64(9) parameter.
std::string sql_time(UnixNanos t);

}  // namespace fettle::telemetry
