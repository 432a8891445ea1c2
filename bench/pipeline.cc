// Scenarios about the way in: decoding alone on one core, and the sustained rate end to end against the limit of the
// engine itself.
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <thread>

#include "engine/testing.h"
#include "fixture.h"
#include "ingest/attribute_keys.h"
#include "ingest/content_policy.h"
#include "ingest/masking.h"
#include "ingest/pipeline.h"
#include "ingest/resolve.h"
#include "load.h"
#include "otlp/strings.h"
#include "scenarios.h"
#include "telemetry/client.h"
#include "telemetry/migrations.h"
#include "telemetry/native.h"
#include "telemetry/schema.h"

namespace fettle::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kConnections = 16;

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

std::string pack(const std::string& name) {
  std::ifstream in(std::string(FETTLE_SOURCE_DIR "/packs/") + name);
  return {std::istreambuf_iterator<char>(in), {}};
}

// The shipped catalogue, rules and prices.
struct Shipped {
  telemetry::IdentifierCatalogue identifiers = *telemetry::IdentifierCatalogue::parse(pack("identifiers.yaml"));
  std::shared_ptr<const redact::Redactor> redactor = *redact::Redactor::compile();
  ingest::PriceTable prices = *ingest::PriceTable::parse(pack("prices.yaml"));
  metrics::Registry registry;
  ingest::PipelineParts parts() { return {identifiers, redactor, prices, registry}; }
};

ingest::Submission submission_of(const Template& request, bool logs) {
  ingest::Submission submission;
  submission.workspace = {"default"};
  submission.signal = logs ? otlp::Signal::kLogs : otlp::Signal::kTraces;
  submission.body = request.body();
  submission.received_at = SystemClock().now();
  return submission;
}

// Rows as the server would spool them, in inserts of about `rows` rows.
std::vector<std::vector<telemetry::TableBlock>> ready_blocks(Shipped& shipped, bool logs, std::size_t inserts,
                                                             std::uint32_t rows) {
  ingest::PipelineOptions options;
  options.batch_rows_max = rows;
  options.batch_bytes_max = 256UL << 20;
  ingest::Pipeline pipeline(shipped.parts(), options);
  // As many senders as in the load: fewer would fold into fewer rows of the roll-up.
  std::vector<Template> templates;
  for (std::uint64_t i = 0; i < kConnections * kTemplatesPerConnection; ++i)
    templates.emplace_back(Shape{.logs = logs}, i);
  std::vector<std::vector<telemetry::TableBlock>> all;
  std::size_t sent = 0;
  for (std::size_t n = 0; n < inserts; ++n) {
    for (; !pipeline.is_full(); ++sent) {
      Template& request = templates[sent % templates.size()];
      request.renew();
      if (auto added = pipeline.add(submission_of(request, logs)); !added) note("limit: " + added.error().message());
    }
    all.push_back(pipeline.take().blocks);
  }
  return all;
}

// What the engine alone takes of the same rows, from ready-made blocks over two connections.
struct Limit {
  double burst = 0;      // of the first inserts, before the store has merged what it took
  double sustained = 0;  // over as long a time as the load runs, merges included
};

Limit engine_limit(bool logs) {
  Shipped shipped;
  const telemetry::Schema schema(shipped.identifiers, {});
  engine::TestEngine engine(schema.table_names(), {.memory_bytes = 1ULL << 30});  // as the server starts it
  auto client = telemetry::Client::connect(engine.base_url());
  if (auto done = telemetry::Migrator(**client, schema).run(); !done) note("limit: " + done.error().message());
  constexpr std::uint32_t kRows = 50'000;
  constexpr std::size_t kBurstInserts = 24;
  constexpr std::size_t kInserts = 80;
  const auto inserts = ready_blocks(shipped, logs, kInserts, kRows);
  std::atomic<std::size_t> next{0};
  std::atomic<std::size_t> ended{0};
  std::atomic<double> burst_seconds{0};
  std::atomic<int> repeated{0};
  std::uint64_t rows = 0, bytes = 0, side_rows = 0;
  for (const auto& blocks : inserts) {
    rows += blocks[0].rows;
    bytes += blocks[0].bytes.size();
    for (std::size_t i = 1; i < blocks.size(); ++i) side_rows += blocks[i].rows;
  }
  const auto begin = Clock::now();
  {
    std::vector<std::jthread> connections;
    for (int c = 0; c < 2; ++c) {
      connections.emplace_back([&] {
        for (std::size_t i = next++; i < inserts.size(); i = next++) {
          for (const telemetry::TableBlock& block : inserts[i]) {
            const telemetry::NativeFrame frame(block, i + 1);
            const auto pieces = frame.pieces();
            const std::string token = fmt::format("limit-{}-{}-{}", i, static_cast<int>(block.table), block.day);
            // Without memory beside its merges the engine asks for patience, and the writer of the server has it too.
            while (!(*client)->insert(block.table, pieces, token)) {
              ++repeated;
              std::this_thread::sleep_for(std::chrono::milliseconds(50));
            }
          }
          if (++ended == kBurstInserts) burst_seconds = seconds_since(begin);
        }
      });
    }
  }
  const double seconds = seconds_since(begin);
  note(
      fmt::format("limit {}: {} rows in {:.1f} s, {} attributes each, {} block bytes a row; {:.2f} rows of side tables "
                  "each, in the "
                  "time; {} inserts repeated for want of memory",
                  logs ? "logs" : "spans", rows, seconds, logs ? 7 : 12, bytes / rows,
                  static_cast<double>(side_rows) / static_cast<double>(rows), repeated.load()));
  return {.burst = static_cast<double>(kBurstInserts) / static_cast<double>(kInserts) * static_cast<double>(rows) /
                   burst_seconds,
          .sustained = static_cast<double>(rows) / seconds};
}

