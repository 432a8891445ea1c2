// Schema, migrations, client and block builders against the real engine.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "engine/testing.h"
#include "telemetry/client.h"
#include "telemetry/event_block.h"
#include "telemetry/identifier_block.h"
#include "telemetry/llm_call_block.h"
#include "telemetry/log_block.h"
#include "telemetry/metric_blocks.h"
#include "telemetry/migrations.h"
#include "telemetry/native.h"
#include "telemetry/schema.h"
#include "telemetry/span_block.h"
#include "telemetry/testing.h"

namespace fettle::telemetry {
namespace {

// One engine for all tests of this file: each starts with empty tables.
class StoreTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    catalogue_ = new IdentifierCatalogue(shipped_catalogue());
    schema_ = new Schema(*catalogue_, {});
    engine_ = new engine::TestEngine(schema_->table_names());
    client_ = Client::connect(engine_->base_url())->release();
    Migrator migrator(*client_, *schema_);
    must(migrator.run());
    must(migrator.apply_retention(for_decades()));
  }
  // The rows of these tests have fixed times, which must not have expired on the day somebody runs them.
  static RetentionDays for_decades() {
    constexpr std::uint32_t kDays = 20'000;
    return {.spans_hot = kDays,
            .spans_kept = kDays,
            .logs_hot = kDays,
            .logs_kept = kDays,
            .metrics = kDays,
            .rollups = kDays,
            .llm_calls = kDays,
            .events = kDays};
  }
  static void TearDownTestSuite() {
    delete client_;
    delete engine_;
    delete schema_;
    delete catalogue_;
  }
  void SetUp() override {
    if (HasFatalFailure()) return;
    for (const std::string& name : schema_->table_names()) {
      if (name == "migrations" || name == "spans" || name == "logs" || name == "metrics") continue;
      must(client_->execute("TRUNCATE TABLE fettle." + name));
    }
  }

  static void must(const Result<void>& done) { ASSERT_TRUE(done) << done.error().message(); }

  static TextRows ask(std::string_view sql, std::string workspace = "*", NameValues settings = {}) {
    StatementOptions options;
    options.workspace = std::move(workspace);
    options.settings = std::move(settings);
    auto rows = client_->query(sql, options);
    EXPECT_TRUE(rows) << sql << ": " << rows.error().message();
    return rows ? *rows : TextRows{};
  }
  static std::string one(std::string_view sql, std::string workspace = "*", NameValues settings = {}) {
    const TextRows rows = ask(sql, std::move(workspace), std::move(settings));
    return rows.size() == 1 && rows[0].size() == 1 ? rows[0][0] : fmt::format("{} rows", rows.size());
  }

  // All blocks, one INSERT a table.
  static void send(const std::vector<TableBlock>& blocks, std::uint64_t ingest_id = 7) {
    std::map<Table, std::vector<NativeFrame>> frames;
    for (const TableBlock& block : blocks) frames[block.table].emplace_back(block, ingest_id);
    for (const auto& [table, parts] : frames) {
      std::vector<std::string_view> pieces;
      for (const NativeFrame& frame : parts) {
        for (const std::string_view piece : frame.pieces()) pieces.push_back(piece);
      }
      must(client_->insert(table, pieces, fmt::format("t-{}-{}", static_cast<int>(table), ++tokens_)));
    }
  }

  static ResolvedIds ids_of(const std::vector<std::pair<std::string_view, std::string_view>>& values) {
    ResolvedIds ids;
    for (const auto& [name, value] : values) ids.set(catalogue_->by_name(name)->kind, value);
    return ids;
  }

  static void store_span(const otlp::Traces& request, const otlp::Span& span, const ResolvedIds& ids = {},
                         std::string_view workspace = "acme") {
    SpanBlockBuilder builder(*catalogue_);
    builder.begin(workspace, request, kNoon);
    builder.append(span, ids);
    send(builder.take());
    send(builder.take_derived());
  }

  static inline IdentifierCatalogue* catalogue_ = nullptr;
  static inline Schema* schema_ = nullptr;
  static inline engine::TestEngine* engine_ = nullptr;
  static inline Client* client_ = nullptr;
  static inline int tokens_ = 0;
};

const NameValues kFlatKeys = {{"json_type_escape_dots_in_keys", "1"}, {"output_format_json_quote_denormals", "1"}};

