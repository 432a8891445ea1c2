// The Reader over the store. Sources: store_reader.cc (traces, lists, histogram, SQL), journey.cc (everything about one
// value), log_tail.cc.
//
//   StoreReader reader(client, catalogue, clock);
//
// Thread-safe; the references outlive it.
#pragma once

#include <mutex>

#include "core/clock.h"
#include "telemetry/client.h"
#include "telemetry/identifier_block.h"
#include "telemetry/identifiers.h"
#include "telemetry/reader.h"
#include "telemetry/reading.h"
#include "telemetry/row_json.h"
#include "telemetry/row_sql.h"

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
  struct Slice;
  struct RowQuery;
  struct Found;

  // The moment before which rows are read from what was kept and from which they are read from everything.
  Result<UnixNanos> boundary(const ReadOptions& options);
  // The tables that hold a time range, each with its part of it, in the order in which a list reads them.
  Result<std::vector<Slice>> slices(Signal signal, const TimeRange& time, Order order, const ReadOptions& options);
  // Calls `take` for each line of the answer, in order, until it returns false.
  Result<void> each_row(const Scope& scope, const RowQuery& query, const ReadOptions& options,
                        const std::function<bool(std::string_view line)>& take);
  Result<Page> list(const Scope& scope, Signal signal, const TimeRange& time, Order order, const PageRequest& page,
                    const ReadOptions& options, const std::function<void(Condition&)>& add_filter);
  Result<TimeRange> bounds_of_trace(const Scope& scope, std::string_view trace_id, const ReadOptions& options);
  const RowWriter& writer(Signal signal) const {
    return signal == Signal::kSpan ? span_writer_ : signal == Signal::kLog ? log_writer_ : event_writer_;
  }

  // The oldest rows of one signal for a page of a journey, as many as fill it.
  struct JourneyRow;
  Result<std::vector<JourneyRow>> journey_rows(const Scope& scope, Signal signal, const Found& found,
                                               const TimeRange& time, const PageBuilder& page,
                                               const ReadOptions& options);
  Result<Found> find(const Scope& scope, std::string_view value, std::string_view kind, const ReadOptions& options);
  Result<std::vector<KindSummary>> count(const Scope& scope, const Found& found, const ReadOptions& options);

  Client& client_;
  const IdentifierCatalogue& catalogue_;
  Clock& clock_;
  std::vector<std::string> kinds_;
  const RowWriter span_writer_, log_writer_, event_writer_;

  std::mutex boundary_mutex_;
  UnixNanos boundary_ = 0;
  std::optional<std::chrono::nanoseconds> boundary_read_at_;  // monotonic
};

}  // namespace fettle::telemetry
