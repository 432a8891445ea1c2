#include <gtest/gtest.h>

#include "access/authenticator.h"
#include "access/rights.h"
#include "access/tokens.h"

namespace fettle::access {
namespace {

TokenEntry entry(std::string_view token, std::string workspace, std::vector<TokenScope> scopes) {
  return {.sha256 = sha256_of(token),
          .name = "",
          .workspace = {std::move(workspace)},
          .clients = {},
          .scopes = std::move(scopes)};
}

ConfiguredTokens two_tokens() {
  const std::vector<TokenEntry> entries = {entry("alpha", "acme", {TokenScope::kIngest}),
                                           entry("beta", "globex", {TokenScope::kAdmin})};
  return ConfiguredTokens::make(entries).value();
}

http::Request request(std::string method, std::vector<std::pair<std::string, std::string>> headers) {
  http::Request made;
  made.method = std::move(method);
  made.remote = "127.0.0.1:4000";
  for (auto& [name, value] : headers) made.headers.add(std::move(name), std::move(value));
  return made;
}

TEST(Tokens, ATokenNamesItsWorkspaceAndScopes) {
  const ConfiguredTokens tokens = two_tokens();
  const auto alpha = tokens.find("alpha");
  ASSERT_TRUE(alpha);
  EXPECT_EQ(alpha->scope.workspace.value, "acme");
  EXPECT_TRUE(alpha->may(TokenScope::kIngest));
  EXPECT_FALSE(alpha->may(TokenScope::kRead));
  EXPECT_FALSE(alpha->may(TokenScope::kAdmin));
}

TEST(Tokens, AdminMayDoEverything) {
  const auto beta = two_tokens().find("beta");
  ASSERT_TRUE(beta);
  for (const TokenScope scope : {TokenScope::kIngest, TokenScope::kRead, TokenScope::kAdmin})
    EXPECT_TRUE(beta->may(scope));
}

TEST(Tokens, ATokenOfTheConfigurationSeesPayloadsAsItsRoleDoesUnlessItSaysOtherwise) {
  const auto sees = [](TokenScope scope, std::optional<bool> payloads) {
    std::vector<TokenEntry> entries = {entry("t", "acme", {scope})};
    entries[0].payloads = payloads;
    return can(*ConfiguredTokens::make(entries)->find("t"), Action::kReveal).allowed;
  };
  EXPECT_FALSE(sees(TokenScope::kRead, std::nullopt));
  EXPECT_TRUE(sees(TokenScope::kOperate, std::nullopt));
  EXPECT_TRUE(sees(TokenScope::kAdmin, std::nullopt));
  EXPECT_TRUE(sees(TokenScope::kRead, true));
  EXPECT_FALSE(sees(TokenScope::kAdmin, false));
  EXPECT_FALSE(sees(TokenScope::kIngest, true)) << "who may see nothing sees no payloads";
}

TEST(Tokens, ATokenIsFoundByTheNameThatAuditsKnowItBy) {
  std::vector<TokenEntry> entries = {entry("a", "acme", {TokenScope::kAdmin}), entry("b", "acme", {TokenScope::kRead}),
                                     entry("c", "globex", {TokenScope::kAdmin})};
  entries[0].name = entries[1].name = entries[2].name = "ops";
  const auto tokens = ConfiguredTokens::make(entries).value();
  EXPECT_EQ(role_of(*tokens.grant_of({"acme"}, "config:ops")), Role::kViewer) << "of one name the least";
  EXPECT_EQ(role_of(*tokens.grant_of({"globex"}, "config:ops")), Role::kAdmin);
  EXPECT_FALSE(tokens.grant_of({"acme"}, "config:other"));
  EXPECT_FALSE(tokens.grant_of({"acme"}, "ops"));
}

TEST(Tokens, UnknownAndNearlyRightTokensAreNotFound) {
  for (const std::string_view wrong : {"", "alph", "alphaa", "Alpha", "alpha ", "gamma"}) {
    EXPECT_FALSE(two_tokens().find(wrong)) << wrong;
  }
}

TEST(Tokens, SenderNamesDifferAndDoNotHoldTheToken) {
  const ConfiguredTokens tokens = two_tokens();
  EXPECT_NE(tokens.find("alpha")->sender, tokens.find("beta")->sender);
  EXPECT_EQ(tokens.find("alpha")->sender.find("alpha"), std::string::npos);
}

TEST(Tokens, TheSameTokenTwiceIsRefused) {
  const std::vector<TokenEntry> entries = {entry("alpha", "acme", {TokenScope::kRead}),
                                           entry("alpha", "globex", {TokenScope::kRead})};
  EXPECT_EQ(ConfiguredTokens::make(entries).error().code(), ErrorCode::kInvalidArgument);
}

TEST(Tokens, AMalformedWorkspaceIsRefused) {
  const std::vector<TokenEntry> entries = {entry("alpha", "Acme Inc", {TokenScope::kRead})};
  EXPECT_EQ(ConfiguredTokens::make(entries).error().code(), ErrorCode::kInvalidArgument);
}

TEST(Authenticator, WithoutATokenNobodyComesIn) {
  const ConfiguredTokens tokens = two_tokens();
  const Authenticator authenticator(&tokens, Mode::kTokens);
  for (const std::string_view header :
       {"", "alpha", "Basic alpha", "Bearer", "Bearer ", "Bearer gamma", "Beareralpha"}) {
    const auto grant = authenticator.authenticate(header);
    ASSERT_FALSE(grant) << header;
    EXPECT_EQ(grant.error().code(), ErrorCode::kUnauthenticated);
  }
}

TEST(Authenticator, TheSchemeIsReadWithoutRegardToCase) {
  const ConfiguredTokens tokens = two_tokens();
  const Authenticator authenticator(&tokens, Mode::kTokens);
  EXPECT_TRUE(authenticator.authenticate("bearer alpha"));
  EXPECT_TRUE(authenticator.authenticate("BEARER  alpha"));
}

TEST(Authenticator, TwoAuthorizationHeadersAreRefused) {
  const ConfiguredTokens tokens = two_tokens();
  const Authenticator authenticator(&tokens, Mode::kTokens);
  const auto made = request("GET", {{"Authorization", "Bearer alpha"}, {"Authorization", "Bearer beta"}});
  EXPECT_EQ(authenticator.authenticate(made).error().code(), ErrorCode::kUnauthenticated);
}

TEST(Authenticator, InDevelopmentNoTokenMeansTheDefaultWorkspaceButAWrongOneIsStillWrong) {
  const ConfiguredTokens tokens = two_tokens();
  const Authenticator authenticator(&tokens, Mode::kDevelopment);
  EXPECT_EQ(authenticator.authenticate(request("GET", {{"Host", "localhost:7070"}}))->scope.workspace.value, "default");
  EXPECT_EQ(authenticator.authenticate("Bearer alpha")->scope.workspace.value, "acme");
  EXPECT_EQ(authenticator.authenticate("Bearer gamma").error().code(), ErrorCode::kUnauthenticated);
}

TEST(Authenticator, InDevelopmentOnlyThisMachinesHostsAreAnswered) {
  const Authenticator authenticator(nullptr, Mode::kDevelopment);
  for (const char* good : {"localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:65535", "[::1]", "[::1]:80"}) {
    EXPECT_TRUE(authenticator.authenticate(request("GET", {{"Host", good}}))) << good;
  }
  for (const char* bad : {"", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "127.0.0.2", "[::2]",
                          "localhost:", "localhost:80x", "localhost:999999", "127.0.0.1@evil.example", "0.0.0.0"}) {
    const auto grant = authenticator.authenticate(request("GET", {{"Host", bad}}));
    ASSERT_FALSE(grant) << bad;
    EXPECT_EQ(grant.error().code(), ErrorCode::kPermissionDenied) << bad;
  }
  EXPECT_FALSE(authenticator.authenticate(request("GET", {})));
  EXPECT_FALSE(authenticator.authenticate(request("GET", {{"Host", "localhost"}, {"Host", "evil.example"}})));
}

TEST(Authenticator, InDevelopmentForeignOriginsAreRefused) {
  const Authenticator authenticator(nullptr, Mode::kDevelopment);
  for (const char* host : {"localhost:7070", "127.0.0.1:7070", "[::1]:7070", "LOCALHOST", "localhost"}) {
    for (const char* scheme : {"http://", "https://"}) {
      EXPECT_TRUE(authenticator.authenticate(request("GET", {{"Host", host}, {"Origin", std::string(scheme) + host}})))
          << host;
    }
  }
  for (const char* bad : {"null", "", "https://evil.example", "http://localhost.evil.example", "file://localhost:7070",
                          "http://localhost:3000", "http://localhost", "http://127.0.0.1:7070", "http://"}) {
    const auto grant = authenticator.authenticate(request("GET", {{"Host", "localhost:7070"}, {"Origin", bad}}));
    ASSERT_FALSE(grant) << bad;
    EXPECT_EQ(grant.error().code(), ErrorCode::kPermissionDenied) << bad;
  }
}

TEST(Authenticator, InDevelopmentAStateChangeNeedsAContentTypeNoPageCanSend) {
  const Authenticator authenticator(nullptr, Mode::kDevelopment);
  for (const char* good :
       {"application/json", "Application/JSON; charset=utf-8", "application/x-protobuf", "application/x-ndjson"}) {
    EXPECT_TRUE(authenticator.authenticate(request("POST", {{"Host", "localhost"}, {"Content-Type", good}}))) << good;
  }
  for (const char* bad : {"", "text/plain", "text/plain; application/json", "application/x-www-form-urlencoded",
                          "multipart/form-data; boundary=x", "application/jsonx"}) {
    const auto grant = authenticator.authenticate(request("POST", {{"Host", "localhost"}, {"Content-Type", bad}}));
    ASSERT_FALSE(grant) << bad;
    EXPECT_EQ(grant.error().code(), ErrorCode::kUnsupported) << bad;
  }
  EXPECT_FALSE(authenticator.authenticate(request("DELETE", {{"Host", "localhost"}})));
}

TEST(Authenticator, WithTokensHostAndOriginDoNotMatter) {
  const ConfiguredTokens tokens = two_tokens();
  const Authenticator authenticator(&tokens, Mode::kTokens);
  EXPECT_TRUE(authenticator.authenticate(request(
      "POST", {{"Host", "fettle.example"}, {"Origin", "https://ops.example"}, {"Authorization", "Bearer alpha"}})));
}

TEST(Authenticator, LoopbackAddressesAreKnown) {
  for (const char* good : {"127.0.0.1:7070", "127.3.2.1:0", "localhost:80", "[::1]:4318", "unix:/run/fettle.sock"}) {
    EXPECT_TRUE(is_loopback_address(good)) << good;
  }
  for (const char* bad :
       {"0.0.0.0:7070", "[::]:7070", "10.0.0.1:1", "127.0.0.1.example:1", "fettle.example:80", "127.0.0.1"}) {
    EXPECT_FALSE(is_loopback_address(bad)) << bad;
  }
}

}  // namespace
}  // namespace fettle::access
