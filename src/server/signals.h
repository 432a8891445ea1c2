// SIGTERM and SIGINT as something to wait for instead of something that interrupts.
//
// Make one first of all in main, before any thread: the signals are blocked for the whole process, and only wait()
// takes them. SIGPIPE is ignored, since a peer that leaves is an error value here.
#pragma once

namespace fettle::server {

class Signals {
 public:
  Signals();
  // Blocks until SIGTERM or SIGINT comes; returns which. A second one after that ends the process at once.
  int wait();
};

}  // namespace fettle::server
