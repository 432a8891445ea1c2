// The workspace as a whole: giving it up, and erasing what is kept of a client's people; logins behind a proxy.
#include <gmock/gmock.h>

#include "api/access_for_test.h"

namespace fettle::api {
namespace {

using boost::json::parse;
using testing::HasSubstr;

class WorkspaceTest : public AccessTest {
 protected:
  TrustedProxies proxies() const override { return TrustedProxies::parse("127.0.0.1").value(); }
};

TEST_F(WorkspaceTest, AWorkspaceIsGivenUpByItsOwnerUnderItsNameAlone) {
  const Headers owner = person(access::Role::kOwner);
  const Headers worker = program(access::bit(access::TokenScope::kWork));
  EXPECT_EQ(send("DELETE", "/api/v1/workspace?confirm=acme", "", person(access::Role::kAdmin)).status, 403);
  EXPECT_EQ(send("DELETE", "/api/v1/workspace", "", owner).status, 400);
  EXPECT_EQ(send("DELETE", "/api/v1/workspace?confirm=globex", "", owner).status, 400);
  EXPECT_EQ(send("GET", "/api/v1/workspace", "", owner).status, 200) << "nothing has happened";
  EXPECT_EQ(send("DELETE", "/api/v1/workspace?confirm=acme", "", owner).status, 200);
  EXPECT_NE(send("GET", "/api/v1/workspace", "", owner).status, 200);
  EXPECT_EQ(send("POST", "/api/v1/work/lease", R"({"runner_id":"w1"})", worker).status, 401);
  EXPECT_EQ(send("GET", "/api/v1/workspace", "", person(access::Role::kViewer, {}, "globex")).status, 200)
      << "another workspace goes on";
}

TEST_F(WorkspaceTest, AnOwnerOfTheFirstWorkspaceMakesOthersAndOwnsThem) {
  const Headers owner = person(access::Role::kOwner);
  const char* body = R"({"id":"second","name":"The second"})";
  EXPECT_EQ(send("POST", "/api/v1/workspaces", body, person(access::Role::kAdmin)).status, 403);
  EXPECT_EQ(send("POST", "/api/v1/workspaces", body, program(access::bit(access::TokenScope::kAdmin))).status, 403);
  const Headers tenant = person(access::Role::kOwner, {}, "globex");
  EXPECT_EQ(send("POST", "/api/v1/workspaces", body, tenant).status, 403);
  EXPECT_EQ(send("POST", "/api/v1/workspaces", R"({"id":"acme"})", tenant).status, 403) << "says nothing of names";
  EXPECT_EQ(send("POST", "/api/v1/workspaces", R"({"id":"Not a name"})", owner).status, 400);
  EXPECT_EQ(send("POST", "/api/v1/workspaces", R"({"name":"x"})", owner).status, 400);
  const auto made = send("POST", "/api/v1/workspaces", body, owner);
  ASSERT_EQ(made.status, 201) << made.body;
  EXPECT_EQ(parse(made.body).at("name").as_string(), "The second");
  EXPECT_EQ(send("POST", "/api/v1/workspaces", body, owner).status, 409);

  Headers there = owner;
  there.emplace_back("X-Fettle-Workspace", "second");
  const auto session = parse(send("GET", "/api/v1/session", "", there).body);
  EXPECT_EQ(session.at("workspace").as_string(), "second");
  EXPECT_EQ(session.at("role").as_string(), "owner");
  EXPECT_EQ(send("POST", "/api/v1/tokens", R"({"name":"x","scopes":["work"]})", there).status, 201);
  EXPECT_EQ(send("POST", "/api/v1/workspaces", R"({"id":"third"})", there).status, 403) << "from the first alone";

  const auto list = parse(send("GET", "/api/v1/workspaces", "", owner).body).at("items").as_array();
  ASSERT_EQ(list.size(), 2U);
  EXPECT_EQ(list[1].at("id").as_string(), "second");
  EXPECT_FALSE(send("GET", "/api/v1/workspaces", "", tenant).body.contains("second"));
  const auto one = parse(send("GET", "/api/v1/workspaces", "", program(access::bit(access::TokenScope::kRead))).body);
  ASSERT_EQ(one.at("items").as_array().size(), 1U);
  EXPECT_EQ(one.at("items").at(0).at("id").as_string(), "acme");
}

TEST_F(WorkspaceTest, AClientsPersonalDataIsErasedUntilNothingIsLeft) {
  const Headers owner = person(access::Role::kOwner);
  const Headers worker = program(access::bit(access::TokenScope::kAdmin));
  const auto made = send("POST", "/api/v1/runs",
                         R"({"workflow":"lead","client_id":"c1","payload":{"email":"ann@c1.example"}})", owner);
  const std::string id(parse(made.body).at("run_id").as_string());
  EXPECT_EQ(send("POST", "/api/v1/work/lease", R"({"runner_id":"w1"})", worker).status, 200);
  send("POST", "/api/v1/work/report",
       R"({"runner_id":"w1","reports":[{"op":"complete","fence":1,"result":{"to":"ann@c1.example"},"run_id":")" + id +
           R"("}]})",
       worker);
  send("POST", "/api/v1/agent_logs", R"({"client_id":"c1","message":"ann@c1.example"})", worker);
  const char* path = "/api/v1/clients/c1/personal-data";
  EXPECT_EQ(send("DELETE", path, "", person(access::Role::kManager)).status, 403);
  EXPECT_EQ(send("DELETE", path, "", person(access::Role::kAdmin, {{"c2"}})).status, 404) << "another client's";
  const auto piece = parse(send("DELETE", path, "", owner).body);
  EXPECT_FALSE(piece.at("done").as_bool());
  EXPECT_EQ(piece.at("runs").as_int64(), 1);
  EXPECT_EQ(piece.at("records").as_int64(), 1);
  EXPECT_EQ(journal_.audits.back().action, "client.erase");
  const std::size_t audits = journal_.audits.size();
  EXPECT_TRUE(parse(send("DELETE", path, "", owner).body).at("done").as_bool());
  EXPECT_EQ(journal_.audits.size(), audits) << "nothing was erased, so nothing is said";
  const std::string shown = send("GET", "/api/v1/runs/" + id, "", owner).body;
  EXPECT_THAT(shown, HasSubstr(R"("state":"succeeded")"));
  EXPECT_FALSE(shown.contains("ann@c1.example")) << shown;
  EXPECT_FALSE(send("GET", "/api/v1/agent_logs", "", owner).body.contains("ann@c1.example"));
}

