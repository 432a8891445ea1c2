// A Reader that refuses (kUnavailable, with the reason) until the store is open: before that its schema may be an old
// one, and nobody has looked whether its row filters keep workspaces apart.
//
// Thread-safe; the references outlive it.
#pragma once

#include "server/opening.h"
#include "telemetry/reader.h"

namespace fettle::server {

class GatedReader final : public telemetry::Reader {
 public:
  GatedReader(const Opening& opening, telemetry::Reader& reader) : opening_(opening), reader_(reader) {}

  Result<telemetry::TraceEnd> trace(const Scope& scope, std::string_view trace_id, telemetry::TraceLimits limits,
                                    const telemetry::ReadOptions& options, const telemetry::RowSink& sink) override;
  Result<std::string> outline(const Scope& scope, std::string_view trace_id, telemetry::TraceLimits limits,
                              const telemetry::ReadOptions& options) override;
  Result<telemetry::Page> spans(const Scope& scope, const telemetry::SpanFilter& filter,
                                const telemetry::PageRequest& page, const telemetry::ReadOptions& options) override;
  Result<telemetry::Page> logs(const Scope& scope, const telemetry::LogFilter& filter,
                               const telemetry::PageRequest& page, const telemetry::ReadOptions& options) override;
  Result<telemetry::Histogram> logs_histogram(const Scope& scope, const telemetry::LogFilter& filter,
                                              std::uint32_t buckets, const telemetry::ReadOptions& options) override;
  Result<telemetry::Tail> tail(const Scope& scope, const telemetry::LogFilter& filter,
                               const std::optional<telemetry::TailPosition>& after, std::uint32_t rows_max,
                               const telemetry::ReadOptions& options) override;
  Result<telemetry::Journey> journey(const Scope& scope, const telemetry::JourneyFilter& filter,
                                     const telemetry::PageRequest& page,
                                     const telemetry::ReadOptions& options) override;
  Result<std::vector<telemetry::KindSummary>> resolve(const Scope& scope, std::string_view value,
                                                      const telemetry::ReadOptions& options) override;
  Result<telemetry::SqlResult> sql(const Scope& scope, std::string_view query, telemetry::SqlLimits limits,
                                   const telemetry::ReadOptions& options) override;
  Result<UnixNanos> watermark(const telemetry::ReadOptions& options) override;
  Result<void> ping(const telemetry::ReadOptions& options) override;
  std::span<const std::string> identifier_kinds() const override { return reader_.identifier_kinds(); }

 private:
  // Asks the reader if the store is open.
  template <class Ask>
  std::invoke_result_t<Ask> ask(const Ask& question) const {
    if (auto open = opening_.check(); !open) return std::unexpected(std::move(open).error());
    return question();
  }

  const Opening& opening_;
  telemetry::Reader& reader_;
};

}  // namespace fettle::server
