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

// Bytes of a segment that could not be read back. `records` counts what is known to be lost; a torn tail that was
// never acknowledged has acknowledged == false.
struct SpoolLoss {
  std::uint32_t segment = 0;
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  std::uint32_t records = 0;
  bool acknowledged = false;
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

// A segment on its way to the store.
struct SealedSegment {
  std::uint32_t number = 0;
  std::uint64_t ingest_id = 0;       // writer id << 32 | number: in every row of the segment
  bool ask_first = false;            // may be in the store already and the store's own deduplication may have forgotten
  std::string bytes;                 // of the whole file: records point into it
  std::vector<SpoolRecord> records;  // their blocks have empty `bytes` …
  std::vector<std::vector<std::string_view>> block_bytes;  // … which are here, by record and block
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
    std::chrono::milliseconds retry_after = std::chrono::seconds(2);
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

  // For the writer. Blocks until a segment is due or a stop is requested (nothing then). Damage found on reading is
  // recorded as loss; the segment comes with what is intact.
  std::optional<SealedSegment> take(const std::stop_token& stop);
  // The oldest taken segment is stored, but for the rows in `refused` (see Balance::confirm). Segments are confirmed
  // in order. On failure the segment counts as unconfirmed at the next start, which sends it again.
  Result<void> confirm(std::uint32_t segment, const std::vector<CountDelta>& refused);
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

}  // namespace fettle::ingest
