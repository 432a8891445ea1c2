#include "engine/host/service.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/sha.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "core/ids.h"
#include "engine/host/fake_engine.h"
#include "engine/host/gzip.h"
#include "http/client.h"

namespace fettle::engine_host {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

std::string sha256_hex(std::string_view text) {
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest);
  return to_hex({reinterpret_cast<const char*>(digest), sizeof digest});
}

class ServiceTest : public ::testing::Test {
 protected:
  explicit ServiceTest(ServiceOptions options = {.read_threads = 2}) {
    std::string scratch = (std::filesystem::temp_directory_path() / "fettle-host-XXXXXX").string();
    EXPECT_NE(mkdtemp(scratch.data()), nullptr);
    scratch_ = scratch;
    write_tokens(fmt::format(R"([{{"sha256":"{}","workspace":"acme"}}])", sha256_hex("reader")));
    tokens_ = std::make_unique<Tokens>((scratch_ / "tokens.json").string());
    service_ = std::make_unique<Service>(engine_, options, tokens_.get(), clock_, metrics_);
    server_ = std::make_unique<http::Server>(http::ServerOptions{}, metrics_);
    const std::string socket = "unix:" + (scratch_ / "e.sock").string();
    EXPECT_TRUE(server_->listen(socket, service_->gate(Listener::kUnix), service_->handler(Listener::kUnix)));
    auto tcp = server_->listen("127.0.0.1:0", service_->gate(Listener::kTcp), service_->handler(Listener::kTcp));
    EXPECT_TRUE(tcp);
    server_->start();
    unix_ = std::make_unique<http::Client>(socket, http::ClientOptions{});
    tcp_ = std::make_unique<http::Client>("http://" + *tcp, http::ClientOptions{});
  }
  ~ServiceTest() override {
    engine_.release_all();
    server_->stop(milliseconds(100));
    service_->stop();
    std::filesystem::remove_all(scratch_);
  }

  void write_tokens(std::string_view text) { std::ofstream(scratch_ / "tokens.json") << text; }

  http::Response send(http::Client& client, http::ClientRequest request) {
    auto answer = client.send(request);
    if (!answer) return {.status = 0, .headers = {}, .body = answer.error().message()};
    return std::move(*answer);
  }
  http::Response post(std::string_view sql, const std::string& query = "") {
    return send(*unix_, {.method = "POST", .target = "/?" + query, .body = {sql}});
  }
  http::Response as(const std::string& token, std::string_view sql, const std::string& query = "") {
    http::Headers headers;
    headers.add("X-ClickHouse-Key", token);
    return send(*tcp_, {.method = "POST", .target = "/?" + query, .headers = headers, .body = {sql}});
  }
  // Statements without their tags.
  std::vector<std::string> told() const {
    std::vector<std::string> out;
    for (const std::string& sql : engine_.statements()) {
      out.push_back(sql.starts_with("/*") ? sql.substr(sql.find("*/") + 3) : sql);
    }
    return out;
  }

  std::filesystem::path scratch_;
  FakeEngine engine_;
  ManualClock clock_{0};
  metrics::Registry metrics_;
  std::unique_ptr<Tokens> tokens_;
  std::unique_ptr<Service> service_;
  std::unique_ptr<http::Server> server_;
  std::unique_ptr<http::Client> unix_;
  std::unique_ptr<http::Client> tcp_;
};

TEST_F(ServiceTest, AnswersPingAndRootWithoutTheEngine) {
  EXPECT_EQ(send(*unix_, {.target = "/ping"}).body, "Ok.\n");
  EXPECT_EQ(send(*unix_, {.target = "/"}).body, "Ok.\n");
  EXPECT_EQ(send(*tcp_, {.target = "/ping"}).body, "Ok.\n");
  EXPECT_EQ(send(*unix_, {.target = "/nowhere"}).status, 404);
  EXPECT_EQ(engine_.connects(), 0);
}

