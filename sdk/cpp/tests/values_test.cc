// Errors, retries, JSON, trace context and log lines, without a server.
#include <gtest/gtest.h>

#include <cmath>

#include "fake_server.h"
#include "problem.h"

namespace fettle::sdk {
namespace {

TEST(JsonTest, TextIsReadAndWrittenAsItWas) {
  const std::string text = R"({"b":[1,2.5,-3,null,true,""],"a":{"x":{}},"text":"\"\\\n\u0001é🚀"})";
  EXPECT_EQ(Json::parse(text)->text(), text);
  EXPECT_EQ(Json(std::nan("")).text(), "null");
  EXPECT_EQ(Json(0.0004).text(), "0.0004");
}

TEST(JsonTest, WhatIsNoJsonIsRefused) {
  for (const char* text : {"", "{", "[1,]", "nul", "{\"a\":1} x", "\"\xff\""}) {
    EXPECT_EQ(Json::parse(text).error().kind, ErrorKind::kInvalidValue) << text;
  }
  EXPECT_FALSE(Json::parse(std::string(1000, '[') + std::string(1000, ']')));
}

TEST(JsonTest, AMemberThatIsNotThereIsNull) {
  const Json value = Json::object({{"a", 1}});
  EXPECT_TRUE(value["b"]["c"].is_null());
  EXPECT_EQ(value["a"].as_string("otherwise"), "otherwise");
  EXPECT_EQ(Json("text")["a"], Json());
}

TEST(JsonTest, TheCanonicalFormIsThatOfRfc8785) {
  const Json numbers = Json::array({333333333.33333329, 1e30, 4.50, 2e-3, 1e-27, -0.0, 1e21, 1e20, 1e-6, 1e-7, 12.0});
  EXPECT_EQ(canonical_json(numbers),
            "[333333333.3333333,1e+30,4.5,0.002,1e-27,0,1e+21,100000000000000000000,0.000001,1e-7,12]");
  const Json names = Json::object(
      {{"\u20ac", 1}, {"\r", 2}, {"\ufb33", 3}, {"1", 4}, {"\U0001f600", 5}, {"\u0080", 6}, {"\u00f6", 7}});
  EXPECT_EQ(canonical_json(names),
            "{\"\\r\":2,\"1\":4,\"\u0080\":6,\"\u00f6\":7,\"\u20ac\":1,\"\U0001f600\":5,\"\ufb33\":3}");
}

TEST(JsonTest, TheHashIsThatOfTheOtherSdks) {
  EXPECT_EQ(payload_hash(Json::object({{"text", "hello"}})),
            "cbbbdcd27692344de5dbab3abcaba413fb0f45307267de7081401576df1cb176");
  EXPECT_EQ(payload_hash(Json::object({{"a", 1}, {"b", true}})), payload_hash(Json::object({{"b", true}, {"a", 1.0}})));
}

TEST(ErrorTest, ARetryFollowsFromTheKindAndTheStatus) {
  EXPECT_TRUE(retryable_error("x").retryable());
  EXPECT_FALSE(fatal_error("x").retryable());
  EXPECT_FALSE(invalid_value("x").retryable());
  EXPECT_TRUE(problem_error(429, Json()).retryable());
  EXPECT_TRUE(problem_error(503, Json()).retryable());
  EXPECT_FALSE(problem_error(404, Json()).retryable());
  EXPECT_TRUE((Error{.kind = ErrorKind::kException}).retryable());
}

TEST(ErrorTest, ALateAnswerSaysWhy) {
  const auto kind = [](const char* text) { return problem_error(409, *Json::parse(text)).kind; };
  EXPECT_EQ(kind(R"({"code":"late"})"), ErrorKind::kLeaseLost);
  EXPECT_EQ(kind(R"({"code":"late","cancel":true})"), ErrorKind::kCancelled);
  EXPECT_EQ(kind(R"({"code":"late","stop":{"id":"sw_1","reason":"why"}})"), ErrorKind::kStopped);
  EXPECT_EQ(kind(R"({"code":"other"})"), ErrorKind::kProblem);
}

TEST(ErrorTest, WhatIsThrownIsAnError) {
  const auto result = guarded<Json>([]() -> Result<Json> { throw std::runtime_error("thrown"); });
  EXPECT_EQ(result.error().kind, ErrorKind::kException);
  EXPECT_EQ(result.error().message, "thrown");
  EXPECT_EQ(guarded<Json>([]() -> Result<Json> { throw 1; }).error().kind, ErrorKind::kException);
}

