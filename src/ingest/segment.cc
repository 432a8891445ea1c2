#include "ingest/segment.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "ingest/bytes.h"

namespace fettle::ingest {
namespace {

// On disk: never change.
constexpr std::string_view kFileMagic = "FTLSPOOL";
constexpr std::uint32_t kRecordMagic = 0x43524C46;  // "FLRC"
constexpr std::uint32_t kFileVersion = 1;
constexpr std::uint8_t kPayloadVersion = 1;

struct RecordHeader {
  std::uint32_t segment = 0;
  std::uint32_t payload_bytes = 0;
  std::uint32_t payload_checksum = 0;
  std::uint64_t sequence = 0;
  UnixNanos appended_at = 0;
};

std::string encode_record_header(const RecordHeader& header, std::uint32_t writer) {
  ByteWriter out;
  out.fixed(kRecordMagic);
  out.fixed(header.segment);
  out.fixed(header.payload_bytes);
  out.fixed(header.payload_checksum);
  out.fixed(header.sequence);
  out.fixed(static_cast<std::uint64_t>(header.appended_at));
  out.fixed(std::uint32_t{0});  // reserved
  out.fixed(crc32c(writer, out.bytes()));
  return out.take();
}

std::optional<RecordHeader> decode_record_header(std::string_view bytes, std::uint32_t writer) {
  if (bytes.size() < kRecordHeaderBytes) return std::nullopt;
  ByteReader in(bytes);
  if (in.fixed<std::uint32_t>() != kRecordMagic) return std::nullopt;
  RecordHeader header;
  header.segment = in.fixed<std::uint32_t>();
  header.payload_bytes = in.fixed<std::uint32_t>();
  header.payload_checksum = in.fixed<std::uint32_t>();
  header.sequence = in.fixed<std::uint64_t>();
  header.appended_at = static_cast<UnixNanos>(in.fixed<std::uint64_t>());
  in.fixed<std::uint32_t>();
  constexpr std::size_t kSummed = kRecordHeaderBytes - sizeof(std::uint32_t);
  if (in.fixed<std::uint32_t>() != crc32c(writer, bytes.substr(0, kSummed))) return std::nullopt;
  return header;
}

void encode_counts(ByteWriter& out, const std::vector<CountDelta>& counts) {
  out.varint(counts.size());
  for (const CountDelta& delta : counts) {
    out.string(delta.workspace.value);
    out.string(delta.sender);
    out.fixed(static_cast<std::uint8_t>(delta.signal));
    for (const std::uint64_t count :
         {delta.received, delta.accepted, delta.duplicate, delta.redacted_away, delta.sampled_out, delta.expired}) {
      out.varint(count);
    }
    out.varint(delta.rejected.size());
    for (const auto& [reason, count] : delta.rejected) {
      out.string(reason);
      out.varint(count);
    }
  }
}

bool decode_counts(ByteReader& in, std::vector<CountDelta>& counts) {
  constexpr std::size_t kDeltaBytesMin = 10;
  const std::uint64_t size = in.count(kDeltaBytesMin);
  counts.reserve(size);
  for (std::uint64_t i = 0; i < size && !in.failed(); ++i) {
    CountDelta& delta = counts.emplace_back();
    delta.workspace.value = in.string();
    delta.sender = in.string();
    const auto signal = in.fixed<std::uint8_t>();
    if (signal < static_cast<std::uint8_t>(Signal::kSpans) || signal > static_cast<std::uint8_t>(Signal::kPoints)) {
      return false;
    }
    delta.signal = static_cast<Signal>(signal);
    for (std::uint64_t* count : {&delta.received, &delta.accepted, &delta.duplicate, &delta.redacted_away,
                                 &delta.sampled_out, &delta.expired}) {
      *count = in.varint();
    }
    for (std::uint64_t reasons = in.count(2); reasons > 0 && !in.failed(); --reasons) {
      std::string reason(in.string());
      delta.rejected[std::move(reason)] = in.varint();
    }
  }
  return !in.failed();
}

std::uint64_t gap(std::optional<std::uint64_t> from, std::optional<std::uint64_t> to) {
  return from && to && *to > *from ? *to - *from : 0;
}

bool all_zero(std::string_view bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](char byte) { return byte == 0; });
}

