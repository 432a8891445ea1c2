#include "ingest/spool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <fstream>
#include <mutex>
#include <thread>

#include "ingest/segment.h"
#include "ingest/spool_for_test.h"

namespace fettle::ingest {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::IsEmpty;

std::vector<fs::path> segment_files(const fs::path& folder) {
  std::vector<fs::path> paths;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".segment") paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

std::string slurp(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void spill(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

// What lies in a spool's folder right now. Files may grow, shrink and change their names meanwhile, as a kill would
// find them too, and fs::copy() takes a file that shrinks under it for an error of the disk.
void copy_live_folder(const fs::path& from, const fs::path& to) {
  for (const auto& entry : fs::directory_iterator(from)) {
    if (entry.is_directory()) {
      fs::create_directories(to / entry.path().filename());
      copy_live_folder(entry.path(), to / entry.path().filename());
      continue;
    }
    spill(to / entry.path().filename(), slurp(entry.path()));
  }
}

std::vector<std::string> texts_of(const SealedSegment& segment) {
  std::vector<std::string> texts;
  for (const SealedRecord& sealed : segment.records) {
    for (std::string_view bytes : sealed.block_bytes) texts.emplace_back(bytes);
  }
  return texts;
}

class SpoolTest : public testing::Test {
 protected:
  TempFolder folder;
  ManualClock clock{kTestStart};
};

TEST_F(SpoolTest, WhatIsAcknowledgedIsTakenInOrder) {
  Life life(folder.path(), clock);
  life.open();
  for (const char* text : {"one", "two", "three"}) ASSERT_TRUE(life.append(spans_record(text)));
  const SealedSegment segment = life.take();
  EXPECT_THAT(texts_of(segment), ElementsAre("one", "two", "three"));
  EXPECT_EQ(segment.ingest_id, std::uint64_t{life.spool->writer_id()} << 32 | segment.number);
  EXPECT_FALSE(segment.ask_first);
}

TEST_F(SpoolTest, WhatIsAcknowledgedSurvivesARestart) {
  std::uint32_t writer = 0;
  {
    Life life(folder.path(), clock);
    life.open();
    writer = life.spool->writer_id();
    ASSERT_TRUE(life.append(spans_record("one", 3)));
  }
  Life life(folder.path(), clock);
  life.open();
  EXPECT_EQ(life.spool->writer_id(), writer);
  EXPECT_EQ(life.books().pending, 3u);
  EXPECT_EQ(life.spool->status().rows, 3u);
  EXPECT_EQ(life.spool->status().losses_total, 0u);
  ASSERT_TRUE(life.append(spans_record("two")));
  EXPECT_THAT(life.drain(), ElementsAre("one", "two"));
  EXPECT_EQ(life.books().stored, 4u);
}

TEST_F(SpoolTest, AFileCutAtAnyByteLosesNothingBeforeTheCutAndNamesTheRest) {
  {
    Life life(folder.path(), clock);
    life.open();
    for (const char* text : {"one", "two", "three"}) ASSERT_TRUE(life.append(spans_record(text)));
  }
  const fs::path file = segment_files(folder.path()).at(0);
  std::string whole = slurp(file);
  const SegmentHeader header = *decode_header(whole);
  const SegmentScan scan = scan_segment(whole, {.writer = header.writer, .number = header.number});
  whole.resize(scan.end);
  ASSERT_EQ(scan.records.size(), 3u);
  for (std::size_t cut = 0; cut <= whole.size(); cut += cut < kSegmentHeaderBytes ? 8 : 1) {
    spill(file, whole.substr(0, cut));
    std::vector<std::string> expected;
    std::uint64_t intact = kSegmentHeaderBytes;
    for (std::size_t i = 0; i < 3; ++i) {
      const std::uint64_t end = i + 1 < 3 ? scan.records[i + 1].offset : scan.end;
      if (end > cut) break;
      intact = end;
      expected.emplace_back(scan.records[i].block_bytes[0]);
    }
    TempFolder copy;
    copy_live_folder(folder.path(), copy.path());
    Life life(copy.path(), clock, "boot-2");
    life.open();
    const SpoolStatus status = life.spool->status();
    if (cut > intact) {
      ASSERT_EQ(status.losses.size(), 1u) << "cut at " << cut;
      EXPECT_EQ(status.losses[0].segment, header.number);
      EXPECT_EQ(status.losses[0].offset, intact);
      // Zeros at the end are no different from the space that was reserved and never written.
      EXPECT_EQ(status.losses[0].bytes, whole.find_last_not_of('\0', cut - 1) + 1 - intact);
    }
    ASSERT_EQ(life.drain(), expected) << "cut at " << cut;
    EXPECT_EQ(life.books().received, expected.size());
  }
}

TEST_F(SpoolTest, ADamagedRecordInTheMiddleIsSkippedAndNamed) {
  {
    Life life(folder.path(), clock);
    life.open();
    for (const char* text : {"one", "two", "three"}) ASSERT_TRUE(life.append(spans_record(text)));
  }
  const fs::path file = segment_files(folder.path()).at(0);
  std::string bytes = slurp(file);
  bytes[bytes.find("two")] ^= 1;
  spill(file, bytes);
  Life life(folder.path(), clock);
  life.open();
  EXPECT_THAT(life.drain(), ElementsAre("one", "three"));
  const SpoolStatus status = life.spool->status();
  ASSERT_EQ(status.losses.size(), 1u);
  EXPECT_EQ(status.losses[0].records, 1u);
  EXPECT_TRUE(status.losses[0].acknowledged);
}

TEST_F(SpoolTest, DamageAfterAcknowledgementIsFoundWhenTheSegmentIsSent) {
  Life life(folder.path(), clock);
  life.open();
  ASSERT_TRUE(life.append(spans_record("one")));
  ASSERT_TRUE(life.append(spans_record("two")));
  const fs::path file = segment_files(folder.path()).at(0);
  std::string bytes = slurp(file);
  bytes[bytes.find("two")] ^= 1;
  spill(file, bytes);
  const SealedSegment segment = life.take();
  EXPECT_THAT(texts_of(segment), ElementsAre("one"));
  const SpoolStatus status = life.spool->status();
  ASSERT_EQ(status.losses.size(), 1u);
  EXPECT_EQ(status.losses[0].records, 1u);
  EXPECT_TRUE(status.losses[0].acknowledged);
  ASSERT_TRUE(life.spool->confirm(segment, {}));
  const BalanceRow books = life.books();
  EXPECT_EQ(books.stored, 1u) << "what is lost is not stored";
  EXPECT_EQ(books.rejected.at("spool_loss"), 1u);
  EXPECT_TRUE(books.balanced());
}

TEST_F(SpoolTest, ANewFolderIsMadeLasting) {
  Life life(folder.path() / "spool", clock);
  life.open();
  EXPECT_EQ(life.disk.folder_syncs(folder.path().filename().string()), 1);
}

TEST_F(SpoolTest, ARecordLargerThanWhatMayWaitPassesAndSmallOnesPassBesideIt) {
  Life life(folder.path(), clock);
  life.options.waiting_bytes_max = 4'000;
  life.open();
  std::promise<void> syncing, go_on;
  std::atomic<bool> is_first = true;
  life.disk.on_sync([&, until = go_on.get_future().share()](const std::string&) {
    if (!is_first.exchange(false)) return;
    syncing.set_value();
    until.wait();
  });
  auto first = life.append_later(spans_record("first"));
  syncing.get_future().wait();
  auto large = life.append_later(spans_record(std::string(20'000, 'x')));
  auto small = life.append_later(spans_record("small"));
  auto another = life.append_later(spans_record(std::string(20'000, 'y')));
  go_on.set_value();
  EXPECT_TRUE(first.get());
  EXPECT_TRUE(large.get());
  EXPECT_TRUE(small.get());
  EXPECT_FALSE(another.get()) << "one at a time";
  EXPECT_TRUE(life.append(spans_record("later")));
}

TEST_F(SpoolTest, AMissingSegmentFileIsNamed) {
  {
    Life life(folder.path(), clock);
    life.options.segment_rows_max = 1;
    life.open();
    for (const char* text : {"one", "two", "three"}) ASSERT_TRUE(life.append(spans_record(text)));
  }
  const auto files = segment_files(folder.path());
  ASSERT_EQ(files.size(), 3u);
  fs::remove(files[1]);
  Life life(folder.path(), clock);
  life.open();
  ASSERT_EQ(life.spool->status().losses.size(), 1u);
  EXPECT_TRUE(life.spool->status().losses[0].acknowledged);
  EXPECT_THAT(life.drain(), ElementsAre("one", "three"));
}

TEST_F(SpoolTest, RecordsThatWaitShareOneSync) {
  Life life(folder.path(), clock);
  life.open();
  std::mutex mutex;
  std::condition_variable changed;
  bool is_syncing = false;
  bool may_go_on = false;
  life.disk.on_sync([&](const std::string& name) {
    if (!name.contains(".segment")) return;
    std::unique_lock lock(mutex);
    is_syncing = true;
    changed.notify_all();
    changed.wait(lock, [&] { return may_go_on; });
  });
  std::vector<std::future<Result<void>>> outcomes;
  outcomes.push_back(life.append_later(spans_record("first")));
  {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return is_syncing; });
  }
  for (int i = 0; i < 100; ++i) outcomes.push_back(life.append_later(spans_record("later")));
  {
    std::lock_guard lock(mutex);
    may_go_on = true;
  }
  changed.notify_all();
  for (auto& outcome : outcomes) EXPECT_TRUE(outcome.get());
  EXPECT_EQ(life.disk.syncs(".segment"), 2);
}

TEST_F(SpoolTest, NothingIsAcknowledgedBeforeTheSync) {
  Life life(folder.path(), clock);
  life.open();
  std::promise<void> syncing;
  std::promise<void> go_on;
  life.disk.on_sync([&, is_first = true](const std::string& name) mutable {
    if (!name.contains(".segment") || !std::exchange(is_first, false)) return;
    syncing.set_value();
    go_on.get_future().wait();
  });
  auto outcome = life.append_later(spans_record("one"));
  syncing.get_future().wait();
  EXPECT_EQ(outcome.wait_for(std::chrono::seconds(0)), std::future_status::timeout);
  EXPECT_EQ(life.books().received, 0u);
  go_on.set_value();
  EXPECT_TRUE(outcome.get());
}

TEST_F(SpoolTest, AtItsBudgetItRefusesAndTakesAgainOnceDrained) {
  Life life(folder.path(), clock);
  life.options.bytes_max = 4'000;
  life.open();
  ASSERT_TRUE(life.append(spans_record(std::string(3'000, 'x'))));
  EXPECT_LT(life.spool->room(), 1'000u);
  const auto refused = life.append(spans_record(std::string(3'000, 'y')));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::kResourceExhausted);
  EXPECT_TRUE(refused.error().retry_after().has_value());
  const SealedSegment segment = life.take();
  ASSERT_TRUE(life.spool->confirm(segment, {}));
  EXPECT_EQ(life.spool->room(), 4'000u);
  EXPECT_TRUE(life.append(spans_record(std::string(3'000, 'z'))));
}

TEST_F(SpoolTest, AFullDiskRefusesKeepsWhatIsThereAndRecovers) {
  Life life(folder.path(), clock);
  life.open();
  ASSERT_TRUE(life.append(spans_record("before")));
  life.disk.set_space(0);
  const auto refused = life.append(spans_record(std::string(4 << 20, 'x')));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::kResourceExhausted);
  EXPECT_TRUE(refused.error().retry_after().has_value());
  EXPECT_TRUE(life.spool->status().disk_full);
  life.disk.set_space(64 << 20);
  ASSERT_TRUE(life.append(spans_record("after")));
  EXPECT_FALSE(life.spool->status().disk_full);
  Life next(folder.path(), clock);
  next.open();
  EXPECT_EQ(next.spool->status().losses_total, 0u);
  EXPECT_THAT(next.drain(), ElementsAre("before", "after"));
}

TEST_F(SpoolTest, OnAFullDiskASegmentCanStillBeConfirmedWhichFreesIt) {
  Life life(folder.path(), clock);
  life.open();
  SpoolRecord record = spans_record("before");
  record.requests.push_back({hash_of(1), {1, 0}});
  ASSERT_TRUE(life.append(std::move(record)));
  life.disk.set_space(0);
  const SealedSegment segment = life.take();
  ASSERT_TRUE(life.spool->confirm(segment, {}));
  EXPECT_EQ(life.books().stored, 1u);
  EXPECT_TRUE(life.append(spans_record("after")));
}

TEST_F(SpoolTest, ATornWriteIsCutOffAndTheRecordRefused) {
  for (const std::uint64_t torn_after : {0, 1, 30, 60, 100, 120}) {
    TempFolder own;
    Life life(own.path(), clock);
    life.open();
    ASSERT_TRUE(life.append(spans_record("before")));
    life.disk.tear_write(".segment", torn_after);
    const auto refused = life.append(spans_record("torn"));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code(), ErrorCode::kUnavailable);
    ASSERT_TRUE(life.append(spans_record("after")));
    Life next(own.path(), clock);
    next.open();
    EXPECT_EQ(next.spool->status().losses_total, 0u);
    EXPECT_THAT(next.drain(), ElementsAre("before", "after"));
    EXPECT_EQ(next.books().received, 2u);
  }
}

TEST_F(SpoolTest, AfterAFailedSyncTheSegmentIsLeftAndTheRecordNeverAcknowledged) {
  Life life(folder.path(), clock);
  life.open();
  ASSERT_TRUE(life.append(spans_record("before")));
  const std::string with_unacknowledged = [&] {
    std::string seen;
    life.disk.on_sync([&](const std::string& name) {
      if (name.contains(".segment") && seen.empty()) seen = slurp(folder.path() / name);
    });
    life.disk.fail_sync(".segment");
    const auto refused = life.append(spans_record("unknown"));
    EXPECT_FALSE(refused);
    EXPECT_EQ(refused.error().code(), ErrorCode::kUnavailable);
    return seen;
  }();
  ASSERT_TRUE(with_unacknowledged.contains("unknown"));
  ASSERT_TRUE(life.append(spans_record("after")));
  const auto files = segment_files(folder.path());
  ASSERT_EQ(files.size(), 2u);
  // Even when the cut was lost in a crash and the bytes are back, they do not count.
  life.spool.reset();
  spill(files[0], with_unacknowledged);
  Life next(folder.path(), clock);
  next.open();
  EXPECT_THAT(next.drain(), ElementsAre("before", "after"));
}

TEST_F(SpoolTest, ASyncThatFailsOnTheFirstRecordLeavesNothing) {
  Life life(folder.path(), clock);
  life.open();
  life.disk.fail_sync(".segment");
  EXPECT_FALSE(life.append(spans_record("unknown")));
  EXPECT_THAT(segment_files(folder.path()), IsEmpty());
  ASSERT_TRUE(life.append(spans_record("after")));
  EXPECT_THAT(life.drain(), ElementsAre("after"));
}

TEST_F(SpoolTest, AConfirmedSegmentIsNotSentAgain) {
  {
    Life life(folder.path(), clock);
    life.open();
    ASSERT_TRUE(life.append(spans_record("one", 2)));
    const SealedSegment segment = life.take();
    ASSERT_TRUE(life.spool->confirm(segment, {}));
    ASSERT_TRUE(life.append(spans_record("two", 3)));
  }
  Life life(folder.path(), clock);
  life.open();
  EXPECT_EQ(life.books().stored, 2u);
  EXPECT_EQ(life.books().pending, 3u);
  EXPECT_THAT(life.drain(), ElementsAre("two"));
}

TEST_F(SpoolTest, AKillBetweenCheckpointAndRemovalDoesNotCountTwice) {
  std::string bytes;
  fs::path file;
  {
    Life life(folder.path(), clock);
    life.open();
    ASSERT_TRUE(life.append(spans_record("one", 2)));
    file = segment_files(folder.path()).at(0);
    const SealedSegment segment = life.take();
    bytes = slurp(file);
    ASSERT_TRUE(life.spool->confirm(segment, {}));
  }
  spill(file, bytes);
  Life life(folder.path(), clock);
  life.open();
  EXPECT_THAT(life.drain(), IsEmpty());
  EXPECT_EQ(life.books().received, 2u);
  EXPECT_EQ(life.books().stored, 2u);
}

TEST_F(SpoolTest, ATornCheckpointLeavesTheOneBefore) {
  Life life(folder.path(), clock);
  life.open();
  ASSERT_TRUE(life.append(spans_record("one", 2)));
  const SealedSegment segment = life.take();
  life.disk.tear_write("books", 40);
  ASSERT_FALSE(life.spool->confirm(segment, {}));
  {
    TempFolder copy;
    copy_live_folder(folder.path(), copy.path());
    Life next(copy.path(), clock);
    next.open();
    EXPECT_THAT(next.drain(), ElementsAre("one"));
    EXPECT_EQ(next.books().stored, 2u);
  }
  // Confirming again neither fails nor counts twice.
  ASSERT_TRUE(life.spool->confirm(segment, {}));
  EXPECT_EQ(life.books().stored, 2u);
}

TEST_F(SpoolTest, WithoutItsBooksTheSpoolStillSendsWhatItHasAndSaysSo) {
  {
    Life life(folder.path(), clock);
    life.open();
    ASSERT_TRUE(life.append(spans_record("one")));
  }
  for (const char* name : {"books.a", "books.b"}) spill(folder.path() / name, std::string(1'000, 'x'));
  Life life(folder.path(), clock);
  life.open();
  EXPECT_EQ(life.spool->status().losses_total, 1u);
  const SealedSegment segment = life.take();
  EXPECT_TRUE(segment.ask_first);
  EXPECT_THAT(texts_of(segment), ElementsAre("one"));
}

TEST_F(SpoolTest, WithoutBooksAndSegmentsANewWriterBegins) {
  std::uint32_t before = 0;
  {
    Life life(folder.path(), clock);
    life.open();
    before = life.spool->writer_id();
  }
  for (const char* name : {"books.a", "books.b"}) fs::remove(folder.path() / name);
  Life life(folder.path(), clock);
  life.rng = SeededRng(8);
  life.open();
  EXPECT_NE(life.spool->writer_id(), before);
}

TEST_F(SpoolTest, TheStoreIsAskedOnlyWhereItsOwnDeduplicationMayBeGone) {
  struct Case {
    const char* boot;
    bool clean;
    std::uint32_t attempted;
    bool ask_first;
  };
  for (const Case& each :
       {Case{"boot-1", false, 0, false}, Case{"boot-2", false, 0, true}, Case{"", false, 0, true},
        Case{"boot-2", true, 0, false}, Case{"boot-2", true, 1, true}, Case{"boot-1", true, 1, false}}) {
    TempFolder own;
    {
      Life life(own.path(), clock);
      life.open();
      ASSERT_TRUE(life.append(spans_record("one")));
      if (each.clean) {
        ASSERT_TRUE(life.spool->mark_clean(each.attempted));
      }
    }
    Life life(own.path(), clock, each.boot);
    life.open();
    EXPECT_EQ(life.take().ask_first, each.ask_first) << each.boot << " " << each.clean << " " << each.attempted;
  }
}

TEST_F(SpoolTest, ASegmentFromBeforeAPowerCutIsAskedAboutForAsLongAsItIsThere) {
  {
    Life life(folder.path(), clock);
    life.open();
    ASSERT_TRUE(life.append(spans_record("before the cut")));
  }
  for (const bool clean : {false, true, false}) {
    Life life(folder.path(), clock, "boot-2");
    life.open();
    ASSERT_TRUE(life.append(spans_record("after the cut")));
    EXPECT_TRUE(life.take().ask_first);
    EXPECT_FALSE(life.take().ask_first);
    if (clean) {
      ASSERT_TRUE(life.spool->mark_clean(0));
    }
  }
}

TEST_F(SpoolTest, AnOrderlyEndDoesNotForgetWhatAnEarlierRunMayHaveSent) {
  {
    Life life(folder.path(), clock);
    life.open();
    ASSERT_TRUE(life.append(spans_record("sent, perhaps")));
  }
  {
    Life life(folder.path(), clock);
    life.open();
    ASSERT_TRUE(life.spool->mark_clean(0));
  }
  Life life(folder.path(), clock, "boot-2");
  life.open();
  EXPECT_TRUE(life.take().ask_first);
}

TEST_F(SpoolTest, ACleanEndIsNotBelievedTwice) {
  {
    Life life(folder.path(), clock);
    life.open();
    ASSERT_TRUE(life.append(spans_record("one")));
    ASSERT_TRUE(life.spool->mark_clean(0));
  }
  {
    Life life(folder.path(), clock, "boot-2");
    life.open();
  }
  Life life(folder.path(), clock, "boot-3");
  life.open();
  EXPECT_TRUE(life.take().ask_first);
}

TEST_F(SpoolTest, AQuietSpoolSealsAtOnceAndABusyOneOncePerInterval) {
  Life life(folder.path(), clock);
  life.open();
  ASSERT_TRUE(life.append(spans_record("one")));
  clock.advance(life.options.linger);
  auto first = life.spool->take({});
  ASSERT_TRUE(first);
  ASSERT_TRUE(life.append(spans_record("two")));
  std::atomic<bool> taken = false;
  std::jthread taker([&] {
    const auto second = life.spool->take({});
    EXPECT_TRUE(second && second->records.size() == 2);
    taken = true;
  });
  clock.await_waiters(1);
  clock.advance(life.options.seal_interval - std::chrono::milliseconds(1));
  EXPECT_FALSE(taken);
  ASSERT_TRUE(life.append(spans_record("three")));
  clock.advance(std::chrono::milliseconds(1));
  taker.join();
}

TEST_F(SpoolTest, AFullSegmentIsTakenWithoutWaiting) {
  Life life(folder.path(), clock);
  life.options.segment_rows_max = 2;
  life.open();
  ASSERT_TRUE(life.append(spans_record("one")));
  std::promise<std::size_t> taken;
  std::jthread taker([&] {
    const auto segment = life.spool->take({});
    taken.set_value(segment ? segment->records.size() : 0);
  });
  clock.await_waiters(1);
  ASSERT_TRUE(life.append(spans_record("two")));
  ASSERT_TRUE(life.append(spans_record("three")));
  EXPECT_EQ(taken.get_future().get(), 2u);
}

TEST_F(SpoolTest, AStopEndsATakeThatWaits) {
  Life life(folder.path(), clock);
  life.open();
  ASSERT_TRUE(life.append(spans_record("one")));
  std::jthread taker([&](const std::stop_token& stop) { EXPECT_FALSE(life.spool->take(stop)); });
  clock.await_waiters(1);
  taker.request_stop();
}

TEST_F(SpoolTest, SegmentsAreConfirmedInOrder) {
  Life life(folder.path(), clock);
  life.options.segment_rows_max = 1;
  life.open();
  ASSERT_TRUE(life.append(spans_record("one")));
  ASSERT_TRUE(life.append(spans_record("two")));
  const SealedSegment first = life.take();
  const SealedSegment second = life.take();
  EXPECT_FALSE(life.spool->confirm(second, {}));
  EXPECT_TRUE(life.spool->confirm(first, {}));
  EXPECT_TRUE(life.spool->confirm(second, {}));
}

TEST_F(SpoolTest, TheWatermarkIsTheOldestRowThatIsNotReadable) {
  Life life(folder.path(), clock);
  life.open();
  clock.advance(std::chrono::seconds(1));
  EXPECT_EQ(life.spool->readable_watermark(), clock.now());
  const UnixNanos appended_at = clock.now();
  SpoolRecord counts_only;
  counts_only.counts = spans_record("").counts;
  ASSERT_TRUE(life.append(counts_only));
  clock.advance(std::chrono::seconds(1));
  EXPECT_EQ(life.spool->readable_watermark(), clock.now());
  ASSERT_TRUE(life.append(spans_record("one")));
  clock.advance(std::chrono::seconds(5));
  EXPECT_EQ(life.spool->readable_watermark(), appended_at + kNanosPerSecond);
  EXPECT_EQ(life.spool->status().oldest_age, std::chrono::seconds(5));
  const SealedSegment segment = life.take();
  EXPECT_EQ(life.spool->readable_watermark(), appended_at + kNanosPerSecond);
  ASSERT_TRUE(life.spool->confirm(segment, {}));
  EXPECT_EQ(life.spool->readable_watermark(), clock.now());
}

TEST_F(SpoolTest, ARequestIsKnownAgainAfterAKillBeforeAndAfterItsSegmentIsConfirmed) {
  const auto record_with_key = [](std::uint64_t key) {
    SpoolRecord record = spans_record("rows");
    record.requests.push_back({hash_of(key), {7, 2}});
    return record;
  };
  const auto nobody = [](const Result<RequestAnswer>&) {};
  {
    Life life(folder.path(), clock);
    life.open();
    ASSERT_TRUE(life.append(record_with_key(1)));
    const SealedSegment segment = life.take();
    ASSERT_TRUE(life.spool->confirm(segment, {}));
    clock.advance(std::chrono::minutes(5));
    ASSERT_TRUE(life.append(record_with_key(2)));
  }
  for (int restarts = 0; restarts < 2; ++restarts) {
    Life life(folder.path(), clock);
    life.open();
    for (const std::uint64_t key : {1, 2}) {
      const auto seen = life.guard.begin(hash_of(key), nobody);
      EXPECT_EQ(seen.state, ReplayGuard::State::kDone) << key;
      EXPECT_EQ(seen.answer, (RequestAnswer{7, 2}));
    }
  }
  clock.advance(std::chrono::minutes(5));
  Life life(folder.path(), clock);
  life.open();
  EXPECT_EQ(life.guard.begin(hash_of(1), nobody).state, ReplayGuard::State::kNew);
  EXPECT_EQ(life.guard.begin(hash_of(2), nobody).state, ReplayGuard::State::kDone);
}

TEST_F(SpoolTest, OldRequestLogsAreRemoved) {
  const auto logs = [&] {
    return std::ranges::count_if(fs::directory_iterator(folder.path()), [](const auto& entry) {
      return entry.path().filename().string().starts_with("requests-");
    });
  };
  Life life(folder.path(), clock);
  life.open();
  for (int minutes = 0; minutes < 60; ++minutes) {
    SpoolRecord record = spans_record("rows");
    record.requests.push_back({hash_of(static_cast<std::uint64_t>(minutes)), {}});
    ASSERT_TRUE(life.append(std::move(record)));
    const SealedSegment segment = life.take();
    ASSERT_TRUE(life.spool->confirm(segment, {}));
    clock.advance(std::chrono::minutes(1));
  }
  EXPECT_LE(logs(), 6);
}

TEST_F(SpoolTest, AnUnreadableSegmentIsSetAsideAndNamedAfterSomeTries) {
  Life life(folder.path(), clock);
  life.options.segment_rows_max = 1;
  life.open();
  ASSERT_TRUE(life.append(spans_record("one")));
  ASSERT_TRUE(life.append(spans_record("two")));
  fs::remove(segment_files(folder.path()).at(0));
  const SealedSegment lost = life.take();
  EXPECT_THAT(texts_of(lost), IsEmpty());
  ASSERT_TRUE(life.spool->confirm(lost, {}));
  EXPECT_THAT(texts_of(life.take()), ElementsAre("two"));
  ASSERT_EQ(life.spool->status().losses.size(), 1u);
  EXPECT_EQ(life.spool->status().losses[0].records, 1u);
}

TEST_F(SpoolTest, AReadThatFailsOnceIsTriedAgain) {
  Life life(folder.path(), clock);
  life.open();
  ASSERT_TRUE(life.append(spans_record("one")));
  life.disk.fail_read(".segment");
  life.spool->flush();
  std::jthread taker([&] {
    const auto segment = life.spool->take({});
    EXPECT_TRUE(segment);
    EXPECT_THAT(texts_of(*segment), ElementsAre("one"));
  });
  clock.await_waiters(1);
  clock.advance(std::chrono::seconds(1));
  taker.join();
  EXPECT_EQ(life.spool->status().losses_total, 0u);
}

TEST_F(SpoolTest, AfterCloseItRefusesAndWhatWaitedIsWritten) {
  Life life(folder.path(), clock);
  life.open();
  auto waiting = life.append_later(spans_record("one"));
  life.spool->close();
  EXPECT_TRUE(waiting.get());
  const auto refused = life.append(spans_record("two"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::kCancelled);
  EXPECT_THAT(life.drain(), ElementsAre("one"));
}

TEST_F(SpoolTest, ManyThreadsAppendAndEveryRecordIsTakenOnce) {
  constexpr int kThreads = 4;
  constexpr int kEach = 200;
  SystemClock system;
  Life life(folder.path(), system);
  life.options.segment_rows_max = 50;
  life.options.seal_interval = std::chrono::milliseconds(1);
  life.options.linger = std::chrono::nanoseconds(0);
  life.open();
  std::multiset<std::string> taken;
  std::thread taker([&] {
    while (auto segment = life.spool->take({})) {
      for (std::string& text : texts_of(*segment)) taken.insert(std::move(text));
      EXPECT_TRUE(life.spool->confirm(*segment, {}));
    }
  });
  std::vector<std::thread> senders;
  for (int sender = 0; sender < kThreads; ++sender) {
    senders.emplace_back([&, sender] {
      for (int i = 0; i < kEach; ++i) {
        EXPECT_TRUE(life.append(spans_record(std::to_string(sender * kEach + i))));
        std::ignore = life.spool->status();
      }
    });
  }
  for (std::thread& sender : senders) sender.join();
  life.spool->close();
  taker.join();
  EXPECT_EQ(taken.size(), std::size_t{kThreads * kEach});
  EXPECT_EQ(std::set<std::string>(taken.begin(), taken.end()).size(), taken.size());
  EXPECT_EQ(life.books().stored, std::uint64_t{kThreads * kEach});
}

}  // namespace
}  // namespace fettle::ingest
