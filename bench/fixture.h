// A real server for a benchmark, on ports of its own and a scratch folder, and what can be seen of it from outside.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "http/client.h"

namespace fettle::bench {

class ServerFixture {
 public:
  // Starts `build/release/bin/fettle serve --dev` on `data`, which is made when absent and removed at the end unless
  // `keep`. Ends the program with a message when it does not come up.
  explicit ServerFixture(std::filesystem::path data = {}, bool keep = false, std::vector<std::string> arguments = {});
  ~ServerFixture();

  std::string address(const char* listener) const;  // "http", "otlp_http", "otlp_grpc" → "127.0.0.1:port"
  double seconds_to_ready() const { return seconds_to_ready_; }
  const std::filesystem::path& data() const { return data_; }

  // The first row of a query as text, by column.
  std::vector<std::string> sql(const std::string& query);
  std::uint64_t count(const std::string& query);
  // Blocks until `query` counts at least `wanted`; the seconds it took, or a negative number after `seconds_max`.
  double wait_for_count(const std::string& query, std::uint64_t wanted, double seconds_max);
  http::Response get(const std::string& target);

  struct Usage {
    double cpu_seconds = 0;  // server and its children so far
    std::uint64_t rss_bytes = 0;
    std::uint64_t engine_rss_bytes = 0;
    double engine_cpu_seconds = 0;
  };
  Usage usage() const;
  // SIGTERM, and waits. The seconds it took.
  double stop();

 private:
  std::filesystem::path data_;
  bool keep_;
  pid_t pid_ = -1;
  double seconds_to_ready_ = 0;
  std::string http_, otlp_http_, otlp_grpc_;
  std::unique_ptr<http::Client> client_;
};

// Reports one figure: "name value unit target ok|short", remembered for the JSON file and the exit code.
enum class Want { kAtLeast, kAtMost, kNothing };
void report(const std::string& name, double value, const std::string& unit, Want want = Want::kNothing,
            double target = 0);
// A fact that belongs to the figures: rows, bytes per span, what the machine is.
void note(const std::string& text);
// Writes bench/results/NAME.json; 1 when a figure was short.
int finish(const std::string& name);

}  // namespace fettle::bench
