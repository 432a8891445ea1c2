#include "ingest/native_slice.h"

#include <gtest/gtest.h>

#include <vector>

#include "ingest/bytes.h"

namespace fettle::ingest {
namespace {

constexpr std::uint32_t kRows = 5;

// One column of five rows for each type, and the same column with the rows [first, first + count) alone, both written
// by hand from the format's description.
struct Column {
  std::string type;
  std::string (*data)(std::uint32_t first, std::uint32_t count);
};

std::string numbers(std::uint32_t first, std::uint32_t count) {
  ByteWriter out;
  for (std::uint64_t row = first; row < first + count; ++row) out.fixed(row * 1'000);
  return out.take();
}

std::string texts(std::uint32_t first, std::uint32_t count) {
  ByteWriter out;
  for (std::uint32_t row = first; row < first + count; ++row) out.string(std::string(row * 100, 'x'));
  return out.take();
}

std::string low_cardinality(std::uint32_t first, std::uint32_t count) {
  ByteWriter out;
  out.fixed(std::uint64_t{1});
  if (count == 0) return out.take();
  out.fixed(std::uint64_t{0x600 | 1});  // additional keys, renewed dictionary, 16-bit numbers
  out.fixed(std::uint64_t{3});
  for (const char* key : {"", "one", "two"}) out.string(key);
  out.fixed(std::uint64_t{count});
  for (std::uint32_t row = first; row < first + count; ++row) out.fixed(static_cast<std::uint16_t>(row % 3));
  return out.take();
}

// Row i is an array of i items, of which the odd ones are NULL.
std::string arrays(std::uint32_t first, std::uint32_t count) {
  ByteWriter out;
  std::uint64_t end = 0;
  for (std::uint32_t row = first; row < first + count; ++row) out.fixed(end += row);
  for (std::uint32_t row = first; row < first + count; ++row) {
    for (std::uint32_t item = 0; item < row; ++item) out.fixed(static_cast<std::uint8_t>(item % 2));
  }
  for (std::uint32_t row = first; row < first + count; ++row) {
    for (std::uint32_t item = 0; item < row; ++item) out.string(item % 2 == 0 ? std::to_string(item) : "");
  }
  return out.take();
}

// Two paths: "a" holds a string in even rows and a number in odd ones, "b" an array in row 3 alone.
std::string json(std::uint32_t first, std::uint32_t count) {
  ByteWriter out;
  out.fixed(std::uint64_t{3});
  out.varint(2);
  out.string("a");
  out.string("b");
  out.fixed(std::uint64_t{3});
  out.varint(2);
  out.string("String");
  out.string("Int64");
  out.fixed(std::uint64_t{3});
  out.varint(1);
  out.string("Array(UInt8)");
  const auto each_row = [&](auto visit) {
    for (std::uint32_t row = first; row < first + count; ++row) visit(row);
  };
  each_row([&](std::uint32_t row) { out.fixed(static_cast<std::uint8_t>(row % 2)); });
  each_row([&](std::uint32_t row) {
    if (row % 2 == 0) out.string("text" + std::to_string(row));
  });
  each_row([&](std::uint32_t row) {
    if (row % 2 == 1) out.fixed(std::uint64_t{row});
  });
  each_row([&](std::uint32_t row) { out.fixed(static_cast<std::uint8_t>(row == 3 ? 0 : 1)); });
  each_row([&](std::uint32_t row) {
    if (row == 3) out.fixed(std::uint64_t{2});
  });
  each_row([&](std::uint32_t row) {
    if (row == 3) out.raw("ab");
  });
  return out.take();
}

std::string map_of_numbers(std::uint32_t first, std::uint32_t count) {
  ByteWriter out;
  for (std::uint64_t i = 1; i <= count; ++i) out.fixed(i);
  for (std::uint32_t row = first; row < first + count; ++row) out.string("key" + std::to_string(row));
  for (std::uint32_t row = first; row < first + count; ++row) out.fixed(row);
  return out.take();
}

const std::vector<Column> kColumns = {
    {"UInt64", numbers},
    {"DateTime64(9, 'UTC')", numbers},
    {"SimpleAggregateFunction(sum, UInt64)", numbers},
    {"FixedString(8)", numbers},
    {"String", texts},
    {"LowCardinality(String)", low_cardinality},
    {"Array(Nullable(String))", arrays},
    {"JSON(max_dynamic_paths=128)", json},
    {"Map(String, UInt32)", map_of_numbers},
    {"Array(Tuple(key String, value UInt32))", map_of_numbers},
};

std::string block(std::uint32_t first, std::uint32_t count) {
  ByteWriter out;
  for (const Column& column : kColumns) {
    out.string("column");
    out.string(column.type);
    out.raw(column.data(first, count));
  }
  return out.take();
}

std::uint32_t column_count() { return static_cast<std::uint32_t>(kColumns.size()); }

TEST(NativeSlice, GivesTheRowsAskedForOfEveryType) {
  for (const Column& column : kColumns) {
    ByteWriter whole;
    whole.string("column");
    whole.string(column.type);
    whole.raw(column.data(0, kRows));
    for (std::uint32_t first = 0; first <= kRows; ++first) {
      for (std::uint32_t count = 0; count <= kRows - first; ++count) {
        ByteWriter expected;
        expected.string("column");
        expected.string(column.type);
        expected.raw(column.data(first, count));
        const auto slice = slice_block(whole.bytes(), 1, kRows, first, count);
        ASSERT_TRUE(slice) << column.type << ": " << slice.error().message();
        EXPECT_EQ(*slice, expected.bytes()) << column.type << " " << first << "+" << count;
      }
    }
  }
}

TEST(NativeSlice, SlicesABlockOfManyColumns) {
  EXPECT_EQ(slice_block(block(0, kRows), column_count(), kRows, 1, 3).value(), block(1, 3));
}

TEST(NativeSlice, BytesThatDoNotFitTheirTypesAreRefused) {
  const std::string whole = block(0, kRows);
  for (std::size_t cut = 0; cut < whole.size(); ++cut) {
    EXPECT_FALSE(slice_block(whole.substr(0, cut), column_count(), kRows, 1, 3)) << cut;
  }
  EXPECT_FALSE(slice_block(whole + "x", column_count(), kRows, 1, 3));
}

TEST(NativeSlice, DamageNeverLeadsOutsideTheBlock) {
  const std::string whole = block(0, kRows);
  for (std::size_t at = 0; at < whole.size(); ++at) {
    for (const char value : {'\x00', '\x7f', '\xff'}) {
      std::string damaged = whole;
      damaged[at] = value;
      std::ignore = slice_block(damaged, column_count(), kRows, 1, 3);
    }
  }
}

TEST(NativeSlice, AnUnknownTypeIsSaidToBeUnsupported) {
  ByteWriter out;
  out.string("column");
  out.string("AggregateFunction(uniq, String)");
  const auto slice = slice_block(out.bytes(), 1, kRows, 0, 1);
  ASSERT_FALSE(slice);
  EXPECT_EQ(slice.error().code(), ErrorCode::kUnsupported);
}

}  // namespace
}  // namespace fettle::ingest
