#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "telemetry/reading.h"
#include "telemetry/row_sql.h"
#include "telemetry/store_reader.h"

namespace fettle::telemetry {
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
                    "{}.logs_hot WHERE received_at >= now() - INTERVAL 1 DAY GROUP BY writer",
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
  Result<void> written;
  Lines lines([&](std::string_view line) {
    // "[…, ingest_id]": the last column is not the row's.
    const auto id = number_of<std::uint64_t>(line.substr(line.rfind(' ') + 1));
    std::uint32_t& segment = (*writers)[static_cast<std::uint32_t>(id >> 32)];
    segment = std::max(segment, static_cast<std::uint32_t>(id));
    ++count;
    return static_cast<bool>(written = log_writer_.append(tail.rows.emplace_back().row, line));
  });
  // The newest are kept when more wait than may be shown.
  StatementOptions statement = scoped(scope, options, where.parameters());
  auto done = client_.stream(
      fmt::format("SELECT {}, ingest_id FROM {}.logs_hot WHERE {} ORDER BY ingest_id DESC, ts DESC LIMIT {} FORMAT "
                  "JSONCompactEachRow",
                  log_writer_.columns(), client_.database(), where.sql(), rows_max),
      statement, [&](std::string_view piece) { return lines.feed(piece); });
  if (!written) return std::unexpected(std::move(written).error());
  if (!done) return std::unexpected(std::move(done).error());
  std::ranges::reverse(tail.rows);
  tail.position = {to_position(*writers)};
  // A reader that goes on from any row of this answer goes on after all of it: segments are read whole.
  for (TailRow& row : tail.rows) row.position = tail.position;
  if (count == rows_max) {
    auto waiting =
        client_.query(fmt::format("SELECT count() FROM {}.logs_hot WHERE {}", client_.database(), where.sql()),
                      scoped(scope, options, where.parameters()));
    if (waiting) tail.skipped = number_of<std::uint64_t>((*waiting)[0][0]) - count;
  }
  return tail;
}

}  // namespace fettle::telemetry
