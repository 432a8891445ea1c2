#include "core/ids.h"

#include <gtest/gtest.h>

namespace fettle {
namespace {

TEST(Hex, RoundTripsEveryByte) {
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes.push_back(static_cast<char>(i));
  EXPECT_EQ(from_hex(to_hex(bytes)), bytes);
}

TEST(Hex, RefusesOddLengthAndForeignCharacters) {
  EXPECT_EQ(from_hex("abc"), std::nullopt);
  EXPECT_EQ(from_hex("zz"), std::nullopt);
  EXPECT_EQ(from_hex("AB"), "\xAB");
}

TEST(WorkspaceName, AllowsOnlyWhatIsSafeInUrlsLabelsAndFilters) {
  for (const char* good : {"default", "a", "acme-2", "0x_y"}) EXPECT_TRUE(is_workspace_name(good)) << good;
  for (const char* bad : {"", "-a", "A", "a b", "a'b", "a/b", "*"}) EXPECT_FALSE(is_workspace_name(bad)) << bad;
  EXPECT_FALSE(is_workspace_name(std::string(65, 'a')));
}

}  // namespace
}  // namespace fettle
