// Two workspaces on one server: what one sends, the other cannot reach by any way.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "e2e/server_process.h"

namespace fettle::e2e {
namespace {

using testing::HasSubstr;
using testing::Not;

const ServerProcess::HeaderList kAcme = {{"Authorization", "Bearer acme-token"}};
const ServerProcess::HeaderList kGlobex = {{"Authorization", "Bearer globex-token"}};
const ServerProcess::HeaderList kSender = {{"Authorization", "Bearer sender-token"}};

constexpr const char* kConfig = R"(
tokens:
  - {token: acme-token, workspace: acme, scopes: [ingest, read]}
  - {token: globex-token, workspace: globex, scopes: [ingest, read]}
  - {token: sender-token, workspace: acme, scopes: [ingest]}
)";

std::string span_of(const std::string& run) {
  const auto now =
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch());
  return R"({"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"acme-web"}}]},
    "scopeSpans":[{"spans":[{"traceId":"11111111111111111111111111111111","spanId":"2222222222222222","name":"acme-secret-work",
    "startTimeUnixNano":")" +
         std::to_string(now.count()) + R"(","endTimeUnixNano":")" + std::to_string(now.count() + 1) +
         R"(","attributes":[{"key":"run_id","value":{"stringValue":")" + run + R"("}}]}]}]}]})";
}

TEST(Isolation, AnotherWorkspacesDataIsReachableByNoEndpoint) {
  const auto server = ServerProcess::start({.dev = false, .config = kConfig});
  ASSERT_NE(server, nullptr);
  ASSERT_EQ(server->post_otlp("/v1/traces", "application/json", span_of("acme-run"), kSender).status, 200);
  ASSERT_EQ(server
                ->post("/api/v1/ingest/logs?service=acme-web", "application/x-ndjson",
                       "{\"msg\":\"acme-secret-line\",\"run_id\":\"acme-run\"}\n", kAcme)
                .status,
            200);
  ASSERT_TRUE(eventually([&] {
    return server->get("/api/v1/traces/11111111111111111111111111111111", kAcme).status == 200 &&
           server->get("/api/v1/logs", kAcme).body.find("acme-secret-line") != std::string::npos;
  })) << server->log();

  for (const char* target : {"/api/v1/traces/11111111111111111111111111111111",
                             "/api/v1/traces/11111111111111111111111111111111/outline", "/api/v1/journeys/acme-run"}) {
    EXPECT_EQ(server->get(target, kAcme).status, 200) << target;
    EXPECT_EQ(server->get(target, kGlobex).status, 404) << target;
  }
  for (const char* target :
       {"/api/v1/spans", "/api/v1/spans?run_id=acme-run", "/api/v1/logs", "/api/v1/logs?q=secret",
        "/api/v1/resolve?id=acme-run", "/api/v1/ingest/balance", "/api/v1/ingest/status", "/api/v1/logs/histogram"}) {
    const auto answer = server->get(target, kGlobex);
    EXPECT_EQ(answer.status, 200) << target;
    EXPECT_THAT(answer.body, Not(HasSubstr("acme-secret"))) << target;
    EXPECT_THAT(answer.body, Not(HasSubstr("acme-web"))) << target;
  }
  EXPECT_THAT(server->get("/api/v1/resolve?id=acme-run", kGlobex).body, HasSubstr(R"("kinds":[])"));
  EXPECT_THAT(server->get("/api/v1/logs/histogram", kGlobex).body, HasSubstr(R"("total":0)"));

  for (const char* query : {"SELECT name FROM spans", "SELECT body FROM logs", "SELECT * FROM fettle.spans",
                            "SELECT name FROM spans WHERE workspace = 'acme'", "SELECT * FROM merge('fettle', '.*')",
                            "SELECT name FROM spans SETTINGS log_comment = 'acme'",
                            "SELECT (SELECT groupArray(name) FROM spans)", "SELECT * FROM system.processes"}) {
    const auto answer =
        server->post("/api/v1/sql", "application/json", std::string(R"({"query":")") + query + "\"}", kGlobex);
    EXPECT_THAT(answer.body, Not(HasSubstr("acme-secret"))) << query;
  }
}

TEST(Isolation, ATokenDoesOnlyWhatItsScopesSay) {
  const auto server = ServerProcess::start({.dev = false, .config = kConfig});
  ASSERT_NE(server, nullptr);
  EXPECT_EQ(server->get("/api/v1/spans", kSender).status, 403);
  EXPECT_THAT(server->get("/api/v1/me", kSender).body, HasSubstr(R"("workspace":"acme")"));
  EXPECT_THAT(server->get("/api/v1/me", kSender).body, HasSubstr(R"("scopes":["ingest"])"));
  EXPECT_EQ(server->get("/api/v1/me").status, 401);
  EXPECT_EQ(server->get("/api/v1/spans").status, 401);
  EXPECT_EQ(server->get("/metrics").status, 401);
  EXPECT_EQ(server->post_otlp("/v1/traces", "application/json", "{}").status, 401);
  EXPECT_EQ(server->get("/health").body, R"({"status":"healthy"})");
  EXPECT_THAT(server->get("/health", kAcme).body, HasSubstr(R"("store")"));
}

}  // namespace
}  // namespace fettle::e2e
