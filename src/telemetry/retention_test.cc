// Retention against the real engine: which traces stay, which go, and what the books are told.
#include "telemetry/retention.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>

#include "core/ids.h"

#include "engine/testing.h"
#include "telemetry/migrations.h"
#include "telemetry/native.h"
#include "telemetry/span_block.h"
#include "telemetry/testing.h"

namespace fettle::telemetry {
namespace {

constexpr UnixNanos kHour = 3'600 * kNanosPerSecond;
constexpr int kTraces = 100'000;
constexpr int kSpansPerTrace = 2;

std::string trace_id_of(int trace) {
  std::string id(16, '\0');
  std::uint64_t x = static_cast<std::uint64_t>(trace) * 0x9e3779b97f4a7c15ULL + 1;
  for (char& byte : id) {
    x ^= x >> 29;
    x *= 0xbf58476d1ce4e5b9ULL;
    byte = static_cast<char>(x >> 56);
  }
  return id;
}

class RetentionTest : public testing::Test {
 protected:
  RetentionTest() : schema(catalogue, {}), engine(schema.table_names()), client(*Client::connect(engine.base_url())) {
    Migrator migrator(*client, schema);
    EXPECT_TRUE(migrator.run());
    // Times are fixed; nothing may expire by the real clock on the day somebody runs this.
    constexpr std::uint32_t kDecades = 20'000;
    EXPECT_TRUE(migrator.apply_retention({kDecades, kDecades, kDecades, kDecades, kDecades, kDecades, kDecades}));
  }

  // One span of a trace; what makes a trace worth keeping is up to its number.
  void append(SpanBlockBuilder& builder, otlp::Traces& request, int trace, int span, UnixNanos start, bool is_error, std::string_view event = {}) {
    request.arena.push_back(trace_id_of(trace));
    otlp::Span made;
    made.trace_id = request.arena.back();
    request.arena.push_back(trace_id_of(trace * 10 + span).substr(0, 8));
    made.span_id = request.arena.back();
    if (span > 0) made.parent_span_id = std::string_view("\1\1\1\1\1\1\1\1", 8);
    made.name = "work";
    made.start = start;
    made.end = start + 1'000'000;
    made.status_code = is_error ? 2 : 0;
    if (!event.empty()) {
      made.events = {static_cast<std::uint32_t>(request.events.size()), 1};
      otlp::Event& one = request.events.emplace_back();
      one.name = event;
      one.time = start;
    }
    builder.append(made, {});
  }

  void send(SpanBlockBuilder& builder) {
    std::map<Table, std::vector<TableBlock>> tables;
    for (TableBlock& block : builder.take()) tables[block.table].push_back(std::move(block));
    for (TableBlock& block : builder.take_derived()) tables[block.table].push_back(std::move(block));
    for (const auto& [table, blocks] : tables) {
      for (const TableBlock& block : blocks) {
        const NativeFrame frame(block, 1);
        auto done = client->insert(table, frame.pieces(), fmt::format("token-{}", ++tokens));
        ASSERT_TRUE(done) << done.error().message();
      }
    }
  }

  std::uint64_t count(const std::string& sql) {
    auto rows = client->query(sql);
    EXPECT_TRUE(rows) << sql << ": " << (rows ? "" : rows.error().message());
    return rows && !rows->empty() ? std::stoull((*rows)[0][0]) : 0;
  }

  Retention::Outcome run(Retention& retention) {
    auto outcome = retention.run();
    EXPECT_TRUE(outcome) << (outcome ? "" : outcome.error().message());
    return outcome ? *outcome : Retention::Outcome{};
  }

