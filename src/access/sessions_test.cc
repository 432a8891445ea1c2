#include "access/sessions.h"

#include "access/authenticator.h"
#include "access/fixture_for_test.h"

namespace fettle::access {
namespace {

TEST(SessionCookies, AreOutOfReachOfScriptsAndOfOtherSites) {
  EXPECT_EQ(session_cookie("abc", std::chrono::hours(1), false),
            "fettle_session=abc; Path=/; Max-Age=3600; HttpOnly; SameSite=Strict");
  EXPECT_EQ(session_cookie("abc", std::chrono::hours(1), true),
            "__Host-fettle_session=abc; Path=/; Max-Age=3600; HttpOnly; SameSite=Strict; Secure");
  EXPECT_EQ(ended_session_cookie(false), "fettle_session=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict");
}

TEST(SessionCookies, AreFoundAmongOthersAndNeverGuessedAt) {
  EXPECT_EQ(session_in_cookies("fettle_session=abc"), "abc");
  EXPECT_EQ(session_in_cookies("a=b; fettle_session=abc ;c=d"), "abc");
  EXPECT_EQ(session_in_cookies("fettle_session=abc; __Host-fettle_session=xyz"), "xyz");
  for (const char* none : {"", "fettle_session", "xfettle_session=abc", "fettle_session2=abc", "a=fettle_session=abc",
                           "fettle_session=abc; fettle_session=def"}) {
    EXPECT_EQ(session_in_cookies(none), "") << none;
  }
}

TEST(CsrfTokens, BelongToOneSession) {
  const std::string token = csrf_token_of("fettle_s_1");
  EXPECT_EQ(token.size(), 64U);
  EXPECT_TRUE(is_csrf_token("fettle_s_1", token));
  EXPECT_FALSE(is_csrf_token("fettle_s_2", token));
  EXPECT_FALSE(is_csrf_token("fettle_s_1", ""));
  EXPECT_FALSE(is_csrf_token("fettle_s_1", token + "0"));
  EXPECT_FALSE(is_csrf_token("fettle_s_1", std::string(64, '0')));
}

class SessionRequestTest : public AccessTest {
 protected:
  SessionRequestTest() {
    add_person("mara@acme.example", {.role = Role::kManager});
    session = *log_in("mara@acme.example", kPassword);
  }
  http::Request request(std::string method, std::vector<std::pair<std::string, std::string>> headers) {
    http::Request made;
    made.method = std::move(method);
    made.remote = "10.0.0.1:4000";
    for (auto& [name, value] : headers) made.headers.add(std::move(name), std::move(value));
    return made;
  }
  std::pair<std::string, std::string> cookie() {
    return {"Cookie", "theme=dark; fettle_session=" + session.credential};
  }

  Accounts::SignedIn session;
  Authenticator authenticator{&directory, Mode::kTokens, &directory};
};
FETTLE_FOR_BOTH_STORES(SessionRequestTest);

TEST_P(SessionRequestTest, TheCookieIsEnoughToReadAndNotToChange) {
  const auto read = authenticator.authenticate(request("GET", {cookie()}));
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(read->role, Role::kManager);
  EXPECT_EQ(read->kind, ActorKind::kUser);
  for (const char* method : {"POST", "PUT", "PATCH", "DELETE"}) {
    EXPECT_EQ(code_of(authenticator.authenticate(request(method, {cookie()}))), ErrorCode::kPermissionDenied);
    EXPECT_EQ(
        code_of(authenticator.authenticate(request(method, {cookie(), {"X-Fettle-Csrf", csrf_token_of("other")}}))),
        ErrorCode::kPermissionDenied);
    EXPECT_TRUE(authenticator.authenticate(request(method, {cookie(), {"X-Fettle-Csrf", session.csrf_token}})));
  }
}

TEST_P(SessionRequestTest, ATokenThatIsSentCountsAndTheCookieDoesNot) {
  EXPECT_FALSE(authenticator.authenticate(request("GET", {cookie(), {"Authorization", "Bearer wrong"}})));
  const auto token = add_token(bit(TokenScope::kRead));
  EXPECT_EQ(
      authenticator.authenticate(request("POST", {cookie(), {"Authorization", "Bearer " + token.text}}))->actor_id,
      token.id);
}

TEST_P(SessionRequestTest, TheRequestNamesItsWorkspace) {
  EXPECT_TRUE(authenticator.authenticate(request("GET", {cookie(), {"X-Fettle-Workspace", "acme"}})));
  EXPECT_EQ(code_of(authenticator.authenticate(request("GET", {cookie(), {"X-Fettle-Workspace", "globex"}}))),
            ErrorCode::kNotFound);
  http::Request by_query = request("GET", {cookie()});
  by_query.query = *http::Query::parse("workspace=globex");
  EXPECT_EQ(code_of(authenticator.authenticate(by_query)), ErrorCode::kNotFound);
  const auto token = add_token(bit(TokenScope::kRead));
  const std::pair<std::string, std::string> bearer = {"Authorization", "Bearer " + token.text};
  EXPECT_TRUE(authenticator.authenticate(request("GET", {bearer, {"X-Fettle-Workspace", "acme"}})));
  EXPECT_EQ(code_of(authenticator.authenticate(request("GET", {bearer, {"X-Fettle-Workspace", "globex"}}))),
            ErrorCode::kNotFound);
}

TEST_P(SessionRequestTest, AListenerWithoutPeopleKnowsNoSessions) {
  const Authenticator ingest(&directory, Mode::kTokens);
  EXPECT_EQ(code_of(ingest.authenticate(request("GET", {cookie()}))), ErrorCode::kUnauthenticated);
}

TEST_P(SessionRequestTest, InDevelopmentAStaleCookieIsNoObstacleAndALiveOneCounts) {
  const Authenticator development(&directory, Mode::kDevelopment, &directory);
  const auto live = development.authenticate(request("GET", {{"Host", "localhost"}, cookie()}));
  ASSERT_TRUE(live);
  EXPECT_EQ(live->kind, ActorKind::kUser);
  const auto stale =
      development.authenticate(request("GET", {{"Host", "localhost"}, {"Cookie", "fettle_session=old"}}));
  ASSERT_TRUE(stale);
  EXPECT_EQ(stale->kind, ActorKind::kDevelopment);
}

TEST_P(SessionRequestTest, AnEndedSessionIsNobody) {
  const auto person =
      authenticator.authenticate_person(request("POST", {cookie(), {"X-Fettle-Csrf", session.csrf_token}}));
  ASSERT_TRUE(person);
  ASSERT_TRUE(wait<void>([&](auto done) { accounts.log_out(*person, {}, std::move(done)); }));
  EXPECT_EQ(code_of(authenticator.authenticate(request("GET", {cookie()}))), ErrorCode::kUnauthenticated);
}

TEST_P(SessionRequestTest, ConfiguredAndStoredTokensStandSideBySide) {
  const TokenEntry entry{.sha256 = sha256_of("from the file"),
                         .name = "file",
                         .workspace = {"acme"},
                         .clients = {},
                         .scopes = {TokenScope::kIngest}};
  const auto configured = ConfiguredTokens::make({&entry, 1}).value();
  const TokensOf both({&directory, &configured});
  const auto token = add_token(bit(TokenScope::kRead));
  EXPECT_EQ(both.find("from the file")->actor_id, "config:file");
  EXPECT_EQ(both.find(token.text)->actor_id, token.id);
  EXPECT_FALSE(both.find("neither"));
}

}  // namespace
}  // namespace fettle::access