TEST_F(StoreTest, EveryKindOfAttributeValueComesBackAsItWasSent) {
  otlp::Traces request;
  constexpr std::int64_t kMin = std::numeric_limits<std::int64_t>::min();
  const otlp::Value mixed = array(request, {text("a"), integer(1), boolean(true)});
  const otlp::Value nested = array(request, {array(request, {integer(1)})});
  const otlp::Value strings = array(request, {text("x"), otlp::Value{}, text("")});
  const otlp::Value integers = array(request, {integer(1), integer(-2)});
  const otlp::Value doubles = array(request, {number(0.5)});
  const otlp::Value booleans = array(request, {boolean(true), boolean(false)});
  const otlp::Value no_items = array(request, {});
  const otlp::Value deep = map(request, {{"c", integer(3)}, {"d", map(request, {{"e", text("f")}})}});
  const otlp::Value no_entries = map(request, {});
  const otlp::Span span = make_span(request, {{"text", text("grüße \"q\" \n 😀")},
                                              {"empty", text("")},
                                              {"int", integer(42)},
                                              {"int.min", integer(kMin)},
                                              {"date", text("2024-01-01")},
                                              {"digits", text("17")},
                                              {"double", number(1.5)},
                                              {"nan", number(std::nan(""))},
                                              {"inf", number(std::numeric_limits<double>::infinity())},
                                              {"yes", boolean(true)},
                                              {"raw", bytes(std::string_view("\0\x01\xff", 3))},
                                              {"strings", strings},
                                              {"integers", integers},
                                              {"doubles", doubles},
                                              {"booleans", booleans},
                                              {"no_items", no_items},
                                              {"mixed", mixed},
                                              {"nested", nested},
                                              {"deep", deep},
                                              {"no_entries", no_entries},
                                              {"none", otlp::Value{}},
                                              {"http", text("leaf")},
                                              {"http.method", text("GET")},
                                              {"a..b", integer(1)},
                                              {".", integer(2)},
                                              {"", integer(3)},
                                              {"with space/and`tick", integer(4)},
                                              {"literal%2Edot", integer(5)}});
  store_span(request, span);
  const TextRows rows =
      ask("SELECT key, type FROM (SELECT JSONAllPathsWithTypes(attrs) AS types FROM fettle.spans_hot) "
          "ARRAY JOIN mapKeys(types) AS key, mapValues(types) AS type ORDER BY key");
  std::map<std::string, std::string> types;
  for (const auto& row : rows) types[row.at(0)] = row.at(1);
  const std::map<std::string, std::string> expected = {
      {"text", "String"},
      {"empty", "String"},
      {"int", "Int64"},
      {"int%2Emin", "Int64"},
      {"date", "String"},
      {"digits", "String"},
      {"double", "Float64"},
      {"nan", "Float64"},
      {"inf", "Float64"},
      {"yes", "Bool"},
      {"raw", "Array(UInt8)"},
      {"strings", "Array(Nullable(String))"},
      {"integers", "Array(Nullable(Int64))"},
      {"doubles", "Array(Nullable(Float64))"},
      {"booleans", "Array(Nullable(Bool))"},
      {"no_items", "Array(Nullable(String))"},
      {"mixed", "Tuple(\n    json String)"},
      {"nested", "Tuple(\n    json String)"},
      {"no_entries", "Tuple(\n    json String)"},
      {"none", "Tuple(\n    json String)"},
      {"deep%2Ec", "Int64"},
      {"deep%2Ed%2Ee", "String"},
      {"http", "String"},
      {"http%2Emethod", "String"},
      {"a%2E%2Eb", "Int64"},
      {"%2E", "Int64"},
      {"", "Int64"},
      {"with space/and`tick", "Int64"},
      {"literal%252Edot", "Int64"},
  };
  for (auto& [key, type] : types) {
    if (type.starts_with("Tuple(")) type = "Tuple(\n    json String)";  // printed over one line or several
  }
  EXPECT_EQ(types, expected);
  // Printed with its dots back, the object is flat: http and http.method side by side.
  const std::string json = one("SELECT toJSONString(attrs) FROM fettle.spans_hot", "*", kFlatKeys);
  for (const std::string_view part :
       {R"("http":"leaf")", R"("http.method":"GET")", R"("date":"2024-01-01")", R"("int.min":-9223372036854775808)",
        R"("strings":["x",null,""])", R"("deep.d.e":"f")", R"("raw":[0,1,255])", R"("empty":"")",
        R"("mixed":{"json":"[\"a\",1,true]"})"}) {
    EXPECT_NE(json.find(part), std::string::npos) << part << " in " << json;
  }
  EXPECT_EQ(one("SELECT attrs.text::String FROM fettle.spans_hot"), "grüße \"q\" \n 😀");
  EXPECT_EQ(one("SELECT isNaN(attrs.nan::Float64) AND isInfinite(attrs.inf::Float64) FROM fettle.spans_hot"), "1");
  EXPECT_EQ(one("SELECT attrs.`http%2Emethod`::String FROM fettle.spans_hot"), "GET");
}