  IdentifierCatalogue catalogue = shipped_catalogue();
  Schema schema;
  engine::TestEngine engine;
  std::unique_ptr<Client> client;
  int tokens = 0;
};

TEST_F(RetentionTest, KeepsWhatMattersWholeAShareOfTheRestAndRescuesLateErrors) {
  // Every 50th trace has an error in its second span, every 70th escalates; the rest is routine.
  const auto is_error = [](int trace) { return trace % 50 == 0; };
  const auto is_escalation = [](int trace) { return trace % 70 == 0; };
  {
    SpanBlockBuilder builder(catalogue);
    for (int first = 0; first < kTraces; first += 10'000) {
      otlp::Traces request;
      request.events.reserve(1'000);
      builder.begin("acme", request, kNoon);
      for (int trace = first; trace < first + 10'000; ++trace) {
        // Spread over ten hours; the second span comes half an hour later, so that traces cross slices.
        const UnixNanos start = kNoon - 60 * kHour + trace * (10 * kHour / kTraces);
        append(builder, request, trace, 0, start, false, is_escalation(trace) ? "escalation" : "");
        append(builder, request, trace, 1, start + kHour / 2, is_error(trace));
      }
      send(builder);
    }
  }
  ASSERT_EQ(count("SELECT count() FROM fettle.spans"), kTraces * kSpansPerTrace);

  ManualClock clock(kNoon);
  Retention::Options options;
  options.sample_percent = 15;
  Retention retention(*client, schema, clock, options);
  const Retention::Outcome first = run(retention);
  EXPECT_EQ(first.boundary, (kNoon - 48 * kHour) / kHour * kHour);

  // No trace is split.
  EXPECT_EQ(count("SELECT countIf(n != 2) FROM (SELECT trace_id, count() AS n FROM fettle.spans GROUP BY trace_id)"), 0U);
  int wanted = 0;
  for (int trace = 0; trace < kTraces; ++trace) wanted += is_error(trace) || is_escalation(trace) ? 1 : 0;
  EXPECT_EQ(count("SELECT uniqExact(trace_id) FROM fettle.spans WHERE trace_id IN (SELECT trace_id FROM fettle.traces GROUP BY trace_id "
                  "HAVING sum(errors) > 0 OR max(keep) > 0)"),
            static_cast<std::uint64_t>(wanted));
  const std::uint64_t kept = count("SELECT uniqExact(trace_id) FROM fettle.spans");
  const double share = 100.0 * static_cast<double>(kept - static_cast<std::uint64_t>(wanted)) / (kTraces - wanted);
  EXPECT_NEAR(share, options.sample_percent, 1.0);

  // Running it again changes nothing.
  const Retention::Outcome again = run(retention);
  EXPECT_EQ(again.promoted + again.rescued, 0U);
  EXPECT_EQ(count("SELECT uniqExact(trace_id) FROM fettle.spans"), kept);

  // An error that comes late keeps the whole trace, whose earlier spans had been passed over.
  int routine = 1;
  while (is_error(routine) || is_escalation(routine) ||
         count(fmt::format("SELECT count() FROM fettle.spans WHERE trace_id = '{}'", to_hex(trace_id_of(routine)))) != 0) {
    ++routine;
  }
  {
    SpanBlockBuilder builder(catalogue);
    otlp::Traces request;
    builder.begin("acme", request, clock.now());
    append(builder, request, routine, 2, kNoon - kHour, true);
    send(builder);
  }
  const Retention::Outcome rescued = run(retention);
  EXPECT_EQ(rescued.rescued, 2U);
  EXPECT_EQ(count(fmt::format("SELECT count() FROM fettle.spans WHERE trace_id = '{}'", to_hex(trace_id_of(routine)))), 3U);

  // Once a whole day lies before the boundary it goes, and the books learn how many rows went with it.
  EXPECT_TRUE(first.removed.empty());
  clock.advance(std::chrono::hours(24));
  std::uint64_t sampled_out = 0;
  for (const Retention::Removed& gone : run(retention).removed) {
    EXPECT_EQ(gone.workspace, "acme");
    sampled_out += gone.sampled_out;
  }
  const std::uint64_t left = count("SELECT count() FROM fettle.spans");
  EXPECT_EQ(sampled_out + left, kTraces * kSpansPerTrace + 1U);
  EXPECT_EQ(count("SELECT count() FROM fettle.spans_hot WHERE toDate(ts) <= toDate('2026-11-19')"), 0U);
}

TEST_F(RetentionTest, ARunThatWasCutShortIsFinishedByTheNext) {
  {
    SpanBlockBuilder builder(catalogue);
    otlp::Traces request;
    builder.begin("acme", request, kNoon);
    for (int trace = 0; trace < 200; ++trace) append(builder, request, trace, 0, kNoon - 50 * kHour, true);
    send(builder);
  }
  // Half of the slice is there already, as if a copy had been killed before the boundary moved.
  ASSERT_TRUE(client->execute("INSERT INTO fettle.spans_kept SELECT * FROM fettle.spans_hot LIMIT 100"));
  ManualClock clock(kNoon);
  Retention retention(*client, schema, clock, {});
  run(retention);
  EXPECT_EQ(count("SELECT count() FROM fettle.spans_kept"), 200U);
  EXPECT_EQ(count("SELECT uniqExact(span_id) FROM fettle.spans"), 200U);
}

TEST_F(RetentionTest, DaysPastTheirRetentionGoAndAreCounted) {
  ASSERT_TRUE(client->execute("INSERT INTO fettle.logs (workspace, ts, service_name, body) SELECT 'acme', "
                              "toDateTime64('2026-10-01 00:00:00', 9, 'UTC'), 'web', 'old' FROM numbers(7)"));
  ASSERT_TRUE(client->execute("INSERT INTO fettle.logs (workspace, ts, service_name, body) SELECT 'acme', "
                              "toDateTime64('2026-11-20 00:00:00', 9, 'UTC'), 'web', 'new' FROM numbers(5)"));
  ManualClock clock(kNoon);
  Retention::Options options;
  options.days.logs = 30;
  Retention retention(*client, schema, clock, options);
  const Retention::Outcome outcome = run(retention);
  ASSERT_EQ(outcome.removed.size(), 1U);
  EXPECT_EQ(outcome.removed[0].sender, "web");
  EXPECT_EQ(outcome.removed[0].expired, 7U);
  EXPECT_EQ(count("SELECT count() FROM fettle.logs"), 5U);
}

}  // namespace
}  // namespace fettle::telemetry
