// Follows one log file through rotation and hands out its lines in batches that can be made again byte for byte.
//
//   FileFollower follower("app.log", known_position);
//   while (auto batch = follower.next(limits, /*at_end=*/false)) { send(*batch); follower.advance(*batch); }
//
// A file is known by its device and inode, not by its name: when the name points to another file, the old one is read
// to its end first, then those between, then the new one. A batch ends at the end of a line, and never between the
// parts of a line that Docker has split. One thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "core/error.h"

namespace fettle::server {

// A place in a file. `head` is a hash of the file's first bytes: an inode that another file has got is told apart.
struct FilePosition {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::uint64_t offset = 0;
  std::string head;
  bool operator==(const FilePosition&) const = default;
};

struct LineBatch {
  FilePosition from;
  std::uint64_t end = 0;  // offset behind the last byte
  std::string bytes;
};

class FileFollower {
 public:
  struct Limits {
    std::size_t batch_bytes_max = 1024 * 1024;  // a longer line is cut into pieces of this size
  };

  // `known`: where an earlier run ended. Without it the file is read from its beginning.
  FileFollower(std::filesystem::path path, std::optional<FilePosition> known);
  FileFollower(FileFollower&& other) noexcept;
  FileFollower& operator=(FileFollower&&) = delete;
  ~FileFollower();

  // The next lines; nothing when there are none now. A last line without an end is kept back until the file is no
  // longer the one its writer has, or `is_final`. kUnavailable when the file cannot be read.
  Result<std::optional<LineBatch>> next(Limits limits, bool is_final);
  // The bytes of a batch that was begun before: exactly up to `end`. Nothing when the file is gone.
  Result<std::optional<LineBatch>> again(std::uint64_t end);
  // The batch has been taken: goes on behind it.
  void advance(const LineBatch& batch) { position_.offset = batch.end; }

  const std::filesystem::path& path() const { return path_; }
  const FilePosition& position() const { return position_; }

 private:
  Result<bool> open_current();
  bool open_known();
  bool move_on();
  void close();
  Result<std::string> read(std::uint64_t offset, std::size_t size) const;

  const std::filesystem::path path_;
  FilePosition position_;
  int fd_ = -1;
  bool is_resuming_ = false;  // `known` has not been looked for yet
};

// How much of `bytes` is whole lines, of Docker's split lines all parts. 0: not one.
std::size_t whole_lines(std::string_view bytes);

}  // namespace fettle::server
