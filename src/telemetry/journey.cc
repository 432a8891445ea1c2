// Everything about one value: what it is known as, the traces in which it occurs, and their rows on one timeline.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <future>
#include <unordered_set>
#include <utility>

#include "telemetry/identifier_block.h"
#include "telemetry/reading.h"
#include "telemetry/row_query.h"
#include "telemetry/row_sql.h"
#include "telemetry/store_reader.h"

namespace fettle::telemetry {
namespace {

constexpr std::uint8_t bit(Signal signal) { return static_cast<std::uint8_t>(signal); }

// In the order of a journey: of rows of the same time the span comes first.
constexpr std::array kSignals = {Signal::kSpan, Signal::kLog, Signal::kEvent};

constexpr std::string_view name_of(Signal signal) {
  return signal == Signal::kSpan ? "span" : signal == Signal::kLog ? "log" : "event";
}
constexpr std::string_view table_of(Signal signal) {
  return signal == Signal::kSpan ? "spans" : signal == Signal::kLog ? "logs" : "events";
}

// Starts a question beside those of this thread; get() waits for it, and so does going out of scope.
template <class Ask>
auto beside(Ask&& ask) {
  return std::async(std::launch::async, std::forward<Ask>(ask));
}

}  // namespace

// What the identifier index and the list of traces know of a value.
struct StoreReader::Found {
  struct Kind {
    KindSummary summary;
    bool is_by_column = false;  // the index holds no traces of it, or more than a journey follows
    // Signals with rows that carry the value and are in no trace of the index: found through the column.
    std::uint8_t signals = 0;
    std::uint8_t signals_without_trace = 0;
  };
  std::string value;
  std::string trace_id;  // the value as a trace id would be stored
  std::vector<Kind> kinds;
  std::string kind;                    // the only one that was asked for, or ""
  std::vector<std::string> trace_ids;  // newest first
  TimeRange time;                      // within which all of it happened

