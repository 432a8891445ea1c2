// GET /api/v1/logs, /api/v1/logs/histogram and /api/v1/logs/tail.
#include <fmt/format.h>

#include <iterator>

#include "api/api.h"
#include "api/pages.h"
#include "api/times.h"

namespace fettle::api {
namespace {

constexpr std::uint32_t kBucketsMax = 1'000;
constexpr std::size_t kPositionBytesMax = 1'024;

}  // namespace

void Api::get_logs(Exchange exchange) {
  const http::Query& query = exchange.request().query;
  auto page = page_request(query);
  if (!page) return exchange.problem(page.error());
  auto filter = log_filter(query, filter_context(), kPageParameters);
  if (!filter) return exchange.problem(filter.error());
  reads_.run(std::move(exchange),
             [this, page = std::move(*page), filter = std::move(*filter)](Exchange& held, const std::stop_token& stop) {
               auto found = services_.reader.logs(held.scope(), filter, page, read_options(stop));
               if (!found) return held.problem(found.error());
               std::string body = "{";
               append_page(body, "logs", *found);
               body += '}';
               held.json(std::move(body));
             });
}

void Api::get_logs_histogram(Exchange exchange) {
  static constexpr std::string_view kOwn[] = {"buckets"};
  const http::Query& query = exchange.request().query;
  auto buckets = number_parameter(query, "buckets", 1, kBucketsMax, 60);
  if (!buckets) return exchange.problem(buckets.error());
  auto filter = log_filter(query, filter_context(), kOwn);
  if (!filter) return exchange.problem(filter.error());
  reads_.run(std::move(exchange), [this, count = *buckets, filter = std::move(*filter)](Exchange& held,
                                                                                        const std::stop_token& stop) {
    auto found = services_.reader.logs_histogram(held.scope(), filter, count, read_options(stop));
    if (!found) return held.problem(found.error());
    std::string body = fmt::format(R"({{"from":"{}","to":"{}","bucket_ms":{},"buckets":[)", format_time(found->from),
                                   format_time(found->to),
                                   std::chrono::duration_cast<std::chrono::milliseconds>(found->bucket).count());
    std::uint64_t total = 0;
    for (std::size_t i = 0; i < found->buckets.size(); ++i) {
      const telemetry::HistogramBucket& bucket = found->buckets[i];
      fmt::format_to(std::back_inserter(body), R"({}{{"ts":"{}")", i == 0 ? "" : ",", format_time(bucket.start));
      for (std::size_t level = 0; level < telemetry::kLevelCount; ++level) {
        fmt::format_to(std::back_inserter(body), R"(,"{}":{})", telemetry::kLevelNames[level], bucket.counts[level]);
        total += bucket.counts[level];
      }
      body += '}';
    }
    fmt::format_to(std::back_inserter(body), R"(],"total":{},"partial":{}}})", total, found->partial);
    held.json(std::move(body));
  });
}

void Api::tail_logs(Exchange exchange) {
  static constexpr std::string_view kOwn[] = {"last_event_id"};
  const http::Request& request = exchange.request();
  auto filter = log_filter(request.query, filter_context(), kOwn);
  if (!filter) return exchange.problem(filter.error());
  std::string_view position = request.headers.get("Last-Event-ID");
  if (position.empty()) position = request.query.get("last_event_id");
  if (position.size() > kPositionBytesMax) {
    return exchange.problem(Error(ErrorCode::kInvalidArgument, "Last-Event-ID is not one that a tail gave"));
  }
  std::optional<telemetry::TailPosition> after;
  if (!position.empty()) after = telemetry::TailPosition{std::string(position)};
  tails_.run(std::move(exchange), std::move(*filter), std::move(after));
}

}  // namespace fettle::api
