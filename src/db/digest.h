// A hash of a set of rows that does not depend on their order: the sum of the rows' SHA-256, lane by lane. Tells damage
// and loss, not forgery (for that there is the audit chain).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "db/row.h"

namespace fettle::db {

class RowDigest {
 public:
  void add(std::string_view row);
  // With the types of the values.
  void add(const Row& row);
  std::int64_t rows() const { return rows_; }
  std::string hex() const;

 private:
  std::array<std::uint64_t, 4> sum_{};
  std::int64_t rows_ = 0;
  std::string scratch_;
};

}  // namespace fettle::db
