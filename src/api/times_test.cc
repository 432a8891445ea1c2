#include "api/times.h"

#include <gtest/gtest.h>

namespace fettle::api {
namespace {

constexpr UnixNanos kNow = 1'795'252'472'500'000'000;  // 2026-11-21T09:14:32.5Z

TEST(Times, ReadsEveryForm) {
  const struct {
    const char* text;
    UnixNanos expected;
  } cases[] = {
      {"now", kNow},
      {"-0s", kNow},
      {"-90s", kNow - 90 * kNanosPerSecond},
      {"-15m", kNow - 900 * kNanosPerSecond},
      {"-24h", kNow - kNanosPerDay},
      {"-7d", kNow - 7 * kNanosPerDay},
      {"-2w", kNow - 14 * kNanosPerDay},
      {"-400000d", 0},
      {"2026-11-21T09:14:32.5Z", kNow},
      {"2026-11-21t09:14:32.500000000z", kNow},
      {"2026-11-21T10:14:32.5+01:00", kNow},
      {"2026-11-21T03:44:32.5-05:30", kNow},
      {"2026-11-21 09:14:32.5Z", kNow},
      {"1970-01-01T00:00:00Z", 0},
      {"2024-02-29T00:00:00.1234567891Z", 1'709'164'800'123'456'789},
      {"0", 0},
      {"5", 5 * kNanosPerSecond},
      {"1795252472", 1'795'252'472'000'000'000},
      {"1795252472500", kNow},
      {"1795252472500000", kNow},
      {"1795252472500000000", kNow},
  };
  for (const auto& c : cases) {
    const auto time = parse_time(c.text, kNow);
    ASSERT_TRUE(time) << c.text;
    EXPECT_EQ(*time, c.expected) << c.text;
  }
}

TEST(Times, RefusesWhatIsNoTime) {
  for (const char* text : {"",
                           "-",
                           "-m",
                           "-15",
                           "-1.5h",
                           "-15x",
                           "15m",
                           "+15m",
                           "yesterday",
                           "2026-11-21",
                           "1e9",
                           "2026-11-21T09:14:32",
                           "2026-13-21T09:14:32Z",
                           "2026-02-30T09:14:32Z",
                           "2026-11-21T25:00:00Z",
                           "2026-11-21T09:14:32.Z",
                           "2026-11-21T09:14:32+0100",
                           "2026-11-21T09:14:32Zx",
                           "99999999999999999999",
                           "1969-12-31T23:59:59Z",
                           "9999-01-01T00:00:00Z",
                           "99999999999",
                           "-99999999999d",
                           "1970-01-01T00:00:00+01:00"}) {
    EXPECT_FALSE(parse_time(text, kNow)) << text;
  }
}

TEST(Times, AreWrittenWithNineDecimals) {
  EXPECT_EQ(format_time(kNow), "2026-11-21T09:14:32.500000000Z");
  EXPECT_EQ(format_time(0), "1970-01-01T00:00:00.000000000Z");
  EXPECT_EQ(format_time(123'456'789), "1970-01-01T00:00:00.123456789Z");
}

}  // namespace
}  // namespace fettle::api
