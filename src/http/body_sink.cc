#include "http/body_sink.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

namespace fettle::http {

BodyFile::~BodyFile() {
  if (fd_ >= 0) ::close(fd_);
}

void BodySink::open_memory(std::uint64_t length_known, std::uint64_t bytes_max) {
  reset();
  bytes_max_ = bytes_max;
  // Not filled with zeros: every byte is written before it is read, and pages that never come are never touched.
  memory_.resize_and_overwrite(length_known, [](char*, std::size_t size) { return size; });
}

Result<void> BodySink::open_file(std::uint64_t bytes_max) {
  reset();
  const int fd = ::memfd_create("fettle-body", MFD_CLOEXEC);
  if (fd < 0) {
    return fail(ErrorCode::kResourceExhausted,
                fmt::format("making a memory file: {}", std::error_code(errno, std::generic_category()).message()));
  }
  file_ = BodyFile(fd);
  bytes_max_ = bytes_max;
  return {};
}

void BodySink::reset() {
  memory_ = {};
  file_ = {};
  bytes_ = 0;
  bytes_max_ = 0;
  failure_ = Failure::kNone;
}

bool BodySink::append(std::string_view bytes) {
  if (bytes.size() > bytes_left()) {
    failure_ = Failure::kTooLarge;
    return false;
  }
  if (!is_file()) {
    const std::span<char> prepared = space();
    if (prepared.size() >= bytes.size()) {
      std::memcpy(prepared.data(), bytes.data(), bytes.size());
    } else {
      memory_.resize(bytes_);
      memory_.append(bytes);
    }
    bytes_ += bytes.size();
    return true;
  }
  while (!bytes.empty()) {
    const ssize_t written = ::write(file_.fd(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      failure_ = Failure::kNoRoom;
      return false;
    }
    bytes_ += static_cast<std::uint64_t>(written);
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

void BodySink::move_to(Request& request) {
  if (is_file()) {
    file_.set_bytes(bytes_);
    ::lseek(file_.fd(), 0, SEEK_SET);
    request.body_file = std::move(file_);
  } else {
    memory_.resize(bytes_);
    request.body = std::move(memory_);
  }
  reset();
}

}  // namespace fettle::http