TEST_F(StoreTest, AnAttributeThatComesTwiceKeepsItsLastValue) {
  otlp::Traces request;
  const otlp::Value list = array(request, {text("x"), text("y")});
  const otlp::Span span = make_span(request, {{"k", text("first")},
                                              {"l", list},
                                              {"m", integer(1)},
                                              {"k", integer(2)},
                                              {"l", text("last")},
                                              {"m", integer(3)}});
  store_span(request, span);
  EXPECT_EQ(one("SELECT toJSONString(attrs) FROM fettle.spans_hot"), R"({"k":2,"l":"last","m":3})");
}

TEST_F(StoreTest, MorePathsThanTheColumnHasRoomForAreAllKept) {
  otlp::Traces request;
  Attributes attributes;
  for (int i = 0; i < 400; ++i) attributes.push_back({request.keep(fmt::format("key.{}", i)), integer(i)});
  store_span(request, make_span(request, attributes));
  EXPECT_EQ(one("SELECT length(JSONAllPaths(attrs)) FROM fettle.spans_hot"), "400");
  EXPECT_EQ(one("SELECT attrs.`key%2E399`::Int64 FROM fettle.spans_hot"), "399");
}

TEST_F(StoreTest, PromotedAttributesAreColumnsAndNothingElse) {
  otlp::Traces request;
  const otlp::Span span = make_span(request, {{"client_id", text("acme")},
                                              {"runId", text("run-1")},
                                              {"lane", integer(5)},
                                              {"platform", text("from the span")}});
  store_span(request, span,
             ids_of({{"client_id", "acme"}, {"run_id", "run-1"}, {"lane", "5"}, {"platform", "from elsewhere"}}));
  // Only what is the same text under the same name is left out of attrs, and the mask says so.
  EXPECT_EQ(one("SELECT toJSONString(attrs) FROM fettle.spans_hot"),
            R"({"lane":5,"platform":"from the span","runId":"run-1"})");
  const TextRows rows = ask("SELECT client_id, run_id, lane, platform, job_id, promoted FROM fettle.spans_hot");
  const auto mask = std::uint64_t{1} << catalogue_->by_name("client_id")->kind;
  EXPECT_EQ(rows.at(0), (std::vector<std::string>{"acme", "run-1", "5", "from elsewhere", "", std::to_string(mask)}));
}

TEST_F(StoreTest, SpansKeepEverythingTheProtocolHas) {
  otlp::Traces request;
  otlp::Resource resource;
  resource.attributes = add(request, {{"service.name", text("web")}, {"process.pid", integer(7)}});
  resource.schema_url = "https://example.com/resource";
  resource.dropped_attributes_count = 2;
  request.resources.push_back(resource);
  otlp::Scope scope;
  scope.name = "lib";
  scope.version = "1.2";
  scope.attributes = add(request, {{"short", boolean(true)}});
  request.scopes.push_back(scope);
  otlp::Span span = make_span(request, {});
  span.parent_span_id = kSpanId;
  span.kind = 99;
  span.status_code = 2;
  span.status_message = "boom";
  span.trace_state = "a=b";
  span.flags = 0x301;
  span.dropped_attributes_count = 1;
  span.dropped_events_count = 2;
  span.dropped_links_count = 3;
  otlp::Event event;
  event.time = kNoon + 5;
  event.name = "escalation";
  event.attributes = add(request, {{"reason", text("quota \"x\"")}});
  request.events.push_back(event);
  span.events = {0, 1};
  otlp::Link link;
  link.trace_id = kTraceId;
  link.span_id = kSpanId;
  link.trace_state = "c=d";
  link.flags = 1;
  request.links.push_back(link);
  span.links = {0, 1};
  store_span(request, span);
  const TextRows rows = ask(
      "SELECT toUnixTimestamp64Nano(ts), trace_id, span_id, parent_span_id, name, kind, status, status_message, "
      "duration_ms, service_name, resource, scope_name, scope_version, envelope, events, links, trace_state, flags, "
      "dropped_attributes_count, dropped_events_count, dropped_links_count, keep, toUnixTimestamp(received_at), "
      "ingest_id FROM fettle.spans");
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0],
            (std::vector<std::string>{
                std::to_string(kNoon),
                std::string(kTraceHex),
                "b7ad6b7169203331",
                "b7ad6b7169203331",
                "work",
                "99",
                "error",
                "boom",
                "1.5",
                "web",
                R"({"service.name":"web","process.pid":7})",
                "lib",
                "1.2",
                R"({"resource_schema_url":"https://example.com/resource","resource_dropped_attributes_count":2,)"
                R"("scope_attributes":{"short":true}})",
                fmt::format(R"([{{"ts":"{}","name":"escalation","attrs":{{"reason":"quota \"x\""}}}}])",
                            format_rfc3339(kNoon + 5)),
                fmt::format(
                    R"([{{"trace_id":"{}","span_id":"b7ad6b7169203331","trace_state":"c=d","attrs":{{}},"flags":1}}])",
                    kTraceHex),
                "a=b",
                "769",
                "1",
                "2",
                "3",
                "1",
                std::to_string(kNoon / kNanosPerSecond),
                "7"}));
}

