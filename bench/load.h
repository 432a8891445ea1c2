// Load for the benchmarks: OTLP requests of spans or log records whose ids are new each time, sent over kept-alive
// connections as fast as they are answered, or at a given rate.
//
// Bodies are encoded once; before each use only their ids and times are overwritten in place, so that the generator
// costs next to nothing beside what it measures. Its own CPU time is reported all the same.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fettle::bench {

struct Shape {
  int items = 512;  // spans or log records in a request
  int spans_per_trace = 8;
  bool logs = false;
};

// One request body that can be made new.
class Template {
 public:
  Template(Shape shape, std::uint64_t seed);
  // Gives every id and time in the body a value never used before by this process.
  void renew();
  const std::string& body() const { return body_; }
  // The first trace id of the body as it is now, lower-case hex.
  std::string trace_id() const;

 private:
  void find_fields();

  Shape shape_;
  std::string body_;
  std::vector<std::uint32_t> trace_ids_;   // offsets of 16-byte ids
  std::vector<std::uint32_t> span_ids_;    // offsets of 8-byte ids
  std::vector<std::uint32_t> parent_ids_;  // offsets of 8-byte ids, by item; 0: a root
  std::vector<std::uint32_t> times_;       // offsets of fixed64 times: start and end, or time and observed
  std::vector<std::uint32_t> request_ids_, job_ids_, customers_;  // offsets of their digits
};

struct LoadResult {
  std::uint64_t requests = 0;
  std::uint64_t items = 0;
  std::uint64_t failed = 0;
  double seconds = 0;
  double generator_cpu_seconds = 0;
  std::vector<double> latencies_ms;  // sorted
  std::string error;                 // the first failure
};

// Each connection sends so many requests in turn, each with senders and clients of its own.
constexpr std::uint64_t kTemplatesPerConnection = 4;

struct LoadOptions {
  std::string address;  // "127.0.0.1:4318"
  Shape shape;
  int connections = 4;
  std::uint64_t requests = 0;  // 0: until `duration` is over
  std::chrono::duration<double> duration{10};
  double items_per_second = 0;  // 0: as fast as answered
  bool grpc = false;
};

LoadResult run_load(const LoadOptions& options);

double percentile(const std::vector<double>& sorted, double p);

}  // namespace fettle::bench
