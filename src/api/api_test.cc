// The whole interface over real sockets, with a store and an ingest that a test makes up.
#include "api/api.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <boost/json/parse.hpp>
#include <future>
#include <latch>
#include <set>

#include "api/fake_reader_for_test.h"
#include "api/openapi.h"
#include "http/client.h"
#include "redact/redactor.h"

namespace fettle::api {
namespace {

using boost::json::parse;
using testing::ElementsAre;
using testing::HasSubstr;

class FakeIngest final : public IngestView {
 public:
  std::vector<ingest::BalanceRow> rows;
  IngestStatus now;
  std::vector<ingest::BalanceRow> balance(const WorkspaceId& workspace) const override {
    std::vector<ingest::BalanceRow> own;
    for (const auto& row : rows) {
      if (row.workspace == workspace.value) own.push_back(row);
    }
    return own;
  }
  IngestStatus status(const WorkspaceId&) const override { return now; }
};

access::TokenEntry token(std::string_view text, std::string workspace, std::vector<access::TokenScope> scopes,
                         std::vector<ClientId> clients = {}) {
  return {.sha256 = access::sha256_of(text),
          .name = "",
          .workspace = {std::move(workspace)},
          .clients = std::move(clients),
          .scopes = std::move(scopes)};
}

class ApiTest : public testing::Test {
 protected:
  void start(access::Mode mode = access::Mode::kTokens, Limits limits = {}) {
    limits.query_threads = 2;
    limits.tails.interval = std::chrono::milliseconds(10);
    authenticator_.emplace(&tokens_, mode);
    api_.emplace(Services{.authenticator = *authenticator_,
                          .reader = reader_,
                          .ingest = ingest_,
                          .health = health_,
                          .redactor = *redactor_,
                          .metrics = metrics_,
                          .clock = clock_},
                 limits);
    server_.emplace(http::ServerOptions{.threads = 1}, metrics_);
    auto address = server_->listen("127.0.0.1:0", api_->gate(), api_->handler());
    ASSERT_TRUE(address) << address.error().message();
    server_->start();
    address_ = *address;
    client_.emplace("http://" + address_, http::ClientOptions{});
  }

  void TearDown() override {
    if (api_) api_->stop();
    if (server_) server_->stop(std::chrono::seconds(5));
  }

  http::Response send(std::string method, std::string target, std::string body = "",
                      std::vector<std::pair<std::string, std::string>> headers = {}, std::string bearer = "reader") {
    http::ClientRequest request{.method = std::move(method), .target = std::move(target), .headers = {}, .body = {}};
    if (!bearer.empty()) request.headers.add("Authorization", "Bearer " + bearer);
    if (!body.empty() && headers.empty()) request.headers.add("Content-Type", "application/json");
    for (auto& [name, value] : headers) request.headers.add(std::move(name), std::move(value));
    if (!body.empty()) request.body.push_back(body);
    auto response = client_->send(request);
    EXPECT_TRUE(response) << response.error().message();
    return response ? std::move(*response) : http::Response{.status = 0, .headers = {}, .body = {}};
  }
  http::Response get(std::string target) { return send("GET", std::move(target)); }

  static void expect_problem(const http::Response& response, int status, std::string_view code) {
    EXPECT_EQ(response.status, status) << response.body;
    EXPECT_EQ(response.headers.get("Content-Type"), "application/problem+json");
    boost::json::error_code error;
    const auto document = parse(response.body, error);
    ASSERT_FALSE(error) << response.body;
    EXPECT_EQ(document.at("code").as_string(), code);
    EXPECT_EQ(document.at("status").as_int64(), status);
    EXPECT_EQ(document.at("type").as_string(), "about:blank");
    EXPECT_EQ(document.at("request_id").as_string(), response.headers.get("X-Request-Id"));
  }