TEST_F(StoreTest, BlocksWithDifferentColumnsTravelInOneInsert) {
  SpanBlockBuilder builder(*catalogue_);
  std::vector<TableBlock> blocks;
  for (int i = 0; i < 20; ++i) {
    otlp::Traces request;
    const otlp::Span span = make_span(request, {{request.keep(fmt::format("only.{}", i)), integer(i)}}, kNoon + i);
    builder.begin("acme", request, kNoon);
    builder.append(span, i % 2 == 0 ? ids_of({{"client_id", "even"}}) : ids_of({{"job_id", "odd"}}));
    for (TableBlock& block : builder.take()) blocks.push_back(std::move(block));
  }
  send(blocks);
  EXPECT_EQ(one("SELECT count() FROM fettle.spans"), "20");
  EXPECT_EQ(one("SELECT countIf(client_id = 'even') * 100 + countIf(job_id = 'odd') FROM fettle.spans"), "1010");
  EXPECT_EQ(one("SELECT sum(length(JSONAllPaths(attrs))) FROM fettle.spans"), "20");
}

TEST_F(StoreTest, TheSameTokenLandsOnceAndEqualBlocksWithOthersLandTwice) {
  SpanBlockBuilder builder(*catalogue_);
  otlp::Traces request;
  builder.begin("acme", request, kNoon);
  builder.append(make_span(request, {}), {});
  const std::vector<TableBlock> blocks = builder.take();
  const NativeFrame frame(blocks[0], 0xabc);
  for (const std::string_view token : {"same", "same", "other"})
    must(client_->insert(Table::kSpans, frame.pieces(), token));
  EXPECT_EQ(one("SELECT count() FROM fettle.spans_hot"), "2");
  EXPECT_TRUE(*client_->has_ingest_id(Table::kSpans, blocks[0].day, 0xabc));
  EXPECT_FALSE(*client_->has_ingest_id(Table::kSpans, blocks[0].day, 0xabd));
  EXPECT_FALSE(*client_->has_ingest_id(Table::kSpans, blocks[0].day + 1, 0xabc));
}

TEST_F(StoreTest, ATornBlockIsRefusedForGood) {
  SpanBlockBuilder builder(*catalogue_);
  otlp::Traces request;
  builder.begin("acme", request, kNoon);
  builder.append(make_span(request, {}), {});
  std::vector<TableBlock> blocks = builder.take();
  blocks[0].bytes.resize(blocks[0].bytes.size() / 2);
  const NativeFrame frame(blocks[0], 1);
  const auto done = client_->insert(Table::kSpans, frame.pieces(), "torn");
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code(), ErrorCode::kInvalidArgument) << done.error().message();
  EXPECT_NE(engine_code_of(done.error()), 0);
}

TEST_F(StoreTest, LogsKeepBodiesOfEveryKindAndForeignTraceIds) {
  otlp::Logs request;
  const auto record = [&](const otlp::Value& body) {
    otlp::LogRecord out;
    out.time = kNoon;
    out.body = body;
    out.severity_number = 17;
    out.severity_text = "ERR";
    return out;
  };
  std::vector<otlp::LogRecord> records = {record(text("Payment REFUSED for order 77")),
                                          record(map(request, {{"a", integer(1)}})), record(otlp::Value{}),
                                          record(number(2))};
  records[0].trace_id = kTraceId;
  records[0].span_id = kSpanId;
  records[0].event_name = "payment.refused";
  records[1].foreign_trace_id = "abc-123";
  records[2].time = 0;
  records[2].observed_time = kNoon + 1;
  records[3].time = 0;
  LogBlockBuilder builder(*catalogue_);
  builder.begin("acme", request, kNoon + 2);
  for (const otlp::LogRecord& each : records) builder.append(each, {});
  send(builder.take());
  const TextRows rows =
      ask("SELECT body, body_type, trace_id, level, toUnixTimestamp64Nano(ts) - 1795262400000000000 FROM fettle.logs "
          "ORDER BY body");
  ASSERT_EQ(rows.size(), 4u);
  EXPECT_EQ(rows[0], (std::vector<std::string>{"", "0", "", "error", "1"}));
  EXPECT_EQ(rows[1], (std::vector<std::string>{"2.0", "4", "", "error", "2"}));
  EXPECT_EQ(rows[2][0], "Payment REFUSED for order 77");
  EXPECT_EQ(rows[2][2], kTraceHex);
  EXPECT_EQ(rows[3], (std::vector<std::string>{R"({"a":1})", "7", "abc-123", "error", "0"}));
  EXPECT_EQ(one("SELECT count() FROM fettle.logs WHERE hasToken(lower(body), 'refused')"), "1");
}

