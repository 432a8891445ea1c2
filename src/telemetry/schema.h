// The tables of the store as SQL: templates with the hooks that differ between the embedded engine and a cluster.
//
//   const Schema schema(catalogue, SchemaOptions{});
//   for (const Migration& migration : schema.migrations()) …   // applied by Migrator
//
// Constant after construction; pure text, nothing is executed here.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "telemetry/block.h"
#include "telemetry/identifiers.h"

namespace fettle::telemetry {

// The row of `state` that holds the moment, in nanoseconds, before which spans and logs are read from what was kept and
// from which they are read from everything.
constexpr std::string_view kBoundaryState = "retention_boundary";

// The type of `attrs`, in blocks and tables alike: were they to differ, the engine would convert by way of text, at
// three times the cost and with that path's surprises.
constexpr std::string_view kAttributesType = "JSON(max_dynamic_paths=128)";

struct SchemaOptions {
  std::string database = "fettle";
  // Empty: one engine, plain MergeTree. Otherwise the cluster that DDL runs on, with replicated tables.
  std::string cluster;
};

// Whole days that a table keeps its rows; partitions are dropped, never rows deleted. The hot window is measured in
// hours elsewhere: its days here only have to be longer.
struct RetentionDays {
  std::uint32_t spans_hot = 4;
  std::uint32_t spans_kept = 90;
  std::uint32_t logs_hot = 4;
  std::uint32_t logs_kept = 30;
  std::uint32_t metrics = 400;
  std::uint32_t rollups = 400;
  std::uint32_t llm_calls = 1'100;
  std::uint32_t events = 400;
  // The identifier index and the list of traces are worth as much as the longest of what they lead to.
  std::uint32_t indexes() const { return std::max({spans_hot, spans_kept, logs_hot, logs_kept}); }
};

struct Statement {
  std::string name;  // unique within its migration; recorded when it is done
  std::string sql;   // can be run again after it ran or half ran
};

// What takes a store from version N - 1 to N. Shipped ones never change.
struct Migration {
  std::uint32_t version = 0;
  std::vector<Statement> statements;
};

// A name in the database whose rows belong to workspaces.
struct FilteredTable {
  std::string name;
  std::string filter;  // the row filter of the engine's users file, SQL over the row
};

class Schema {
 public:
  Schema(const IdentifierCatalogue& catalogue, SchemaOptions options);

  const SchemaOptions& options() const { return options_; }
  // In rising order of version, from 1.
  std::vector<Migration> migrations() const;
  // Every table and view of the database with its row filter. A name that the engine knows and this list lacks would be
  // readable by everybody: see Migrator::check_filters().
  std::vector<FilteredTable> tables() const;
  // Only the names, in the same order.
  std::vector<std::string> table_names() const;
  // The names published to users of SQL: spans, logs, metrics, events, llm_calls.
  static const std::vector<std::string>& published_names();
  // One statement per table: its TTL in days.
  std::vector<Statement> retention(const RetentionDays& days) const;

 private:
  std::string on_cluster() const;
  std::string engine(std::string_view family, std::string_view table, std::string_view version_column = {}) const;

  SchemaOptions options_;
  std::vector<IdentifierDefinition> columns_;
};

// The table that blocks of a kind go to.
std::string_view table_name(Table table);

// The row filter of every table with a `workspace` column: a statement names its workspace in `log_comment`, or '*' for
// our own work, and sees nothing without one.
constexpr std::string_view kWorkspaceFilter =
    "workspace = getSetting('log_comment') OR getSetting('log_comment') = '*'";

}  // namespace fettle::telemetry
