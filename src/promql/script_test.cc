// The runner of test scripts itself: what it accepts, and that it does fail.
#include "promql/script.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "promql/series_notation.h"

namespace fettle::promql {
namespace {

using Outcome = ScriptCase::Outcome;

// The outcome of the only case, with the reason where it failed.
std::string run_one(const std::string& script) {
  const auto cases = run_script(script);
  if (cases.size() != 1) return "cases: " + std::to_string(cases.size());
  if (cases[0].outcome == Outcome::kPassed) return "passed";
  return (cases[0].outcome == Outcome::kFailed ? "failed: " : "skipped: ") + cases[0].reason;
}

TEST(Script, RightExpectationsPass) {
  EXPECT_EQ(run_one("load 1m\n  m{a=\"b\"} 1 2\n\neval instant at 1m m\n  m{a=\"b\"} 2\n"), "passed");
  EXPECT_EQ(run_one("eval range from 0 to 2m step 1m time()\n  {} 0 60 120\n"), "passed");
  EXPECT_EQ(run_one("eval instant at 5m 1 + 1\n  2\n"), "passed");
  EXPECT_EQ(run_one("eval instant at 0 up{\n  expect fail\n"), "passed");
}

TEST(Script, WrongExpectationsFail) {
  const std::string load = "load 1m\n  m{a=\"b\"} 1 2\n\n";
  EXPECT_THAT(run_one(load + "eval instant at 1m m\n  m{a=\"b\"} 3\n"), testing::HasSubstr("expected 3"));
  EXPECT_THAT(run_one(load + "eval instant at 1m m\n"), testing::HasSubstr("unexpected"));
  EXPECT_THAT(run_one(load + "eval instant at 9m m\n  m{a=\"b\"} 2\n"), testing::HasSubstr("missing"));
  EXPECT_THAT(run_one(load + "eval range from 0 to 1m step 1m m\n  m{a=\"b\"} 1\n"),
              testing::HasSubstr("unexpected 2"));
  EXPECT_THAT(run_one(load + "eval instant at 1m m\n  expect fail\n"), testing::HasSubstr("there was none"));
  EXPECT_THAT(run_one(load + "eval instant at 1m m\n  expect warn\n  m{a=\"b\"} 2\n"), testing::HasSubstr("missing"));
  EXPECT_THAT(run_one(load + "eval instant at 1m rate(m[2m])\n  expect no_info\n  {a=\"b\"} 0.0166666666\n"),
              testing::HasSubstr("unexpected info"));
  EXPECT_THAT(run_one("eval instant at 1m 1\n  2\n"), testing::HasSubstr("expected 2, got 1"));
  EXPECT_THAT(run_one("eval instant at 1m up{\n"), testing::HasSubstr("parse error"));
}

TEST(Script, WhatCannotBeReadIsAFailedCaseWithItsLine) {
  const auto cases = run_script("clear\n\nfrobnicate\n\nload 1m\n  m 1x\n\neval instant at 1m m\n");
  ASSERT_EQ(cases.size(), 3U);
  EXPECT_EQ(cases[0].line, 3U);
  EXPECT_EQ(cases[0].outcome, Outcome::kFailed);
  EXPECT_EQ(cases[1].line, 5U);
  EXPECT_EQ(cases[2].outcome, Outcome::kPassed);
}

TEST(Script, StartTimestampsAreSkippedUntilTheDataIsCleared) {
  const auto cases = run_script(
      "load 1m\n  m@st -1m -1m\n  m 1 2\n\neval instant at 1m m\n  m 2\n\nclear\neval instant at 1m 1\n  1\n");
  ASSERT_EQ(cases.size(), 2U);
  EXPECT_EQ(cases[0].outcome, Outcome::kSkipped);
  EXPECT_EQ(cases[1].outcome, Outcome::kPassed);
}

TEST(Script, CountersOfHistogramsAreMarkedWhereTheyWereReset) {
  EXPECT_EQ(run_one("load 1m\n  h{a=\"x\"} {{count:5 sum:1 buckets:[5]}} {{count:2 sum:1 buckets:[2]}}\n"
                    "  h{a=\"y\"} {{count:5 sum:1 buckets:[5]}} {{count:6 sum:1 buckets:[6]}}\n\n"
                    "eval instant at 1m sum(h)\n"
                    "  expect warn msg: PromQL warning: conflicting counter resets during histogram aggregation (1:5)\n"
                    "  {} {{count:8 sum:2 buckets:[8]}}\n"),
            "passed");
}

TEST(Script, OurOwnCasesPass) {
  const auto folder = std::filesystem::path(FETTLE_PROJECT_DIR) / "tests" / "cases" / "promql";
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    ++files;
    std::ifstream file(entry.path());
    std::ostringstream content;
    content << file.rdbuf();
    for (const ScriptCase& result : run_script(content.str())) {
      EXPECT_EQ(result.outcome, Outcome::kPassed)
          << entry.path().filename() << ":" << result.line << ": " << result.statement << "\n  " << result.reason;
    }
  }
  EXPECT_GT(files, 0U);
}

TEST(SeriesNotation, ExpandsRepetitions) {
  const auto series = read_series(R"(m{a="}\""} 1+2x2 _x2 stale 0x1 -Inf)");
  ASSERT_TRUE(series) << series.error().message();
  EXPECT_EQ(series->labels.get("a"), "}\"");
  ASSERT_EQ(series->samples.size(), 9U);
  EXPECT_EQ(series->samples[2]->value, 5);
  EXPECT_FALSE(series->samples[4]);
  EXPECT_TRUE(is_stale(series->samples[5]->value));
  EXPECT_EQ(series->samples[7]->value, 0);
}

TEST(SeriesNotation, ReadsHistograms) {
  const auto series = read_series(
      "m {{schema:1 sum:3 count:22 z_bucket:1 z_bucket_w:0.5 offset:-3 buckets:[5 10] n_offset:2 n_buckets:[2] "
      "counter_reset_hint:gauge}}+{{schema:1 count:1 buckets:[1]}}x1");
  ASSERT_TRUE(series) << series.error().message();
  ASSERT_EQ(series->samples.size(), 2U);
  const NativeHistogram& h = *series->samples[1]->histogram;
  EXPECT_EQ(h.count, 23);
  EXPECT_EQ(h.hint, ResetHint::kGauge);
  EXPECT_EQ(h.negative.at(0).index, 2);
  EXPECT_EQ(h.positive.size(), 3U);
}

TEST(SeriesNotation, RefusesWhatItCannotRead) {
  for (const char* line : {"m 1+", "m 1x", "m {{", "m {{colour:1}}", "m {{schema:9}}", "m{a=~\"b\"} 1", "m{a 1", "m 1y",
                           "m {{schema:-53 buckets:[1 1] custom_values:[]}}"}) {
    EXPECT_FALSE(read_series(line)) << line;
  }
}

}  // namespace
}  // namespace fettle::promql
