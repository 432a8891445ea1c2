// What a backup says about itself: the files in it, each with size and SHA-256.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/clock.h"
#include "core/error.h"

namespace fettle::server {

struct BackedFile {
  std::string path;  // below the backup's folder
  std::uint64_t bytes = 0;
  std::string sha256;
  bool operator==(const BackedFile&) const = default;
};

struct BackupManifest {
  static constexpr int kFormat = 1;  // raise when an older program cannot read the folder
  int format = kFormat;
  std::string made_by;
  UnixNanos taken_at = 0;
  std::string ledger;
  std::string telemetry;
  std::uint32_t telemetry_schema = 0;  // its newest migration
  std::vector<BackedFile> files;
};

// Every file below `folder` but the manifest, in the order of paths, read from the disk.
Result<std::vector<BackedFile>> list_files(const std::filesystem::path& folder);

Result<void> write_manifest(const std::filesystem::path& folder, const BackupManifest& manifest);
// kNotFound, kDataLoss, or kUnsupported for a later format.
Result<BackupManifest> read_manifest(const std::filesystem::path& folder);
// kDataLoss names the first file that is missing, too many, or not as it was.
Result<void> check_files(const std::filesystem::path& folder, const BackupManifest& manifest);

// Everything on the file system that holds `folder`, as far as it was written before.
Result<void> sync_all(const std::filesystem::path& folder);

}  // namespace fettle::server
