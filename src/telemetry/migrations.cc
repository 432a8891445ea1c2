#include "telemetry/migrations.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <set>
#include <string>
#include <utility>

namespace fettle::telemetry {
namespace {

// What retention() sets is recorded under this version, which no migration has.
constexpr std::uint32_t kRetentionVersion = 0;

std::uint32_t to_number(std::string_view text) {
  std::uint32_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

}  // namespace

StatementOptions Migrator::patiently() const {
  StatementOptions options;
  options.time_max = std::chrono::minutes(10);
  options.stop = stop_;
  return options;
}

Result<void> Migrator::run_recorded(std::uint32_t version, const Statement& statement) {
  const std::string& database = schema_.options().database;
  const auto fault = [&](std::string_view where) -> Result<void> {
    if (!fault_) return {};
    return fault_(fmt::format("{} {}", where, statement.name));
  };
  if (auto go = fault("before"); !go) return go;
  if (auto done = client_.execute(statement.sql, patiently()); !done) {
    return std::unexpected(std::move(done).error().within(fmt::format("migration {}, {}", version, statement.name)));
  }
  if (auto go = fault("after"); !go) return go;
  StatementOptions options = patiently();
  options.parameters = {{"version", std::to_string(version)}, {"statement", statement.name}};
  // Without a token two equal records would be taken for one, which is harmless here and wrong everywhere else.
  options.settings = {{"insert_deduplication_token", fmt::format("migration-{}-{}", version, statement.name)}};
  if (version == kRetentionVersion) options.settings.clear();
  auto recorded =
      client_.execute(fmt::format("INSERT INTO {}.migrations (version, statement, done_at) SELECT {{version:UInt32}}, "
                                  "{{statement:String}}, now64(3)",
                                  database),
                      options);
  if (!recorded) {
    return std::unexpected(std::move(recorded).error().within(fmt::format("recording {}", statement.name)));
  }
  return fault("recorded");
}

Result<void> Migrator::run() {
  const std::string& database = schema_.options().database;
  const std::string on_cluster =
      schema_.options().cluster.empty() ? "" : fmt::format(" ON CLUSTER '{}'", schema_.options().cluster);
  const std::string engine =
      schema_.options().cluster.empty()
          ? "MergeTree"
          : fmt::format("ReplicatedMergeTree('/clickhouse/tables/{{shard}}/{}/migrations', '{{replica}}')", database);
  for (const std::string& sql :
       {fmt::format("CREATE DATABASE IF NOT EXISTS {}{}", database, on_cluster),
        fmt::format("CREATE TABLE IF NOT EXISTS {}.migrations{} (version UInt32, statement String, "
                    "done_at DateTime64(3, 'UTC'), workspace LowCardinality(String) DEFAULT '*') ENGINE = {} "
                    "ORDER BY (version, statement) SETTINGS fsync_after_insert = 1, fsync_part_directory = 1",
                    database, on_cluster, engine)}) {
    // A server of the user's own knows its databases before us: ask there for the one that is to be made.
    if (auto done = client_.execute(sql, patiently()); !done) {
      return std::unexpected(std::move(done).error().within("preparing the store"));
    }
  }
  auto rows = client_.query(fmt::format("SELECT version, statement FROM {}.migrations", database), patiently());
  if (!rows) return std::unexpected(std::move(rows).error().within("reading which migrations are done"));
  const std::vector<Migration> migrations = schema_.migrations();
  const std::uint32_t known = migrations.empty() ? 0 : migrations.back().version;
  std::set<std::pair<std::uint32_t, std::string>> done;
  for (const std::vector<std::string>& row : *rows) {
    const std::uint32_t version = to_number(row.at(0));
    if (version > known) {
      return fail(ErrorCode::kUnsupported,
                  fmt::format("the store has schema version {} and this program knows {}: it was written by a newer "
                              "Fettle; start that one, or restore a backup from before the upgrade",
                              version, known));
    }
    done.emplace(version, row.at(1));
  }
  for (const Migration& migration : migrations) {
    for (const Statement& statement : migration.statements) {
      if (done.contains({migration.version, statement.name})) continue;
      if (auto ran = run_recorded(migration.version, statement); !ran) return ran;
    }
  }
  return {};
}

Result<void> Migrator::apply_retention(const RetentionDays& days) {
  // The newest record of each table is what is in force.
  auto rows =
      client_.query(fmt::format("SELECT argMax(statement, done_at) FROM {}.migrations WHERE version = {} GROUP BY "
                                "splitByChar(' ', statement)[2]",
                                schema_.options().database, kRetentionVersion),
                    patiently());
  if (!rows) return std::unexpected(std::move(rows).error().within("reading the retention in force"));
  for (const Statement& statement : schema_.retention(days)) {
    const bool is_in_force =
        std::any_of(rows->begin(), rows->end(), [&](const auto& row) { return row.at(0) == statement.name; });
    if (is_in_force) continue;
    if (auto ran = run_recorded(kRetentionVersion, statement); !ran) return ran;
  }
  return {};
}

Result<void> Migrator::check_filters() {
  StatementOptions options = patiently();
  options.parameters = {{"database", schema_.options().database}};
  auto rows = client_.query("SELECT name FROM system.tables WHERE database = {database:String} ORDER BY name", options);
  if (!rows) return std::unexpected(std::move(rows).error().within("listing the store's tables"));
  const std::vector<std::string> known = schema_.table_names();
  for (const std::vector<std::string>& row : *rows) {
    if (std::find(known.begin(), known.end(), row.at(0)) == known.end()) {
      return fail(ErrorCode::kPermissionDenied,
                  fmt::format("table {}.{} is unknown to Fettle and so has no row filter: everybody could read it; "
                              "drop it or move it to a database of its own",
                              schema_.options().database, row.at(0)));
    }
  }
  // A filter that is not in force shows a statement without a workspace more than nothing.
  StatementOptions unscoped = patiently();
  unscoped.workspace.clear();
  for (const std::vector<std::string>& row : *rows) {
    if (row.at(0) == "state") continue;  // belongs to all
    auto seen = client_.query(
        fmt::format("SELECT 1 FROM {}.{} WHERE workspace != '' LIMIT 1", schema_.options().database, row.at(0)),
        unscoped);
    if (!seen)
      return std::unexpected(std::move(seen).error().within(fmt::format("probing the filter of {}", row.at(0))));
    if (!seen->empty()) {
      return fail(
          ErrorCode::kPermissionDenied,
          fmt::format("table {} is readable without a workspace: its row filter is missing; at a server of your "
                      "own, as a user who manages access: CREATE ROW POLICY fettle ON {}.* USING {} TO ALL",
                      row.at(0), schema_.options().database, schema_.tables().front().filter));
    }
  }
  return {};
}

}  // namespace fettle::telemetry
