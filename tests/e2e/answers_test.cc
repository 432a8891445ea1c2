// What was sent is found again, and every answer is what docs/openapi.yaml says.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <chrono>
#include <string>

#include "e2e/schemas.h"
#include "e2e/server_process.h"

namespace fettle::e2e {
namespace {

using boost::json::parse;
using testing::HasSubstr;

constexpr const char* kTrace = "0af7651916cd43dd8448eb211c80319c";

std::string now_ns(int offset_ms = 0) {
  const auto now = std::chrono::system_clock::now() + std::chrono::milliseconds(offset_ms);
  return std::to_string(std::chrono::duration_cast<std::chrono::nanoseconds>(now.time_since_epoch()).count());
}

std::string one_trace() {
  return R"({"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"web"}}]},"scopeSpans":[{
    "scope":{"name":"tests","version":"1"},"spans":[
    {"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"b7ad6b7169203331","name":"GET /","kind":2,
     "startTimeUnixNano":")" +
         now_ns(-1000) + R"(","endTimeUnixNano":")" + now_ns() + R"(",
     "attributes":[{"key":"run_id","value":{"stringValue":"run-1"}},{"key":"http.status","value":{"intValue":"200"}}],
     "events":[{"name":"began","timeUnixNano":")" +
         now_ns(-900) + R"("}]},
    {"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"b7ad6b7169203332","parentSpanId":"b7ad6b7169203331","name":"query",
     "kind":3,"startTimeUnixNano":")" +
         now_ns(-800) + R"(","endTimeUnixNano":")" + now_ns(-700) + R"(",
     "attributes":[{"key":"run_id","value":{"stringValue":"run-1"}}],
     "status":{"code":2,"message":"too slow"}}]}]}]})";
}

class AnswersTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    server_ = ServerProcess::start({}).release();
    ASSERT_NE(server_, nullptr);
    ASSERT_EQ(server_->post_otlp("/v1/traces", "application/json", one_trace()).status, 200);
    const std::string lines =
        R"({"level":50,"time":)" + now_ns(-500).substr(0, 13) +
        R"(,"msg":"payment declined","run_id":"run-1","trace_id":"0af7651916cd43dd8448eb211c80319c"})"
        "\n"
        R"({"event":"retry","level":"info","attempt":2,"run_id":"run-1"})"
        "\n";
    ASSERT_EQ(server_->post("/api/v1/ingest/logs?service=worker", "application/x-ndjson", lines).status, 200);
    ASSERT_TRUE(eventually([] {
      return server_->get(std::string("/api/v1/traces/") + kTrace).status == 200 &&
             parse(server_->get("/api/v1/logs").body).at("logs").as_array().size() == 2;
    })) << server_->log();
    schemas_ = new Schemas(server_->get("/api/v1/openapi.json").body);
  }
  static void TearDownTestSuite() {
    delete schemas_;
    delete server_;
  }

  // The body of a 200, held to its schema.
  static boost::json::value get(const std::string& target, std::string_view path) {
    const auto answer = server_->get(target);
    EXPECT_EQ(answer.status, 200) << target << ": " << answer.body;
    const auto body = parse(answer.body);
    EXPECT_EQ(schemas_->errors_of(path, "get", 200, body), "") << target << ": " << answer.body;
    return body;
  }

  static ServerProcess* server_;
  static Schemas* schemas_;
};
ServerProcess* AnswersTest::server_ = nullptr;
Schemas* AnswersTest::schemas_ = nullptr;

TEST_F(AnswersTest, ATrace) {
  const auto trace = get(std::string("/api/v1/traces/") + kTrace, "/api/v1/traces/{trace_id}");
  ASSERT_EQ(trace.at("spans").as_array().size(), 2U);
  EXPECT_EQ(trace.at("spans").at(0).at("name").as_string(), "GET /");
  EXPECT_EQ(trace.at("spans").at(0).at("attrs").at("http.status").as_int64(), 200);
  EXPECT_EQ(trace.at("spans").at(0).at("ids").at("run_id").as_string(), "run-1");
  EXPECT_EQ(trace.at("spans").at(1).at("status").as_string(), "error");
  EXPECT_EQ(trace.at("spans").at(1).at("parent_span_id").as_string(), "b7ad6b7169203331");
}

