// fettle doctor: is this machine fit to run Fettle, and what to do where it is not.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <string>
#include <vector>

#include "core/metrics.h"
#include "engine/supervisor.h"
#include "http/message.h"
#include "http/server.h"
#include "server/commands.h"
#include "server/data_dir.h"
#include "server/store.h"
#include "telemetry/detached_parts.h"

namespace fettle::server {
namespace {

constexpr std::uint64_t kDiskBytesMin = 1ULL << 30;
constexpr std::uint64_t kMemoryBytesMin = 1ULL << 30;
// Nothing was built before this: a clock behind it is wrong.
constexpr std::time_t kBuiltAfter = 1'790'000'000;

enum class Verdict { kGood, kWarning, kBad };

struct Finding {
  Verdict verdict = Verdict::kGood;
  std::string what;
  std::string advice;
};

Finding good(std::string what) { return {.verdict = Verdict::kGood, .what = std::move(what), .advice = {}}; }
Finding bad(std::string what, std::string advice) {
  return {.verdict = Verdict::kBad, .what = std::move(what), .advice = std::move(advice)};
}
Finding warning(std::string what, std::string advice) {
  return {.verdict = Verdict::kWarning, .what = std::move(what), .advice = std::move(advice)};
}

Finding check_processor() {
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("bmi2")) {
    return good("processor: has AVX2, SSE4.2 and BMI2");
  }
  return bad(
      "processor: lacks AVX2, SSE4.2 or BMI2, which the telemetry engine needs",
      "on a virtual machine choose a CPU model that passes them on (host-passthrough); otherwise run a ClickHouse "
      "server elsewhere and name it with --telemetry-url");
}

Finding check_memory() {
  const auto bytes =
      static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  const std::string what = fmt::format("memory: {:.1f} GiB", static_cast<double>(bytes) / (1ULL << 30));
  if (bytes >= kMemoryBytesMin) return good(what);
  return warning(what, "1 GiB is the least for small loads, 2 GiB are recommended; lower --engine-memory to fit");
}

// The folder itself, or the nearest one above it that exists.
std::filesystem::path nearest(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::path folder = std::filesystem::absolute(path, error);
  while (!std::filesystem::exists(folder, error) && folder.has_parent_path() && folder != folder.parent_path()) {
    folder = folder.parent_path();
  }
  return folder;
}

Finding check_folder(const Config& config) {
  const std::filesystem::path folder = nearest(config.data);
  if (::access(folder.c_str(), W_OK | X_OK) != 0) {
    return bad(fmt::format("data folder: '{}' cannot be written", folder.string()),
               fmt::format("as root: install -d -m 0700 -o {} '{}'", ::getuid(), config.data.string()));
  }
  struct stat info{};
  if (::stat(config.data.c_str(), &info) == 0 && (info.st_mode & 0077) != 0) {
    return warning(fmt::format("data folder: others may look into '{}'", config.data.string()),
                   fmt::format("chmod 700 '{}' (the server does so when it starts)", config.data.string()));
  }
  return good(fmt::format("data folder: '{}' can be written", config.data.string()));
}

Finding check_disk(const Config& config) {
  std::error_code error;
  const auto space = std::filesystem::space(nearest(config.data), error);
  if (error) return warning("disk: the free space is not known", error.message());
  const std::string what =
      fmt::format("disk: {:.1f} GiB free of {:.1f} GiB", static_cast<double>(space.available) / (1ULL << 30),
                  static_cast<double>(space.capacity) / (1ULL << 30));
  if (space.available < kDiskBytesMin) return bad(what, "free at least 1 GiB, or choose another disk with --data");
  if (space.available < config.limits.spool_bytes * 2) {
    return warning(what, "less than twice the spool's budget: free some, or lower --limits-spool-bytes");
  }
  return good(what);
}

Finding check_lock(const Config& config) {
  std::error_code error;
  if (!std::filesystem::exists(config.data / "lock", error)) return good("data folder: no server uses it");
  auto folder = DataDir::open(config.data);
  if (folder) return good("data folder: no server uses it");
  if (folder.error().code() == ErrorCode::kConflict)
    return warning("data folder: a server uses it now", folder.error().message());
  return bad("data folder: cannot be locked", folder.error().message());
}

Finding check_address(std::string_view name, const std::string& address) {
  metrics::Registry metrics;
  http::Server server({.threads = 1}, metrics);
  auto bound = server.listen(
      address, [](http::Request&) { return http::GateDecision(); }, [](http::Request, http::Responder) {});
  if (bound) return good(fmt::format("{}: {} is free", name, address));
  return bad(fmt::format("{}: {} cannot be used", name, address), bound.error().message());
}

// Looks at the files, so that it is told with and without a running server.
Finding check_parts(const Config& config) {
  std::vector<telemetry::DetachedParts> parts;
  std::error_code error;
  for (const auto& table : std::filesystem::directory_iterator(config.data / "engine/data/data/fettle", error)) {
    telemetry::DetachedParts of_table{.table = http::percent_decode(table.path().filename().string()).value_or("?")};
    std::error_code unreadable;
    for (const auto& part : std::filesystem::directory_iterator(table.path() / "detached", unreadable)) {
      if (telemetry::was_detached_by_store(part.path().filename().string())) ++of_table.count;
    }
    if (of_table.count != 0) parts.push_back(std::move(of_table));
  }
  if (parts.empty()) return good("tables: no part was put aside");
  return warning(
      fmt::format("tables: the engine put parts aside and does not read them ({})", telemetry::to_text(parts)),
      fmt::format("they are in '{}/engine/data/data/fettle/TABLE/detached'; the operating manual says what "
                  "to do about detached parts",
                  config.data.string()));
}

// Standard error goes nowhere while one lives: the engine and its supervisor log there, and this report is for people.
class QuietErrors {
 public:
  QuietErrors() : saved_(::dup(STDERR_FILENO)) {
    const int nowhere = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (saved_ >= 0 && nowhere >= 0) ::dup2(nowhere, STDERR_FILENO);
    if (nowhere >= 0) ::close(nowhere);
  }
  ~QuietErrors() {
    if (saved_ < 0) return;
    ::dup2(saved_, STDERR_FILENO);
    ::close(saved_);
  }
  QuietErrors(const QuietErrors&) = delete;
  QuietErrors& operator=(const QuietErrors&) = delete;

