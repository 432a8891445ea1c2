// The reader of spool segments and the slicer of blocks, in three modes chosen by the first byte:
//   0  any bytes as a segment file and as a record's payload: nothing is read outside, losses lie inside the file;
//   1  pairs of place and value that damage a good file: every record not touched comes back, no other one does;
//   2  any bytes as a block to be sliced.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "ingest/native_slice.h"
#include "ingest/segment.h"

namespace {

using namespace fettle::ingest;

constexpr std::uint32_t kWriter = 0x5EED5EED;
constexpr std::uint32_t kNumber = 3;
constexpr std::uint64_t kFirstSequence = 1'000;

void require(bool holds) {
  if (!holds) std::abort();
}

struct GoodFile {
  std::string bytes;
  std::vector<std::uint64_t> begins;
  std::vector<std::uint64_t> ends;
};

const GoodFile& good_file() {
  static const GoodFile file = [] {
    GoodFile made;
    SegmentHeader header;
    header.writer = kWriter;
    header.number = kNumber;
    header.first_sequence = kFirstSequence;
    made.bytes = encode_header(header);
    for (std::uint64_t i = 0; i < 4; ++i) {
      SpoolRecord record;
      record.blocks.push_back({fettle::telemetry::Table::kSpans, 20'000, 1, 1, std::string(5 + 30 * i, 'a')});
      record.counts.emplace_back().sender = "sender";
      record.requests.emplace_back();
      auto encoded = encode_record(std::move(record), kWriter, 1);
      stamp(*encoded, kWriter, kNumber, kFirstSequence + i);
      made.begins.push_back(made.bytes.size());
      made.bytes += encoded->front + encoded->meta + encoded->record.blocks[0].bytes;
      made.ends.push_back(made.bytes.size());
    }
    made.bytes.append(64, '\0');
    return made;
  }();
  return file;
}

void scan_anything(std::string_view bytes) {
  const SegmentScan scan = scan_segment(bytes, {.writer = kWriter, .number = kNumber});
  require(scan.end <= bytes.size());
  for (const SpoolLoss& loss : scan.losses) require(loss.offset + loss.bytes <= bytes.size());
  if (auto read = decode_payload(bytes)) require(read->block_bytes.size() == read->record.blocks.size());
}

void scan_damaged(std::string_view pairs) {
  const GoodFile& good = good_file();
  std::string bytes = good.bytes;
  std::vector<bool> is_touched(good.begins.size(), false);
  for (; pairs.size() >= 3; pairs.remove_prefix(3)) {
    const std::size_t at =
        (static_cast<unsigned char>(pairs[0]) << 8 | static_cast<unsigned char>(pairs[1])) % good.ends.back();
    bytes[at] = pairs[2];
    for (std::size_t i = 0; i < is_touched.size(); ++i) {
      if (at >= good.begins[i] && at < good.ends[i] && bytes[at] != good.bytes[at]) is_touched[i] = true;
    }
  }
  for (std::size_t i = 0; i < is_touched.size(); ++i) {
    // A byte may have been damaged and mended by a later pair.
    is_touched[i] = bytes.compare(good.begins[i], good.ends[i] - good.begins[i], good.bytes, good.begins[i],
                                  good.ends[i] - good.begins[i]) != 0;
  }
  const SegmentScan scan = scan_segment(bytes, {.writer = kWriter, .number = kNumber});
  std::vector<bool> is_found(is_touched.size(), false);
  for (const ReadRecord& record : scan.records) {
    require(record.sequence >= kFirstSequence && record.sequence < kFirstSequence + is_found.size());
    const std::size_t i = record.sequence - kFirstSequence;
    require(!is_found[i] && record.offset == good.begins[i]);
    is_found[i] = true;
  }
  for (std::size_t i = 0; i < is_touched.size(); ++i) require(is_found[i] == !is_touched[i]);
  require(scan.losses.empty() ==
          (std::ranges::none_of(is_touched, [](bool touched) { return touched; }) && scan.header.has_value()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 3) {
    case 0: scan_anything(rest); break;
    case 1: scan_damaged(rest); break;
    default:
      if (rest.size() < 3) return 0;
      std::ignore = slice_block(rest.substr(3), static_cast<unsigned char>(rest[0]),
                                static_cast<unsigned char>(rest[1]), 0, static_cast<unsigned char>(rest[2]));
  }
  return 0;
}
