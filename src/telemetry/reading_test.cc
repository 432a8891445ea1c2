#include "telemetry/reading.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <rapidcheck/gtest.h>
#include <algorithm>
#include <limits>

namespace fettle::telemetry {
namespace {

TEST(ReadingLines, CutWhereverTheAnswerWasCut) {
  const std::string text = "one\ntwo\n\nfour\n";
  for (std::size_t piece = 1; piece <= text.size(); ++piece) {
    std::vector<std::string> seen;
    Lines lines([&](std::string_view line) {
      seen.emplace_back(line);
      return true;
    });
    for (std::size_t at = 0; at < text.size(); at += piece)
      EXPECT_TRUE(lines.feed(std::string_view(text).substr(at, piece)));
    EXPECT_EQ(seen, (std::vector<std::string>{"one", "two", "", "four"})) << piece;
  }
}

TEST(ReadingLines, EndWhenTheReaderHasEnough) {
  int seen = 0;
  Lines lines([&](std::string_view) { return ++seen < 2; });
  EXPECT_FALSE(lines.feed("a\nb\nc\n"));
  EXPECT_EQ(seen, 2);
}

TEST(ReadingPage, ACursorOfAnotherListIsRefused) {
  for (const char* cursor : {"", "x", "d", "d1_", "d_1", "a1_1", "d1_1x", "dx_1", "d99999999999999999999_1"}) {
    PageRequest request;
    request.after = Cursor{cursor};
    const auto page = PageBuilder::begin(request, Order::kNewestFirst);
    ASSERT_FALSE(page) << cursor;
    EXPECT_EQ(page.error().code(), ErrorCode::kInvalidArgument);
  }
}

TEST(ReadingPage, ACursorNeverLooksBeyondTheQuestion) {
  PageRequest request;
  request.after = Cursor{fmt::format("d{}_1", std::numeric_limits<UnixNanos>::max())};
  const auto newest = PageBuilder::begin(request, Order::kNewestFirst);
  ASSERT_TRUE(newest);
  EXPECT_EQ(newest->rest_of({10, 20}).to, 20);
  request.after = Cursor{"a5_1"};
  const auto oldest = PageBuilder::begin(request, Order::kOldestFirst);
  ASSERT_TRUE(oldest);
  EXPECT_EQ(oldest->rest_of({10, 20}).from, 10);
}

// Whatever the times, their ties, and the sizes of pages: the pages together are the list, each row once.
RC_GTEST_PROP(ReadingPages, AddUpToTheList, ()) {
  auto times = *rc::gen::container<std::vector<UnixNanos>>(rc::gen::inRange<UnixNanos>(0, 12));
  const bool newest_first = *rc::gen::arbitrary<bool>();
  std::ranges::sort(times);
  if (newest_first) std::ranges::reverse(times);
  PageRequest request;
  request.rows_max = *rc::gen::inRange<std::uint32_t>(1, 6);
  request.bytes_max = *rc::gen::inRange<std::uint64_t>(1, 12);
  const Order order = newest_first ? Order::kNewestFirst : Order::kOldestFirst;
  std::string together;
  for (std::size_t pages = 0; pages <= times.size(); ++pages) {
    auto page = PageBuilder::begin(request, order);
    RC_ASSERT(page.has_value());
    const TimeRange rest = page->rest_of({});
    std::uint64_t asked = page->rows_wanted();
    for (std::size_t i = 0; i < times.size() && asked > 0; ++i) {
      if ((rest.from && times[i] < *rest.from) || (rest.to && times[i] >= *rest.to)) continue;
      --asked;
      const auto offered = page->offer(times[i], [&](std::string& out) -> Result<void> {
        out += fmt::format("{}", i);
        return {};
      });
      RC_ASSERT(offered.has_value());
      if (!*offered) break;
    }
    const Page taken = std::move(*page).take();
    if (taken.count > 0) together += (together.empty() ? "" : ",") + taken.rows;
    if (!taken.next) break;
    RC_ASSERT(taken.count > 0U);
    request.after = taken.next;
  }
  std::string all;
  for (std::size_t i = 0; i < times.size(); ++i) all += fmt::format("{}{}", i == 0 ? "" : ",", i);
  RC_ASSERT(together == all);
}

}  // namespace
}  // namespace fettle::telemetry
