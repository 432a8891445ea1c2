#include "telemetry/retention.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "core/log.h"
#include "telemetry/reading.h"
#include "telemetry/row_sql.h"

namespace fettle::telemetry {
namespace {

// Names in the table `state`; the views read the first. Never rename.
constexpr std::string_view kBoundaryMoved = "retention_boundary_moved";
constexpr std::string_view kRuns = "retention_runs";
constexpr std::string_view kArrived = "retention_arrived";
constexpr std::string_view kSeen = "retention_seen_";  // and the writer

constexpr UnixNanos kHour = 3'600 * kNanosPerSecond;
// Readers know the boundary of a minute ago and read the hot tables alone from it on; a statement may take minutes.
constexpr UnixNanos kBoundaryKnownAfter = kHour / 2;
// A mark keeps rows of its trace that are up to so much younger than what it was made for.
constexpr UnixNanos kTraceLengthMax = 7 * kNanosPerDay;
// An outlier: ten times the median of its operation and beyond its 99th percentile, where there is enough to compare.
constexpr int kOutlierFactor = 10;
constexpr int kOutlierCountMin = 100;
// OpenTelemetry's severity numbers.
constexpr int kWarn = 13;
constexpr int kError = 17;
// How many segments a writer may have on their way into the store at once: ingest::Writer::Options::segments_open_max.
constexpr int kSegmentsOpenMax = 2;

// A partition goes or moves by its name alone. No stop is heeded on the way, because what became of a call that was
// left is not known; so the time must be short.
constexpr std::chrono::milliseconds kPartitionTimeMax{5'000};

std::string at(UnixNanos t) { return fmt::format("toDateTime64('{}', 9, 'UTC')", sql_time(std::max<UnixNanos>(t, 0))); }
std::string between(UnixNanos from, UnixNanos to) { return fmt::format("ts >= {} AND ts < {}", at(from), at(to)); }

// Rows of segments that were not all readable when the last run began. In words that the index over ingest_id
// understands; a writer that nobody has heard of yet is new as a whole.
std::string arrived_sql(const std::map<std::uint32_t, std::uint32_t>& seen) {
  std::string sql = "1";
  for (const auto& [writer, segment] : seen) {
    const std::uint64_t first = static_cast<std::uint64_t>(writer) << 32;
    sql += fmt::format(" AND (ingest_id < {} OR ingest_id >= {})", first, first | segment);
  }
  return sql;
}

}  // namespace

// What differs between spans and logs.
struct Retention::Signal {
  Kind kind;
  std::string_view hot;
  std::string_view kept;
  std::string_view leaving;
  // Tells rows apart, to see which of them were copied already. Log lines have no id: two that are the same in all of
  // this came in one segment, are readable at once and are copied together.
  std::string_view identity;
};
const Retention::Signal Retention::kSignals[2] = {
    {Kind::kSpans, "spans_hot", "spans_kept", "spans_leaving", "workspace, trace_id, span_id"},
    {Kind::kLogs, "logs_hot", "logs_kept", "logs_leaving",
     "workspace, ts, trace_id, ingest_id, sipHash64(span_id, service_name, severity_number, body)"},
};

Retention::Retention(Client& client, const Schema& schema, Clock& clock, Options options,
                     std::function<bool()> may_go_on)
    : client_(client), schema_(schema), clock_(clock), options_(std::move(options)), may_go_on_(std::move(may_go_on)) {}

// Whether a row from `from` on is kept. A mark speaks for all rows of its trace, so that an error tomorrow keeps
// today's spans and log lines of the same trace.
std::string Retention::decision_sql(const Signal& signal, UnixNanos from) const {
  const auto share = static_cast<std::uint64_t>(std::llround(std::clamp(options_.sample_percent, 0.0, 100.0) * 100));
  const std::string trace = fmt::format(
      "(sipHash64(trace_id) % 10000 < {} OR (workspace, trace_id) IN (SELECT workspace, trace_id FROM {}.kept_traces "
      "WHERE ts >= {}))",
      share, client_.database(), at(from - kTraceLengthMax));
  if (signal.kind == Kind::kSpans) return trace;
  return fmt::format(
      "((trace_id != '' AND {}) OR (trace_id = '' AND (severity_number >= {} OR "
      "sipHash64(toUnixTimestamp64Nano(ts), service_name, body) % 10000 < {})))",
      trace, kWarn, share);
}

Result<Retention::State> Retention::load_state() {
  auto rows = client_.query(fmt::format("SELECT name, argMax(value, version) FROM {}.state WHERE startsWith(name, "
                                        "'retention_') GROUP BY name",
                                        client_.database()),
                            {.stop = stop_});
  if (!rows) return std::unexpected(std::move(rows).error().within("reading the retention state"));
  State state;
  for (const auto& row : *rows) {
    const std::string_view name = row[0];
    const auto value = number_of<std::int64_t>(row[1]);
    if (name == kBoundaryState) state.boundary = value;
    if (name == kBoundaryMoved) state.boundary_moved = value;
    if (name == kRuns) state.runs = static_cast<std::uint64_t>(value);
    if (name == kArrived) state.arrived = value;
    if (name.starts_with(kSeen)) {
      state.seen[number_of<std::uint32_t>(name.substr(kSeen.size()))] = static_cast<std::uint32_t>(value);
    }
  }
  return state;
}

Result<void> Retention::store_state(const std::vector<std::pair<std::string, std::int64_t>>& values) {
  std::string list;
  for (const auto& [name, value] : values) list += fmt::format("{}('{}', {})", list.empty() ? "" : ", ", name, value);
  // Versions rise by one, whatever the clock does: of two words the later one counts.
  auto done = client_.execute(
      fmt::format("INSERT INTO {0}.state (name, value, version) SELECT pair.1, pair.2, (SELECT max(version) + 1 FROM "
                  "{0}.state) FROM (SELECT arrayJoin([{1}]) AS pair)",
                  client_.database(), list));
  if (!done) return std::unexpected(std::move(done).error().within("writing the retention state"));
  return {};
}

Result<std::uint64_t> Retention::count(const std::string& sql) {
  auto rows = client_.query(sql, {.time_max = std::chrono::minutes(10), .stop = stop_});
  if (!rows) return std::unexpected(std::move(rows).error());
  return number_of<std::uint64_t>((*rows)[0][0]);
}

// Copying a day must not take the memory that queries and inserts need.
Result<void> Retention::copy(const std::string& sql) {
  const StatementOptions statement{.settings = {{"max_threads", "1"},
                                                {"max_insert_threads", "1"},
                                                {"max_block_size", "16384"},
                                                {"min_insert_block_size_rows", "65536"},
                                                {"min_insert_block_size_bytes", "67108864"},
                                                {"max_partitions_per_insert_block", "1000"},
                                                {"json_type_escape_dots_in_keys", "1"},
                                                {"insert_deduplicate", "0"}},  // two equal blocks are two blocks
                                   .time_max = std::chrono::minutes(10),
                                   .stop = stop_};
  return client_.execute(sql, statement);
}

// By writer the oldest segment that may have rows on their way. A writer opens segments in order, kSegmentsOpenMax at
// once, and each is open until all its rows are readable. So of the segments before the newest that can be seen at most
// kSegmentsOpenMax - 1 are open, those next to it: whatever is older than the kSegmentsOpenMax newest that can be seen
// is readable to its last row, however long the store was down and however old the rows are.
Result<std::map<std::uint32_t, std::uint32_t>> Retention::newest_segments(const State& state) {
  std::string ids;
  for (const Signal& signal : kSignals) {
    ids += fmt::format("{}SELECT ingest_id AS id FROM {}.{} WHERE {}", ids.empty() ? "" : " UNION ALL ",
                       client_.database(), signal.hot, arrived_sql(state.seen));
  }
  auto rows =
      client_.query(fmt::format("SELECT bitShiftRight(id, 32), bitAnd(id, 4294967295) FROM (SELECT DISTINCT id FROM "
                                "({}) ORDER BY id DESC LIMIT {} BY bitShiftRight(id, 32)) ORDER BY id DESC",
                                ids, kSegmentsOpenMax),
                    {.time_max = std::chrono::minutes(10), .stop = stop_});
  if (!rows) return std::unexpected(std::move(rows).error().within("looking for what arrived"));
  std::map<std::uint32_t, std::uint32_t> newest = state.seen;
  std::map<std::uint32_t, int> found;
  for (const auto& row : *rows) {
    const auto writer = number_of<std::uint32_t>(row[0]);
    if (++found[writer] == kSegmentsOpenMax) newest[writer] = number_of<std::uint32_t>(row[1]);
  }
  return newest;
}

Result<std::int64_t> Retention::count_arrived(const std::map<std::uint32_t, std::uint32_t>& seen) {
  std::int64_t rows = 0;
  for (const Signal& signal : kSignals) {
    auto arrived =
        count(fmt::format("SELECT count() FROM {}.{} WHERE {}", client_.database(), signal.hot, arrived_sql(seen)));
    if (!arrived) return std::unexpected(std::move(arrived).error().within("counting what arrived"));
    rows += static_cast<std::int64_t>(*arrived);
  }
  return rows;
}

// Errors and what identifiers.yaml names as a reason to keep, and outliers among roots that came late.
Result<void> Retention::mark_arrivals(const State& state) {
  const std::string& db = client_.database();
  const std::string arrived = arrived_sql(state.seen);
  for (const Signal& signal : kSignals) {
    const std::string reason = signal.kind == Kind::kSpans
                                   ? std::string("(status_code = 2 OR keep > 0)")
                                   : fmt::format("severity_number >= {} AND trace_id != ''", kError);
    auto done =
        copy(fmt::format("INSERT INTO {0}.kept_traces (workspace, ts, trace_id, run) SELECT workspace, max(ts), "
                         "trace_id, {1} FROM {0}.{2} WHERE {3} AND {4} GROUP BY workspace, trace_id",
                         db, state.runs, signal.hot, arrived, reason));
    if (!done) return std::unexpected(std::move(done).error().within("marking traces"));
  }
  if (state.boundary == 0) return {};
  const std::string before = fmt::format("ts < {}", at(state.boundary));
  return mark_outliers(state, fmt::format("{0} AND toStartOfHour(ts) IN (SELECT toStartOfHour(ts) FROM {1}.spans_hot "
                                          "WHERE {0} AND parent_span_id = '' AND {2})",
                                          before, db, arrived));
}

// A root is compared with the roots of the same operation in the same hour, so that the answer does not depend on when
// somebody asks.
Result<void> Retention::mark_outliers(const State& state, const std::string& which) {
  auto done = copy(fmt::format(
      "INSERT INTO {db}.kept_traces (workspace, ts, trace_id, run) SELECT s.workspace, s.ts, s.trace_id, {run} FROM "
      "{db}.spans_hot AS s INNER JOIN (SELECT workspace, service_name, name, toStartOfHour(ts) AS hour, "
      "greatest(quantile(0.99)(duration_ns), {factor} * quantile(0.5)(duration_ns)) AS slow FROM {db}.spans_hot WHERE "
      "{which} AND parent_span_id = '' GROUP BY workspace, service_name, name, hour HAVING count() >= {enough}) AS o "
      "ON "
      "s.workspace = o.workspace AND s.service_name = o.service_name AND s.name = o.name AND toStartOfHour(s.ts) = "
      "o.hour WHERE {which} AND parent_span_id = '' AND duration_ns > slow",
      fmt::arg("db", client_.database()), fmt::arg("run", state.runs), fmt::arg("which", which),
      fmt::arg("factor", kOutlierFactor), fmt::arg("enough", kOutlierCountMin)));
  if (!done) return std::unexpected(std::move(done).error().within("marking outliers"));
  return {};
}

Result<void> Retention::promote_until(UnixNanos target, State& state, Outcome& outcome) {
  const auto move_to = [&](UnixNanos boundary) -> Result<void> {
    const UnixNanos moved = clock_.now();
    auto stored = store_state({{std::string(kBoundaryState), boundary}, {std::string(kBoundaryMoved), moved}});
    if (!stored) return stored;
    state.boundary = outcome.boundary = boundary;
    state.boundary_moved = moved;
    return {};
  };
  bool has_old_days = false;
  std::string times;
  for (const Signal& signal : kSignals) {
    auto days = days_of(signal.hot);
    if (!days) return std::unexpected(std::move(days).error());
    has_old_days = has_old_days || (!days->empty() && days->begin()->first * kNanosPerDay < target);
    times += fmt::format("{}SELECT ts FROM {}.{} WHERE {}", times.empty() ? "" : " UNION ALL ", client_.database(),
                         signal.hot, between(state.boundary, target));
  }
  // A store without rows to weigh keeps its boundary: what is sent to it from another time is then readable at once.
  if (!has_old_days) return {};
  auto hours = client_.query(
      fmt::format("SELECT DISTINCT toUnixTimestamp(toStartOfHour(ts)) AS hour FROM ({}) ORDER BY hour", times),
      {.time_max = std::chrono::minutes(10), .stop = stop_});
  if (!hours) return std::unexpected(std::move(hours).error().within("listing the hours to weigh"));
  for (const auto& row : *hours) {
    if (stop_.stop_requested() || !may_go_on_()) return fail(ErrorCode::kCancelled, "stopped");
    // Whole hours, so that a slice that was cut short is the same slice the next time.
    const UnixNanos from = std::max(state.boundary, number_of<UnixNanos>(row[0]) * kNanosPerSecond);
    const UnixNanos to = std::min(from / kHour * kHour + kHour, target);
    if (auto ok = mark_outliers(state, between(from, to)); !ok) return ok;
    for (const Signal& signal : kSignals) {
      if (auto ok = promote(signal, from, to, outcome); !ok) return ok;
    }
    if (auto ok = move_to(to); !ok) return ok;
  }
  return state.boundary < target ? move_to(target) : Result<void>{};
}

Result<void> Retention::promote(const Signal& signal, UnixNanos from, UnixNanos to, Outcome& outcome) {
  const std::string& db = client_.database();
  const std::string slice = between(from, to);
  const std::string keep = fmt::format("{} AND {}", slice, decision_sql(signal, from));
  const auto rows_of = [&](std::string_view table, const std::string& which) {
    return count(fmt::format("SELECT uniqExact({}) FROM {}.{} WHERE {}", signal.identity, db, table, which));
  };
  auto there = rows_of(signal.kept, slice);
  if (!there) return std::unexpected(std::move(there).error());
  // Before copying: what comes while this goes on is the next run's.
  auto wanted = rows_of(signal.hot, keep);
  if (!wanted) return std::unexpected(std::move(wanted).error());
  // Normally nothing is there. After a run that was cut short, only what is missing is copied.
  std::string missing;
  if (*there != 0) {
    missing =
        fmt::format(" AND ({0}) NOT IN (SELECT {0} FROM {1}.{2} WHERE {3})", signal.identity, db, signal.kept, slice);
  }
  auto copied = copy(fmt::format("INSERT INTO {0}.{1} SELECT * FROM {0}.{2} WHERE {3}{4}", db, signal.kept, signal.hot,
                                 keep, missing));
  if (!copied) return std::unexpected(std::move(copied).error().within(fmt::format("promoting to {}", signal.kept)));
  auto kept = rows_of(signal.kept, slice);
  if (!kept) return std::unexpected(std::move(kept).error());
  if (*kept < *wanted) {
    return fail(ErrorCode::kDataLoss, fmt::format("promoting to {} from {}: {} of {} arrived", signal.kept,
                                                  format_rfc3339(from), *kept, *wanted));
  }
  outcome.promoted += *kept - std::min(*kept, *there);
  return {};
}

// `weighed` is the boundary when the run began: what lies between it and today's was copied in this run.
Result<void> Retention::rescue(const Signal& signal, UnixNanos weighed, const State& state, Outcome& outcome) {
  const std::string& db = client_.database();
  // What can be copied begins with the oldest hot day: spans may come as late as their retention allows.
  auto days = days_of(signal.hot);
  if (!days) return std::unexpected(std::move(days).error());
  if (days->empty()) return {};
  const UnixNanos oldest = days->begin()->first * kNanosPerDay;
  const std::string late = fmt::format("{} AND {}", between(oldest, weighed), arrived_sql(state.seen));
  std::string touched = fmt::format("SELECT workspace, trace_id FROM {}.kept_traces WHERE run >= {}", db, state.runs);
  for (const Signal& other : kSignals) {
    touched += fmt::format(" UNION ALL SELECT workspace, trace_id FROM {}.{} WHERE ts < {} AND {} AND trace_id != ''",
                           db, other.hot, at(weighed), arrived_sql(state.seen));
  }
  std::string which = fmt::format("(workspace, trace_id) IN ({})", touched);
  if (signal.kind == Kind::kLogs)
    which = fmt::format("((trace_id != '' AND {}) OR (trace_id = '' AND {}))", which, late);
  which = fmt::format("{} AND {}", between(oldest, state.boundary), which);
  // Few rows are touched, and only of these the other columns are read.
  const std::string missing =
      fmt::format("PREWHERE {1} WHERE {2} AND ({0}) NOT IN (SELECT {0} FROM {3}.{4} PREWHERE {1})", signal.identity,
                  which, decision_sql(signal, oldest), db, signal.kept);
  auto rows = count(fmt::format("SELECT count() FROM {}.{} {}", db, signal.hot, missing));
  if (!rows) return std::unexpected(std::move(rows).error().within("looking for what to rescue"));
  if (*rows == 0) return {};
  auto copied =
      copy(fmt::format("INSERT INTO {0}.{1} SELECT * FROM {0}.{2} {3}", db, signal.kept, signal.hot, missing));
  if (!copied) return std::unexpected(std::move(copied).error().within(fmt::format("rescuing to {}", signal.kept)));
  outcome.rescued += *rows;
  return {};
}

// Days that hold rows: where a partition was dropped or moved the engine leaves an empty part for a while.
Result<Retention::RowsOfDays> Retention::days_of(std::string_view table) {
  auto rows = client_.query(
      "SELECT toUInt16(toDate(partition)) AS day, sum(rows) FROM system.parts WHERE database = {db:String} AND table = "
      "{table:String} AND active AND rows > 0 GROUP BY day",
      {.parameters = {{"db", client_.database()}, {"table", std::string(table)}}, .stop = stop_});
  if (!rows) return std::unexpected(std::move(rows).error().within("listing partitions"));
  RowsOfDays days;
  for (const auto& row : *rows) days[number_of<std::int32_t>(row[0])] = number_of<std::uint64_t>(row[1]);
  return days;
}

Result<void> Retention::move_day(std::string_view from, std::string_view to, std::int32_t day) {
  auto done =
      client_.execute(fmt::format("ALTER TABLE {0}.{1} MOVE PARTITION '{3}' TO TABLE {0}.{2}", client_.database(), from,
                                  to, format_rfc3339(day * kNanosPerDay).substr(0, 10)),
                      {.time_max = kPartitionTimeMax});
  if (!done)
    return std::unexpected(std::move(done).error().within(fmt::format("moving a day from {} to {}", from, to)));
  return {};
}

// What a run that was cut short left on its way out.
Result<void> Retention::bring_back(const Signal& signal) {
  auto days = days_of(signal.leaving);
  if (!days) return std::unexpected(std::move(days).error());
  const std::string& db = client_.database();
  for (const auto& [day, unused] : *days) {
    const std::string of_day = fmt::format("toDate(ts) = toDate({})", day);
    const std::string here = fmt::format("(SELECT ingest_id FROM {}.{} WHERE {})", db, signal.hot, of_day);
    auto doubled =
        count(fmt::format("SELECT count() FROM {}.{} WHERE {} AND ingest_id IN {}", db, signal.leaving, of_day, here));
    if (!doubled) return std::unexpected(std::move(doubled).error());
    if (*doubled == 0) {
      if (auto ok = move_day(signal.leaving, signal.hot, day); !ok) return ok;
      continue;
    }
    // An engine that is killed while it moves parts may have them in both places.
    auto copied = copy(fmt::format("INSERT INTO {0}.{1} SELECT * FROM {0}.{2} WHERE {3} AND ingest_id NOT IN {4}", db,
                                   signal.hot, signal.leaving, of_day, here));
    if (!copied) return std::unexpected(std::move(copied).error().within("bringing back a day"));
    if (auto ok = drop_day(signal.leaving, day); !ok) return ok;
  }
  return {};
}

Result<void> Retention::drop_day(std::string_view table, std::int32_t day) {
  auto done = client_.execute(fmt::format("ALTER TABLE {}.{} DROP PARTITION '{}'", client_.database(), table,
                                          format_rfc3339(day * kNanosPerDay).substr(0, 10)),
                              {.time_max = kPartitionTimeMax});
  if (!done) return std::unexpected(std::move(done).error().within(fmt::format("dropping a day of {}", table)));
  return {};
}

// A day is moved out of the way of late rows, counted, and only then dropped: were it counted where it is, a row could
// come between the counting and the dropping. `weighed` says how many rows there were when the run began.
//
// The books are told after the day is gone: were the server killed in between, rows would still be listed as stored,
// and the sum would still be right.
Result<void> Retention::drop_hot_days(const Signal& signal, UnixNanos before, const RowsOfDays& weighed,
                                      Outcome& outcome) {
  auto days = days_of(signal.hot);
  if (!days) return std::unexpected(std::move(days).error());
  for (const auto& [day, unused] : *days) {
    if ((day + 1) * kNanosPerDay > before || stop_.stop_requested()) break;
    if (auto ok = move_day(signal.hot, signal.leaving, day); !ok) return ok;
    auto leaving = days_of(signal.leaving);
    if (!leaving) return std::unexpected(std::move(leaving).error());
    const auto known = weighed.find(day);
    if (known == weighed.end() || (*leaving)[day] > known->second) {
      // Somebody's rows came while this day was weighed: the next run weighs them.
      if (auto ok = move_day(signal.leaving, signal.hot, day); !ok) return ok;
      continue;
    }
    const std::string of_day = fmt::format("toDate(ts) = toDate({})", day);
    // Rows that came after the day had gone once lie beside others that were kept then: of what is kept only that
    // counts which came with the segments that are here.
    const std::string tables[] = {
        fmt::format("{}.{} WHERE {}", client_.database(), signal.leaving, of_day),
        fmt::format("{0}.{1} WHERE {2} AND ingest_id IN (SELECT ingest_id FROM {0}.{3} WHERE {2})", client_.database(),
                    signal.kept, of_day, signal.leaving),
    };
    std::map<std::pair<std::string, std::string>, std::uint64_t> rows_of[2];  // leaving, kept
    for (int i = 0; i < 2; ++i) {
      auto rows = client_.query(fmt::format("SELECT workspace, service_name, count() FROM {} GROUP BY 1, 2", tables[i]),
                                {.time_max = std::chrono::minutes(2), .stop = stop_});
      if (!rows) return std::unexpected(std::move(rows).error());
      for (const auto& row : *rows) rows_of[i][{row[0], row[1]}] = number_of<std::uint64_t>(row[2]);
    }
    if (auto ok = drop_day(signal.leaving, day); !ok) return ok;
    ++outcome.days_dropped;
    for (const auto& [whose, gone] : rows_of[0]) {
      const std::uint64_t kept = std::min(gone, rows_of[1][whose]);
      if (gone > kept) outcome.removed.push_back({whose.first, whose.second, signal.kind, gone - kept, 0});
    }
  }
  return {};
}

Result<void> Retention::drop_expired(std::string_view table, Kind kind, std::uint32_t days_kept, Outcome& outcome) {
  auto days = days_of(table);
  if (!days) return std::unexpected(std::move(days).error());
  // A day that is still hot is not over: what is sampled out of it is told by what is kept of it.
  RowsOfDays hot;
  for (const Signal& signal : kSignals) {
    if (signal.kept != table) continue;
    auto still = days_of(signal.hot);
    if (!still) return std::unexpected(std::move(still).error());
    hot = std::move(*still);
  }
  const std::string& db = client_.database();
  for (const auto& [day, unused] : *days) {
    if (day + static_cast<std::int32_t>(days_kept) >= day_of(clock_.now()) || stop_.stop_requested()) break;
    if (hot.contains(day)) continue;
    const std::string of_day = fmt::format("toDate(ts) = toDate({})", day);
    const std::string whose =
        kind == Kind::kPoints
            ? fmt::format(
                  "SELECT p.workspace, s.service_name, count() FROM (SELECT workspace, name, series_id FROM "
                  "{0}.{1} WHERE {2}) AS p ANY LEFT JOIN {0}.series AS s ON s.workspace = p.workspace AND "
                  "s.name = p.name AND s.series_id = p.series_id GROUP BY 1, 2",
                  db, table, of_day)
            : fmt::format("SELECT workspace, service_name, count() FROM {}.{} WHERE {} GROUP BY 1, 2", db, table,
                          of_day);
    auto rows = client_.query(whose, {.time_max = std::chrono::minutes(2), .stop = stop_});
    if (!rows) return std::unexpected(std::move(rows).error());
    if (auto ok = drop_day(table, day); !ok) return ok;
    for (const auto& row : *rows) {
      outcome.removed.push_back({row[0], row[1], kind, 0, number_of<std::uint64_t>(row[2])});
    }
  }
  return {};
}

Result<void> Retention::run(Outcome& outcome, const std::stop_token& stop) {
  stop_ = stop;
  outcome = {};
  auto loaded = load_state();
  if (!loaded) return std::unexpected(std::move(loaded).error());
  State state = std::move(*loaded);
  const UnixNanos weighed = outcome.boundary = state.boundary;
  const UnixNanos droppable = clock_.now() - state.boundary_moved >= kBoundaryKnownAfter ? state.boundary : 0;
  RowsOfDays rows_weighed[std::size(kSignals)];
  for (std::size_t i = 0; i < std::size(kSignals); ++i) {
    if (auto ok = bring_back(kSignals[i]); !ok) return ok;
    auto days = days_of(kSignals[i].hot);
    if (!days) return std::unexpected(std::move(days).error());
    rows_weighed[i] = std::move(*days);
  }
  auto newest = newest_segments(state);
  if (!newest) return std::unexpected(std::move(newest).error());

  // A store that is not written to has nothing to mark or rescue, and looking costs a second for a million rows that
  // wait for their day to go.
  auto arrived = count_arrived(state.seen);
  if (!arrived) return std::unexpected(std::move(arrived).error());
  auto arrived_since_newest = count_arrived(*newest);
  if (!arrived_since_newest) return std::unexpected(std::move(arrived_since_newest).error());
  const bool has_arrivals = *arrived != state.arrived;

  if (has_arrivals) {
    if (auto ok = mark_arrivals(state); !ok) return ok;
  }
  const UnixNanos target = (clock_.now() - options_.hot_window.count()) / kHour * kHour;
  if (auto ok = promote_until(target, state, outcome); !ok) return ok;
  const auto stopped = [&] { return fail(ErrorCode::kCancelled, "stopped"); };
  auto marks = count(fmt::format("SELECT count() FROM {}.kept_traces WHERE run >= {}", client_.database(), state.runs));
  if (!marks) return std::unexpected(std::move(marks).error());
  for (const Signal& signal : kSignals) {
    if (stop.stop_requested() || !may_go_on_()) return stopped();
    if (!has_arrivals && *marks == 0) break;
    if (auto ok = rescue(signal, weighed, state, outcome); !ok) return ok;
  }
  if (before_drop_) before_drop_();
  if (!may_go_on_()) return stopped();
  for (std::size_t i = 0; i < std::size(kSignals); ++i) {
    if (auto ok = drop_hot_days(kSignals[i], droppable, rows_weighed[i], outcome); !ok) return ok;
  }
  const std::pair<std::string_view, std::pair<Kind, std::uint32_t>> tables[] = {
      {"spans_kept", {Kind::kSpans, options_.days.spans_kept}},
      {"logs_kept", {Kind::kLogs, options_.days.logs_kept}},
      {"number_points", {Kind::kPoints, options_.days.metrics}},
      {"histogram_points", {Kind::kPoints, options_.days.metrics}},
  };
  for (const auto& [table, what] : tables) {
    if (auto ok = drop_expired(table, what.first, what.second, outcome); !ok) return ok;
  }
  if (stop.stop_requested()) return stopped();
  std::vector<std::pair<std::string, std::int64_t>> values = {
      {std::string(kRuns), static_cast<std::int64_t>(state.runs + 1)},
      // What went may have been among what was counted.
      {std::string(kArrived), outcome.days_dropped == 0 ? *arrived_since_newest : -1}};
  for (const auto& [writer, segment] : *newest) values.emplace_back(fmt::format("{}{}", kSeen, writer), segment);
  if (auto ok = store_state(values); !ok) return ok;
  log::info("retention_run", {{"boundary", format_rfc3339(outcome.boundary)},
                              {"promoted", outcome.promoted},
                              {"rescued", outcome.rescued},
                              {"days_dropped", outcome.days_dropped}});
  return {};
}

}  // namespace fettle::telemetry
