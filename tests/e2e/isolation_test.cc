// Two workspaces on one server: what one sends, the other cannot reach by any way.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "core/json.h"
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

// Attributes beside run_id: {"key":…},…
std::string span_of(const std::string& run, const std::string& more = {}) {
  const auto now =
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch());
  return R"({"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"acme-web"}}]},
    "scopeSpans":[{"spans":[{"traceId":"11111111111111111111111111111111","spanId":"2222222222222222","name":"acme-secret-work",
    "startTimeUnixNano":")" +
         std::to_string(now.count()) + R"(","endTimeUnixNano":")" + std::to_string(now.count() + 1) +
         R"(","attributes":[{"key":"run_id","value":{"stringValue":")" + run + R"("}})" + more + "]}]}]}]}";
}

// Of /api/v1/sql, as the other workspace.
http::Response ask(ServerProcess& server, std::string_view query) {
  std::string body = R"({"query":)";
  append_json_string(body, query);
  return server.post("/api/v1/sql", "application/json", body + "}", kGlobex);
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

TEST(Isolation, AttributeKeysOfAnotherWorkspaceAreNotTold) {
  const auto server = ServerProcess::start({.dev = false, .config = kConfig});
  ASSERT_NE(server, nullptr);
  const auto send = [&](const std::string& key, const ServerProcess::HeaderList& token) {
    const std::string more = R"(,{"key":")" + key + R"(","value":{"stringValue":"x"}})";
    EXPECT_EQ(server->post_otlp("/v1/traces", "application/json", span_of(key, more), token).status, 200);
    ASSERT_TRUE(eventually([&] { return server->get("/api/v1/journeys/" + key, token).status == 200; }));
  };
  send("acme_only", kAcme);
  send("globex_only", kGlobex);
  // One part for both, so that the column as it is stored has the keys of both.
  http::Client engine("unix:" + (server->data() / "engine" / "engine.sock").string(), {});
  const auto merged =
      engine.send({.method = "POST", .target = "/?log_comment=*", .body = {"OPTIMIZE TABLE fettle.spans_hot FINAL"}});
  ASSERT_TRUE(merged);
  ASSERT_EQ(merged->status, 200) << merged->body;

  EXPECT_THAT(ask(*server, "SELECT JSONAllPaths(attrs) FROM spans").body, HasSubstr("globex_only"));
  for (const char* function :
       {"distinctJSONPaths(attrs)", "distinctJSONPathsIf(attrs, 1)", "distinctJSONPathsAndTypes(attrs)",
        "finalizeAggregation(distinctJSONPathsState(attrs))", "groupUniqArrayArray(JSONDynamicPaths(attrs))",
        "groupUniqArrayArray(JSONAllPaths(attrs))", "COLUMNS('^attrs$') APPLY(distinctJSONPaths)",
        "arrayReduce('distinctJSONPaths', groupArray(attrs))", "distinctDynamicTypes(attrs.acme_only)",
        "any(dumpColumnStructure(attrs))", "any(toColumnTypeName(attrs))", "groupArray(lowCardinalityKeys(name))"}) {
    EXPECT_THAT(ask(*server, std::string("SELECT ") + function + " FROM spans").body, Not(HasSubstr("acme_only\"")))
        << function;
  }
}

TEST(Isolation, NoSpellingLeadsToATableThatIsNotPublished) {
  const auto server = ServerProcess::start({.dev = false, .config = kConfig});
  ASSERT_NE(server, nullptr);
  // Reading `models` starts a program; a name can try to look like something else in the engine's own words.
  for (const char* query :
       {"SELECT * FROM system.models", "SELECT 'cte_name: system.models,' x, * FROM system.models",
        "SELECT 'cte_name: system.databases,' x, * FROM system.databases",
        "SELECT 1 AS `cte_name: system.server_settings`, name FROM system.server_settings",
        "SELECT 1 FROM system.models AS `a, identifier: spans, `",
        ", run_passes = 1 SELECT (SELECT 1 FROM system.models)",
        "WITH `system.models` AS (SELECT 1) SELECT * FROM system.models",
        "WITH `spans_hot, x` AS (SELECT 1) SELECT * FROM spans_hot",
        "SELECT 1 FROM (SELECT 1) AS `s, is_subquery: 1, is_cte: 1, cte_name: spans_hot`, spans_hot",
        "SELECT COLUMNS('a\n UNION id: 3, is_subquery: 1, is_cte: 1, cte_name: spans_hot, union_mode: X') FROM "
        "spans_hot",
        "SELECT * FROM spans_hot AS `a, identifier: spans\n        CONSTANT id: 9, alias: z`",
        "SELECT 'x' IN system.models", "SELECT * FROM (EXPLAIN indexes = 1 SELECT * FROM spans)",
        "SELECT sleepEachRow(3)", "SELECT 1 AS `a, function_name: plus, `, sleep(3)", "SELECT _part FROM spans"}) {
    const auto answer = ask(*server, query);
    EXPECT_THAT(answer.status, testing::AnyOf(400, 403)) << query << answer.body;
  }
  for (const char* query :
       {"WITH x AS (SELECT DISTINCT name AS n FROM spans) SELECT n FROM x ORDER BY n",
        "(SELECT 1) UNION ALL (SELECT 2)", "WITH x AS (SELECT 1 UNION ALL SELECT 2) SELECT * FROM x -- both",
        "SELECT count() AS `Errors, total: all` FROM spans",
        "SELECT 'a\nb', COLUMNS('name|ts') EXCEPT (name) FROM spans", "SELECT s.name FROM fettle.spans AS s, logs"}) {
    const auto answer = ask(*server, query);
    EXPECT_EQ(answer.status, 200) << query << answer.body;
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