 private:
  int saved_;
};

Finding check_engine(const Config& config) {
  if (!config.telemetry.url.empty()) {
    auto client = connect_external(config.telemetry);
    if (!client) return bad("store: cannot be used", client.error().message());
    return good("store: the server of telemetry.url answers; no engine is needed");
  }
  // In a folder of its own, so that a running server is not disturbed.
  char folder[] = "/tmp/fettle-doctor-XXXXXX";
  if (::mkdtemp(folder) == nullptr) return warning("engine: not tried", "cannot make a folder in /tmp");
  const QuietErrors quiet;
  metrics::Registry metrics;
  engine::Supervisor supervisor(
      {.data_dir = folder, .program = config.engine.binary, .memory_bytes = config.engine.memory_bytes}, metrics);
  const auto begun = std::chrono::steady_clock::now();
  auto started = supervisor.start({});
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
  supervisor.stop(std::chrono::seconds(2));
  std::error_code ignored;  // it is in /tmp
  std::filesystem::remove_all(folder, ignored);
  if (!started) return bad("engine: does not start", started.error().message());
  return good(fmt::format("engine: starts in {:.1f} s", took.count()));
}

Finding check_clock() {
  const std::time_t now = std::time(nullptr);
  if (now < kBuiltAfter) {
    return bad("clock: it is behind the time at which Fettle was built",
               "set it, or telemetry is refused as too far ahead (timedatectl)");
  }
  return good("clock: plausible");
}

void print(const Finding& finding) {
  const char* mark = finding.verdict == Verdict::kGood      ? "ok  "
                     : finding.verdict == Verdict::kWarning ? "warn"
                                                            : "FAIL";
  fmt::print("{}  {}\n", mark, finding.what);
  if (!finding.advice.empty()) fmt::print("      {}\n", finding.advice);
}

}  // namespace

int run_doctor(const Config& config) {
  std::vector<Finding> findings = {check_processor(), check_memory(), check_folder(config), check_disk(config),
                                   check_lock(config)};
  // A running server holds the ports, as it should.
  const bool is_in_use = findings.back().verdict == Verdict::kWarning;
  if (!is_in_use) {
    findings.push_back(check_address("http", config.http));
    findings.push_back(check_address("otlp_http", config.otlp_http));
    findings.push_back(check_address("otlp_grpc", config.otlp_grpc));
  }
  findings.push_back(check_engine(config));
  if (config.telemetry.url.empty()) findings.push_back(check_parts(config));
  findings.push_back(check_clock());
  int failures = 0;
  for (const Finding& finding : findings) {
    print(finding);
    if (finding.verdict == Verdict::kBad) ++failures;
  }
  if (failures == 0) {
    fmt::print("\nFettle can run here.\n");
    return 0;
  }
  fmt::print("\n{} of {} checks failed.\n", failures, findings.size());
  return 1;
}

}  // namespace fettle::server
