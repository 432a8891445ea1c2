#include "ingest/disk.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

namespace fettle::ingest {
namespace {

namespace fs = std::filesystem;

// The spool holds clients' data: nobody but the server's own user reads it.
constexpr mode_t kFileMode = 0600;
constexpr std::size_t kPiecesPerCall = 512;  // IOV_MAX is 1024

std::unexpected<Error> failed(int error, std::string_view action, const fs::path& path) {
  const ErrorCode code = error == ENOSPC || error == EDQUOT ? ErrorCode::kResourceExhausted
                         : error == ENOENT                  ? ErrorCode::kNotFound
                                                            : ErrorCode::kUnavailable;
  return fail(code, fmt::format("{} {}: {}", action, path.string(), std::generic_category().message(error)));
}

class PosixFile final : public DiskFile {
 public:
  PosixFile(int descriptor, fs::path path) : descriptor_(descriptor), path_(std::move(path)) {}
  ~PosixFile() override { ::close(descriptor_); }

  Result<void> write(std::uint64_t offset, std::span<const std::string_view> pieces) override {
    std::vector<iovec> vectors;
    vectors.reserve(pieces.size());
    for (std::string_view piece : pieces) {
      if (!piece.empty()) vectors.push_back({const_cast<char*>(piece.data()), piece.size()});
    }
    std::size_t next = 0;
    while (next < vectors.size()) {
      const auto count = static_cast<int>(std::min(kPiecesPerCall, vectors.size() - next));
      const ssize_t written = ::pwritev(descriptor_, &vectors[next], count, static_cast<off_t>(offset));
      if (written < 0) {
        if (errno == EINTR) continue;
        return failed(errno, "writing", path_);
      }
      offset += static_cast<std::uint64_t>(written);
      auto left = static_cast<std::size_t>(written);
      while (next < vectors.size() && left >= vectors[next].iov_len) left -= vectors[next++].iov_len;
      if (left > 0) {
        vectors[next].iov_base = static_cast<char*>(vectors[next].iov_base) + left;
        vectors[next].iov_len -= left;
      }
    }
    return {};
  }

  Result<void> sync() override {
    if (::fdatasync(descriptor_) != 0) return failed(errno, "syncing", path_);
    return {};
  }

  Result<void> reserve(std::uint64_t size) override {
    int outcome;
    do outcome = ::fallocate(descriptor_, 0, 0, static_cast<off_t>(size));
    while (outcome != 0 && errno == EINTR);
    if (outcome != 0 && errno != EOPNOTSUPP && errno != ENOSYS) return failed(errno, "reserving space for", path_);
    return {};
  }

  Result<void> truncate(std::uint64_t size) override {
    if (::ftruncate(descriptor_, static_cast<off_t>(size)) != 0) return failed(errno, "truncating", path_);
    return {};
  }

  Result<std::uint64_t> size() override {
    struct stat info{};
    if (::fstat(descriptor_, &info) != 0) return failed(errno, "looking at", path_);
    return static_cast<std::uint64_t>(info.st_size);
  }

  Result<std::string> read(std::uint64_t offset, std::uint64_t size) override {
    std::string bytes;
    int error = 0;
    // Not zeroed first: a segment of many megabytes would be written twice.
    bytes.resize_and_overwrite(size, [&](char* out, std::size_t count) {
      std::size_t filled = 0;
      while (filled < count && error == 0) {
        const ssize_t got = ::pread(descriptor_, out + filled, count - filled, static_cast<off_t>(offset + filled));
        if (got == 0) break;
        if (got > 0) filled += static_cast<std::size_t>(got);
        if (got < 0 && errno != EINTR) error = errno;
      }
      return filled;
    });
    if (error != 0) return failed(error, "reading", path_);
    return bytes;
  }

 private:
  const int descriptor_;
  const fs::path path_;
};

}  // namespace

Result<std::unique_ptr<DiskFile>> PosixDisk::open(const fs::path& path, Mode mode) {
  const int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | (mode == Mode::kCreate ? O_CREAT : 0);
  int descriptor;
  do descriptor = ::open(path.c_str(), flags, kFileMode);
  while (descriptor < 0 && errno == EINTR);
  if (descriptor < 0) return failed(errno, "opening", path);
  return std::make_unique<PosixFile>(descriptor, path);
}

Result<void> PosixDisk::make_folder(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return failed(error.value(), "making the folder", path);
  fs::permissions(path, fs::perms::owner_all, error);
  if (error) return failed(error.value(), "setting the permissions of", path);
  return {};
}

Result<std::vector<std::string>> PosixDisk::list(const fs::path& folder) {
  std::error_code error;
  std::vector<std::string> names;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    std::error_code ignored;
    if (entry->is_regular_file(ignored)) names.push_back(entry->path().filename().string());
  }
  if (error) return failed(error.value(), "listing", folder);
  std::sort(names.begin(), names.end());
  return names;
}

Result<void> PosixDisk::remove(const fs::path& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return failed(errno, "removing", path);
  return {};
}

Result<void> PosixDisk::rename(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) return failed(errno, "renaming", from);
  return {};
}

Result<void> PosixDisk::sync_folder(const fs::path& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return failed(errno, "opening", folder);
  const int outcome = ::fsync(descriptor);
  const int error = errno;
  ::close(descriptor);
  if (outcome != 0) return failed(error, "syncing", folder);
  return {};
}

Result<std::string> read_file(Disk& disk, const fs::path& path) {
  auto file = disk.open(path, Disk::Mode::kExisting);
  if (!file) return std::unexpected(std::move(file).error());
  auto size = (*file)->size();
  if (!size) return std::unexpected(std::move(size).error());
  return (*file)->read(0, *size);
}

Result<void> write_file(Disk& disk, const fs::path& path, std::string_view bytes) {
  auto file = disk.open(path, Disk::Mode::kCreate);
  if (!file) return std::unexpected(std::move(file).error());
  if (auto written = (*file)->write(0, std::span(&bytes, 1)); !written) return written;
  if (auto cut = (*file)->truncate(bytes.size()); !cut) return cut;
  return (*file)->sync();
}

}  // namespace fettle::ingest
