// A change of access that is sent twice happens once, and its secret is shown once.
#include <gmock/gmock.h>

#include "api/access_for_test.h"

namespace fettle::api {
namespace {

using boost::json::parse;

class KeyedTest : public AccessTest {
 protected:
  static Headers with_key(Headers headers, const std::string& key) {
    headers.emplace_back("Idempotency-Key", key);
    return headers;
  }
  static bool is_replay(const http::Response& response) {
    return response.headers.get("Idempotent-Replayed") == "true";
  }
  // Everything that is kept of answers.
  std::string kept() {
    auto rows = ledger_->read_and_wait(
        [](db::Reader& reader) { return reader.query("SELECT status, headers, body FROM idempotency_keys"); });
    std::string all;
    for (const db::Row row : *rows) all += row.get<db::BlobView>(2)->bytes;
    return all;
  }
  double counted(const std::string& name) { return store_.registry.counter(name, "").value(); }
};

TEST_F(KeyedTest, EveryChangeOfAccessHappensOnceForItsKey) {
  const Headers owner = person(access::Role::kOwner);
  const Headers heir = person(access::Role::kAdmin);
  const auto user_of = [&](const Headers& headers) {
    return std::string(parse(send("GET", "/api/v1/session", "", headers).body).at("user_id").as_string());
  };
  const std::string mara = user_of(person(access::Role::kViewer));
  const auto link = parse(send("POST", "/api/v1/links", R"({"email":"a@acme.example","role":"viewer"})", owner).body);
  const auto token = parse(send("POST", "/api/v1/tokens", R"({"name":"x","scopes":["read"]})", owner).body);
  struct Case {
    const char* method;
    std::string target;
    std::string body;
    std::string other;  // another payload
  };
  const Case cases[] = {
      {"POST", "/api/v1/links", R"({"email":"b@acme.example","role":"viewer"})",
       R"({"email":"b@acme.example","role":"admin"})"},
      {"DELETE", "/api/v1/links/" + std::string(link.at("id").as_string()), "", ""},
      {"POST", "/api/v1/tokens", R"({"name":"y","scopes":["read"]})", R"({"name":"y","scopes":["admin"]})"},
      {"DELETE", "/api/v1/tokens/" + std::string(token.at("id").as_string()), "", ""},
      {"PATCH", "/api/v1/members/" + mara, R"({"role":"operator"})", R"({"role":"manager"})"},
      {"POST", "/api/v1/members/" + mara + "/password-link", "{}", "{ }"},
      {"POST", "/api/v1/members/" + mara + "/disabled", R"({"disabled":true})", R"({"disabled":false})"},
      {"DELETE", "/api/v1/members/" + mara, "", ""},
      {"PUT", "/api/v1/workspace/plan", R"({"name":"gold"})", R"({"name":"silver"})"},
      {"PUT", "/api/v1/workspace/run-ai", R"({"pack":"p","roles":["manager"]})", R"({"pack":"p","roles":[]})"},
      {"POST", "/api/v1/workspaces", R"({"id":"second","name":"Second"})", R"({"id":"second","name":"Other"})"},
      {"POST", "/api/v1/workspace/transfer", R"({"user_id":")" + user_of(heir) + "\"}", "{}"},
  };
  int replays = 0;
  int conflicts = 0;
  for (const Case& one : cases) {
    const std::string name = std::string(one.method) + " " + one.target;
    const Headers keyed = with_key(owner, "\"key of " + name + "\"");
    const auto first = send(one.method, one.target, one.body, keyed);
    ASSERT_LT(first.status, 300) << name << ": " << first.body;
    EXPECT_FALSE(is_replay(first)) << name;
    // The last one takes the owner's right, and with it their answer.
    if (one.target.ends_with("/transfer")) continue;
    const auto again = send(one.method, one.target, one.body, keyed);
    EXPECT_EQ(again.status, first.status) << name << ": " << again.body;
    EXPECT_TRUE(is_replay(again)) << name;
    ++replays;
    if (one.other.empty()) continue;
    const auto other = send(one.method, one.target, one.other, keyed);
    EXPECT_EQ(other.status, 422) << name << ": " << other.body;
    EXPECT_EQ(parse(other.body).at("code").as_string(), "idempotency_conflict") << name;
    EXPECT_NE(parse(other.body).at("stored_payload_sha256"), parse(other.body).at("given_payload_sha256")) << name;
    ++conflicts;
  }
  EXPECT_EQ(counted("idempotency_replay_total"), replays);
  EXPECT_EQ(counted("idempotency_conflict_total"), conflicts);
  const auto tokens = parse(send("GET", "/api/v1/tokens", "", heir).body);
  EXPECT_EQ(tokens.at("tokens").as_array().size(), 2U) << "the second try made none";
}

TEST_F(KeyedTest, ASecretIsInTheFirstAnswerAloneAndIsNotKept) {
  const Headers owner = with_key(person(access::Role::kOwner), "k1");
  for (const auto& [target, body, member] :
       {std::tuple("/api/v1/tokens", R"({"name":"y","scopes":["read"]})", "token"),
        std::tuple("/api/v1/links", R"({"email":"b@acme.example","role":"viewer"})", "path")}) {
    const auto first = parse(send("POST", target, body, owner).body);
    const std::string secret(first.at(member).as_string());
    ASSERT_TRUE(secret.contains("fettle_"));
    const auto again = parse(send("POST", target, body, owner).body);
    EXPECT_EQ(again.at("id"), first.at("id"));
    EXPECT_TRUE(again.at(member).is_null()) << again;
    EXPECT_TRUE(again.as_object().contains("shown_once")) << "the replay says why";
    EXPECT_FALSE(kept().empty());
    EXPECT_FALSE(kept().contains("fettle_"));
  }
}

TEST_F(KeyedTest, AKeyIsItsSendersOwnAndWhatWasRefusedLeavesNone) {
  const Headers owner = person(access::Role::kOwner);
  const Headers admin = person(access::Role::kAdmin);
  const char* body = R"({"name":"y","scopes":["read"]})";
  EXPECT_EQ(send("POST", "/api/v1/tokens", body, with_key(owner, "k")).status, 201);
  const auto others = send("POST", "/api/v1/tokens", body, with_key(admin, "k"));
  EXPECT_EQ(others.status, 201);
  EXPECT_FALSE(is_replay(others));
  EXPECT_EQ(send("DELETE", "/api/v1/tokens/none", "", with_key(owner, "r")).status, 404);
  EXPECT_EQ(send("DELETE", "/api/v1/tokens/none", "", with_key(owner, "r")).status, 404);
  EXPECT_EQ(counted("idempotency_replay_total"), 0);
  EXPECT_EQ(send("POST", "/api/v1/tokens", body, with_key(owner, std::string(300, 'k'))).status, 400);
}

TEST_F(KeyedTest, AnAcceptedInvitationIsAcceptedOnce) {
  const Headers guest = person(access::Role::kViewer);  // p1@acme.example
  const access::NewLink made{.id = access::make_identifier("lnk_", rng_),
                             .credential = access::make_credential(access::CredentialKind::kLink, rng_)};
  ASSERT_TRUE(ledger_->write_and_wait([&](db::Transaction& tx) {
    return access::invite(tx, by_system("globex"), made, "p1@acme.example", {.role = access::Role::kViewer});
  }));
  const std::string body = R"({"link":")" + made.credential + "\"}";
  EXPECT_EQ(send("POST", "/api/v1/links/accept", body, with_key(guest, "a")).status, 200);
  const auto again = send("POST", "/api/v1/links/accept", body, with_key(guest, "a"));
  EXPECT_EQ(again.status, 200) << again.body;
  EXPECT_TRUE(is_replay(again));
  EXPECT_EQ(send("POST", "/api/v1/links/accept", body, guest).status, 404) << "used";
}

}  // namespace
}  // namespace fettle::api
