// What a query answers: rows of values, read by position with the type that is expected.
//
//   Result<Rows> rows = reader.query("SELECT id, attempts, note FROM runs WHERE workspace = $1", {workspace});
//   for (Row row : *rows) {
//     RunId id; int attempts = 0; std::optional<std::string> note;
//     if (auto read = row.into(id, attempts, note); !read) return std::unexpected(read.error());
//   }
//
// Targets: integers (checked for range), bool (0 or 1), double (an integer is accepted), std::string, Id<Tag>, Blob,
// and std::optional of these for columns that may be null; std::string_view and BlobView point into the Rows.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.h"
#include "db/value.h"

namespace fettle::db {

// One row: a view into its Rows, or, inside Reader::each, valid until the callback returns.
class Row {
 public:
  Row(std::span<const std::string> columns, std::span<const Value> values) : columns_(columns), values_(values) {}

  std::size_t size() const { return values_.size(); }
  const Value& operator[](std::size_t column) const { return values_[column]; }
  std::string_view column_name(std::size_t column) const { return columns_[column]; }

  // The first columns in order. kInternal naming the column, what it holds and what was asked for; targets before it
  // are then written.
  template <class... T>
  Result<void> into(T&... out) const {
    std::size_t column = 0;
    Result<void> result;
    (void)((result = read(column++, out)).has_value() && ...);
    return result;
  }
  template <class T>
  Result<T> get(std::size_t column) const {
    T out{};
    if (auto result = read(column, out); !result) return std::unexpected(result.error());
    return out;
  }

 private:
  Result<void> read(std::size_t column, std::int64_t& out) const;
  Result<void> read(std::size_t column, bool& out) const;
  Result<void> read(std::size_t column, double& out) const;
  Result<void> read(std::size_t column, std::string_view& out) const;
  Result<void> read(std::size_t column, BlobView& out) const;
  Result<void> read(std::size_t column, std::string& out) const;
  Result<void> read(std::size_t column, Blob& out) const;
  template <std::integral T>
  Result<void> read(std::size_t column, T& out) const {
    std::int64_t wide = 0;
    if (auto result = read(column, wide); !result) return result;
    if (!std::in_range<T>(wide)) return mismatch(column, "an integer of fewer bits");
    out = static_cast<T>(wide);
    return {};
  }
  template <class Tag>
  Result<void> read(std::size_t column, Id<Tag>& out) const {
    return read(column, out.value);
  }
  template <class T>
  Result<void> read(std::size_t column, std::optional<T>& out) const {
    out.reset();
    if (column < values_.size() && values_[column].is_null()) return {};
    return read(column, out.emplace());
  }
  std::unexpected<Error> mismatch(std::size_t column, std::string_view wanted) const;

  std::span<const std::string> columns_;
  std::span<const Value> values_;
};

// The whole answer of a query, in memory. Movable; views into it stay valid until it is destroyed.
class Rows {
 public:
  class Iterator {
   public:
    Iterator(const Rows* rows, std::size_t index) : rows_(rows), index_(index) {}
    Row operator*() const { return (*rows_)[index_]; }
    Iterator& operator++() {
      ++index_;
      return *this;
    }
    bool operator==(const Iterator&) const = default;

   private:
    const Rows* rows_;
    std::size_t index_;
  };

  bool empty() const { return count_ == 0; }
  std::size_t size() const { return count_; }
  Row operator[](std::size_t index) const {
    return Row(columns_, std::span(values_).subspan(index * columns_.size(), columns_.size()));
  }
  Iterator begin() const { return {this, 0}; }
  Iterator end() const { return {this, count_}; }

  // For the stores, which fill it.
  void set_columns(std::vector<std::string> columns) { columns_ = std::move(columns); }
  void add_row() { ++count_; }
  void add_value(Value value) { values_.push_back(value); }
  // Room for `size` bytes that lives as long as the Rows.
  char* allocate(std::size_t size);
  std::uint64_t bytes() const { return bytes_ + values_.size() * sizeof(Value); }

 private:
  std::vector<std::string> columns_;
  std::vector<Value> values_;
  std::size_t count_ = 0;
  std::vector<std::unique_ptr<char[]>> blocks_;
  char* free_ = nullptr;
  std::size_t free_size_ = 0;
  std::uint64_t bytes_ = 0;
};

}  // namespace fettle::db
