#include "server/file_follower.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "access/tokens.h"
#include "core/ids.h"

namespace fettle::server {
namespace {

constexpr std::size_t kHeadBytes = 256;

struct Sibling {
  std::filesystem::path path;
  std::uint64_t device;
  std::uint64_t inode;
  std::int64_t modified_ns;
};

std::int64_t modified_of(const struct stat& info) {
  return info.st_mtim.tv_sec * std::int64_t{1'000'000'000} + info.st_mtim.tv_nsec;
}

// The file and its rotated predecessors ("app.log.1", "app.log-20261121"), oldest first. Compressed ones hold what was
// read before they were compressed.
std::vector<Sibling> siblings_of(const std::filesystem::path& path) {
  std::vector<Sibling> found;
  std::error_code error;
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  const std::string name = path.filename().string();
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string other = entry.path().filename().string();
    if (!other.starts_with(name) || other.ends_with(".gz") || other.ends_with(".zst")) continue;
    struct stat info{};
    if (::stat(entry.path().c_str(), &info) != 0 || !S_ISREG(info.st_mode)) continue;
    found.push_back(
        {.path = entry.path(), .device = info.st_dev, .inode = info.st_ino, .modified_ns = modified_of(info)});
  }
  std::ranges::sort(found, [&](const Sibling& a, const Sibling& b) {
    // The name without an ending is the newest, whatever the clock said.
    if ((a.path == path) != (b.path == path)) return b.path == path;
    return a.modified_ns < b.modified_ns;
  });
  return found;
}

// Docker's json-file driver cuts what an application writes at 16 KiB; only the last part ends in a line feed.
bool is_split_by_docker(std::string_view line, std::string_view& stream) {
  constexpr std::string_view kBegin = R"({"log":")";
  constexpr std::string_view kStream = R"(","stream":")";
  if (!line.starts_with(kBegin)) return false;
  const std::size_t end = line.rfind(kStream);
  if (end == std::string_view::npos || end < kBegin.size()) return false;
  stream = line.substr(end + kStream.size());
  stream = stream.substr(0, stream.find('"'));
  const std::string_view text = line.substr(kBegin.size(), end - kBegin.size());
  if (!text.ends_with('n')) return true;
  std::size_t backslashes = 0;
  while (backslashes + 1 < text.size() && text[text.size() - 2 - backslashes] == '\\') ++backslashes;
  return backslashes % 2 == 0;
}

}  // namespace

std::size_t whole_lines(std::string_view bytes) {
  std::size_t good = 0;
  bool is_open[2] = {false, false};  // a split line of stdout, of stderr
  for (std::size_t at = 0; at < bytes.size();) {
    const std::size_t end = bytes.find('\n', at);
    if (end == std::string_view::npos) break;
    std::string_view stream;
    const bool is_split = is_split_by_docker(bytes.substr(at, end - at), stream);
    is_open[stream == "stderr" ? 1 : 0] = is_split;
    at = end + 1;
    if (!is_open[0] && !is_open[1]) good = at;
  }
  return good;
}

FileFollower::FileFollower(std::filesystem::path path, std::optional<FilePosition> known)
    : path_(std::move(path)), position_(known.value_or(FilePosition{})), is_resuming_(known.has_value()) {}

FileFollower::FileFollower(FileFollower&& other) noexcept
    : path_(other.path_),
      position_(std::move(other.position_)),
      fd_(std::exchange(other.fd_, -1)),
      is_resuming_(other.is_resuming_) {}

FileFollower::~FileFollower() { close(); }

void FileFollower::close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

