#include "ingest/segment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ingest/spool_for_test.h"

namespace fettle::ingest {
namespace {

using testing::ElementsAre;

constexpr std::uint32_t kWriter = 0xABCD1234;

// A file of three records of different shapes with zeros behind, and where each record ends.
struct Sample {
  std::string bytes;
  std::vector<std::uint64_t> ends;
  std::vector<std::string> texts;
};

SpoolRecord rich_record() {
  SpoolRecord record = spans_record("rich", 7);
  record.blocks.push_back({telemetry::Table::kLogs, -3, 2, 4, std::string("\0\1\2", 3)});
  record.counts[0].rejected = {{"too_old", 3}, {"bad_id", 1}};
  record.counts[0].duplicate = 5;
  record.requests.push_back({hash_of(99), {10, 4}});
  record.origins = {{0, 0, 7}};
  return record;
}

Sample make_sample() {
  Sample sample;
  SegmentHeader header;
  header.writer = kWriter;
  header.number = 5;
  header.first_sequence = 40;
  sample.bytes = encode_header(header);
  std::uint64_t sequence = 40;
  for (SpoolRecord& record : std::vector{spans_record("first"), rich_record(), spans_record("third")}) {
    sample.texts.push_back(record.blocks.front().bytes);
    auto encoded = encode_record(std::move(record), kWriter, kTestStart);
    stamp(*encoded, kWriter, 5, sequence++);
    sample.bytes += encoded->front + encoded->meta;
    for (const auto& block : encoded->record.blocks) sample.bytes += block.bytes;
    sample.ends.push_back(sample.bytes.size());
  }
  sample.bytes.append(200, '\0');
  return sample;
}

SegmentExpectation expectation() { return {.writer = kWriter, .number = 5}; }

TEST(Segment, ARecordComesBackAsItWentIn) {
  const Sample sample = make_sample();
  const SegmentScan scan = scan_segment(sample.bytes, expectation());
  ASSERT_EQ(scan.records.size(), 3u);
  EXPECT_TRUE(scan.losses.empty());
  EXPECT_EQ(scan.end, sample.ends.back());
  EXPECT_EQ(scan.records[1].sequence, 41u);
  EXPECT_EQ(scan.records[1].appended_at, kTestStart);
  const SpoolRecord expected = rich_record();
  const SpoolRecord& got = scan.records[1].record;
  EXPECT_EQ(got.counts, expected.counts);
  EXPECT_EQ(got.requests, expected.requests);
  EXPECT_EQ(got.origins, expected.origins);
  ASSERT_EQ(got.blocks.size(), 2u);
  EXPECT_EQ(got.blocks[1].table, telemetry::Table::kLogs);
  EXPECT_EQ(got.blocks[1].day, -3);
  EXPECT_EQ(got.blocks[1].rows, 2u);
  EXPECT_EQ(got.blocks[1].columns, 4u);
  EXPECT_THAT(scan.records[1].block_bytes, ElementsAre("rich", std::string_view("\0\1\2", 3)));
}

TEST(Segment, AFileCutAtAnyByteKeepsEveryWholeRecordAndNamesTheRest) {
  const Sample sample = make_sample();
  for (std::size_t cut = 0; cut <= sample.ends.back(); ++cut) {
    for (const bool zeros_follow : {false, true}) {
      std::string bytes = sample.bytes.substr(0, cut);
      if (zeros_follow) bytes.append(300, '\0');
      const SegmentScan scan = scan_segment(bytes, expectation());
      std::size_t whole = 0;
      std::uint64_t intact_end = kSegmentHeaderBytes;
      while (whole < sample.ends.size() && sample.ends[whole] <= cut) intact_end = sample.ends[whole++];
      ASSERT_EQ(scan.records.size(), whole) << "cut at " << cut;
      const bool at_border = cut == 0 || cut == intact_end;
      // A cut inside a field that is zero up to the cut cannot be told from the end.
      const bool visible =
          sample.bytes.substr(intact_end, cut > intact_end ? cut - intact_end : 0).find_first_not_of('\0') !=
          std::string::npos;
      if (cut >= kSegmentHeaderBytes && !at_border && visible) {
        ASSERT_EQ(scan.losses.size(), 1u) << "cut at " << cut;
        EXPECT_EQ(scan.losses[0].offset, intact_end);
        EXPECT_FALSE(scan.losses[0].acknowledged);
      } else if (at_border) {
        EXPECT_TRUE(scan.losses.empty()) << "cut at " << cut;
      }
    }
  }
}

TEST(Segment, AMissingTailIsNamedToTheRecordWhenTheNextSegmentKnowsIt) {
  const Sample sample = make_sample();
  SegmentExpectation known = expectation();
  known.end = sample.ends.back();
  known.next_sequence = 43;
  for (const std::uint64_t cut : {sample.ends[0], sample.ends[0] + 10, sample.ends[0] + 60}) {
    const SegmentScan scan = scan_segment(std::string_view(sample.bytes).substr(0, cut), known);
    ASSERT_EQ(scan.records.size(), 1u);
    ASSERT_EQ(scan.losses.size(), 1u) << "cut at " << cut;
    EXPECT_EQ(scan.losses[0].offset, sample.ends[0]);
    EXPECT_EQ(scan.losses[0].bytes, sample.ends[2] - sample.ends[0]);
    EXPECT_EQ(scan.losses[0].records, 2u);
    EXPECT_TRUE(scan.losses[0].acknowledged);
  }
}

TEST(Segment, WhatLiesBeyondTheKnownEndDoesNotCount) {
  const Sample sample = make_sample();
  SegmentExpectation known = expectation();
  known.end = sample.ends[1];
  known.next_sequence = 42;
  const SegmentScan scan = scan_segment(sample.bytes, known);
  EXPECT_EQ(scan.records.size(), 2u);
  EXPECT_TRUE(scan.losses.empty());
}

TEST(Segment, AFlippedBitAnywhereIsNamedAndCostsAtMostItsOwnRecord) {
  const Sample sample = make_sample();
  for (std::size_t at = 0; at < sample.ends.back(); ++at) {
    for (const int bit : {0, 7}) {
      std::string bytes = sample.bytes;
      bytes[at] = static_cast<char>(bytes[at] ^ (1 << bit));
      const SegmentScan scan = scan_segment(bytes, expectation());
      ASSERT_EQ(scan.losses.size(), 1u) << "flipped byte " << at;
      std::vector<std::string> texts;
      for (const ReadRecord& record : scan.records) texts.emplace_back(record.block_bytes.front());
      std::vector<std::string> expected = sample.texts;
      if (at >= kSegmentHeaderBytes) {
        std::size_t which = 0;
        while (at >= sample.ends[which]) ++which;
        expected.erase(expected.begin() + static_cast<std::ptrdiff_t>(which));
        const bool is_last = which + 1 == sample.ends.size();
        if (!is_last) {
          EXPECT_EQ(scan.losses[0].records, 1u) << "flipped byte " << at;
          EXPECT_TRUE(scan.losses[0].acknowledged);
        }
      }
      ASSERT_EQ(texts, expected) << "flipped byte " << at;
    }
  }
}

TEST(Segment, ASenderCannotForgeARecordInsideAnother) {
  // A whole valid file of another writer as the text of an attribute, and damage in front of it.
  Sample inner = make_sample();
  SegmentHeader header;
  header.writer = kWriter + 1;
  header.number = 5;
  header.first_sequence = 40;
  std::string bytes = encode_header(header);
  auto encoded = encode_record(spans_record(inner.bytes), kWriter + 1, kTestStart);
  stamp(*encoded, kWriter + 1, 5, 40);
  bytes += encoded->front + encoded->meta + encoded->record.blocks[0].bytes;
  bytes[kSegmentHeaderBytes + 8] ^= 1;  // the length in the outer record's header
  const SegmentScan scan = scan_segment(bytes, {.writer = kWriter + 1, .number = 5});
  EXPECT_TRUE(scan.records.empty());
  EXPECT_EQ(scan.losses.size(), 1u);
}

TEST(Segment, ARecordOverTheLimitIsRefused) {
  auto encoded = encode_record(spans_record(std::string(kRecordBytesMax, 'x')), kWriter, kTestStart);
  ASSERT_FALSE(encoded);
  EXPECT_EQ(encoded.error().code(), ErrorCode::kTooLarge);
}

}  // namespace
}  // namespace fettle::ingest