// Where the zeros at the end begin. By words: the space reserved ahead is megabytes.
std::uint64_t end_without_zeros(std::string_view bytes) {
  std::uint64_t end = bytes.size();
  for (std::uint64_t word; end >= sizeof word; end -= sizeof word) {
    std::memcpy(&word, bytes.data() + end - sizeof word, sizeof word);
    if (word != 0) break;
  }
  while (end > 0 && bytes[end - 1] == 0) --end;
  return end;
}

// The next place at or after `from` where an intact record header of this segment lies.
std::optional<std::uint64_t> find_record(std::string_view bytes, std::uint64_t from, const SegmentExpectation& expected,
                                         std::uint64_t sequence_min) {
  ByteWriter magic;
  magic.fixed(kRecordMagic);
  for (auto at = bytes.find(magic.bytes(), from); at != std::string_view::npos;
       at = bytes.find(magic.bytes(), at + 1)) {
    const auto header = decode_record_header(bytes.substr(at), expected.writer);
    if (header && header->segment == expected.number && header->sequence >= sequence_min) return at;
  }
  return std::nullopt;
}

}  // namespace

std::string encode_header(const SegmentHeader& header) {
  ByteWriter out;
  out.raw(kFileMagic);
  out.fixed(kFileVersion);
  out.fixed(header.writer);
  out.fixed(header.number);
  out.fixed(header.previous);
  out.fixed(header.previous_end);
  out.fixed(header.first_sequence);
  out.fixed(static_cast<std::uint64_t>(header.created_at));
  out.fixed(std::uint32_t{0});  // reserved
  out.fixed(crc32c(0, out.bytes()));
  return out.take();
}

std::optional<SegmentHeader> decode_header(std::string_view bytes) {
  if (bytes.size() < kSegmentHeaderBytes) return std::nullopt;
  ByteReader in(bytes);
  if (in.raw(kFileMagic.size()) != kFileMagic || in.fixed<std::uint32_t>() != kFileVersion) return std::nullopt;
  SegmentHeader header;
  header.writer = in.fixed<std::uint32_t>();
  header.number = in.fixed<std::uint32_t>();
  header.previous = in.fixed<std::uint32_t>();
  header.previous_end = in.fixed<std::uint64_t>();
  header.first_sequence = in.fixed<std::uint64_t>();
  header.created_at = static_cast<UnixNanos>(in.fixed<std::uint64_t>());
  in.fixed<std::uint32_t>();
  constexpr std::size_t kSummed = kSegmentHeaderBytes - sizeof(std::uint32_t);
  if (in.fixed<std::uint32_t>() != crc32c(0, bytes.substr(0, kSummed))) return std::nullopt;
  return header;
}