Result<std::string> FileFollower::read(std::uint64_t offset, std::size_t size) const {
  std::string bytes(size, '\0');
  std::size_t done = 0;
  while (done < size) {
    const ssize_t got = ::pread(fd_, bytes.data() + done, size - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0)
      return fail(ErrorCode::kUnavailable, fmt::format("cannot read '{}': {}", path_.string(), std::strerror(errno)));
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  bytes.resize(done);
  return bytes;
}

// A hash of the first bytes, of at most as many as lie before the offset, so that it never changes later.
namespace {

std::string head_hash(std::string_view bytes) {
  const auto digest = access::sha256_of(bytes);
  return fmt::format("{}:{}", bytes.size(), to_hex({reinterpret_cast<const char*>(digest.data()), 8}));
}

}  // namespace

// Opens the file of the known position, under whatever name it has now.
bool FileFollower::open_known() {
  is_resuming_ = false;
  const std::size_t head_bytes =
      std::min<std::uint64_t>(std::strtoull(position_.head.c_str(), nullptr, 10), kHeadBytes);
  for (const Sibling& sibling : siblings_of(path_)) {
    if (sibling.device != position_.device || sibling.inode != position_.inode) continue;
    fd_ = ::open(sibling.path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd_ < 0) return false;
    const auto head = read(0, head_bytes);
    struct stat info{};
    const bool is_same = head && head_hash(*head) == position_.head && ::fstat(fd_, &info) == 0 &&
                         static_cast<std::uint64_t>(info.st_size) >= position_.offset;
    if (is_same) return true;
    close();
    return false;
  }
  return false;
}

// True when the file of the name is open from its beginning; false when there is none.
Result<bool> FileFollower::open_current() {
  fd_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd_ < 0 && errno == ENOENT) return false;
  struct stat info{};
  if (fd_ < 0 || ::fstat(fd_, &info) != 0) {
    const std::string why = std::strerror(errno);
    close();
    return fail(ErrorCode::kUnavailable, fmt::format("cannot open '{}': {}", path_.string(), why));
  }
  position_ = {.device = info.st_dev, .inode = info.st_ino, .offset = 0, .head = {}};
  return true;
}

// After the end of the open file: true when another one has taken its place and is open now.
bool FileFollower::move_on() {
  const std::vector<Sibling> siblings = siblings_of(path_);
  const auto own = std::ranges::find_if(siblings, [&](const Sibling& sibling) {
    return sibling.device == position_.device && sibling.inode == position_.inode;
  });
  auto next = siblings.end();
  if (own != siblings.end()) {
    next = std::next(own);
  } else if (!siblings.empty() && siblings.back().path == path_) {
    next = std::prev(siblings.end());  // ours is gone; of what lies between nothing is known
  }
  if (next == siblings.end()) return false;
  const int fd = ::open(next->path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  close();
  fd_ = fd;
  position_ = {.device = next->device, .inode = next->inode, .offset = 0, .head = {}};
  return true;
}

Result<std::optional<LineBatch>> FileFollower::next(Limits limits, bool is_final) {
  if (fd_ < 0 && is_resuming_) (void)open_known();
  if (fd_ < 0) {
    auto opened = open_current();
    if (!opened) return std::unexpected(std::move(opened).error());
    if (!*opened) return std::nullopt;
  }
  while (true) {
    struct stat info{};
    if (::fstat(fd_, &info) == 0 && static_cast<std::uint64_t>(info.st_size) < position_.offset) {
      position_.offset = 0;  // cut down in place (copytruncate): what is there now is new
      position_.head.clear();
    }
    auto bytes = read(position_.offset, limits.batch_bytes_max);
    if (!bytes) return std::unexpected(std::move(bytes).error());
    std::size_t taken = whole_lines(*bytes);
    if (taken == 0 && bytes->size() == limits.batch_bytes_max) {
      const std::size_t line = bytes->rfind('\n');
      taken = line == std::string::npos ? bytes->size() : line + 1;
    }
    if (taken == 0) {
      // Nothing whole is left. Whether more can come depends on whether the name still points here.
      struct stat named{};
      const bool is_current =
          ::stat(path_.c_str(), &named) == 0 && named.st_dev == position_.device && named.st_ino == position_.inode;
      if (is_current && !is_final) return std::nullopt;
      if (bytes->empty()) {
        if (is_current || !move_on()) return std::nullopt;
        continue;
      }
      taken = bytes->size();
    }
    bytes->resize(taken);
    auto head = read(0, std::min<std::uint64_t>(kHeadBytes, position_.offset + taken));
    if (!head) return std::unexpected(std::move(head).error());
    position_.head = head_hash(*head);
    return LineBatch{.from = position_, .end = position_.offset + taken, .bytes = std::move(*bytes)};
  }
}

Result<std::optional<LineBatch>> FileFollower::again(std::uint64_t end) {
  if (fd_ < 0 && !(is_resuming_ && open_known())) return std::nullopt;
  auto bytes = read(position_.offset, end - position_.offset);
  if (!bytes) return std::unexpected(std::move(bytes).error());
  if (bytes->size() != end - position_.offset) return std::nullopt;
  return LineBatch{.from = position_, .end = end, .bytes = std::move(*bytes)};
}

}  // namespace fettle::server
