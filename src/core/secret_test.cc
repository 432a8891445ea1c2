#include "core/secret.h"

#include <gtest/gtest.h>

namespace fettle {
namespace {

TEST(Secret, EqualsOnlyTheSameBytes) {
  const Secret secret("hunter2");
  EXPECT_TRUE(secret.equals("hunter2"));
  EXPECT_FALSE(secret.equals("hunter3"));
  EXPECT_FALSE(secret.equals("hunter"));
}

TEST(Secret, AMovedFromSecretIsEmpty) {
  Secret from("short");
  const Secret to = std::move(from);
  EXPECT_TRUE(to.equals("short"));
  EXPECT_TRUE(from.empty());  // NOLINT(bugprone-use-after-move): that is what is tested.
}

}  // namespace
}  // namespace fettle