Result<EncodedRecord> encode_record(SpoolRecord record, std::uint32_t writer, UnixNanos appended_at) {
  EncodedRecord encoded;
  encoded.appended_at = appended_at;
  ByteWriter meta;
  meta.fixed(kPayloadVersion);
  meta.varint(record.blocks.size());
  for (const telemetry::TableBlock& block : record.blocks) {
    meta.fixed(static_cast<std::uint8_t>(block.table));
    meta.zigzag(block.day);
    meta.varint(block.rows);
    meta.varint(block.columns);
    meta.varint(block.bytes.size());
  }
  encode_counts(meta, record.counts);
  meta.varint(record.requests.size());
  for (const RequestKey& key : record.requests) {
    meta.raw({reinterpret_cast<const char*>(key.hash.data()), key.hash.size()});
    meta.fixed(key.answer.records);
    meta.fixed(key.answer.rejected);
  }
  meta.varint(record.origins.size());
  for (const RowOrigin& origin : record.origins) {
    meta.varint(origin.block);
    meta.varint(origin.count);
    meta.varint(origin.rows);
  }
  encoded.meta = meta.take();
  encoded.bytes = kRecordHeaderBytes + encoded.meta.size();
  encoded.payload_checksum = crc32c(writer, encoded.meta);
  for (const telemetry::TableBlock& block : record.blocks) encoded.bytes += block.bytes.size();
  if (encoded.bytes > kRecordBytesMax) {
    return fail(ErrorCode::kTooLarge,
                fmt::format("a record of {} bytes is over the spool's limit of {}", encoded.bytes, kRecordBytesMax));
  }
  for (const telemetry::TableBlock& block : record.blocks) {
    encoded.payload_checksum = crc32c(encoded.payload_checksum, block.bytes);
  }
  encoded.record = std::move(record);
  return encoded;
}

void stamp(EncodedRecord& encoded, std::uint32_t writer, std::uint32_t segment, std::uint64_t sequence) {
  const auto payload_bytes = static_cast<std::uint32_t>(encoded.bytes - kRecordHeaderBytes);
  encoded.front =
      encode_record_header({segment, payload_bytes, encoded.payload_checksum, sequence, encoded.appended_at}, writer);
}

Result<ReadRecord> decode_payload(std::string_view payload) {
  constexpr std::size_t kBlockBytesMin = 5;
  constexpr std::size_t kKeyBytes = 24;
  constexpr std::size_t kOriginBytesMin = 3;
  const auto damaged = [](std::string_view where) {
    return fail(ErrorCode::kDataLoss, fmt::format("a record whose {} cannot be read", where));
  };
  ByteReader in(payload);
  if (in.fixed<std::uint8_t>() != kPayloadVersion) return damaged("version");
  ReadRecord read;
  const std::uint64_t blocks = in.count(kBlockBytesMin);
  std::vector<std::uint64_t> sizes;
  sizes.reserve(blocks);
  read.record.blocks.reserve(blocks);
  for (std::uint64_t i = 0; i < blocks && !in.failed(); ++i) {
    telemetry::TableBlock& block = read.record.blocks.emplace_back();
    block.table = static_cast<telemetry::Table>(in.fixed<std::uint8_t>());
    block.day = static_cast<std::int32_t>(in.zigzag());
    block.rows = static_cast<std::uint32_t>(in.varint());
    block.columns = static_cast<std::uint32_t>(in.varint());
    sizes.push_back(in.varint());
  }
  if (in.failed()) return damaged("blocks");
  if (!decode_counts(in, read.record.counts)) return damaged("counts");
  const std::uint64_t keys = in.count(kKeyBytes);
  read.record.requests.reserve(keys);
  for (std::uint64_t i = 0; i < keys && !in.failed(); ++i) {
    RequestKey& key = read.record.requests.emplace_back();
    const std::string_view hash = in.raw(key.hash.size());
    if (!in.failed()) std::copy(hash.begin(), hash.end(), key.hash.begin());
    key.answer.records = in.fixed<std::uint32_t>();
    key.answer.rejected = in.fixed<std::uint32_t>();
  }
  const std::uint64_t origins = in.count(kOriginBytesMin);
  read.record.origins.reserve(origins);
  for (std::uint64_t i = 0; i < origins && !in.failed(); ++i) {
    RowOrigin& origin = read.record.origins.emplace_back();
    origin.block = static_cast<std::uint32_t>(in.varint());
    origin.count = static_cast<std::uint32_t>(in.varint());
    origin.rows = static_cast<std::uint32_t>(in.varint());
    if (origin.block >= read.record.blocks.size() || origin.count >= read.record.counts.size()) {
      return damaged("row origins");
    }
  }
  read.block_bytes.reserve(sizes.size());
  for (const std::uint64_t size : sizes) read.block_bytes.push_back(in.raw(size));
  if (!in.finished()) return damaged("length");
  return read;
}