TEST_F(AnswersTest, AnOutline) {
  const auto outline = get(std::string("/api/v1/traces/") + kTrace + "/outline", "/api/v1/traces/{trace_id}/outline");
  EXPECT_EQ(outline.at("span_count").as_int64(), 2);
  EXPECT_EQ(outline.at("error_count").as_int64(), 1);
  EXPECT_EQ(outline.at("spans").at(1).at(1).as_int64(), 0) << "the second span's parent is the first";
}

TEST_F(AnswersTest, Spans) {
  EXPECT_EQ(get("/api/v1/spans?run_id=run-1", "/api/v1/spans").at("spans").as_array().size(), 2U);
  EXPECT_EQ(get("/api/v1/spans?status=error&service=web", "/api/v1/spans").at("spans").as_array().size(), 1U);
  EXPECT_EQ(get("/api/v1/spans?attr.http.status=200", "/api/v1/spans").at("spans").as_array().size(), 1U);
  EXPECT_EQ(get("/api/v1/spans?run_id=run-2", "/api/v1/spans").at("spans").as_array().size(), 0U);
  const auto first = get("/api/v1/spans?limit=1", "/api/v1/spans");
  const auto second =
      get("/api/v1/spans?limit=1&cursor=" + std::string(first.at("next_cursor").as_string()), "/api/v1/spans");
  EXPECT_NE(first.at("spans").at(0).at("span_id"), second.at("spans").at(0).at("span_id"));
}

TEST_F(AnswersTest, Logs) {
  const auto found = get("/api/v1/logs?q=declined&level=error", "/api/v1/logs");
  ASSERT_EQ(found.at("logs").as_array().size(), 1U);
  EXPECT_EQ(found.at("logs").at(0).at("body").as_string(), "payment declined");
  EXPECT_EQ(found.at("logs").at(0).at("service_name").as_string(), "worker");
  EXPECT_EQ(found.at("logs").at(0).at("trace_id").as_string(), kTrace);
}

TEST_F(AnswersTest, AHistogram) {
  const auto histogram = get("/api/v1/logs/histogram?buckets=10", "/api/v1/logs/histogram");
  EXPECT_EQ(histogram.at("total").as_int64(), 2);
}

TEST_F(AnswersTest, AJourney) {
  const auto journey = get("/api/v1/journeys/run-1", "/api/v1/journeys/{value}");
  EXPECT_EQ(journey.at("items").as_array().size(), 4U);
  EXPECT_EQ(journey.at("trace_ids").at(0).as_string(), kTrace);
  EXPECT_EQ(server_->get("/api/v1/journeys/run-nobody").status, 404);
}

TEST_F(AnswersTest, AResolve) {
  const auto kinds = get("/api/v1/resolve?id=run-1", "/api/v1/resolve").at("kinds").as_array();
  ASSERT_EQ(kinds.size(), 1U);
  EXPECT_EQ(kinds[0].at("kind").as_string(), "run_id");
}

TEST_F(AnswersTest, Sql) {
  const auto answer =
      server_->post("/api/v1/sql", "application/json", R"({"query":"SELECT name, status FROM spans ORDER BY name"})");
  ASSERT_EQ(answer.status, 200) << answer.body;
  const auto body = parse(answer.body);
  EXPECT_EQ(schemas_->errors_of("/api/v1/sql", "post", 200, body), "");
  EXPECT_EQ(body.at("rows").as_array().size(), 2U);
}

