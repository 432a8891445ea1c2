// Decoding OTLP requests as SDKs send them: 512 spans with 14 attributes of mixed types each.
#include <benchmark/benchmark.h>

#include <protozero/pbf_writer.hpp>
#include <random>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "otlp/decode.h"
#include "otlp/strings.h"

namespace fettle::otlp {
namespace {

constexpr int kItemsPerRequest = 512;
constexpr int kSpansPerTrace = 8;

class Generator {
 public:
  std::string traces() {
    return envelope([this](protozero::pbf_writer& scope) {
      std::string trace_id;
      std::string parent;
      for (int i = 0; i < kItemsPerRequest; ++i) {
        const bool root = i % kSpansPerTrace == 0;
        if (root) trace_id = bytes(16);
        const std::string span_id = bytes(8);
        protozero::pbf_writer span(scope, 2);
        span.add_bytes(1, trace_id);
        span.add_bytes(2, span_id);
        if (!root) span.add_bytes(4, parent);
        if (root) parent = span_id;
        span.add_string(5, "agent.step." + number(50));
        span.add_enum(6, root ? 2 : 3);
        const std::uint64_t start = 1'789'000'000'000'000'000ULL + static_cast<std::uint64_t>(i) * 3'000'000;
        const bool failed = below(50) == 0;
        span.add_fixed64(7, start);
        span.add_fixed64(8, start + 5'000'000 + below(900'000'000));
        attributes(span, 9, failed);
        std::string status;
        if (failed) {
          protozero::pbf_writer content(status);
          content.add_string(2, "upstream returned 503");
          content.add_enum(3, 2);
        }
        span.add_message(15, status);  // SDKs send an empty one too
        span.add_fixed32(16, 0x101);
      }
    });
  }

