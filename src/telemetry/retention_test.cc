// Retention against the real engine: which traces stay, which go, and what the books are told.
#include "telemetry/retention.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "engine/testing.h"
#include "telemetry/migrations.h"
#include "telemetry/row_sql.h"
#include "telemetry/testing.h"

namespace fettle::telemetry {
namespace {

constexpr UnixNanos kMinute = 60 * kNanosPerSecond;
constexpr UnixNanos kHour = 60 * kMinute;
constexpr UnixNanos kBoundary = kNoon - 48 * kHour;  // of a run at noon
constexpr std::uint64_t kWriter = 9;

struct SpanRow {
  std::string trace;
  UnixNanos ts = 0;
  int status = 0;
  std::uint64_t segment = 0;  // 0: the next one
  UnixNanos received_at = kNoon;
  std::string parent;
  UnixNanos duration = 1'000'000;
};
struct LogRow {
  std::string trace;
  UnixNanos ts = 0;
  int severity = 9;
  std::string body = "a line";
  std::uint64_t segment = 0;
  int copies = 1;
};

class RetentionTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    catalogue_ = std::make_unique<IdentifierCatalogue>(shipped_catalogue());
    schema_ = std::make_unique<Schema>(*catalogue_, SchemaOptions{});
    engine_ = std::make_unique<engine::TestEngine>(schema_->table_names());
    client_ = std::move(*Client::connect(engine_->base_url()));
    Migrator migrator(*client_, *schema_);
    ASSERT_TRUE(migrator.run());
    // Times are fixed; nothing may expire by the real clock on the day somebody runs this.
    constexpr std::uint32_t kDecades = 20'000;
    ASSERT_TRUE(migrator.apply_retention({.spans_hot = kDecades,
                                          .spans_kept = kDecades,
                                          .logs_hot = kDecades,
                                          .logs_kept = kDecades,
                                          .metrics = kDecades,
                                          .rollups = kDecades,
                                          .llm_calls = kDecades,
                                          .events = kDecades}));
  }
  static void TearDownTestSuite() {
    client_.reset();
    engine_.reset();
    schema_.reset();
    catalogue_.reset();
  }

  RetentionTest() {
    for (const char* table : {"spans_hot", "spans_kept", "logs_hot", "logs_kept", "spans_leaving", "logs_leaving",
                              "kept_traces", "state"}) {
      execute(fmt::format("TRUNCATE TABLE fettle.{}", table));
    }
    options_.sample_percent = 15;
    start();
  }

  void start() { retention_ = std::make_unique<Retention>(*client_, *schema_, clock_, options_); }

  static void execute(const std::string& sql) {
    auto done = client_->execute(sql, {.settings = {{"insert_deduplicate", "0"}}});
    ASSERT_TRUE(done) << sql << ": " << done.error().message();
  }

  static std::uint64_t count(const std::string& sql) {
    auto rows = client_->query(sql);
    EXPECT_TRUE(rows) << sql << ": " << (rows ? "" : rows.error().message());
    return rows && !rows->empty() ? std::stoull((*rows)[0][0]) : 0;
  }

  std::uint64_t next_id() { return kWriter << 32 | ++segment_; }
  std::uint64_t id_of(std::uint64_t segment) { return segment == 0 ? next_id() : kWriter << 32 | segment; }

  void send(const SpanRow& row) {
    execute(fmt::format(
        "INSERT INTO fettle.spans_hot (workspace, ts, trace_id, span_id, parent_span_id, name, status_code, "
        "duration_ns, service_name, received_at, ingest_id) SELECT 'acme', toDateTime64('{}', 9, 'UTC'), '{}', "
        "'{:016x}', '{}', 'work', {}, {}, 'web', toDateTime('{}', 'UTC'), {}",
        sql_time(row.ts), row.trace, ++spans_, row.parent, row.status, row.duration,
        sql_time(row.received_at).substr(0, 19), id_of(row.segment)));
  }
  void send(const LogRow& row) {
    execute(
        fmt::format("INSERT INTO fettle.logs_hot (workspace, ts, trace_id, severity_number, body, service_name, "
                    "received_at, ingest_id) SELECT 'acme', toDateTime64('{}', 9, 'UTC'), '{}', {}, '{}', 'web', "
                    "now(), {} FROM numbers({})",
                    sql_time(row.ts), row.trace, row.severity, row.body, id_of(row.segment), row.copies));
  }
  // A span and two log lines, one of them hours earlier.
  void send_trace(const std::string& trace, UnixNanos ts) {
    send(SpanRow{.trace = trace, .ts = ts});
    send(LogRow{.trace = trace, .ts = ts});
    send(LogRow{.trace = trace, .ts = ts - 3 * kHour});
  }

