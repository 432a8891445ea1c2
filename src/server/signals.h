// SIGTERM and SIGINT as a stop that is requested instead of something that interrupts.
//
//   std::stop_source stopping;
//   const Signals signals(stopping);     // first of all in main, before any thread
//   …
//   const int signal = signals.wait();
//
// The signals are blocked for the whole process, and a thread of its own takes them from the beginning on. A second one
// ends the process at once. SIGPIPE is ignored, since a peer that leaves is an error value here.
#pragma once

#include <atomic>
#include <stop_token>
#include <thread>

namespace fettle::server {

class Signals {
 public:
  explicit Signals(std::stop_source stopping);
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  // Blocks until SIGTERM or SIGINT comes; returns which.
  int wait() const;

 private:
  void watch(std::stop_source stopping);

  std::atomic<int> received_ = 0;
  int ended_ = -1;  // an eventfd: the object goes
  std::thread thread_;
};

}  // namespace fettle::server
