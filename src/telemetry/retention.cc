#include "telemetry/retention.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <utility>

#include "core/log.h"
#include "telemetry/row_sql.h"

namespace fettle::telemetry {
namespace {

constexpr std::string_view kBoundary = "spans_boundary";
constexpr std::string_view kLastRun = "retention_last_run";
constexpr UnixNanos kHour = 3'600 * kNanosPerSecond;
// received_at has whole seconds, and a segment may take a while from its receipt to the store.
constexpr UnixNanos kArrivalSlack = 10 * 60 * kNanosPerSecond;
// An outlier: ten times the median of its operation and beyond its 99th percentile, where there is enough to compare.
constexpr int kOutlierFactor = 10;
constexpr int kOutlierCountMin = 100;

std::string at(UnixNanos t) { return fmt::format("toDateTime64('{}', 9, 'UTC')", sql_time(t)); }

// Copying a day must not take the memory that queries and inserts need.
NameValues copying() {
  return {{"max_threads", "1"},
          {"max_insert_threads", "1"},
          {"max_block_size", "16384"},
          {"min_insert_block_size_rows", "65536"},
          {"min_insert_block_size_bytes", "67108864"},
          {"max_partitions_per_insert_block", "1000"},
          {"json_type_escape_dots_in_keys", "1"}};
}

template <class Number>
Number number_of(std::string_view text) {
  Number value{};
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

}  // namespace

Retention::Retention(Client& client, const Schema& schema, Clock& clock, Options options)
    : client_(client), schema_(schema), clock_(clock), options_(std::move(options)) {}

// Whether a row's trace is kept. Errors and marks of keeping are looked up over all days that the trace touched, so that
// an error tomorrow keeps today's spans of the same trace.
std::string Retention::decision_sql(UnixNanos from, UnixNanos to) const {
  const auto share = static_cast<std::uint64_t>(std::llround(std::clamp(options_.sample_percent, 0.0, 100.0) * 100));
  const std::string& db = client_.database();
  const std::string slice = fmt::format("ts >= {} AND ts < {}", at(from), at(to));
  return fmt::format(
      "(sipHash64(trace_id) % 10000 < {share} OR (workspace, trace_id) IN (SELECT workspace, trace_id FROM {db}.traces "
      "WHERE day >= toDate({from}) - 1 GROUP BY workspace, trace_id HAVING sum(errors) > 0 OR max(keep) > 0) OR "
      "(workspace, trace_id) IN (SELECT workspace, trace_id FROM {db}.spans_hot AS s INNER JOIN (SELECT workspace, "
      "service_name, name, greatest(quantile(0.99)(duration_ns), {factor} * quantile(0.5)(duration_ns)) AS slow FROM "
      "{db}.spans_hot WHERE {slice} AND parent_span_id = '' GROUP BY workspace, service_name, name HAVING count() >= "
      "{enough}) AS o ON s.workspace = o.workspace AND s.service_name = o.service_name AND s.name = o.name WHERE {slice} "
      "AND parent_span_id = '' AND duration_ns > slow))",
      fmt::arg("share", share), fmt::arg("db", db), fmt::arg("from", at(from)), fmt::arg("slice", slice),
      fmt::arg("factor", kOutlierFactor), fmt::arg("enough", kOutlierCountMin));
}

Result<UnixNanos> Retention::state(std::string_view name) {
  auto rows = client_.query(fmt::format("SELECT argMax(value, version) FROM {}.state WHERE name = {{name:String}}", client_.database()),
                            {.parameters = {{"name", std::string(name)}}});
  if (!rows) return std::unexpected(std::move(rows).error().within("reading the retention state"));
  return rows->empty() ? 0 : number_of<UnixNanos>((*rows)[0][0]);
}

Result<void> Retention::set_state(std::string_view name, UnixNanos value) {
  // Versions rise by one, whatever the clock does: of two words the later one counts.
  auto done = client_.execute(fmt::format("INSERT INTO {0}.state (name, value, version) SELECT {{name:String}}, {{value:Int64}}, "
                                          "(SELECT max(version) + 1 FROM {0}.state WHERE name = {{name:String}})",
                                          client_.database()),
                              {.parameters = {{"name", std::string(name)}, {"value", std::to_string(value)}}});
  if (!done) return std::unexpected(std::move(done).error().within("writing the retention state"));
  return {};
}

Result<std::uint64_t> Retention::count(const std::string& sql) {
  auto rows = client_.query(sql, {.time_max = std::chrono::minutes(10), .stop = stop_});
  if (!rows) return std::unexpected(std::move(rows).error());
  return number_of<std::uint64_t>((*rows)[0][0]);
}

Result<void> Retention::promote(UnixNanos from, UnixNanos to, Outcome& outcome) {
  const std::string& db = client_.database();
  const std::string slice = fmt::format("ts >= {} AND ts < {}", at(from), at(to));
  const std::string keep = fmt::format("{} AND {}", slice, decision_sql(from, to));
  auto there = count(fmt::format("SELECT count() FROM {}.spans_kept WHERE {}", db, slice));
  if (!there) return std::unexpected(std::move(there).error());
  // Normally nothing is there. After a run that was cut short, only what is missing is copied.
  std::string missing;
  if (*there != 0) {
    missing = fmt::format(" AND (workspace, trace_id, span_id) NOT IN (SELECT workspace, trace_id, span_id FROM {}.spans_kept WHERE {})",
                          db, slice);
  }
  StatementOptions statement{.settings = copying(), .time_max = std::chrono::minutes(10), .stop = stop_};
  statement.settings.emplace_back("insert_deduplicate", "0");  // two equal blocks are two blocks
  auto copied = client_.execute(fmt::format("INSERT INTO {0}.spans_kept SELECT * FROM {0}.spans_hot WHERE {1}{2}", db, keep, missing), statement);
  if (!copied) return std::unexpected(std::move(copied).error().within("promoting spans"));
  auto wanted = count(fmt::format("SELECT uniqExact(workspace, trace_id, span_id) FROM {}.spans_hot WHERE {}", db, keep));
  auto kept = count(fmt::format("SELECT uniqExact(workspace, trace_id, span_id) FROM {}.spans_kept WHERE {}", db, slice));
  if (!wanted) return std::unexpected(std::move(wanted).error());
  if (!kept) return std::unexpected(std::move(kept).error());
  if (*kept < *wanted) {
    return fail(ErrorCode::kDataLoss, fmt::format("promoting spans from {}: {} of {} arrived", format_rfc3339(from), *kept, *wanted));
  }
  outcome.promoted += *kept - *there;
  return {};
}

Result<void> Retention::rescue(UnixNanos boundary, UnixNanos touched_since, Outcome& outcome) {
  const std::string& db = client_.database();
  // What can be copied begins with the oldest hot day: spans may come as late as their retention allows.
  auto days = days_of("spans_hot");
  if (!days) return std::unexpected(std::move(days).error());
  if (days->empty()) return {};
  const UnixNanos oldest = days->front() * kNanosPerDay;
  const std::string arrived = fmt::format("received_at >= toDateTime({}, 'UTC')", std::max<UnixNanos>(0, touched_since) / kNanosPerSecond);
  // Traces of which something arrived that can change what lies before the boundary.
  const std::string touched =
      fmt::format("SELECT DISTINCT workspace, trace_id FROM {}.spans_hot WHERE {} AND (ts < {} OR status_code = 2 OR keep > 0)", db,
                  arrived, at(boundary));
  const std::string before = fmt::format("ts >= {} AND ts < {} AND (workspace, trace_id) IN ({})", at(oldest), at(boundary), touched);
  const std::string kept_before = fmt::format("SELECT count() FROM {}.spans_kept WHERE {}", db, before);
  auto had = count(kept_before);
  if (!had) return std::unexpected(std::move(had).error());
  StatementOptions statement{.settings = copying(), .time_max = std::chrono::minutes(10), .stop = stop_};
  statement.settings.emplace_back("insert_deduplicate", "0");
  auto copied = client_.execute(
      fmt::format("INSERT INTO {0}.spans_kept SELECT * FROM {0}.spans_hot WHERE {1} AND {2} AND (workspace, trace_id, span_id) NOT IN "
                  "(SELECT workspace, trace_id, span_id FROM {0}.spans_kept WHERE {1})",
                  db, before, decision_sql(oldest, boundary)),
      statement);
  if (!copied) return std::unexpected(std::move(copied).error().within("rescuing traces"));
  auto has = count(kept_before);
  if (!has) return std::unexpected(std::move(has).error());
  outcome.rescued = *has - std::min(*has, *had);
  return {};
}

Result<std::vector<std::int32_t>> Retention::days_of(std::string_view table) {
  auto rows = client_.query(
      "SELECT DISTINCT toUInt16(toDate(partition)) FROM system.parts WHERE database = {db:String} AND table = {table:String} AND active ORDER BY 1",
      {.parameters = {{"db", client_.database()}, {"table", std::string(table)}}});
  if (!rows) return std::unexpected(std::move(rows).error().within("listing partitions"));
  std::vector<std::int32_t> days;
  for (const auto& row : *rows) days.push_back(number_of<std::int32_t>(row[0]));
  return days;
}

Result<void> Retention::drop_day(std::string_view table, std::int32_t day) {
  auto done = client_.execute(fmt::format("ALTER TABLE {}.{} DROP PARTITION '{}'", client_.database(), table,
                                          format_rfc3339(day * kNanosPerDay).substr(0, 10)),
                              {.time_max = std::chrono::minutes(2)});
  if (!done) return std::unexpected(std::move(done).error().within(fmt::format("dropping a day of {}", table)));
  return {};
}

// The books are told after the day is gone: were the server killed in between, rows would still be listed as stored, and
// the sum would still be right.
Result<void> Retention::drop_hot_days(UnixNanos boundary, Outcome& outcome) {
  auto days = days_of("spans_hot");
  if (!days) return std::unexpected(std::move(days).error());
  for (const std::int32_t day : *days) {
    if ((day + 1) * kNanosPerDay > boundary) break;
    std::map<std::pair<std::string, std::string>, std::pair<std::uint64_t, std::uint64_t>> rows_of;  // hot, kept
    for (const bool kept : {false, true}) {
      auto rows = client_.query(fmt::format("SELECT workspace, service_name, count() FROM {}.{} WHERE toDate(ts) = toDate({}) GROUP BY 1, 2",
                                            client_.database(), kept ? "spans_kept" : "spans_hot", day),
                                {.time_max = std::chrono::minutes(2), .stop = stop_});
      if (!rows) return std::unexpected(std::move(rows).error());
      for (const auto& row : *rows) {
        auto& counts = rows_of[{row[0], row[1]}];
        (kept ? counts.second : counts.first) += number_of<std::uint64_t>(row[2]);
      }
    }
    if (auto ok = drop_day("spans_hot", day); !ok) return ok;
    for (const auto& [whose, counts] : rows_of) {
      if (counts.first > counts.second) {
        outcome.removed.push_back({whose.first, whose.second, Kind::kSpans, counts.first - counts.second, 0});
      }
    }
  }
  return {};
}

Result<void> Retention::drop_expired(std::string_view table, Kind kind, std::uint32_t days_kept, Outcome& outcome) {
  auto days = days_of(table);
  if (!days) return std::unexpected(std::move(days).error());
  const std::string& db = client_.database();
  for (const std::int32_t day : *days) {
    if (day + static_cast<std::int32_t>(days_kept) >= day_of(clock_.now())) break;
    const std::string of_day = fmt::format("toDate(ts) = toDate({})", day);
    const std::string whose =
        kind == Kind::kPoints
            ? fmt::format("SELECT p.workspace, s.service_name, count() FROM (SELECT workspace, name, series_id FROM {0}.{1} WHERE {2}) AS p "
                          "ANY LEFT JOIN {0}.series AS s ON s.workspace = p.workspace AND s.name = p.name AND s.series_id = p.series_id GROUP BY 1, 2",
                          db, table, of_day)
            : fmt::format("SELECT workspace, service_name, count() FROM {}.{} WHERE {} GROUP BY 1, 2", db, table, of_day);
    auto rows = client_.query(whose, {.time_max = std::chrono::minutes(2), .stop = stop_});
    if (!rows) return std::unexpected(std::move(rows).error());
    if (auto ok = drop_day(table, day); !ok) return ok;
    for (const auto& row : *rows) outcome.removed.push_back({row[0], row[1], kind, 0, number_of<std::uint64_t>(row[2])});
  }
  return {};
}

Result<Retention::Outcome> Retention::run(const std::stop_token& stop) {
  stop_ = stop;
  Outcome outcome;
  const UnixNanos now = clock_.now();
  // Whole hours, so that a slice that was cut short is the same slice the next time.
  const UnixNanos target = (now - options_.hot_window.count()) / kHour * kHour;
  auto boundary = state(kBoundary);
  if (!boundary) return std::unexpected(std::move(boundary).error());
  auto last_run = state(kLastRun);
  if (!last_run) return std::unexpected(std::move(last_run).error());
  auto days = days_of("spans_hot");
  if (!days) return std::unexpected(std::move(days).error());

  UnixNanos from = *boundary;
  if (!days->empty()) from = std::max(from, days->front() * kNanosPerDay);
  while (!days->empty() && from < target && !stop.stop_requested()) {
    const UnixNanos to = std::min(from / kHour * kHour + kHour, target);
    if (auto ok = promote(from, to, outcome); !ok) return std::unexpected(std::move(ok).error());
    if (auto ok = set_state(kBoundary, to); !ok) return std::unexpected(std::move(ok).error());
    *boundary = from = to;
  }
  outcome.boundary = *boundary;
  if (*boundary > 0 && !stop.stop_requested()) {
    if (auto ok = rescue(*boundary, *last_run - kArrivalSlack, outcome); !ok) return std::unexpected(std::move(ok).error());
    if (auto ok = drop_hot_days(*boundary, outcome); !ok) return std::unexpected(std::move(ok).error());
  }
  const std::pair<std::string_view, std::pair<Kind, std::uint32_t>> tables[] = {
      {"spans_kept", {Kind::kSpans, options_.days.spans_kept}},
      {"logs", {Kind::kLogs, options_.days.logs}},
      {"number_points", {Kind::kPoints, options_.days.metrics}},
      {"histogram_points", {Kind::kPoints, options_.days.metrics}},
  };
  for (const auto& [table, what] : tables) {
    if (stop.stop_requested()) break;
    if (auto ok = drop_expired(table, what.first, what.second, outcome); !ok) return std::unexpected(std::move(ok).error());
  }
  if (auto ok = set_state(kLastRun, now); !ok) return std::unexpected(std::move(ok).error());
  log::info("retention_run", {{"boundary", format_rfc3339(outcome.boundary)},
                              {"promoted", outcome.promoted},
                              {"rescued", outcome.rescued},
                              {"days_removed_lines", outcome.removed.size()}});
  return outcome;
}

}  // namespace fettle::telemetry
