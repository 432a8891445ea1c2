// Scenarios against a running server: burst, latency, idle, query, start.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <thread>
#include <vector>

#include "fixture.h"
#include "load.h"
#include "scenarios.h"

namespace fettle::bench {
namespace {

using Clock = std::chrono::steady_clock;

// FETTLE_BENCH_SECONDS shortens or lengthens the scenarios that run for a time.
double seconds_or(double otherwise) {
  const char* text = std::getenv("FETTLE_BENCH_SECONDS");
  return text != nullptr ? std::atof(text) : otherwise;
}

void report_load(const std::string& name, const LoadResult& result) {
  note(fmt::format("{}: {} requests, {} failed, {:.2f} s, generator used {:.2f} CPU seconds{}", name, result.requests,
                   result.failed, result.seconds, result.generator_cpu_seconds,
                   result.error.empty() ? "" : ", first failure: " + result.error));
}

constexpr std::uint64_t kRowsStored = 10'000'000;

// A store with ten million spans and as many logs, made once and kept for the scenarios that need it.
std::filesystem::path full_store() {
  const std::filesystem::path data = "build/bench-store";
  if (std::filesystem::exists(data / "complete")) return data;
  std::filesystem::remove_all(data);
  note("filling build/bench-store with 10 million spans and 10 million log lines");
  ServerFixture server(data, true);
  for (const bool logs : {false, true}) {
    LoadOptions load;
    load.address = server.address("otlp_http");
    load.shape.logs = logs;
    load.requests = kRowsStored / 512 + 1;
    report_load(logs ? "logs" : "spans", run_load(load));
    server.wait_for_count(logs ? "SELECT count() FROM logs" : "SELECT count() FROM spans", kRowsStored, 300);
  }
  // Queries are timed on a store at rest: what was stored is merged, and the engine idles.
  constexpr int kSecondsMax = 900;
  constexpr int kQuietSeconds = 15;
  double spent = server.usage().engine_cpu_seconds;
  for (int second = 0, quiet = 0; second < kSecondsMax && quiet < kQuietSeconds; ++second) {
    std::this_thread::sleep_for(std::chrono::seconds(1));
    const double now = server.usage().engine_cpu_seconds;
    quiet = now - spent < 0.1 ? quiet + 1 : 0;
    spent = now;
  }
  server.stop();
  std::ofstream(data / "complete") << "yes\n";
  return data;
}

double timed_get_ms(ServerFixture& server, const std::string& target) {
  const auto begin = Clock::now();
  const auto answer = server.get(target);
  const double took = std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
  if (answer.status != 200)
    note(fmt::format("GET {} answered {}: {}", target, answer.status, answer.body.substr(0, 200)));
  return took;
}

}  // namespace

void run_burst() {
  ServerFixture server;
  LoadOptions load;
  load.address = server.address("otlp_http");
  load.requests = 1'000;
  const LoadResult result = run_load(load);
  report_load("burst", result);
  report("burst_acknowledged", static_cast<double>(result.items) / result.seconds, "spans/s", Want::kAtLeast, 250'000);
  report("burst_acknowledged_p99", percentile(result.latencies_ms, 0.99), "ms");
}

void run_latency() {
  ServerFixture server;
  LoadOptions load;
  load.address = server.address("otlp_http");
  load.connections = 8;
  load.items_per_second = 20'000;
  load.duration = std::chrono::duration<double>(seconds_or(600));
  std::atomic<bool> running{true};
  std::vector<double> readable_ms, rss_mib;
  // Beside the load: a trace of its own every half second, timed from its answer until it can be read.
  std::jthread probe([&] {
    http::Client sender("http://" + server.address("otlp_http"), {});
    Template request({.items = 8}, 99);
    while (running) {
      request.renew();
      http::ClientRequest post;
      post.method = "POST";
      post.target = "/v1/traces";
      post.headers.add("Content-Type", "application/x-protobuf");
      post.body = {request.body()};
      if (const auto answer = sender.send(post); !answer || answer->status != 200) continue;
      const auto sent = Clock::now();
      while (running && server.get("/api/v1/traces/" + request.trace_id()).status != 200) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
      }
      readable_ms.push_back(std::chrono::duration<double, std::milli>(Clock::now() - sent).count());
      std::this_thread::sleep_for(std::chrono::milliseconds(500));
    }
  });
  std::jthread watcher([&] {
    while (running) {
      rss_mib.push_back(static_cast<double>(server.usage().rss_bytes) / 1048576);
      std::this_thread::sleep_for(std::chrono::seconds(1));
    }
  });
  const LoadResult result = run_load(load);
  running = false;
  probe.join();
  watcher.join();
  report_load("latency", result);
  std::ranges::sort(readable_ms);
  report("acknowledge_p50", percentile(result.latencies_ms, 0.50), "ms");
  report("acknowledge_p99", percentile(result.latencies_ms, 0.99), "ms", Want::kAtMost, 50);
  report("readable_p50", percentile(readable_ms, 0.50), "ms");
  report("readable_p99", percentile(readable_ms, 0.99), "ms", Want::kAtMost, 2'000);
  const std::size_t half = rss_mib.size() / 2;
  const double peak_first = *std::max_element(rss_mib.begin(), rss_mib.begin() + static_cast<std::ptrdiff_t>(half) + 1);
  const double peak = *std::ranges::max_element(rss_mib);
  report("memory_peak", peak, "MiB", Want::kAtMost, 1.2 * 1024);
  report("memory_growth_second_half", peak - peak_first, "MiB", Want::kAtMost, 100);
}

void run_idle() {
  const auto measure = [](const std::string& name, ServerFixture& server) {
    // Merges of what was just stored come to their end first.
    std::this_thread::sleep_for(std::chrono::seconds(30));
    const auto before = server.usage();
    const double seconds = seconds_or(600);
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
    const auto after = server.usage();
    report(name + "_cpu", 100 * (after.cpu_seconds - before.cpu_seconds) / seconds, "%", Want::kAtMost, 2);
    report(name + "_memory", static_cast<double>(after.rss_bytes) / 1048576, "MiB", Want::kAtMost, 500);
  };
  {
    ServerFixture server;
    measure("idle_empty", server);
  }
  ServerFixture server(full_store(), true);
  measure("idle_10m_rows", server);
}

void run_query() {
  ServerFixture server(full_store(), true);
  const auto ids = [&](const std::string& column, int count) {
    std::vector<std::string> found;
    for (int i = 0; i < count; ++i) {
      // Spread over the whole store, not the newest part of it.
      const auto cells = server.sql(fmt::format(
          "SELECT {0} FROM spans WHERE {0} != '' AND cityHash64({0}) % 1000 = {1} LIMIT 1", column, (i * 37) % 1000));
      if (!cells.empty()) found.push_back(cells[0]);
    }
    return found;
  };
  constexpr int kSamples = 60;
  const auto timed = [&](const std::string& name, const std::string& path, const std::vector<std::string>& values,
                         double target) {
    std::vector<double> took;
    for (const std::string& value : values) took.push_back(timed_get_ms(server, path + value));
    std::ranges::sort(took);
    report(name + "_p50", percentile(took, 0.5), "ms");
    if (target == 0) {
      report(name + "_p95", percentile(took, 0.95), "ms");
    } else {
      report(name + "_p95", percentile(took, 0.95), "ms", Want::kAtMost, target);
    }
  };
  timed("trace_by_id", "/api/v1/traces/", ids("trace_id", kSamples), 50);
  timed("journey_request_id", "/api/v1/journeys/", ids("request_id", kSamples), 150);
  timed("journey_job_id", "/api/v1/journeys/", ids("job_id", kSamples), 150);
  // A value in thousands of traces, of which a journey shows the first page.
  timed("journey_episode_id", "/api/v1/journeys/", ids("episode_id", kSamples / 4), 0);
  // A customer's number of six digits occurs in about ten of the ten million lines.
  std::vector<std::string> words;
  for (int i = 0; i < kSamples; ++i) words.push_back(std::to_string(100'007 + i * 14'983));
  timed("search_rare_word", "/api/v1/logs?limit=100&q=", words, 300);
}

void run_start() {
  const auto data = full_store();
  std::vector<double> took;
  for (int i = 0; i < 5; ++i) took.push_back(ServerFixture(data, true).seconds_to_ready());
  std::ranges::sort(took);
  report("start_to_ready_median", took[2], "s", Want::kAtMost, 2);
  report("start_to_ready_max", took[4], "s");
}

}  // namespace fettle::bench
