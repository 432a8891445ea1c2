// What a body may do: read a snapshot, or read and write in a transaction. Valid inside the body alone, on its thread.
//
// After a statement has failed, the transaction has failed: every later call answers the same error and the body counts
// as failed whatever it returns (PostgreSQL knows nothing else, SQLite is held to it). Expect a conflict with
// ON CONFLICT … RETURNING instead of catching it. Codes: kConflict for a unique key, kInvalidArgument for another
// constraint, a trigger that refuses or a value that a store cannot hold, kDeadlineExceeded, kTooLarge for an answer
// over the limit, kUnavailable or kDataLoss when the store itself fails, kInternal for SQL that the store does not
// understand. Messages never hold values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "core/error.h"
#include "db/row.h"
#include "db/value.h"

namespace fettle::db {

class Reader {
 public:
  virtual ~Reader() = default;
  virtual Dialect dialect() const = 0;

  // Every row at once; at most Options::result_rows_max rows and result_bytes_max bytes, else kTooLarge.
  virtual Result<Rows> query(const Sql& sql, Params params = {}) = 0;
  // Row by row in constant memory, for exports and verification. An error of the callback ends it. The callback must
  // not use this Reader.
  virtual Result<void> each(const Sql& sql, Params params, const std::function<Result<void>(const Row&)>& row) = 0;

  // The first row into variables; false when there is none.
  template <class... T>
  Result<bool> fetch(const Sql& sql, Params params, T&... out) {
    Result<Rows> rows = query(sql, params);
    if (!rows) return std::unexpected(rows.error());
    if (rows->empty()) return false;
    if (auto read = (*rows)[0].into(out...); !read) return std::unexpected(read.error());
    return true;
  }
};

// Here query() also takes INSERT, UPDATE and DELETE with RETURNING.
class Transaction : public Reader {
 public:
  // The number of rows that were inserted, changed or deleted.
  virtual Result<std::int64_t> execute(const Sql& sql, Params params = {}) = 0;
  // The statement once for each `width` values of `rows`, in order: one prepared statement, in PostgreSQL without
  // waiting in between. The sum of the rows affected. No RETURNING.
  virtual Result<std::int64_t> execute_many(const Sql& sql, std::size_t width, std::span<const Value> rows) = 0;
  // The same where nobody asks how many rows it was: PostgreSQL gets it together with what comes next, so that it costs
  // no round trip. What is wrong with it is then the error of a later statement, or of the body when it ends.
  virtual Result<void> post(const Sql& sql, std::size_t width, std::span<const Value> rows) {
    if (auto done = execute_many(sql, width, rows); !done) return std::unexpected(done.error());
    return {};
  }
};

}  // namespace fettle::db