TEST_F(AnswersTest, WhatTheServerSaysOfItself) {
  EXPECT_EQ(get("/health", "/health").at("status").as_string(), "healthy");
  EXPECT_TRUE(get("/api/v1/me", "/api/v1/me").at("development").as_bool());
  get("/health/live", "/health/live");
  get("/health/ready", "/health/ready");
  const auto status = get("/api/v1/ingest/status", "/api/v1/ingest/status");
  ASSERT_GE(status.at("skew").as_array().size(), 1U);
  for (const auto& one : status.at("skew").as_array()) {
    EXPECT_EQ(one.at("skew_ms").to_number<double>(), 0) << "the test and the server share a clock";
  }
  const auto balance = get("/api/v1/ingest/balance", "/api/v1/ingest/balance");
  EXPECT_TRUE(balance.at("totals").at("balanced").as_bool());
  EXPECT_EQ(balance.at("totals").at("received").as_int64(), 4);
  const auto preview = server_->post("/api/v1/redaction/preview", "application/json", R"({"text":"anna@example.com"})");
  EXPECT_EQ(schemas_->errors_of("/api/v1/redaction/preview", "post", 200, parse(preview.body)), "");
}

TEST_F(AnswersTest, LinesAreAnsweredUnderTheirRequestsId) {
  const auto refused = server_->post("/api/v1/ingest/logs", "text/xml", "<no/>");
  EXPECT_EQ(refused.status, 415);
  EXPECT_EQ(refused.headers.get("Content-Type"), "application/problem+json");
  EXPECT_FALSE(refused.headers.get("X-Request-Id").empty());
  EXPECT_EQ(refused.headers.get("X-Request-Id"), parse(refused.body).at("request_id").as_string());
  EXPECT_FALSE(server_->post("/api/v1/ingest/logs", "application/x-ndjson", "{\"msg\":\"hello\"}\n")
                   .headers.get("X-Request-Id")
                   .empty());
}

TEST_F(AnswersTest, AnOutlinePastTheLimitHasTheFirstSpansAndSaysSo) {
  const auto server = ServerProcess::start({.arguments = {"--limits-trace-spans", "1"}});
  ASSERT_NE(server, nullptr);
  ASSERT_EQ(server->post_otlp("/v1/traces", "application/json", one_trace()).status, 200);
  const std::string target = std::string("/api/v1/traces/") + kTrace + "/outline";
  ASSERT_TRUE(eventually([&] { return server->get(target).status != 404; }));
  const auto answer = server->get(target);
  ASSERT_EQ(answer.status, 200) << answer.body;
  const auto outline = parse(answer.body);
  EXPECT_EQ(schemas_->errors_of("/api/v1/traces/{trace_id}/outline", "get", 200, outline), "");
  EXPECT_TRUE(outline.at("partial").as_bool());
  EXPECT_EQ(outline.at("spans").as_array().size(), 1U);
  EXPECT_EQ(outline.at("spans").at(0).at(0).as_string(), "b7ad6b7169203331") << "the one that began first";
  EXPECT_EQ(outline.at("error_count").as_int64(), 0);
  EXPECT_FALSE(parse(server_->get(target).body).at("partial").as_bool());
}

