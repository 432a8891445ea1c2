// fettle-engine: the embedded ClickHouse engine behind ClickHouse's HTTP interface.
//
//   fettle-engine --data DIR --socket PATH --config FILE.xml [--tcp ADDR --tcp-tokens FILE]
//
// Started by `fettle serve` as its child; it ends when its parent does, and within five seconds of SIGTERM.
#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>
#include <thread>

#include "core/clock.h"
#include "core/log.h"
#include "core/metrics.h"
#include "engine/host/chdb_engine.h"
#include "engine/host/service.h"
#include "engine/host/tokens.h"
#include "http/server.h"

namespace {

using namespace fettle;
using namespace fettle::engine_host;

constexpr int kExitUsage = 2;
constexpr int kExitNoEngine = 3;
constexpr std::chrono::milliseconds kDrainTimeMax{1'500};
constexpr std::chrono::milliseconds kStopTimeMax{4'000};

constexpr std::string_view kUsage =
    "usage: fettle-engine --data DIR --socket PATH --config FILE.xml [--tcp ADDR --tcp-tokens FILE]\n"
    "       [--parent PID] [--ready-fd N]\n";

struct Flags {
  std::string data, socket, config, tcp, tcp_tokens;
  std::string parent;    // end with this process
  std::string ready_fd;  // where to say "ready", or why it gives up
};

bool parse(int argc, char** argv, Flags& flags) {
  const std::map<std::string_view, std::string*> known = {
      {"--data", &flags.data},        {"--socket", &flags.socket},         {"--config", &flags.config},
      {"--tcp", &flags.tcp},          {"--tcp-tokens", &flags.tcp_tokens}, {"--parent", &flags.parent},
      {"--ready-fd", &flags.ready_fd}};
  for (int i = 1; i < argc; i += 2) {
    const auto flag = known.find(argv[i]);
    if (flag == known.end() || i + 1 == argc) return false;
    *flag->second = argv[i + 1];
  }
  return !flags.data.empty() && !flags.socket.empty() && !flags.config.empty() &&
         flags.tcp.empty() == flags.tcp_tokens.empty();
}

// Tells whoever started us, once.
void tell(const Flags& flags, std::string_view what) {
  if (flags.ready_fd.empty()) return;
  const int fd = std::atoi(flags.ready_fd.c_str());
  if (write(fd, what.data(), what.size()) < 0) log::warning("ready_not_told");
  close(fd);
}

int complain(const Flags& flags, int exit_code, std::string_view what) {
  fmt::print(stderr, "fettle-engine: {}\n", what);
  tell(flags, what);
  return exit_code;
}

// Blocks SIGTERM and SIGINT in this thread and all that it starts from here on.
sigset_t block_stop_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  return signals;
}

}  // namespace

int main(int argc, char** argv) {
  Flags flags;
  if (!parse(argc, argv, flags)) return complain(flags, kExitUsage, kUsage);
  if (!flags.parent.empty()) {
    // The death signal is lost if the parent died between the fork and this call, so look afterwards.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (std::to_string(getppid()) != flags.parent) return complain(flags, kExitUsage, "the parent is gone");
  }
  const sigset_t signals = block_stop_signals();

  SystemClock clock;
  metrics::Registry metrics;
  Tokens tokens(flags.tcp_tokens);
  if (!flags.tcp.empty()) {
    if (auto loaded = tokens.load(); !loaded) return complain(flags, kExitUsage, loaded.error().message());
  }
  auto engine = open_chdb(flags.data, flags.config);
  if (!engine) return complain(flags, kExitNoEngine, engine.error().message());

  ServiceOptions options;
  const int cores = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  options.read_threads = 2 * cores;
  Service service(**engine, options, &tokens, clock, metrics);
  http::Server server({.threads = 2}, metrics);

  auto bound = server.listen("unix:" + flags.socket, service.gate(Listener::kUnix), service.handler(Listener::kUnix));
  if (!bound) return complain(flags, kExitNoEngine, bound.error().message());
  if (!flags.tcp.empty()) {
    auto tcp = server.listen(flags.tcp, service.gate(Listener::kTcp), service.handler(Listener::kTcp));
    if (!tcp) return complain(flags, kExitNoEngine, tcp.error().message());
    log::info("engine_listening", {{"tcp", *tcp}});
  }
  server.start();
  tell(flags, "ready");
  log::info("engine_started", {{"pid", getpid()}, {"socket", flags.socket}});

  int received = 0;
  sigwait(&signals, &received);
  log::info("engine_stopping", {{"signal", received}});
  // A statement that ignores its kill must not hold the process: what was acknowledged is on disk.
  std::thread([] {
    std::this_thread::sleep_for(kStopTimeMax);
    std::_Exit(EXIT_SUCCESS);
  }).detach();
  server.stop(kDrainTimeMax);
  service.stop();
  engine->reset();
  log::info("engine_stopped");
  // The library's own threads and static objects are not worth waiting for.
  std::_Exit(EXIT_SUCCESS);
}