TEST_F(StoreTest, IdentifiersAreFoundByTheHashOfTheirValue) {
  IdentifierBlockBuilder builder(*catalogue_);
  const ResolvedIds ids = ids_of({{"request_id", "r-1"}, {"client_id", "acme"}, {"trace_id", "abc-123"}});
  builder.append("w", ids, kTraceId, kNoon, Signal::kSpan);
  send(builder.take());
  builder.append("w", ids, kTraceId, kNoon + 9 * kNanosPerSecond, Signal::kLog);
  send(builder.take());
  const std::string look_up =
      "SELECT kind, lower(hex(trace)), toUnixTimestamp(min(first_ts)), toUnixTimestamp(max(last_ts)), "
      "groupBitOr(signals) FROM fettle.identifiers WHERE value_hash = sipHash64('{}') GROUP BY kind, trace";
  const std::string noon = std::to_string(kNoon / kNanosPerSecond);
  const std::string later = std::to_string(kNoon / kNanosPerSecond + 9);
  EXPECT_EQ(ask(fmt::format(fmt::runtime(look_up), "r-1")),
            (TextRows{{"request_id", std::string(kTraceHex), noon, later, "3"}}));
  EXPECT_EQ(ask(fmt::format(fmt::runtime(look_up), "acme")),
            (TextRows{{"client_id", std::string(32, '0'), noon, later, "3"}}));
  EXPECT_EQ(ask(fmt::format(fmt::runtime(look_up), "abc-123")).size(), 1u);
  for (const std::string_view value : {"", "1234567", "12345678", "a longer value than sixteen bytes", "é"}) {
    EXPECT_EQ(one(fmt::format("SELECT sipHash64('{}')", value)), std::to_string(identifier_hash(value))) << value;
  }
}

TEST_F(StoreTest, TracesAndTheRollUpAddUpOverBatches) {
  SpanBlockBuilder builder(*catalogue_);
  for (int batch = 0; batch < 3; ++batch) {
    otlp::Traces request;
    otlp::Resource resource;
    resource.attributes = add(request, {{"service.name", text("web")}});
    request.resources.push_back(resource);
    builder.begin("acme", request, kNoon);
    for (int i = 0; i < 4; ++i) {
      otlp::Span span = make_span(request, {}, kNoon + batch * kNanosPerSecond + i);
      if (batch != 0 || i != 0) span.parent_span_id = kSpanId;
      span.name = batch == 0 && i == 0 ? "root" : "work";
      span.status_code = i == 3 ? 2 : 0;
      builder.append(span, ids_of({{"client_id", "acme"}, {"workflow", "publish"}}));
    }
    builder.take();
    send(builder.take_derived());
  }
  EXPECT_EQ(ask("SELECT trace_id, sum(spans), sum(errors), max(root_name), max(root_service), max(client_id), "
                "max(workflow), dateDiff('millisecond', min(first_ts), max(last_ts)) FROM fettle.traces GROUP BY "
                "trace_id"),
            (TextRows{{std::string(kTraceHex), "12", "3", "root", "web", "acme", "publish", "2002"}}));
  EXPECT_EQ(ask("SELECT ts, name, status_code, client_id, sum(count), sum(duration_us), any(bucket) FROM "
                "fettle.span_rollup GROUP BY ts, name, status_code, client_id ORDER BY name, status_code"),
            (TextRows{{"2026-11-21 12:00:00", "root", "0", "acme", "1", "1500", "21"},
                      {"2026-11-21 12:00:00", "work", "0", "acme", "8", "12000", "21"},
                      {"2026-11-21 12:00:00", "work", "2", "acme", "3", "4500", "21"}}));
}

TEST_F(StoreTest, LlmCallsKeepTokensAndWhetherAPriceIsKnown) {
  LlmCallBlockBuilder builder(*catalogue_);
  LlmCall call;
  call.ts = kNoon;
  call.duration = 2'000'000;
  call.trace_id = kTraceId;
  call.span_id = kSpanId;
  call.provider = "anthropic";
  call.model = "m-1";
  call.tokens_fresh = 10;
  call.tokens_reasoning = 3;
  call.cost_nano_usd = 0;
  call.key_owner = "agency";
  builder.append("acme", call, ids_of({{"client_id", "c"}, {"model", "asked-for"}}), kNoon);
  call.model = "unheard-of";
  call.cost_nano_usd.reset();
  builder.append("acme", call, {}, kNoon);
  send(builder.take());
  EXPECT_EQ(ask("SELECT client_id, model, provider, tokens_fresh, tokens_reasoning, cost_usd, duration_ms, key_owner "
                "FROM fettle.llm_calls ORDER BY model"),
            (TextRows{{"c", "m-1", "anthropic", "10", "3", "0", "2", "agency"},
                      {"", "unheard-of", "anthropic", "10", "3", "\\N", "2", "agency"}}));
}