SegmentScan scan_segment(std::string_view bytes, const SegmentExpectation& expected) {
  SegmentScan scan;
  const std::uint64_t file_bytes = bytes.size();
  if (expected.end) bytes = bytes.substr(0, std::min<std::uint64_t>(*expected.end, bytes.size()));
  scan.header = decode_header(bytes);
  if (scan.header && (scan.header->number != expected.number || scan.header->writer != expected.writer)) {
    scan.header.reset();
  }
  std::optional<std::uint64_t> next_sequence = expected.first_sequence;
  if (scan.header) next_sequence = scan.header->first_sequence;

  const auto lose = [&](std::uint64_t from, std::uint64_t to, std::uint64_t records, bool acknowledged,
                        std::string_view what) {
    scan.losses.push_back(
        {expected.number, from, to - from, static_cast<std::uint32_t>(records), acknowledged, std::string(what)});
  };

  std::uint64_t at = kSegmentHeaderBytes;
  if (!scan.header && !all_zero(bytes.substr(0, std::min(kSegmentHeaderBytes, bytes.size())))) {
    lose(0, std::min<std::uint64_t>(kSegmentHeaderBytes, bytes.size()), 0, false, "damaged segment header");
  }
  scan.end = std::min<std::uint64_t>(at, bytes.size());
  while (at < bytes.size()) {
    const auto header = decode_record_header(bytes.substr(at), expected.writer);
    const bool is_ours =
        header && header->segment == expected.number && (!next_sequence || header->sequence >= *next_sequence);
    std::string_view what = "damaged record header";
    std::uint64_t resume = at + 1;
    if (is_ours) {
      const std::uint64_t payload_at = at + kRecordHeaderBytes;
      const std::uint64_t record_end = payload_at + header->payload_bytes;
      resume = record_end;
      if (record_end > bytes.size()) {
        what = "record cut short";
        resume = bytes.size();
      } else {
        const std::string_view payload = bytes.substr(payload_at, header->payload_bytes);
        if (crc32c(expected.writer, payload) != header->payload_checksum) {
          what = "damaged record";
        } else if (auto read = decode_payload(payload); !read) {
          what = "record of an unknown form";
        } else {
          // A gap without bytes between: records that were never written, or not in this order.
          if (next_sequence && header->sequence > *next_sequence) {
            lose(at, at, header->sequence - *next_sequence, true, "missing records");
          }
          read->offset = at;
          read->sequence = header->sequence;
          read->appended_at = header->appended_at;
          scan.records.push_back(std::move(*read));
          next_sequence = header->sequence + 1;
          at = scan.end = record_end;
          continue;
        }
      }
    }
    // Something is wrong at `at`: go on at the next intact header, if there is one.
    const auto next = resume < bytes.size() ? find_record(bytes, resume, expected, next_sequence.value_or(0))
                                            : std::optional<std::uint64_t>();
    if (!next) {
      const std::uint64_t lost_end = expected.end.value_or(std::max(end_without_zeros(bytes), at));
      if (lost_end > at) {
        lose(at, lost_end, gap(next_sequence, expected.next_sequence), expected.end.has_value(),
             is_ours ? what : "torn tail");
        next_sequence = expected.next_sequence;
      }
      break;
    }
    const auto found = decode_record_header(bytes.substr(*next), expected.writer);
    lose(at, *next, next_sequence ? found->sequence - *next_sequence : 1, true, what);
    next_sequence = found->sequence;
    at = *next;
  }
  // Cut at or after the end of a record: only what is known from elsewhere tells that something is missing.
  if (expected.end && scan.losses.empty() && *expected.end > file_bytes) {
    lose(file_bytes, *expected.end, gap(next_sequence, expected.next_sequence), true, "file cut short");
  }
  return scan;
}

}  // namespace fettle::ingest
