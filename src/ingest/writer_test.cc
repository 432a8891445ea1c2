#include "ingest/writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <thread>

#include "ingest/spool_for_test.h"
#include "ingest/store_for_test.h"

namespace fettle::ingest {
namespace {

namespace fs = std::filesystem;
using Fault = FakeStore::Fault;
using telemetry::Table;
using testing::ElementsAre;
using testing::IsEmpty;

SpoolRecord texts_record(const std::vector<std::string>& texts, std::string sender = "web") {
  return spans_record(text_column(texts), static_cast<std::uint32_t>(texts.size()), std::move(sender));
}

SpoolRecord texts_record_of(Table table, std::int32_t day, const std::vector<std::string>& texts) {
  SpoolRecord record;
  record.blocks.push_back({table, day, static_cast<std::uint32_t>(texts.size()), 1, text_column(texts)});
  return record;
}

// A life with a writer on real time: what is tested is what arrives, and a test ends by stopping the writer.
class WriterTest : public testing::Test {
 protected:
  struct Run : Life {
    Run(const fs::path& folder, Clock& its_clock, const std::string& boot_id = "boot-1")
        : Life(folder, its_clock, boot_id) {
      options.linger = std::chrono::nanoseconds(0);
      options.seal_interval = std::chrono::nanoseconds(0);
      writer_options.pause_min = std::chrono::milliseconds(1);
      writer_options.pause_max = std::chrono::milliseconds(2);
    }
    void start(Store& store) {
      writer = std::make_unique<Writer>(writer_options, *spool, store, disk, clock, registry);
    }
    // Everything is sent when this returns.
    Writer::Rest finish() { return writer->stop(clock.monotonic() + std::chrono::seconds(60)); }

    Writer::Options writer_options;
    std::unique_ptr<Writer> writer;
  };

  static SpoolRecord one_column(SpoolRecord record) {
    for (auto& block : record.blocks) block.columns = 1;
    return record;
  }
  static SpoolRecord spans(const std::vector<std::string>& texts, const std::string& sender = "web") {
    return one_column(texts_record(texts, sender));
  }

