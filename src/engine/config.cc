#include "engine/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace fettle::engine {
namespace {

// Of what the child may be resident with, this much is for its statements and merges. Resident memory can overshoot it
// by 40 % for a moment, and two inserts of 50,000 wide rows beside two merges were refused at half (code 241).
constexpr std::uint64_t kStatementsPercent = 65;
// One statement may have two thirds of that; the one that asks for more is told so (code 241).
constexpr std::uint64_t kOneStatementPercent = 66;
constexpr std::uint64_t kMemoryMin = std::uint64_t{256} * 1024 * 1024;

// The OR form: with `IN (workspace, '*')` DELETE and MATERIALIZE INDEX fail.
constexpr std::string_view kRowFilter = "workspace = getSetting('log_comment') OR getSetting('log_comment') = '*'";
constexpr std::string_view kOwnOnly = "getSetting('log_comment') = '*'";

// System tables that show names, sizes, statements or key ranges of other workspaces, or what the host is like.
constexpr auto kOwnSystemTables = std::to_array<std::string_view>({"asynchronous_inserts",
                                                                   "asynchronous_loader",
                                                                   "background_schedule_pool",
                                                                   "backups",
                                                                   "certificates",
                                                                   "clusters",
                                                                   "columns",
                                                                   "completions",
                                                                   "data_skipping_indices",
                                                                   "databases",
                                                                   "detached_parts",
                                                                   "detached_tables",
                                                                   "dictionaries",
                                                                   "dimensional_metrics",
                                                                   "disks",
                                                                   "distribution_queue",
                                                                   "dns_cache",
                                                                   "dropped_tables",
                                                                   "dropped_tables_parts",
                                                                   "errors",
                                                                   "events",
                                                                   "filesystem_cache",
                                                                   "filesystem_cache_settings",
                                                                   "histogram_metrics",
                                                                   "jemalloc_bins",
                                                                   "jemalloc_profile_text",
                                                                   "jemalloc_stats",
                                                                   "macros",
                                                                   "merges",
                                                                   "metrics",
                                                                   "models",
                                                                   "moves",
                                                                   "mutations",
                                                                   "named_collections",
                                                                   "part_moves_between_shards",
                                                                   "parts",
                                                                   "parts_columns",
                                                                   "processes",
                                                                   "projection_parts",
                                                                   "projection_parts_columns",
                                                                   "projections",
                                                                   "query_cache",
                                                                   "query_condition_cache",
                                                                   "quota_usage",
                                                                   "quotas_usage",
                                                                   "remote_data_paths",
                                                                   "replicas",
                                                                   "replicated_fetches",
                                                                   "replication_queue",
                                                                   "resources",
                                                                   "row_policies",
                                                                   "scheduler",
                                                                   "schema_inference_cache",
                                                                   "server_settings",
                                                                   "stack_trace",
                                                                   "storage_policies",
                                                                   "symbols",
                                                                   "tables",
                                                                   "user_defined_functions",
                                                                   "user_directories",
                                                                   "user_processes",
                                                                   "users",
                                                                   "view_refreshes",
                                                                   "warnings",
                                                                   "workloads"});

bool is_table_name(std::string_view name) {
  return !name.empty() && name.size() <= 200 && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '.';
  });
}

std::string table_filter(std::string_view table, std::string_view filter) {
  // By attribute, because an element cannot be called `.inner_id.…`.
  return fmt::format("          <table name=\"{}\"><filter>{}</filter></table>\n", table, filter);
}

}  // namespace

