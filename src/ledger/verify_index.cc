#include "ledger/verify_index.h"

#include <fmt/format.h>
#include <sodium.h>

#include <array>
#include <vector>

#include "ledger/entry.h"

namespace fettle::ledger {
namespace {

constexpr std::uint64_t kBucketRecords = 4'096;
constexpr std::uint64_t kChunkRecords = 32'768;

// The index stands in the order of names and values, the log in that of positions. So both are summed up, in buckets of
// positions, by a keyed hash of each row: sums that agree mean the same rows, whatever their order.
class Sums {
 public:
  Sums(std::uint64_t first, std::uint64_t last, std::uint64_t width)
      : first_(first), width_(width), sums_((last - first) / width + 1) {
    crypto_shorthash_keygen(key_.data());
  }
  void add(std::int64_t key, std::uint64_t position, bool is_entry) {
    const std::array<std::uint64_t, 2> row = {static_cast<std::uint64_t>(key), position};
    std::uint64_t hash = 0;
    crypto_shorthash(reinterpret_cast<unsigned char*>(&hash), reinterpret_cast<const unsigned char*>(row.data()),
                     sizeof row, key_.data());
    std::uint64_t& sum = sums_[(position - first_) / width_];
    sum = is_entry ? sum + hash : sum - hash;
  }
  // The first position of the first bucket that does not come out even.
  std::optional<std::uint64_t> first_uneven() const {
    for (std::size_t i = 0; i < sums_.size(); ++i) {
      if (sums_[i] != 0) return first_ + i * width_;
    }
    return std::nullopt;
  }

 private:
  const std::uint64_t first_;
  const std::uint64_t width_;
  std::vector<std::uint64_t> sums_;
  std::array<unsigned char, crypto_shorthash_KEYBYTES> key_{};
};

// Adds the rows of both for the positions [from, to]. Answers a fault that is found on the way.
Result<std::optional<FirstBad>> sum_up(db::Reader& reader, const WorkspaceId& workspace, std::uint64_t from,
                                       std::uint64_t to, Sums& sums) {
  std::optional<FirstBad> bad;
  for (std::uint64_t begin = from; begin <= to && !bad; begin += kChunkRecords) {
    const auto last = static_cast<std::int64_t>(std::min(to, begin + kChunkRecords - 1));
    auto read = reader.each(
        "SELECT position, at, entry FROM audit_records WHERE workspace = $1 AND position >= $2 AND position <= $3 "
        "ORDER BY "
        "position",
        {workspace, static_cast<std::int64_t>(begin), last}, [&](const db::Row& row) -> Result<void> {
          std::uint64_t position = 0;
          UnixNanos at = 0;
          std::string_view text;
          if (auto got = row.into(position, at, text); !got) return got;
          auto entry = read_entry(text);
          if (bad) return {};
          if (!entry || entry->record.at != at) {
            bad = FirstBad{position, "its time is not that of its entry"};
            return {};
          }
          for (const std::int64_t key : index_hashes(entry->record)) sums.add(key, position, true);
          return {};
        });
    if (!read) return std::unexpected(read.error());
  }
  if (bad) return bad;
  auto read = reader.each(
      "SELECT bucket, hash, position FROM audit_index WHERE workspace = $1 AND bucket >= $2 AND bucket <= $3",
      {workspace, index_bucket(from), index_bucket(to)}, [&](const db::Row& row) -> Result<void> {
        std::int64_t bucket = 0;
        std::int64_t key = 0;
        std::int64_t position = 0;
        if (auto got = row.into(bucket, key, position); !got) return got;
        const auto place = static_cast<std::uint64_t>(position);
        // A key in another bucket than its record's is never found: it counts as none.
        if (position > 0 && place >= from && place <= to && bucket == index_bucket(place)) {
          sums.add(key, place, false);
        }
        return {};
      });
  if (!read) return std::unexpected(read.error());
  return bad;
}

Result<std::optional<FirstBad>> verify_details(db::Reader& reader, const WorkspaceId& workspace, std::uint64_t from,
                                               std::uint64_t to) {
  std::optional<FirstBad> bad;
  for (std::uint64_t begin = from; begin <= to && !bad; begin += kChunkRecords) {
    const auto last = static_cast<std::int64_t>(std::min(to, begin + kChunkRecords - 1));
    auto read = reader.each(
        "SELECT d.position, d.salt, d.details, r.entry FROM audit_details AS d JOIN audit_records AS r ON r.workspace "
        "= "
        "d.workspace AND r.position = d.position WHERE d.workspace = $1 AND d.position >= $2 AND d.position <= $3 "
        "ORDER BY "
        "d.position",
        {workspace, static_cast<std::int64_t>(begin), last}, [&](const db::Row& row) -> Result<void> {
          if (bad) return {};
          std::uint64_t position = 0;
          db::BlobView salt;
          std::string_view details;
          std::string_view text;
          if (auto got = row.into(position, salt, details, text); !got) return got;
          const auto entry = read_entry(text);
          if (!entry || entry->details_hash != details_hash(salt.bytes, details)) {
            bad = FirstBad{position, "its details are not those that were recorded"};
          }
          return {};
        });
    if (!read) return std::unexpected(read.error());
  }
  return bad;
}

}  // namespace

Result<std::optional<FirstBad>> verify_index(db::Reader& reader, const WorkspaceId& workspace, std::uint64_t from,
                                             std::uint64_t to) {
  if (sodium_init() < 0) return fail(ErrorCode::kInternal, "libsodium cannot be used");
  if (from > to) return std::nullopt;
  auto bad = verify_details(reader, workspace, from, to);
  if (!bad || *bad) return bad;
  Sums sums(from, to, kBucketRecords);
  bad = sum_up(reader, workspace, from, to, sums);
  if (!bad || *bad) return bad;
  const auto bucket = sums.first_uneven();
  if (!bucket) return std::nullopt;
  // Once more for that bucket, position by position.
  const std::uint64_t last = std::min(to, *bucket + kBucketRecords - 1);
  Sums each(*bucket, last, 1);
  bad = sum_up(reader, workspace, *bucket, last, each);
  if (!bad || *bad) return bad;
  return FirstBad{each.first_uneven().value_or(*bucket), "it cannot be found by what its entry says"};
}

}  // namespace fettle::ledger
