#include "api/web_ui.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fettle::api {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr EmbeddedFile kFiles[] = {
    {"openapi.json", "{}"},
    {"web/index.html", R"(<head><base href="/" /></head>)"},
    {"web/index.html.br", "brotli-index"},
    {"web/favicon.svg", "<svg/>"},
    {"web/manifest.json", R"({"csp_script_hashes":["sha256-abc=","'sha384-d'","evil; script-src *",7]})"},
    {"web/assets/app-1.js", "plain-js"},
    {"web/assets/app-1.js.br", "brotli-js"},
    {"web/assets/app-1.js.gz", "gzip-js"},
};

class WebUiTest : public testing::Test {
 protected:
  std::optional<http::Response> get(std::string path, std::vector<std::pair<std::string, std::string>> headers = {}) {
    http::Request request;
    request.method = "GET";
    request.path = std::move(path);
    for (auto& [name, value] : headers) request.headers.add(std::move(name), std::move(value));
    return ui_.answer(request);
  }
  const WebUi ui_{kFiles};
};

TEST_F(WebUiTest, GivesTheSmallestVariantThatIsAccepted) {
  EXPECT_EQ(get("/assets/app-1.js", {{"Accept-Encoding", "gzip, br"}})->body, "brotli-js");
  EXPECT_EQ(get("/assets/app-1.js", {{"Accept-Encoding", "gzip"}})->body, "gzip-js");
  EXPECT_EQ(get("/assets/app-1.js", {{"Accept-Encoding", "br;q=0, gzip;q=0"}})->body, "plain-js");
  EXPECT_EQ(get("/assets/app-1.js")->body, "plain-js");
  EXPECT_EQ(get("/assets/app-1.js", {{"Accept-Encoding", "br"}})->headers.get("Content-Encoding"), "br");
}

TEST_F(WebUiTest, HashedNamesAreCachedForEverAndThePageIsNot) {
  EXPECT_THAT(std::string(get("/assets/app-1.js")->headers.get("Cache-Control")), HasSubstr("immutable"));
  EXPECT_EQ(get("/")->headers.get("Cache-Control"), "no-cache");
  EXPECT_EQ(get("/favicon.svg")->headers.get("Cache-Control"), "no-cache");
}

TEST_F(WebUiTest, PagesOfTheUisOwnMakingAreTheIndex) {
  for (const char* path : {"/", "/w/acme/evidence/journey", "/index.html"}) {
    const auto page = get(path, {{"Accept", "text/html"}});
    ASSERT_TRUE(page) << path;
    EXPECT_EQ(page->headers.get("Content-Type"), "text/html; charset=utf-8");
  }
}

TEST_F(WebUiTest, AMissingFileIsNotAPage) {
  EXPECT_FALSE(get("/assets/gone.js", {{"Accept", "text/html"}}));
  EXPECT_FALSE(get("/data.bin", {{"Accept", "application/octet-stream"}}));
  EXPECT_FALSE(get("/manifest.json", {{"Accept", "application/json"}}));
}

TEST_F(WebUiTest, OnlyTheScriptsOfTheBuildMayRun) {
  const std::string policy(get("/")->headers.get("Content-Security-Policy"));
  EXPECT_THAT(policy, HasSubstr("script-src 'self' 'sha256-abc=' 'sha384-d';"));
  EXPECT_THAT(policy, HasSubstr("frame-ancestors 'none'"));
  EXPECT_THAT(policy, Not(HasSubstr("*")));
  EXPECT_THAT(policy, Not(HasSubstr("unsafe")));
}

TEST_F(WebUiTest, BehindAPrefixThePageHasThatBase) {
  const auto page = get("/", {{"X-Forwarded-Prefix", "/ops/fettle/"}, {"Accept-Encoding", "br"}});
  EXPECT_THAT(page->body, HasSubstr(R"(<base href="/ops/fettle/" />)"));
  EXPECT_FALSE(page->headers.has("Content-Encoding"));
  EXPECT_TRUE(page->headers.has("Content-Security-Policy"));
}

TEST_F(WebUiTest, APrefixThatIsNoPlainPathIsIgnored) {
  for (const char* prefix : {"//evil.example", "https://evil.example", "/\"><script>", "ops", "/a b", "/"}) {
    EXPECT_THAT(get("/", {{"X-Forwarded-Prefix", prefix}})->body, HasSubstr(R"(<base href="/" />)")) << prefix;
  }
}

TEST_F(WebUiTest, AKnownEtagIsAnsweredWithoutABody) {
  const auto first = get("/assets/app-1.js");
  const auto second = get("/assets/app-1.js", {{"If-None-Match", std::string(first->headers.get("ETag"))}});
  EXPECT_EQ(second->status, 304);
  EXPECT_TRUE(second->body.empty());
}

TEST(WebUiWithoutFiles, SaysHowToBuildIt) {
  const WebUi ui({});
  http::Request request;
  request.method = "GET";
  request.path = "/";
  EXPECT_THAT(ui.answer(request)->body, HasSubstr("./dev build"));
}

}  // namespace
}  // namespace fettle::api