TEST_F(AnswersTest, AClockThatIsAheadIsShown) {
  const std::string now = now_ns(60'000);
  const std::string body =
      R"({"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"clockwork"}}]},
          "scopeLogs":[{"logRecords":[{"timeUnixNano":")" +
      now + R"(","body":{"stringValue":"from the future"}}]}]}]})";
  const auto server = ServerProcess::start({});
  ASSERT_NE(server, nullptr);
  ASSERT_EQ(server->post_otlp("/v1/logs", "application/json", body).status, 200);
  const auto skew = parse(server->get("/api/v1/ingest/status").body).at("skew");
  ASSERT_EQ(skew.as_array().size(), 1U);
  EXPECT_EQ(skew.at(0).at("sender").as_string(), "clockwork");
  EXPECT_GT(skew.at(0).at("skew_ms").to_number<double>(), 50'000);
  EXPECT_LE(skew.at(0).at("skew_ms").to_number<double>(), 60'000);
}

TEST_F(AnswersTest, LargeAnswersAreCompressedForClientsElsewhere) {
  const auto coded = [](const std::string& target, const ServerProcess::HeaderList& more) {
    ServerProcess::HeaderList headers = {{"Accept-Encoding", "gzip, zstd"}};
    headers.insert(headers.end(), more.begin(), more.end());
    const auto answer = server_->get(target, headers);
    EXPECT_EQ(answer.status, 200) << target;
    return std::string(answer.headers.get("Content-Encoding"));
  };
  const ServerProcess::HeaderList elsewhere = {{"X-Forwarded-For", "192.0.2.7"}};
  for (const char* target : {"/api/v1/openapi.json", "/api/v1/spans", "/metrics"}) {
    EXPECT_EQ(coded(target, elsewhere), "zstd") << target;
    EXPECT_EQ(coded(target, {}), "") << target;
  }
  EXPECT_EQ(coded("/health/live", elsewhere), "");
}

TEST_F(AnswersTest, Problems) {
  for (const char* target :
       {"/api/v1/spans?limit=0", "/api/v1/logs?cursor=junk", "/api/v1/traces/ffffffffffffffffffffffffffffffff"}) {
    const auto answer = server_->get(target);
    EXPECT_GE(answer.status, 400) << target;
    EXPECT_EQ(schemas_->problem_errors_of(parse(answer.body)), "") << answer.body;
  }
}

TEST(Filters, AValueIsFoundWhateverItHolds) {
  const auto server = ServerProcess::start({});
  ASSERT_NE(server, nullptr);
  const std::vector<std::string> values = {"o'brien", "a\\b", "a\tb", "a\nb", "a\\nb", "it\\'s", "100%"};
  for (const std::string& value : values) {
    const std::string text = boost::json::serialize(boost::json::string(value));
    const std::string span =
        R"({"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"0af7651916cd43dd8448eb211c80319c",
      "spanId":"b7ad6b7169203331","name":)" +
        text + R"(,"startTimeUnixNano":")" + now_ns(-1000) + R"(","endTimeUnixNano":")" + now_ns() +
        R"(","attributes":[{"key":"client_id","value":{"stringValue":)" + text +
        R"(}},{"key":"order","value":{"stringValue":)" + text + "}}]}]}]}]}";
    ASSERT_EQ(server->post_otlp("/v1/traces", "application/json", span).status, 200);
  }
  const auto found = [&](const std::string& target) {
    const auto answer = server->get(target);
    EXPECT_EQ(answer.status, 200) << target << ": " << answer.body;
    return answer.status == 200 ? parse(answer.body).at("spans").as_array() : boost::json::array();
  };
  ASSERT_TRUE(eventually([&] { return found("/api/v1/spans").size() == values.size(); }));
  for (const std::string& value : values) {
    const std::string encoded = http::percent_encode(value);
    // An identifier, which has a column, and an attribute; alone and in a list.
    for (const std::string& filter : {"client_id=" + encoded, "attr.order=" + encoded,
                                      "attr.order=nothing&attr.order=" + encoded, "client_id=x&client_id=" + encoded}) {
      const auto spans = found("/api/v1/spans?" + filter);
      ASSERT_EQ(spans.size(), 1U) << filter;
      EXPECT_EQ(spans[0].at("name").as_string(), value) << filter;
    }
  }
}

TEST_F(AnswersTest, TheCommandLineShowsTheSame) {
  const Ended logs = run_fettle({"logs", "--url", server_->url(), "--service", "worker"});
  EXPECT_EQ(logs.exit_code, 0) << logs.err;
  EXPECT_THAT(logs.out, HasSubstr("payment declined"));
  const Ended journey = run_fettle({"journey", "run-1", "--url", server_->url()});
  EXPECT_EQ(journey.exit_code, 0) << journey.err;
  EXPECT_THAT(journey.out, HasSubstr("GET /"));
  EXPECT_THAT(journey.out, HasSubstr("payment declined"));
  EXPECT_EQ(run_fettle({"journey", "run-nobody", "--url", server_->url()}).exit_code, 1);
}

}  // namespace
}  // namespace fettle::e2e