  const std::string& column_value(const Kind& one) const { return one.summary.kind == "trace_id" ? trace_id : value; }
  bool is_wanted(const Kind& one) const { return kind.empty() || one.summary.kind == kind; }
  void widen(const KindSummary& summary) {
    time.from = std::min(time.from.value_or(summary.first - kSlack), summary.first - kSlack);
    time.to = std::max(time.to.value_or(summary.last + kSlack), summary.last + kSlack);
  }
  bool needs_column(const Kind& one, Signal signal) const {
    return one.is_by_column || (one.signals_without_trace & bit(signal)) != 0;
  }
  // Rows that carry the value as this kind. The traces are in the key: with them the store reads little.
  std::string carries(Condition& where, const Kind& one, Signal signal, const IdentifierCatalogue& catalogue) const {
    const bool by_column = has_column(one, catalogue);
    std::string sql =
        by_column ? fmt::format("{} = {}", one.summary.kind, where.bind("String", column_value(one))) : "1";
    if (!by_column || !needs_column(one, signal)) sql += " AND trace_id IN " + where.bind_list(trace_ids);
    return sql;
  }
  // Whole traces, and whatever carries the value outside them.
  void add_rows(Condition& where, Signal signal, const IdentifierCatalogue& catalogue) const {
    std::string any;
    if (!trace_ids.empty()) any = "trace_id IN " + where.bind_list(trace_ids);
    for (const Kind& one : kinds) {
      if (!is_wanted(one) || !needs_column(one, signal) || !has_column(one, catalogue)) continue;
      any += fmt::format("{}{} = {}", any.empty() ? "" : " OR ", one.summary.kind,
                         where.bind("String", column_value(one)));
    }
    where.add(any.empty() ? "0" : "(" + any + ")");
  }
  static bool has_column(const Kind& one, const IdentifierCatalogue& catalogue) {
    const IdentifierDefinition* definition = catalogue.by_name(one.summary.kind);
    return one.summary.kind == "trace_id" || (definition != nullptr && definition->is_column);
  }
};

Result<StoreReader::Found> StoreReader::find(const Scope& scope, std::string_view value, std::string_view kind,
                                             const ReadOptions& options) {
  Found found{.value = std::string(value), .trace_id = stored_trace_id(value), .kind = std::string(kind)};
  const std::string database = client_.database();
  const bool may_be_trace = is_hex_trace_id(value) && (kind.empty() || kind == "trace_id");
  std::future<Result<TimeRange>> bounds_asked;
  if (may_be_trace) bounds_asked = beside([&] { return bounds_of_trace(scope, found.trace_id, options); });

  // A row for each kind and trace, the newest of each kind, with what is true of the whole kind beside each.
  auto rows = client_.query(
      fmt::format(
          "SELECT kind, if(trace = toFixedString('', 16), '', lower(hex(trace))) AS id, last, countIf(id != '') OVER "
          "kinds, "
          "toUnixTimestamp(min(first) OVER kinds), toUnixTimestamp(max(last) OVER kinds), groupBitOr(seen) OVER kinds, "
          "groupBitOrIf(seen, id = '') OVER kinds FROM (SELECT kind, trace, min(first_ts) AS first, max(last_ts) AS "
          "last, "
          "groupBitOr(signals) AS seen FROM {}.identifiers WHERE value_hash = sipHash64({{value:String}}) GROUP BY "
          "kind, "
          "trace) WINDOW kinds AS (PARTITION BY kind) ORDER BY last DESC, id LIMIT {} BY kind",
          database, kJourneyTracesMax + 1),
      scoped(scope, options, {{"value", found.value}}));
  if (!rows) return std::unexpected(std::move(rows).error());

  if (may_be_trace) {
    auto bounds = bounds_asked.get();
    if (!bounds) return std::unexpected(std::move(bounds).error());
    if (bounds->from) {
      found.kinds.push_back(
          {.summary = {.kind = "trace_id", .traces = 1, .first = *bounds->from + kSlack, .last = *bounds->to - kSlack},
           .signals = bit(Signal::kSpan) | bit(Signal::kLog)});
      found.trace_ids.push_back(found.trace_id);
    }
  }
  std::unordered_set<std::string> known_traces(found.trace_ids.begin(), found.trace_ids.end());
  for (const auto& row : *rows) {
    if (row[0] == "trace_id" && !found.trace_ids.empty() && found.trace_ids.front() == found.trace_id) continue;
    auto one = std::ranges::find(found.kinds, row[0], [](const Found::Kind& known) { return known.summary.kind; });
    if (one == found.kinds.end()) {
      const IdentifierDefinition* definition = catalogue_.by_name(row[0]);
      const auto traces = number_of<std::uint64_t>(row[3]);
      found.kinds.push_back({.summary = {.kind = row[0],
                                         .traces = traces,
                                         .first = number_of<std::int64_t>(row[4]) * kNanosPerSecond,
                                         .last = (number_of<std::int64_t>(row[5]) + 1) * kNanosPerSecond},
                             .is_by_column = traces > kJourneyTracesMax ||
                                             (definition != nullptr && definition->index == IdentifierIndex::kValue),
                             .signals = number_of<std::uint8_t>(row[6]),
                             .signals_without_trace = number_of<std::uint8_t>(row[7])});
      one = found.kinds.end() - 1;
    }
    if (row[1].empty() || !found.is_wanted(*one) || known_traces.contains(row[1])) continue;
    if (found.trace_ids.size() == kJourneyTracesMax) {
      one->is_by_column = true;
      continue;
    }
    known_traces.insert(row[1]);
    found.trace_ids.push_back(row[1]);
  }
  if (found.kinds.empty() && may_be_trace) {
    // A trace that has logs or events and no spans is in no list of traces.
    for (const Signal signal : {Signal::kLog, Signal::kEvent}) {
      Condition where;
      where.add("trace_id = " + where.bind("String", found.trace_id));
      add_scope(where, scope);
      auto seen = client_.query(
          fmt::format("SELECT count(), toUnixTimestamp64Nano(min(ts)), toUnixTimestamp64Nano(max(ts)) FROM {}.{} WHERE "
                      "{}",
                      database, table_of(signal), where.sql()),
          scoped(scope, options, where.parameters()));
      if (!seen) return std::unexpected(std::move(seen).error());
      const auto& row = (*seen)[0];
      if (row[0] == "0") continue;
      const auto first = number_of<UnixNanos>(row[1]);
      const auto last = number_of<UnixNanos>(row[2]);
      if (found.kinds.empty()) {
        found.kinds.push_back({.summary = {.kind = "trace_id", .first = first, .last = last}});
        found.trace_ids.push_back(found.trace_id);
      }
      Found::Kind& one = found.kinds.front();
      one.signals |= bit(signal);
      one.summary.first = std::min(one.summary.first, first);
      one.summary.last = std::max(one.summary.last, last);
    }
  }
  for (const Found::Kind& one : found.kinds) {
    if (found.is_wanted(one)) found.widen(one.summary);
  }
  if (!scope.clients.empty() && !found.trace_ids.empty()) {
    // Whoever may see some clients alone learns only of traces that hold rows of theirs.
    Condition where;
    add_time(where, found.time);
    where.add("trace_id IN " + where.bind_list(found.trace_ids));
    add_scope(where, scope);
    auto visible =
        client_.query(fmt::format("SELECT DISTINCT trace_id FROM (SELECT trace_id FROM {0}.spans WHERE {1} UNION ALL "
                                  "SELECT trace_id FROM {0}.logs WHERE {1} UNION ALL "
                                  "SELECT trace_id FROM {0}.events WHERE {1})",
                                  database, where.sql()),
                      scoped(scope, options, where.parameters()));
    if (!visible) return std::unexpected(std::move(visible).error());
    std::unordered_set<std::string> seen;
    for (const auto& row : *visible) seen.insert(row[0]);
    std::erase_if(found.trace_ids, [&](const std::string& id) { return !seen.contains(id); });
  }
  return found;
}

// How often a value occurs as each kind. The index knows the traces of most; rows are counted where it does not, and
// always for whoever may see some clients alone: of other clients' rows not even the times exist.
Result<std::vector<KindSummary>> StoreReader::count(const Scope& scope, const Found& found,
                                                    const ReadOptions& options) {
  const bool is_limited = !scope.clients.empty();
  std::vector<Found::Kind> kinds;
  std::ranges::copy_if(found.kinds, std::back_inserter(kinds),
                       [&](const Found::Kind& one) { return found.is_wanted(one); });
  std::vector<KindSummary> counted;
  for (const Found::Kind& one : kinds) {
    counted.push_back(one.summary);
    if (is_limited) counted.back() = {.kind = one.summary.kind};
  }
  const auto count_rows = [&](Signal signal, auto&& is_counted, std::string_view aggregate,
                              auto&& take) -> Result<void> {
    std::vector<std::size_t> places;
    std::string columns;
    std::string any;
    Condition where;
    add_time(where, found.time);
    add_scope(where, scope);
    for (std::size_t i = 0; i < kinds.size(); ++i) {
      if ((kinds[i].signals & bit(signal)) == 0 || !is_counted(kinds[i])) continue;
      const std::string carries = found.carries(where, kinds[i], signal, catalogue_);
      columns +=
          fmt::format("{0}{1}, {2}), minIf(toUnixTimestamp64Nano(ts), {2}), maxIf(toUnixTimestamp64Nano(ts), {2})",
                      columns.empty() ? "" : ", ", aggregate, carries);
      any += fmt::format("{}({})", any.empty() ? "" : " OR ", carries);
      places.push_back(i);
    }
    if (places.empty()) return {};
    where.add("(" + any + ")");
    auto rows = client_.query(
        fmt::format("SELECT {} FROM {}.{} WHERE {}", columns, client_.database(), table_of(signal), where.sql()),
        scoped(scope, options, where.parameters()));
    if (!rows) return std::unexpected(std::move(rows).error());
    for (std::size_t i = 0; i < places.size(); ++i) {
      KindSummary& summary = counted[places[i]];
      const auto number = number_of<std::uint64_t>((*rows)[0][3 * i]);
      take(summary, number);
      if (!is_limited || number == 0) continue;
      const auto first = number_of<UnixNanos>((*rows)[0][3 * i + 1]);
      summary.first = summary.first == 0 ? first : std::min(summary.first, first);
      summary.last = std::max(summary.last, number_of<UnixNanos>((*rows)[0][3 * i + 2]));
    }
    return {};
  };
  const auto has_column = [&](const Found::Kind& one) { return is_limited || Found::has_column(one, catalogue_); };
  auto done = count_rows(Signal::kLog, has_column, "countIf(1",
                         [](KindSummary& summary, std::uint64_t number) { summary.logs = number; });
  if (!done) return std::unexpected(std::move(done).error());
  done = count_rows(Signal::kEvent, has_column, "countIf(1",
                    [](KindSummary& summary, std::uint64_t number) { summary.events = number; });
  if (!done) return std::unexpected(std::move(done).error());
  done = count_rows(
      Signal::kSpan, [&](const Found::Kind& one) { return is_limited || one.summary.traces == 0; },
      "uniqExactIf(trace_id", [](KindSummary& summary, std::uint64_t number) { summary.traces = number; });
  if (!done) return std::unexpected(std::move(done).error());
  if (is_limited) {
    std::erase_if(counted,
                  [](const KindSummary& summary) { return summary.traces + summary.logs + summary.events == 0; });
  }
  return counted;
}

Result<std::vector<KindSummary>> StoreReader::resolve(const Scope& scope, std::string_view value,
                                                      const ReadOptions& options) {
  auto found = find(scope, value, {}, options);
  if (!found) return std::unexpected(std::move(found).error());
  return count(scope, *found, options);
}

struct StoreReader::JourneyRow {
  UnixNanos ts = 0;
  std::string json;
};

Result<std::vector<StoreReader::JourneyRow>> StoreReader::journey_rows(const Scope& scope, Signal signal,
                                                                       const Found& found, const TimeRange& time,
                                                                       const PageBuilder& page,
                                                                       const ReadOptions& options) {
  const RowWriter& writer = this->writer(signal);
  std::vector<JourneyRow> rows;
  std::uint64_t bytes = 0;
  Result<void> written;
  const RowQuery query{.signal = signal,
                       .time = page.rest_of(time),
                       .order = Order::kOldestFirst,
                       .columns = writer.columns(),
                       .add_filter = [&](Condition& where) { found.add_rows(where, signal, catalogue_); },
                       .rows_wanted = [&] { return page.rows_wanted() - rows.size(); },
                       .response_bytes_max = page.response_bytes_max()};
  auto done = each_row(scope, query, options, [&](std::string_view line) {
    JourneyRow& row = rows.emplace_back(RowWriter::time_of(line));
    written = writer.append(row.json, line, name_of(signal));
    if (!written) return false;
    // So many bytes fill the page by themselves; rows that the page before has shown do not count.
    if (rows.size() > page.rows_shown_before()) bytes += row.json.size();
    return rows.size() < page.rows_wanted() && bytes <= page.bytes_max() + row.json.size();
  });
  if (!done) return std::unexpected(std::move(done).error());
  if (!written) return std::unexpected(std::move(written).error());
  return rows;
}

Result<Journey> StoreReader::journey(const Scope& scope, const JourneyFilter& filter, const PageRequest& request,
                                     const ReadOptions& options) {
  auto page = PageBuilder::begin(request, Order::kOldestFirst);
  if (!page) return std::unexpected(std::move(page).error());
  auto found = find(scope, filter.value, filter.kind, options);
  if (!found) return std::unexpected(std::move(found).error());
  Journey journey;
  if (found->kinds.empty()) return journey;
  TimeRange time = found->time;
  if (filter.time.from) time.from = std::max(time.from.value_or(*filter.time.from), *filter.time.from);
  if (filter.time.to) time.to = std::min(time.to.value_or(*filter.time.to), *filter.time.to);

  auto kinds_asked = beside([&] { return count(scope, *found, options); });
  std::array<std::future<Result<std::vector<JourneyRow>>>, kSignals.size()> asked;
  const bool all = !filter.spans && !filter.logs && !filter.events;
  const std::array wanted = {all || filter.spans, all || filter.logs, all || filter.events};
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    if (!wanted[i]) continue;
    asked[i] = beside([&, signal = kSignals[i]] { return journey_rows(scope, signal, *found, time, *page, options); });
  }
  auto kinds = kinds_asked.get();
  std::array<std::vector<JourneyRow>, kSignals.size()> rows;
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    if (!wanted[i]) continue;
    auto read = asked[i].get();
    if (!read) return std::unexpected(std::move(read).error());
    rows[i] = std::move(*read);
  }
  if (!kinds) return std::unexpected(std::move(kinds).error());
  journey.kinds = std::move(*kinds);
  if (journey.kinds.empty()) return journey;
  journey.trace_ids = std::move(found->trace_ids);

  // Each is in order.
  std::array<std::size_t, kSignals.size()> next{};
  while (true) {
    const JourneyRow* oldest = nullptr;
    std::size_t from = 0;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (next[i] == rows[i].size()) continue;
      const JourneyRow& row = rows[i][next[i]];
      if (oldest == nullptr || row.ts < oldest->ts) {
        oldest = &row;
        from = i;
      }
    }
    if (oldest == nullptr) break;
    ++next[from];
    const auto offered = page->offer(oldest->ts, [&](std::string& out) -> Result<void> {
      out += oldest->json;
      return {};
    });
    if (!offered || !*offered) break;
  }
  journey.items = std::move(*page).take();
  return journey;
}

}  // namespace fettle::telemetry