TEST_F(StoreTest, DomainEventsKeepTheirIdentifiersAndTheirData) {
  EventBlockBuilder builder(*catalogue_);
  builder.append(
      "acme",
      {.ts = kNoon, .event_id = "4.7.0", .type = "run.dead_lettered", .trace_id = "abc-123", .data = R"({"n":1})"},
      ids_of({{"client_id", "c"}, {"run_id", "run_1"}}), kNoon);
  builder.append("acme", {.ts = kNoon + kNanosPerDay, .event_id = "4.7.1", .type = "run.enqueued"}, {}, kNoon);
  builder.append("other", {.ts = kNoon, .event_id = "4.8.0", .type = "run.enqueued"}, {}, kNoon);
  send(builder.take(), 8);
  EXPECT_EQ(ask("SELECT event_id, type, trace_id, client_id, run_id, data, ingest_id FROM fettle.events ORDER BY "
                "event_id",
                "acme"),
            (TextRows{{"4.7.0", "run.dead_lettered", "abc-123", "c", "run_1", R"({"n":1})", "8"},
                      {"4.7.1", "run.enqueued", "", "", "", "", "8"}}));
}

TEST_F(StoreTest, MetricPointsOfEveryKindComeBack) {
  otlp::Metrics request;
  otlp::Resource resource;
  resource.attributes = add(request, {{"service.name", text("web")}});
  request.resources.push_back(resource);
  for (const otlp::MetricType type : {otlp::MetricType::kSum, otlp::MetricType::kHistogram,
                                      otlp::MetricType::kExponentialHistogram, otlp::MetricType::kSummary}) {
    otlp::Metric metric;
    metric.name = "m" + std::to_string(static_cast<int>(type));
    metric.name = request.keep(std::string(metric.name));
    metric.type = type;
    metric.unit = "s";
    metric.temporality = otlp::Temporality::kCumulative;
    metric.is_monotonic = true;
    request.metrics.push_back(metric);
  }
  request.metrics[0].name = "m2";
  request.metrics[1].name = "m3";
  request.metrics[2].name = "m4";
  request.metrics[3].name = "m5";
  const otlp::Range labels = add(request, {{"b", integer(1)}, {"a", text("x")}, {"b", integer(2)}});
  MetricBlocksBuilder builder;
  builder.begin("acme", request, kNoon);
  otlp::NumberPoint point;
  point.metric = 0;
  point.attributes = labels;
  point.time = kNoon + 123'456'789;
  point.start = kNoon;
  point.is_int = true;
  point.integer = (std::int64_t{1} << 53) + 1;
  otlp::Exemplar exemplar;
  exemplar.time = kNoon;
  exemplar.value = 9.5;
  exemplar.trace_id = kTraceId;
  request.exemplars.push_back(exemplar);
  point.exemplars = {0, 1};
  builder.append(point);
  point.exemplars = {};
  point.is_int = false;
  point.number = 0.25;
  point.flags = otlp::kFlagNoRecordedValue;
  point.attributes = {};
  builder.append(point);
  request.doubles = {1, 2.5, 0.5, 10, 0.99, 20};
  request.integers = {3, 4, 5, 6, 7, 8};
  otlp::HistogramPoint histogram;
  histogram.metric = 1;
  histogram.time = kNoon;
  histogram.count = 12;
  histogram.has_sum = true;
  histogram.sum = 30;
  histogram.bounds = {0, 2};
  histogram.bucket_counts = {0, 3};
  builder.append(histogram);
  otlp::ExponentialHistogramPoint exponential;
  exponential.metric = 2;
  exponential.time = kNoon;
  exponential.count = 21;
  exponential.scale = -2;
  exponential.positive_offset = -5;
  exponential.positive_counts = {3, 2};
  exponential.negative_counts = {5, 1};
  exponential.has_min = true;
  exponential.min = -1;
  builder.append(exponential);
  otlp::SummaryPoint summary;
  summary.metric = 3;
  summary.time = kNoon;
  summary.count = 2;
  summary.sum = 30;
  summary.quantiles = {2, 4};
  builder.append(summary);
  send(builder.take());

  EXPECT_EQ(ask("SELECT toUnixTimestamp64Milli(ts) - 1795262400000, value, is_int, int_value, flags FROM "
                "fettle.number_points ORDER BY value"),
            (TextRows{{"123", "0.25", "0", "0", "1"}, {"123", "9007199254740992", "1", "9007199254740993", "0"}}));
  EXPECT_EQ(ask("SELECT name, labels, service_name, unit, value FROM fettle.metrics ORDER BY value"),
            (TextRows{{"m2", "{}", "web", "s", "0.25"}, {"m2", "{'a':'x','b':'2'}", "web", "s", "9007199254740992"}}));
  EXPECT_EQ(ask("SELECT name, count, has, sum, min, bounds, bucket_counts, scale, positive_offset, positive_counts, "
                "negative_counts, quantiles, quantile_values FROM fettle.histogram_points ORDER BY name"),
            (TextRows{{"m3", "12", "1", "30", "0", "[1,2.5]", "[3,4,5]", "0", "0", "[]", "[]", "[]", "[]"},
                      {"m4", "21", "2", "0", "-1", "[]", "[]", "-2", "-5", "[6,7]", "[8]", "[]", "[]"},
                      {"m5", "2", "1", "30", "0", "[]", "[]", "0", "0", "[]", "[]", "[0.5,0.99]", "[10,20]"}}));
  EXPECT_EQ(ask("SELECT value, trace_id FROM fettle.exemplars"), (TextRows{{"9.5", std::string(kTraceHex)}}));
}