std::string server_config(const Sizes& sizes, std::string_view users_file, std::string_view backups_folder) {
  const std::uint64_t memory = std::max(sizes.memory_bytes, kMemoryMin);
  const int merges = std::clamp(sizes.cores / 2, 1, 8) + 1;
  return fmt::format(R"(<clickhouse>
  <max_server_memory_usage>{statements_memory}</max_server_memory_usage>
  <mark_cache_size>67108864</mark_cache_size>
  <index_mark_cache_size>33554432</index_mark_cache_size>
  <primary_index_cache_size>33554432</primary_index_cache_size>
  <uncompressed_cache_size>0</uncompressed_cache_size>
  <index_uncompressed_cache_size>0</index_uncompressed_cache_size>
  <query_condition_cache_size>16777216</query_condition_cache_size>
  <mmap_cache_size>128</mmap_cache_size>
  <max_thread_pool_size>200</max_thread_pool_size>
  <max_thread_pool_free_size>8</max_thread_pool_free_size>
  <max_io_thread_pool_size>16</max_io_thread_pool_size>
  <max_io_thread_pool_free_size>0</max_io_thread_pool_free_size>
  <background_pool_size>{merges}</background_pool_size>
  <background_merges_mutations_concurrency_ratio>2</background_merges_mutations_concurrency_ratio>
  <background_schedule_pool_size>4</background_schedule_pool_size>
  <background_common_pool_size>2</background_common_pool_size>
  <background_move_pool_size>1</background_move_pool_size>
  <background_fetches_pool_size>1</background_fetches_pool_size>
  <merge_tree>
    <fsync_after_insert>1</fsync_after_insert>
    <fsync_part_directory>1</fsync_part_directory>
    <min_rows_to_fsync_after_merge>1</min_rows_to_fsync_after_merge>
    <non_replicated_deduplication_window>1000</non_replicated_deduplication_window>
    <max_bytes_to_merge_at_max_space_in_pool>10737418240</max_bytes_to_merge_at_max_space_in_pool>
    <number_of_free_entries_in_pool_to_execute_mutation>1</number_of_free_entries_in_pool_to_execute_mutation>
    <number_of_free_entries_in_pool_to_lower_max_size_of_merge>1</number_of_free_entries_in_pool_to_lower_max_size_of_merge>
    <number_of_free_entries_in_pool_to_execute_optimize_entire_partition>1</number_of_free_entries_in_pool_to_execute_optimize_entire_partition>
    <merge_tree_clear_old_temporary_directories_interval_seconds>60</merge_tree_clear_old_temporary_directories_interval_seconds>
  </merge_tree>
  <backups><allowed_path>{backups_folder}</allowed_path></backups>
  <macros><cluster>fettle</cluster><shard>01</shard><replica>r1</replica></macros>
  <user_directories><users_xml><path>{users_file}</path></users_xml></user_directories>
</clickhouse>
)",
                     fmt::arg("statements_memory", memory / 100 * kStatementsPercent), fmt::arg("merges", merges),
                     fmt::arg("users_file", users_file), fmt::arg("backups_folder", backups_folder));
}

Result<std::string> users_config(const Sizes& sizes, const std::vector<std::string>& tables) {
  std::string filters;
  for (const std::string& table : tables) {
    if (!is_table_name(table)) {
      return fail(ErrorCode::kInvalidArgument, fmt::format("a table called '{}' cannot be given a row filter", table));
    }
    filters += table_filter(table, kRowFilter);
  }
  std::string own;
  for (const std::string_view table : kOwnSystemTables) own += table_filter(table, kOwnOnly);
  const std::uint64_t statements = std::max(sizes.memory_bytes, kMemoryMin) / 100 * kStatementsPercent;
  return fmt::format(R"(<clickhouse>
  <profiles>
    <default>
      <max_memory_usage>{one_statement}</max_memory_usage>
      <max_threads>{threads}</max_threads>
      <max_insert_threads>1</max_insert_threads>
      <log_queries>0</log_queries>
    </default>
  </profiles>
  <quotas><default/></quotas>
  <users>
    <default>
      <password/>
      <networks><ip>::/0</ip></networks>
      <profile>default</profile>
      <quota>default</quota>
      <databases>
        <database name="{database}">
{filters}        </database>
        <database name="system">
{own}        </database>
      </databases>
    </default>
  </users>
</clickhouse>
)",
                     fmt::arg("one_statement", statements / 100 * kOneStatementPercent),
                     fmt::arg("threads", std::max(1, sizes.cores / 2)), fmt::arg("database", kDatabase),
                     fmt::arg("filters", filters), fmt::arg("own", own));
}

}  // namespace fettle::engine
