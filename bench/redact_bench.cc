// How fast a request's strings are masked. `clean` is what instrumented programs send all day; in `dirty`, one string
// in twenty holds something to mask. A span is its name and 14 attribute values; keys are given as the attribute keys.
#include <benchmark/benchmark.h>

#include <array>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "redact/redactor.h"

namespace {

using fettle::redact::Finding;
using fettle::redact::Redactor;
using fettle::redact::RuleCounts;
using fettle::redact::Scratch;

constexpr int kSpans = 512;

struct Request {
  std::vector<std::string> texts;
  std::vector<Redactor::Subject> subjects;
  std::size_t bytes = 0;
};

Request make_request(bool dirty) {
  std::mt19937_64 random(7);
  const auto hex = [&](int digits) {
    std::string text;
    for (int i = 0; i < digits; ++i) text += "0123456789abcdef"[random() % 16];
    return text;
  };
  const std::array<const char*, 15> keys = {
      "",          "http.request.method", "http.route",     "url.path",         "server.address",
      "client_id", "correlation_id",      "episode_id",     "platform",         "lane",
      "db.system", "db.query.text",       "enduser.locale", "network.protocol", "user_agent.original"};
  const std::array<const char*, 8> dirt = {"jane.doe@example.com",
                                           "postgres://app:s3cr3t@db:5432/app",
                                           "Authorization: Bearer 8f3a9c1e77aa0b",
                                           "paid with 4111 1111 1111 1111",
                                           "{\"user\":\"bob\",\"password\":\"hunter2\"}",
                                           "sk-ant-api03-R2D2c3po_0123456789-abcdefgh",
                                           "/cb?access_token=abc.def-123&x=1",
                                           "DE89 3704 0044 0532 0130 00"};
  Request request;
  for (int i = 0; i < kSpans; ++i) {
    const std::array<std::string, 15> values = {"POST /api/v1/episodes/{id}/publish",
                                                "POST",
                                                "/api/v1/episodes/{id}/publish",
                                                "/api/v1/episodes/" + std::to_string(random() % 100'000) + "/publish",
                                                "platform-connector-7f9c",
                                                "client-" + std::to_string(random() % 50),
                                                hex(8) + "-" + hex(4) + "-4" + hex(3) + "-a" + hex(3) + "-" + hex(12),
                                                "ep_" + hex(16),
                                                "tiktok",
                                                "publishing",
                                                "postgresql",
                                                "SELECT id, state FROM runs WHERE id = $1",
                                                "en-US",
                                                "http/1.1",
                                                "node-fetch/3.3.2 (linux)"};
    for (const std::string& value : values) {
      request.texts.push_back(dirty && random() % 20 == 0 ? dirt[random() % dirt.size()] : value);
    }
  }
  for (std::size_t i = 0; i < request.texts.size(); ++i) {
    request.subjects.push_back({request.texts[i], keys[i % keys.size()]});
    request.bytes += request.texts[i].size();
  }
  return request;
}

void scan(benchmark::State& state, bool dirty) {
  const auto redactor = Redactor::compile().value();
  const Request request = make_request(dirty);
  Scratch scratch;
  std::vector<Finding> findings;
  RuleCounts counts;
  for (auto _ : state) {
    findings.clear();
    redactor->scan(request.subjects, scratch, findings, counts);
    benchmark::DoNotOptimize(findings.data());
  }
  const auto rounds = static_cast<double>(state.iterations());
  using benchmark::Counter;
  state.counters["spans/s"] = Counter(rounds * kSpans, Counter::kIsRate);
  state.counters["strings/s"] = Counter(rounds * static_cast<double>(request.subjects.size()), Counter::kIsRate);
  state.counters["ns/span"] = Counter(rounds * kSpans * 1e-9, Counter::kIsRate | Counter::kInvert);
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(request.bytes));
}
BENCHMARK_CAPTURE(scan, clean, false);
BENCHMARK_CAPTURE(scan, dirty, true);

void one_string(benchmark::State& state, const char* text) {
  const auto redactor = Redactor::compile().value();
  for (auto _ : state) benchmark::DoNotOptimize(redactor->redact(text));
}
BENCHMARK_CAPTURE(one_string, clean, "POST /api/v1/episodes/{id}/publish");
BENCHMARK_CAPTURE(one_string, email, "mail to jane.doe@example.com failed");

void compile(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(Redactor::compile());
}
BENCHMARK(compile)->Unit(benchmark::kMillisecond);

void secret_key(benchmark::State& state) {
  const char* key = "gen_ai.usage.input_tokens";
  for (auto _ : state) {
    benchmark::DoNotOptimize(key);
    benchmark::DoNotOptimize(fettle::redact::is_secret_key(key));
  }
}
BENCHMARK(secret_key);

}  // namespace

BENCHMARK_MAIN();
