// The format of a spool segment file, as pure functions over bytes.
//
//   file   = header record* zeros…
//   header = magic "FTLSPOOL", version, writer, number, what the segment before it held (56 bytes)
//   record = magic, segment, payload length, payload checksum, sequence, time, header checksum (40 bytes), payload
//   payload = version, shapes of the blocks, counts, request keys, row origins, then the bytes of the blocks
//
// All numbers are little-endian. Checksums are CRC-32C begun with the writer's random number, so that nothing which a
// sender puts into an attribute can pass for a record when a damaged file is searched for the next intact one.
// Sequence numbers go up by one from record to record and from segment to segment: a gap says how many are lost.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.h"
#include "core/error.h"
#include "ingest/spool.h"

namespace fettle::ingest {

constexpr std::size_t kSegmentHeaderBytes = 56;
constexpr std::size_t kRecordHeaderBytes = 40;
// A larger record is refused; a large one gets a segment of its own. Four times the largest body: minimal spans take
// more than twice the bytes as rows that they take on the wire.
constexpr std::uint64_t kRecordBytesMax = 256ULL << 20;

struct SegmentHeader {
  std::uint32_t writer = 0;
  std::uint32_t number = 0;
  std::uint32_t previous = 0;      // the segment before it, 0: none
  std::uint64_t previous_end = 0;  // where the intact records of that one end; what lies beyond was never acknowledged
  std::uint64_t first_sequence = 0;
  UnixNanos created_at = 0;
};

std::string encode_header(const SegmentHeader& header);
std::optional<SegmentHeader> decode_header(std::string_view bytes);

// A record ready to be written: `front` (filled by stamp()) and `meta`, then the blocks' own bytes, uncopied.
struct EncodedRecord {
  SpoolRecord record;
  std::string meta;
  std::uint32_t payload_checksum = 0;
  std::uint64_t bytes = 0;  // header and payload
  UnixNanos appended_at = 0;
  std::string front;
};
// The expensive part, which the appending thread does. kTooLarge over kRecordBytesMax.
Result<EncodedRecord> encode_record(SpoolRecord record, std::uint32_t writer, UnixNanos appended_at);
// The header, once the record's place is known.
void stamp(EncodedRecord& encoded, std::uint32_t writer, std::uint32_t segment, std::uint64_t sequence);

// One intact record. THE VIEWS POINT INTO THE FILE'S BYTES.
struct ReadRecord {
  std::uint64_t offset = 0;
  std::uint64_t sequence = 0;
  UnixNanos appended_at = 0;
  SpoolRecord record;                         // the blocks with empty `bytes` …
  std::vector<std::string_view> block_bytes;  // … which are here
};

struct SegmentScan {
  std::optional<SegmentHeader> header;
  std::vector<ReadRecord> records;
  std::vector<SpoolLoss> losses;  // `records` of a loss in the tail is 0 when nothing tells how many there were
  std::uint64_t end = 0;          // where the last intact record ends
};
// What is known of a segment from elsewhere, when it is known.
struct SegmentExpectation {
  std::uint32_t writer = 0;
  std::uint32_t number = 0;
  std::optional<std::uint64_t> end = {};  // nothing beyond it counts; anything missing before it was acknowledged
  std::optional<std::uint64_t> first_sequence = {};  // where the header does not say it
  std::optional<std::uint64_t> next_sequence = {};   // of the first record after this segment
};
// Reads whatever is intact and names the rest.
SegmentScan scan_segment(std::string_view bytes, const SegmentExpectation& expected);

// The payload alone; kDataLoss when it is not one.
Result<ReadRecord> decode_payload(std::string_view payload);

}  // namespace fettle::ingest