TEST(RetryTest, WaitsAreJitteredUpToADoublingBoundThatIsCapped) {
  const RetryPolicy policy{.retries_max = 9, .base = Milliseconds(100), .cap = Milliseconds(1000)};
  EXPECT_EQ(full_jitter(policy, 0, 1), Milliseconds(100));
  EXPECT_EQ(full_jitter(policy, 3, 0.5), Milliseconds(400));
  EXPECT_EQ(full_jitter(policy, 4, 1), Milliseconds(1000));
  EXPECT_EQ(full_jitter(policy, 100'000, 1), Milliseconds(1000));
}

TEST(RetryTest, TheOtherSidesWishGoesBeforeTheJitterAndTheElapsedTimeBoundsAll) {
  ManualClock clock;
  const auto began = clock.now();
  const Error asked = retryable_error("x", "x", Milliseconds(2500));
  EXPECT_EQ(wait_before_retry(clock, kCallRetry, 0, began, asked), Milliseconds(2500));
  clock.advance(Milliseconds(29'000));
  EXPECT_EQ(wait_before_retry(clock, kCallRetry, 0, began, asked), std::nullopt);
  EXPECT_EQ(wait_before_retry(clock, kNoRetry, 0, began, asked), std::nullopt);
}

TEST(TraceTest, ContextsNestAndTheCorrelationIdComesOutOfTheBaggage) {
  EXPECT_EQ(carried_now().baggage, "");
  {
    const Carrying outer({.traceparent = "outer", .baggage = "k=v , correlation_id = c%201;p=1"});
    EXPECT_EQ(carried_now().correlation_id, "c 1");
    {
      const Carrying inner({.traceparent = "inner"});
      EXPECT_EQ(carried_now().traceparent, "inner");
      EXPECT_EQ(carried_now().correlation_id, "");
    }
    EXPECT_EQ(carried_now().traceparent, "outer");
  }
  EXPECT_EQ(carried_now().traceparent, "");
}

TEST(TraceTest, HeadersForSomebodyElseHaveTheCorrelationIdInTheBaggage) {
  const Carried carried{.traceparent = "00-1", .tracestate = {}, .baggage = "k=v", .correlation_id = "c,1"};
  const std::vector<std::pair<std::string, std::string>> expected = {{"traceparent", "00-1"},
                                                                     {"baggage", "k=v,correlation_id=c%2C1"}};
  EXPECT_EQ(carried.headers(), expected);
}

TEST(TraceTest, IdsAreThoseOfAWellFormedTraceparent) {
  const auto [trace, span] = trace_ids("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
  EXPECT_EQ(trace, "0af7651916cd43dd8448eb211c80319c");
  EXPECT_EQ(span, "b7ad6b7169203331");
  EXPECT_EQ(trace_ids("00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").first, "");
  EXPECT_EQ(trace_ids("").first, "");
}

TEST(StepLogTest, TheTwoLinesHaveExactlyTheirKeys) {
  const StepLine line{
      .request_id = "req_abc123", .run_id = "run_xyz789", .step_id = 1, .step_name = "parseEmail", .duration_ms = 234};
  EXPECT_EQ(step_completed_line(line, {.tokens = 156, .cost_usd = 0.0004}),
            R"({"level":"info","requestId":"req_abc123","runId":"run_xyz789","stepId":1,"stepName":"parseEmail",)"
            R"("duration":234,"tokens":156,"costUsd":0.0004,"action":"step_completed"})");
  EXPECT_EQ(
      step_failed_line(line, 3, retryable_error("Connection timeout after 5s", "API_TIMEOUT")),
      R"({"level":"error","requestId":"req_abc123","runId":"run_xyz789","stepId":1,"stepName":"parseEmail",)"
      R"("duration":234,"retryCount":3,"error":"API_TIMEOUT: Connection timeout after 5s","action":"step_failed"})");
}

TEST(ClockTest, TimesAreRfc3339InUtcWithMilliseconds) {
  EXPECT_EQ(rfc3339(Clock::Wall(std::chrono::milliseconds(1'767'323'045'678))), "2026-01-02T03:04:05.678Z");
  EXPECT_EQ(rfc3339(Clock::Wall(std::chrono::milliseconds(-1))), "1969-12-31T23:59:59.999Z");
}

}  // namespace
}  // namespace fettle::sdk
