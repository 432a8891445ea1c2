// Values as PostgreSQL's protocol has them: parameters in binary form with their type, results in text form.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/error.h"
#include "db/row.h"

struct pg_result;

namespace fettle::db {

// The arrays that libpq takes. Text and blobs are not copied: THE VALUES MUST OUTLIVE IT.
class PostgresParams {
 public:
  // kInvalidArgument for what no store takes (see value.h).
  Result<void> set(std::span<const Value> values);

  int count() const { return static_cast<int>(types_.size()); }
  // Of a null, whose own kind says nothing.
  void set_type(std::size_t at, unsigned type) { types_[at] = type; }
  const unsigned* types() const { return types_.data(); }
  const char* const* values() const { return values_.data(); }
  const int* lengths() const { return lengths_.data(); }
  const int* formats() const { return formats_.data(); }

 private:
  std::vector<unsigned> types_;
  std::vector<const char*> values_;
  std::vector<int> lengths_;
  std::vector<int> formats_;
  std::vector<std::uint64_t> numbers_;  // big-endian
};

// Appends the rows of an answer. kInternal for a number that neither int64 nor double can hold.
Result<void> append_rows(const pg_result* result, Rows& rows);
std::vector<std::string> column_names(const pg_result* result);

}  // namespace fettle::db
