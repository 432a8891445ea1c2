#include "telemetry/store_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <map>
#include <unordered_map>

#include "core/ids.h"
#include "core/json.h"
#include "telemetry/row_sql.h"
#include "telemetry/user_sql.h"

namespace fettle::telemetry {
namespace {

constexpr std::string_view kLines = " FORMAT TSVRaw";
constexpr std::size_t kTraceIdDigits = 32;
// How far apart the clocks of one trace's programs may be, and the resolution of the index.
constexpr UnixNanos kSlack = 5 * kNanosPerSecond;
// Without a time range the newest rows are looked for in growing windows, so that the usual question ("what happened
// just now?") does not read the whole store.
constexpr UnixNanos kWindows[] = {15 * 60 * kNanosPerSecond, 6 * 3'600 * kNanosPerSecond, 3 * kNanosPerDay};

// A place in a list: the time of the last row shown and how many rows of that very time were shown.
struct Place {
  UnixNanos ts = 0;
  std::uint64_t shown = 0;
};

Cursor to_cursor(const Place& place, char order) { return {fmt::format("{}{}_{}", order, place.ts, place.shown)}; }

Result<Place> from_cursor(const Cursor& cursor, char order) {
  const auto refuse = [] {
    return fail(ErrorCode::kInvalidArgument, "cursor: not one of this list's; leave it out to begin anew");
  };
  const std::string_view text = cursor.value;
  const std::size_t bar = text.find('_');
  if (text.size() < 4 || text[0] != order || bar == std::string_view::npos) return refuse();
  Place place;
  const auto whole = [](std::string_view digits, auto& out) {
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), out);
    return error == std::errc() && end == digits.data() + digits.size();
  };
  if (!whole(text.substr(1, bar - 1), place.ts) || !whole(text.substr(bar + 1), place.shown)) return refuse();
  return place;
}

char order_letter(Order order) { return order == Order::kNewestFirst ? 'd' : 'a'; }

// Cuts streamed text into lines.
class Lines {
 public:
  explicit Lines(std::function<bool(std::string_view)> line) : line_(std::move(line)) {}
  bool feed(std::string_view bytes) {
    while (true) {
      const std::size_t end = bytes.find('\n');
      if (end == std::string_view::npos) {
        rest_ += bytes;
        return true;
      }
      bool go_on = false;
      if (rest_.empty()) {
        go_on = line_(bytes.substr(0, end));
      } else {
        rest_ += bytes.substr(0, end);
        go_on = line_(rest_);
        rest_.clear();
      }
      if (!go_on) return false;
      bytes.remove_prefix(end + 1);
    }
  }

