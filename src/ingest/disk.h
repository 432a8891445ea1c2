// The few file operations the spool needs, behind an interface, so that a test can tear a write, fail a sync or fill
// the disk. kResourceExhausted means no space, kNotFound no such file, kUnavailable any other failure.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"

namespace fettle::ingest {

// One open file; one thread at a time.
class DiskFile {
 public:
  virtual ~DiskFile() = default;
  // All pieces, one after another, at `offset`. On failure any part of them may have been written.
  virtual Result<void> write(std::uint64_t offset, std::span<const std::string_view> pieces) = 0;
  // Returns once the bytes are on the device. After a failure nothing is known of bytes written since the last one.
  virtual Result<void> sync() = 0;
  // Reserves space up to `size`, which reads as zeros, so that later writes find room and syncs need not write the
  // file's length. Does nothing where the file system cannot.
  virtual Result<void> reserve(std::uint64_t size) = 0;
  virtual Result<void> truncate(std::uint64_t size) = 0;
  virtual Result<std::uint64_t> size() = 0;
  // Up to `size` bytes; fewer at the end of the file.
  virtual Result<std::string> read(std::uint64_t offset, std::uint64_t size) = 0;
};

// Thread-safe.
class Disk {
 public:
  virtual ~Disk() = default;
  enum class Mode { kExisting, kCreate };  // kCreate: made when it is not there
  virtual Result<std::unique_ptr<DiskFile>> open(const std::filesystem::path& path, Mode mode) = 0;
  virtual Result<void> make_folder(const std::filesystem::path& path) = 0;
  // Names of the files in a folder, sorted.
  virtual Result<std::vector<std::string>> list(const std::filesystem::path& folder) = 0;
  // Success when it is not there.
  virtual Result<void> remove(const std::filesystem::path& path) = 0;
  virtual Result<void> rename(const std::filesystem::path& from, const std::filesystem::path& to) = 0;
  // Makes created and removed names durable.
  virtual Result<void> sync_folder(const std::filesystem::path& folder) = 0;
};

class PosixDisk final : public Disk {
 public:
  Result<std::unique_ptr<DiskFile>> open(const std::filesystem::path& path, Mode mode) override;
  Result<void> make_folder(const std::filesystem::path& path) override;
  Result<std::vector<std::string>> list(const std::filesystem::path& folder) override;
  Result<void> remove(const std::filesystem::path& path) override;
  Result<void> rename(const std::filesystem::path& from, const std::filesystem::path& to) override;
  Result<void> sync_folder(const std::filesystem::path& folder) override;
};

// Reads a whole file.
Result<std::string> read_file(Disk& disk, const std::filesystem::path& path);
// Writes a new or existing file and syncs it. Not atomic: for files that carry their own checksum.
Result<void> write_file(Disk& disk, const std::filesystem::path& path, std::string_view bytes);

}  // namespace fettle::ingest