TEST_F(ServiceTest, QueryComesFromTheUrlTheBodyOrBoth) {
  engine_.script("SELECT 1", {.pieces = {"1\n"}});
  EXPECT_EQ(post("SELECT 1").body, "1\n");
  EXPECT_EQ(send(*unix_, {.target = "/?query=SELECT%201"}).body, "1\n");
  EXPECT_EQ(post("1", "query=SELECT").status, 200);
  EXPECT_EQ(told().back(), "SELECT\n1");
}

TEST_F(ServiceTest, GetMayOnlyRead) {
  EXPECT_EQ(send(*unix_, {.target = "/?query=DROP%20TABLE%20t"}).status, 403);
  EXPECT_TRUE(engine_.statements().empty());
}

TEST_F(ServiceTest, HeadTellsIdFormatAndSummary) {
  engine_.script("SELECT", {.pieces = {"{}\n"}});
  const auto answer = post("SELECT 1", "query_id=q-7&default_format=JSONEachRow");
  EXPECT_EQ(answer.headers.get("X-ClickHouse-Query-Id"), "q-7");
  EXPECT_EQ(answer.headers.get("X-ClickHouse-Format"), "JSONEachRow");
  EXPECT_EQ(answer.headers.get("Content-Type"), "application/x-ndjson; charset=UTF-8");
  EXPECT_THAT(answer.headers.get("X-ClickHouse-Summary"), HasSubstr(R"("read_rows":"1")"));
  EXPECT_THAT(engine_.statements().back(), StartsWith("/*q-7 #"));
}

TEST_F(ServiceTest, QueryIdCannotEndItsComment) {
  post("SELECT 1", "query_id=" + http::percent_encode("x*/ DROP TABLE t --"));
  EXPECT_THAT(engine_.statements().back(), StartsWith("/*x___DROP_TABLE_t_-- #"));
}

TEST_F(ServiceTest, SettingsAreSetOnceAndReadonlyComesLast) {
  post("SELECT 1", "log_comment=acme&max_threads=3&max_execution_time=9&database=d&readonly=1");
  EXPECT_THAT(told(), ElementsAre("USE `d`", "SET log_comment = 'acme', max_execution_time = '9', max_threads = '3'",
                                  "SET readonly = 1", "SELECT 1"));
}

TEST_F(ServiceTest, SessionServesOnlyTheSameSettingsAgain) {
  post("SELECT 1", "log_comment=acme");
  post("SELECT 2", "log_comment=acme");
  EXPECT_EQ(engine_.connects(), 1);
  post("SELECT 3", "log_comment=zeta");
  EXPECT_EQ(engine_.connects(), 2);
}

TEST_F(ServiceTest, ReadOnlySessionIsClosedAfterUse) {
  post("SELECT 1", "readonly=1");
  post("SELECT 1", "readonly=1");
  EXPECT_EQ(engine_.connects(), 2);
}

TEST_F(ServiceTest, FailedSessionIsClosedSoThatItsOutputReachesNobody) {
  engine_.script("SELECT secret", {.pieces = {"secret"}, .fails_with = 395});
  engine_.script("SELECT 1", {.pieces = {"1\n"}});
  for (const char* query : {"", "default_format=JSON"}) {  // as a stream and as a whole
    EXPECT_EQ(post("SELECT secret", query).status, 500);
    EXPECT_EQ(post("SELECT 1", query).body, "1\n");
  }
}

TEST_F(ServiceTest, SessionThatAStatementChangedIsClosed) {
  post("SET max_threads = 1");
  post("CREATE TABLE t (a UInt8) ENGINE = Memory");
  EXPECT_EQ(engine_.connects(), 2);
}