 private:
  std::function<bool(std::string_view)> line_;
  std::string rest_;
};

template <class Number>
Number number_of(std::string_view text) {
  Number value{};
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

StatementOptions scoped(const Scope& scope, const ReadOptions& options, NameValues parameters) {
  StatementOptions statement;
  statement.workspace = scope.workspace.value;
  statement.parameters = std::move(parameters);
  statement.time_max = options.time_max;
  statement.stop = options.stop;
  // Compiling the long expressions of a row takes a second and saves microseconds.
  statement.settings = {{"json_type_escape_dots_in_keys", "1"}, {"compile_expressions", "0"}};
  return statement;
}

std::string lower_hex(std::string_view id) {
  std::string out(id);
  if (id.size() == kTraceIdDigits && is_hex(id)) {
    std::ranges::transform(out, out.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  }
  return out;
}

}  // namespace

// One list of spans or logs.
struct StoreReader::Listing {
  std::string table;
  std::string json;
  TimeRange time;
  Order order = Order::kNewestFirst;
  std::function<void(Condition&)> add_filter;
};

// What the identifier index and the columns know of a value.
struct StoreReader::Found {
  std::vector<KindSummary> kinds;
  std::vector<std::string> trace_ids;
  std::vector<std::string> columns;  // of the kinds whose rows are found through their column
  TimeRange time;                    // within which all of it happened
};

StoreReader::StoreReader(Client& client, const IdentifierCatalogue& catalogue, Clock& clock)
    : client_(client),
      catalogue_(catalogue),
      clock_(clock),
      span_json_(span_json_sql(catalogue)),
      log_json_(log_json_sql(catalogue)),
      journey_span_json_(span_json_sql(catalogue, "span")),
      journey_log_json_(log_json_sql(catalogue, "log")) {
  for (const IdentifierDefinition& definition : catalogue.all()) kinds_.push_back(definition.name);
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
    const auto bound = [&](int column) {
      return std::clamp<std::int64_t>(number_of<std::int64_t>((*rows)[0][static_cast<std::size_t>(column)]), 0, kLastMilli) * kNanosPerMilli;
    };
    bounds.from = bound(0) - kSlack;
    bounds.to = bound(1) + kSlack;
  }
  return bounds;
}

Result<TraceEnd> StoreReader::trace(const Scope& scope, std::string_view trace_id, TraceLimits limits,
                                    const ReadOptions& options, const RowSink& sink) {
  const std::string id = lower_hex(trace_id);
  auto bounds = bounds_of_trace(scope, id, options);
  if (!bounds) return std::unexpected(std::move(bounds).error());
  TraceEnd end;
  if (!bounds->from) return end;
  Condition where;
  add_time(where, *bounds);
  where.add("trace_id = " + where.bind("String", id));
  add_scope(where, scope);
  std::uint64_t bytes = 0;
  bool reader_left = false;
  Lines lines([&](std::string_view row) {
    if (end.rows == limits.rows_max || bytes + row.size() > limits.bytes_max) {
      end.cut_by = end.rows == limits.rows_max ? TraceEnd::CutBy::kRows : TraceEnd::CutBy::kBytes;
      return false;
    }
    ++end.rows;
    bytes += row.size();
    reader_left = !sink(row);
    return !reader_left;
  });
  StatementOptions statement = scoped(scope, options, where.parameters());
  statement.response_bytes_max = limits.bytes_max * 2;
  auto done = client_.stream(fmt::format("SELECT {} FROM {}.spans WHERE {} ORDER BY ts, span_id LIMIT {}{}", span_json_,
                                         client_.database(), where.sql(), limits.rows_max + 1, kLines),
                             statement, [&](std::string_view piece) { return lines.feed(piece); });
  if (!done && end.cut_by == TraceEnd::CutBy::kNothing) return std::unexpected(std::move(done).error());
  if (reader_left) return fail(ErrorCode::kCancelled, "the reader of the trace left");
  return end;
}

Result<std::string> StoreReader::outline(const Scope& scope, std::string_view trace_id, TraceLimits limits,
                                         const ReadOptions& options) {
  const std::string id = lower_hex(trace_id);
  auto bounds = bounds_of_trace(scope, id, options);
  if (!bounds) return std::unexpected(std::move(bounds).error());
  if (!bounds->from) return fail(ErrorCode::kNotFound, "no such trace in this workspace");
  Condition where;
  add_time(where, *bounds);
  where.add("trace_id = " + where.bind("String", id));
  add_scope(where, scope);

  struct Row {
    std::string span_id, parent;
    std::uint32_t name, service;
    UnixNanos start;
    std::uint64_t duration_ns;
    int status;
    std::string kind;
  };
  // Names repeat: each is sent once and named by its place.
  struct Names {
    std::unordered_map<std::string, std::uint32_t> places;
    std::vector<std::string> list;
    std::uint32_t of(std::string_view text) {
      const auto [entry, is_new] = places.try_emplace(std::string(text), static_cast<std::uint32_t>(list.size()));
      if (is_new) list.emplace_back(text);
      return entry->second;
    }
  } names, services;
  std::vector<Row> rows;
  bool too_large = false;
  Lines lines([&](std::string_view line) {
    if (rows.size() == limits.rows_max) {
      too_large = true;
      return false;
    }
    std::string_view fields[8];
    for (int i = 0; i < 7; ++i) {
      const std::size_t tab = line.find('\t');
      fields[i] = line.substr(0, tab);
      line.remove_prefix(tab == std::string_view::npos ? line.size() : tab + 1);
    }
    fields[7] = line;
    rows.push_back({std::string(fields[0]), std::string(fields[1]), names.of(fields[6]), services.of(fields[7]),
                    number_of<UnixNanos>(fields[2]), number_of<std::uint64_t>(fields[3]), number_of<int>(fields[4]),
                    std::string(fields[5])});
    return true;
  });
  StatementOptions statement = scoped(scope, options, where.parameters());
  statement.response_bytes_max = limits.bytes_max;
  // Tabs and line ends in names become spaces: this is a picture, the span itself keeps them.
  auto done = client_.stream(
      fmt::format(
          "SELECT span_id, parent_span_id, toUnixTimestamp64Nano(ts), duration_ns, status_code, kind, "
          "translate(name, '\\t\\n\\r', '   '), translate(service_name, '\\t\\n\\r', '   ') FROM {}.spans WHERE {} "
          "ORDER BY ts, span_id LIMIT {}{}",
          client_.database(), where.sql(), limits.rows_max + 1, kLines),
      statement, [&](std::string_view piece) { return lines.feed(piece); });
  if (too_large) return fail(ErrorCode::kTooLarge, fmt::format("the trace has more than {} spans", limits.rows_max));
  if (!done) return std::unexpected(std::move(done).error());
  if (rows.empty()) return fail(ErrorCode::kNotFound, "no such trace in this workspace");

  std::unordered_map<std::string_view, std::int64_t> place_of;
  for (std::size_t i = 0; i < rows.size(); ++i) place_of.emplace(rows[i].span_id, static_cast<std::int64_t>(i));
  std::int64_t errors = 0;
  std::string spans;
  spans.reserve(rows.size() * 64);
  const UnixNanos start = rows.front().start;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const Row& row = rows[i];
    const auto parent = row.parent.empty() ? place_of.end() : place_of.find(row.parent);
    // A span that is its own parent, or two that share an id, must not become a loop.
    const std::int64_t parent_place =
        parent == place_of.end() || parent->second == static_cast<std::int64_t>(i) ? -1 : parent->second;
    errors += row.status == 2 ? 1 : 0;
    fmt::format_to(std::back_inserter(spans), "{}[\"{}\",{},{},{},{},{},{},\"{}\"]", i == 0 ? "" : ",", row.span_id,
                   parent_place, row.name, row.service, (row.start - start) / 1000, row.duration_ns / 1000, row.status,
                   row.kind);
  }
  const auto list = [](const std::vector<std::string>& texts) {
    std::string out = "[";
    for (const std::string& text : texts) {
      if (out.size() > 1) out += ',';
      append_json_string(out, text);
    }
    return out + "]";
  };
  std::string out = "{\"trace_id\":";
  append_json_string(out, id);
  std::string start_text = sql_time(start);
  start_text[10] = 'T';
  out += fmt::format(R"(,"start_ts":"{}Z","names":{},"services":{},"span_count":{},"error_count":{},"spans":[)",
                     start_text, list(names.list), list(services.list), rows.size(), errors);
  return out + spans + "]}";
}

