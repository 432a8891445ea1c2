// Reading the store: typed questions in, ready-made JSON rows out: a row is the JSON object of docs/openapi.yaml (Span,
// Log, Event).
//
//   auto end = reader.trace(scope, "0af7651916cd43dd8448eb211c80319c", {}, {.stop = stop},
//                           [&](std::string_view span) { return stream.write(span); });
//
// Every call blocks until the store has answered, so it belongs on a query thread; calls are safe from any thread and
// independent of each other. Every call is scoped: rows of other workspaces, or of clients outside Scope::clients, are
// as if they were not there. Errors of every call: kUnavailable (the store does not answer; retry), kDeadlineExceeded
// (time_max), kResourceExhausted (the store's memory limit), kCancelled (stop), kInvalidArgument where named.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/scope.h"
#include "telemetry/read_filter.h"

namespace fettle::telemetry {

// Bounds of one call that are not part of the question.
struct ReadOptions {
  std::stop_token stop;  // requested when the client leaves: the statement is killed in the store
  std::chrono::milliseconds time_max{30'000};
};

// Takes one row: a JSON object without a line end, VALID ONLY DURING THE CALL. Returns false to stop (kCancelled).
using RowSink = std::function<bool(std::string_view row)>;

struct TraceLimits {
  std::uint64_t rows_max = 1'000'000;
  std::uint64_t bytes_max = 1024ULL * 1024 * 1024;
};
struct TraceEnd {
  enum class CutBy : std::uint8_t { kNothing, kRows, kBytes };
  std::uint64_t rows = 0;
  CutBy cut_by = CutBy::kNothing;  // which limit ended the trace before its last span
  bool partial = false;            // a part of the store did not answer
};

// A position in a list, opaque to everybody but the Reader that made it; fit for a URL (A-Z a-z 0-9 - _). It is no
// secret and needs no signature: it holds a place alone, and scope and filter are applied anew on every page.
struct Cursor {
  std::string value;
};

struct PageRequest {
  std::uint32_t rows_max = 100;
  std::uint64_t bytes_max = 4 * 1024 * 1024;  // a page ends after the row that reaches it, so it holds at least one
  std::optional<Cursor> after;                // kInvalidArgument when it is not one of ours or of another order
};
struct Page {
  std::string rows;  // JSON objects joined by ',': what stands between the brackets
  std::uint32_t count = 0;
  std::optional<Cursor> next;  // none: this was the last page
  bool partial = false;        // a part of the store did not answer, or a time bound cut the search short
};

// What the identifier index knows of a value as one kind.
struct KindSummary {
  std::string kind;
  std::uint64_t traces = 0;
  std::uint64_t logs = 0;
  std::uint64_t events = 0;
  UnixNanos first = 0;
  UnixNanos last = 0;
};
struct Journey {
  std::vector<KindSummary> kinds;      // of the value, whatever `kind` was asked for; empty: nothing is known of it
  std::vector<std::string> trace_ids;  // newest first, at most kJourneyTracesMax
  Page items;  // Span, Log and Event objects with "type":"span"|"log"|"event" in front, oldest first
};
constexpr std::size_t kJourneyTracesMax = 1'000;

struct HistogramBucket {
  UnixNanos start = 0;
  std::uint64_t counts[kLevelCount] = {};  // by Level
};
struct Histogram {
  UnixNanos from = 0;
  UnixNanos to = 0;
  std::chrono::nanoseconds bucket{0};
  std::vector<HistogramBucket> buckets;  // all of them, empty ones too, in time order
  bool partial = false;
};

struct SqlLimits {
  std::uint64_t rows_max = 10'000;
  std::uint64_t bytes_max = 16 * 1024 * 1024;
  std::uint64_t memory_bytes_max = 0;  // 0: the engine's own bound for a query
};
struct SqlColumn {
  std::string name;
  std::string type;  // as ClickHouse names it: "LowCardinality(String)"
};
struct SqlResult {
  std::vector<SqlColumn> columns;
  std::string rows;  // JSON arrays joined by ','
  std::uint64_t count = 0;
  bool truncated = false;  // rows_max or bytes_max was reached
};

// A place in the order of arrival, opaque and fit for an SSE id.
struct TailPosition {
  std::string value;
};
struct TailRow {
  TailPosition position;
  std::string row;  // a Log object
};
struct Tail {
  std::vector<TailRow> rows;  // in order of arrival
  TailPosition position;      // where to go on, also when `rows` is empty
  std::uint64_t skipped = 0;  // older ones left out because more than rows_max were waiting
};

class Reader {
 public:
  virtual ~Reader() = default;

  // The spans of a trace, oldest first. `trace_id` is 32 hex digits in either case, or a foreign id kept as sent
  // ("abc-123"). No such trace: rows == 0 and `sink` was never called.
  virtual Result<TraceEnd> trace(const Scope& scope, std::string_view trace_id, TraceLimits limits,
                                 const ReadOptions& options, const RowSink& sink) = 0;

  // The TraceOutline document for a waterfall, of the first `rows_max` spans. kNotFound.
  virtual Result<std::string> outline(const Scope& scope, std::string_view trace_id, TraceLimits limits,
                                      const ReadOptions& options) = 0;

  virtual Result<Page> spans(const Scope& scope, const SpanFilter& filter, const PageRequest& page,
                             const ReadOptions& options) = 0;
  virtual Result<Page> logs(const Scope& scope, const LogFilter& filter, const PageRequest& page,
                            const ReadOptions& options) = 0;

  // Counts by time and level. Without a time range in the filter the last hour is taken. `buckets` is a wish in
  // 1 … 1,000: the width is rounded up to a whole number of milliseconds.
  virtual Result<Histogram> logs_histogram(const Scope& scope, const LogFilter& filter, std::uint32_t buckets,
                                           const ReadOptions& options) = 0;

  // Logs that became readable after `after`; without it, no rows and the position of now. kInvalidArgument when the
  // position is not one of ours. Order and time.to of the filter are ignored.
  virtual Result<Tail> tail(const Scope& scope, const LogFilter& filter, const std::optional<TailPosition>& after,
                            std::uint32_t rows_max, const ReadOptions& options) = 0;

  // Everything about one identifier's value, over all kinds or one, on one timeline.
  virtual Result<Journey> journey(const Scope& scope, const JourneyFilter& filter, const PageRequest& page,
                                  const ReadOptions& options) = 0;

  // What the value is known as. Empty when it is unknown.
  virtual Result<std::vector<KindSummary>> resolve(const Scope& scope, std::string_view value,
                                                   const ReadOptions& options) = 0;

  // One SELECT by a user over spans, logs, metrics, events, llm_calls. kInvalidArgument with the engine's words when it
  // does not parse or reaches for anything else; kPermissionDenied for a scope limited to some clients.
  virtual Result<SqlResult> sql(const Scope& scope, std::string_view query, SqlLimits limits,
                                const ReadOptions& options) = 0;

  // The newest time of arrival up to which everything stored is readable; 0 when nothing is stored. Over all
  // workspaces: it says how late the store is and nothing about anybody's data.
  virtual Result<UnixNanos> watermark(const ReadOptions& options) = 0;

  // One trivial statement: does the store answer?
  virtual Result<void> ping(const ReadOptions& options) = 0;

  // The kinds by which spans and logs can be filtered ("client_id", "run_id", …); constant while the reader lives.
  virtual std::span<const std::string> identifier_kinds() const = 0;
};

}  // namespace fettle::telemetry
