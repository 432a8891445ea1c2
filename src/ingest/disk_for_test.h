// A disk that a test can fill, tear and break, over the real file system.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>

#include "core/mutex.h"
#include "ingest/disk.h"

namespace fettle::ingest {

class FaultyDisk final : public Disk {
 public:
  // Space that is left, for writes beyond a file's end and for reservations.
  void set_space(std::uint64_t bytes) { space_ = bytes; }
  // Answers the next sync of a file whose name contains `part` with a failure.
  void fail_sync(std::string part) { set_failing(failing_sync_, std::move(part)); }
  void fail_read(std::string part) { set_failing(failing_read_, std::move(part)); }
  // The next write to such a file fails after so many bytes.
  void tear_write(std::string part, std::uint64_t after_bytes) {
    set_failing(torn_write_, std::move(part));
    torn_after_ = after_bytes;
  }
  // Runs in every sync, before it takes effect.
  void on_sync(std::function<void(const std::string& path)> hook) {
    MutexLock lock(mutex_);
    sync_hook_ = std::move(hook);
  }
  int syncs(const std::string& part) {
    MutexLock lock(mutex_);
    int count = 0;
    for (const auto& [path, each] : syncs_) {
      if (path.contains(part)) count += each;
    }
    return count;
  }

  // How often a write found no space.
  int full_answers() const { return full_answers_; }
  int folder_syncs(const std::string& name) {
    MutexLock lock(mutex_);
    return folder_syncs_[name];
  }

  Result<std::unique_ptr<DiskFile>> open(const std::filesystem::path& path, Mode mode) override {
    auto file = real_.open(path, mode);
    if (!file) return file;
    return std::make_unique<File>(*this, path.filename().string(), std::move(*file));
  }
  Result<void> make_folder(const std::filesystem::path& path) override { return real_.make_folder(path); }
  Result<std::vector<std::string>> list(const std::filesystem::path& folder) override { return real_.list(folder); }
  Result<void> remove(const std::filesystem::path& path) override {
    std::error_code error;
    const auto size = std::filesystem::file_size(path, error);
    if (!error && space_ != kUnlimited) space_ += size;
    return real_.remove(path);
  }
  Result<void> rename(const std::filesystem::path& from, const std::filesystem::path& to) override {
    return real_.rename(from, to);
  }
  Result<void> sync_folder(const std::filesystem::path& folder) override {
    {
      MutexLock lock(mutex_);
      ++folder_syncs_[folder.filename().string()];
    }
    return real_.sync_folder(folder);
  }

 private:
  class File final : public DiskFile {
   public:
    File(FaultyDisk& disk, std::string name, std::unique_ptr<DiskFile> real)
        : disk_(disk), name_(std::move(name)), real_(std::move(real)) {}

    Result<void> write(std::uint64_t offset, std::span<const std::string_view> pieces) override {
      std::uint64_t bytes = 0;
      for (std::string_view piece : pieces) bytes += piece.size();
      std::uint64_t writable = bytes;
      ErrorCode code = ErrorCode::kUnavailable;
      const bool is_torn = disk_.take_failure(disk_.torn_write_, name_);
      if (is_torn) writable = std::min<std::uint64_t>(bytes, disk_.torn_after_);
      if (const std::uint64_t room = room_from(offset); writable > room) {
        writable = room;
        code = ErrorCode::kResourceExhausted;
        ++disk_.full_answers_;
      }
      grow_to(offset + writable);
      if (writable == bytes && !is_torn) return real_->write(offset, pieces);
      std::string flat;
      for (std::string_view piece : pieces) flat += piece;
      const std::string_view torn = std::string_view(flat).substr(0, writable);
      if (auto written = real_->write(offset, std::span(&torn, 1)); !written) return written;
      return fail(code, "torn for the test");
    }
    Result<void> sync() override {
      std::function<void(const std::string&)> hook;
      {
        MutexLock lock(disk_.mutex_);
        ++disk_.syncs_[name_];
        hook = disk_.sync_hook_;
      }
      if (hook) hook(name_);
      if (disk_.take_failure(disk_.failing_sync_, name_)) return fail(ErrorCode::kUnavailable, "failed for the test");
      return real_->sync();
    }
    Result<void> reserve(std::uint64_t size) override {
      if (size > real_size() + disk_.space_) return fail(ErrorCode::kResourceExhausted, "full for the test");
      grow_to(size);
      return real_->reserve(size);
    }
    Result<void> truncate(std::uint64_t size) override {
      const std::uint64_t before = real_size();
      if (before > size && disk_.space_ != kUnlimited) disk_.space_ += before - size;
      return real_->truncate(size);
    }
    Result<std::uint64_t> size() override { return real_->size(); }
    Result<std::string> read(std::uint64_t offset, std::uint64_t size) override {
      if (disk_.take_failure(disk_.failing_read_, name_)) return fail(ErrorCode::kUnavailable, "failed for the test");
      return real_->read(offset, size);
    }

   private:
    std::uint64_t real_size() { return real_->size().value_or(0); }
    std::uint64_t room_from(std::uint64_t offset) {
      const std::uint64_t size = real_size();
      return disk_.space_ == kUnlimited ? kUnlimited : disk_.space_ + (size > offset ? size - offset : 0);
    }
    void grow_to(std::uint64_t size) {
      const std::uint64_t before = real_size();
      if (size > before && disk_.space_ != kUnlimited) disk_.space_ -= size - before;
    }

    FaultyDisk& disk_;
    const std::string name_;
    std::unique_ptr<DiskFile> real_;
  };

  static constexpr std::uint64_t kUnlimited = std::uint64_t{1} << 60;

  void set_failing(std::string& which, std::string part) {
    MutexLock lock(mutex_);
    which = std::move(part);
  }
  bool take_failure(std::string& which, const std::string& name) {
    MutexLock lock(mutex_);
    if (which.empty() || !name.contains(which)) return false;
    which.clear();
    return true;
  }

  PosixDisk real_;
  std::atomic<std::uint64_t> space_ = kUnlimited;
  std::atomic<std::uint64_t> torn_after_ = 0;
  Mutex mutex_;
  std::string failing_sync_;
  std::string failing_read_;
  std::string torn_write_;
  std::function<void(const std::string&)> sync_hook_;
  std::map<std::string, int> syncs_;
  std::map<std::string, int> folder_syncs_;
  std::atomic<int> full_answers_ = 0;
};

}  // namespace fettle::ingest
