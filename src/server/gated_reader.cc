#include "server/gated_reader.h"

namespace fettle::server {

using namespace telemetry;  // the names of the Reader

Result<TraceEnd> GatedReader::trace(const Scope& scope, std::string_view trace_id, TraceLimits limits,
                                    const ReadOptions& options, const RowSink& sink) {
  return ask([&] { return reader_.trace(scope, trace_id, limits, options, sink); });
}

Result<std::string> GatedReader::outline(const Scope& scope, std::string_view trace_id, TraceLimits limits,
                                         const ReadOptions& options) {
  return ask([&] { return reader_.outline(scope, trace_id, limits, options); });
}

Result<Page> GatedReader::spans(const Scope& scope, const SpanFilter& filter, const PageRequest& page,
                                const ReadOptions& options) {
  return ask([&] { return reader_.spans(scope, filter, page, options); });
}

Result<Page> GatedReader::logs(const Scope& scope, const LogFilter& filter, const PageRequest& page,
                               const ReadOptions& options) {
  return ask([&] { return reader_.logs(scope, filter, page, options); });
}

Result<Histogram> GatedReader::logs_histogram(const Scope& scope, const LogFilter& filter, std::uint32_t buckets,
                                              const ReadOptions& options) {
  return ask([&] { return reader_.logs_histogram(scope, filter, buckets, options); });
}

Result<Tail> GatedReader::tail(const Scope& scope, const LogFilter& filter, const std::optional<TailPosition>& after,
                               std::uint32_t rows_max, const ReadOptions& options) {
  return ask([&] { return reader_.tail(scope, filter, after, rows_max, options); });
}

Result<Journey> GatedReader::journey(const Scope& scope, const JourneyFilter& filter, const PageRequest& page,
                                     const ReadOptions& options) {
  return ask([&] { return reader_.journey(scope, filter, page, options); });
}

Result<std::vector<KindSummary>> GatedReader::resolve(const Scope& scope, std::string_view value,
                                                      const ReadOptions& options) {
  return ask([&] { return reader_.resolve(scope, value, options); });
}

Result<SqlResult> GatedReader::sql(const Scope& scope, std::string_view query, SqlLimits limits,
                                   const ReadOptions& options) {
  return ask([&] { return reader_.sql(scope, query, limits, options); });
}

Result<UnixNanos> GatedReader::watermark(const ReadOptions& options) {
  return ask([&] { return reader_.watermark(options); });
}

Result<void> GatedReader::ping(const ReadOptions& options) {
  return ask([&] { return reader_.ping(options); });
}

}  // namespace fettle::server
