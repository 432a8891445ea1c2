#include "telemetry/store_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "telemetry/reading.h"
#include "telemetry/row_query.h"
#include "telemetry/schema.h"
#include "telemetry/trace_outline.h"
#include "telemetry/user_sql.h"

namespace fettle::telemetry {
namespace {

// Without a time range the newest rows are looked for in growing windows, so that the usual question ("what happened
// just now?") does not read the whole store.
constexpr UnixNanos kWindows[] = {60 * kNanosPerSecond, 15 * 60 * kNanosPerSecond, 6 * 3'600 * kNanosPerSecond,
                                  3 * kNanosPerDay};

// The boundary moves about once an hour, and what lies before it stays in the hot tables for half an hour more
// (Retention): whoever knows an older one reads the same rows.
constexpr std::chrono::seconds kBoundaryAgeMax{60};

std::vector<TimeRange> windows_of(const TimeRange& time, Order order, UnixNanos now) {
  if (order != Order::kNewestFirst || time.from) return {time};
  // The first window has no other end than the question: senders' clocks may be ahead of ours.
  const UnixNanos end = std::min(time.to.value_or(now), now);
  std::vector<TimeRange> windows;
  std::optional<UnixNanos> to = time.to;
  for (const UnixNanos width : kWindows) {
    windows.push_back({end - width, to});
    to = end - width;
  }
  windows.push_back({std::nullopt, to});
  return windows;
}

}  // namespace

StoreReader::StoreReader(Client& client, const IdentifierCatalogue& catalogue, Clock& clock)
    : client_(client),
      catalogue_(catalogue),
      clock_(clock),
      span_writer_(RowWriter::of_spans(catalogue)),
      log_writer_(RowWriter::of_logs(catalogue)),
      event_writer_(RowWriter::of_events(catalogue)) {
  for (const IdentifierDefinition& definition : catalogue.all()) kinds_.push_back(definition.name);
}

Result<UnixNanos> StoreReader::boundary(const ReadOptions& options) {
  const auto now = clock_.monotonic();
  {
    const std::scoped_lock lock(boundary_mutex_);
    if (boundary_read_at_ && now - *boundary_read_at_ < kBoundaryAgeMax) return boundary_;
  }
  StatementOptions statement;
  statement.time_max = options.time_max;
  statement.stop = options.stop;
  auto rows = client_.query(
      fmt::format("SELECT argMax(value, version) FROM {}.state WHERE name = '{}'", client_.database(), kBoundaryState),
      statement);
  if (!rows) return std::unexpected(std::move(rows).error());
  const std::scoped_lock lock(boundary_mutex_);
  boundary_ = rows->empty() ? 0 : number_of<UnixNanos>((*rows)[0][0]);
  boundary_read_at_ = now;
  return boundary_;
}

Result<std::vector<StoreReader::Slice>> StoreReader::slices(Signal signal, const TimeRange& time, Order order,
                                                            const ReadOptions& options) {
  if (signal == Signal::kEvent) return std::vector<Slice>{{"events", time}};
  auto border = boundary(options);
  if (!border) return std::unexpected(std::move(border).error());
  const bool is_spans = signal == Signal::kSpan;
  std::vector<Slice> found;
  if (*border > 0 && (!time.from || *time.from < *border)) {
    found.push_back({is_spans ? "spans_kept" : "logs_kept", {time.from, std::min(time.to.value_or(*border), *border)}});
  }
  if (!time.to || *time.to > *border) {
    found.push_back({is_spans ? "spans_hot" : "logs_hot", {std::max(time.from.value_or(*border), *border), time.to}});
  }
  if (order == Order::kNewestFirst) std::ranges::reverse(found);
  return found;
}

Result<void> StoreReader::each_row(const Scope& scope, const RowQuery& query, const ReadOptions& options,
                                   const std::function<bool(std::string_view)>& take) {
  const std::string_view direction = query.order == Order::kNewestFirst ? "DESC" : "ASC";
  bool is_done = false;
  for (const TimeRange& window : windows_of(query.time, query.order, clock_.now())) {
    auto parts = slices(query.signal, window, query.order, options);
    if (!parts) return std::unexpected(std::move(parts).error());
    for (const Slice& slice : *parts) {
      Condition where;
      add_time(where, slice.time);
      query.add_filter(where);
      add_scope(where, scope);
      StatementOptions statement = scoped(scope, options, where.parameters());
      statement.response_bytes_max = query.response_bytes_max;
      Lines lines([&](std::string_view line) {
        is_done = !take(line);
        return !is_done;
      });
      auto done = client_.stream(
          fmt::format("SELECT {} FROM {}.{} WHERE {} ORDER BY ts {}, trace_id {}, {} {} LIMIT {} FORMAT {}",
                      query.columns, client_.database(), slice.table, where.sql(), direction, direction,
                      query.signal == Signal::kEvent ? "event_id" : "span_id", direction, query.rows_wanted(),
                      query.format),
          statement, [&](std::string_view piece) { return lines.feed(piece); });
      if (is_done) return {};
      if (!done) return done;
    }
  }
  return {};
}

Result<TimeRange> StoreReader::bounds_of_trace(const Scope& scope, std::string_view trace_id,
                                               const ReadOptions& options) {
  auto rows = client_.query(
      fmt::format(
          "SELECT toUnixTimestamp64Milli(min(first_ts)), toUnixTimestamp64Milli(max(last_ts)), count() FROM {}.traces "
          "WHERE trace_id = {{id:String}}",
          client_.database()),
      scoped(scope, options, {{"id", std::string(trace_id)}}));
  if (!rows) return std::unexpected(std::move(rows).error());
  TimeRange bounds;
  if (!rows->empty() && (*rows)[0][2] != "0") {
    // A span may claim to end in the year 2554; as nanoseconds that would wrap around.
    constexpr std::int64_t kLastMilli = 9'214'646'400'000;  // 2261-12-31
    const auto bound = [&](std::size_t column) {
      return std::clamp<std::int64_t>(number_of<std::int64_t>((*rows)[0][column]), 0, kLastMilli) * kNanosPerMilli;
    };
    bounds.from = bound(0) - kSlack;
    bounds.to = bound(1) + kSlack;
  }
  return bounds;
}

Result<TraceEnd> StoreReader::trace(const Scope& scope, std::string_view trace_id, TraceLimits limits,
                                    const ReadOptions& options, const RowSink& sink) {
  const std::string id = stored_trace_id(trace_id);
  auto bounds = bounds_of_trace(scope, id, options);
  if (!bounds) return std::unexpected(std::move(bounds).error());
  TraceEnd end;
  if (!bounds->from) return end;
  std::uint64_t bytes = 0;
  std::string row;
  Result<void> ended;  // by something other than the last row or a limit
  const RowQuery query{.signal = Signal::kSpan,
                       .time = *bounds,
                       .order = Order::kOldestFirst,
                       .columns = span_writer_.columns(),
                       .add_filter = [&](Condition& where) { where.add("trace_id = " + where.bind("String", id)); },
                       .rows_wanted = [&] { return limits.rows_max - end.rows + 1; },
                       .response_bytes_max = limits.bytes_max * 2};
  auto done = each_row(scope, query, options, [&](std::string_view line) {
    row.clear();
    if (ended = span_writer_.append(row, line); !ended) return false;
    if (end.rows == limits.rows_max || bytes + row.size() > limits.bytes_max) {
      end.cut_by = end.rows == limits.rows_max ? TraceEnd::CutBy::kRows : TraceEnd::CutBy::kBytes;
      return false;
    }
    ++end.rows;
    bytes += row.size();
    if (sink(row)) return true;
    ended = fail(ErrorCode::kCancelled, "the reader of the trace left");
    return false;
  });
  if (!done) return std::unexpected(std::move(done).error());
  if (!ended) return std::unexpected(std::move(ended).error());
  return end;
}

Result<std::string> StoreReader::outline(const Scope& scope, std::string_view trace_id, TraceLimits limits,
                                         const ReadOptions& options) {
  const std::string id = stored_trace_id(trace_id);
  auto bounds = bounds_of_trace(scope, id, options);
  if (!bounds) return std::unexpected(std::move(bounds).error());
  if (!bounds->from) return fail(ErrorCode::kNotFound, "no such trace in this workspace");

  TraceOutline outline;
  bool is_partial = false;
  const RowQuery query{.signal = Signal::kSpan,
                       .time = *bounds,
                       .order = Order::kOldestFirst,
                       .columns = std::string(TraceOutline::kColumns),
                       .format = "TSVRaw",
                       .add_filter = [&](Condition& where) { where.add("trace_id = " + where.bind("String", id)); },
                       .rows_wanted = [&] { return limits.rows_max - outline.size() + 1; },
                       .response_bytes_max = limits.bytes_max};
  auto done = each_row(scope, query, options, [&](std::string_view line) {
    is_partial = outline.size() == limits.rows_max;
    if (!is_partial) outline.add(line);
    return !is_partial;
  });
  if (!done && done.error().code() == ErrorCode::kTooLarge && outline.size() > 0) {
    is_partial = true;  // the first of them fit
  } else if (!done) {
    return std::unexpected(std::move(done).error());
  }
  if (outline.size() == 0) return fail(ErrorCode::kNotFound, "no such trace in this workspace");
  return outline.document(id, is_partial);
}

Result<Page> StoreReader::list(const Scope& scope, Signal signal, const TimeRange& time, Order order,
                               const PageRequest& request, const ReadOptions& options,
                               const std::function<void(Condition&)>& add_filter) {
  auto page = PageBuilder::begin(request, order);
  if (!page) return std::unexpected(std::move(page).error());
  const RowWriter& writer = this->writer(signal);
  Result<bool> offered = true;
  const RowQuery query{.signal = signal,
                       .time = page->rest_of(time),
                       .order = order,
                       .columns = writer.columns(),
                       .add_filter = add_filter,
                       .rows_wanted = [&] { return page->rows_wanted(); },
                       .response_bytes_max = page->response_bytes_max()};
  auto done = each_row(scope, query, options, [&](std::string_view line) {
    offered = page->offer(RowWriter::time_of(line), [&](std::string& out) { return writer.append(out, line); });
    return offered && *offered;
  });
  if (!done) return std::unexpected(std::move(done).error());
  if (!offered) return std::unexpected(std::move(offered).error());
  return std::move(*page).take();
}

Result<Page> StoreReader::spans(const Scope& scope, const SpanFilter& filter, const PageRequest& page,
                                const ReadOptions& options) {
  return list(scope, Signal::kSpan, filter.time, filter.order, page, options,
              [&](Condition& where) { telemetry::add_filter(where, filter, catalogue_); });
}

Result<Page> StoreReader::logs(const Scope& scope, const LogFilter& filter, const PageRequest& page,
                               const ReadOptions& options) {
  return list(scope, Signal::kLog, filter.time, filter.order, page, options,
              [&](Condition& where) { telemetry::add_filter(where, filter, catalogue_); });
}

Result<Histogram> StoreReader::logs_histogram(const Scope& scope, const LogFilter& filter, std::uint32_t buckets,
                                              const ReadOptions& options) {
  Histogram histogram;
  histogram.to = filter.time.to.value_or(clock_.now());
  histogram.from = filter.time.from.value_or(histogram.to - 3'600 * kNanosPerSecond);
  if (histogram.from >= histogram.to) return fail(ErrorCode::kInvalidArgument, "from: is not before to");
  buckets = std::clamp<std::uint32_t>(buckets, 1, 1'000);
  const UnixNanos width_ms =
      std::max<UnixNanos>(1, ((histogram.to - histogram.from) / kNanosPerMilli + buckets - 1) / buckets);
  histogram.bucket = std::chrono::milliseconds(width_ms);
  Condition where;
  add_time(where, {histogram.from, histogram.to});
  add_filter(where, filter, catalogue_);
  add_scope(where, scope);
  auto rows = client_.query(fmt::format("SELECT intDiv(toUnixTimestamp64Nano(ts) - {}, {}) AS bucket, "
                                        "multiIf(severity_number <= 0 OR severity_number > 24, 0, "
                                        "intDiv(severity_number - 1, 4) + 1) AS band, count() "
                                        "FROM {}.logs WHERE {} GROUP BY bucket, band",
                                        histogram.from, width_ms * kNanosPerMilli, client_.database(), where.sql()),
                            scoped(scope, options, where.parameters()));
  if (!rows) return std::unexpected(std::move(rows).error());
  for (UnixNanos start = histogram.from; start < histogram.to; start += width_ms * kNanosPerMilli) {
    histogram.buckets.push_back({.start = start});
  }
  for (const auto& row : *rows) {
    const auto bucket = number_of<std::size_t>(row[0]);
    const auto band = number_of<std::size_t>(row[1]);
    if (bucket < histogram.buckets.size() && band < kLevelCount) {
      histogram.buckets[bucket].counts[band] += number_of<std::uint64_t>(row[2]);
    }
  }
  return histogram;
}

Result<SqlResult> StoreReader::sql(const Scope& scope, std::string_view query, SqlLimits limits,
                                   const ReadOptions& options) {
  return run_user_sql(client_, scope, query, limits, options);
}

Result<UnixNanos> StoreReader::watermark(const ReadOptions& options) {
  StatementOptions statement;
  statement.time_max = options.time_max;
  statement.stop = options.stop;
  UnixNanos newest = 0;
  for (const std::string_view table : {"spans_hot", "logs_hot"}) {
    auto rows = client_.query(
        fmt::format("SELECT toUnixTimestamp(max(received_at)) FROM {}.{} WHERE ts >= now() - INTERVAL 1 HOUR",
                    client_.database(), table),
        statement);
    if (!rows) return std::unexpected(std::move(rows).error());
    newest = std::max(newest, number_of<UnixNanos>((*rows)[0][0]) * kNanosPerSecond);
  }
  return newest;
}

Result<void> StoreReader::ping(const ReadOptions& options) {
  StatementOptions statement;
  statement.time_max = options.time_max;
  statement.stop = options.stop;
  auto rows = client_.query("SELECT 1", statement);
  if (!rows) return std::unexpected(std::move(rows).error());
  return {};
}

}  // namespace fettle::telemetry
