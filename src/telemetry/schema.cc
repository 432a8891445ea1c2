#include "telemetry/schema.h"

#include <fmt/format.h>

#include <utility>

namespace fettle::telemetry {
namespace {

constexpr std::string_view kLow = "LowCardinality(String)";
constexpr std::string_view kText = "String CODEC(ZSTD(1))";

// Parts stay in one file until they hold this much: a part of a file per column and attribute path costs five times the
// CPU to write (docs/decisions/0002-key-order-and-parts.md).
constexpr std::uint64_t kWidePartBytesMin = 256ULL * 1024 * 1024;

std::string after_days(std::string_view expression, std::uint32_t days) {
  return fmt::format("{} + INTERVAL {} DAY", expression, days);
}

struct Ttl {
  std::string_view table;
  std::string_view time;
  std::uint32_t RetentionDays::* days;
};

constexpr Ttl kTtls[] = {
    {"spans_hot", "toDateTime(ts)", &RetentionDays::spans_hot},
    {"spans_kept", "toDateTime(ts)", &RetentionDays::spans_kept},
    {"logs_hot", "toDateTime(ts)", &RetentionDays::logs_hot},
    {"logs_kept", "toDateTime(ts)", &RetentionDays::logs_kept},
    {"llm_calls", "toDateTime(ts)", &RetentionDays::llm_calls},
    {"number_points", "toDateTime(ts)", &RetentionDays::metrics},
    {"histogram_points", "toDateTime(ts)", &RetentionDays::metrics},
    {"exemplars", "toDateTime(ts)", &RetentionDays::metrics},
    {"series", "day", &RetentionDays::metrics},
    {"span_rollup", "ts", &RetentionDays::rollups},
    {"events", "toDateTime(ts)", &RetentionDays::events},
};
constexpr Ttl kIndexTtls[] = {
    {"identifiers", "day", nullptr}, {"traces", "day", nullptr}, {"kept_traces", "ts", nullptr}};

// The moment before which `spans` and `logs` read what was kept and from which they read everything.
std::string boundary_sql() {
  return fmt::format(
      "(SELECT fromUnixTimestamp64Nano(argMax(value, version), 'UTC') FROM {{db}}.state WHERE name = '{}')",
      kBoundaryState);
}

std::string replace_all(std::string text, std::string_view from, std::string_view to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
  return text;
}

}  // namespace

std::string_view table_name(Table table) {
  switch (table) {
    case Table::kSpans: return "spans_hot";
    case Table::kLogs: return "logs_hot";
    case Table::kIdentifiers: return "identifiers";
    case Table::kLlmCalls: return "llm_calls";
    case Table::kSeries: return "series";
    case Table::kNumberPoints: return "number_points";
    case Table::kHistogramPoints: return "histogram_points";
    case Table::kExemplars: return "exemplars";
    case Table::kTraces: return "traces";
    case Table::kSpanRollup: return "span_rollup";
    case Table::kEvents: return "events";
  }
  return {};
}

Schema::Schema(const IdentifierCatalogue& catalogue, SchemaOptions options) : options_(std::move(options)) {
  for (const IdentifierDefinition& definition : catalogue.all()) {
    if (definition.is_column) columns_.push_back(definition);
  }
}

std::string Schema::on_cluster() const {
  return options_.cluster.empty() ? std::string() : fmt::format(" ON CLUSTER '{}'", options_.cluster);
}

// The one place where the embedded engine and a cluster differ.
std::string Schema::engine(std::string_view family, std::string_view table, std::string_view version_column) const {
  if (options_.cluster.empty()) return fmt::format("{}({})", family, version_column);
  return fmt::format("Replicated{}('/clickhouse/tables/{{shard}}/{}/{}', '{{replica}}'{}{})", family, options_.database,
                     table, version_column.empty() ? "" : ", ", version_column);
}

std::vector<Migration> Schema::migrations() const {
  const std::string settings = fmt::format(
      "fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1, "
      "{}deduplication_window = 1000, min_bytes_for_wide_part = {}, ttl_only_drop_parts = 1",
      options_.cluster.empty() ? "non_replicated_" : "replicated_", kWidePartBytesMin);
  const RetentionDays days;
  const auto table = [&](std::string_view name, std::string_view columns, std::string_view engine_family,
                         std::string_view keys, std::string_view version_column = {}) {
    std::string ttl;
    for (const Ttl& entry : kTtls) {
      if (entry.table == name) ttl = " TTL " + after_days(entry.time, days.*entry.days);
    }
    for (const Ttl& entry : kIndexTtls) {
      if (entry.table == name) ttl = " TTL " + after_days(entry.time, days.indexes());
    }
    return Statement{
        fmt::format("create {}", name),
        fmt::format("CREATE TABLE IF NOT EXISTS {}.{}{} ({}) ENGINE = {} {}{} SETTINGS {}", options_.database, name,
                    on_cluster(), columns, engine(engine_family, name, version_column), keys, ttl, settings)};
  };
  const auto view = [&](std::string_view name, std::string_view select) {
    return Statement{fmt::format("create {}", name),
                     fmt::format("CREATE VIEW IF NOT EXISTS {}.{}{} AS {}", options_.database, name, on_cluster(),
                                 replace_all(std::string(select), "{db}", options_.database))};
  };

  std::string identifiers;
  std::string identifier_names;
  std::string rollup_columns;
  std::string rollup_keys;
  for (const IdentifierDefinition& column : columns_) {
    identifiers += fmt::format("{} {}, ", column.name, column.is_low_cardinality ? kLow : kText);
    identifier_names += column.name + ", ";
    if (!column.is_rollup_dimension) continue;
    rollup_columns += fmt::format("{} {}, ", column.name, kLow);
    rollup_keys += column.name + ", ";
  }
  const std::string origin = fmt::format(
      "service_name {0}, resource {0}, scope_name {0}, scope_version {0}, envelope {0}, "
      "received_at DateTime('UTC') CODEC(Delta, ZSTD(1)), ingest_id UInt64 CODEC(ZSTD(1)), "
      "INDEX ingest_id_range ingest_id TYPE minmax",
      kLow);
  const std::string attributes = fmt::format(
      "promoted UInt64 CODEC(ZSTD(1)), attrs {} CODEC(ZSTD(1)), flags UInt32 CODEC(ZSTD(1)), "
      "dropped_attributes_count UInt32 CODEC(ZSTD(1))",
      kAttributesType);
  // Spans of one trace lie together within a minute, so that what they share (trace, request, job) is stored once and
  // read at once; the minute keeps time ranges readable in order.
  constexpr std::string_view kByTrace =
      "PARTITION BY toDate(ts) PRIMARY KEY (workspace, toStartOfMinute(ts), trace_id) "
      "ORDER BY (workspace, toStartOfMinute(ts), trace_id, ts)";

  const std::string span_columns = fmt::format(
      "workspace {low}, ts DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)), trace_id {text}, span_id {text}, "
      "parent_span_id {text}, name {low}, kind_code Int32 CODEC(ZSTD(1)), status_code Int32 CODEC(ZSTD(1)), "
      "status_message {text}, duration_ns UInt64 CODEC(ZSTD(1)), {identifiers}{attributes}, "
      "dropped_events_count UInt32 CODEC(ZSTD(1)), dropped_links_count UInt32 CODEC(ZSTD(1)), events {text}, "
      "links {text}, trace_state {text}, keep UInt8 CODEC(ZSTD(1)), {origin}, "
      "INDEX status_range status_code TYPE minmax, INDEX duration_range duration_ns TYPE minmax",
      fmt::arg("low", kLow), fmt::arg("text", kText), fmt::arg("identifiers", identifiers),
      fmt::arg("attributes", attributes), fmt::arg("origin", origin));
  const std::string log_columns = fmt::format(
      "workspace {low}, ts DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)), "
      "observed_ts DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)), trace_id {text}, span_id {text}, "
      "severity_number Int32 CODEC(ZSTD(1)), severity_text {low}, "
      "level String ALIAS multiIf(severity_number <= 0, 'unset', severity_number <= 4, 'trace', severity_number <= 8, "
      "'debug', severity_number <= 12, 'info', severity_number <= 16, 'warn', severity_number <= 20, 'error', "
      "'fatal'), "
      "event_name {low}, body {text}, body_type UInt8 CODEC(ZSTD(1)), {identifiers}{attributes}, {origin}, "
      "INDEX severity_range severity_number TYPE minmax, "
      "INDEX body_words body TYPE text(tokenizer = splitByNonAlpha, preprocessor = lower(body))",
      fmt::arg("low", kLow), fmt::arg("text", kText), fmt::arg("identifiers", identifiers),
      fmt::arg("attributes", attributes), fmt::arg("origin", origin));
  const std::string point_head = fmt::format(
      "workspace {}, name {}, series_id UInt64 CODEC(ZSTD(1)), ts DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)), "
      "start_ts DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)), flags UInt32 CODEC(ZSTD(1)), "
      "received_at DateTime('UTC') CODEC(Delta, ZSTD(1)), ingest_id UInt64 CODEC(ZSTD(1)), ",
      kLow, kLow);
  constexpr std::string_view kBySeries = "PARTITION BY toDate(ts) ORDER BY (workspace, name, series_id, ts)";

  Migration first{.version = 1, .statements = {}};
  auto& statements = first.statements;
  // Not of any workspace, and no secret: the alias makes its row visible to each.
  statements.push_back(table("state",
                             fmt::format("name String, value Int64, version UInt64, workspace {} ALIAS "
                                         "getSetting('log_comment')",
                                         kLow),
                             "ReplacingMergeTree", "ORDER BY name", "version"));
  statements.push_back(table("spans_hot", span_columns, "MergeTree", kByTrace));
  statements.push_back(table("spans_kept", span_columns, "MergeTree", kByTrace));
  statements.push_back(table("logs_hot", log_columns, "MergeTree", kByTrace));
  statements.push_back(table("logs_kept", log_columns, "MergeTree", kByTrace));
  // Empty but for the moment in which a day of the hot tables is weighed for the last time and dropped.
  statements.push_back(table("spans_leaving", span_columns, "MergeTree", kByTrace));
  statements.push_back(table("logs_leaving", log_columns, "MergeTree", kByTrace));
  // The traces that retention keeps for a reason, by the time of the row that gave it: see retention.h.
  statements.push_back(table("kept_traces",
                             fmt::format("workspace {}, ts DateTime('UTC') CODEC(Delta, ZSTD(1)), trace_id {}, "
                                         "run UInt64 CODEC(ZSTD(1))",
                                         kLow, kText),
                             "ReplacingMergeTree", "PARTITION BY toDate(ts) ORDER BY (workspace, trace_id)", "run"));
  statements.push_back(
      table("identifiers",
            fmt::format("workspace {low}, day Date, value_hash UInt64 CODEC(Delta, ZSTD(1)), kind {low}, "
                        "trace FixedString(16) CODEC(ZSTD(1)), "
                        "first_ts SimpleAggregateFunction(min, DateTime('UTC')) CODEC(ZSTD(1)), "
                        "last_ts SimpleAggregateFunction(max, DateTime('UTC')) CODEC(ZSTD(1)), "
                        "signals SimpleAggregateFunction(groupBitOr, UInt8) CODEC(ZSTD(1))",
                        fmt::arg("low", kLow)),
            "AggregatingMergeTree", "PARTITION BY day ORDER BY (workspace, value_hash, kind, trace)"));
  statements.push_back(table(
      "traces",
      fmt::format("workspace {low}, day Date, trace_id {text}, "
                  "first_ts SimpleAggregateFunction(min, DateTime64(3, 'UTC')) CODEC(ZSTD(1)), "
                  "last_ts SimpleAggregateFunction(max, DateTime64(3, 'UTC')) CODEC(ZSTD(1)), "
                  "spans SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)), "
                  "errors SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)), "
                  "keep SimpleAggregateFunction(max, UInt8) CODEC(ZSTD(1)), "
                  "root_name SimpleAggregateFunction(max, {low}), root_service SimpleAggregateFunction(max, {low}), "
                  "client_id SimpleAggregateFunction(max, {low}), workflow SimpleAggregateFunction(max, {low})",
                  fmt::arg("low", kLow), fmt::arg("text", kText)),
      "AggregatingMergeTree", "PARTITION BY day ORDER BY (workspace, trace_id)"));
  statements.push_back(
      table("span_rollup",
            fmt::format("workspace {low}, ts DateTime('UTC') CODEC(Delta, ZSTD(1)), service_name {low}, name {low}, "
                        "kind_code Int32 CODEC(ZSTD(1)), status_code Int32 CODEC(ZSTD(1)), {dimensions}"
                        "bucket UInt8 CODEC(ZSTD(1)), count SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)), "
                        "duration_us SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1))",
                        fmt::arg("low", kLow), fmt::arg("dimensions", rollup_columns)),
            "AggregatingMergeTree",
            fmt::format("PARTITION BY toDate(ts) PRIMARY KEY (workspace, ts, service_name, name) "
                        "ORDER BY (workspace, ts, service_name, name, kind_code, status_code, {}bucket)",
                        rollup_keys)));
  statements.push_back(
      table("llm_calls",
            fmt::format(
                "workspace {low}, ts DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)), trace_id {text}, span_id {text}, "
                "duration_ns UInt64 CODEC(ZSTD(1)), duration_ms Float64 ALIAS duration_ns / 1e6, "
                "status_code Int32 CODEC(ZSTD(1)), service_name {low}, operation {low}, task_class {low}, {identifiers}"
                "tokens_fresh UInt64 CODEC(ZSTD(1)), tokens_cache_read UInt64 CODEC(ZSTD(1)), "
                "tokens_cache_write UInt64 CODEC(ZSTD(1)), tokens_output UInt64 CODEC(ZSTD(1)), "
                "tokens_reasoning UInt64 CODEC(ZSTD(1)), images UInt64 CODEC(ZSTD(1)), "
                "video_seconds Float64 CODEC(ZSTD(1)), is_priced UInt8 CODEC(ZSTD(1)), "
                "cost_nano_usd Int64 CODEC(ZSTD(1)), "
                "cost_usd Nullable(Float64) ALIAS if(is_priced = 1, cost_nano_usd / 1e9, NULL), "
                "price_row {low}, key_owner {low}, received_at DateTime('UTC') CODEC(Delta, ZSTD(1)), "
                "ingest_id UInt64 CODEC(ZSTD(1))",
                fmt::arg("low", kLow), fmt::arg("text", kText), fmt::arg("identifiers", identifiers)),
            "MergeTree", "PARTITION BY toDate(ts) ORDER BY (workspace, toStartOfMinute(ts), trace_id, ts)"));
  statements.push_back(table(
      "series",
      fmt::format("workspace {low}, day Date, name {low}, series_id UInt64, type Int32, temporality Int32, "
                  "is_monotonic UInt8, unit {low}, description {text}, labels Map(String, String) CODEC(ZSTD(1)), "
                  "service_name {low}, resource {low}, scope_name {low}, scope_version {low}, envelope {low}, "
                  "first_ts SimpleAggregateFunction(min, DateTime('UTC')) CODEC(ZSTD(1)), "
                  "last_ts SimpleAggregateFunction(max, DateTime('UTC')) CODEC(ZSTD(1))",
                  fmt::arg("low", kLow), fmt::arg("text", kText)),
      "AggregatingMergeTree", "PARTITION BY day ORDER BY (workspace, name, series_id)"));
  statements.push_back(table("number_points",
                             point_head + "value Float64 CODEC(Delta, ZSTD(1)), is_int UInt8 CODEC(ZSTD(1)), "
                                          "int_value Int64 CODEC(ZSTD(1))",
                             "MergeTree", kBySeries));
  statements.push_back(table(
      "histogram_points",
      point_head +
          "count UInt64 CODEC(ZSTD(1)), has UInt8 CODEC(ZSTD(1)), sum Float64 CODEC(ZSTD(1)), "
          "min Float64 CODEC(ZSTD(1)), max Float64 CODEC(ZSTD(1)), bounds Array(Float64) CODEC(ZSTD(1)), "
          "bucket_counts Array(UInt64) CODEC(ZSTD(1)), scale Int32 CODEC(ZSTD(1)), zero_count UInt64 CODEC(ZSTD(1)), "
          "zero_threshold Float64 CODEC(ZSTD(1)), positive_offset Int32 CODEC(ZSTD(1)), "
          "positive_counts Array(UInt64) CODEC(ZSTD(1)), negative_offset Int32 CODEC(ZSTD(1)), "
          "negative_counts Array(UInt64) CODEC(ZSTD(1)), quantiles Array(Float64) CODEC(ZSTD(1)), "
          "quantile_values Array(Float64) CODEC(ZSTD(1))",
      "MergeTree", kBySeries));
  statements.push_back(table(
      "exemplars",
      fmt::format("{}value Float64 CODEC(ZSTD(1)), trace_id {}, span_id {}, attrs {}", point_head, kText, kText, kText),
      "MergeTree", kBySeries));
  statements.push_back(
      table("events",
            fmt::format("workspace {low}, ts DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)), event_id {text}, type {low}, "
                        "trace_id {text}, {identifiers}data {text}, received_at DateTime('UTC') CODEC(Delta, ZSTD(1)), "
                        "ingest_id UInt64 CODEC(ZSTD(1))",
                        fmt::arg("low", kLow), fmt::arg("text", kText), fmt::arg("identifiers", identifiers)),
            "MergeTree", "PARTITION BY toDate(ts) ORDER BY (workspace, type, ts)"));

  const std::string span_select = fmt::format(
      "SELECT workspace, ts, trace_id, span_id, parent_span_id, name, "
      "transform(kind_code, [0, 1, 2, 3, 4, 5], ['unspecified', 'internal', 'server', 'client', 'producer', "
      "'consumer'], toString(kind_code)) AS kind, "
      "transform(status_code, [0, 1, 2], ['unset', 'ok', 'error'], toString(status_code)) AS status, status_message, "
      "duration_ns / 1e6 AS duration_ms, service_name, {}attrs, events, links, resource, scope_name, scope_version, "
      "trace_state, flags, kind_code, status_code, duration_ns, promoted, envelope, keep, dropped_attributes_count, "
      "dropped_events_count, dropped_links_count, received_at, ingest_id FROM {{db}}.",
      identifier_names);
  const std::string log_select = fmt::format(
      "SELECT workspace, ts, observed_ts, trace_id, span_id, severity_number, severity_text, level, event_name, body, "
      "body_type, {}promoted, attrs, flags, dropped_attributes_count, service_name, resource, scope_name, "
      "scope_version, envelope, received_at, ingest_id FROM {{db}}.",
      identifier_names);
  for (const auto& [name, select] : {std::pair<std::string, std::string>{"spans", span_select}, {"logs", log_select}}) {
    statements.push_back(view(name, fmt::format("{0}{1}_kept WHERE ts < {2} UNION ALL {0}{1}_hot WHERE ts >= {2}",
                                                select, name, boundary_sql())));
  }
  statements.push_back(view(
      "metrics",
      "SELECT p.workspace AS workspace, p.name AS name, s.type AS type, s.unit AS unit, s.service_name AS "
      "service_name, "
      "s.labels AS labels, p.ts AS ts, p.value AS value, p.series_id AS series_id FROM {db}.number_points AS p "
      "ANY LEFT JOIN {db}.series AS s ON s.workspace = p.workspace AND s.name = p.name AND s.series_id = p.series_id"));
  return {first};
}

std::vector<std::string> Schema::table_names() const {
  return {"migrations",       "state",       "spans_hot",   "spans_kept", "logs_hot",    "logs_kept", "spans_leaving",
          "logs_leaving",     "kept_traces", "identifiers", "traces",     "span_rollup", "llm_calls", "number_points",
          "histogram_points", "exemplars",   "series",      "events",     "spans",       "logs",      "metrics"};
}

std::vector<FilteredTable> Schema::tables() const {
  std::vector<FilteredTable> tables;
  for (std::string& name : table_names()) tables.push_back({std::move(name), std::string(kWorkspaceFilter)});
  return tables;
}

const std::vector<std::string>& Schema::published_names() {
  static const std::vector<std::string> kNames = {"spans", "logs", "metrics", "events", "llm_calls"};
  return kNames;
}

std::vector<Statement> Schema::retention(const RetentionDays& days) const {
  std::vector<Statement> statements;
  const auto alter = [&](const Ttl& entry, std::uint32_t count) {
    statements.push_back({fmt::format("retention {} {}", entry.table, count),
                          fmt::format("ALTER TABLE {}.{}{} MODIFY TTL {} SETTINGS materialize_ttl_after_modify = 0",
                                      options_.database, entry.table, on_cluster(), after_days(entry.time, count))});
  };
  for (const Ttl& entry : kTtls) alter(entry, days.*entry.days);
  for (const Ttl& entry : kIndexTtls) alter(entry, days.indexes());
  return statements;
}

}  // namespace fettle::telemetry
