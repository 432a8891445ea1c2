// What the ledger takes: audit records appended, chained and durable a second; records verified a second on one core,
// in the live store and in a bundle; and what publishing an event costs its transaction. `/0` is SQLite, `/1`
// PostgreSQL, on the disk under TMPDIR.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/log.h"
#include "db/database.h"
#include "db/migration.h"
#include "db/testing.h"
#include "ledger/audit.h"
#include "ledger/bundle.h"
#include "ledger/events.h"
#include "ledger/schema.h"
#include "ledger/sequencer.h"
#include "ledger/verify.h"
#include "redact/redactor.h"

namespace {

using namespace fettle;
using namespace fettle::ledger;
using Watch = std::chrono::steady_clock;

const Scope kScope{.workspace = {"agency"}, .clients = {}};

void must(const auto& result) {
  if (result) return;
  std::fprintf(stderr, "%s\n", result.error().message().c_str());
  std::abort();
}

double seconds_since(Watch::time_point begin) { return std::chrono::duration<double>(Watch::now() - begin).count(); }

// Of CPU: on a machine that is busy with other things wall time says little about a core.
double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

// As the terminal outcome of a job: eight keys by which it is found, no payload.
AuditRecord outcome(std::uint64_t number) {
  AuditRecord record;
  record.at = 1'790'000'000'000'000'000 + static_cast<UnixNanos>(number) * 1'000'000;
  record.actor_type = "agent";
  record.actor_id = "worker-" + std::to_string(number % 16);
  record.action = "run.completed";
  record.target_type = "run";
  record.target_id = to_hex(sha256(std::to_string(number))).substr(0, 26);
  record.client_id = "client-" + std::to_string(number % 40);
  record.request_id = to_hex(sha256("r" + std::to_string(number))).substr(0, 32);
  record.correlation_id = to_hex(sha256("c" + std::to_string(number / 3))).substr(0, 32);
  record.trace_id = to_hex(sha256("t" + std::to_string(number / 2))).substr(0, 32);
  record.span_id = to_hex(sha256("s" + std::to_string(number))).substr(0, 16);
  record.policy_snapshot_id = "policy-3";
  return record;
}

struct Ledger {
  explicit Ledger(std::int64_t dialect) : store(static_cast<db::Dialect>(dialect)) {
    log::set_level(log::Level::kError);
    database = store.open();
    must(db::migrate(*database, {&migrations()}));
    auditor = std::make_unique<Auditor>(redact::Redactor::compile().value(), clock, store.registry);
    sequencer = std::make_unique<Sequencer>(
        *database, clock, rng, key, store.registry, [](db::Transaction&) { return Result<void>(); },
        std::vector<Witness*>(), Sequencer::Options());
  }
  // `count` records in transactions of `batch`, 64 of them on their way at a time.
  void write(std::uint64_t count, std::uint64_t batch) {
    std::mutex mutex;
    std::condition_variable changed;
    std::uint64_t in_flight = 0;
    for (std::uint64_t begin = 0; begin < count; begin += batch) {
      auto records = std::make_shared<std::vector<AuditRecord>>();
      for (std::uint64_t i = begin; i < begin + batch; ++i) records->push_back(outcome(i));
      std::unique_lock lock(mutex);
      changed.wait(lock, [&] { return in_flight < 64; });
      ++in_flight;
      lock.unlock();
      database->write([this, records](db::Transaction& tx) { return auditor->record(tx, kScope, *records); },
                      db::Database::Done<void>([&](Result<void> done) {
                        must(done);
                        const std::lock_guard guard(mutex);
                        --in_flight;
                        changed.notify_all();
                      }));
    }
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return in_flight == 0; });
  }
  void chain_all() {
    for (;;) {
      const auto chained = sequencer->pass();
      must(chained);
      if (*chained == 0) return;
    }
  }

  SystemClock clock;
  SystemRng rng;
  const SigningKey key = SigningKey::derive(Secret(std::string(32, 'k'))).value();
  db::TestStore store;
  std::unique_ptr<db::Database> database;
  std::unique_ptr<Auditor> auditor;
  std::unique_ptr<Sequencer> sequencer;
};