  std::string logs() {
    return envelope([this](protozero::pbf_writer& scope) {
      for (int i = 0; i < kItemsPerRequest; ++i) {
        protozero::pbf_writer record(scope, 2);
        record.add_fixed64(1, 1'789'000'000'000'000'000ULL + static_cast<std::uint64_t>(i) * 1'000'000);
        record.add_enum(2, 9);
        record.add_string(3, "INFO");
        {
          protozero::pbf_writer body(record, 5);
          body.add_string(1, "completed step for customer " + number(100'000) + " with result ok");
        }
        attributes(record, 6, false);
        record.add_fixed32(8, 1);
        record.add_bytes(9, bytes(16));
        record.add_bytes(10, bytes(8));
        record.add_fixed64(11, 1'789'000'000'500'000'000ULL);
      }
    });
  }

 private:
  template <class Items>
  std::string envelope(Items items) {
    std::string body;
    protozero::pbf_writer request(body);
    protozero::pbf_writer resource_items(request, 1);
    {
      protozero::pbf_writer resource(resource_items, 1);
      text(resource, 1, "service.name", "svc-" + number(12));
      text(resource, 1, "service.version", "1.4." + number(12));
      text(resource, 1, "host.name", "worker-" + number(4));
      text(resource, 1, "deployment.environment", "production");
      text(resource, 1, "telemetry.sdk.language", "nodejs");
    }
    protozero::pbf_writer scope_items(resource_items, 2);
    {
      protozero::pbf_writer scope(scope_items, 1);
      scope.add_string(1, "fettle.bench");
      scope.add_string(2, "1.0.0");
    }
    items(scope_items);
    scope_items.commit();
    resource_items.commit();
    return body;
  }

  void attributes(protozero::pbf_writer& item, protozero::pbf_tag_type field, bool failed) {
    text(item, field, "request_id", "req_" + hex(16));
    text(item, field, "client_id", "client-" + number(200));
    text(item, field, "platform", pick({"instagram", "tiktok", "youtube"}));
    text(item, field, "lane", pick({"planning", "publishing", "engagement"}));
    text(item, field, "job_id", "job_" + number(100'000));
    text(item, field, "episode_id", "ep_" + number(20'000));
    text(item, field, "http.request.method", pick({"GET", "POST"}));
    text(item, field, "http.route", "/api/v1/things/" + number(100));
    integer(item, field, "http.response.status_code", failed ? 503 : 200);
    integer(item, field, "worker.attempt", static_cast<std::int64_t>(below(4)));
    value(item, field, "queue.wait_ms", [&](protozero::pbf_writer& any) {
      any.add_double(4, std::uniform_real_distribution<double>(0, 1000)(random_));
    });
    value(item, field, "cache.hit", [&](protozero::pbf_writer& any) { any.add_bool(2, below(2) == 0); });
    integer(item, field, "response.bytes", static_cast<std::int64_t>(below(100'000)));
    text(item, field, "message", "completed step for customer " + number(100'000) + " with result ok");
  }

  template <class Fill>
  static void value(protozero::pbf_writer& item, protozero::pbf_tag_type field, std::string_view key, Fill fill) {
    protozero::pbf_writer pair(item, field);
    pair.add_string(1, key.data(), key.size());
    protozero::pbf_writer any(pair, 2);
    fill(any);
  }
  static void text(protozero::pbf_writer& item, protozero::pbf_tag_type field, std::string_view key,
                   std::string_view content) {
    value(item, field, key, [&](protozero::pbf_writer& any) { any.add_string(1, content.data(), content.size()); });
  }
  static void integer(protozero::pbf_writer& item, protozero::pbf_tag_type field, std::string_view key,
                      std::int64_t content) {
    value(item, field, key, [&](protozero::pbf_writer& any) { any.add_int64(3, content); });
  }

  std::uint64_t below(std::uint64_t bound) { return random_() % bound; }
  std::string number(std::uint64_t bound) { return std::to_string(below(bound)); }
  std::string_view pick(std::initializer_list<std::string_view> choices) {
    return choices.begin()[below(choices.size())];
  }
  std::string bytes(std::size_t count) {
    std::string result(count, '\0');
    for (char& c : result) c = static_cast<char>(below(256));
    return result;
  }
  std::string hex(std::size_t count) {
    std::string result(count, '\0');
    for (char& c : result) c = "0123456789abcdef"[below(16)];
    return result;
  }

  std::mt19937_64 random_{42};
};

template <class Request>
std::vector<std::string> bodies() {
  // More than one, and together more than the second-level cache, so that no branch or line is learnt by heart.
  constexpr int kBodies = 16;
  Generator generator;
  std::vector<std::string> result;
  for (int i = 0; i < kBodies; ++i) {
    if constexpr (std::is_same_v<Request, Traces>) {
      result.push_back(generator.traces());
    } else {
      result.push_back(generator.logs());
    }
  }
  return result;
}

template <class Request>
std::size_t items_of(const Request& request) {
  if constexpr (std::is_same_v<Request, Traces>) {
    return request.spans.size();
  } else {
    return request.records.size();
  }
}

enum class Work { kDecode, kRepair, kVisit };

template <class Request, Work work>
void decode_requests(benchmark::State& state) {
  const std::vector<std::string> requests = bodies<Request>();
  Request request;
  std::size_t next = 0;
  std::size_t bytes = 0;
  for (auto _ : state) {
    const std::string& body = requests[next++ % requests.size()];
    bytes += body.size();
    if (!decode_protobuf(body, {}, request) || items_of(request) != kItemsPerRequest) {
      state.SkipWithError("the generated request does not decode");
      break;
    }
    if constexpr (work == Work::kRepair) benchmark::DoNotOptimize(repair_utf8(request));
    if constexpr (work == Work::kVisit) {
      std::size_t total = 0;
      for_each_string(request,
                      [&](std::string_view& text, std::string_view key) { total += text.size() + key.size(); });
      benchmark::DoNotOptimize(total);
    }
  }
  state.SetItemsProcessed(state.iterations() * kItemsPerRequest);
  state.SetBytesProcessed(static_cast<std::int64_t>(bytes));
}

BENCHMARK(decode_requests<Traces, Work::kDecode>)->Name("traces_protobuf");
BENCHMARK(decode_requests<Traces, Work::kVisit>)->Name("traces_protobuf_and_visit_strings");
BENCHMARK(decode_requests<Traces, Work::kRepair>)->Name("traces_protobuf_and_repair_utf8");
BENCHMARK(decode_requests<Logs, Work::kDecode>)->Name("logs_protobuf");

}  // namespace
}  // namespace fettle::otlp

BENCHMARK_MAIN();
