// What the spool remembers of confirmed segments: the books up to the newest one, and the request keys of the last ten
// minutes. Both must be writable on a full disk, because confirming is what frees it.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/clock.h"
#include "core/error.h"
#include "ingest/disk.h"
#include "ingest/replay_guard.h"

namespace fettle::ingest {

struct Checkpoint {
  std::uint32_t writer = 0;
  std::uint32_t applied = 0;        // the newest confirmed segment: `books` hold it and all before
  std::uint32_t ask_until = 0;      // up to this segment the store is asked first: its tokens may be gone
  std::string boot_id;              // of the run that wrote it
  bool clean = false;               // that run ended in order, and then:
  std::uint32_t attempted = 0;      // the newest segment of which the store may have seen something, in any run
  std::uint32_t last_segment = 0;   // the newest segment, 0: none
  std::uint64_t last_end = 0;       // where it ends
  std::uint64_t next_sequence = 0;  // after its last record
  std::string books;                // Balance::encode_confirmed()
};

// Two files written in turn, each with a checksum and a generation, in space reserved ahead: a torn write leaves the
// other one, and neither needs free space. One thread at a time.
class CheckpointFiles {
 public:
  static Result<CheckpointFiles> open(Disk& disk, const std::filesystem::path& folder);

  // The newest intact one; nothing when there was never any, kDataLoss when there was and none is intact.
  Result<std::optional<Checkpoint>> load();
  // Durable on success.
  Result<void> store(const Checkpoint& checkpoint);

 private:
  CheckpointFiles() = default;

  std::array<std::unique_ptr<DiskFile>, 2> files_;
  std::array<std::uint64_t, 2> reserved_{};
  std::uint64_t generation_ = 0;
};

// The keys of requests whose segments are confirmed, in files of two minutes each, deleted when all in them are too old
// to matter. One thread at a time.
class RequestLog {
 public:
  using Entry = std::pair<UnixNanos, RequestKey>;  // when the request was appended

  RequestLog(Disk& disk, std::filesystem::path folder, Clock& clock, std::chrono::nanoseconds remember_for)
      : disk_(disk), folder_(std::move(folder)), clock_(clock), remember_for_(remember_for) {}

  // Gives everything intact to the guard.
  Result<void> load(ReplayGuard& guard);
  // Durable on success. On failure the entries are kept for the next call, up to a bound.
  Result<void> append(std::vector<Entry> entries);

 private:
  struct OldFile {
    std::string name;
    UnixNanos newest;
  };
  std::filesystem::path path_of(const std::string& name) const { return folder_ / name; }
  void drop_old();

  Disk& disk_;
  const std::filesystem::path folder_;
  Clock& clock_;
  const std::chrono::nanoseconds remember_for_;
  std::vector<OldFile> old_;
  std::vector<Entry> unwritten_;
  std::unique_ptr<DiskFile> file_;
  std::string name_;
  std::uint64_t end_ = 0;
  std::uint64_t reserved_ = 0;
  UnixNanos opened_at_ = 0;
  UnixNanos newest_ = 0;
  std::uint64_t next_number_ = 1;
};

}  // namespace fettle::ingest
