// A Reader without a store: answers what a test puts in and remembers what it was asked.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "telemetry/reader.h"

namespace fettle::api {

class FakeReader final : public telemetry::Reader {
 public:
  std::vector<std::string> trace_rows;
  telemetry::TraceEnd trace_end;
  Result<std::string> outline_document = std::string("{}");
  Result<telemetry::Page> page = telemetry::Page{};
  Result<telemetry::Histogram> histogram = telemetry::Histogram{};
  std::function<Result<telemetry::Tail>(const std::optional<telemetry::TailPosition>&)> on_tail;
  Result<telemetry::Journey> journey_found = telemetry::Journey{};
  Result<std::vector<telemetry::KindSummary>> kinds = std::vector<telemetry::KindSummary>{};
  Result<telemetry::SqlResult> sql_result = telemetry::SqlResult{};
  // Runs first in every read, on the query thread.
  std::function<void(const telemetry::ReadOptions&)> on_read = [](const telemetry::ReadOptions&) {};

  std::function<void(const Scope&, const telemetry::ReadOptions&)> on_sql = [](const auto&, const auto&) {};

  Scope asked_scope;
  telemetry::SpanFilter asked_spans;
  telemetry::LogFilter asked_logs;
  telemetry::JourneyFilter asked_journey;
  telemetry::PageRequest asked_page;
  std::string asked_sql;
  telemetry::SqlLimits asked_sql_limits;
  std::string asked_trace;

  Result<telemetry::TraceEnd> trace(const Scope& scope, std::string_view trace_id, telemetry::TraceLimits,
                                    const telemetry::ReadOptions& options, const telemetry::RowSink& sink) override {
    asked_scope = scope;
    asked_trace = trace_id;
    on_read(options);
    telemetry::TraceEnd end = trace_end;
    for (const std::string& row : trace_rows) {
      if (!sink(row)) return fail(ErrorCode::kCancelled, "the sink stopped");
      ++end.rows;
    }
    if (trace_error) return std::unexpected(*trace_error);
    return end;
  }
  std::optional<Error> trace_error;  // after all rows

  Result<std::string> outline(const Scope& scope, std::string_view, telemetry::TraceLimits,
                              const telemetry::ReadOptions& options) override {
    asked_scope = scope;
    on_read(options);
    return outline_document;
  }
  Result<telemetry::Page> spans(const Scope& scope, const telemetry::SpanFilter& filter,
                                const telemetry::PageRequest& request, const telemetry::ReadOptions& options) override {
    asked_scope = scope;
    asked_spans = filter;
    asked_page = request;
    on_read(options);
    return page;
  }
  Result<telemetry::Page> logs(const Scope& scope, const telemetry::LogFilter& filter,
                               const telemetry::PageRequest& request, const telemetry::ReadOptions& options) override {
    asked_scope = scope;
    asked_logs = filter;
    asked_page = request;
    on_read(options);
    return page;
  }
  Result<telemetry::Histogram> logs_histogram(const Scope& scope, const telemetry::LogFilter& filter, std::uint32_t,
                                              const telemetry::ReadOptions& options) override {
    asked_scope = scope;
    asked_logs = filter;
    on_read(options);
    return histogram;
  }
  Result<telemetry::Tail> tail(const Scope& scope, const telemetry::LogFilter& filter,
                               const std::optional<telemetry::TailPosition>& after, std::uint32_t,
                               const telemetry::ReadOptions& options) override {
    asked_scope = scope;
    asked_logs = filter;
    on_read(options);
    return on_tail(after);
  }
  Result<telemetry::Journey> journey(const Scope& scope, const telemetry::JourneyFilter& filter,
                                     const telemetry::PageRequest& request,
                                     const telemetry::ReadOptions& options) override {
    asked_scope = scope;
    asked_journey = filter;
    asked_page = request;
    on_read(options);
    return journey_found;
  }
  Result<std::vector<telemetry::KindSummary>> resolve(const Scope& scope, std::string_view,
                                                      const telemetry::ReadOptions& options) override {
    asked_scope = scope;
    on_read(options);
    return kinds;
  }
  Result<telemetry::SqlResult> sql(const Scope& scope, std::string_view query, telemetry::SqlLimits limits,
                                   const telemetry::ReadOptions& options) override {
    asked_scope = scope;
    asked_sql = query;
    asked_sql_limits = limits;
    on_read(options);
    on_sql(scope, options);
    return sql_result;
  }
  Result<UnixNanos> watermark(const telemetry::ReadOptions&) override { return 0; }
  Result<void> ping(const telemetry::ReadOptions&) override { return {}; }
  std::span<const std::string> identifier_kinds() const override { return kinds_; }

 private:
  const std::vector<std::string> kinds_ = {"client_id", "run_id", "trace_id"};
};

}  // namespace fettle::api
