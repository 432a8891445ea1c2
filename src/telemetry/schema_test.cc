#include "telemetry/schema.h"

#include <gtest/gtest.h>

#include <set>

#include "telemetry/testing.h"

namespace fettle::telemetry {
namespace {

TEST(Schema, EveryStatementCanBeRunAgain) {
  const IdentifierCatalogue catalogue = shipped_catalogue();
  std::set<std::string> names;
  for (const Migration& migration : Schema(catalogue, {}).migrations()) {
    for (const Statement& statement : migration.statements) {
      EXPECT_NE(statement.sql.find("IF NOT EXISTS"), std::string::npos) << statement.name;
      EXPECT_TRUE(names.insert(statement.name).second) << statement.name;
    }
  }
}

TEST(Schema, EveryTableThatIngestWritesHasARowFilter) {
  const IdentifierCatalogue catalogue = shipped_catalogue();
  const Schema schema(catalogue, {});
  const std::vector<std::string> list = schema.table_names();
  const std::set<std::string> names(list.begin(), list.end());
  for (int table = 1; table <= static_cast<int>(Table::kSpanRollup); ++table) {
    EXPECT_TRUE(names.contains(std::string(table_name(static_cast<Table>(table))))) << table;
  }
  for (const std::string& name : Schema::published_names()) EXPECT_TRUE(names.contains(name)) << name;
}

TEST(Schema, AClusterGetsReplicatedTablesEverywhere) {
  const IdentifierCatalogue catalogue = shipped_catalogue();
  const Schema schema(catalogue, {.database = "ops", .cluster = "main"});
  const std::vector<Migration> migrations = schema.migrations();
  for (const Statement& statement : migrations.front().statements) {
    EXPECT_NE(statement.sql.find("ON CLUSTER 'main'"), std::string::npos) << statement.name;
    EXPECT_EQ(statement.sql.find("fettle."), std::string::npos) << statement.name;
    EXPECT_EQ(statement.sql.find("{db}"), std::string::npos) << statement.name;
    if (statement.sql.starts_with("CREATE TABLE")) {
      EXPECT_NE(statement.sql.find("ENGINE = Replicated"), std::string::npos) << statement.name;
      EXPECT_EQ(statement.sql.find("non_replicated"), std::string::npos) << statement.name;
    }
  }
}

}  // namespace
}  // namespace fettle::telemetry
