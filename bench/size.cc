// Bytes on disk for the demo's own traffic: its programs run against the server until a million spans are stored, then
// every part is merged and every table weighed, indexes, side tables and roll-ups included.
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <map>
#include <thread>
#include <vector>

#include "fixture.h"
#include "scenarios.h"
#include "telemetry/client.h"

extern char** environ;

namespace fettle::bench {
namespace {

constexpr std::uint64_t kSpans = 1'000'000;

class Agency {
 public:
  explicit Agency(const std::string& endpoint) {
    for (char** variable = environ; *variable != nullptr; ++variable) environment_.emplace_back(*variable);
    for (const char* setting :
         {"AGENCY_PORT=18100", "AGENCY_RATE=400", "AGENCY_WORKERS=150", "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
          "OTEL_TRACES_EXPORTER=otlp", "OTEL_METRICS_EXPORTER=otlp", "OTEL_LOGS_EXPORTER=otlp",
          "OTEL_BSP_SCHEDULE_DELAY=200", "OTEL_BSP_MAX_QUEUE_SIZE=20000", "OTEL_BLRP_MAX_QUEUE_SIZE=20000",
          "OTEL_RESOURCE_ATTRIBUTES=deployment.environment.name=demo,service.namespace=agency"}) {
      environment_.emplace_back(setting);
    }
    environment_.push_back("OTEL_EXPORTER_OTLP_ENDPOINT=http://" + endpoint);
    for (const char* program : {"stand-ins", "web", "asset-store", "platform-connector", "browser-runner",
                                "tool-gateway", "worker", "traffic"}) {
      start(fmt::format("examples/agency/{}.cjs", program));
    }
  }
  ~Agency() {
    for (const pid_t pid : programs_) kill(pid, SIGTERM);
    for (const pid_t pid : programs_) waitpid(pid, nullptr, 0);
  }

 private:
  void start(std::string program) {
    std::string node = "node";
    char* argv[] = {node.data(), program.data(), nullptr};
    std::vector<char*> environment;
    for (std::string& variable : environment_) environment.push_back(variable.data());
    environment.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    pid_t pid = -1;
    if (posix_spawnp(&pid, argv[0], &actions, nullptr, argv, environment.data()) == 0) programs_.push_back(pid);
    posix_spawn_file_actions_destroy(&actions);
  }

  std::vector<std::string> environment_;
  std::vector<pid_t> programs_;
};

}  // namespace

void run_size() {
  ServerFixture server;
  const char* wanted_text = std::getenv("FETTLE_BENCH_SPANS");
  const std::uint64_t wanted = wanted_text != nullptr ? std::stoull(wanted_text) : kSpans;
  {
    Agency agency(server.address("otlp_http"));
    if (server.wait_for_count("SELECT count() FROM spans", wanted, 3'600) < 0)
      note("size: the demo was too slow; figures are of less");
  }
  auto client = telemetry::Client::connect("unix:" + (server.data() / "engine" / "engine.sock").string());
  telemetry::StatementOptions slow;
  slow.time_max = std::chrono::minutes(10);
  auto tables = (*client)->query("SELECT DISTINCT table FROM system.parts WHERE database = 'fettle' AND active", slow);
  if (!tables) return note("size: " + tables.error().message());
  for (const auto& row : *tables) {
    if (auto done = (*client)->execute(fmt::format("OPTIMIZE TABLE fettle.{} FINAL", row[0]), slow); !done)
      note("size: " + done.error().message());
  }
  auto sizes = (*client)->query(
      "SELECT table, sum(rows), sum(bytes_on_disk) FROM system.parts WHERE database = 'fettle' AND active GROUP BY "
      "table ORDER BY 3 DESC",
      slow);
  if (!sizes) return note("size: " + sizes.error().message());
  std::map<std::string, std::pair<double, double>> by_table;
  for (const auto& row : *sizes) {
    by_table[row[0]] = {std::stod(row[1]), std::stod(row[2])};
    note(fmt::format("size: {} holds {} rows in {} bytes", row[0], row[1], row[2]));
  }
  const auto bytes = [&](const char* table) { return by_table[table].second; };
  // The identifier index serves both signals and is charged to the spans.
  const double of_spans = bytes("spans_hot") + bytes("spans_kept") + bytes("traces") + bytes("span_rollup") +
                          bytes("identifiers") + bytes("llm_calls") + bytes("kept_traces");
  report("stored_per_span", of_spans / by_table["spans_hot"].first, "bytes", Want::kAtMost, 80);
  report("stored_per_log_line", (bytes("logs_hot") + bytes("logs_kept")) / by_table["logs_hot"].first, "bytes",
         Want::kAtMost, 75);
}

}  // namespace fettle::bench
