#include "ingest/balance.h"

#include <gtest/gtest.h>

namespace fettle::ingest {
namespace {

CountDelta delta(const std::string& sender, std::uint64_t received, std::uint64_t accepted) {
  CountDelta made;
  made.workspace.value = "acme";
  made.sender = sender;
  made.received = received;
  made.accepted = accepted;
  return made;
}

TEST(Balance, AcceptedRecordsArePendingUntilTheirSegmentIsConfirmed) {
  Balance balance;
  CountDelta first = delta("web", 10, 6);
  first.duplicate = 1;
  first.redacted_away = 1;
  first.rejected = {{"too_old", 2}};
  balance.add(1, {first});
  balance.add(2, {delta("web", 5, 5)});
  BalanceRow row = balance.snapshot({"acme"}).at(0);
  EXPECT_EQ(row.pending, 11u);
  EXPECT_EQ(row.stored, 0u);
  EXPECT_TRUE(row.balanced());

  balance.confirm(1, {});
  row = balance.snapshot({"acme"}).at(0);
  EXPECT_EQ(row.pending, 5u);
  EXPECT_EQ(row.stored, 6u);
  EXPECT_EQ(row.received, 15u);
  EXPECT_TRUE(row.balanced());
}

TEST(Balance, ARefusedRowMovesFromStoredToRejected) {
  Balance balance;
  balance.add(1, {delta("web", 10, 10)});
  CountDelta refused = delta("web", 0, 0);
  refused.rejected[std::string(Balance::kRefusedByStore)] = 3;
  balance.confirm(1, {refused});
  const BalanceRow row = balance.snapshot({"acme"}).at(0);
  EXPECT_EQ(row.stored, 7u);
  EXPECT_EQ(row.rejected.at("refused_by_store"), 3u);
  EXPECT_TRUE(row.balanced());
}

TEST(Balance, RetentionTakesFromStored) {
  Balance balance;
  balance.add(1, {delta("web", 10, 10)});
  CountDelta gone = delta("web", 0, 0);
  gone.sampled_out = 4;
  gone.expired = 1;
  balance.add(2, {gone});
  balance.confirm(2, {});
  const BalanceRow row = balance.snapshot({"acme"}).at(0);
  EXPECT_EQ(row.stored, 5u);
  EXPECT_EQ(row.sampled_out, 4u);
  EXPECT_TRUE(row.balanced());
}

TEST(Balance, BooksThatDoNotBalanceSaySo) {
  Balance balance;
  balance.add(1, {delta("web", 10, 9)});
  EXPECT_FALSE(balance.snapshot({"acme"}).at(0).balanced());
  CountDelta gone = delta("api", 0, 0);
  gone.expired = 4;  // more than was ever stored
  balance.add(1, {gone});
  EXPECT_FALSE(balance.snapshot({"acme"}).at(0).balanced());
}

TEST(Balance, SendersAndReasonsPastTheBoundAreCountedAsOther) {
  Balance balance({.senders_max = 2, .sender_bytes_max = 4, .reasons_max = 1});
  for (const char* sender : {"a", "b", "c", "d", "a"}) balance.add(1, {delta(sender, 1, 1)});
  CountDelta rejected = delta("a", 2, 0);
  rejected.rejected = {{"x", 1}, {"y", 1}};
  balance.add(1, {rejected});
  const auto rows = balance.snapshot({"acme"});
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].received, 4u);
  EXPECT_EQ(rows[0].rejected, (std::map<std::string, std::uint64_t>{{"other", 1}, {"x", 1}}));
  EXPECT_EQ(rows[2].sender, "other");
  EXPECT_EQ(rows[2].received, 2u);
}

TEST(Balance, ALongSenderNameIsCut) {
  Balance balance({.senders_max = 2, .sender_bytes_max = 4, .reasons_max = 1});
  balance.add(1, {delta("abcdefgh", 1, 1)});
  EXPECT_EQ(balance.snapshot({"acme"}).at(0).sender, "abcd");
}

TEST(Balance, AWorkspaceSeesOnlyItsOwnLines) {
  Balance balance;
  CountDelta other = delta("web", 1, 1);
  other.workspace.value = "acme2";
  balance.add(1, {delta("web", 1, 1), other});
  EXPECT_EQ(balance.snapshot({"acme"}).size(), 1u);
  EXPECT_TRUE(balance.snapshot({"acm"}).empty());
}

TEST(Balance, ConfirmedBooksComeBackAndPendingOnesDoNot) {
  Balance balance;
  CountDelta first = delta("web", 10, 7);
  first.rejected = {{"too_old", 3}};
  balance.add(1, {first});
  balance.confirm(1, {});
  balance.add(2, {delta("web", 5, 5)});
  Balance restored;
  ASSERT_TRUE(restored.restore_confirmed(balance.encode_confirmed()));
  BalanceRow expected = balance.snapshot({"acme"}).at(0);
  expected.received -= 5;
  expected.pending = 0;
  EXPECT_EQ(restored.snapshot({"acme"}).at(0), expected);
}

TEST(Balance, DamagedBooksAreRefused) {
  Balance balance;
  balance.add(1, {delta("web", 10, 10)});
  balance.confirm(1, {});
  const std::string books = balance.encode_confirmed();
  for (std::size_t cut = 0; cut < books.size(); ++cut) {
    EXPECT_FALSE(Balance().restore_confirmed(books.substr(0, cut))) << cut;
  }
}

}  // namespace
}  // namespace fettle::ingest
