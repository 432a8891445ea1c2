// The queue in process, without HTTP: how many runs a second are enqueued, and leased and completed, each call a
// durable transaction, while so many finished runs lie in the table.
//
//   runs_bench [--store sqlite|URL] [--finished N] [--runs N] [--batch N] [--callers N] [--journal none|ledger]
//              [--one-client]
#include <fmt/format.h>
#include <unistd.h>

#include <ctime>

#include <CLI/CLI.hpp>
#include <atomic>
#include <filesystem>
#include <semaphore>
#include <string>
#include <thread>
#include <vector>

#include "core/metrics.h"
#include "ledger/schema.h"
#include "redact/redactor.h"
#include "runs/ledger_journal.h"
#include "runs/runs.h"
#include "runs/schema.h"

namespace {

using namespace fettle;
using namespace fettle::runs;

class NoJournal final : public Journal {
 public:
  Result<void> record(db::Transaction&, const Scope&, const Actor&, UnixNanos, std::span<const Audit>) override {
    return {};
  }
  Result<void> publish(db::Transaction&, const Scope&, UnixNanos, std::span<const Event>) override { return {}; }
};

void or_die(const Result<void>& result) {
  if (result) return;
  fmt::print(stderr, "{}\n", result.error().message());
  std::exit(1);
}

// Successes of one client share an audit record.
bool one_client = false;

EnqueueRequest request(std::size_t i) {
  return {.workflow = "publish",
          .client = one_client ? "acme" : fmt::format("client-{}", i % 200),
          .platform = "instagram",
          .lane = "publishing",
          .payload = "{\"text\":\"" + std::string(290, 'x') + "\"}"};
}

double cpu_seconds() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

// Runs that have succeeded, as enqueue, lease and complete leave them, by SQL alone: millions within a minute or two.
Result<void> fill(db::Database& database, std::size_t finished, UnixNanos now) {
  constexpr std::int64_t kChunk = 50'000;
  // Older than what follows, as finished work is.
  const UnixNanos day_ago = now - kNanosPerDay;
  const std::int64_t first = NumberSource::least_at(day_ago);
#define FETTLE_BENCH_NUMBERS \
  "WITH RECURSIVE n (i) AS (SELECT CAST($2 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < $3) "
  constexpr db::Sql kRuns(
      "INSERT INTO runs (workspace, id, state, kind, wait, pool, workflow, priority, client, platform, lane, agent,"
      " limit_key, attempt, max_retries, created_at, lease_ns, worker, leased_at, progress_at, chain_started_at,"
      " started_at, finished_at) " FETTLE_BENCH_NUMBERS
      "SELECT 'bench', CAST($1 AS BIGINT) + i * 1024, 4, 0, 0, 'default', 'publish', 0, 'client-' || (i % 200),"
      " 'instagram', 'publishing', '', '', 1, 3, CAST($4 AS BIGINT), 10000000000, 'w1', $4, $4, $4, $4, $4 FROM n");
  constexpr db::Sql kData("INSERT INTO run_data (workspace, id, payload, context) " FETTLE_BENCH_NUMBERS
                          "SELECT 'bench', CAST($1 AS BIGINT) + i * 1024, $4, '{}' FROM n");
  const std::string payload = request(0).payload;
  for (std::int64_t at = 0; at < static_cast<std::int64_t>(finished); at += kChunk) {
    const std::int64_t last = std::min(at + kChunk, static_cast<std::int64_t>(finished)) - 1;
    auto done = database.write_and_wait(
        [&](db::Transaction& tx) -> Result<void> {
          auto made = tx.execute(kRuns, {first, at, last, day_ago});
          if (made) made = tx.execute(kData, {first, at, last, payload});
          if (!made) return std::unexpected(made.error());
          return {};
        },
        {.alone = true});
    if (!done) return done;
  }
  return {};
}

struct Bench {
  Runs& runs;
  Scope scope{WorkspaceId{"bench"}, {}};
  Actor actor{"token", "bench"};
  double cpu_us = 0;  // of all threads, for each run of the last phase: says more than the rate on a busy machine

  // `callers` calls in flight until `total` runs are through; a call is `batch` of them.
  template <class Call>
  double per_second(std::size_t total, std::size_t batch, int callers, Call call) {
    std::counting_semaphore<> room(callers);
    const auto begun = std::chrono::steady_clock::now();
    const double cpu_before = cpu_seconds();
    for (std::size_t at = 0; at < total; at += batch) {
      room.acquire();
      call(at, batch, [&room] { room.release(); });
    }
    for (int i = 0; i < callers; ++i) room.acquire();
    cpu_us = (cpu_seconds() - cpu_before) * 1e6 / static_cast<double>(total);
    return static_cast<double>(total) / std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  }

