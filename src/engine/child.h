// One run of the engine program, as a process.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"

namespace fettle::engine {

// An open file descriptor that closes itself.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd();
  int get() const { return fd_; }

 private:
  int fd_ = -1;
};

// Owned by the thread that started it, WHICH MUST OUTLIVE THE CHILD: the child is killed when that thread ends.
// Destroying a Child that still runs kills it.
class Child {
 public:
  // Starts `program` with `arguments`, to which it adds `--parent PID --ready-fd N`. kUnavailable when it cannot.
  static Result<Child> start(const std::filesystem::path& program, std::vector<std::string> arguments);
  Child(Child&& other) noexcept;
  Child& operator=(Child&&) = delete;
  ~Child();

  pid_t pid() const { return pid_; }
  // Readable once the process has ended.
  int pid_fd() const { return pid_fd_.get(); }
  // What the child says of its start: "ready", or why it gives up; empty if it ended without a word.
  int ready_fd() const { return ready_.get(); }

  void send(int signal) const;
  // Waits for the end and gives the words for it: "exit code 3", "signal 9".
  std::string reap();
  std::uint64_t resident_bytes() const;

 private:
  Child(pid_t pid, Fd pid_fd, Fd ready);

  pid_t pid_;
  Fd pid_fd_;
  Fd ready_;
};

}  // namespace fettle::engine