// Rows come as "nanoseconds TAB json"; a page is cut by rows and bytes, and its cursor counts the rows that share the
// last time, so that no row is shown twice or left out.
Result<Page> StoreReader::list(const Scope& scope, const Listing& listing, const PageRequest& request,
                               const ReadOptions& options) {
  const char letter = order_letter(listing.order);
  const bool newest_first = listing.order == Order::kNewestFirst;
  Place place;
  if (request.after) {
    auto parsed = from_cursor(*request.after, letter);
    if (!parsed) return std::unexpected(std::move(parsed).error());
    place = *parsed;
  }
  TimeRange left = listing.time;  // what has not been looked at
  if (request.after) (newest_first ? left.to : left.from) = newest_first ? place.ts + 1 : place.ts;

  Page page;
  Place last = request.after ? place : Place{};
  std::uint64_t skip = request.after ? place.shown : 0;
  bool is_full = false;
  const auto take = [&](std::string_view line) {
    const std::size_t tab = line.find('\t');
    const auto ts = number_of<UnixNanos>(line.substr(0, tab));
    if (skip > 0 && ts == place.ts) {
      --skip;
      return true;
    }
    if (page.count == request.rows_max || (page.count > 0 && page.rows.size() >= request.bytes_max)) {
      is_full = true;
      return false;
    }
    if (page.count > 0) page.rows += ',';
    page.rows += line.substr(tab + 1);
    ++page.count;
    last = ts == last.ts ? Place{ts, last.shown + 1} : Place{ts, 1};
    return true;
  };

  const UnixNanos end = left.to.value_or(clock_.now() + 3'600 * kNanosPerSecond);
  std::vector<TimeRange> windows;
  if (newest_first && !left.from) {
    UnixNanos to = end;
    for (const UnixNanos width : kWindows) {
      windows.push_back({end - width, to});
      to = end - width;
    }
    windows.push_back({std::nullopt, to});
  } else {
    windows.push_back(left);
  }
  for (const TimeRange& window : windows) {
    Condition where;
    add_time(where, window);
    listing.add_filter(where);
    add_scope(where, scope);
    Lines lines(take);
    StatementOptions statement = scoped(scope, options, where.parameters());
    statement.response_bytes_max = request.bytes_max * 4 + 64UL * 1024 * 1024;
    const std::string direction = newest_first ? "DESC" : "ASC";
    auto done = client_.stream(fmt::format("SELECT toUnixTimestamp64Nano(ts), {} FROM {}.{} WHERE {} ORDER BY ts {}, "
                                           "trace_id {}, span_id {} LIMIT {}{}",
                                           listing.json, client_.database(), listing.table, where.sql(), direction,
                                           direction, direction, request.rows_max - page.count + skip + 1, kLines),
                               statement, [&](std::string_view piece) { return lines.feed(piece); });
    if (!done && !is_full) return std::unexpected(std::move(done).error());
    if (is_full) break;
  }
  if (is_full) page.next = to_cursor(last, letter);
  return page;
}

Result<Page> StoreReader::spans(const Scope& scope, const SpanFilter& filter, const PageRequest& page,
                                const ReadOptions& options) {
  return list(scope,
              {"spans", span_json_, filter.time, filter.order,
               [&](Condition& where) { telemetry::add_filter(where, filter, catalogue_); }},
              page, options);
}

Result<Page> StoreReader::logs(const Scope& scope, const LogFilter& filter, const PageRequest& page,
                               const ReadOptions& options) {
  return list(scope,
              {"logs", log_json_, filter.time, filter.order,
               [&](Condition& where) { telemetry::add_filter(where, filter, catalogue_); }},
              page, options);
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

namespace {

// Segments by the writer that sent them: "writer.segment_writer.segment". Rows of a segment become readable together,
// so this is a place in the order of arrival.
using Writers = std::map<std::uint32_t, std::uint32_t>;

std::string to_position(const Writers& writers) {
  std::string text = "t";
  for (const auto& [writer, segment] : writers)
    text += fmt::format("{}{}.{}", text.size() > 1 ? "_" : "", writer, segment);
  return text;
}

Result<Writers> from_position(std::string_view text) {
  const auto refuse = [] {
    return fail(ErrorCode::kInvalidArgument, "tail position: not one of this server's; begin anew");
  };
  constexpr std::size_t kWritersMax = 64;
  if (text.empty() || text[0] != 't') return refuse();
  text.remove_prefix(1);
  Writers writers;
  while (!text.empty()) {
    const std::string_view one = text.substr(0, text.find('_'));
    const std::size_t dot = one.find('.');
    if (dot == std::string_view::npos || writers.size() == kWritersMax) return refuse();
    writers[number_of<std::uint32_t>(one.substr(0, dot))] = number_of<std::uint32_t>(one.substr(dot + 1));
    text.remove_prefix(std::min(one.size() + 1, text.size()));
  }
  return writers;
}

}  // namespace

Result<Tail> StoreReader::tail(const Scope& scope, const LogFilter& filter, const std::optional<TailPosition>& after,
                               std::uint32_t rows_max, const ReadOptions& options) {
  Tail tail;
  if (!after) {
    auto newest = client_.query(
        fmt::format("SELECT bitShiftRight(ingest_id, 32) AS writer, max(bitAnd(ingest_id, 4294967295)) FROM "
                    "{}.logs WHERE received_at >= now() - INTERVAL 1 DAY GROUP BY writer",
                    client_.database()),
        scoped(scope, options, {}));
    if (!newest) return std::unexpected(std::move(newest).error());
    Writers writers;
    for (const auto& row : *newest) writers[number_of<std::uint32_t>(row[0])] = number_of<std::uint32_t>(row[1]);
    tail.position = {to_position(writers)};
    return tail;
  }
  auto writers = from_position(after->value);
  if (!writers) return std::unexpected(std::move(writers).error());
  Condition where;
  if (filter.time.from) add_time(where, {filter.time.from, std::nullopt});
  add_filter(where, filter, catalogue_);
  add_scope(where, scope);
  std::string newer;
  std::string known;
  for (const auto& [writer, segment] : *writers) {
    const std::uint64_t first = static_cast<std::uint64_t>(writer) << 32;
    newer += fmt::format("(ingest_id > {} AND ingest_id <= {}) OR ", first | segment, first | 0xffffffffULL);
    known += fmt::format("{}{}", known.empty() ? "" : ", ", writer);
  }
  where.add(fmt::format("({}{})", newer,
                        known.empty() ? "1" : fmt::format("bitShiftRight(ingest_id, 32) NOT IN ({})", known)));
  std::uint64_t count = 0;
  Lines lines([&](std::string_view line) {
    const std::size_t tab = line.find('\t');
    const auto id = number_of<std::uint64_t>(line.substr(0, tab));
    std::uint32_t& segment = (*writers)[static_cast<std::uint32_t>(id >> 32)];
    segment = std::max(segment, static_cast<std::uint32_t>(id));
    ++count;
    tail.rows.push_back({{}, std::string(line.substr(tab + 1))});
    return true;
  });
  // The newest are kept when more wait than may be shown.
  StatementOptions statement = scoped(scope, options, where.parameters());
  auto done = client_.stream(
      fmt::format("SELECT ingest_id, {} FROM {}.logs WHERE {} ORDER BY ingest_id DESC, ts DESC LIMIT {}{}", log_json_,
                  client_.database(), where.sql(), rows_max, kLines),
      statement, [&](std::string_view piece) { return lines.feed(piece); });
  if (!done) return std::unexpected(std::move(done).error());
  std::ranges::reverse(tail.rows);
  tail.position = {to_position(*writers)};
  // A reader that goes on from any row of this answer goes on after all of it: segments are read whole.
  for (TailRow& row : tail.rows) row.position = tail.position;
  if (count == rows_max) {
    auto waiting = client_.query(fmt::format("SELECT count() FROM {}.logs WHERE {}", client_.database(), where.sql()),
                                 scoped(scope, options, where.parameters()));
    if (waiting) tail.skipped = number_of<std::uint64_t>((*waiting)[0][0]) - count;
  }
  return tail;
}

Result<StoreReader::Found> StoreReader::find(const Scope& scope, std::string_view value, std::string_view kind,
                                             const ReadOptions& options) {
  Found found;
  const std::string database = client_.database();
  const auto widen = [&](UnixNanos first, UnixNanos last) {
    found.time.from = std::min(found.time.from.value_or(first - kSlack), first - kSlack);
    found.time.to = std::max(found.time.to.value_or(last + kSlack), last + kSlack);
  };
  struct Known {
    KindSummary summary;
    bool has_logs = false;
  };
  std::vector<Known> known;

  const std::string id = lower_hex(value);
  if (kind.empty() || kind == "trace_id") {
    auto bounds = bounds_of_trace(scope, id, options);
    if (!bounds) return std::unexpected(std::move(bounds).error());
    if (bounds->from) {
      known.push_back(
          {{.kind = "trace_id", .traces = 1, .logs = 0, .first = *bounds->from + kSlack, .last = *bounds->to - kSlack},
           true});
      found.trace_ids.push_back(id);
      widen(*bounds->from + kSlack, *bounds->to - kSlack);
    }
  }
  NameValues parameters = {{"value", std::string(value)}};
  std::string of_kind;
  if (!kind.empty()) {
    of_kind = " AND kind = {kind:String}";
    parameters.emplace_back("kind", std::string(kind));
  }
  auto rows = client_.query(
      fmt::format(
          "SELECT kind, uniqExactIf(trace, trace != toFixedString('', 16)), toUnixTimestamp(min(first_ts)), "
          "toUnixTimestamp(max(last_ts)), bitAnd(groupBitOr(signals), 2) FROM {}.identifiers WHERE value_hash = "
          "sipHash64({{value:String}}){} GROUP BY kind ORDER BY kind",
          database, of_kind),
      scoped(scope, options, parameters));
  if (!rows) return std::unexpected(std::move(rows).error());
  for (const auto& row : *rows) {
    const UnixNanos first = number_of<std::int64_t>(row[2]) * kNanosPerSecond;
    const UnixNanos last = (number_of<std::int64_t>(row[3]) + 1) * kNanosPerSecond;
    if (row[0] == "trace_id" && !found.trace_ids.empty()) continue;
    known.push_back(
        {{.kind = row[0], .traces = number_of<std::uint64_t>(row[1]), .logs = 0, .first = first, .last = last},
         row[4] != "0"});
    widen(first, last);
    const IdentifierDefinition* definition = catalogue_.by_name(row[0]);
    if (definition != nullptr && definition->is_column) found.columns.push_back(row[0]);
    if (row[0] == "trace_id") found.columns.emplace_back("trace_id");
  }
  if (known.empty() && kind.empty()) {
    // A trace that has logs and no spans is in no list of traces.
    Condition where;
    where.add("trace_id = " + where.bind("String", id));
    add_scope(where, scope);
    auto logs = client_.query(
        fmt::format(
            "SELECT count(), toUnixTimestamp64Nano(min(ts)), toUnixTimestamp64Nano(max(ts)) FROM {}.logs WHERE {}",
            database, where.sql()),
        scoped(scope, options, where.parameters()));
    if (!logs) return std::unexpected(std::move(logs).error());
    if ((*logs)[0][0] != "0") {
      known.push_back({{.kind = "trace_id",
                        .traces = 0,
                        .logs = 0,
                        .first = number_of<UnixNanos>((*logs)[0][1]),
                        .last = number_of<UnixNanos>((*logs)[0][2])},
                       true});
      found.trace_ids.push_back(id);
      widen(known.back().summary.first, known.back().summary.last);
    }
  }
  if (known.empty()) return found;

  // The traces of the value, newest first, as the index has them.
  auto traces = client_.query(
      fmt::format(
          "SELECT lower(hex(trace)) AS id, max(last_ts) AS last FROM {}.identifiers WHERE value_hash = "
          "sipHash64({{value:String}}){} AND trace != toFixedString('', 16) GROUP BY id ORDER BY last DESC LIMIT {}",
          database, of_kind, kJourneyTracesMax),
      scoped(scope, options, parameters));
  if (!traces) return std::unexpected(std::move(traces).error());
  for (const auto& row : *traces) {
    if (std::ranges::find(found.trace_ids, row[0]) == found.trace_ids.end()) found.trace_ids.push_back(row[0]);
  }

  for (Known& one : known) {
    KindSummary& summary = one.summary;
    const std::string column = summary.kind == "trace_id" ? "trace_id" : summary.kind;
    const IdentifierDefinition* definition = catalogue_.by_name(summary.kind);
    if (column != "trace_id" && (definition == nullptr || !definition->is_column)) {
      found.kinds.push_back(summary);
      continue;
    }
    const bool by_column = definition != nullptr && definition->index == IdentifierIndex::kValue;
    Condition where;
    add_time(where, {summary.first - kSlack, summary.last + kSlack});
    where.add(column + " = " + where.bind("String", column == "trace_id" ? id : std::string(value)));
    add_scope(where, scope);
    if (one.has_logs) {
      auto logs = client_.query(fmt::format("SELECT count() FROM {}.logs WHERE {}", database, where.sql()),
                                scoped(scope, options, where.parameters()));
      if (!logs) return std::unexpected(std::move(logs).error());
      summary.logs = number_of<std::uint64_t>((*logs)[0][0]);
    }
    if (by_column) {
      auto of_column = client_.query(fmt::format("SELECT trace_id, max(ts) AS last, count() OVER () FROM {}.spans "
                                                 "WHERE {} GROUP BY trace_id ORDER BY last DESC LIMIT {}",
                                                 database, where.sql(), kJourneyTracesMax),
                                     scoped(scope, options, where.parameters()));
      if (!of_column) return std::unexpected(std::move(of_column).error());
      for (const auto& row : *of_column) summary.traces = number_of<std::uint64_t>(row[2]);
    }
    if (!scope.clients.empty() && !by_column) {
      // Whoever may see some clients alone learns only of traces that hold rows of theirs.
      auto visible =
          client_.query(fmt::format("SELECT uniqExact(trace_id) FROM {}.spans WHERE {}", database, where.sql()),
                        scoped(scope, options, where.parameters()));
      if (!visible) return std::unexpected(std::move(visible).error());
      summary.traces = number_of<std::uint64_t>((*visible)[0][0]);
    }
    if (scope.clients.empty() || summary.traces + summary.logs > 0) found.kinds.push_back(summary);
  }
  return found;
}

Result<std::vector<KindSummary>> StoreReader::resolve(const Scope& scope, std::string_view value,
                                                      const ReadOptions& options) {
  auto found = find(scope, value, {}, options);
  if (!found) return std::unexpected(std::move(found).error());
  return std::move(found->kinds);
}

Result<Journey> StoreReader::journey(const Scope& scope, const JourneyFilter& filter, const PageRequest& page,
                                     const ReadOptions& options) {
  auto found = find(scope, filter.value, filter.kind, options);
  if (!found) return std::unexpected(std::move(found).error());
  Journey journey;
  journey.kinds = std::move(found->kinds);
  if (journey.kinds.empty()) return journey;
  journey.trace_ids = found->trace_ids;
  TimeRange time = found->time;
  if (filter.time.from) time.from = std::max(time.from.value_or(*filter.time.from), *filter.time.from);
  if (filter.time.to) time.to = std::min(time.to.value_or(*filter.time.to), *filter.time.to);

  // Whole traces, and whatever carries the value itself.
  const auto of_value = [&](Condition& where) {
    std::string any;
    if (!found->trace_ids.empty()) any = "trace_id IN " + where.bind_list(found->trace_ids);
    for (const std::string& column : found->columns) {
      any += fmt::format("{}{} = {}", any.empty() ? "" : " OR ", column, where.bind("String", filter.value));
    }
    where.add("(" + any + ")");
  };
  // Both halves are pages of their own by the same rules, merged by time.
  Listing listing{"", "", time, Order::kOldestFirst, of_value};
  Condition where;
  add_time(where, time);
  of_value(where);
  add_scope(where, scope);
  listing.table = fmt::format(
      "(SELECT ts, trace_id, span_id, client_id, {} AS row FROM {}.spans WHERE {} UNION ALL SELECT ts, trace_id, "
      "span_id, client_id, {} AS row "
      "FROM {}.logs WHERE {})",
      journey_span_json_, client_.database(), where.sql(), journey_log_json_, client_.database(), where.sql());

  Place place;
  if (page.after) {
    auto parsed = from_cursor(*page.after, 'a');
    if (!parsed) return std::unexpected(std::move(parsed).error());
    place = *parsed;
  }
  std::uint64_t skip = page.after ? place.shown : 0;
  Place last = place;
  bool is_full = false;
  Page& items = journey.items;
  Lines lines([&](std::string_view line) {
    const std::size_t tab = line.find('\t');
    const auto ts = number_of<UnixNanos>(line.substr(0, tab));
    if (skip > 0 && ts == place.ts) {
      --skip;
      return true;
    }
    if (items.count == page.rows_max || (items.count > 0 && items.rows.size() >= page.bytes_max)) {
      is_full = true;
      return false;
    }
    if (items.count > 0) items.rows += ',';
    items.rows += line.substr(tab + 1);
    ++items.count;
    last = ts == last.ts ? Place{ts, last.shown + 1} : Place{ts, 1};
    return true;
  });
  NameValues parameters = where.parameters();
  std::string after;
  if (page.after) {
    after = " WHERE ts >= {after:DateTime64(9, 'UTC')}";
    parameters.emplace_back("after", sql_time(place.ts));
  }
  StatementOptions statement = scoped(scope, options, std::move(parameters));
  statement.response_bytes_max = page.bytes_max * 4 + 64UL * 1024 * 1024;
  auto done = client_.stream(
      fmt::format("SELECT toUnixTimestamp64Nano(ts), row FROM {}{} ORDER BY ts, trace_id, span_id LIMIT {}{}",
                  listing.table, after, page.rows_max + skip + 1, kLines),
      statement, [&](std::string_view piece) { return lines.feed(piece); });
  if (!done && !is_full) return std::unexpected(std::move(done).error());
  if (is_full) items.next = to_cursor(last, 'a');
  return journey;
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
  for (const std::string_view table : {"spans_hot", "logs"}) {
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
