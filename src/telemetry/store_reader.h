// The Reader over the store.
//
//   StoreReader reader(client, catalogue, clock);
//
// Thread-safe; the references outlive it.
#pragma once

#include "core/clock.h"
#include "telemetry/client.h"
#include "telemetry/identifiers.h"
#include "telemetry/reader.h"

namespace fettle::telemetry {

class StoreReader final : public Reader {
 public:
  StoreReader(Client& client, const IdentifierCatalogue& catalogue, Clock& clock);

  Result<TraceEnd> trace(const Scope& scope, std::string_view trace_id, TraceLimits limits, const ReadOptions& options,
                         const RowSink& sink) override;
  Result<std::string> outline(const Scope& scope, std::string_view trace_id, TraceLimits limits,
                              const ReadOptions& options) override;
  Result<Page> spans(const Scope& scope, const SpanFilter& filter, const PageRequest& page,
                     const ReadOptions& options) override;
  Result<Page> logs(const Scope& scope, const LogFilter& filter, const PageRequest& page,
                    const ReadOptions& options) override;
  Result<Histogram> logs_histogram(const Scope& scope, const LogFilter& filter, std::uint32_t buckets,
                                   const ReadOptions& options) override;
  Result<Tail> tail(const Scope& scope, const LogFilter& filter, const std::optional<TailPosition>& after,
                    std::uint32_t rows_max, const ReadOptions& options) override;
  Result<Journey> journey(const Scope& scope, const JourneyFilter& filter, const PageRequest& page,
                          const ReadOptions& options) override;
  Result<std::vector<KindSummary>> resolve(const Scope& scope, std::string_view value,
                                           const ReadOptions& options) override;
  Result<SqlResult> sql(const Scope& scope, std::string_view query, SqlLimits limits,
                        const ReadOptions& options) override;
  Result<UnixNanos> watermark(const ReadOptions& options) override;
  Result<void> ping(const ReadOptions& options) override;
  std::span<const std::string> identifier_kinds() const override { return kinds_; }

 private:
  struct Listing;
  struct Found;
  Result<Page> list(const Scope& scope, const Listing& listing, const PageRequest& page, const ReadOptions& options);
  Result<TimeRange> bounds_of_trace(const Scope& scope, std::string_view trace_id, const ReadOptions& options);
  Result<Found> find(const Scope& scope, std::string_view value, std::string_view kind, const ReadOptions& options);

  Client& client_;
  const IdentifierCatalogue& catalogue_;
  Clock& clock_;
  std::vector<std::string> kinds_;
  const std::string span_json_, log_json_, journey_span_json_, journey_log_json_;
};

}  // namespace fettle::telemetry