  TempFolder folder;
  SystemClock clock;
  FakeStore store;
};

TEST_F(WriterTest, WhatIsAcknowledgedArrivesOnceWithItsIngestId) {
  Run run(folder.path(), clock);
  run.open();
  ASSERT_TRUE(run.append(spans({"a", "b"})));
  const std::uint64_t writer = run.spool->writer_id();
  run.start(store);
  ASSERT_TRUE(run.append(spans({"c"})));
  const auto rest = run.finish();
  EXPECT_EQ(rest.segments, 0u);
  EXPECT_THAT(store.texts(), ElementsAre("a", "b", "c"));
  for (const auto& row : store.rows()) EXPECT_EQ(row.ingest_id >> 32, writer);
  EXPECT_EQ(run.books().stored, 3u);
  EXPECT_TRUE(run.books().balanced());
}

TEST_F(WriterTest, ASegmentIsOneInsertPerTableAndDay) {
  Run run(folder.path(), clock);
  run.open();
  for (int i = 0; i < 10; ++i) {
    SpoolRecord record = spans({"s"});
    record.blocks.push_back(texts_record_of(Table::kLogs, 20'000, {"l"}).blocks[0]);
    record.blocks.push_back(texts_record_of(Table::kLogs, 20'001, {"m"}).blocks[0]);
    ASSERT_TRUE(run.append(std::move(record)));
  }
  run.start(store);
  run.finish();
  EXPECT_EQ(store.tokens_seen().size(), 3u);
  EXPECT_EQ(store.rows().size(), 30u);
}

TEST_F(WriterTest, AnInsertThatFailsIsSentAgainWithItsToken) {
  store.then({Fault::kFail, Fault::kFail});
  Run run(folder.path(), clock);
  run.open();
  run.start(store);
  ASSERT_TRUE(run.append(spans({"a"})));
  run.finish();
  const auto tokens = store.tokens_seen();
  ASSERT_EQ(tokens.size(), 3u);
  EXPECT_EQ(tokens[0], tokens[1]);
  EXPECT_EQ(tokens[1], tokens[2]);
  EXPECT_THAT(store.texts(), ElementsAre("a"));
  EXPECT_EQ(run.registry.counter("fettle_store_insert_retries_total", "").value(), 2);
}

TEST_F(WriterTest, AnInsertWhoseAnswerIsLostLandsOnce) {
  store.then({Fault::kApplyThenFail});
  Run run(folder.path(), clock);
  run.open();
  run.start(store);
  ASSERT_TRUE(run.append(spans({"a"})));
  run.finish();
  EXPECT_EQ(store.tokens_seen().size(), 2u);
  EXPECT_THAT(store.texts(), ElementsAre("a"));
}

TEST_F(WriterTest, WhileTheStoreIsDownNothingIsRefusedAndThenAllArrives) {
  store.set_down(true);
  Run run(folder.path(), clock);
  run.open();
  run.start(store);
  std::vector<std::string> expected;
  for (int i = 100; i < 200; ++i) {
    expected.push_back(std::to_string(i));
    ASSERT_TRUE(run.append(spans({expected.back()})));
  }
  store.await_inserts(3);
  EXPECT_GT(run.writer->failing_for().count(), 0);
  store.set_down(false);
  run.finish();
  EXPECT_EQ(store.texts(), expected);
  EXPECT_EQ(run.writer->failing_for().count(), 0);
}

TEST_F(WriterTest, AKillAfterTheInsertAndBeforeTheConfirmationDoesNotDouble) {
  // The store applies the insert; the server is killed before it knows.
  for (const char* boot : {"boot-1", "boot-2"}) {
    TempFolder own;
    FakeStore its_store;
    {
      its_store.then({Fault::kApplyThenFail});
      Run run(own.path(), clock);
      run.open();
      run.writer_options.pause_min = run.writer_options.pause_max = std::chrono::hours(1);
      ASSERT_TRUE(run.append(spans({"a", "b"})));
      run.start(its_store);
      its_store.await_inserts(1);
      run.writer.reset();
    }
    const bool power_cut = std::string(boot) == "boot-2";
    if (power_cut) its_store.forget_tokens();
    Run run(own.path(), clock, boot);
    run.open();
    run.start(its_store);
    run.finish();
    EXPECT_THAT(its_store.texts(), ElementsAre("a", "b")) << boot;
    EXPECT_EQ(its_store.questions(), power_cut ? 1 : 0);
    EXPECT_EQ(run.books().stored, 2u);
    EXPECT_TRUE(run.books().balanced());
  }
}

TEST_F(WriterTest, AfterAPowerCutWhatTheStoreDoesNotHaveIsSent) {
  {
    Run run(folder.path(), clock);
    run.open();
    ASSERT_TRUE(run.append(spans({"a"})));
  }
  Run run(folder.path(), clock, "boot-2");
  run.open();
  run.start(store);
  run.finish();
  EXPECT_EQ(store.questions(), 1);
  EXPECT_THAT(store.texts(), ElementsAre("a"));
}

TEST_F(WriterTest, ARowThatIsRefusedForGoodIsPutAsideAndTheQueueMovesOn) {
  store.refuse("bad");
  Run run(folder.path(), clock);
  run.open();
  std::vector<std::string> texts;
  for (int i = 10; i < 50; ++i) texts.push_back(i == 33 ? "bad 33" : std::to_string(i));
  ASSERT_TRUE(run.append(spans(texts)));
  ASSERT_TRUE(run.append(spans({"good neighbour"})));
  run.start(store);
  ASSERT_TRUE(run.append(spans({"later"})));
  run.finish();
  std::vector<std::string> expected = texts;
  std::erase(expected, "bad 33");
  expected.insert(expected.end(), {"good neighbour", "later"});
  std::sort(expected.begin(), expected.end());
  EXPECT_EQ(store.texts(), expected);
  EXPECT_EQ(run.writer->refused_rows(), 1u);
  const BalanceRow books = run.books();
  EXPECT_EQ(books.rejected.at("refused_by_store"), 1u);
  EXPECT_EQ(books.stored, 41u);
  EXPECT_TRUE(books.balanced());

  std::vector<fs::path> kept;
  for (const auto& entry : fs::directory_iterator(folder.path() / "refused")) kept.push_back(entry.path());
  ASSERT_EQ(kept.size(), 1u);
  std::ifstream in(kept[0], std::ios::binary);
  const std::string content{std::istreambuf_iterator<char>(in), {}};
  EXPECT_TRUE(content.starts_with("{\"token\":"));
  EXPECT_TRUE(content.contains("a bad row"));
  EXPECT_TRUE(content.contains("bad 33"));
  // Behind the line of JSON stands a whole Native block of that row: two columns, one row.
  const std::string native = content.substr(content.find('\n') + 1);
  EXPECT_TRUE(native.starts_with(std::string("\x02\x01", 2) + text_column({"bad 33"}))) << native;
  EXPECT_TRUE(native.contains("ingest_id"));
}

TEST_F(WriterTest, ARefusedRowIsChargedToItsSender) {
  store.refuse("bad");
  Run run(folder.path(), clock);
  run.open();
  SpoolRecord record = spans({"a1", "a2", "b1", "bad b2", "bad a3"}, "a");
  record.counts[0].received = record.counts[0].accepted = 3;
  CountDelta other = record.counts[0];
  other.sender = "b";
  other.received = other.accepted = 2;
  record.counts.push_back(other);
  record.origins = {{0, 0, 2}, {0, 1, 2}, {0, 0, 1}};
  ASSERT_TRUE(run.append(std::move(record)));
  run.start(store);
  run.finish();
  EXPECT_EQ(run.books("a").stored, 2u);
  EXPECT_EQ(run.books("a").rejected.at("refused_by_store"), 1u);
  EXPECT_EQ(run.books("b").stored, 1u);
  EXPECT_EQ(run.books("b").rejected.at("refused_by_store"), 1u);
  EXPECT_TRUE(run.books("a").balanced());
  EXPECT_TRUE(run.books("b").balanced());
}

TEST_F(WriterTest, NothingButBadRowsDoNotHoldUpTheQueueForEver) {
  store.refuse("bad");
  Run run(folder.path(), clock);
  run.writer_options.split_inserts_max = 20;
  run.open();
  ASSERT_TRUE(run.append(spans(std::vector<std::string>(5'000, "bad"))));
  ASSERT_TRUE(run.append(spans({"good"})));
  run.start(store);
  run.finish();
  EXPECT_THAT(store.texts(), ElementsAre("good"));
  EXPECT_LE(store.tokens_seen().size(), 30u);
  EXPECT_EQ(run.writer->refused_rows(), 5'000u);
  EXPECT_EQ(run.books().rejected.at("refused_by_store"), 5'000u);
  EXPECT_TRUE(run.books().balanced());
}

TEST_F(WriterTest, ABlockThatCannotBeSplitIsPutAsideWhole) {
  Run run(folder.path(), clock);
  run.open();
  ASSERT_TRUE(run.append(spans_record("no block at all", 3)));
  ASSERT_TRUE(run.append(spans({"good"})));
  run.start(store);
  run.finish();
  EXPECT_THAT(store.texts(), ElementsAre("good"));
  EXPECT_EQ(run.writer->refused_rows(), 3u);
  EXPECT_TRUE(run.books().balanced());
}

TEST_F(WriterTest, RefusedRowsAreKeptWithinABoundAndAllAreCounted) {
  store.refuse("bad");
  Run run(folder.path(), clock);
  run.writer_options.refused_bytes_max = 1'000;
  run.open();
  std::vector<std::string> texts(20, "bad" + std::string(200, 'x'));
  ASSERT_TRUE(run.append(spans(texts)));
  run.start(store);
  run.finish();
  std::uint64_t kept = 0;
  for (const auto& entry : fs::directory_iterator(folder.path() / "refused")) kept += entry.file_size();
  EXPECT_GT(kept, 0u);
  EXPECT_LE(kept, 1'000u);
  EXPECT_EQ(run.books().rejected.at("refused_by_store"), 20u);
}

TEST_F(WriterTest, AKillWhileABlockIsSplitNeitherLosesNorDoubles) {
  // Killed after every possible number of inserts, within one boot and with a power cut that costs the tokens.
  for (const bool power_cut : {false, true}) {
    for (std::size_t inserts = 1; inserts < 12; ++inserts) {
      TempFolder own;
      FakeStore its_store;
      its_store.refuse("bad");
      {
        Run run(own.path(), clock);
        run.open();
        ASSERT_TRUE(run.append(spans({"1", "2", "bad", "4"})));
        ASSERT_TRUE(run.append(spans({"5"})));
        run.writer_options.pause_min = run.writer_options.pause_max = std::chrono::hours(1);
        its_store.then(std::vector<Fault>(inserts - 1, Fault::kNone));
        its_store.then({Fault::kFail});
        run.start(its_store);
        // Either it hangs on the failing insert or it is through.
        while (its_store.tokens_seen().size() < inserts && run.spool->status().segments > 0) std::this_thread::yield();
        run.writer.reset();
      }
      its_store.then({});
      if (power_cut) its_store.forget_tokens();
      Run run(own.path(), clock, power_cut ? "boot-2" : "boot-1");
      run.open();
      run.start(its_store);
      run.finish();
      const auto texts = its_store.texts();
      const std::set<std::string> distinct(texts.begin(), texts.end());
      EXPECT_THAT(distinct, ElementsAre("1", "2", "4", "5")) << inserts;
      if (!power_cut) {
        EXPECT_EQ(texts.size(), 4u) << inserts;
        EXPECT_EQ(run.books().rejected["refused_by_store"], 1u) << inserts;
      }
      EXPECT_TRUE(run.books().balanced()) << inserts;
    }
  }
}

TEST_F(WriterTest, AStoreShortOfMemoryGetsTheSegmentBlockByBlock) {
  Run run(folder.path(), clock);
  run.open();
  for (const char* text : {"a", "b", "c"}) ASSERT_TRUE(run.append(spans({text})));
  store.then(std::vector<Fault>(5, Fault::kExhausted));
  run.start(store);
  run.finish();
  EXPECT_THAT(store.texts(), ElementsAre("a", "b", "c"));
  EXPECT_EQ(store.tokens_seen().size(), 8u);
  EXPECT_EQ(run.writer->refused_rows(), 0u);
}

TEST_F(WriterTest, AnInsertThatIsTooSlowTooOftenIsSentInParts) {
  Run run(folder.path(), clock);
  run.open();
  for (const char* text : {"a", "b", "c"}) ASSERT_TRUE(run.append(spans({text})));
  store.then(std::vector<Fault>(5, Fault::kTooSlow));
  run.start(store);
  run.finish();
  EXPECT_THAT(store.texts(), ElementsAre("a", "b", "c"));
  EXPECT_EQ(store.tokens_seen().size(), 8u);
  EXPECT_EQ(store.questions(), 1);
  EXPECT_EQ(run.writer->refused_rows(), 0u);
}

TEST_F(WriterTest, AnInsertThatLandedAfterItsTimeIsNotSentInParts) {
  Run run(folder.path(), clock);
  run.open();
  for (const char* text : {"a", "b"}) ASSERT_TRUE(run.append(spans({text})));
  store.then({Fault::kApplyThenFail});
  store.then(std::vector<Fault>(5, Fault::kTooSlow));
  run.start(store);
  run.finish();
  EXPECT_THAT(store.texts(), ElementsAre("a", "b"));
  EXPECT_EQ(store.tokens_seen().size(), 6u);
}

TEST_F(WriterTest, AFaultOfTheStoreRefusesNoRowAndRaisesAnAlarm) {
  Run run(folder.path(), clock);
  run.open();
  ASSERT_TRUE(run.append(spans({"a"})));
  store.then(std::vector<Fault>(20, Fault::kFaulty));
  run.start(store);
  run.finish();
  EXPECT_THAT(store.texts(), ElementsAre("a"));
  EXPECT_EQ(run.writer->refused_rows(), 0u);
  EXPECT_EQ(run.registry.counter("fettle_store_insert_faults_total", "").value(), 20);
}

TEST_F(WriterTest, OneBadRowAmongManyRecordsCostsFewInserts) {
  store.refuse("bad");
  Run run(folder.path(), clock);
  run.open();
  std::vector<std::future<Result<void>>> appended;
  for (int i = 0; i < 1'500; ++i) appended.push_back(run.append_later(spans({i == 777 ? "bad" : std::to_string(i)})));
  for (auto& each : appended) ASSERT_TRUE(each.get());
  run.start(store);
  run.finish();
  EXPECT_EQ(store.texts().size(), 1'499u);
  EXPECT_LT(store.tokens_seen().size(), 100u);
  EXPECT_EQ(run.writer->refused_rows(), 1u);
  EXPECT_TRUE(run.books().balanced());
}

TEST_F(WriterTest, ASplitOfManyRecordsStaysWithinWhatTheStoreRemembers) {
  store.refuse("bad");
  Run run(folder.path(), clock);
  run.open();
  std::vector<std::future<Result<void>>> appended;
  for (int i = 0; i < 1'500; ++i) appended.push_back(run.append_later(spans({"bad", std::to_string(i)})));
  for (auto& each : appended) ASSERT_TRUE(each.get());
  run.start(store);
  run.finish();
  EXPECT_LT(store.tokens_seen().size(), 480u);
  EXPECT_EQ(run.writer->refused_rows() + store.texts().size(), 3'000u);
  EXPECT_EQ(run.books().rejected.at("refused_by_store"), run.writer->refused_rows());
  EXPECT_TRUE(run.books().balanced());
}

TEST_F(WriterTest, ASplitBeginsOnlyOnceItIsNoted) {
  store.refuse("bad");
  Run run(folder.path(), clock);
  run.open();
  ASSERT_TRUE(run.append(spans({"bad", "good"})));
  run.disk.fail_sync(".splitting");
  std::atomic<bool> was_noted = true;
  store.before_insert([&](const std::string& token) {
    const bool is_part = token.contains(".0.");
    if (is_part && run.disk.syncs(".splitting") < 2) was_noted = false;
  });
  run.start(store);
  run.finish();
  EXPECT_TRUE(was_noted);
  EXPECT_GE(run.disk.syncs(".splitting"), 2);
  EXPECT_THAT(store.texts(), ElementsAre("good"));
}

TEST_F(WriterTest, RefusedRowsWaitForRoomOnTheDiskAndAreThereBeforeTheSegmentGoes) {
  store.refuse("bad");
  Run run(folder.path(), clock);
  run.open();
  ASSERT_TRUE(run.append(spans({"bad", "good"})));
  // Not before: sealing the segment gives back the space that was reserved for it.
  store.before_insert([&, is_first = true](const std::string&) mutable {
    if (std::exchange(is_first, false)) run.disk.set_space(0);
  });
  run.start(store);
  while (run.disk.full_answers() < 3 && run.spool->status().segments != 0) std::this_thread::yield();
  EXPECT_EQ(run.spool->status().segments, 1u);
  const int synced_before = run.disk.folder_syncs("refused");
  run.disk.set_space(1 << 20);
  run.finish();
  EXPECT_GT(run.disk.folder_syncs("refused"), synced_before);
  int kept = 0;
  for (const auto& entry : fs::directory_iterator(folder.path() / "refused")) {
    ++kept;
    EXPECT_GT(entry.file_size(), 0u);
  }
  EXPECT_EQ(kept, 1);
  EXPECT_EQ(run.writer->refused_rows(), 1u);
}

TEST_F(WriterTest, StopLeavesToTheNextStartWhatDoesNotMakeTheDeadline) {
  store.set_down(true);
  {
    Run run(folder.path(), clock);
    run.open();
    ASSERT_TRUE(run.append(spans({"a"})));
    run.start(store);
    const auto rest = run.writer->stop(clock.monotonic() + std::chrono::milliseconds(20));
    EXPECT_EQ(rest.segments, 1u);
    EXPECT_GT(rest.bytes, 0u);
  }
  store.set_down(false);
  Run run(folder.path(), clock);
  run.open();
  run.start(store);
  run.finish();
  EXPECT_THAT(store.texts(), ElementsAre("a"));
}

TEST_F(WriterTest, CountsWithoutRowsAreConfirmedWithoutAnInsert) {
  Run run(folder.path(), clock);
  run.open();
  SpoolRecord record;
  CountDelta rejected;
  rejected.workspace.value = "acme";
  rejected.sender = "web";
  rejected.received = 4;
  rejected.rejected["too_old"] = 4;
  record.counts.push_back(rejected);
  ASSERT_TRUE(run.append(std::move(record)));
  run.start(store);
  EXPECT_EQ(run.finish().segments, 0u);
  EXPECT_THAT(store.tokens_seen(), IsEmpty());
  EXPECT_TRUE(run.books().balanced());
}

}  // namespace
}  // namespace fettle::ingest
