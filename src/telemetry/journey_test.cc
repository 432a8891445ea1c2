// Journeys through the StoreReader, against the real engine.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <boost/json.hpp>
#include <map>

#include "engine/testing.h"
#include "telemetry/event_block.h"
#include "telemetry/identifier_block.h"
#include "telemetry/log_block.h"
#include "telemetry/migrations.h"
#include "telemetry/native.h"
#include "telemetry/span_block.h"
#include "telemetry/store_reader.h"
#include "telemetry/testing.h"

namespace fettle::telemetry {
namespace {

class JourneyTest : public testing::Test {
 protected:
  // One engine for all; a workspace for each test.
  static void SetUpTestSuite() {
    catalogue_ = new IdentifierCatalogue(shipped_catalogue());
    const Schema schema(*catalogue_, {});
    engine_ = new engine::TestEngine(schema.table_names());
    client_ = Client::connect(engine_->base_url())->release();
    Migrator migrator(*client_, schema);
    ASSERT_TRUE(migrator.run());
    // Times are fixed; nothing may expire by the real clock on the day somebody runs this.
    constexpr std::uint32_t kDecades = 20'000;
    ASSERT_TRUE(migrator.apply_retention({kDecades, kDecades, kDecades, kDecades, kDecades, kDecades, kDecades}));
  }
  static void TearDownTestSuite() {
    delete client_;
    delete engine_;
    delete catalogue_;
  }

  using Ids = std::vector<std::pair<std::string_view, std::string_view>>;

  static std::string trace_bytes(std::uint32_t number) {
    std::string id(16, '\x7e');
    for (std::size_t i = 0; i < 4; ++i) id[15 - i] = static_cast<char>(number >> (8 * i));
    return id;
  }
  static std::string trace_hex(std::uint32_t number) { return fmt::format("7e7e7e7e7e7e7e7e7e7e7e7e{:08x}", number); }

  ResolvedIds ids_of(const Ids& values) const {
    ResolvedIds ids;
    for (const auto& [name, value] : values) ids.set(catalogue_->by_name(name)->kind, value);
    return ids;
  }

  // `trace` 0 is no trace.
  void span(std::uint32_t trace, UnixNanos start, std::string_view name, const Ids& values) {
    traces.arena.push_back(trace_bytes(trace));
    otlp::Span made;
    made.trace_id = traces.arena.back();
    made.span_id = kSpanId;
    made.name = name;
    made.start = start;
    made.end = start + 1'000'000;
    spans.begin(workspace, traces, kNoon);
    spans.append(made, ids_of(values));
    index.append(workspace, ids_of(values), made.trace_id, start, Signal::kSpan);
  }
  void log(std::uint32_t trace, UnixNanos time, std::string_view body, const Ids& values) {
    logs_request.arena.push_back(trace_bytes(trace));
    otlp::LogRecord made;
    if (trace != 0) made.trace_id = logs_request.arena.back();
    made.time = time;
    made.body = text(body);
    logs.begin(workspace, logs_request, kNoon);
    logs.append(made, ids_of(values));
    index.append(workspace, ids_of(values), made.trace_id, time, Signal::kLog);
  }
  void event(std::uint32_t trace, UnixNanos time, std::string_view type, const Ids& values) {
    const std::string id = fmt::format("1.{}", ++event_ids_);
    const std::string hex = trace == 0 ? std::string() : trace_hex(trace);
    events.append(workspace, {.ts = time, .event_id = id, .type = type, .trace_id = hex, .data = R"({"n":1})"},
                  ids_of(values), kNoon);
    index.append(workspace, ids_of(values), trace == 0 ? std::string() : trace_bytes(trace), time, Signal::kEvent);
  }
  void store() {
    std::map<Table, std::vector<TableBlock>> tables;
    const auto sort_in = [&](std::vector<TableBlock> blocks) {
      for (TableBlock& block : blocks) tables[block.table].push_back(std::move(block));
    };
    sort_in(spans.take());
    sort_in(spans.take_derived());
    sort_in(logs.take());
    sort_in(events.take());
    sort_in(index.take());
    for (const auto& [table, blocks] : tables) {
      for (const TableBlock& block : blocks) {
        const NativeFrame frame(block, 1);
        const auto done = client_->insert(table, frame.pieces(), fmt::format("token-{}", ++tokens_));
        ASSERT_TRUE(done) << done.error().message();
      }
    }
  }

  Journey ask(std::string_view value, std::string_view kind = {}, const std::vector<std::string>& clients = {}) {
    Scope scope{.workspace = {workspace}, .clients = {}};
    for (const std::string& one : clients) scope.clients.push_back({one});
    auto journey =
        reader.journey(scope, {.value = std::string(value), .kind = std::string(kind), .time = {}}, page, {});
    EXPECT_TRUE(journey) << journey.error().message();
    return journey ? std::move(*journey) : Journey{};
  }
  // What the items are called: a span's or event's name, a log's body.
  static std::vector<std::string> names_of(const Page& items) {
    std::vector<std::string> names;
    const boost::json::value parsed = boost::json::parse("[" + items.rows + "]");
    for (const boost::json::value& item : parsed.as_array()) {
      names.emplace_back(item.at(item.at("type") == "log" ? "body" : "name").as_string());
    }
    return names;
  }