TEST_F(ServiceTest, ErrorsCarryTheirCodeAndStatus) {
  engine_.script("SELECT a", {.fails_with = 60});
  engine_.script("SELECT b", {.fails_with = 241});
  engine_.script("SELECT c", {.fails_with = 159});
  EXPECT_EQ(post("SELECT a").status, 404);
  EXPECT_EQ(post("SELECT b").status, 500);
  EXPECT_EQ(post("SELECT c").status, 408);
  const auto answer = post("SELECT 1; SELECT 2");
  EXPECT_EQ(answer.status, 400);
  EXPECT_EQ(answer.headers.get("X-ClickHouse-Exception-Code"), "62");
  EXPECT_THAT(answer.body, StartsWith("Code: 62. DB::Exception: "));
}

TEST_F(ServiceTest, LargeResultIsStreamedAndAnErrorInItCutsTheConnection) {
  const std::string piece(700'000, 'x');
  engine_.script("SELECT good", {.pieces = {piece, piece, piece}});
  engine_.script("SELECT bad", {.pieces = {piece, piece, piece}, .fails_with = 395});
  EXPECT_EQ(post("SELECT good").body.size(), 2'100'000u);
  EXPECT_EQ(post("SELECT bad").status, 0);
}

TEST_F(ServiceTest, HeaderOfEachPieceIsSentOnce) {
  engine_.script("SELECT", {.pieces = {"\"a\nb\"\n1\n", "\"a\nb\"\n2\n"}});
  EXPECT_EQ(post("SELECT 1 FORMAT CSVWithNames").body, "\"a\nb\"\n1\n2\n");
}

TEST_F(ServiceTest, InsertDataTravelsByFileWithATokenOfItsOwn) {
  send(*unix_, {.method = "POST",
                .target = "/?query=INSERT%20INTO%20t%20FORMAT%20Native&insert_deduplication_token=k-1",
                .body = {"a;b"}});
  EXPECT_THAT(told().back(), StartsWith("INSERT INTO t  FROM INFILE '/proc/self/fd/"));
  EXPECT_THAT(told().back(), HasSubstr("SETTINGS insert_deduplication_token = 'k-1' FORMAT Native"));
  post("INSERT INTO t VALUES (1)");
  post("INSERT INTO t VALUES (1)");
  EXPECT_NE(told()[told().size() - 1].substr(60), told()[told().size() - 2].substr(60))
      << "equal batches need different tokens";
  EXPECT_EQ(engine_.connects(), 1) << "a token must not cost a session";
}

TEST_F(ServiceTest, StatementIsKilledWhenItsClientLeaves) {
  engine_.script("SELECT slow", {.hangs = true});
  std::stop_source stop;
  std::jthread client([&] {
    EXPECT_FALSE(unix_->send({.method = "POST", .target = "/", .body = {"SELECT slow"}, .stop = stop.get_token()}));
  });
  engine_.await_running(1);
  stop.request_stop();
  engine_.await_idle();
  EXPECT_THAT(metrics_.prometheus_text(), HasSubstr("fettle_engine_killed_total{reason=\"client_left\"} 1"));
}

TEST_F(ServiceTest, StatementIsKilledPastItsTime) {
  engine_.script("SELECT slow", {.hangs = true});
  http::Response answer;
  std::jthread client([&] { answer = post("SELECT slow", "max_execution_time=3"); });
  engine_.await_running(1);
  clock_.await_waiters(1);
  clock_.advance(seconds(3));
  EXPECT_EQ(engine_.running(), 1) << "the engine itself has the first word";
  clock_.advance(seconds(3));
  client.join();
  EXPECT_EQ(answer.status, 408);
  EXPECT_EQ(answer.headers.get("X-ClickHouse-Exception-Code"), "159");
}

TEST_F(ServiceTest, StatementThatSurvivesItsKillMakesTheEngineUnwell) {
  engine_.script("SELECT slow", {.hangs = true});
  engine_.script("SELECT 1", {.pieces = {"1\n"}});
  engine_.ignore_kills();
  std::jthread client([&] { post("SELECT slow", "max_execution_time=1"); });
  engine_.await_running(1);
  EXPECT_EQ(send(*unix_, {.target = "/health"}).status, 200);
  clock_.await_waiters(1);
  clock_.advance(seconds(4));
  engine_.await_statement("KILL QUERY");
  clock_.advance(seconds(11));
  EXPECT_EQ(send(*unix_, {.target = "/health"}).status, 503);
  engine_.release_all();
}

TEST_F(ServiceTest, InsertsRunWhileAllReadersAreBusy) {
  engine_.script("SELECT slow", {.hangs = true});
  std::vector<std::jthread> readers;
  for (int i = 0; i < 2; ++i) readers.emplace_back([&] { post("SELECT slow"); });
  engine_.await_running(2);
  EXPECT_EQ(post("INSERT INTO t VALUES (1)").status, 200);
  EXPECT_EQ(post("CREATE TABLE t (a UInt8) ENGINE = Memory").status, 200);
  engine_.release_all();
}

TEST_F(ServiceTest, TheServerReadsWhileCallersOverTcpAreMany) {
  engine_.script("SELECT slow", {.hangs = true});
  std::vector<std::jthread> callers;
  for (int i = 0; i < 4; ++i) callers.emplace_back([&] { as("reader", "SELECT slow"); });
  engine_.await_running(1);
  EXPECT_EQ(post("SELECT 1").status, 200);
  EXPECT_EQ(engine_.running(), 1);
  engine_.release_all();
}

class CrowdedTest : public ServiceTest {
 protected:
  CrowdedTest() : ServiceTest({.read_threads = 1, .reads_waiting_max = 0, .bodies_bytes_max = 1'000}) {}
};

TEST_F(CrowdedTest, OneTooManyIsToldWhenToComeBack) {
  const auto answer = post("SELECT 1");
  EXPECT_EQ(answer.status, 503);
  EXPECT_EQ(answer.headers.get("Retry-After"), "1");
  EXPECT_EQ(answer.headers.get("X-ClickHouse-Exception-Code"), "202");
}

TEST_F(CrowdedTest, BodiesAtHandAreBoundedTogether) {
  const std::string rows(2'000, 'x');
  EXPECT_EQ(
      send(*unix_, {.method = "POST", .target = "/?query=INSERT%20INTO%20t%20FORMAT%20CSV", .body = {rows}}).status,
      503);
  EXPECT_EQ(post("INSERT INTO t VALUES (1)").status, 200) << "a refused body must not stay counted";
}

TEST_F(ServiceTest, TcpNeedsAToken) {
  EXPECT_EQ(send(*tcp_, {.method = "POST", .target = "/", .body = {"SELECT 1"}}).status, 401);
  EXPECT_EQ(as("wrong", "SELECT 1").headers.get("X-ClickHouse-Exception-Code"), "516");
  EXPECT_EQ(send(*tcp_, {.target = "/metrics"}).status, 401);
  EXPECT_EQ(as("reader", "SELECT 1").status, 200);
  http::Headers bearer;
  bearer.add("Authorization", "Bearer reader");
  EXPECT_EQ(send(*tcp_, {.method = "POST", .target = "/", .headers = bearer, .body = {"SELECT 1"}}).status, 200);
  http::Headers basic;
  basic.add("Authorization", "Basic YW55Om5lOnJlYWRlcg==");  // any:ne:reader
  EXPECT_EQ(send(*tcp_, {.method = "POST", .target = "/", .headers = basic, .body = {"SELECT 1"}}).status, 401);
  basic.set("Authorization", "Basic YW55OnJlYWRlcg==");  // any:reader
  EXPECT_EQ(send(*tcp_, {.method = "POST", .target = "/", .headers = basic, .body = {"SELECT 1"}}).status, 200);
  EXPECT_EQ(send(*tcp_, {.target = "/?query=SELECT+1&password=reader"}).status, 200);
}

TEST_F(ServiceTest, WorkspaceOfATcpCallerComesFromTheTokenAlone) {
  as("reader", "SELECT 1", "log_comment=*");
  EXPECT_THAT(told(), Contains(HasSubstr("log_comment = 'acme'")));
  EXPECT_THAT(told(), Each(Not(HasSubstr("log_comment = '*'"))));
}

TEST_F(ServiceTest, ReaderOverTcpIsReadOnlyWithinLimits) {
  EXPECT_EQ(as("reader", "SELECT 1", "readonly=0&max_execution_time=9999&max_threads=64").status, 200);
  EXPECT_THAT(
      told(),
      ElementsAre(
          "SET log_comment = 'acme', max_execution_time = '60', max_memory_usage = '200000000', max_threads = '1', "
          "output_format_native_write_json_as_string = '1'",
          "SET readonly = 1", "SELECT 1"));
  const std::size_t before = engine_.statements().size();
  for (const char* sql : {"INSERT INTO t VALUES (1)", "DROP TABLE t", "SET log_comment = '*'", "SYSTEM SHUTDOWN",
                          "SELECT * FROM merge('fettle', 't')", "SELECT * FROM `mergeTreeIndex`('fettle', 't')"}) {
    EXPECT_EQ(as("reader", sql).status, 403) << sql;
  }
  // What tells of the host, of columns as they are stored, or holds a thread.
  for (const char* sql :
       {"SELECT * FROM system.models", "SELECT * FROM `system`.disks", "SELECT 1 IN system . server_settings",
        "DESCRIBE system.models", "SELECT * FROM {t:Identifier}", "EXPLAIN ESTIMATE SELECT * FROM logs",
        "SELECT * FROM (EXPLAIN indexes = 1 SELECT * FROM logs)", "SELECT distinctJSONPathsIf(attrs, 1) FROM logs",
        "SELECT attrs APPLY(distinctJSONPaths) FROM logs", "SELECT sleepEachRow(3) FROM logs",
        "SELECT lowCardinalityKeys(name) FROM spans", "SELECT getServerSetting('path')"}) {
    EXPECT_EQ(as("reader", sql).status, 403) << sql;
  }
  EXPECT_EQ(as("reader", "SELECT * FROM models", "database=system").status, 403);
  EXPECT_EQ(as("reader", "SELECT 1", "additional_table_filters=x").status, 403);
  EXPECT_EQ(as("reader", "SELECT 1", "max_memory_usage=1000000000000").status, 403);
  EXPECT_EQ(engine_.statements().size(), before);
}

TEST_F(ServiceTest, NoTokenOverTcpMayWrite) {
  write_tokens(fmt::format(R"([{{"sha256":"{}","workspace":"acme","admin":true}}])", sha256_hex("admin")));
  for (const char* sql :
       {"INSERT INTO t VALUES (1)", "INSERT INTO t SELECT 1", "DROP TABLE t", "ALTER TABLE t DELETE WHERE 1",
        "SET max_threads = 9", "SELECT 1 SETTINGS `log\\x5fcomment` = '*'"}) {
    EXPECT_NE(as("admin", sql, "session_id=s").status, 200) << sql;
  }
  EXPECT_TRUE(engine_.statements().empty());
  EXPECT_EQ(as("admin", "SELECT 1").status, 200);
  EXPECT_THAT(told(), Contains("SET readonly = 1"));
}

TEST_F(ServiceTest, AServerOverTcpNamesTheWorkspaceItselfAndMayWrite) {
  write_tokens(fmt::format(R"([{{"sha256":"{}","server":true}}])", sha256_hex("server")));
  EXPECT_EQ(as("server", "SELECT getSetting('log_comment')", "log_comment=globex").status, 200);
  EXPECT_THAT(told(), testing::Contains(HasSubstr("log_comment = 'globex'")));
  EXPECT_EQ(as("server", "INSERT INTO t VALUES (1)").status, 200);
}

TEST_F(ServiceTest, AnEntryIsEitherForAWorkspaceOrForAServer) {
  for (const char* entry :
       {R"("workspace":"acme","server":true)", R"("server":false)", R"("server":"yes")", R"("admin":true)"}) {
    write_tokens(fmt::format(R"([{{"sha256":"{}",{}}}])", sha256_hex("new"), entry));
    EXPECT_EQ(as("new", "SELECT 1").status, 401) << entry;
  }
}

TEST_F(ServiceTest, TokensAreReadAgainWhenTheFileChanges) {
  EXPECT_EQ(as("late", "SELECT 1").status, 401);
  write_tokens(fmt::format(R"([{{"sha256":"{}","workspace":"zeta"}}])", sha256_hex("late")));
  EXPECT_EQ(as("late", "SELECT 1").status, 200);
  EXPECT_EQ(as("reader", "SELECT 1").status, 401);
  write_tokens("not what it should be");
  EXPECT_EQ(as("late", "SELECT 1").status, 200) << "a broken file must not lock everybody out";
  std::filesystem::remove(scratch_ / "tokens.json");
  EXPECT_EQ(as("late", "SELECT 1").status, 401) << "a file taken away takes its tokens away";
}

TEST_F(ServiceTest, TokenForEveryWorkspaceIsNotAccepted) {
  write_tokens(fmt::format(R"([{{"sha256":"{}","workspace":"*"}}])", sha256_hex("all")));
  EXPECT_FALSE(tokens_->load());
  EXPECT_EQ(as("all", "SELECT 1").status, 401);
}

TEST_F(ServiceTest, GzipIsSpokenBothWays) {
  const std::string result(100'000, 'x');
  engine_.script("SELECT", {.pieces = {result}});
  Gzip gzip;
  std::string packed = gzip.add("SELECT 1");
  packed += gzip.finish();
  http::Headers headers;
  headers.add("Content-Encoding", "gzip");
  headers.add("Accept-Encoding", "gzip");
  const auto answer =
      send(*unix_, {.method = "POST", .target = "/?enable_http_compression=1", .headers = headers, .body = {packed}});
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.headers.get("Content-Encoding"), "gzip");
  EXPECT_LT(answer.body.size(), 2'000u);
  EXPECT_EQ(*gunzip(answer.body, result.size()), result);
  EXPECT_EQ(gunzip(answer.body, result.size() - 1).error().code(), ErrorCode::kTooLarge);
  EXPECT_EQ(gunzip(answer.body.substr(0, 50), result.size()).error().code(), ErrorCode::kInvalidArgument);
}

TEST_F(ServiceTest, NamedSessionKeepsItsStateAndServesOneStatementAtATime) {
  engine_.script("SELECT slow", {.hangs = true});
  post("CREATE TEMPORARY TABLE t (a UInt8)", "session_id=s");
  post("SELECT 1", "session_id=s&max_threads=1");
  EXPECT_EQ(engine_.connects(), 1);
  std::jthread client([&] { post("SELECT slow", "session_id=s"); });
  engine_.await_running(1);
  EXPECT_EQ(post("SELECT 1", "session_id=s").headers.get("X-ClickHouse-Exception-Code"), "373");
  engine_.release_all();
  client.join();
  clock_.advance(seconds(61));
  post("SELECT 1", "session_id=s");
  EXPECT_EQ(engine_.connects(), 2);
}

TEST_F(ServiceTest, StopEndsWhatRuns) {
  engine_.script("SELECT slow", {.hangs = true});
  std::jthread client([&] { post("SELECT slow", "max_execution_time=0"); });
  engine_.await_running(1);
  server_->stop(milliseconds(0));
  service_->stop();
  EXPECT_EQ(engine_.running(), 0);
  EXPECT_EQ(engine_.open_sessions(), 0);
}

}  // namespace
}  // namespace fettle::engine_host
