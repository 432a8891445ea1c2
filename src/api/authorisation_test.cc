// Every endpoint by every role, token scope and foreign workspace, generated from the OpenAPI description: each
// operation there names the right it asks for in x-fettle-right, and one that does not fails here.
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <map>
#include <set>

#include "api/access_for_test.h"
#include "api/openapi.h"
#include "ledger/checkpoint.h"
#include "ledger/sequencer.h"

namespace fettle::api {
namespace {

using boost::json::parse;

struct Operation {
  std::string method;
  std::string path;
  std::string right;
  bool is_keyed = false;  // says that it takes an Idempotency-Key
};

std::vector<Operation> described() {
  std::vector<Operation> operations;
  constexpr std::pair<const char*, const char*> kMethods[] = {
      {"GET", "get"}, {"POST", "post"}, {"PUT", "put"}, {"PATCH", "patch"}, {"DELETE", "delete"}};
  const auto document = parse(openapi_json());
  for (const auto& [path, item] : document.at("paths").as_object()) {
    for (const auto& [method, key] : kMethods) {
      const auto* operation = item.as_object().if_contains(key);
      if (operation == nullptr) continue;
      const auto* right = operation->as_object().if_contains("x-fettle-right");
      const auto* parameters = operation->as_object().if_contains("parameters");
      operations.push_back(
          {.method = method,
           .path = std::string(path),
           .right = right == nullptr ? "" : std::string(right->as_string()),
           .is_keyed = parameters != nullptr &&
                       boost::json::serialize(*parameters).contains("#/components/parameters/idempotency_key")});
    }
  }
  return operations;
}

bool is_endless(const Operation& operation) {
  return operation.path.ends_with("/tail") || operation.path.ends_with("/stream");
}

class AuthorisationTest : public AccessTest {
 protected:
  static std::string target_of(const Operation& operation) {
    std::string target = operation.path;
    for (std::size_t open = target.find('{'); open != std::string::npos; open = target.find('{')) {
      target.replace(open, target.find('}') - open + 1, "none");
    }
    return target;
  }
  static std::string body_of(const Operation& operation) {
    return operation.method == "GET" || operation.method == "DELETE" ? "" : "{}";
  }
};

// It counts every workspace: seen by the admins of one, and by tokens of the configuration file.
constexpr std::string_view kOfTheWholeServer = "GET /metrics";

TEST_F(AuthorisationTest, EveryOperationDeclaresTheRightThatItsRouteAsksFor) {
  std::map<std::string, std::string> routed;
  for (auto& [name, right] : api_->route_rights()) routed[name] = right;
  for (const Operation& operation : described()) {
    const std::string name = operation.method + " " + operation.path;
    ASSERT_FALSE(operation.right.empty()) << name << " lacks x-fettle-right";
    EXPECT_TRUE(operation.right == "none" || access::action_named(operation.right)) << name << " " << operation.right;
    // The senders' endpoints are mounted by another room.
    if (operation.right == "send") continue;
    EXPECT_EQ(routed[name], operation.right) << name;
  }
}

TEST_F(AuthorisationTest, EveryChangeTakesAnIdempotencyKeyExceptWhatSaysWhyNot) {
  const std::map<std::string, std::string> without = {
      {"POST /v1/traces", "a body sent again is known by its bytes"},
      {"POST /v1/metrics", "a body sent again is known by its bytes"},
      {"POST /v1/logs", "a body sent again is known by its bytes"},
      {"POST /api/v1/ingest/logs", "a body sent again is known by its bytes"},
      {"POST /api/v1/sql", "changes nothing"},
      {"POST /api/v1/redaction/preview", "changes nothing"},
      {"POST /api/v1/links/look", "changes nothing"},
      {"POST /api/v1/work/lease", "leases are fenced; an answer is good for seconds"},
      {"POST /api/v1/work/report", "reports are fenced one by one"},
      {"POST /api/v1/session", "a kept answer would hold a session, a kept fingerprint a fast hash of a password"},
      {"POST /api/v1/links/redeem", "the same; the link works once"},
      {"POST /api/v1/session/password", "a fast hash of passwords; a second try is refused by the current one"},
      {"DELETE /api/v1/session", "whoever asked is nobody afterwards"},
  };
  std::set<std::string> met;
  for (const Operation& operation : described()) {
    if (operation.method == "GET") continue;
    const std::string name = operation.method + " " + operation.path;
    met.insert(name);
    EXPECT_NE(operation.is_keyed, without.contains(name)) << name;
  }
  for (const auto& [name, reason] : without) EXPECT_TRUE(met.contains(name)) << name << " is no operation any more";
}

TEST_F(AuthorisationTest, WithoutIdentityOnlyWhatNeedsNoneIsAnswered) {
  const std::set<std::string> open = {
      "GET /health",    "GET /health/live",     "GET /health/ready",         "GET /api/v1/openapi.json",
      "GET /api/v1/me", "POST /api/v1/session", "POST /api/v1/links/redeem", "POST /api/v1/links/look"};
  for (const Operation& operation : described()) {
    if (operation.right == "send") continue;
    const std::string name = operation.method + " " + operation.path;
    EXPECT_EQ(operation.right == "none", open.contains(name)) << name;
    if (operation.right == "none") continue;
    EXPECT_EQ(send(operation.method, target_of(operation), body_of(operation), {}).status, 401) << name;
  }
}

TEST_F(AuthorisationTest, EveryEndpointRefusesEveryRoleWithoutItsRightAndNoOther) {
  for (const access::Role role : access::kRoles) {
    // Endpoints that end what the others need come last, with a session of their own.
    const Headers headers = person(role);
    const access::Grant grant{.scope = {.workspace = {"acme"}, .clients = {}},
                              .scopes = access::scopes_of(role),
                              .kind = access::ActorKind::kUser,
                              .role = role,
                              .runs_ai = true};
    for (const Operation& operation : described()) {
      const auto action = access::action_named(operation.right);
      const std::string name = operation.method + " " + operation.path;
      if (!action || operation.right == "send" || name == "DELETE /api/v1/session") continue;
      // These never end by themselves.
      if (is_endless(operation) && access::could(grant, *action)) continue;
      const int status = send(operation.method, target_of(operation), body_of(operation), headers).status;
      if (name == kOfTheWholeServer) {
        EXPECT_EQ(status == 403, role < access::Role::kAdmin) << to_string(role);
        continue;
      }
      EXPECT_EQ(status == 403, !access::could(grant, *action)) << name << " by " << to_string(role) << ": " << status;
      EXPECT_NE(status, 401) << name;
      EXPECT_LT(status, 500) << name;
    }
    EXPECT_EQ(send("DELETE", "/api/v1/session", "", headers).status, 200);
    EXPECT_EQ(send("GET", "/api/v1/session", "", headers).status, 401) << "the session has ended";
  }
}

TEST_F(AuthorisationTest, EveryEndpointRefusesEveryScopeWithoutItsRight) {
  for (const access::TokenScope scope : access::kTokenScopes) {
    const Headers headers = program(access::bit(scope));
    const access::Grant grant{.scope = {.workspace = {"acme"}, .clients = {}}, .scopes = access::bit(scope)};
    for (const Operation& operation : described()) {
      const auto action = access::action_named(operation.right);
      if (!action || operation.right == "send" || *action == access::Action::kOwnAccount) continue;
      if (is_endless(operation) && access::could(grant, *action)) continue;
      const int status = send(operation.method, target_of(operation), body_of(operation), headers).status;
      if (operation.method + " " + operation.path == kOfTheWholeServer) {
        EXPECT_EQ(status == 403, scope != access::TokenScope::kAdmin) << to_string(scope);
        continue;
      }
      EXPECT_EQ(status == 403, !access::could(grant, *action))
          << operation.method << " " << operation.path << " by " << to_string(scope) << ": " << status;
    }
  }
}

TEST_F(AuthorisationTest, NoChangeOfASessionIsTakenWithoutItsCsrfToken) {
  Headers headers = person(access::Role::kOwner);
  headers.pop_back();
  for (const Operation& operation : described()) {
    if (operation.method == "GET" || operation.right == "none" || operation.right == "send") continue;
    EXPECT_EQ(send(operation.method, target_of(operation), body_of(operation), headers).status, 403)
        << operation.method << " " << operation.path;
  }
}

TEST_F(AuthorisationTest, WhatBelongsToAnotherWorkspaceDoesNotExist) {
  const Headers owner = person(access::Role::kOwner);
  const Headers stranger = person(access::Role::kOwner, {}, "globex");
  const auto made = send("POST", "/api/v1/tokens", R"({"name":"x","scopes":["read"]})", owner);
  ASSERT_EQ(made.status, 201) << made.body;
  const std::string token(parse(made.body).at("id").as_string());
  const std::string user(parse(send("GET", "/api/v1/session", "", owner).body).at("user_id").as_string());
  EXPECT_EQ(send("DELETE", "/api/v1/tokens/" + token, "", stranger).status, 404);
  const auto hook = send("POST", "/api/v1/webhooks", R"({"url":"https://hook.example/x"})", owner);
  ASSERT_EQ(hook.status, 201) << hook.body;
  const std::string webhook = "/api/v1/webhooks/" + std::string(parse(hook.body).at("id").as_string());
  EXPECT_EQ(send("GET", webhook, "", owner).status, 200);
  EXPECT_EQ(send("GET", webhook, "", stranger).status, 404);
  EXPECT_EQ(send("PATCH", webhook, R"({"enabled":false})", stranger).status, 404);
  EXPECT_EQ(send("POST", webhook + "/rotate-secret", "{}", stranger).status, 404);
  EXPECT_EQ(send("POST", webhook + "/test", "{}", stranger).status, 404);
  EXPECT_EQ(send("GET", webhook + "/deliveries", "", stranger).status, 404);
  EXPECT_EQ(send("DELETE", webhook, "", stranger).status, 404);
  EXPECT_FALSE(send("GET", "/api/v1/webhooks", "", stranger).body.contains("hook.example"));
  EXPECT_EQ(send("PATCH", "/api/v1/members/" + user, R"({"role":"viewer"})", stranger).status, 404);
  EXPECT_EQ(send("DELETE", "/api/v1/members/" + user, "", stranger).status, 404);
  EXPECT_EQ(send("POST", "/api/v1/members/" + user + "/password-link", "{}", stranger).status, 404);
  EXPECT_EQ(send("POST", "/api/v1/workspace/transfer", R"({"user_id":")" + user + "\"}", stranger).status, 404);
  for (const char* list : {"/api/v1/tokens", "/api/v1/members", "/api/v1/links"}) {
    const std::string body = send("GET", list, "", stranger).body;
    EXPECT_FALSE(body.contains(user) || body.contains(token)) << body;
  }
  Headers elsewhere = owner;
  elsewhere.emplace_back("X-Fettle-Workspace", "globex");
  EXPECT_EQ(send("GET", "/api/v1/members", "", elsewhere).status, 404);
}

TEST_F(AuthorisationTest, WhoeverIsLimitedToSomeClientsLearnsOfNoOthers) {
  const Headers limited = person(access::Role::kAdmin, {{"c-1"}});
  for (const char* list : {"/api/v1/tokens", "/api/v1/members", "/api/v1/links"}) {
    EXPECT_EQ(send("GET", list, "", limited).status, 403) << list;
  }
}

TEST_F(AuthorisationTest, WhoMayNotSeePayloadsGetsNoDetailsOfAuditsAndNoProofsAsBytes) {
  const Headers manager = person(access::Role::kManager);
  const Headers viewer = person(access::Role::kViewer);
  const auto stored = send("POST", "/api/v1/attachments", "{}", program(access::bit(access::TokenScope::kWork)));
  ASSERT_EQ(stored.status, 201) << stored.body;
  const std::string proof = "/api/v1/attachments/" + std::string(parse(stored.body).at("reference").as_string());
  // Redaction cannot look into an image.
  EXPECT_EQ(send("GET", proof, "", manager).status, 200);
  EXPECT_EQ(send("GET", proof, "", viewer).status, 403);

  const ledger::SigningKey key = ledger::SigningKey::derive(Secret(std::string(32, 'k'))).value();
  ledger::Sequencer sequencer(*ledger_, clock_, rng_, key, store_.registry,
                              [](db::Transaction&) { return Result<void>(); }, {}, {});
  while (sequencer.pass().value() > 0) {
  }
  ASSERT_TRUE(sequencer.checkpoint());
  EXPECT_TRUE(send("GET", "/api/v1/audit/export", "", manager).body.contains("{\"details\":"));
  const auto bare = send("GET", "/api/v1/audit/export", "", viewer);
  EXPECT_EQ(bare.status, 200);
  EXPECT_TRUE(bare.body.contains("{\"end\":"));
  EXPECT_FALSE(bare.body.contains("{\"details\":"));
  EXPECT_EQ(send("GET", "/api/v1/audit/export?details=true", "", viewer).status, 403);
  EXPECT_FALSE(parse(send("GET", "/api/v1/audit/1", "", manager).body).at("details").is_null());
  EXPECT_TRUE(parse(send("GET", "/api/v1/audit/1", "", viewer).body).at("details").is_null());
}

TEST_F(AuthorisationTest, ATokenIsShownOnceAndEndsAtOnce) {
  const Headers owner = person(access::Role::kOwner);
  const auto made = parse(send("POST", "/api/v1/tokens", R"({"name":"x","scopes":["read"]})", owner).body);
  const std::string text(made.at("token").as_string());
  const Headers bearer = {{"Authorization", "Bearer " + text}};
  EXPECT_EQ(send("GET", "/api/v1/workspace", "", bearer).status, 200);
  EXPECT_FALSE(send("GET", "/api/v1/tokens", "", owner).body.contains(text));
  EXPECT_EQ(send("DELETE", "/api/v1/tokens/" + std::string(made.at("id").as_string()), "", owner).status, 200);
  EXPECT_EQ(send("GET", "/api/v1/workspace", "", bearer).status, 401);
}

TEST_F(AuthorisationTest, SigningInGivesACookieAndSaysWhatMayBeDone) {
  const Headers owner = person(access::Role::kManager);
  const auto wrong = send("POST", "/api/v1/session", R"({"email":"p1@acme.example","password":"wrong"})", {});
  EXPECT_EQ(wrong.status, 401);
  EXPECT_FALSE(wrong.headers.has("Set-Cookie"));
  const auto right = send("POST", "/api/v1/session",
                          R"({"email":"p1@acme.example","password":")" + std::string(kPassword) + "\"}", {});
  ASSERT_EQ(right.status, 200) << right.body;
  const std::string cookie(right.headers.get("Set-Cookie"));
  const auto session = parse(send("GET", "/api/v1/session", "", {{"Cookie", cookie.substr(0, cookie.find(';'))}}).body);
  EXPECT_EQ(session.at("role").as_string(), "manager");
  EXPECT_EQ(session.at("can").at("resume").as_bool(), true);
  EXPECT_EQ(session.at("can").at("manage_people").as_string(), "admins can manage people");
  EXPECT_EQ(session.at("csrf_token").as_string(), parse(right.body).at("csrf_token").as_string());
}

}  // namespace
}  // namespace fettle::api