  static inline IdentifierCatalogue* catalogue_ = nullptr;
  static inline engine::TestEngine* engine_ = nullptr;
  static inline Client* client_ = nullptr;
  static inline int tokens_ = 0;
  int event_ids_ = 0;

  const std::string workspace = testing::UnitTest::GetInstance()->current_test_info()->name();
  ManualClock clock{kNoon};
  StoreReader reader{*client_, *catalogue_, clock};
  SpanBlockBuilder spans{*catalogue_};
  LogBlockBuilder logs{*catalogue_};
  EventBlockBuilder events{*catalogue_};
  IdentifierBlockBuilder index{*catalogue_};
  otlp::Traces traces;
  otlp::Logs logs_request;
  PageRequest page;
};

constexpr UnixNanos kSecond = kNanosPerSecond;
using Names = std::vector<std::string>;

TEST_F(JourneyTest, WhatTheLedgerDidStandsBetweenSpansAndLogs) {
  event(0, kNoon, "run.created", {{"run_id", "run-1"}});
  span(1, kNoon + 1 * kSecond, "work", {{"run_id", "run-1"}});
  event(1, kNoon + 1 * kSecond, "run.started", {{"run_id", "run-1"}, {"client_id", "ours"}});
  log(1, kNoon + 2 * kSecond, "working", {});
  event(0, kNoon + 3 * kSecond, "run.succeeded", {{"run_id", "run-1"}});
  event(0, kNoon + 3 * kSecond, "run.succeeded elsewhere", {{"run_id", "run-2"}});
  store();
  const Journey journey = ask("run-1");
  EXPECT_EQ(names_of(journey.items), (Names{"run.created", "work", "run.started", "working", "run.succeeded"}));
  ASSERT_EQ(journey.kinds.size(), 1U);
  EXPECT_EQ(journey.kinds[0].events, 3U);
  const boost::json::value items = boost::json::parse("[" + journey.items.rows + "]");
  EXPECT_EQ(items.at(2).at("type").as_string(), "event");
  EXPECT_EQ(items.at(2).at("ids").at("client_id").as_string(), "ours");
  EXPECT_EQ(items.at(2).at("data").at("n").as_int64(), 1);

  // A run that nobody traced is known by its events alone.
  EXPECT_EQ(names_of(ask("run-2").items), (Names{"run.succeeded elsewhere"}));
  // Whoever may see another client alone learns nothing of them.
  EXPECT_TRUE(ask("run-1", {}, {"theirs"}).kinds.empty());
  EXPECT_EQ(names_of(ask("run-1", {}, {"ours"}).items), (Names{"run.started"}));

  // A page at a time, nothing twice and nothing lost.
  page.rows_max = 2;
  Names paged;
  do {
    const Journey part = ask("run-1");
    for (std::string& name : names_of(part.items)) paged.push_back(std::move(name));
    page.after = part.items.next;
  } while (page.after);
  EXPECT_EQ(paged, names_of(journey.items));
}

TEST_F(JourneyTest, ATraceWithEventsAloneIsAJourney) {
  event(7, kNoon, "run.started", {{"run_id", "run-7"}});
  store();
  EXPECT_EQ(names_of(ask(trace_hex(7)).items), (Names{"run.started"}));
}

TEST_F(JourneyTest, TellsWholeTracesAndWhatCarriesTheValueOutsideThem) {
  span(1, kNoon, "root without the value", {});
  span(1, kNoon + 1 * kSecond, "with the value", {{"request_id", "r-1"}});
  log(1, kNoon + 1 * kSecond, "same moment, in the trace", {});
  span(2, kNoon + 3 * kSecond, "another trace with it", {{"request_id", "r-1"}});
  span(3, kNoon + 2 * kSecond, "not of this journey", {{"request_id", "r-2"}});
  log(0, kNoon + 4 * kSecond, "no trace, but the value", {{"request_id", "r-1"}});
  log(0, kNoon + 4 * kSecond, "no trace and no value", {});
  store();
  const Journey journey = ask("r-1");
  EXPECT_EQ(names_of(journey.items), (Names{"root without the value", "with the value", "same moment, in the trace",
                                            "another trace with it", "no trace, but the value"}));
  EXPECT_EQ(journey.trace_ids, (Names{trace_hex(2), trace_hex(1)}));
  ASSERT_EQ(journey.kinds.size(), 1U);
  EXPECT_EQ(journey.kinds[0].kind, "request_id");
  EXPECT_EQ(journey.kinds[0].traces, 2U);
  EXPECT_EQ(journey.kinds[0].logs, 1U);
  EXPECT_TRUE(ask("r-9").kinds.empty());
}

TEST_F(JourneyTest, IsTheSameInPagesOfAnySize) {
  for (std::uint32_t i = 1; i <= 6; ++i) {
    span(i, kNoon + i / 3 * kSecond, fmt::format("span {}", i), {{"run_id", "run"}});
    log(i, kNoon + i / 3 * kSecond, fmt::format("log {}", i), {{"run_id", "run"}});
  }
  store();
  const Names whole = names_of(ask("run").items);
  EXPECT_EQ(whole.size(), 12U);
  for (std::uint32_t rows = 1; rows <= 12; ++rows) {
    page = {.rows_max = rows, .after = {}};
    Names together;
    do {
      const Page items = ask("run").items;
      for (std::string& name : names_of(items)) together.push_back(std::move(name));
      page.after = items.next;
    } while (page.after && together.size() <= whole.size());
    EXPECT_EQ(together, whole) << rows;
  }
}

TEST_F(JourneyTest, ReachesEveryRowOfAValueInMoreTracesThanItFollows) {
  constexpr std::uint32_t kTraces = 1'200;
  for (std::uint32_t i = 1; i <= kTraces; ++i) {
    span(i, kNoon + i * kSecond, "carries", {{"job_id", "j"}});
    if (i % 2 == 0) log(i, kNoon + i * kSecond, "carries too", {{"job_id", "j"}});
  }
  store();
  page.rows_max = 1'000;
  const Journey journey = ask("j");
  ASSERT_EQ(journey.kinds.size(), 1U);
  EXPECT_EQ(journey.kinds[0].traces, kTraces);
  EXPECT_EQ(journey.kinds[0].logs, kTraces / 2);
  EXPECT_EQ(journey.trace_ids.size(), kJourneyTracesMax);
  EXPECT_EQ(journey.trace_ids.front(), trace_hex(kTraces));
  page.after = journey.items.next;
  EXPECT_EQ(journey.items.count + ask("j").items.count, kTraces * 3 / 2);
}

TEST_F(JourneyTest, FindsATraceByItsIdInEitherCase) {
  span(0xabcdef, kNoon, "work", {});
  log(0xabcdef, kNoon + kSecond, "told", {});
  log(0xfedcba, kNoon, "a trace of logs alone", {});
  store();
  std::string upper = trace_hex(0xabcdef);
  std::ranges::transform(upper, upper.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  for (const std::string& id : {trace_hex(0xabcdef), upper}) {
    const Journey journey = ask(id);
    EXPECT_EQ(names_of(journey.items), (Names{"work", "told"}));
    ASSERT_EQ(journey.kinds.size(), 1U);
    EXPECT_EQ(journey.kinds[0].kind, "trace_id");
    EXPECT_EQ(journey.kinds[0].logs, 1U);
  }
  EXPECT_EQ(names_of(ask(trace_hex(0xfedcba)).items), (Names{"a trace of logs alone"}));
}

TEST_F(JourneyTest, NamesEveryKindAndFollowsTheOneAskedFor) {
  span(1, kNoon, "as a run", {{"run_id", "x"}});
  span(2, kNoon + kSecond, "as a client", {{"client_id", "x"}});
  store();
  const Journey both = ask("x");
  ASSERT_EQ(both.kinds.size(), 2U);
  EXPECT_EQ(names_of(both.items), (Names{"as a run", "as a client"}));
  EXPECT_EQ(names_of(ask("x", "run_id").items), (Names{"as a run"}));
  EXPECT_EQ(names_of(ask("x", "client_id").items), (Names{"as a client"}));
  EXPECT_TRUE(names_of(ask("x", "job_id").items).empty());
}

TEST_F(JourneyTest, WhoMaySeeSomeClientsLearnsNothingOfOthers) {
  span(1, kNoon, "ours", {{"request_id", "r"}, {"client_id", "ours"}});
  span(2, kNoon + 9 * kSecond, "theirs", {{"request_id", "r"}, {"client_id", "theirs"}});
  log(2, kNoon + 9 * kSecond, "their log", {{"request_id", "r"}, {"client_id", "theirs"}});
  span(3, kNoon, "only theirs", {{"request_id", "s"}, {"client_id", "theirs"}});
  store();
  const Journey journey = ask("r", {}, {"ours"});
  EXPECT_EQ(names_of(journey.items), (Names{"ours"}));
  EXPECT_EQ(journey.trace_ids, (Names{trace_hex(1)}));
  ASSERT_EQ(journey.kinds.size(), 1U);
  EXPECT_EQ(journey.kinds[0].traces, 1U);
  EXPECT_EQ(journey.kinds[0].logs, 0U);
  EXPECT_EQ(journey.kinds[0].last, kNoon);
  const Journey none = ask("s", {}, {"ours"});
  EXPECT_TRUE(none.kinds.empty());
  EXPECT_TRUE(none.trace_ids.empty());
  EXPECT_TRUE(ask(trace_hex(3), {}, {"ours"}).kinds.empty());
}

}  // namespace
}  // namespace fettle::telemetry