TEST_F(WorkspaceTest, ASchedulesPayloadIsForWhoeverMaySeePayloads) {
  const Headers owner = person(access::Role::kOwner);
  const auto made = send("POST", "/api/v1/schedules",
                         R"({"name":"s","cron":"* * * * *","run":{"workflow":"w","payload":{"secret":1}}})", owner);
  EXPECT_EQ(made.status, 201) << made.body;
  EXPECT_TRUE(send("GET", "/api/v1/schedules/s", "", owner).body.contains("secret"));
  for (const char* path : {"/api/v1/schedules", "/api/v1/schedules/s"}) {
    const auto shown = send("GET", path, "", person(access::Role::kViewer));
    EXPECT_EQ(shown.status, 200);
    EXPECT_FALSE(shown.body.contains("secret")) << shown.body;
  }
}

TEST_F(WorkspaceTest, BehindATrustedProxyEachClientIsThrottledByItself) {
  person(access::Role::kViewer);
  const auto log_in = [&](const std::string& client, const std::string& email, const std::string& password) {
    return send("POST", "/api/v1/session", R"({"email":")" + email + R"(","password":")" + password + R"("})",
                {{"X-Forwarded-For", client}, {"X-Forwarded-Proto", "https"}});
  };
  int status = 0;
  for (int i = 0; i < 40 && status != 429; ++i) {
    status = log_in("203.0.113.7", "nobody" + std::to_string(i) + "@acme.example", "wrong").status;
  }
  EXPECT_EQ(status, 429) << "somebody who guesses";
  const auto other = log_in("198.51.100.9", "p1@acme.example", kPassword);
  EXPECT_EQ(other.status, 200) << "is not everybody behind the proxy";
  EXPECT_THAT(std::string(other.headers.get("Set-Cookie")), HasSubstr("Secure"));
}

class UntrustedProxyTest : public AccessTest {};

TEST_F(UntrustedProxyTest, WhoeverIsNotTrustedIsTheClientWhateverItSends) {
  person(access::Role::kViewer);
  int status = 0;
  for (int i = 0; i < 40 && status != 429; ++i) {
    status = send("POST", "/api/v1/session",
                  R"({"email":"nobody)" + std::to_string(i) + R"(@acme.example","password":"wrong"})",
                  {{"X-Forwarded-For", "203.0.113." + std::to_string(i)}})
                 .status;
  }
  EXPECT_EQ(status, 429) << "a made-up address is no new one";
  const Headers session = person(access::Role::kViewer);
  EXPECT_FALSE(session.front().second.contains("Secure"));
}

}  // namespace
}  // namespace fettle::api