  Retention::Outcome run() {
    Retention::Outcome outcome;
    auto done = retention_->run(outcome);
    EXPECT_TRUE(done) << (done ? "" : done.error().message());
    for (const Retention::Removed& gone : outcome.removed) {
      EXPECT_EQ(gone.workspace, "acme");
      EXPECT_EQ(gone.sender, "web");
      Books& books = gone.kind == Retention::Kind::kSpans ? of_spans_ : of_logs_;
      books.sampled_out += gone.sampled_out;
      books.expired += gone.expired;
    }
    return outcome;
  }

  static std::uint64_t spans_of(const std::string& trace) {
    return count(fmt::format("SELECT count() FROM fettle.spans WHERE trace_id = '{}'", trace));
  }
  static std::uint64_t logs_of(const std::string& trace) {
    return count(fmt::format("SELECT count() FROM fettle.logs WHERE trace_id = '{}'", trace));
  }
  // A trace that is outside the share, or inside it.
  static std::string routine_trace(int number, bool is_in_share = false) {
    return (*client_->query(fmt::format(
        "SELECT lower(hex(MD5(toString(number)))) AS id FROM numbers(1000) WHERE (sipHash64(id) % 10000 < 1500) = {} "
        "LIMIT 1 OFFSET {}",
        is_in_share ? 1 : 0, number)))[0][0];
  }
  static bool is_hot(const std::string& day) {
    return count(fmt::format("SELECT count() FROM fettle.spans_hot WHERE toDate(ts) = '{}'", day)) +
               count(fmt::format("SELECT count() FROM fettle.logs_hot WHERE toDate(ts) = '{}'", day)) !=
           0;
  }

  static inline std::unique_ptr<IdentifierCatalogue> catalogue_;
  static inline std::unique_ptr<Schema> schema_;
  static inline std::unique_ptr<engine::TestEngine> engine_;
  static inline std::unique_ptr<Client> client_;

  struct Books {
    std::uint64_t sampled_out = 0;
    std::uint64_t expired = 0;
  };
  ManualClock clock_{kNoon};
  Retention::Options options_;
  std::unique_ptr<Retention> retention_;
  Books of_spans_, of_logs_;
  std::uint64_t segment_ = 0;
  std::uint64_t spans_ = 0;
};

