#include "runs/cron.h"

#include <absl/time/time.h>
#include <gtest/gtest.h>

#include <string>

namespace fettle::runs {
namespace {

UnixNanos at(const std::string& text) {
  absl::Time time;
  std::string error;
  EXPECT_TRUE(absl::ParseTime(absl::RFC3339_full, text, &time, &error)) << error;
  return absl::ToUnixNanos(time);
}

std::string next(const std::string& cron, const std::string& after, const std::string& zone = "UTC") {
  const auto parsed = Cron::parse(cron);
  if (!parsed) return parsed.error().message();
  const auto loaded = TimeZone::load(zone);
  if (!loaded) return loaded.error().message();
  const auto time = parsed->next(at(after), *loaded);
  return time ? format_rfc3339(*time) : "never";
}

TEST(CronTest, FindsTheNextTime) {
  struct Case {
    std::string cron, after, expected;
  };
  // 2026-11-22 is a Sunday.
  for (const Case& c : {
           Case{"* * * * *", "2026-11-22T05:00:00Z", "2026-11-22T05:01:00Z"},
           Case{"* * * * *", "2026-11-22T05:00:59.999Z", "2026-11-22T05:01:00Z"},
           Case{"*/15 * * * *", "2026-11-22T05:46:00Z", "2026-11-22T06:00:00Z"},
           Case{"5/10 * * * *", "2026-11-22T05:46:00Z", "2026-11-22T05:55:00Z"},
           Case{"30 8 * * mon-fri", "2026-11-22T05:00:00Z", "2026-11-23T08:30:00Z"},
           Case{"0 9-17/4 * * *", "2026-11-22T09:00:00Z", "2026-11-22T13:00:00Z"},
           Case{"0 0 1 jan *", "2026-11-22T05:00:00Z", "2027-01-01T00:00:00Z"},
           Case{"0 0 29 2 *", "2026-11-22T05:00:00Z", "2028-02-29T00:00:00Z"},
           Case{"0 0 * * 7", "2026-11-22T05:00:00Z", "2026-11-29T00:00:00Z"},
           Case{"0 0 13 * 5", "2026-11-22T05:00:00Z", "2026-11-27T00:00:00Z"},   // either: the next Friday
           Case{"0 0 */2 * 5", "2026-11-22T05:00:00Z", "2026-11-27T00:00:00Z"},  // both: an odd day that is a Friday
           Case{"@hourly", "2026-11-22T05:00:00Z", "2026-11-22T06:00:00Z"},
           Case{"@Daily", "2026-11-22T05:00:00Z", "2026-11-23T00:00:00Z"},
           Case{"@weekly", "2026-11-22T05:00:00Z", "2026-11-29T00:00:00Z"},
           Case{"@monthly", "2026-11-22T05:00:00Z", "2026-12-01T00:00:00Z"},
           Case{"@yearly", "2026-11-22T05:00:00Z", "2027-01-01T00:00:00Z"},
           Case{"0,30 1,2 * * *", "2026-11-22T01:30:00Z", "2026-11-22T02:00:00Z"},
           Case{"0 0 30 2 *", "2026-11-22T05:00:00Z", "never"},
           Case{"0 0 31 4,6 *", "2026-11-22T05:00:00Z", "never"},
       }) {
    EXPECT_EQ(next(c.cron, c.after), c.expected) << c.cron;
  }
}

TEST(CronTest, LocalTimesFollowTheirZone) {
  EXPECT_EQ(next("30 8 * * *", "2026-11-22T00:00:00Z", "Europe/Vienna"), "2026-11-22T07:30:00Z");
  EXPECT_EQ(next("30 8 * * *", "2026-07-22T00:00:00Z", "Europe/Vienna"), "2026-07-22T06:30:00Z");
  EXPECT_EQ(next("0 0 * * *", "2026-11-22T00:00:00Z", "Asia/Kolkata"), "2026-11-22T18:30:00Z");
}

TEST(CronTest, ASkippedTimeRunsWhenTheClocksJumpAndARepeatedOneOnce) {
  // Vienna: 2026-03-29 02:00 becomes 03:00 (01:00 UTC); 2026-10-25 03:00 becomes 02:00 (01:00 UTC).
  EXPECT_EQ(next("30 2 * * *", "2026-03-28T12:00:00Z", "Europe/Vienna"), "2026-03-29T01:00:00Z");
  EXPECT_EQ(next("30 2 * * *", "2026-03-29T01:00:00Z", "Europe/Vienna"), "2026-03-30T00:30:00Z");
  EXPECT_EQ(next("30 2 * * *", "2026-10-24T12:00:00Z", "Europe/Vienna"), "2026-10-25T00:30:00Z");
  EXPECT_EQ(next("30 2 * * *", "2026-10-25T00:30:00Z", "Europe/Vienna"), "2026-10-26T01:30:00Z");
}

TEST(CronTest, WhatRunsInEveryHourRunsInBothOfARepeatedOne) {
  EXPECT_EQ(next("*/30 * * * *", "2026-10-25T00:00:00Z", "Europe/Vienna"), "2026-10-25T00:30:00Z");
  EXPECT_EQ(next("*/30 * * * *", "2026-10-25T00:30:00Z", "Europe/Vienna"), "2026-10-25T01:00:00Z");
  EXPECT_EQ(next("*/30 * * * *", "2026-10-25T01:00:00Z", "Europe/Vienna"), "2026-10-25T01:30:00Z");
  EXPECT_EQ(next("*/30 * * * *", "2026-10-25T01:30:00Z", "Europe/Vienna"), "2026-10-25T02:00:00Z");
  EXPECT_EQ(next("@hourly", "2026-10-25T00:00:00Z", "Europe/Vienna"), "2026-10-25T01:00:00Z");
}

TEST(CronTest, WhatCannotBeReadIsRefused) {
  for (const std::string text : {"", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *",
                                 "* * * * 8", "5-1 * * * *", "*/0 * * * *", "1/2/3 * * * *", "a * * * *", "-1 * * * *",
                                 "1- * * * *", ", * * * *", "@reboot", "* * * * funday"}) {
    const auto parsed = Cron::parse(text);
    ASSERT_FALSE(parsed.has_value()) << text;
    EXPECT_EQ(parsed.error().code(), ErrorCode::kInvalidArgument) << text;
  }
  EXPECT_EQ(Cron::parse(std::string(1'000, '1')).error().code(), ErrorCode::kTooLarge);
  EXPECT_FALSE(TimeZone::load("Mars/Olympus").has_value());
  EXPECT_FALSE(TimeZone::load("").has_value());
}

}  // namespace
}  // namespace fettle::runs
