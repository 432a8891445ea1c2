// Values come back as they went in.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cmath>
#include <limits>

#include "db/testing.h"

namespace fettle::db {
namespace {

class Values : public StoreTest {
 protected:
  struct Line {
    std::optional<std::int64_t> whole;
    std::optional<double> real;
    std::optional<std::string> text;
    std::optional<Blob> blob;
    bool operator==(const Line&) const = default;
  };
  std::unique_ptr<Database> database = open();

  void SetUp() override {
    ASSERT_TRUE(database->write_and_wait([](Transaction& tx) {
      return tx.execute(
          "CREATE TABLE lines (id BIGINT NOT NULL PRIMARY KEY, whole BIGINT, r DOUBLE PRECISION, t TEXT, b BYTEA)");
    }));
  }
  Result<Line> round_trip(const Line& line) {
    return database->write_and_wait([&](Transaction& tx) -> Result<Line> {
      Line back;
      auto cleared = tx.execute("DELETE FROM lines");
      if (!cleared) return std::unexpected(cleared.error());
      auto found =
          tx.fetch("INSERT INTO lines (id, whole, r, t, b) VALUES (1, $1, $2, $3, $4) RETURNING whole, r, t, b",
                   {line.whole, line.real, line.text, line.blob}, back.whole, back.real, back.text, back.blob);
      if (!found) return std::unexpected(found.error());
      return back;
    });
  }
};
FETTLE_FOR_BOTH_STORES(Values);

TEST_P(Values, AnyLineComesBackAsItWent) {
  const auto code_point = rc::gen::oneOf(rc::gen::inRange<char32_t>(1, 0x80), rc::gen::inRange<char32_t>(0x80, 0xD800),
                                         rc::gen::inRange<char32_t>(0xE000, 0x110000));
  const bool held = rc::check([&] {
    Line line;
    if (*rc::gen::arbitrary<bool>()) line.whole = *rc::gen::arbitrary<std::int64_t>();
    if (*rc::gen::arbitrary<bool>()) line.real = *rc::gen::arbitrary<double>();
    if (*rc::gen::arbitrary<bool>()) {
      std::string text;
      for (const char32_t c : *rc::gen::container<std::vector<char32_t>>(code_point)) {
        if (c < 0x80) {
          text += static_cast<char>(c);
        } else if (c < 0x800) {
          text += {static_cast<char>(0xC0 | c >> 6), static_cast<char>(0x80 | (c & 0x3F))};
        } else if (c < 0x10000) {
          text += {static_cast<char>(0xE0 | c >> 12), static_cast<char>(0x80 | (c >> 6 & 0x3F)),
                   static_cast<char>(0x80 | (c & 0x3F))};
        } else {
          text += {static_cast<char>(0xF0 | c >> 18), static_cast<char>(0x80 | (c >> 12 & 0x3F)),
                   static_cast<char>(0x80 | (c >> 6 & 0x3F)), static_cast<char>(0x80 | (c & 0x3F))};
        }
      }
      line.text = text;
    }
    if (*rc::gen::arbitrary<bool>()) line.blob = Blob{*rc::gen::arbitrary<std::string>()};
    auto back = round_trip(line);
    RC_ASSERT(back.has_value());
    RC_ASSERT(*back == line);
  });
  EXPECT_TRUE(held);
}

TEST_P(Values, TheEdgesComeBackAsTheyWent) {
  const std::vector<Line> edges = {
      {std::numeric_limits<std::int64_t>::min(), std::numeric_limits<double>::infinity(), "", Blob{""}},
      {std::numeric_limits<std::int64_t>::max(), -std::numeric_limits<double>::infinity(), "'\"\\;--$1\n\t",
       Blob{std::string("\0\1\0", 3)}},
      {0, std::numeric_limits<double>::denorm_min(), "Grüße 🦀", Blob{"\\x00"}},
      {std::nullopt, std::nullopt, std::nullopt, std::nullopt},
      {1, 0.1, "NULL", Blob{std::string(100'000, '\xff')}},
      {1, 3.0, std::string(100'000, 'x'), std::nullopt},
  };
  for (const Line& line : edges) {
    auto back = round_trip(line);
    ASSERT_TRUE(back) << back.error().message();
    EXPECT_EQ(*back, line);
  }
  auto zero = round_trip({0, -0.0, "", std::nullopt});
  ASSERT_TRUE(zero) << zero.error().message();
  EXPECT_FALSE(std::signbit(*zero->real));
}

TEST_P(Values, NotANumberIsRefused) {
  auto back = round_trip({0, std::nan(""), "", std::nullopt});
  ASSERT_FALSE(back);
  EXPECT_EQ(back.error().code(), ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace fettle::db