TEST_F(StoreTest, SpansReadsWhatWasKeptBeforeTheBoundaryAndEverythingAfter) {
  otlp::Traces request;
  store_span(request, make_span(request, {}, kNoon - 100));
  store_span(request, make_span(request, {}, kNoon + 100));
  must(client_->execute(
      "INSERT INTO fettle.spans_kept SELECT * FROM fettle.spans_hot WHERE ts < '2026-11-21 12:00:00'"));
  const auto times = [&](std::string workspace) {
    return one("SELECT arraySort(groupArray(toUnixTimestamp64Nano(ts) - 1795262400000000000)) FROM fettle.spans",
               std::move(workspace));
  };
  EXPECT_EQ(times("*"), "[-100,100]");
  must(client_->execute(
      fmt::format("INSERT INTO fettle.state (name, value, version) VALUES ('retention_boundary', {}, 1)", kNoon)));
  EXPECT_EQ(times("*"), "[-100,100]");
  must(client_->execute("TRUNCATE TABLE fettle.spans_kept"));
  EXPECT_EQ(times("*"), "[100]");
  // A reader confined to a workspace is told the same boundary.
  EXPECT_EQ(times("acme"), "[100]");
  must(client_->execute(fmt::format(
      "INSERT INTO fettle.state (name, value, version) VALUES ('retention_boundary', {}, 2)", kNoon + 200)));
  EXPECT_EQ(times("acme"), "[]");
}

TEST_F(StoreTest, FiltersReachTheKeyThroughTheView) {
  otlp::Traces request;
  store_span(request, make_span(request, {}));
  std::string plan;
  for (const auto& row : ask(fmt::format("EXPLAIN indexes = 1 SELECT name FROM fettle.spans WHERE workspace = 'acme' "
                                         "AND ts >= '2026-11-21 11:59:00' AND ts < '2026-11-21 12:01:00' AND "
                                         "trace_id = '{}'",
                                         kTraceHex))) {
    plan += row.at(0) + "\n";
  }
  EXPECT_NE(plan.find("toStartOfMinute(ts)"), std::string::npos) << plan;
  EXPECT_NE(plan.find("trace_id"), std::string::npos) << plan;
}

TEST_F(StoreTest, NoTableShowsARowToAnotherWorkspaceOrToNone) {
  const std::vector<std::string> names = schema_->table_names();
  for (const std::string& name : names) {
    if (name == "state" || name == "spans" || name == "logs" || name == "metrics" || name == "migrations") continue;
    const bool has_day = name == "identifiers" || name == "traces" || name == "series";
    must(client_->execute(fmt::format("INSERT INTO fettle.{} (workspace, {}) VALUES ('acme', {})", name,
                                      has_day ? "day" : "ts", has_day ? "today()" : "now()")));
  }
  // The views read through the tables' own filters; points need their series.
  for (const std::string& name : names) {
    if (name == "state") continue;
    const std::string count = fmt::format("SELECT count() FROM fettle.{}", name);
    EXPECT_NE(one(count, "*"), "0") << name;
    EXPECT_EQ(one(count, ""), "0") << name;
    EXPECT_EQ(one(count, "other"), "0") << name;
    EXPECT_EQ(one(count, "acme"), name == "migrations" ? "0" : "1") << name;
  }
}

