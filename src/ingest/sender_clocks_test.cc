#include "ingest/sender_clocks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ostream>

namespace fettle::ingest {

void PrintTo(const SenderClock& clock, std::ostream* out) {
  *out << clock.sender << " skew " << clock.skew.count() << " delay " << clock.delay.count();
}

namespace {

using std::chrono::minutes;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;

class SenderClocksTest : public testing::Test {
 protected:
  ManualClock clock_{0};
  SenderClocks clocks_{clock_, {.senders_max = 3, .workspaces_max = 2, .sender_bytes_max = 8}};
};

TEST_F(SenderClocksTest, EventTimeAheadIsSkewAndBehindIsDelay) {
  clocks_.note("acme", "fast", seconds(7));
  clocks_.note("acme", "slow", seconds(-9));
  EXPECT_THAT(clocks_.list("acme"),
              testing::UnorderedElementsAre(SenderClock{.sender = "fast", .skew = seconds(7), .delay = seconds(0)},
                                            SenderClock{.sender = "slow", .skew = seconds(0), .delay = seconds(9)}));
}

TEST_F(SenderClocksTest, TheNewestOfAllBatchesCounts) {
  // A late batch says nothing about a clock that another batch has shown to be ahead.
  for (const int ahead : {-60, 3, -2}) clocks_.note("acme", "web", seconds(ahead));
  EXPECT_THAT(clocks_.list("acme"), ElementsAre(SenderClock{.sender = "web", .skew = seconds(3), .delay = seconds(0)}));
}

TEST_F(SenderClocksTest, AClockThatWasPutRightIsForgottenInFiveMinutes) {
  clocks_.note("acme", "web", seconds(60));
  clock_.advance(minutes(2));
  clocks_.note("acme", "web", seconds(-1));
  EXPECT_EQ(clocks_.list("acme").at(0).skew, seconds(60)) << "two minutes are within the window";
  clock_.advance(minutes(3));
  clocks_.note("acme", "web", seconds(-1));
  EXPECT_EQ(clocks_.list("acme").at(0).delay, seconds(1));
}

TEST_F(SenderClocksTest, HalfAWindowLaterTheHalfBeforeStillCounts) {
  clock_.advance(seconds(140));
  clocks_.note("acme", "web", seconds(60));
  clock_.advance(seconds(20));
  clocks_.note("acme", "web", seconds(1));
  EXPECT_EQ(clocks_.list("acme").at(0).skew, seconds(60));
}

TEST_F(SenderClocksTest, WhoIsSilentIsNotListed) {
  clocks_.note("acme", "web", seconds(60));
  clock_.advance(minutes(5));
  EXPECT_THAT(clocks_.list("acme"), IsEmpty());
}

TEST_F(SenderClocksTest, TheMostRecentlyHeardAreKeptAndComeFirst) {
  for (const char* sender : {"a", "b", "c", "a", "d"}) {
    clocks_.note("acme", sender, seconds(1));
    clock_.advance(seconds(1));
  }
  std::vector<std::string> senders;
  for (const SenderClock& one : clocks_.list("acme")) senders.push_back(one.sender);
  EXPECT_THAT(senders, ElementsAre("d", "a", "c"));
}

TEST_F(SenderClocksTest, WorkspacesDoNotSeeEachOther) {
  clocks_.note("acme", "web", seconds(1));
  clocks_.note("globex", "web", seconds(2));
  EXPECT_EQ(clocks_.list("acme").at(0).skew, seconds(1));
  EXPECT_EQ(clocks_.list("globex").at(0).skew, seconds(2));
  EXPECT_THAT(clocks_.list("initech"), IsEmpty());
  clocks_.note("initech", "web", seconds(2));
  EXPECT_THAT(clocks_.list("initech"), IsEmpty()) << "a third workspace is past the limit";
}

TEST_F(SenderClocksTest, ALongNameIsCut) {
  clocks_.note("acme", "abcdefghijkl", seconds(1));
  clocks_.note("acme", "abcdefghmnop", seconds(2));
  EXPECT_THAT(clocks_.list("acme"),
              ElementsAre(SenderClock{.sender = "abcdefgh", .skew = seconds(2), .delay = seconds(0)}));
}

}  // namespace
}  // namespace fettle::ingest
