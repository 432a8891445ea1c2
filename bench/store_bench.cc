// What the ledger's store commits: rows of 300 bytes with an indexed key, on the disk under the current folder (or
// TMPDIR). `Single/STORE/N` keeps N transactions of one row on their way; `Batch/STORE/R` one transaction of R rows at
// a time. STORE is 0 for SQLite and 1 for a PostgreSQL 15 of its own. FETTLE_WRITERS and FETTLE_FOLD set
// Options::writers and fold_max.
#include <benchmark/benchmark.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <string>
#include <vector>

#include "core/log.h"
#include "db/testing.h"

namespace {

using namespace fettle;
using namespace fettle::db;

struct Bench {
  explicit Bench(Dialect dialect) : store(dialect) {
    log::set_level(log::Level::kError);
    Options options;
    if (const char* writers = std::getenv("FETTLE_WRITERS"))
      options.writers = static_cast<unsigned>(std::atoi(writers));
    if (const char* fold = std::getenv("FETTLE_FOLD")) options.fold_max = static_cast<std::size_t>(std::atoi(fold));
    database = store.open(options);
    auto made = database->write_and_wait([](Transaction& tx) -> Result<void> {
      if (auto table = tx.execute("CREATE TABLE jobs (workspace TEXT NOT NULL, id BIGINT NOT NULL, state BIGINT NOT "
                                  "NULL, payload TEXT NOT NULL, PRIMARY KEY (workspace, id))");
          !table) {
        return std::unexpected(table.error());
      }
      return {};
    });
    if (!made) std::abort();
  }
  TestStore store;
  std::unique_ptr<Database> database;
  const std::string payload = std::string(300, 'x');
};

constexpr Sql kInsert = "INSERT INTO jobs (workspace, id, state, payload) VALUES ($1, $2, $3, $4)";

void Single(benchmark::State& state) {
  Bench bench(static_cast<Dialect>(state.range(0)));
  const auto in_flight_max = static_cast<std::size_t>(state.range(1));
  std::mutex mutex;
  std::condition_variable changed;
  std::size_t in_flight = 0;
  std::uint64_t failed = 0;
  std::int64_t id = 0;
  for (auto _ : state) {
    {
      std::unique_lock lock(mutex);
      changed.wait(lock, [&] { return in_flight < in_flight_max; });
      ++in_flight;
    }
    bench.database->write(
        [&bench, key = id++](Transaction& tx) { return tx.execute(kInsert, {"acme", key, 1, bench.payload}); },
        [&](Result<std::int64_t> done) {
          std::lock_guard lock(mutex);
          if (!done) ++failed;
          if (in_flight-- == in_flight_max) changed.notify_one();
        });
  }
  std::unique_lock lock(mutex);
  while (in_flight != 0) changed.wait_for(lock, std::chrono::milliseconds(1));
  state.SetItemsProcessed(state.iterations());
  const Status status = bench.database->status();
  state.counters["failed"] = static_cast<double>(failed);
  state.counters["per_commit"] = static_cast<double>(status.transactions) / static_cast<double>(status.commits);
  state.counters["repeated"] = static_cast<double>(status.repeated);
}

void Batch(benchmark::State& state) {
  Bench bench(static_cast<Dialect>(state.range(0)));
  const std::int64_t rows = state.range(1);
  std::int64_t id = 0;
  for (auto _ : state) {
    std::vector<Value> values;
    for (std::int64_t i = 0; i < rows; ++i) {
      values.insert(values.end(), {Value("acme"), Value(id++), Value(1), Value(bench.payload)});
    }
    auto done = bench.database->write_and_wait([&](Transaction& tx) { return tx.execute_many(kInsert, 4, values); });
    if (!done) std::abort();
  }
  state.SetItemsProcessed(state.iterations() * rows);
}

BENCHMARK(Single)->Args({0, 1})->Args({0, 50})->Args({0, 1'000})->Iterations(100'000)->UseRealTime();
BENCHMARK(Single)->Args({1, 1})->Args({1, 50})->Args({1, 1'000})->Iterations(20'000)->UseRealTime();
BENCHMARK(Batch)->Args({0, 100})->Args({0, 1'000})->Args({1, 100})->Args({1, 1'000})->Iterations(200)->UseRealTime();

}  // namespace

BENCHMARK_MAIN();
