#include "api/router.h"

#include <gtest/gtest.h>

namespace fettle::api {
namespace {

class RouterTest : public testing::Test {
 protected:
  RouterTest() {
    for (const auto& [method, path] : {std::pair<std::string_view, std::string_view>{"GET", "/a/{x}"},
                                       {"POST", "/a/{x}"},
                                       {"GET", "/a/{x}/b"},
                                       {"GET", "/logs"},
                                       {"GET", "/logs/tail"}}) {
      router_.add(
          {.method = method, .path = path, .right = {}, .body_bytes_max = 0, .content_types = {}, .handle = {}});
    }
  }
  std::string route_of(std::string_view method, std::string_view path) {
    const auto match = router_.match(method, path);
    if (!match) return "error";
    return match->route == nullptr ? "none" : std::string(match->route->method) + ' ' + std::string(match->route->path);
  }
  Router router_;
};

TEST_F(RouterTest, FindsByMethodAndShape) {
  EXPECT_EQ(route_of("GET", "/a/1"), "GET /a/{x}");
  EXPECT_EQ(route_of("POST", "/a/1"), "POST /a/{x}");
  EXPECT_EQ(route_of("HEAD", "/a/1"), "GET /a/{x}");
  EXPECT_EQ(route_of("GET", "/a/1/b"), "GET /a/{x}/b");
  EXPECT_EQ(route_of("GET", "/logs/tail"), "GET /logs/tail");
}

TEST_F(RouterTest, NearlyRightPathsAreNotFound) {
  for (const char* path :
       {"/", "", "/a", "/a/", "/a/1/", "/a/1/c", "/a/1/b/", "/a//b", "/A/1", "/logs/", "/logs/tails"}) {
    EXPECT_EQ(route_of("GET", path), "none") << path;
  }
}

TEST_F(RouterTest, AnotherMethodSaysWhichThereAre) {
  const auto match = router_.match("DELETE", "/a/1");
  ASSERT_TRUE(match);
  EXPECT_EQ(match->route, nullptr);
  EXPECT_EQ(match->allow, "GET, POST");
}

TEST_F(RouterTest, AnEncodedSlashStaysInItsSegment) {
  const auto match = router_.match("GET", "/a/one%2Ftwo%20three");
  ASSERT_TRUE(match);
  ASSERT_NE(match->route, nullptr);
  EXPECT_EQ(match->parameters.at(0).second, "one/two three");
}

TEST_F(RouterTest, ABrokenPercentSequenceIsAnError) { EXPECT_EQ(route_of("GET", "/a/%zz"), "error"); }

}  // namespace
}  // namespace fettle::api
