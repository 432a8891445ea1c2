// What goes into a statement and comes out of it: values, and the text of the statement itself.
//
//   tx.execute("INSERT INTO runs (workspace, id, attempts) VALUES ($1, $2, $3)", {scope.workspace, run_id, 0});
//
// Both stores keep the same five kinds of value. What one of them would bend is refused on the way in
// (kInvalidArgument): NaN, which SQLite turns into NULL; text with a NUL byte or ill-formed UTF-8, which PostgreSQL
// cannot hold. Infinities, every int64 and every byte of a blob come back as they went in; -0.0 becomes 0.0.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/ids.h"

namespace fettle::db {

enum class Dialect : std::uint8_t { kSqlite, kPostgres };

// Bytes, as opposed to text.
struct Blob {
  std::string bytes;
  bool operator==(const Blob&) const = default;
};
struct BlobView {
  std::string_view bytes;
  bool operator==(const BlobView&) const = default;
};

// One value. A view: TEXT AND BLOBS POINT TO BYTES OF SOMEBODY ELSE, which must live as long as it does. As an
// argument that is until the call returns.
class Value {
 public:
  using Variant = std::variant<std::monostate, std::int64_t, double, std::string_view, BlobView>;

  Value() = default;
  Value(std::nullopt_t) {}
  Value(bool value) : value_(std::int64_t{value}) {}
  template <std::integral T>
    requires(!std::same_as<T, bool> && (std::signed_integral<T> || sizeof(T) < sizeof(std::int64_t)))
  Value(T value) : value_(static_cast<std::int64_t>(value)) {}
  // Neither store has unsigned 64-bit integers: cast where the value is known to fit.
  Value(std::uint64_t) = delete;
  // SQLite would drop the sign of a zero; so both do.
  Value(double value) : value_(value + 0.0) {}
  Value(std::string_view text) : value_(text) {}
  Value(const std::string& text) : value_(std::string_view(text)) {}
  Value(const char* text) : value_(std::string_view(text)) {}
  Value(BlobView blob) : value_(blob) {}
  Value(const Blob& blob) : value_(BlobView{blob.bytes}) {}
  template <class Tag>
  Value(const Id<Tag>& id) : value_(std::string_view(id.value)) {}
  template <class T>
  Value(const std::optional<T>& value) : Value(value ? Value(*value) : Value()) {}

  const Variant& get() const { return value_; }
  bool is_null() const { return value_.index() == 0; }
  // "null", "integer", "real", "text" or "blob": for messages.
  std::string_view type_name() const;
  bool operator==(const Value&) const = default;

 private:
  Variant value_;
};

// The parameters $1, $2, … of a statement, borrowed for the length of a call.
class Params {
 public:
  Params() = default;
  Params(std::initializer_list<Value> values) : values_(values.begin(), values.size()) {}
  Params(std::span<const Value> values) : values_(values) {}
  Params(const std::vector<Value>& values) : values_(values) {}
  std::span<const Value> values() const { return values_; }
  std::size_t size() const { return values_.size(); }

 private:
  std::span<const Value> values_;
};

// The text of one statement, with parameters $1, $2, …: one text where both stores read it the same way, else one for
// each. Only a literal becomes one by itself, so that input is never pasted into it.
class Sql {
 public:
  template <std::size_t N>
  consteval Sql(const char (&both)[N]) : sqlite_(both, N - 1), postgres_(both, N - 1) {}
  // An empty text: nothing to do in that store (migrations only).
  template <std::size_t N, std::size_t M>
  consteval Sql(const char (&sqlite)[N], const char (&postgres)[M])
      : sqlite_(sqlite, N - 1), postgres_(postgres, M - 1) {}
  // A statement assembled at run time FROM LITERAL PARTS, such as a list with optional filters; values stay parameters.
  // The text must live as long as the Sql.
  static Sql assembled(std::string_view both) { return Sql(both, 0); }

  constexpr std::string_view text(Dialect dialect) const { return dialect == Dialect::kSqlite ? sqlite_ : postgres_; }

 private:
  constexpr Sql(std::string_view both, int) : sqlite_(both), postgres_(both) {}
  std::string_view sqlite_;
  std::string_view postgres_;
};

}  // namespace fettle::db
