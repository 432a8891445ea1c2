#include "engine/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fettle::engine {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::uint64_t kMebibyte = 1024 * 1024;

TEST(ServerConfig, StatementsGetTwoThirdsOfTheMemory) {
  EXPECT_THAT(server_config({.memory_bytes = 768 * kMebibyte, .cores = 2}, "/u.xml", "/b"),
              HasSubstr("<max_server_memory_usage>523449095</max_server_memory_usage>"));
}

TEST(ServerConfig, AcknowledgedPartsAreOnDisk) {
  const std::string text = server_config({.memory_bytes = 768 * kMebibyte, .cores = 2}, "/u.xml", "/b");
  EXPECT_THAT(text, HasSubstr("<fsync_after_insert>1<"));
  EXPECT_THAT(text, HasSubstr("<fsync_part_directory>1<"));
  EXPECT_THAT(text, HasSubstr("<min_rows_to_fsync_after_merge>1<"));
  EXPECT_THAT(text, HasSubstr("<path>/u.xml</path>"));
}

TEST(UsersConfig, EveryTableHasTheFilterInItsOrForm) {
  const auto text = users_config({.memory_bytes = 768 * kMebibyte, .cores = 2}, {"spans", ".inner_id.0a-1"});
  ASSERT_TRUE(text);
  constexpr std::string_view kFilter =
      "<filter>workspace = getSetting('log_comment') OR getSetting('log_comment') = '*'</filter></table>";
  EXPECT_THAT(*text, HasSubstr(std::string("<table name=\"spans\">").append(kFilter)));
  EXPECT_THAT(*text, HasSubstr(std::string("<table name=\".inner_id.0a-1\">").append(kFilter)));
}

TEST(UsersConfig, SystemTablesThatTellOfOthersAreForFettleAlone) {
  const auto text = users_config({.memory_bytes = 768 * kMebibyte, .cores = 2}, {});
  ASSERT_TRUE(text);
  for (const char* table : {"processes", "parts", "tables", "columns", "query_cache", "errors"}) {
    EXPECT_THAT(*text, HasSubstr(std::string("<table name=\"") + table +
                                 "\"><filter>getSetting('log_comment') = '*'</filter>"));
  }
}

TEST(UsersConfig, NameThatWouldBreakOutOfTheFileIsRefused) {
  for (const char* name : {"", "a b", "a\"/><x", "a<b", "a&b"}) {
    const auto text = users_config({.memory_bytes = 768 * kMebibyte, .cores = 2}, {name});
    ASSERT_FALSE(text) << name;
    EXPECT_EQ(text.error().code(), ErrorCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace fettle::engine