TEST_F(RetentionTest, KeepsWhatMattersWholeAndAShareOfTheRest) {
  constexpr int kTraces = 100'000;
  // Why a trace is kept is up to its number: an error in a span, an escalation, an error in a log line, an outlier.
  const auto has_reason = [](int trace) {
    return trace % 50 == 0 || trace % 70 == 1 || trace % 110 == 2 || trace % 200 == 3;
  };
  // Spread over ten hours; the second span comes half an hour after the first, a log line 40 minutes before it and one
  // 50 minutes after, so that traces cross slices in both directions.
  const std::string start =
      fmt::format("toInt64({} + intDiv(number, 2) * {})", kNoon - 60 * kHour, 10 * kHour / kTraces);
  const std::string trace_id = "lower(hex(MD5(toString(intDiv(number, 2) AS trace))))";
  execute(fmt::format(
      "INSERT INTO fettle.spans_hot (workspace, ts, trace_id, span_id, parent_span_id, name, status_code, keep, "
      "duration_ns, service_name, ingest_id) SELECT 'acme', fromUnixTimestamp64Nano({} + {} * (number % 2), 'UTC'), "
      "{}, "
      "hex(number), if(number % 2 = 0, '', hex(number - 1)), 'work', if(number % 2 = 1 AND trace % 50 = 0, 2, 0), "
      "number % 2 = 0 AND trace % 70 = 1, if(trace % 200 = 3, 5000000000, 1000000), 'web', {} FROM numbers({})",
      start, kHour / 2, trace_id, next_id(), 2 * kTraces));
  execute(fmt::format(
      "INSERT INTO fettle.logs_hot (workspace, ts, trace_id, severity_number, body, service_name, ingest_id) SELECT "
      "'acme', fromUnixTimestamp64Nano({} + {} * (number % 2) - {}, 'UTC'), {}, if(number % 2 = 1 AND trace % 110 = 2, "
      "17, 9), concat('line ', toString(number)), 'web', {} FROM numbers({})",
      start, 90 * kMinute, 40 * kMinute, trace_id, next_id(), 2 * kTraces));
  ASSERT_EQ(count("SELECT count() FROM fettle.spans"), 2U * kTraces);
  ASSERT_EQ(count("SELECT count() FROM fettle.logs"), 2U * kTraces);

  const Retention::Outcome first = run();
  EXPECT_EQ(first.boundary, kBoundary);
  int wanted = 0;
  for (int trace = 0; trace < kTraces; ++trace) wanted += has_reason(trace) ? 1 : 0;
  for (const char* table : {"spans", "logs"}) {
    SCOPED_TRACE(table);
    // No trace is split.
    EXPECT_EQ(
        count(fmt::format("SELECT countIf(n != 2) FROM (SELECT count() AS n FROM fettle.{} GROUP BY trace_id)", table)),
        0U);
    const std::uint64_t kept = count(fmt::format("SELECT uniqExact(trace_id) FROM fettle.{}", table));
    EXPECT_EQ(
        count(fmt::format("SELECT uniqExact(trace_id) FROM fettle.{} WHERE trace_id IN (SELECT "
                          "lower(hex(MD5(toString(number)))) FROM numbers({}) WHERE number % 50 = 0 OR number % 70 "
                          "= 1 OR number % 110 = 2 OR number % 200 = 3)",
                          table, kTraces)),
        static_cast<std::uint64_t>(wanted));
    const double share = 100.0 * static_cast<double>(kept - static_cast<std::uint64_t>(wanted)) / (kTraces - wanted);
    EXPECT_NEAR(share, options_.sample_percent, 1.0);
  }
  EXPECT_EQ(count("SELECT count() FROM (SELECT DISTINCT trace_id FROM fettle.spans) AS s FULL JOIN (SELECT DISTINCT "
                  "trace_id FROM fettle.logs) AS l ON s.trace_id = l.trace_id WHERE s.trace_id != l.trace_id"),
            0U);

  // Running it again changes nothing, also when it looks at all of them.
  send(LogRow{.ts = kNoon - kHour});
  const Retention::Outcome again = run();
  EXPECT_EQ(again.promoted + again.rescued, 0U);
}

