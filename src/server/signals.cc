#include "server/signals.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <utility>

#include "core/log.h"

namespace fettle::server {
namespace {

sigset_t stop_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  return set;
}

}  // namespace

Signals::Signals(std::stop_source stopping) : ended_(::eventfd(0, EFD_CLOEXEC)) {
  std::signal(SIGPIPE, SIG_IGN);
  const sigset_t set = stop_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  thread_ = std::thread([this, stopping = std::move(stopping)] { watch(stopping); });
}

Signals::~Signals() {
  const std::uint64_t one = 1;
  if (::write(ended_, &one, sizeof one) < 0) log::error("signal_thread_not_woken");
  thread_.join();
  ::close(ended_);
}

int Signals::wait() const {
  received_.wait(0);
  return received_;
}

void Signals::watch(std::stop_source stopping) {
  const sigset_t set = stop_signals();
  const int signals = ::signalfd(-1, &set, SFD_CLOEXEC);
  pollfd waited[2] = {{.fd = ended_, .events = POLLIN, .revents = 0}, {.fd = signals, .events = POLLIN, .revents = 0}};
  while (waited[0].revents == 0) {
    waited[1].revents = 0;
    if (::poll(waited, 2, -1) <= 0 || waited[1].revents == 0) continue;
    signalfd_siginfo info{};
    if (::read(signals, &info, sizeof info) != sizeof info) continue;
    received_ = static_cast<int>(info.ssi_signo);
    received_.notify_all();
    stopping.request_stop();
    // Whoever asks twice means it: from here on the default action holds, on this thread.
    waited[1].fd = -1;
    pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
  }
  if (signals >= 0) ::close(signals);
}

}  // namespace fettle::server
