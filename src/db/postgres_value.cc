#include "db/postgres_value.h"

#include <fmt/format.h>
#include <libpq-fe.h>

#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>

#include "db/check_value.h"

namespace fettle::db {
namespace {

// Type numbers of pg_type, which never change.
constexpr Oid kBool = 16;
constexpr Oid kBytea = 17;
constexpr Oid kInt8 = 20;
constexpr Oid kInt2 = 21;
constexpr Oid kInt4 = 23;
constexpr Oid kText = 25;
constexpr Oid kOid = 26;
constexpr Oid kFloat4 = 700;
constexpr Oid kFloat8 = 701;
constexpr Oid kNumeric = 1700;

constexpr int kBinary = 1;

std::string_view keep(Rows& rows, std::string_view bytes) {
  if (bytes.empty()) return "";
  char* place = rows.allocate(bytes.size());
  std::memcpy(place, bytes.data(), bytes.size());
  return {place, bytes.size()};
}

int hex_digit(char c) { return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10; }

Result<Value> to_value(Rows& rows, Oid type, std::string_view text) {
  const auto whole = [&](std::int64_t& number) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    return error == std::errc() && end == text.data() + text.size();
  };
  switch (type) {
    case kBool: return Value(text == "t");
    case kInt2:
    case kInt4:
    case kInt8:
    case kOid:
    case kNumeric:  // what SUM makes of BIGINT
    {
      std::int64_t number = 0;
      if (whole(number)) return Value(number);
      [[fallthrough]];
    }
    case kFloat4:
    case kFloat8: {
      double number = 0;
      // Understands Infinity and NaN as the server spells them.
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
      if (error != std::errc() || end != text.data() + text.size()) {
        return fail(ErrorCode::kInternal, "PostgreSQL answered a number that a double cannot hold");
      }
      return Value(number);
    }
    case kBytea: {
      if (!text.starts_with("\\x"))
        return fail(ErrorCode::kInternal, "PostgreSQL answered a blob that is not hexadecimal");
      text.remove_prefix(2);
      if (text.empty()) return Value(BlobView{""});
      char* place = rows.allocate(text.size() / 2);
      for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
        place[i / 2] = static_cast<char>(hex_digit(text[i]) * 16 + hex_digit(text[i + 1]));
      }
      return Value(BlobView{std::string_view(place, text.size() / 2)});
    }
    default: return Value(keep(rows, text));
  }
}

}  // namespace

Result<void> PostgresParams::set(std::span<const Value> values) {
  types_.clear();
  values_.clear();
  lengths_.clear();
  formats_.clear();
  numbers_.clear();
  numbers_.reserve(values.size());  // pointed into
  const auto add = [&](Oid type, const char* bytes, std::size_t size) {
    types_.push_back(type);
    values_.push_back(bytes);
    lengths_.push_back(static_cast<int>(size));
    formats_.push_back(kBinary);
  };
  const auto add_number = [&](Oid type, std::uint64_t bits) {
    numbers_.push_back(__builtin_bswap64(bits));
    add(type, reinterpret_cast<const char*>(&numbers_.back()), sizeof bits);
  };
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (auto good = check_value(values[i], i + 1); !good) return good;
    std::visit(
        [&](const auto& held) {
          using T = std::decay_t<decltype(held)>;
          if constexpr (std::is_same_v<T, std::monostate>) {
            add(0, nullptr, 0);
          } else if constexpr (std::is_same_v<T, std::int64_t>) {
            add_number(kInt8, static_cast<std::uint64_t>(held));
          } else if constexpr (std::is_same_v<T, double>) {
            add_number(kFloat8, std::bit_cast<std::uint64_t>(held));
          } else if constexpr (std::is_same_v<T, std::string_view>) {
            // A null pointer would be NULL, not the empty text.
            add(kText, held.data() == nullptr ? "" : held.data(), held.size());
          } else {
            add(kBytea, held.bytes.data() == nullptr ? "" : held.bytes.data(), held.bytes.size());
          }
        },
        values[i].get());
  }
  return {};
}

std::vector<std::string> column_names(const pg_result* result) {
  std::vector<std::string> names;
  for (int i = 0; i < PQnfields(result); ++i) names.emplace_back(PQfname(result, i));
  return names;
}

Result<void> append_rows(const pg_result* result, Rows& rows) {
  const int columns = PQnfields(result);
  for (int row = 0; row < PQntuples(result); ++row) {
    for (int column = 0; column < columns; ++column) {
      if (PQgetisnull(result, row, column) != 0) {
        rows.add_value({});
        continue;
      }
      const std::string_view text(PQgetvalue(result, row, column),
                                  static_cast<std::size_t>(PQgetlength(result, row, column)));
      auto value = to_value(rows, PQftype(result, column), text);
      if (!value) return std::unexpected(value.error());
      rows.add_value(*value);
    }
    rows.add_row();
  }
  return {};
}

}  // namespace fettle::db