// Sustained to readable: from the first request sent until the last row is readable.
double end_to_end(const std::string& name, bool logs, bool grpc) {
  ServerFixture server;
  LoadOptions load;
  load.address = server.address(grpc ? "otlp_grpc" : "otlp_http");
  load.shape.logs = logs;
  load.grpc = grpc;
  load.connections = kConnections;  // exporters wait for each answer: fewer would leave the queue empty between them
  const char* seconds = std::getenv("FETTLE_BENCH_SECONDS");
  load.duration = std::chrono::duration<double>(seconds != nullptr ? std::atof(seconds) : 20);
  const auto begin = Clock::now();
  const LoadResult result = run_load(load);
  const double until_readable =
      server.wait_for_count(logs ? "SELECT count() FROM logs" : "SELECT count() FROM spans", result.items, 120);
  const double total = seconds_since(begin);
  const auto usage = server.usage();
  note(fmt::format(
      "{}: {} items in {:.1f} s, readable {:.1f} s later, {} failed {}; CPU seconds: engine {:.1f}, server {:.1f}, "
      "generator {:.1f}",
      name, result.items, result.seconds, until_readable, result.failed, result.error, usage.engine_cpu_seconds,
      usage.cpu_seconds - usage.engine_cpu_seconds, result.generator_cpu_seconds));
  return until_readable < 0 ? 0 : static_cast<double>(result.items) / total;
}

}  // namespace

void run_ingest() {
  for (const bool logs : {false, true}) {
    const std::string what = logs ? "logs" : "spans";
    const Limit limit = engine_limit(logs);
    report("engine_limit_" + what, limit.sustained, "rows/s");
    report("engine_burst_" + what, limit.burst, "rows/s");
    for (const bool grpc : {false, true}) {
      const std::string name = fmt::format("{}_{}", grpc ? "grpc" : "http", what);
      const double rate = end_to_end(name, logs, grpc);
      report(name, rate, "rows/s", Want::kAtLeast, 150'000);
      report(name + "_of_limit", rate / limit.sustained, "ratio", Want::kAtLeast, 0.5);
      report(name + "_of_burst", rate / limit.burst, "ratio");
    }
  }
}

void run_decode() {
  Shipped shipped;
  // As at the start of a server, so that its fifth of a second is not counted as decoding.
  if (auto prepared = redact::Redactor::prepare(); !prepared) return note(prepared.error().message());
  std::vector<Template> templates;
  for (std::uint64_t i = 0; i < 16; ++i) templates.emplace_back(Shape{}, i);
  constexpr int kRounds = 60;
  const double spans = static_cast<double>(templates.size()) * kRounds * 512;

  otlp::Traces request;
  ingest::AttributeKeys keys(shipped.identifiers, *shipped.redactor);
  ingest::Masking masking(shipped.redactor);
  ingest::IdentifierResolver resolver;
  telemetry::ResolvedIds ids;
  redact::RuleCounts counts;
  std::vector<const ingest::KeyInfo*> infos;
  const ingest::ContentPolicy policy;
  double before = cpu_seconds();
  std::uint64_t seen = 0;
  for (int round = 0; round < kRounds; ++round) {
    for (const Template& one : templates) {
      if (!otlp::decode_protobuf(one.body(), {}, request)) return note("decode: the template does not decode");
      otlp::repair_utf8(request);
      keys.look_up(request, infos);
      ingest::apply_content_policy(policy, "default", infos, request);
      masking.apply(request, infos, counts);
      resolver.begin(request, infos);
      for (const otlp::Span& span : request.spans) {
        resolver.resolve(span.attributes, span.resource, span.scope, ids);
        seen += ids.present();
      }
    }
  }
  report("decode_canonicalise_redact", spans / (cpu_seconds() - before), "spans/s/core", Want::kAtLeast, 400'000);
  if (seen == 0) note("decode: no identifier was found");

  ingest::Pipeline pipeline(shipped.parts(), {});
  std::uint64_t bytes = 0;
  before = cpu_seconds();
  for (int round = 0; round < kRounds; ++round) {
    for (Template& one : templates) {
      one.renew();
      if (auto added = pipeline.add(submission_of(one, false)); !added) note(added.error().message());
      if (!pipeline.is_full()) continue;
      for (const auto& block : pipeline.take().blocks) bytes += block.bytes.size();
    }
  }
  report("whole_pipeline_to_columns", spans / (cpu_seconds() - before), "spans/s/core");
  note(fmt::format("decode: {:.0f} block bytes a span, side tables included", static_cast<double>(bytes) / spans));
}

}  // namespace fettle::bench