// Written by one side and chained by the other at the same time; ends when the last one is in the chain.
void Append(benchmark::State& state) {
  Ledger ledger(state.range(0));
  const auto batch = static_cast<std::uint64_t>(state.range(1));
  const std::uint64_t count = batch == 1 ? 20'000 : 100'000;
  for (auto _ : state) {
    const auto begin = Watch::now();
    const double cpu_begin = cpu_seconds();
    std::jthread sequencing([&](const std::stop_token& stop) { ledger.sequencer->run(stop, [] { return true; }); });
    ledger.write(count, batch);
    state.counters["written_per_s"] = static_cast<double>(count) / seconds_since(begin);
    sequencing.request_stop();
    sequencing.join();
    ledger.chain_all();
    state.counters["chained_per_s"] = static_cast<double>(count) / seconds_since(begin);
    state.counters["cpu_us_each"] = (cpu_seconds() - cpu_begin) * 1e6 / static_cast<double>(count);
  }
}

void Verify(benchmark::State& state) {
  Ledger ledger(state.range(0));
  constexpr std::uint64_t kCount = 200'000;
  ledger.write(kCount, 100);
  ledger.chain_all();
  must(ledger.sequencer->checkpoint());
  const auto file = ledger.store.folder() / "bundle";
  must(export_bundle(*ledger.database, kScope, {}, file, ledger.clock));
  const auto rate = [&](const char* name, const auto& verify) {
    // The best of three: what else the machine does takes caches, too.
    double best = 0;
    for (int i = 0; i < 3; ++i) {
      const double begin = cpu_seconds();
      const auto report = verify();
      must(report);
      if (report->bad || report->to != kCount) std::abort();
      best = std::max(best, static_cast<double>(kCount) / (cpu_seconds() - begin));
    }
    state.counters[name] = best;
  };
  for (auto _ : state) {
    rate("bundle_per_s", [&] { return verify_bundle(file, {}); });
    rate("store_chain_per_s", [&] { return verify_log(*ledger.database, kScope.workspace, {.check_index = false}); });
    rate("store_all_per_s", [&] { return verify_log(*ledger.database, kScope.workspace, {}); });
  }
  state.counters["bundle_bytes_each"] = static_cast<double>(std::filesystem::file_size(file)) / kCount;
}

// What fifty events, as of fifty completed jobs, add to a transaction.
void Publish(benchmark::State& state) {
  Ledger ledger(state.range(0));
  std::vector<Event> events;
  for (int i = 0; i < 50; ++i) {
    const AuditRecord of = outcome(static_cast<std::uint64_t>(i));
    events.push_back({.type = "run.completed",
                      .at = of.at,
                      .identifiers = {{"client_id", of.client_id},
                                      {"run_id", of.target_id},
                                      {"trace_id", of.trace_id},
                                      {"workflow", "lead-intake"}},
                      .body = R"({"attempt":1,"duration_ms":340,"status":"succeeded"})"});
  }
  constexpr int kCalls = 400;
  double in_body = 0;
  for (auto _ : state) {
    must(ledger.database->write_and_wait([&](db::Transaction& tx) -> Result<void> {
      const double begin = cpu_seconds();
      for (int i = 0; i < kCalls; ++i) {
        if (auto done = publish(tx, kScope, events); !done) return done;
      }
      in_body = cpu_seconds() - begin;
      return {};
    }));
  }
  state.counters["us_per_event"] = in_body * 1e6 / kCalls / 50;
  std::vector<AuditRecord> records;
  for (std::uint64_t i = 0; i < 50; ++i) records.push_back(outcome(i));
  must(ledger.database->write_and_wait([&](db::Transaction& tx) -> Result<void> {
    const double begin = cpu_seconds();
    for (int i = 0; i < kCalls; ++i) {
      if (auto done = ledger.auditor->record(tx, kScope, records); !done) return done;
    }
    in_body = cpu_seconds() - begin;
    return {};
  }));
  state.counters["us_per_audit"] = in_body * 1e6 / kCalls / 50;
}

BENCHMARK(Append)->Args({0, 1})->Args({0, 50})->Args({1, 1})->Args({1, 50})->Iterations(1)->UseRealTime();
BENCHMARK(Verify)->Arg(0)->Arg(1)->Iterations(1)->UseRealTime();
BENCHMARK(Publish)->Arg(0)->Arg(1)->Iterations(3)->UseRealTime();

}  // namespace

BENCHMARK_MAIN();