  SystemClock clock_;
  metrics::Registry metrics_;
  access::ConfiguredTokens tokens_ =
      access::ConfiguredTokens::make(
          std::vector<access::TokenEntry>{token("reader", "acme", {access::TokenScope::kRead}),
                                          token("sender", "acme", {access::TokenScope::kIngest}),
                                          token("other", "globex", {access::TokenScope::kAdmin}),
                                          token("limited", "acme", {access::TokenScope::kRead}, {ClientId{"c1"}})})
          .value();
  // Compiled once: it takes a third of a second without optimisation.
  static inline const std::shared_ptr<const redact::Redactor> redactor_ = redact::Redactor::compile().value();
  FakeReader reader_;
  FakeIngest ingest_;
  health::Health health_{clock_, "9.9.9"};
  std::optional<access::Authenticator> authenticator_;
  std::optional<Api> api_;
  std::optional<http::Server> server_;
  std::string address_;
  std::optional<http::Client> client_;
};

TEST_F(ApiTest, ATraceIsItsRowsInOneDocument) {
  start();
  reader_.trace_rows = {R"({"span_id":"1"})", R"({"span_id":"2"})"};
  const auto response = get("/api/v1/traces/abc");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body,
            R"({"trace_id":"abc","spans":[{"span_id":"1"},{"span_id":"2"}],"partial":false,"truncated":null})");
  EXPECT_EQ(response.headers.get("Content-Type"), "application/json");
  EXPECT_EQ(reader_.asked_scope.workspace.value, "acme");
}

TEST_F(ApiTest, ALongTraceIsStreamedWhole) {
  start();
  const std::string row = R"({"pad":")" + std::string(10'000, 'x') + R"("})";
  reader_.trace_rows.assign(500, row);
  reader_.trace_end.cut_by = telemetry::TraceEnd::CutBy::kRows;
  const auto response = get("/api/v1/traces/abc");
  EXPECT_EQ(response.status, 200);
  const auto document = parse(response.body);
  EXPECT_EQ(document.at("spans").as_array().size(), 500U);
  EXPECT_EQ(document.at("truncated").at("reason").as_string(), "spans");
}

TEST_F(ApiTest, ATraceThatBreaksOnTheWayDoesNotLookWhole) {
  start();
  reader_.trace_rows.assign(500, R"({"pad":")" + std::string(10'000, 'x') + R"("})");
  reader_.trace_error = Error(ErrorCode::kUnavailable, "the store went away");
  http::ClientRequest request{.method = "GET", .target = "/api/v1/traces/abc", .headers = {}, .body = {}};
  request.headers.add("Authorization", "Bearer reader");
  EXPECT_FALSE(client_->send(request));
}

TEST_F(ApiTest, AnUnknownTraceIsNotFound) {
  start();
  expect_problem(get("/api/v1/traces/abc-123"), 404, "not_found");
  EXPECT_EQ(reader_.asked_trace, "abc-123");
}

TEST_F(ApiTest, AnOutlineIsPassedOn) {
  start();
  reader_.outline_document = std::string(R"({"trace_id":"abc"})");
  EXPECT_EQ(get("/api/v1/traces/abc/outline").body, R"({"trace_id":"abc"})");
  reader_.outline_document = fail(ErrorCode::kTooLarge, "more than 200000 spans");
  expect_problem(get("/api/v1/traces/abc/outline"), 413, "too_large");
}

TEST_F(ApiTest, APageOfSpansCarriesItsCursor) {
  start();
  reader_.page =
      telemetry::Page{.rows = R"({"a":1},{"a":2})", .count = 2, .next = telemetry::Cursor{"c2"}, .partial = false};
  const auto response = get("/api/v1/spans?service=web&run_id=r1&limit=2&cursor=c1");
  EXPECT_EQ(response.body, R"({"spans":[{"a":1},{"a":2}],"next_cursor":"c2","partial":false})");
  EXPECT_EQ(reader_.asked_page.rows_max, 2U);
  EXPECT_EQ(reader_.asked_page.after->value, "c1");
  EXPECT_THAT(reader_.asked_spans.services, ElementsAre("web"));
  EXPECT_EQ(reader_.asked_spans.identifiers.at(0).kind, "run_id");
}

TEST_F(ApiTest, TheLastPageOfLogsHasNoCursor) {
  start();
  EXPECT_EQ(get("/api/v1/logs?level=error").body, R"({"logs":[],"next_cursor":null,"partial":false})");
  EXPECT_EQ(reader_.asked_logs.level_min, telemetry::Level::kError);
}

TEST_F(ApiTest, AMisspeltParameterIsAnErrorAndNoQuestion) {
  start();
  bool was_asked = false;
  reader_.on_read = [&](const telemetry::ReadOptions&) { was_asked = true; };
  for (const char* target :
       {"/api/v1/spans?servcie=web", "/api/v1/logs?level=warning", "/api/v1/logs?limit=0",
        "/api/v1/logs/histogram?buckets=0", "/api/v1/resolve", "/api/v1/resolve?idd=x",
        "/api/v1/journeys/x?kind=colour", "/api/v1/traces/abc?x=1", "/api/v1/logs/tail?cursor=1"}) {
    expect_problem(get(target), 400, "invalid_argument");
  }
  EXPECT_FALSE(was_asked);
}

TEST_F(ApiTest, AHistogramHasEveryLevelAndATotal) {
  start();
  telemetry::Histogram histogram{
      .from = 0,
      .to = 2 * kNanosPerSecond,
      .bucket = std::chrono::seconds(1),
      .buckets = {{.start = 0, .counts = {1, 2, 3, 4, 5, 6, 7}}, {.start = kNanosPerSecond}}};
  reader_.histogram = histogram;
  EXPECT_EQ(parse(get("/api/v1/logs/histogram?buckets=2").body), parse(R"({
    "from":"1970-01-01T00:00:00.000000000Z","to":"1970-01-01T00:00:02.000000000Z","bucket_ms":1000,"buckets":[
      {"ts":"1970-01-01T00:00:00.000000000Z","unset":1,"trace":2,"debug":3,"info":4,"warn":5,"error":6,"fatal":7},
      {"ts":"1970-01-01T00:00:01.000000000Z","unset":0,"trace":0,"debug":0,"info":0,"warn":0,"error":0,"fatal":0}],
    "total":28,"partial":false})"));
}

TEST_F(ApiTest, AJourneyOfAValueWithASlashIsFound) {
  start();
  reader_.journey_found = telemetry::Journey{
      .kinds = {{.kind = "run_id", .traces = 2, .logs = 3, .events = 1, .first = 0, .last = kNanosPerSecond}},
      .trace_ids = {"t1", "t2"},
      .items = {.rows = R"({"type":"span"},{"type":"log"})", .count = 2, .next = {}, .partial = true}};
  const auto response = get("/api/v1/journeys/a%2Fb%20c?kind=run_id");
  EXPECT_EQ(
      response.body,
      R"({"value":"a/b c","kinds":[{"kind":"run_id","traces":2,"logs":3,"events":1,"first_ts":"1970-01-01T00:00:00.000000000Z",)"
      R"("last_ts":"1970-01-01T00:00:01.000000000Z"}],"trace_ids":["t1","t2"],)"
      R"("items":[{"type":"span"},{"type":"log"}],"next_cursor":null,"partial":true})");
  EXPECT_EQ(reader_.asked_journey.value, "a/b c");
}

TEST_F(ApiTest, AJourneyOfNothingIsNotFoundAndAResolveIsEmpty) {
  start();
  expect_problem(get("/api/v1/journeys/nobody"), 404, "not_found");
  EXPECT_EQ(get("/api/v1/resolve?id=nobody").body, R"({"id":"nobody","kinds":[]})");
}

TEST_F(ApiTest, SqlAnswersColumnsAndRowsAndMayAskForFewer) {
  start();
  reader_.sql_result = telemetry::SqlResult{
      .columns = {{.name = "n", .type = "UInt64"}}, .rows = "[1],[2]", .count = 2, .truncated = true};
  const auto response = send("POST", "/api/v1/sql", R"({"query":"SELECT n FROM spans","max_rows":2})");
  const auto document = parse(response.body);
  EXPECT_EQ(document.at("columns"), parse(R"([{"name":"n","type":"UInt64"}])"));
  EXPECT_EQ(document.at("rows"), parse("[[1],[2]]"));
  EXPECT_TRUE(document.at("truncated").as_bool());
  EXPECT_TRUE(document.at("elapsed_ms").is_number());
  EXPECT_EQ(reader_.asked_sql, "SELECT n FROM spans");
  EXPECT_EQ(reader_.asked_sql_limits.rows_max, 2U);
}

TEST_F(ApiTest, ABadSqlBodyIsRefused) {
  start();
  for (const char* body : {"", "[]", "{}", "{\"query\":1}", "{\"query\":\"x\",\"max_rows\":0}",
                           "{\"query\":\"x\",\"limit\":1}", "{\"query\":"}) {
    const auto response = send("POST", "/api/v1/sql", body, {{"Content-Type", "application/json"}});
    expect_problem(response, 400, "invalid_argument");
  }
}

TEST_F(ApiTest, ATokenLimitedToClientsReadsTheseAndHasNoSql) {
  start();
  send("GET", "/api/v1/spans", "", {}, "limited");
  EXPECT_THAT(reader_.asked_scope.clients, ElementsAre(ClientId{"c1"}));
  expect_problem(send("POST", "/api/v1/sql", R"({"query":"SELECT 1"})", {}, "limited"), 403, "permission_denied");
}

TEST_F(ApiTest, NothingIsShownOrDoneWithoutAFittingToken) {
  start();
  for (const auto& [name, right] : api_->route_rights()) {
    if (right == "none") continue;
    const std::size_t blank = name.find(' ');
    const std::string method = name.substr(0, blank);
    std::string target = name.substr(blank + 1);
    for (std::size_t at = target.find('{'); at != std::string::npos; at = target.find('{')) {
      target.replace(at, target.find('}') - at + 1, "x");
    }
    const std::string body = method == "GET" ? "" : "{}";
    const auto nobody = send(method, target, body, {}, "");
    expect_problem(nobody, 401, "unauthenticated");
    EXPECT_THAT(std::string(nobody.headers.get("WWW-Authenticate")), HasSubstr("Bearer")) << name;
    expect_problem(send(method, target, body, {}, "wrong"), 401, "unauthenticated");
    expect_problem(send(method, target, body, {}, "sender"), 403, "permission_denied");
  }
}

TEST_F(ApiTest, WithoutALedgerWorkIsAnswered503) {
  start();
  expect_problem(send("GET", "/api/v1/runs", "", {}, "other"), 503, "unavailable");
  expect_problem(send("POST", "/api/v1/runs", R"({"workflow":"a"})", {}, "other"), 503, "unavailable");
  expect_problem(send("POST", "/api/v1/work/lease", R"({"runner_id":"w"})", {}, "other"), 503, "unavailable");
}

TEST_F(ApiTest, MeSaysWhoTheTokenIs) {
  start();
  EXPECT_EQ(parse(get("/api/v1/me").body).at("workspace").as_string(), "acme");
  const auto name = parse(get("/api/v1/me").body).at("name");
  EXPECT_EQ(name.as_string().size(), 8U) << "a token without a name goes by its hash: " << name;
  const auto rest = [&](std::string bearer) {
    auto me = parse(send("GET", "/api/v1/me", "", {}, std::move(bearer)).body);
    me.as_object().erase("name");
    return me;
  };
  EXPECT_EQ(rest("sender"), parse(R"({"workspace":"acme","scopes":["ingest"],"clients":null,"development":false})"));
  EXPECT_EQ(rest("limited"), parse(R"({"workspace":"acme","scopes":["read"],"clients":["c1"],"development":false})"));
  EXPECT_EQ(
      rest("other"),
      parse(
          R"({"workspace":"globex","scopes":["ingest","read","work","operate","admin"],"clients":null,"development":false})"));
  for (const char* stranger : {"", "wrong"}) {
    expect_problem(send("GET", "/api/v1/me", "", {}, stranger), 401, "unauthenticated");
  }
  expect_problem(get("/api/v1/me?x=1"), 400, "invalid_argument");
}

TEST_F(ApiTest, MeInDevelopmentIsWhoNeedsNoToken) {
  start(access::Mode::kDevelopment);
  EXPECT_EQ(
      parse(send("GET", "/api/v1/me", "", {}, "").body),
      parse(
          R"({"workspace":"default","name":"development","scopes":["ingest","read","work","operate","admin"],"clients":null,"development":true})"));
}

TEST_F(ApiTest, BalanceShowsTheWorkspacesOwnSendersAndTheirSum) {
  start();
  ingest_.rows = {{.workspace = "acme",
                   .sender = "web",
                   .signal = ingest::Signal::kSpans,
                   .received = 10,
                   .duplicate = 1,
                   .rejected = {{"too_old", 2}},
                   .redacted_away = 0,
                   .stored = 6,
                   .sampled_out = 0,
                   .expired = 0,
                   .pending = 1},
                  {.workspace = "acme",
                   .sender = "web",
                   .signal = ingest::Signal::kLogs,
                   .received = 5,
                   .duplicate = 0,
                   .rejected = {{"too_old", 1}},
                   .redacted_away = 0,
                   .stored = 4,
                   .sampled_out = 0,
                   .expired = 0,
                   .pending = 0},
                  {.workspace = "globex", .sender = "secret", .signal = ingest::Signal::kLogs, .received = 1}};
  const auto response = get("/api/v1/ingest/balance");
  EXPECT_EQ(response.body.find("secret"), std::string::npos);
  const auto document = parse(response.body);
  EXPECT_EQ(document.at("senders").as_array().size(), 2U);
  EXPECT_TRUE(document.at("senders").at(0).at("balanced").as_bool());
  EXPECT_EQ(document.at("totals").at("received").as_int64(), 15);
  EXPECT_EQ(document.at("totals").at("rejected").at("too_old").as_int64(), 3);
}

TEST_F(ApiTest, StatusIsShownAsItIs) {
  start();
  ingest_.now.lag = std::chrono::milliseconds(250);
  ingest_.now.engine_state = "running";
  ingest_.now.skew = {{.sender = "web", .skew = std::chrono::milliseconds(3), .delay = std::chrono::milliseconds(2)}};
  const auto document = parse(get("/api/v1/ingest/status").body);
  EXPECT_EQ(document.at("lag_ms").to_number<double>(), 250);
  EXPECT_TRUE(document.at("readable_watermark_ts").is_null());
  EXPECT_EQ(document.at("engine").at("state").as_string(), "running");
  EXPECT_EQ(document.at("skew").at(0).at("skew_ms").to_number<double>(), 3);
  EXPECT_EQ(document.at("skew").at(0).at("delay_ms").to_number<double>(), 2);
}

TEST_F(ApiTest, APreviewMasksAndNamesTheRules) {
  start();
  const auto builtin = parse(send("POST", "/api/v1/redaction/preview", R"({"text":"mail anna@example.com"})").body);
  EXPECT_EQ(builtin.at("text").as_string(), "mail a***@example.com");
  EXPECT_EQ(builtin.at("findings").as_array().size(), 1U);
  const auto own =
      parse(send("POST", "/api/v1/redaction/preview",
                 R"({"text":"order 1234","rules":[{"name":"order","pattern":"order \\d+","replacement":"order #"}]})")
                .body);
  EXPECT_EQ(own.at("text").as_string(), "order #");
  EXPECT_EQ(own.at("findings").at(0).at("rule").as_string(), "order");
  expect_problem(send("POST", "/api/v1/redaction/preview", R"({"text":"x","rules":[{"name":"bad","pattern":"("}]})"),
                 400, "invalid_argument");
}

TEST_F(ApiTest, APreviewTakesSixteenKibibytesAndNoMore) {
  start();
  const auto of = [&](std::size_t bytes) {
    return send("POST", "/api/v1/redaction/preview", R"({"text":")" + std::string(bytes, 'a') + R"("})");
  };
  EXPECT_EQ(of(16'384).status, 200);
  const http::Response refused = of(16'385);
  expect_problem(refused, 413, "too_large");
  EXPECT_THAT(refused.body, HasSubstr("16384 bytes"));
  expect_problem(
      send("POST", "/api/v1/redaction/preview",
           R"({"text":"a","rules":[{"name":"r","pattern":"a","replacement":")" + std::string(257, 'b') + R"("}]})"),
      400, "invalid_argument");
}

// Each match looks to the end of the text, and there are as many as letters.
std::string slow_preview() {
  std::string body = R"({"text":")" + std::string(16'384, 'a') + R"(","rules":[)";
  for (int i = 0; i < 64; ++i) body += fmt::format(R"({}{{"name":"r{}","pattern":"a(?:.*z)?"}})", i == 0 ? "" : ",", i);
  return body + "]}";
}

TEST_F(ApiTest, APreviewEndsAtItsDeadline) {
  start(access::Mode::kTokens, Limits{.query_time_max = std::chrono::milliseconds(1)});
  expect_problem(send("POST", "/api/v1/redaction/preview", slow_preview()), 504, "deadline_exceeded");
}

TEST_F(ApiTest, OnePreviewRunsAtATime) {
  start();
  auto slow = std::async(std::launch::async, [&] {
    http::Client client("http://" + address_, http::ClientOptions{});
    const std::string body = slow_preview();
    http::ClientRequest request{.method = "POST", .target = "/api/v1/redaction/preview", .headers = {}, .body = {body}};
    request.headers.add("Authorization", "Bearer reader");
    request.headers.add("Content-Type", "application/json");
    // One of the quick ones below may run just then.
    for (;;) {
      auto answer = client.send(request).value();
      if (answer.status != 429) return answer.status;
    }
  });
  bool was_refused = false;
  while (slow.wait_for(std::chrono::seconds(0)) != std::future_status::ready) {
    const http::Response second = send("POST", "/api/v1/redaction/preview", R"({"text":"x"})");
    if (second.status != 429) continue;
    was_refused = true;
    EXPECT_EQ(second.headers.get("Retry-After"), "1");
  }
  EXPECT_TRUE(was_refused);
  // It ran to its end or to its two seconds, as the machine is quick or not.
  EXPECT_THAT(slow.get(), testing::AnyOf(200, 504));
  EXPECT_EQ(send("POST", "/api/v1/redaction/preview", R"({"text":"x"})").status, 200);
}

TEST_F(ApiTest, HealthSaysLittleToStrangersAndAllToTokens) {
  health_.add(
      {.name = "store", .is_critical = true, .run = [](const std::stop_token&) { return health::CheckResult{}; }});
  start();
  EXPECT_EQ(send("GET", "/health", "", {}, "").body, R"({"status":"healthy"})");
  const auto detailed = parse(get("/health").body);
  EXPECT_EQ(detailed.at("version").as_string(), "9.9.9");
  EXPECT_EQ(detailed.at("checks").at("store").at("status").as_string(), "up");
  expect_problem(send("GET", "/health", "", {}, "wrong"), 401, "unauthenticated");
}

TEST_F(ApiTest, ReadyOnlyWhileServing) {
  start();
  health_.set_obstacle("the store is away", "nobody listens");
  EXPECT_EQ(send("GET", "/health/ready", "", {}, "").status, 503);
  EXPECT_EQ(parse(send("GET", "/health/ready", "", {}, "").body).at("message").as_string(), "the store is away");
  EXPECT_EQ(parse(get("/health/ready").body).at("message").as_string(), "the store is away: nobody listens");
  EXPECT_EQ(send("GET", "/health/live", "", {}, "").status, 200);
  health_.set_serving(true);
  EXPECT_EQ(send("GET", "/health/ready", "", {}, "").status, 200);
}

TEST_F(ApiTest, AnUnhealthyServerAnswers503) {
  health_.add({.name = "store", .is_critical = true, .run = [](const std::stop_token&) {
                 return health::CheckResult{.status = health::CheckStatus::kDown, .message = "gone", .fields = {}};
               }});
  start();
  health_.set_serving(true);
  EXPECT_EQ(send("GET", "/health", "", {}, "").status, 503);
  EXPECT_EQ(send("GET", "/health/ready", "", {}, "").status, 200);
  EXPECT_EQ(send("GET", "/health/live", "", {}, "").status, 200);
}

TEST_F(ApiTest, MetricsSpeakTextOrJson) {
  start();
  get("/api/v1/spans");
  const auto text = get("/metrics");
  EXPECT_THAT(std::string(text.headers.get("Content-Type")), HasSubstr("version=0.0.4"));
  EXPECT_THAT(text.body, HasSubstr(R"(fettle_api_requests_total{route="GET /api/v1/spans",status="200"} 1)"));
  const auto json = send("GET", "/metrics", "", {{"Accept", "application/json"}});
  EXPECT_TRUE(parse(json.body).as_object().contains("fettle_api_requests_total"));
}

TEST_F(ApiTest, PathsAndMethodsThatAreNotThereSaySo) {
  start();
  expect_problem(get("/api/v1/nothing"), 404, "not_found");
  const auto response = send("POST", "/api/v1/spans", "{}");
  expect_problem(response, 405, "method_not_allowed");
  EXPECT_EQ(response.headers.get("Allow"), "GET");
  expect_problem(send("POST", "/api/v1/nothing", "{}"), 404, "not_found");
}

TEST_F(ApiTest, ABodyOfAnotherKindOrSizeIsRefused) {
  start();
  expect_problem(send("POST", "/api/v1/sql", "query=1", {{"Content-Type", "application/x-www-form-urlencoded"}}), 415,
                 "unsupported");
  expect_problem(
      send("POST", "/api/v1/sql", "{}", {{"Content-Type", "application/json"}, {"Content-Encoding", "gzip"}}), 415,
      "unsupported");
  EXPECT_EQ(send("POST", "/api/v1/sql", std::string(300'000, ' ')).status, 413);
  // Of no body no kind is asked.
  expect_problem(send("POST", "/api/v1/sql", "", {{"Content-Type", ""}}), 400, "invalid_argument");
}

TEST_F(ApiTest, TheCallersRequestIdIsKeptWhenItIsFitToLog) {
  start();
  EXPECT_EQ(send("GET", "/health/live", "", {{"X-Request-Id", "abc-1.2_3"}}).headers.get("X-Request-Id"), "abc-1.2_3");
  const auto replaced = send("GET", "/health/live", "", {{"X-Request-Id", "a b"}});
  EXPECT_EQ(replaced.headers.get("X-Request-Id").size(), 32U);
}

TEST_F(ApiTest, InDevelopmentNoTokenIsNeededButForeignPagesAreRefused) {
  start(access::Mode::kDevelopment);
  EXPECT_EQ(send("GET", "/api/v1/spans", "", {}, "").status, 200);
  EXPECT_EQ(reader_.asked_scope.workspace.value, "default");
  for (const char* target : {"/api/v1/spans", "/health", "/", "/api/v1/openapi.json", "/nothing"}) {
    expect_problem(send("GET", target, "", {{"Origin", "https://evil.example"}}, ""), 403, "permission_denied");
    expect_problem(send("GET", target, "", {{"Host", "evil.example"}}, ""), 403, "permission_denied");
  }
  expect_problem(send("POST", "/api/v1/sql", "{\"query\":\"SELECT 1\"}", {{"Content-Type", "text/plain"}}, ""), 415,
                 "unsupported");
}

TEST_F(ApiTest, InternalErrorsKeepTheirDetailToTheLog) {
  start();
  reader_.page = fail(ErrorCode::kInternal, "table fettle.spans has no column x");
  const auto response = get("/api/v1/spans");
  expect_problem(response, 500, "internal");
  EXPECT_EQ(response.body.find("column"), std::string::npos);
}

TEST_F(ApiTest, ErrorsOfTheStoreSayWhenToRetry) {
  start();
  reader_.page = std::unexpected(
      Error(ErrorCode::kUnavailable, "the store is starting").with_retry_after(std::chrono::milliseconds(2500)));
  const auto response = get("/api/v1/spans");
  expect_problem(response, 503, "unavailable");
  EXPECT_EQ(response.headers.get("Retry-After"), "3");
}

TEST_F(ApiTest, ReadsPastTheQueueAreRefusedAtOnce) {
  std::latch both_busy(2);
  std::latch leave(1);
  reader_.on_read = [&](const telemetry::ReadOptions&) {
    both_busy.count_down();
    leave.wait();
  };
  Limits limits;
  limits.query_queue_max = 0;
  start(access::Mode::kTokens, limits);
  // With an empty queue allowed nothing can be handed over at all.
  const auto response = get("/api/v1/spans");
  expect_problem(response, 503, "unavailable");
  EXPECT_EQ(response.headers.get("Retry-After"), "1");
  leave.count_down();
}

TEST_F(ApiTest, OneWorkspaceDoesNotShutAnotherOutOfReading) {
  std::latch begun(1);
  std::latch released(1);
  std::atomic<int> slow_running = 0;
  reader_.on_sql = [&](const Scope&, const telemetry::ReadOptions&) {
    if (++slow_running == 1) begun.count_down();
    released.wait();
  };
  Limits limits;
  limits.query_queue_max = 4;
  start(access::Mode::kTokens, limits);
  ASSERT_EQ(get("/api/v1/spans").status, 200);  // two workspaces use the server
  std::vector<std::jthread> hogs;
  std::atomic<int> refused = 0;
  std::latch some_refused(5);
  for (int i = 0; i < 8; ++i) {
    if (i == 1) begun.wait();
    hogs.emplace_back([&] {
      http::Client client("http://" + address_, {});
      http::ClientRequest request{
          .method = "POST", .target = "/api/v1/sql", .headers = {}, .body = {R"({"query":"x"})"}};
      request.headers.add("Authorization", "Bearer other");
      request.headers.add("Content-Type", "application/json");
      const auto answer = client.send(request);
      if (answer && answer->status == 503) {
        ++refused;
        some_refused.count_down();
      }
    });
  }
  some_refused.wait();  // one runs and two wait: half of two threads and of a queue of four
  EXPECT_EQ(get("/api/v1/spans").status, 200);
  EXPECT_EQ(slow_running.load(), 1);
  released.count_down();
  hogs.clear();
  EXPECT_EQ(refused.load(), 5);
}

TEST_F(ApiTest, WhenTheClientLeavesItsReadIsStopped) {
  std::promise<void> begun;
  std::promise<void> stopped;
  std::promise<void> stopped_seen;
  reader_.on_read = [&](const telemetry::ReadOptions& options) {
    begun.set_value();
    const std::stop_callback on_stop(options.stop, [&] { stopped.set_value(); });
    stopped.get_future().wait();
    stopped_seen.set_value();
  };
  start();
  std::stop_source leave;
  http::ClientRequest request{
      .method = "GET", .target = "/api/v1/spans", .headers = {}, .body = {}, .stop = leave.get_token()};
  request.headers.add("Authorization", "Bearer reader");
  std::jthread caller([&] { EXPECT_EQ(client_->send(request).error().code(), ErrorCode::kCancelled); });
  begun.get_future().wait();
  leave.request_stop();
  stopped_seen.get_future().wait();
  api_->stop();  // joins the read that still looks at the promises
}

// Reads events of a tail until `enough` says so, then leaves.
std::string read_tail(http::Client& client, std::string target, const std::function<bool(const std::string&)>& enough,
                      std::string last_id = "") {
  std::string text;
  http::ClientRequest request{.method = "GET", .target = std::move(target), .headers = {}, .body = {}};
  request.headers.add("Authorization", "Bearer reader");
  if (!last_id.empty()) request.headers.add("Last-Event-ID", std::move(last_id));
  (void)client.stream(request, [&](std::string_view piece) {
    text += piece;
    return !enough(text);
  });
  return text;
}

TEST_F(ApiTest, ATailSendsRowsAsEventsAndCountsWhatItDropped) {
  reader_.on_tail = [](const std::optional<telemetry::TailPosition>& after) -> Result<telemetry::Tail> {
    if (!after) return telemetry::Tail{.rows = {}, .position = {"p0"}, .skipped = 0};
    if (after->value == "p0") {
      return telemetry::Tail{
          .rows = {{.position = {"p1"}, .row = R"({"body":"one"})"}}, .position = {"p2"}, .skipped = 7};
    }
    return telemetry::Tail{.rows = {}, .position = *after, .skipped = 0};
  };
  start();
  const std::string text = read_tail(*client_, "/api/v1/logs/tail?level=info",
                                     [](const std::string& seen) { return seen.find("one") != std::string::npos; });
  EXPECT_THAT(text, HasSubstr("id: p0\n"));
  EXPECT_THAT(text, HasSubstr("event: dropped\ndata: {\"count\":7}\n\n"));
  EXPECT_THAT(text, HasSubstr("id: p1\nevent: log\ndata: {\"body\":\"one\"}\n\n"));
  EXPECT_EQ(reader_.asked_logs.level_min, telemetry::Level::kInfo);
}

TEST_F(ApiTest, ATailGoesOnWhereItEnded) {
  std::string asked;
  reader_.on_tail = [&](const std::optional<telemetry::TailPosition>& after) -> Result<telemetry::Tail> {
    if (asked.empty()) asked = after ? after->value : "none";
    return telemetry::Tail{.rows = {{.position = {"p9"}, .row = "{}"}}, .position = {"p9"}, .skipped = 0};
  };
  start();
  read_tail(
      *client_, "/api/v1/logs/tail", [](const std::string& seen) { return seen.find("p9") != std::string::npos; },
      "p5");
  api_->stop();  // joins the tail that still looks at `asked`
  EXPECT_EQ(asked, "p5");
}

TEST_F(ApiTest, ATailOutlivesAStoreThatIsAwayForAMoment) {
  int looks = 0;
  reader_.on_tail = [&](const std::optional<telemetry::TailPosition>&) -> Result<telemetry::Tail> {
    if (++looks == 2) return fail(ErrorCode::kUnavailable, "restarting");
    if (looks < 3) return telemetry::Tail{.rows = {}, .position = {"p"}, .skipped = 0};
    return telemetry::Tail{.rows = {{.position = {"q"}, .row = R"({"body":"back"})"}}, .position = {"q"}, .skipped = 0};
  };
  start();
  read_tail(*client_, "/api/v1/logs/tail",
            [](const std::string& seen) { return seen.find("back") != std::string::npos; });
  api_->stop();  // joins the tail that still counts
  EXPECT_GE(looks, 3);
}

TEST_F(ApiTest, ABadPositionIsAProblemAndNotAStream) {
  reader_.on_tail = [](const std::optional<telemetry::TailPosition>&) -> Result<telemetry::Tail> {
    return fail(ErrorCode::kInvalidArgument, "not a position");
  };
  start();
  expect_problem(send("GET", "/api/v1/logs/tail", "", {{"Last-Event-ID", "junk"}}), 400, "invalid_argument");
}

TEST_F(ApiTest, ATokenLimitedToSomeClientsDoesNotSeeWhatTheServerCountsOfAll) {
  start();
  for (const char* target : {"/metrics", "/api/v1/ingest/balance"}) {
    expect_problem(send("GET", target, "", {}, "limited"), 403, "permission_denied");
    EXPECT_EQ(get(target).status, 200) << target;
  }
}

TEST_F(ApiTest, TailsAreBounded) {
  reader_.on_tail = [](const std::optional<telemetry::TailPosition>&) -> Result<telemetry::Tail> {
    return telemetry::Tail{.rows = {}, .position = {"p"}, .skipped = 0};
  };
  Limits limits;
  limits.tails.tails_max = 0;
  start(access::Mode::kTokens, limits);
  expect_problem(get("/api/v1/logs/tail"), 503, "unavailable");
}

TEST_F(ApiTest, TailsAboveHalfGiveWayToAnotherWorkspace) {
  reader_.on_tail = [](const std::optional<telemetry::TailPosition>&) -> Result<telemetry::Tail> {
    return telemetry::Tail{.rows = {}, .position = {"p"}, .skipped = 0};
  };
  Limits limits;
  limits.tails.tails_max = 2;
  start(access::Mode::kTokens, limits);
  struct Open {
    std::promise<int> answered;  // with this status
    std::promise<void> ended;
    std::stop_source leave;
    std::jthread thread;
  };
  const auto open = [&](std::string bearer) {
    auto made = std::make_unique<Open>();
    made->thread = std::jthread([&, &self = *made, bearer] {
      http::Client client("http://" + address_, {});
      http::ClientRequest request{
          .method = "GET", .target = "/api/v1/logs/tail", .headers = {}, .body = {}, .stop = self.leave.get_token()};
      request.headers.add("Authorization", "Bearer " + bearer);
      bool is_told = false;
      const auto end = client.stream(request, [&](std::string_view) {
        if (!std::exchange(is_told, true)) self.answered.set_value(200);
        return true;
      });
      if (!is_told) self.answered.set_value(end ? end->status : 0);
      self.ended.set_value();
    });
    return made;
  };
  auto first = open("other");
  EXPECT_EQ(first->answered.get_future().get(), 200);
  auto second = open("other");
  EXPECT_EQ(second->answered.get_future().get(), 200) << "alone it may have them all";
  auto newcomer = open("reader");
  EXPECT_EQ(newcomer->answered.get_future().get(), 200);
  first->ended.get_future().wait();
  EXPECT_EQ(open("other")->answered.get_future().get(), 503);
  EXPECT_EQ(open("reader")->answered.get_future().get(), 503);
  second->leave.request_stop();
  newcomer->leave.request_stop();
}

TEST_F(ApiTest, ABrowserGetsThePage) {
  start();
  const auto page = send("GET", "/w/acme/evidence/journey", "", {{"Accept", "text/html"}}, "");
  EXPECT_EQ(page.status, 200);
  EXPECT_EQ(page.headers.get("Content-Type"), "text/html; charset=utf-8");
  expect_problem(send("GET", "/assets/none.js", "", {{"Accept", "*/*"}}, ""), 404, "not_found");
}

TEST_F(ApiTest, AMountedPathHasItsOwnGateAndHandler) {
  authenticator_.emplace(&tokens_, access::Mode::kTokens);
  start();
  server_->stop(std::chrono::seconds(1));
  api_->mount({.method = "POST",
               .path = "/v1/traces",
               .gate =
                   [](http::Request&) {
                     return http::GateDecision{.body_bytes_max = 10, .body_to = {}, .refuse = {}, .on_end = {}};
                   },
               .handler =
                   [](http::Request request, http::Responder responder) {
                     std::move(responder).respond(http::Response::make(202, "text/plain", "got " + request.body));
                   }});
  server_.emplace(http::ServerOptions{.threads = 1}, metrics_);
  const auto address = server_->listen("127.0.0.1:0", api_->gate(), api_->handler());
  ASSERT_TRUE(address);
  server_->start();
  client_.emplace("http://" + *address, http::ClientOptions{});
  EXPECT_EQ(send("POST", "/v1/traces", "hello").body, "got hello");
  EXPECT_EQ(send("GET", "/v1/traces").status, 405);
}

TEST_F(ApiTest, EveryRouteIsDescribedAndEveryDescriptionHasARoute) {
  start();
  constexpr std::pair<const char*, const char*> kMethods[] = {
      {"GET ", "get"}, {"POST ", "post"}, {"PUT ", "put"}, {"PATCH ", "patch"}, {"DELETE ", "delete"}};
  std::set<std::string> described;
  const auto document = parse(get("/api/v1/openapi.json").body);
  for (const auto& [path, item] : document.at("paths").as_object()) {
    for (const auto& [method, operation] : kMethods) {
      if (item.as_object().contains(operation)) described.insert(std::string(method) + std::string(path));
    }
  }
  std::set<std::string> routed;
  for (const std::string& name : api_->route_names()) routed.insert(name);
  // These are mounted where the server is put together.
  routed.insert({"POST /api/v1/ingest/logs", "POST /v1/traces", "POST /v1/metrics", "POST /v1/logs"});
  EXPECT_EQ(described, routed);
}

}  // namespace
}  // namespace fettle::api