TEST_F(StoreTest, ATableWithoutARowFilterStopsTheStart) {
  Migrator migrator(*client_, *schema_);
  must(migrator.check_filters());
  must(client_->execute("CREATE TABLE fettle.stray (workspace String) ENGINE = MergeTree ORDER BY workspace"));
  const auto checked = migrator.check_filters();
  must(client_->execute("DROP TABLE fettle.stray"));
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().code(), ErrorCode::kPermissionDenied);
  EXPECT_NE(checked.error().message().find("stray"), std::string::npos);
}

TEST_F(StoreTest, RetentionIsSetOncePerChange) {
  Migrator migrator(*client_, *schema_);
  int statements = 0;
  migrator.set_fault_for_test([&](std::string_view where) -> Result<void> {
    statements += where.starts_with("before");
    return {};
  });
  RetentionDays days = for_decades();
  days.logs_kept = 10'012;
  must(migrator.apply_retention(days));
  EXPECT_GT(statements, 0);
  EXPECT_NE(one("SELECT create_table_query FROM system.tables WHERE database = 'fettle' AND name = 'logs_kept'")
                .find("toIntervalDay(10012)"),
            std::string::npos);
  statements = 0;
  must(migrator.apply_retention(days));
  EXPECT_EQ(statements, 0);
  days.logs_kept = 10'013;
  must(migrator.apply_retention(days));
  EXPECT_EQ(statements, 1);
  days.logs_kept = 10'012;
  must(migrator.apply_retention(days));
  EXPECT_EQ(statements, 2);
}

TEST_F(StoreTest, ErrorsOfTheEngineKeepTheirNumber) {
  const auto done = client_->execute("SELECT * FROM fettle.nowhere");
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(engine_code_of(done.error()), 60);
}

TEST_F(StoreTest, ParametersAreBoundAndNeverPartOfTheStatement) {
  StatementOptions options;
  const std::string value = "a'b\\c\nd\te\\N";
  options.parameters = {{"v", value}};
  const auto rows = client_->query("SELECT {v:String}", options);
  ASSERT_TRUE(rows) << rows.error().message();
  EXPECT_EQ(rows->at(0).at(0), value);
}

TEST_F(StoreTest, LargeResultsArriveInPieces) {
  std::size_t bytes = 0;
  const auto done =
      client_->stream("SELECT number FROM numbers(100000) FORMAT TabSeparated", {}, [&](std::string_view piece) {
        bytes += piece.size();
        return true;
      });
  must(done);
  // 10 numbers of one digit, 90 of two, … each with its line end.
  EXPECT_EQ(bytes, 10 * 2 + 90 * 3 + 900 * 4 + 9'000 * 5 + 90'000 * 6u);
}

// A database of its own, because it is built and broken over and over.
TEST(Migrations, GoOnFromWhereverTheyWereCutOff) {
  const IdentifierCatalogue catalogue = shipped_catalogue();
  const Schema schema(catalogue, {});
  engine::TestEngine engine(schema.table_names());
  auto client = Client::connect(engine.base_url());
  ASSERT_TRUE(client);
  // Every run starts where the last one was cut and is cut itself: before its first statement, then between running and
  // recording it, then after recording it. So each statement meets all three.
  int cuts = 0;
  for (bool is_done = false; !is_done; ++cuts) {
    ASSERT_LT(cuts, 200);
    const int cut_at = cuts % 3 + 1;
    int calls = 0;
    Migrator migrator(**client, schema);
    migrator.set_fault_for_test([&](std::string_view where) -> Result<void> {
      if (++calls < cut_at) return {};
      return fail(ErrorCode::kCancelled, "cut " + std::string(where));
    });
    const auto done = migrator.run();
    is_done = done.has_value();
    ASSERT_TRUE(is_done || done.error().code() == ErrorCode::kCancelled) << done.error().message();
  }
  EXPECT_GT(cuts, 10);
  auto rows = (*client)->query("SELECT name FROM system.tables WHERE database = 'fettle'");
  ASSERT_TRUE(rows);
  EXPECT_EQ(rows->size(), schema.table_names().size());
  rows = (*client)->query("SELECT count(), uniq(statement) FROM fettle.migrations");
  ASSERT_TRUE(rows);
  EXPECT_EQ(rows->at(0).at(0), rows->at(0).at(1));
  Migrator again(**client, schema);
  again.set_fault_for_test([](std::string_view where) -> Result<void> {
    return fail(ErrorCode::kInternal, "ran again: " + std::string(where));
  });
  const auto repeated = again.run();
  EXPECT_TRUE(repeated) << repeated.error().message();

  // A store of a newer version is left alone.
  ASSERT_TRUE((*client)->execute("INSERT INTO fettle.migrations (version, statement, done_at) VALUES (9, 'x', now())"));
  const auto newer = Migrator(**client, schema).run();
  ASSERT_FALSE(newer);
  EXPECT_EQ(newer.error().code(), ErrorCode::kUnsupported);
}

}  // namespace
}  // namespace fettle::telemetry