  double enqueue_all(std::size_t total, std::size_t batch, int callers) {
    return per_second(total, batch, callers, [this](std::size_t at, std::size_t count, auto done) {
      std::vector<EnqueueRequest> requests;
      requests.reserve(count);
      for (std::size_t i = 0; i < count; ++i) requests.push_back(request(at + i));
      runs.write(
          scope, actor, [requests = std::move(requests)](Unit& unit) { return enqueue(unit, requests); },
          Runs::Done<std::vector<Enqueued>>([done](Result<std::vector<Enqueued>> made) {
            or_die(made ? Result<void>() : Result<void>(std::unexpected(made.error())));
            done();
          }));
    });
  }

  double drain(std::size_t total, std::size_t batch, int callers) {
    return per_second(total, batch, callers, [this](std::size_t, std::size_t count, auto done) {
      LeaseRequest wanted{.worker = WorkerId{"w1"}, .runs_max = static_cast<std::int32_t>(count)};
      runs.write(
          scope, actor, [wanted](Unit& unit) { return lease(unit, wanted); },
          Runs::Done<Leased>([this, done](Result<Leased> leased) {
            or_die(leased ? Result<void>() : Result<void>(std::unexpected(leased.error())));
            std::vector<Completion> completions;
            for (const LeasedRun& run : leased->runs) completions.push_back({run.id, run.attempt});
            runs.write(
                scope, actor,
                [completions = std::move(completions)](Unit& unit) { return complete(unit, completions); },
                Runs::Done<std::vector<Applied>>([done](Result<std::vector<Applied>> applied) {
                  or_die(applied ? Result<void>() : Result<void>(std::unexpected(applied.error())));
                  done();
                }));
          }));
    });
  }
};

}  // namespace

int main(int argc, char** argv) {
  std::string store = "sqlite";
  std::string journal_name = "ledger";
  std::size_t finished = 0, count = 100'000, batch = 50;
  int callers = 4;
  CLI::App app{"Runs enqueued and drained, in process"};
  app.add_option("--store", store);
  app.add_option("--journal", journal_name);
  app.add_option("--finished", finished);
  app.add_option("--runs", count);
  app.add_option("--batch", batch);
  app.add_option("--callers", callers);
  app.add_flag("--one-client", one_client);
  CLI11_PARSE(app, argc, argv);

  const auto folder = std::filesystem::current_path() / fmt::format("runs_bench.{}", getpid());
  std::filesystem::create_directory(folder);
  const std::string url = store == "sqlite" ? "sqlite:" + (folder / "ledger.db").string() : store;
  SystemClock clock;
  SystemRng rng;
  metrics::Registry registry;
  {
    auto database = db::open(Secret(url), {}, clock, registry);
    if (!database) or_die(std::unexpected(database.error()));
    or_die(db::migrate(**database, {&ledger::migrations(), &runs::migrations()}));
    auto redactor = redact::Redactor::compile();
    if (!redactor) or_die(std::unexpected(redactor.error()));
    const ledger::Auditor auditor(*redactor, clock, registry);
    NoJournal none;
    LedgerJournal recorded(auditor);
    Runs runs(**database, clock, rng, journal_name == "none" ? static_cast<Journal&>(none) : recorded, {});
    Bench bench{runs};
    or_die(fill(**database, finished, clock.now()));
    if (finished > 0) {
      // A commit has the log that filling left copied into the file, which is not to be measured.
      bench.enqueue_all(1'000, 1'000, 1);
      bench.drain(1'000, 1'000, 1);
      std::this_thread::sleep_for(std::chrono::seconds(10));
    }
    const auto report = [&](std::string_view name, double value) {
      fmt::print("{} {:.0f} runs/s, {:.1f} us CPU each\n", name, value, bench.cpu_us);
    };
    report("enqueue_single", bench.enqueue_all(count / 10, 1, 50));
    report("enqueue_batch", bench.enqueue_all(count, batch, callers));
    report("enqueue_bulk", bench.enqueue_all(count, 1'000, 2));
    report("drain_batch", bench.drain(count, batch, callers));
    report("drain_bulk", bench.drain(count, 1'000, 1));
    runs.close();
    (*database)->close();
  }
  std::filesystem::remove_all(folder);
  return 0;
}
