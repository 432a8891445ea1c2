#include "core/json.h"

#include <gtest/gtest.h>

namespace fettle {
namespace {

std::string quoted(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

TEST(JsonString, EscapesWhatTheGrammarDemands) {
  EXPECT_EQ(quoted("a\"b\\c\n\x01"), R"("a\"b\\c\n\u0001")");
  EXPECT_EQ(quoted("grüße 🎉"), "\"grüße 🎉\"");
}

TEST(JsonString, ReplacesIllFormedUtf8) {
  EXPECT_EQ(quoted("\xff"), "\"\xEF\xBF\xBD\"");
  EXPECT_EQ(quoted("a\xC3"), "\"a\xEF\xBF\xBD\"");
}

TEST(Utf8, KnowsWellFormedText) {
  for (const char* good : {"", "plain text that is longer than eight", "é", "\xE2\x82\xAC", "\xF0\x9F\x8E\x89"})
    EXPECT_TRUE(is_utf8(good)) << good;
  // A lone continuation, an overlong slash, a surrogate, beyond U+10FFFF, and a cut sequence.
  for (const char* bad : {"\x80", "\xC0\xAF", "\xED\xA0\x80", "\xF4\x90\x80\x80", "abc\xE2\x82"})
    EXPECT_FALSE(is_utf8(bad)) << bad;
}

TEST(Utf8, RepairedTextIsWellFormed) { EXPECT_TRUE(is_utf8(to_utf8("a\xff\xfe b\xC3"))); }

}  // namespace
}  // namespace fettle
