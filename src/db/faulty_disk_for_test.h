// SQLite's way to the disk with faults on request: a sync that fails and takes with it what it was to keep, as a kernel
// does that drops pages it could not write; a write that fails; a disk that is full. In effect for every connection
// that is opened while it lives. One at a time; its methods are thread-safe.
#pragma once

#include <sqlite3.h>

#include <atomic>
#include <cstdint>
#include <new>
#include <string>
#include <vector>

namespace fettle::db {

class FaultyDisk {
 public:
  enum class Fault { kNone, kSyncFails, kWriteFails, kFull };

  FaultyDisk() : real_(sqlite3_vfs_find(nullptr)), vfs_(*real_) {
    vfs_.szOsFile = static_cast<int>(sizeof(File)) + real_->szOsFile;
    vfs_.zName = "faulty-disk";
    vfs_.pAppData = this;
    vfs_.xOpen = &FaultyDisk::open;
    sqlite3_vfs_register(&vfs_, 1);
  }
  ~FaultyDisk() {
    sqlite3_vfs_unregister(&vfs_);
    sqlite3_vfs_register(real_, 1);
  }
  FaultyDisk(const FaultyDisk&) = delete;
  FaultyDisk& operator=(const FaultyDisk&) = delete;

  // From the next sync or write of the log on, until kNone.
  void set(Fault fault) { fault_ = fault; }
  std::uint64_t failures() const { return failures_; }

 private:
  // What a write replaced, as long as no sync has made the write durable.
  struct Replaced {
    sqlite3_int64 offset;
    std::string bytes;
    sqlite3_int64 file_size;
  };
  // The state of one open file; the real one lies behind it in the same memory.
  struct File {
    sqlite3_file base;
    FaultyDisk* disk;
    bool is_log;
    std::vector<Replaced>* unsynced;
    sqlite3_file* real() { return reinterpret_cast<sqlite3_file*>(this + 1); }
  };
  static File& of(sqlite3_file* file) { return *reinterpret_cast<File*>(file); }
  static sqlite3_file* real(sqlite3_file* file) { return of(file).real(); }

  static int open(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* out_flags) {
    auto* disk = static_cast<FaultyDisk*>(vfs->pAppData);
    File& own = *new (file) File{};
    const int code = disk->real_->xOpen(disk->real_, name, own.real(), flags, out_flags);
    if (code != SQLITE_OK) return code;
    own.disk = disk;
    own.is_log = (flags & SQLITE_OPEN_WAL) != 0;
    own.unsynced = new std::vector<Replaced>();
    own.base.pMethods = &methods();
    return SQLITE_OK;
  }
  static int close(sqlite3_file* file) {
    delete of(file).unsynced;
    return real(file)->pMethods->xClose(real(file));
  }
  static int write(sqlite3_file* file, const void* bytes, int size, sqlite3_int64 offset) {
    File& own = of(file);
    sqlite3_file* const to = own.real();
    if (own.is_log) {
      if (own.disk->fault_ == Fault::kFull) return ++own.disk->failures_, SQLITE_FULL;
      if (own.disk->fault_ == Fault::kWriteFails) return ++own.disk->failures_, SQLITE_IOERR_WRITE;
      Replaced before{offset, std::string(static_cast<std::size_t>(size), '\0'), 0};
      to->pMethods->xFileSize(to, &before.file_size);
      const int read = to->pMethods->xRead(to, before.bytes.data(), size, offset);
      if (read != SQLITE_OK && read != SQLITE_IOERR_SHORT_READ) return read;
      own.unsynced->push_back(std::move(before));
    }
    return to->pMethods->xWrite(to, bytes, size, offset);
  }
  static int sync(sqlite3_file* file, int flags) {
    File& own = of(file);
    sqlite3_file* const to = own.real();
    if (!own.is_log) return to->pMethods->xSync(to, flags);
    if (own.disk->fault_ == Fault::kSyncFails) {
      for (auto last = own.unsynced->rbegin(); last != own.unsynced->rend(); ++last) {
        to->pMethods->xWrite(to, last->bytes.data(), static_cast<int>(last->bytes.size()), last->offset);
        to->pMethods->xTruncate(to, last->file_size);
      }
      own.unsynced->clear();
      ++own.disk->failures_;
      return SQLITE_IOERR_FSYNC;
    }
    own.unsynced->clear();
    return to->pMethods->xSync(to, flags);
  }

  static const sqlite3_io_methods& methods() {
    static const sqlite3_io_methods all = {
        3,
        &FaultyDisk::close,
        [](sqlite3_file* f, void* to, int n, sqlite3_int64 at) { return real(f)->pMethods->xRead(real(f), to, n, at); },
        &FaultyDisk::write,
        [](sqlite3_file* f, sqlite3_int64 size) { return real(f)->pMethods->xTruncate(real(f), size); },
        &FaultyDisk::sync,
        [](sqlite3_file* f, sqlite3_int64* size) { return real(f)->pMethods->xFileSize(real(f), size); },
        [](sqlite3_file* f, int level) { return real(f)->pMethods->xLock(real(f), level); },
        [](sqlite3_file* f, int level) { return real(f)->pMethods->xUnlock(real(f), level); },
        [](sqlite3_file* f, int* out) { return real(f)->pMethods->xCheckReservedLock(real(f), out); },
        [](sqlite3_file* f, int op, void* arg) { return real(f)->pMethods->xFileControl(real(f), op, arg); },
        [](sqlite3_file* f) { return real(f)->pMethods->xSectorSize(real(f)); },
        [](sqlite3_file* f) { return real(f)->pMethods->xDeviceCharacteristics(real(f)); },
        [](sqlite3_file* f, int page, int size, int extend, void volatile** out) {
          return real(f)->pMethods->xShmMap(real(f), page, size, extend, out);
        },
        [](sqlite3_file* f, int offset, int n, int flags) {
          return real(f)->pMethods->xShmLock(real(f), offset, n, flags);
        },
        [](sqlite3_file* f) { real(f)->pMethods->xShmBarrier(real(f)); },
        [](sqlite3_file* f, int remove) { return real(f)->pMethods->xShmUnmap(real(f), remove); },
        [](sqlite3_file* f, sqlite3_int64 at, int n, void** out) {
          return real(f)->pMethods->xFetch(real(f), at, n, out);
        },
        [](sqlite3_file* f, sqlite3_int64 at, void* page) { return real(f)->pMethods->xUnfetch(real(f), at, page); }};
    return all;
  }

  sqlite3_vfs* const real_;
  sqlite3_vfs vfs_;
  std::atomic<Fault> fault_{Fault::kNone};
  std::atomic<std::uint64_t> failures_{0};
};

}  // namespace fettle::db
