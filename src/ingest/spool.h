// What was acknowledged and is not yet in the store: append-only segment files with a checksum per record.
//
//   auto spool = Spool::open(options, disk, clock, rng, registry, balance, guard);
//   (*spool)->append(std::move(record), [](Result<void> durable) { answer(durable); });
//
// An appender thread writes all waiting records with one write and one fdatasync, then calls them back: success means
// that rows, counts and request keys survive a power cut. The writer takes whole segments, oldest first, and confirms
// each once the store has it. Any thread may append; one thread takes, any thread confirms. Nothing polls.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "core/clock.h"
#include "core/error.h"
#include "core/metrics.h"
#include "core/rng.h"
#include "ingest/balance.h"
#include "ingest/replay_guard.h"
#include "telemetry/block.h"

namespace fettle::ingest {

class Disk;

// The next `rows` rows of blocks[block] are records counted as accepted in counts[count]. Needed where a block holds
// records of several senders, so that a row which the store refuses is charged to the right one; without any, a block
// belongs to the first count of its signal.
struct RowOrigin {
  std::uint32_t block = 0;
  std::uint32_t count = 0;
  std::uint32_t rows = 0;
  bool operator==(const RowOrigin&) const = default;
};

// Becomes durable whole or not at all.
struct SpoolRecord {
  std::vector<telemetry::TableBlock> blocks;
  std::vector<CountDelta> counts;
  std::vector<RequestKey> requests;
  std::vector<RowOrigin> origins;
};

// Bytes of a segment that could not be read back, and how many records they held as far as that is known. A torn tail
// is what a kill or power cut in the middle of a write leaves: nothing in it is known to have been acknowledged.
struct SpoolLoss {
  std::uint32_t segment = 0;
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  std::uint32_t records = 0;
  bool acknowledged = false;  // known to have been
  std::string what;
};

struct SpoolStatus {
  std::uint64_t bytes = 0;      // on disk and waiting to be
  std::uint64_t bytes_max = 0;  // the budget
  std::uint64_t rows = 0;       // pending, of all tables
  std::uint64_t segments = 0;
  std::chrono::nanoseconds oldest_age{0};  // of the oldest record that is not readable yet: the ingest lag
  bool disk_full = false;                  // the last write found no space
  std::uint64_t losses_total = 0;
  std::vector<SpoolLoss> losses;  // the newest, at most kLossesKept
};

// An intact record of a sealed segment.
struct SealedRecord {
  UnixNanos appended_at = 0;
  SpoolRecord record;                         // the blocks with empty `bytes` …
  std::vector<std::string_view> block_bytes;  // … which are here, pointing into the segment's bytes
};

// A segment on its way to the store.
struct SealedSegment {
  std::uint32_t number = 0;
  std::uint64_t ingest_id = 0;  // writer id << 32 | number: in every row of the segment
  bool ask_first = false;       // the store may have it, and may have forgotten the token in a power cut
  // Of the whole file; on the heap, so that the views survive a move of this struct.
  std::unique_ptr<const std::string> bytes;
  std::vector<SealedRecord> records;
  std::vector<CountDelta> lost;  // acknowledged and in the books, but not in `records`: rejected{spool_loss} on confirm
};

class Spool {
 public:
  struct Options {
    std::filesystem::path dir;
    std::uint64_t bytes_max = 2ULL << 30;           // the budget; past it append fails with kResourceExhausted
    std::uint64_t waiting_bytes_max = 64ULL << 20;  // in memory, not yet written
    std::uint64_t group_bytes_max = 8ULL << 20;     // written under one fsync
    std::uint64_t segment_bytes_max = 32ULL << 20;
    std::uint64_t segment_rows_max = 100'000;  // spans, log lines and points
    // A segment that is not full is sent when the last one was sealed so long ago and the writer has nothing to do:
    // an insert costs the store about 15 ms of CPU for each table, whatever it holds.
    std::chrono::nanoseconds seal_interval = std::chrono::milliseconds(700);
    // How long the first record after a quiet time waits for company.
    std::chrono::nanoseconds linger = std::chrono::milliseconds(10);
    std::chrono::milliseconds retry_after = std::chrono::seconds(2);
    // Names the time since the machine started (see current_boot_id). After an unclean end within the same boot the
    // store's deduplication by token is intact; after a power cut it may not be. Empty: unknown, assume a power cut.
    std::string boot_id;
  };
  static constexpr std::size_t kLossesKept = 100;
  // Called on the appender's thread, once. Must be quick and must not throw.
  using Done = std::move_only_function<void(Result<void>)>;

  // Reads back what an earlier run left: repairs a torn tail, names what is lost, restores balance and guard.
  // The references outlive the spool. Fails when the folder cannot be used.
  static Result<std::unique_ptr<Spool>> open(Options options, Disk& disk, Clock& clock, Rng& rng,
                                             metrics::Registry& registry, Balance& balance, ReplayGuard& guard);
  ~Spool();
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;

  // Never blocks on the disk. `done` may run before append returns when the record is refused outright:
  // kResourceExhausted with retry_after at the budget or on a full disk, kTooLarge for a record over a segment,
  // kCancelled after stop(), kUnavailable when the disk failed (the record is then not stored).
  void append(SpoolRecord record, Done done);
  // Bytes that may still be appended: what admission looks at.
  std::uint64_t room() const;
  SpoolStatus status() const;
  // Everything acknowledged before this instant is readable.
  UnixNanos readable_watermark() const;

  // For the writer. Blocks until a segment is due; nothing when a stop is requested, or after close() when none is
  // left. Damage found on reading is recorded as loss; the segment comes with what is intact.
  std::optional<SealedSegment> take(const std::stop_token& stop);
  // The oldest taken segment is stored, but for the rows in `refused` (see Balance::confirm). Segments are confirmed
  // in order. On failure nothing is forgotten: confirm again, or the next start sends the segment again.
  Result<void> confirm(const SealedSegment& segment, const std::vector<CountDelta>& refused);
  // Hurries the segment that is open: take() returns it now.
  void flush();

  std::uint32_t writer_id() const;
  const std::filesystem::path& dir() const;

  // No append succeeds any more; those waiting are written and called back. Idempotent. Taking goes on.
  void close();
  // After the writer has stopped: notes that this run ended in order. `attempted` is the newest segment of which the
  // store may have seen anything. Without it the next start asks about every segment.
  Result<void> mark_clean(std::uint32_t attempted);

 private:
  struct Impl;
  explicit Spool(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// The kernel's name for the time since the machine started, or nothing.
std::string current_boot_id();

}  // namespace fettle::ingest
