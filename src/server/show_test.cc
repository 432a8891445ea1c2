#include "server/show.h"

#include <gtest/gtest.h>

#include <boost/json/parse.hpp>

namespace fettle::server {
namespace {

TEST(Table, ColumnsStandBelowEachOtherAndLinesEndWithTheirText) {
  Table table({"RUN", "TRIES", "ERROR"});
  table.row({{"run_1"}, {.text = "3", .is_right = true}, {"späte Antwort"}});
  table.row({{"run_12345"}, {.text = "12", .is_right = true}, {""}});
  EXPECT_EQ(table.text(false),
            "RUN        TRIES  ERROR\n"
            "run_1          3  späte Antwort\n"
            "run_12345     12\n");
}

TEST(Table, ColoursChangeNoWidth) {
  Table table({"STATE", "RUN"});
  table.row({{.text = "dead", .tone = Tone::kBad}, {"r1"}});
  EXPECT_EQ(table.text(true),
            "\x1b[2mSTATE\x1b[0m  \x1b[2mRUN\x1b[0m\n"
            "\x1b[31mdead\x1b[0m   r1\n");
}

TEST(Show, TextFromOutsideMovesNoCursor) {
  const auto object = boost::json::parse(R"({"a":"x\u001b[31m\ny","b":null,"c":3,"d":{"e":"f"}})").as_object();
  EXPECT_EQ(text_of(object, "a"), "x [31m y");
  EXPECT_EQ(text_of(object, "b"), "");
  EXPECT_EQ(text_of(object, "c"), "3");
  EXPECT_EQ(text_of(object, "d"), R"({"e":"f"})");
  EXPECT_EQ(text_of(object, "none"), "");
}

TEST(Show, LongTextIsCutBetweenCharacters) {
  EXPECT_EQ(shortened("kürzer", 6), "kürzer");
  EXPECT_EQ(shortened("zu länglich", 6), "zu lä…");
  EXPECT_EQ(short_time("2026-11-21T09:14:32.123456789Z"), "2026-11-21 09:14:32.123");
}

}  // namespace
}  // namespace fettle::server
