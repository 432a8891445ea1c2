#include "server/data_dir.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <string>

namespace fettle::server {
namespace {

std::string reason() { return std::strerror(errno); }

}  // namespace

Result<DataDir> DataDir::open(const std::filesystem::path& path) {
  std::error_code error;
  // Without "." and "..": the engine compares the paths that it may use as text.
  const std::filesystem::path absolute = std::filesystem::absolute(path, error).lexically_normal();
  if (error)
    return fail(ErrorCode::kInvalidArgument, fmt::format("data folder '{}': {}", path.string(), error.message()));
  if (const auto parent = absolute.parent_path(); !parent.empty()) std::filesystem::create_directories(parent, error);
  if (::mkdir(absolute.c_str(), 0700) != 0 && errno != EEXIST) {
    return fail(ErrorCode::kUnavailable,
                fmt::format("cannot make the data folder '{}': {}", absolute.string(), reason()));
  }
  const std::filesystem::path lock_path = absolute / "lock";
  const int fd = ::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) {
    return fail(ErrorCode::kUnavailable,
                fmt::format("cannot write to the data folder '{}': {}", absolute.string(), reason()));
  }
  DataDir folder(absolute, fd);
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    char owner[32] = {};
    const ssize_t size = ::pread(fd, owner, sizeof owner - 1, 0);
    const std::string_view pid(owner, size > 0 ? static_cast<std::size_t>(size) : 0);
    return fail(ErrorCode::kConflict,
                fmt::format("the data folder '{}' is used by another server{}: stop that one, or choose another folder "
                            "with --data",
                            absolute.string(),
                            pid.empty() ? std::string() : fmt::format(" (process {})", pid.substr(0, pid.find('\n')))));
  }
  // The folder may have been made by somebody with another umask; secrets of all clients lie in it.
  if (::chmod(absolute.c_str(), 0700) != 0) {
    return fail(ErrorCode::kUnavailable,
                fmt::format("cannot keep others out of the data folder '{}': {}", absolute.string(), reason()));
  }
  const std::string pid = fmt::format("{}\n", ::getpid());
  if (::ftruncate(fd, 0) != 0 || ::pwrite(fd, pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size())) {
    return fail(ErrorCode::kUnavailable, fmt::format("cannot write '{}': {}", lock_path.string(), reason()));
  }
  return folder;
}

DataDir::~DataDir() {
  if (lock_fd_ >= 0) ::close(lock_fd_);
}

Result<void> DataDir::write_ports(const Ports& ports) const {
  const std::string text =
      fmt::format(R"({{"http":{},"otlp_http":{},"otlp_grpc":{}}})", ports.http, ports.otlp_http, ports.otlp_grpc) +
      "\n";
  const std::filesystem::path temporary = path_ / "ports.json.tmp";
  const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  const bool is_written = fd >= 0 && ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const std::string why = reason();
  if (fd >= 0) ::close(fd);
  if (!is_written || ::rename(temporary.c_str(), (path_ / "ports.json").c_str()) != 0) {
    return fail(ErrorCode::kUnavailable, fmt::format("cannot write '{}': {}", (path_ / "ports.json").string(), why));
  }
  return {};
}

void DataDir::remove_ports() const {
  std::error_code ignored;  // the file may never have been written
  std::filesystem::remove(path_ / "ports.json", ignored);
}

std::uint16_t port_of(std::string_view address) {
  const std::size_t colon = address.rfind(':');
  if (colon == std::string_view::npos) return 0;
  std::uint16_t port = 0;
  const std::string_view digits = address.substr(colon + 1);
  std::from_chars(digits.data(), digits.data() + digits.size(), port);
  return port;
}

}  // namespace fettle::server