TEST_F(RetentionTest, LinesWithoutATraceAreKeptBySeverityAndShare) {
  execute(
      fmt::format("INSERT INTO fettle.logs_hot (workspace, ts, severity_number, body, service_name, ingest_id) SELECT "
                  "'acme', fromUnixTimestamp64Nano({} + toInt64(number) * 100000000, 'UTC'), if(number % 40 = 0, 13, "
                  "9), concat('line ', toString(number)), 'web', {} FROM numbers(20000)",
                  kNoon - 50 * kHour, next_id()));
  run();
  EXPECT_EQ(count("SELECT count() FROM fettle.logs WHERE severity_number >= 13"), 500U);
  EXPECT_NEAR(100.0 * static_cast<double>(count("SELECT count() FROM fettle.logs WHERE severity_number < 13")) / 19'500,
              options_.sample_percent, 1.0);
  // Lines that come after their time are treated alike.
  const std::uint64_t kept = count("SELECT count() FROM fettle.logs");
  for (const int severity : {9, 13}) {
    execute(
        fmt::format("INSERT INTO fettle.logs_hot (workspace, ts, severity_number, body, service_name, ingest_id) "
                    "SELECT 'acme', fromUnixTimestamp64Nano({} + toInt64(number), 'UTC'), {}, toString(number), "
                    "'web', {} FROM numbers(1000)",
                    kNoon - 50 * kHour, severity, next_id()));
  }
  const std::uint64_t rescued = run().rescued;
  EXPECT_GT(rescued, 1'100U);
  EXPECT_LT(rescued, 1'200U);
  EXPECT_EQ(count("SELECT count() FROM fettle.logs"), kept + rescued);
  EXPECT_EQ(run().rescued, 0U);
}

TEST_F(RetentionTest, ALateErrorRescuesSpansAndLogs) {
  const std::string by_span = routine_trace(0);
  const std::string by_log = routine_trace(1);
  const std::string neither = routine_trace(2);
  for (const std::string& trace : {by_span, by_log, neither}) send_trace(trace, kNoon - 50 * kHour);
  run();
  for (const std::string& trace : {by_span, by_log, neither}) EXPECT_EQ(spans_of(trace) + logs_of(trace), 0U);
  send(SpanRow{.trace = by_span, .ts = kNoon - kHour, .status = 2});
  send(LogRow{.trace = by_log, .ts = kNoon - kHour, .severity = 17});
  send(LogRow{.trace = neither, .ts = kNoon - kHour, .severity = 13});
  EXPECT_EQ(run().rescued, 6U);
  EXPECT_EQ(spans_of(by_span), 2U);
  EXPECT_EQ(logs_of(by_span), 2U);
  EXPECT_EQ(spans_of(by_log), 1U);
  EXPECT_EQ(logs_of(by_log), 3U);
  EXPECT_EQ(spans_of(neither) + logs_of(neither), 1U);
}

TEST_F(RetentionTest, WhatComesLateToAKeptTraceIsKept) {
  const std::string by_share = routine_trace(0, true);
  const std::string by_error = routine_trace(0);
  send_trace(by_share, kNoon - 50 * kHour);
  send(SpanRow{.trace = by_error, .ts = kNoon - 50 * kHour, .status = 2});
  run();
  for (const std::string& trace : {by_share, by_error}) {
    send(SpanRow{.trace = trace, .ts = kNoon - 49 * kHour});
    send(LogRow{.trace = trace, .ts = kNoon - 49 * kHour});
  }
  EXPECT_EQ(run().rescued, 4U);
  EXPECT_EQ(spans_of(by_share) + logs_of(by_share), 5U);
  EXPECT_EQ(spans_of(by_error) + logs_of(by_error), 3U);
}

TEST_F(RetentionTest, ARunThatWasCutShortIsFinishedByTheNext) {
  for (int i = 0; i < 6; ++i) {
    send(SpanRow{.trace = routine_trace(i), .ts = kNoon - 50 * kHour, .status = 2});
    send(LogRow{.trace = routine_trace(i), .ts = kNoon - 50 * kHour, .copies = 3});
  }
  // A part of the slice is there already, as if a copy had been killed before the boundary moved.
  execute("INSERT INTO fettle.spans_kept SELECT * FROM fettle.spans_hot ORDER BY trace_id LIMIT 2");
  execute("INSERT INTO fettle.logs_kept SELECT * FROM fettle.logs_hot ORDER BY trace_id LIMIT 6");
  EXPECT_EQ(count("SELECT count() FROM fettle.logs"), 18U);
  run();
  EXPECT_EQ(count("SELECT count() FROM fettle.spans"), 6U);
  EXPECT_EQ(count("SELECT uniqExact(span_id) FROM fettle.spans"), 6U);
  EXPECT_EQ(count("SELECT count() FROM fettle.logs"), 18U);
}

// A writer has two segments on their way at once, and the store may take the younger first; how old the rows are and
// when they were received says nothing about when they can be read.
TEST_F(RetentionTest, RowsThatBecomeReadableLateAreRescued) {
  const std::string trace = routine_trace(0, true);
  const auto row = [&](std::uint64_t segment) {
    return SpanRow{.trace = trace, .ts = kNoon - 50 * kHour, .segment = segment, .received_at = kNoon - 50 * kHour};
  };
  send(row(3));
  send(row(4));
  send(row(6));
  send(LogRow{.trace = trace, .ts = kNoon - kHour, .segment = 7});
  run();
  EXPECT_EQ(spans_of(trace), 3U);
  clock_.advance(std::chrono::hours(5));
  send(row(6));
  send(row(8));
  send(LogRow{.trace = trace, .ts = kNoon - 50 * kHour, .segment = 6});
  EXPECT_EQ(run().rescued, 3U);
  EXPECT_EQ(spans_of(trace), 5U);
  EXPECT_EQ(logs_of(trace), 2U);
  // What is known to be whole is not looked at again.
  EXPECT_EQ(
      count(fmt::format("SELECT argMax(value, version) FROM fettle.state WHERE name = 'retention_seen_{}'", kWriter)),
      7U);
}

TEST_F(RetentionTest, BothHalvesOfTheLogsAnswerByTheirWordIndex) {
  for (const UnixNanos ts : {kNoon - 50 * kHour, kNoon})
    send(LogRow{.ts = ts, .severity = 14, .body = "Payment refused"});
  run();
  EXPECT_EQ(count("SELECT count() FROM fettle.logs WHERE hasAllTokens(body, ['refused']) AND level = 'warn'"), 2U);
  auto plan = client_->query("EXPLAIN indexes = 1 SELECT body FROM fettle.logs WHERE hasAllTokens(body, ['refused'])");
  ASSERT_TRUE(plan) << plan.error().message();
  std::string text;
  for (const auto& row : *plan) text += row[0] + "\n";
  const std::size_t first = text.find("body_words");
  ASSERT_NE(first, std::string::npos) << text;
  EXPECT_NE(text.find("body_words", first + 1), std::string::npos) << text;
}

TEST_F(RetentionTest, AHotDayGoesInALaterRunThanTheBoundaryPassedIt) {
  const std::string trace = routine_trace(0, true);
  send_trace(trace, kNoon - 56 * kHour);
  send_trace(routine_trace(0), kNoon - 56 * kHour);
  send_trace(routine_trace(1), kNoon);
  EXPECT_EQ(run().boundary, kBoundary);
  EXPECT_TRUE(is_hot("2026-11-19"));
  clock_.advance(std::chrono::hours(12));
  EXPECT_EQ(run().boundary, kBoundary + 12 * kHour);
  EXPECT_TRUE(is_hot("2026-11-19"));
  clock_.advance(std::chrono::minutes(29));
  run();
  EXPECT_TRUE(is_hot("2026-11-19"));
  EXPECT_EQ(of_spans_.sampled_out + of_logs_.sampled_out, 0U);
  clock_.advance(std::chrono::minutes(1));
  run();
  EXPECT_FALSE(is_hot("2026-11-19"));
  EXPECT_TRUE(is_hot("2026-11-21"));
  EXPECT_EQ(of_spans_.sampled_out, 1U);
  EXPECT_EQ(of_logs_.sampled_out, 2U);
  EXPECT_EQ(spans_of(trace), 1U);
  EXPECT_EQ(logs_of(trace), 2U);
}

TEST_F(RetentionTest, ADayInWhichARowArrivedDuringTheRunIsLeftForTheNext) {
  const std::string trace = routine_trace(0);
  send_trace(trace, kNoon - 60 * kHour);
  run();
  clock_.advance(std::chrono::hours(12));
  run();
  clock_.advance(std::chrono::hours(1));
  retention_->set_before_drop_for_test([&] { send(SpanRow{.trace = trace, .ts = kNoon - 60 * kHour, .status = 2}); });
  run();
  EXPECT_EQ(of_spans_.sampled_out, 0U);
  EXPECT_EQ(count("SELECT count() FROM fettle.spans_hot"), 2U);
  EXPECT_EQ(count("SELECT count() FROM fettle.spans_leaving"), 0U);
  retention_->set_before_drop_for_test({});
  clock_.advance(std::chrono::hours(1));
  run();
  EXPECT_EQ(spans_of(trace), 2U);
  EXPECT_EQ(count("SELECT count() FROM fettle.spans_hot"), 0U);
}

TEST_F(RetentionTest, ARunThatWasCutShortWhileADayWasLeavingLosesNothing) {
  send(SpanRow{.trace = routine_trace(0, true), .ts = kNoon - 60 * kHour});
  send(SpanRow{.trace = routine_trace(0), .ts = kNoon - 60 * kHour});
  execute("ALTER TABLE fettle.spans_hot MOVE PARTITION '2026-11-19' TO TABLE fettle.spans_leaving");
  run();
  EXPECT_EQ(count("SELECT count() FROM fettle.spans_hot"), 2U);
  EXPECT_EQ(count("SELECT count() FROM fettle.spans"), 1U);
  // As when the engine was killed in the middle of the move: one row is in both places, one in the other alone.
  execute("INSERT INTO fettle.spans_leaving SELECT * FROM fettle.spans_hot ORDER BY ingest_id LIMIT 1");
  execute("INSERT INTO fettle.spans_leaving SELECT * REPLACE (ingest_id + 10 AS ingest_id) FROM fettle.spans_leaving");
  run();
  EXPECT_EQ(count("SELECT count() FROM fettle.spans_hot"), 3U);
  EXPECT_EQ(count("SELECT count() FROM fettle.spans_leaving"), 0U);
}

// Every row is stored, sampled out or expired, also those that come when their day had gone already.
TEST_F(RetentionTest, TheBooksClose) {
  options_.days.spans_kept = options_.days.logs_kept = 5;
  start();
  Books sent;  // sampled_out: spans; expired: logs
  const auto send_traces = [&](int first, int status) {
    for (int i = first; i < first + 4; ++i) {
      send(SpanRow{.trace = routine_trace(i), .ts = kNoon - 60 * kHour, .status = status});
      send(SpanRow{.trace = routine_trace(i, true), .ts = kNoon - 60 * kHour});
      send(LogRow{.trace = routine_trace(i), .ts = kNoon - 60 * kHour});
      send(LogRow{.ts = kNoon - 60 * kHour, .severity = 9 + i, .body = std::to_string(i), .copies = 3});
      sent.sampled_out += 2;
      sent.expired += 4;
    }
  };
  const auto closes = [&] {
    return of_spans_.sampled_out + of_spans_.expired + count("SELECT count() FROM fettle.spans") == sent.sampled_out &&
           of_logs_.sampled_out + of_logs_.expired + count("SELECT count() FROM fettle.logs") == sent.expired;
  };
  send_traces(0, 0);
  EXPECT_TRUE(closes());
  run();
  clock_.advance(std::chrono::hours(12));
  run();
  clock_.advance(std::chrono::hours(1));
  run();
  EXPECT_FALSE(is_hot("2026-11-19"));
  EXPECT_TRUE(closes());
  EXPECT_EQ(of_spans_.sampled_out, 4U);
  send_traces(2, 0);
  send_traces(4, 2);  // rescues two of the last
  clock_.advance(std::chrono::hours(1));
  run();
  EXPECT_FALSE(is_hot("2026-11-19"));
  EXPECT_TRUE(closes());
  EXPECT_EQ(of_spans_.sampled_out, 6U);
  EXPECT_EQ(of_spans_.expired + of_logs_.expired, 0U);
  clock_.advance(std::chrono::hours(24 * 4));
  run();
  EXPECT_EQ(count("SELECT count() FROM fettle.spans_kept") + count("SELECT count() FROM fettle.logs_kept"), 0U);
  EXPECT_TRUE(closes());
  EXPECT_EQ(of_spans_.expired, 18U);
}

TEST_F(RetentionTest, ADayExpiresOnlyWhenItIsNoLongerHot) {
  options_.days.spans_kept = options_.days.logs_kept = 2;
  start();
  send(SpanRow{.trace = routine_trace(0, true), .ts = kNoon - 60 * kHour});
  send(SpanRow{.trace = routine_trace(0), .ts = kNoon - 60 * kHour});
  clock_.advance(std::chrono::hours(12));
  run();
  EXPECT_EQ(of_spans_.expired, 0U);
  clock_.advance(std::chrono::hours(1));
  run();
  EXPECT_EQ(of_spans_.sampled_out, 1U);
  EXPECT_EQ(of_spans_.expired, 1U);
}

TEST_F(RetentionTest, DaysPastTheirRetentionGoAndAreCounted) {
  for (const auto& [day, rows] : {std::pair{"2026-10-01", 7}, std::pair{"2026-11-20", 5}}) {
    execute(
        fmt::format("INSERT INTO fettle.logs_kept (workspace, ts, service_name, body) SELECT 'acme', toDateTime64('{} "
                    "00:00:00', 9, 'UTC'), 'web', 'line' FROM numbers({})",
                    day, rows));
  }
  options_.days.logs_kept = 30;
  start();
  run();
  EXPECT_EQ(of_logs_.expired, 7U);
  EXPECT_EQ(of_logs_.sampled_out, 0U);
  EXPECT_EQ(count("SELECT count() FROM fettle.logs_kept"), 5U);
}

}  // namespace
}  // namespace fettle::telemetry
