#include "engine/child.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

namespace fettle::engine {
namespace {

constexpr int kReadyFdInChild = 3;

}  // namespace

Fd::~Fd() {
  if (fd_ >= 0) close(fd_);
}

Result<Child> Child::start(const std::filesystem::path& program, std::vector<std::string> arguments) {
  const auto refuse = [&](int error) {
    return fail(ErrorCode::kUnavailable, fmt::format("cannot start {}: {}", program.string(), strerror(error)));
  };
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return refuse(errno);
  Fd ready(ends[0]);
  const Fd ready_in_child(ends[1]);

  arguments.insert(arguments.begin(), program.string());
  for (const std::string& argument : {std::string("--parent"), std::to_string(getpid()), std::string("--ready-fd"),
                                      std::to_string(kReadyFdInChild)}) {
    arguments.push_back(argument);
  }
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  // Nothing of our environment concerns the engine, and its time zone is ours.
  char time_zone[] = "TZ=UTC";
  char path[] = "PATH=/usr/bin:/bin";
  char* environment[] = {time_zone, path, nullptr};

  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&files, ready_in_child.get(), kReadyFdInChild);
  posix_spawn_file_actions_addclosefrom_np(&files, kReadyFdInChild + 1);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigset_t all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  pid_t pid = 0;
  const int error = posix_spawn(&pid, program.c_str(), &files, &attributes, argv.data(), environment);
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) return refuse(error);

  Fd pid_fd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (pid_fd.get() < 0) {
    const int open_error = errno;
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    return refuse(open_error);
  }
  return Child(pid, std::move(pid_fd), std::move(ready));
}

Child::Child(pid_t pid, Fd pid_fd, Fd ready) : pid_(pid), pid_fd_(std::move(pid_fd)), ready_(std::move(ready)) {}

Child::Child(Child&& other) noexcept
    : pid_(std::exchange(other.pid_, 0)), pid_fd_(std::move(other.pid_fd_)), ready_(std::move(other.ready_)) {}

Child::~Child() {
  if (pid_ == 0) return;
  send(SIGKILL);
  reap();
}

void Child::send(int signal) const {
  if (pid_ != 0) kill(pid_, signal);
}

std::string Child::reap() {
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = 0;
  if (WIFSIGNALED(status)) return fmt::format("signal {}", WTERMSIG(status));
  return fmt::format("exit code {}", WEXITSTATUS(status));
}

std::uint64_t Child::resident_bytes() const {
  std::ifstream file(fmt::format("/proc/{}/statm", pid_));
  std::uint64_t total_pages = 0;
  std::uint64_t resident_pages = 0;
  file >> total_pages >> resident_pages;
  return resident_pages * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

}  // namespace fettle::engine
