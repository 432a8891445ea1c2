// Trace context, baggage and correlation id across the queue: what a run came with is active in its handler, goes with
// the runs that it enqueues, and names the trace of its records. A program with a tracer of its own puts its context in
// with Carrying, and takes it out with carried_now().
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fettle::sdk {

// Under the names of the W3C headers; empty is absent.
struct Carried {
  std::string traceparent;
  std::string tracestate;
  std::string baggage;
  std::string correlation_id;  // of the baggage's member correlation_id, when only that is given

  // For an HTTP call to somebody else; the correlation id is in the baggage.
  std::vector<std::pair<std::string, std::string>> headers() const;
};

// The context of this thread.
const Carried& carried_now();

// Makes a context the one of this thread for as long as it lives. Nests.
class Carrying {
 public:
  explicit Carrying(Carried carried);
  ~Carrying();
  Carrying(const Carrying&) = delete;
  Carrying& operator=(const Carrying&) = delete;

 private:
  Carried before_;
};

// Trace id and span id of a traceparent; empty when it is none.
std::pair<std::string, std::string> trace_ids(std::string_view traceparent);

}  // namespace fettle::sdk
