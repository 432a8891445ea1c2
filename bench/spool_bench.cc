// What the spool takes: records of 512 rows and 130 KB, each acknowledged after its fdatasync, on the disk under the
// current folder (or TMPDIR). `Burst/N` keeps N records on their way; `Paced` sends 40 records a second, which is
// 20,000 rows, and reports the 99th percentile of append to acknowledgement. Segments are taken, read, checked and
// confirmed as the writer does, without a store behind.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "core/log.h"
#include "ingest/disk.h"
#include "ingest/spool.h"

namespace {

using namespace fettle;
using namespace fettle::ingest;
using Clock = std::chrono::steady_clock;

constexpr std::uint32_t kRows = 512;
constexpr std::size_t kBlockBytes = 130'000;

std::filesystem::path make_folder() {
  const char* base = std::getenv("TMPDIR");
  std::string pattern = std::string(base != nullptr ? base : ".") + "/spool-bench-XXXXXX";
  return ::mkdtemp(pattern.data());
}

struct Bench {
  Bench() {
    log::set_level(log::Level::kError);
    std::mt19937_64 random(7);
    while (text.size() < kBlockBytes) text += std::to_string(random());
    Spool::Options options;
    options.dir = folder;
    spool = Spool::open(options, disk, clock, rng, registry, balance, guard).value();
    drain = std::thread([this] {
      while (auto segment = spool->take({})) {
        if (!spool->confirm(*segment, {})) std::abort();
      }
    });
  }
  ~Bench() {
    spool->close();
    drain.join();
    spool.reset();
    std::filesystem::remove_all(folder);
  }

  SpoolRecord record(std::uint64_t number) {
    SpoolRecord made;
    made.blocks.push_back({telemetry::Table::kSpans, 20'000, kRows, 20, text});
    CountDelta& delta = made.counts.emplace_back();
    delta.workspace.value = "acme";
    delta.sender = "web";
    delta.received = delta.accepted = kRows;
    RequestKey& key = made.requests.emplace_back();
    std::memcpy(key.hash.data(), &number, sizeof number);
    return made;
  }

  const std::filesystem::path folder = make_folder();
  std::string text;
  PosixDisk disk;
  SystemClock clock;
  SystemRng rng;
  metrics::Registry registry;
  Balance balance;
  ReplayGuard guard{clock};
  std::unique_ptr<Spool> spool;
  std::thread drain;
};

double percentile(std::vector<double>& values, double share) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1, static_cast<std::size_t>(share * static_cast<double>(values.size())))];
}

void run(benchmark::State& state, std::size_t in_flight_max, std::chrono::microseconds pace) {
  Bench bench;
  std::mutex mutex;
  std::condition_variable changed;
  std::size_t in_flight = 0;
  std::uint64_t refused = 0;
  std::vector<double> ack_ms;
  std::uint64_t sent = 0;
  auto next = Clock::now();
  for (auto _ : state) {
    if (pace.count() > 0) std::this_thread::sleep_until(next += pace);
    {
      std::unique_lock lock(mutex);
      changed.wait(lock, [&] { return in_flight < in_flight_max; });
      ++in_flight;
    }
    const auto begin = Clock::now();
    bench.spool->append(bench.record(sent++), [&, begin](Result<void> durable) {
      std::lock_guard lock(mutex);
      ack_ms.push_back(std::chrono::duration<double, std::milli>(Clock::now() - begin).count());
      if (!durable) ++refused;
      --in_flight;
      changed.notify_all();
    });
  }
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return in_flight == 0; });
  state.SetItemsProcessed(state.iterations() * kRows);
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(kBlockBytes));
  state.counters["ack_ms_p50"] = percentile(ack_ms, 0.5);
  state.counters["ack_ms_p99"] = percentile(ack_ms, 0.99);
  state.counters["refused"] = static_cast<double>(refused);
}

void Burst(benchmark::State& state) { run(state, static_cast<std::size_t>(state.range(0)), {}); }
void Paced(benchmark::State& state) { run(state, 1'000, std::chrono::microseconds(25'600)); }

BENCHMARK(Burst)->Arg(1)->Arg(8)->Arg(64)->Iterations(6'000)->UseRealTime();
BENCHMARK(Paced)->Iterations(400)->UseRealTime();

}  // namespace

BENCHMARK_MAIN();
